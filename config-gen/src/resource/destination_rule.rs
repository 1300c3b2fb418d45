//! DestinationRule (spec section 5).

pub(crate) mod connection_pool;
pub(crate) mod load_balancer;
pub(crate) mod outlier_detection;

use std::collections::BTreeMap;

pub use connection_pool::{ConnectionPool, H2Upgrade, Http, Http2KeepAlive, Keepalive, Tcp};
pub use load_balancer::{
    Balancing, ConsistentHash, Cookie, HashKey, HashTable, LoadBalancer, LocalitySetting, Simple, Warmup,
    ZoneAware,
};
pub use outlier_detection::OutlierDetection;

use super::read::{boolean, filled, int, labels, number, string, strings};
use super::{Meta, Spanned};
use crate::input::node::Node;
use crate::source::Span;

/// A DestinationRule.
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationRule {
    /// Name, namespace and so on.
    pub meta: Meta,
    /// Host as written: it is compared with its case (DR-05).
    pub host: Spanned<String>,
    /// Who may see it; empty means everyone (DR-06).
    pub export_to: Vec<Spanned<String>>,
    /// The policy. A rule without one takes part in merging all the same
    /// (DR-07).
    pub traffic_policy: Option<TrafficPolicy>,
    /// Parts of the service's endpoints.
    pub subsets: Vec<Subset>,
    /// Labels of the clients that it is for; none: it is for all (DR-09).
    pub workload_selector: Option<BTreeMap<String, String>>,
}

/// Endpoints of a service that carry certain labels (DR-10).
#[derive(Clone, Debug, PartialEq)]
pub struct Subset {
    /// What VirtualServices call it.
    pub name: Spanned<String>,
    /// What its endpoints carry.
    pub labels: BTreeMap<String, String>,
    /// Blocks that take the place of the rule's (DR-TP-04).
    pub traffic_policy: Option<TrafficPolicy>,
}

/// How the destination is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficPolicy {
    /// For ports without settings of their own.
    pub settings: Settings,
    /// Settings that replace the ones above for a port (DR-TP-01).
    pub port_level_settings: Vec<PortSettings>,
    /// The PROXY protocol, which tells endpoints the client's address (DR-PP-01).
    pub proxy_protocol: Option<Spanned<ProxyProtocol>>,
    /// How many requests may be retries (DR-CP-11).
    pub retry_budget: Option<RetryBudget>,
    /// Connections are sent on by a proxy, which the endpoints are (DR-TUN-01).
    pub tunnel: Option<Tunnel>,
    /// The whole policy.
    pub span: Span,
}

/// The blocks that a rule, a port and a subset can all have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Which endpoint gets a request (spec 5.3).
    pub load_balancer: Option<LoadBalancer>,
    /// Limits and timeouts (spec 5.4).
    pub connection_pool: Option<ConnectionPool>,
    /// When endpoints that fail are taken out (spec 5.5).
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS origination (spec 5.6).
    pub tls: Option<TlsSettings>,
}

/// What replaces the policy for one port.
#[derive(Clone, Debug, PartialEq)]
pub struct PortSettings {
    /// Number of the service port (DR-TP-05).
    pub port: Spanned<u16>,
    /// A block that isn't there has its default here, not what the rule says.
    pub settings: Settings,
    /// The whole entry.
    pub span: Span,
}

/// What a proxy is asked to connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tunnel {
    /// By POST and not by CONNECT.
    pub by_post: bool,
    /// A name or an IP address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Text, the default.
    V1,
    /// Binary.
    V2,
}

/// How many of the active requests may be retries (DR-CP-11).
#[derive(Clone, Debug, PartialEq)]
pub struct RetryBudget {
    /// Share of the active requests.
    pub percent: Option<f64>,
    /// So many may be, whatever the share.
    pub min_retry_concurrency: Option<u32>,
}

/// TLS origination (spec 5.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The mode; absent is `DISABLE`, and the place is then the whole block.
    pub mode: Spanned<TlsMode>,
    /// Fixed SNI (DR-TLS-07).
    pub sni: Option<Spanned<String>>,
    /// Names of which the certificate must carry one (DR-TLS-11).
    pub subject_alt_names: Vec<Spanned<String>>,
    /// Certificate that is presented (DR-TLS-04).
    pub client_certificate: Option<Spanned<String>>,
    /// Its key.
    pub private_key: Option<Spanned<String>>,
    /// CA bundle in place of the system's (DR-TLS-10).
    pub ca_certificates: Option<Spanned<String>>,
    /// What these authorities have revoked (DR-TLS-10).
    pub ca_crl: Option<Spanned<String>>,
    /// A secret in place of all these files (DR-TLS-16, DR-TLS-17).
    pub credential_name: Option<Spanned<String>>,
    /// Verifies nothing (DR-TLS-15); absence is false.
    pub insecure_skip_verify: Option<Spanned<bool>>,
    /// The whole block.
    pub span: Span,
}

