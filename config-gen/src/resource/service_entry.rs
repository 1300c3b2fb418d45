//! ServiceEntry (spec section 1).

use std::collections::BTreeMap;
use std::fmt;

use super::read::{filled, int, labels, string, strings};
use super::{Meta, Spanned};
use crate::input::node::Node;
use crate::options::Cidr;

/// A ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Name, namespace and so on.
    pub meta: Meta,
    /// Hosts in lower case (SE-05); `*.x` is a wildcard. Not empty.
    pub hosts: Vec<Spanned<String>>,
    /// IP addresses and CIDR ranges (SE-06); what is neither was reported.
    pub addresses: Vec<Spanned<Address>>,
    /// Ports with distinct numbers and names.
    pub ports: Vec<Port>,
    /// Absence matters: what it means depends on the profile (SE-13).
    pub location: Option<Spanned<Location>>,
    /// How endpoints are found (SE-16). `None` if it isn't written: Istio
    /// then takes `NONE`.
    pub resolution: Option<Spanned<Resolution>>,
    /// Endpoints written out (SE-17).
    pub endpoints: Vec<Endpoint>,
    /// Labels of the WorkloadEntry objects that are the endpoints (SE-18); none of them selects
    /// all of the namespace.
    pub workload_selector: Option<Spanned<BTreeMap<String, String>>>,
    /// Who may see it; empty means everyone (SE-19).
    pub export_to: Vec<Spanned<String>>,
    /// Names that the certificate must carry, used when the DestinationRule
    /// has none (SE-20, DR-TLS-12).
    pub subject_alt_names: Vec<Spanned<String>>,
}

impl ServiceEntry {
    /// Whether all addresses of a name are raced for, of either family (SE-22).
    pub fn races_addresses(&self) -> bool {
        let strategy = self.meta.annotations.get("istio.io/connect-strategy");
        strategy.is_some_and(|text| text.eq_ignore_ascii_case("RACE_FIRST_TCP_CONNECT"))
    }

    /// The resolution with Istio's default.
    pub fn resolution(&self) -> Resolution {
        self.resolution.as_ref().map_or(Resolution::None, |resolution| resolution.value)
    }
}

/// An address of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address, in lower case and as written otherwise: clients send it so. A range of a
    /// single address is one.
    Ip(String),
    /// A range.
    Range(Cidr),
}

impl Address {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let range: Cidr = text.parse().ok()?;
        let longest = if range.address.is_ipv4() { 32 } else { 128 };
        Some(if range.length == longest {
            Self::Ip(text.split('/').next().unwrap_or(text).to_ascii_lowercase())
        } else {
            Self::Range(range)
        })
    }

    /// The IP address, if it is a single one.
    pub fn ip(&self) -> Option<&str> {
        match self {
            Self::Ip(text) => Some(text),
            Self::Range(_) => None,
        }
    }
}

/// A port of a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The port that clients address (SE-09).
    pub number: Spanned<u16>,
    /// Its name; `endpoints[].ports` refers to it (SE-10).
    pub name: Spanned<String>,
    /// The protocol; the place is that of the whole port if it isn't written.
    pub protocol: Spanned<Protocol>,
    /// The port of the endpoints, if it isn't `number` (SE-12).
    pub target_port: Option<Spanned<u16>>,
    /// The whole port.
    pub span: crate::source::Span,
}

/// An endpoint that stands in the ServiceEntry itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// IP address, DNS name or `unix:///path`.
    pub address: Option<Spanned<String>>,
    /// Ports by the name of the service port (SE-25).
    pub ports: Vec<(Spanned<String>, Spanned<u16>)>,
    /// Labels, by which a `workloadSelector` finds it (SE-28).
    pub labels: BTreeMap<String, String>,
    /// `region/zone/subzone` as written (SE-30).
    pub written_locality: Option<Spanned<String>>,
    /// Share of the requests; 0 counts as 1 (SE-31).
    pub weight: Option<Spanned<u32>>,
    /// The whole endpoint.
    pub span: crate::source::Span,
}

/// The label that stands for a locality.
const LOCALITY: &str = "istio-locality";

impl Endpoint {
    /// `region/zone/subzone`, as written, else as its label says, where dots stand for slashes
    /// (SE-30).
    pub fn locality(&self) -> Option<String> {
        let written = self.written_locality.as_ref().map(|text| text.value.clone());
        written.or_else(|| {
            let label = self.labels.get(LOCALITY).filter(|label| !label.is_empty())?;
            Some(if label.contains('/') { label.clone() } else { label.replace('.', "/") })
        })
    }
}

/// Whether the service is part of the mesh. It never changes routing (SE-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum Location {
    /// `MESH_EXTERNAL`, Istio's default.
    #[serde(rename = "external")]
    MeshExternal,
    /// `MESH_INTERNAL`.
    #[serde(rename = "internal")]
    MeshInternal,
}

/// How endpoints are found (SE-R rows).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The address that the client dialled.
    None,
    /// `endpoints`.
    Static,
    /// DNS, all addresses.
    Dns,
    /// DNS, one address at a time.
    DnsRoundRobin,
    /// DNS per request, from the host of the request.
    DynamicDns,
}

impl Resolution {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "NONE" => Resolution::None,
            "STATIC" => Resolution::Static,
            "DNS" => Resolution::Dns,
            "DNS_ROUND_ROBIN" => Resolution::DnsRoundRobin,
            "DYNAMIC_DNS" => Resolution::DynamicDns,
            _ => return None,
        })
    }
}