/// Mode of TLS origination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Plaintext.
    Disable,
    /// TLS without client certificate.
    Simple,
    /// TLS with client certificate.
    Mutual,
    /// TLS with the mesh's certificates.
    IstioMutual,
}

impl TlsMode {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "DISABLE" => TlsMode::Disable,
            "SIMPLE" => TlsMode::Simple,
            "MUTUAL" => TlsMode::Mutual,
            "ISTIO_MUTUAL" => TlsMode::IstioMutual,
            _ => return None,
        })
    }
}

/// `None` if there is no host, which the schema reports.
pub(crate) fn read(meta: Meta, spec: &Node) -> Option<DestinationRule> {
    let list = |name: &str| spec.get(name).map(Node::items).unwrap_or_default();
    Some(DestinationRule {
        meta,
        host: string(spec.get("host"))?,
        export_to: strings(spec.get("exportTo")),
        traffic_policy: spec.get("trafficPolicy").map(traffic_policy),
        subsets: list("subsets").iter().filter_map(subset).collect(),
        workload_selector: spec.get("workloadSelector").map(|node| labels(node.get("matchLabels"))),
    })
}

fn subset(node: &Node) -> Option<Subset> {
    Some(Subset {
        name: string(node.get("name"))?,
        labels: labels(node.get("labels")),
        traffic_policy: node.get("trafficPolicy").map(traffic_policy),
    })
}

pub(crate) fn traffic_policy(node: &Node) -> TrafficPolicy {
    let ports = node.get("portLevelSettings").map(Node::items).unwrap_or_default();
    TrafficPolicy {
        settings: settings(node),
        port_level_settings: ports.iter().filter_map(port_settings).collect(),
        proxy_protocol: node.get("proxyProtocol").map(proxy_protocol),
        retry_budget: node.get("retryBudget").map(|node| RetryBudget {
            percent: number(node.get("percent")),
            min_retry_concurrency: int(node.get("minRetryConcurrency")).map(|count| count.value),
        }),
        tunnel: node.get("tunnel").and_then(tunnel),
        span: node.span,
    }
}

fn tunnel(node: &Node) -> Option<Tunnel> {
    Some(Tunnel {
        by_post: filled(node.get("protocol")).is_some_and(|protocol| protocol.value == "POST"),
        host: filled(node.get("targetHost"))?.value,
        port: int(node.get("targetPort"))?.value,
    })
}

fn port_settings(node: &Node) -> Option<PortSettings> {
    Some(PortSettings {
        port: int(node.get("port")?.get("number"))?,
        settings: settings(node),
        span: node.span,
    })
}

fn settings(node: &Node) -> Settings {
    Settings {
        load_balancer: node.get("loadBalancer").map(load_balancer::read),
        connection_pool: node.get("connectionPool").map(connection_pool::read),
        outlier_detection: node.get("outlierDetection").map(outlier_detection::read),
        tls: node.get("tls").map(tls),
    }
}

fn proxy_protocol(node: &Node) -> Spanned<ProxyProtocol> {
    let version = match node.get("version").and_then(Node::as_str) {
        Some("V2") => ProxyProtocol::V2,
        _ => ProxyProtocol::V1,
    };
    Spanned::new(version, node.span)
}

fn tls(node: &Node) -> TlsSettings {
    let mode = node
        .get("mode")
        .and_then(|mode| Some(Spanned::new(TlsMode::parse(mode.as_str()?)?, mode.span)))
        .unwrap_or(Spanned::new(TlsMode::Disable, node.span));
    TlsSettings {
        mode,
        sni: filled(node.get("sni")),
        subject_alt_names: strings(node.get("subjectAltNames")),
        client_certificate: filled(node.get("clientCertificate")),
        private_key: filled(node.get("privateKey")),
        ca_certificates: filled(node.get("caCertificates")),
        ca_crl: filled(node.get("caCrl")),
        credential_name: filled(node.get("credentialName")),
        insecure_skip_verify: boolean(node.get("insecureSkipVerify")),
        span: node.span,
    }
}