impl Location {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "MESH_EXTERNAL" => Location::MeshExternal,
            "MESH_INTERNAL" => Location::MeshInternal,
            _ => return None,
        })
    }
}

/// Protocol of a port, written in any case (SE-P rows).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Not given: the bytes tell (SE-P-07).
    Unspecified,
    /// `HTTP`
    Http,
    /// `HTTP2`
    Http2,
    /// `GRPC`
    Grpc,
    /// `GRPC-Web`
    GrpcWeb,
    /// `HTTP_PROXY`
    HttpProxy,
    /// `HTTPS`
    Https,
    /// `TLS`
    Tls,
    /// `TCP`
    Tcp,
    /// `Mongo`
    Mongo,
    /// `MySQL`
    MySql,
    /// `Redis`
    Redis,
    /// `UDP`
    Udp,
}

/// What a protocol means for routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolClass {
    /// VirtualService `http` rules apply.
    Http,
    /// HTTP or TCP, found out per connection; counts as HTTP for hosts.
    Sniffed,
    /// Passed through by SNI; VirtualService `tls` rules apply.
    Tls,
    /// VirtualService `tcp` rules apply.
    Tcp,
    /// No listener and no cluster (SE-P-06).
    Udp,
}

impl Protocol {
    /// All protocols with their usual spelling.
    pub(crate) const ALL: [(&'static str, Protocol); 12] = [
        ("HTTP", Protocol::Http),
        ("HTTP2", Protocol::Http2),
        ("GRPC", Protocol::Grpc),
        ("GRPC-Web", Protocol::GrpcWeb),
        ("HTTP_PROXY", Protocol::HttpProxy),
        ("HTTPS", Protocol::Https),
        ("TLS", Protocol::Tls),
        ("TCP", Protocol::Tcp),
        ("Mongo", Protocol::Mongo),
        ("MySQL", Protocol::MySql),
        ("Redis", Protocol::Redis),
        ("UDP", Protocol::Udp),
    ];

    /// Reads a protocol in any case (SE-11); `None` if there is no such one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Protocol::Unspecified);
        }
        Self::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, protocol)| *protocol)
    }

    /// The usual spelling; empty for [`Protocol::Unspecified`].
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, protocol)| *protocol == self).map_or("", |(name, _)| name)
    }

    /// What it means for routing.
    pub fn class(self) -> ProtocolClass {
        match self {
            Protocol::Unspecified => ProtocolClass::Sniffed,
            Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb | Protocol::HttpProxy => {
                ProtocolClass::Http
            }
            Protocol::Https | Protocol::Tls => ProtocolClass::Tls,
            Protocol::Tcp | Protocol::Mongo | Protocol::MySql | Protocol::Redis => ProtocolClass::Tcp,
            Protocol::Udp => ProtocolClass::Udp,
        }
    }

    /// Whether the cluster speaks HTTP/2 whatever the client speaks (SE-P-02).
    pub fn is_http2(self) -> bool {
        matches!(self, Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Protocol::Unspecified { "unspecified" } else { self.name() })
    }
}

pub(crate) fn read(meta: Meta, spec: &Node) -> ServiceEntry {
    let list = |name: &str| spec.get(name).map(Node::items).unwrap_or_default();
    ServiceEntry {
        meta,
        hosts: strings(spec.get("hosts"))
            .into_iter()
            .map(|host| host.map(|host| host.to_ascii_lowercase()))
            .collect(),
        addresses: strings(spec.get("addresses"))
            .into_iter()
            .filter_map(|text| Some(Spanned::new(Address::parse(&text)?, text.span)))
            .collect(),
        ports: list("ports").iter().filter_map(port).collect(),
        location: choice(spec.get("location"), Location::parse),
        resolution: choice(spec.get("resolution"), Resolution::parse),
        endpoints: list("endpoints").iter().map(endpoint).collect(),
        workload_selector: spec
            .get("workloadSelector")
            .map(|node| Spanned::new(labels(node.get("labels")), node.span)),
        export_to: strings(spec.get("exportTo")),
        subject_alt_names: strings(spec.get("subjectAltNames")),
    }
}

fn port(node: &Node) -> Option<Port> {
    let unspecified = Spanned::new(Protocol::Unspecified, node.span);
    Some(Port {
        number: int(node.get("number"))?,
        name: string(node.get("name"))?,
        protocol: choice(node.get("protocol"), Protocol::parse).unwrap_or(unspecified),
        target_port: int(node.get("targetPort")),
        span: node.span,
    })
}

pub(super) fn endpoint(node: &Node) -> Endpoint {
    let ports = node.get("ports").map(Node::entries).unwrap_or_default();
    Endpoint {
        address: string(node.get("address")),
        ports: ports
            .iter()
            .filter_map(|entry| {
                Some((Spanned::new(entry.key.clone(), entry.key_span), int(Some(&entry.node))?))
            })
            .collect(),
        labels: labels(node.get("labels")),
        written_locality: filled(node.get("locality")),
        weight: int(node.get("weight")),
        span: node.span,
    }
}

fn choice<T>(node: Option<&Node>, parse: impl Fn(&str) -> Option<T>) -> Option<Spanned<T>> {
    let node = node?;
    Some(Spanned::new(parse(node.as_str()?)?, node.span))
}
