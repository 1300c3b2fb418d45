//! What the user chooses besides the resources.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

use crate::credential::Credential;
use crate::gateway::GatewayName;
use crate::plan::Locality;
use crate::resource::action::Retries;
use crate::resource::destination_rule::{ConnectionPool, Keepalive, LocalitySetting, OutlierDetection};
use crate::resource::service_entry::Location;

/// Whose reading of the resources counts where the two differ (design, section 3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// What a user of plain Envoy expects; the differences are listed in the documentation.
    #[default]
    Standalone,
    /// Istio's sidecar, row by row.
    Istio,
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Standalone => "standalone",
            Self::Istio => "istio",
        })
    }
}

/// What happens to hosts outside the registry (OTP-01).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutboundPolicy {
    /// They are refused.
    RegistryOnly,
    /// They are passed through, resolved by their name.
    AllowAny,
    /// The same, and each is counted and named in the access log, with the reason for which it would be
    /// refused.
    Report,
}

impl OutboundPolicy {
    /// Whether they are passed through.
    pub fn passes(self) -> bool {
        self != Self::RegistryOnly
    }
}

/// Whether services share clusters (design, section 7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clusters {
    /// Where very many differ in nothing but their host.
    #[default]
    Auto,
    /// Never.
    Dedicated,
    /// Wherever they can.
    Shared,
}

/// What decides about meaning: the same for every output.
#[derive(Debug, Clone)]
pub struct Options {
    /// Default: standalone.
    pub profile: Profile,
    /// Namespace of the client whose traffic is handled; decides over `exportTo`,
    /// `sourceNamespace` and short names.
    pub client_namespace: String,
    /// Whether somebody chose that namespace; if not, what `exportTo` hides is worth a word.
    pub client_namespace_given: bool,
    /// The namespace whose resources reach all others, `meshConfig.rootNamespace`.
    pub root_namespace: String,
    /// The Gateway whose proxy is generated for, in place of a client's (GW-01).
    pub gateway: Option<GatewayName>,
    /// Do what rules for an egress gateway say right here, in place of the way to it (GW-21).
    pub collapse_egress_gateway: bool,
    /// Labels of the client (VS-MATCH-31).
    pub client_labels: BTreeMap<String, String>,
    /// Where the client stands; none: it isn't known, so that localities make no difference
    /// (DR-LB-12).
    pub client_locality: Option<Locality>,
    /// What the mesh says of clusters.
    pub mesh: MeshDefaults,
    /// Default: `REGISTRY_ONLY` in profile standalone, `ALLOW_ANY` in profile istio (OTP-02).
    pub outbound_policy: Option<OutboundPolicy>,
    /// Retries of routes that say nothing, `meshConfig.defaultHttpRetryPolicy`. Default: Istio's
    /// (DEF-06).
    pub default_retries: Option<Retries>,
    /// What a ServiceEntry without `location` is. Default: `MESH_INTERNAL` in profile standalone,
    /// `MESH_EXTERNAL` in profile istio (SE-13).
    pub default_location: Option<Location>,
    /// Tell upstreams what was rewritten and which attempt it is, in `x-envoy-*` headers
    /// (VS-RW-16, VH-21). Default: in profile istio.
    pub envoy_headers: Option<bool>,
    /// Originate TLS for hosts that have only TLS ports, without a DestinationRule that says
    /// so. Profile standalone only.
    pub originate_tls: bool,
    /// Serve wildcard hosts of VirtualServices that no registered host matches. Profile
    /// standalone only.
    pub allow_unregistered_wildcards: bool,
    /// Whether services share clusters.
    pub clusters: Clusters,
    /// Codes of errors that are accepted, and so become warnings: of
    /// [`ACCEPTABLE`](crate::plan::ACCEPTABLE).
    pub accept: Vec<String>,
    /// Whether something for the sidecars of a mesh is wanted.
    pub mesh_outputs: bool,
    /// Files for the names in `credentialName`, and for the mesh's own certificates.
    pub credentials: Vec<Credential>,
    /// How Envoy is set up.
    pub envoy: EnvoyOptions,
}

/// What the mesh says of all clusters; a DestinationRule comes before it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MeshDefaults {
    /// `defaultTrafficPolicy.connectionPool` (DR-TP-03).
    pub connection_pool: Option<ConnectionPool>,
    /// `defaultTrafficPolicy.outlierDetection` (DR-TP-03).
    pub outlier_detection: Option<OutlierDetection>,
    /// `tcpKeepalive` (DR-CP-03).
    pub keepalive: Option<Keepalive>,
    /// `h2UpgradePolicy: UPGRADE` (DR-CP-09).
    pub h2_upgrade: bool,
    /// `localityLbSetting` (DR-LB-12).
    pub locality: Option<LocalitySetting>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            client_namespace: "default".to_owned(),
            client_namespace_given: true,
            root_namespace: ROOT_NAMESPACE.to_owned(),
            gateway: None,
            collapse_egress_gateway: false,
            client_labels: BTreeMap::new(),
            client_locality: None,
            mesh: MeshDefaults::default(),
            outbound_policy: None,
            default_retries: None,
            default_location: None,
            envoy_headers: None,
            originate_tls: false,
            allow_unregistered_wildcards: false,
            clusters: Clusters::default(),
            accept: Vec::new(),
            mesh_outputs: false,
            credentials: Vec::new(),
            envoy: EnvoyOptions::default(),
        }
    }
}

impl Options {
    /// Whether upstreams get `x-envoy-*` headers.
    pub fn envoy_headers(&self) -> bool {
        self.envoy_headers.unwrap_or(self.profile == Profile::Istio)
    }

    /// Whether errors with this code are accepted.
    pub fn accepts(&self, code: &str) -> bool {
        self.accept.iter().any(|accepted| accepted == code)
    }

    /// The files of this name.
    pub fn credential(&self, name: &str) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.name == name)
    }

    /// The outbound policy in force.
    pub fn outbound_policy(&self) -> OutboundPolicy {
        self.outbound_policy.unwrap_or(match self.profile {
            Profile::Standalone => OutboundPolicy::RegistryOnly,
            Profile::Istio => OutboundPolicy::AllowAny,
        })
    }
}

/// The domain that Kubernetes services live in.
pub const DOMAIN_SUFFIX: &str = "cluster.local";

/// [`Options::root_namespace`] by default.
pub const ROOT_NAMESPACE: &str = "istio-system";

/// The access log path that stands for Envoy's standard output.
pub const STDOUT: &str = "/dev/stdout";

/// How the generated Envoy is reached and what it needs around it.
#[derive(Debug, Clone)]
pub struct EnvoyOptions {
    /// Listeners, by the port that clients mean.
    pub listeners: Vec<Listen>,
    /// Where an explicit proxy listens, which clients name in `HTTP_PROXY` and `HTTPS_PROXY`: the port
    /// that they mean stands in the authority (GAP-01). None: there is no such listener.
    pub explicit_proxy: Option<SocketAddr>,
    /// Where connections arrive that the kernel has redirected: the port that clients mean is
    /// that of the original destination. At most one of each family; none: there is no such
    /// listener.
    pub transparent: Vec<SocketAddr>,
    /// How the kernel tells Envoy's own connections from those that it redirects.
    pub own_connections: OwnConnections,
    /// Nothing but what sidecars of a mesh take is wanted: they have listeners on all ports (LI-01), and
    /// know destinations from elsewhere.
    pub sidecar: bool,
    /// The admin interface; none: no admin interface.
    pub admin: Option<SocketAddr>,
    /// DNS servers to ask; empty: those of the system.
    pub dns_resolvers: Vec<SocketAddr>,
    /// Which addresses are asked for (SE-R-06).
    pub dns_family: DnsFamily,
    /// Longest time that a connection may take to be made (DEF-08), as `10s`.
    pub connect_timeout: String,
    /// How often a name is resolved again whose answer has no time to live (SE-R-06), as `60s`. Default:
    /// `60s`, and `5s` for names that share a cluster.
    pub dns_refresh_rate: Option<String>,
    /// PEM file with the certificate authorities that upstream certificates are checked
    /// against (DR-TLS-09), as Envoy finds it.
    pub ca_bundle: String,
    /// What TLS towards upstreams may use, `meshConfig.tlsDefaults`.
    pub tls_defaults: TlsDefaults,
    /// The filter module, as Envoy finds it.
    pub module: String,
    /// Allow the module only the calls that it makes.
    pub restrict_capabilities: bool,
    /// The directory of the generated files, as Envoy finds it. Empty: its working directory.
    pub files_root: String,
    /// Clusters, routes and listeners stand in files that Envoy watches, not in the bootstrap.
    pub dynamic_resources: bool,
    /// Ports to dial in place of the registry's.
    pub upstream_ports: Vec<UpstreamPort>,
    /// Private addresses that names may lead to all the same. In profile istio names of the registry may lead
    /// anywhere, and these are for `ALLOW_ANY`.
    pub allow_upstream: Vec<Cidr>,
    /// Where access logs go; none: nowhere.
    pub access_log: Option<String>,
    /// Most client connections at a time; further ones are refused.
    pub max_connections: u32,
    /// Give requests without an `x-request-id` one. Default: in profile istio.
    pub request_id: Option<bool>,
    /// Whether each cluster has statistics of its own.
    pub cluster_stats: ClusterStats,
}

impl Default for EnvoyOptions {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            listeners: vec![
                Listen { port: 80, address: loopback(10080) },
                Listen { port: 443, address: loopback(10443) },
            ],
            explicit_proxy: None,
            transparent: Vec::new(),
            own_connections: OwnConnections::default(),
            sidecar: false,
            admin: Some(loopback(9901)),
            dns_resolvers: Vec::new(),
            dns_family: DnsFamily::default(),
            connect_timeout: "10s".to_owned(),
            dns_refresh_rate: None,
            ca_bundle: "/etc/ssl/certs/ca-certificates.crt".to_owned(),
            tls_defaults: TlsDefaults::default(),
            module: "portolan.wasm".to_owned(),
            restrict_capabilities: false,
            files_root: String::new(),
            dynamic_resources: false,
            upstream_ports: Vec::new(),
            allow_upstream: Vec::new(),
            access_log: Some(STDOUT.to_owned()),
            max_connections: 50_000,
            request_id: None,
            cluster_stats: ClusterStats::default(),
        }
    }
}

/// Under which names Envoy counts what becomes of requests to clusters. Each cluster by itself has some 150 statistics,
/// most of which Prometheus would keep as series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterStats {
    /// By themselves, but together where there are more than 1 000.
    #[default]
    Auto,
    /// Each by itself, however many there are.
    Each,
    /// All together, as `outbound`.
    Together,
}

/// How connections that Envoy makes are known. Those that are taken for others come back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnConnections {
    /// By a mark that Envoy sets on them, for which it needs the capability `NET_ADMIN`.
    Mark(u32),
    /// By the user that Envoy runs as, who then has no other connections redirected either.
    User(u32),
}

impl Default for OwnConnections {
    fn default() -> Self {
        Self::Mark(0x706f)
    }
}

/// What TLS towards upstreams may use; empty: what Envoy takes by itself (DR-TLS-06).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsDefaults {
    /// Curves for the exchange of keys, the preferred one first.
    pub curves: Vec<String>,
    /// Cipher suites of TLS 1.2, the preferred one first.
    pub cipher_suites: Vec<String>,
}

/// A listener: `PORT=ADDRESS:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// The port that clients mean, which registry and rules see (GAP-01).
    pub port: u16,
    /// Where Envoy listens.
    pub address: SocketAddr,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not of the form PORT=ADDRESS:PORT, such as 80=127.0.0.1:10080");
        let (port, address) = text.split_once('=').ok_or_else(form)?;
        Ok(Self { port: nonzero_port(port).ok_or_else(form)?, address: address.parse().map_err(|_| form())? })
    }
}

/// A port to dial in place of another: `[HOST:]PORT=PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamPort {
    /// Only for this registry host; none: for all.
    pub host: Option<String>,
    /// The port that the registry names.
    pub port: u16,
    /// The port that is dialled.
    pub dialled: u16,
}

impl FromStr for UpstreamPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!("`{text}` is not of the form [HOST:]PORT=PORT, such as 443=8443 or example.com:443=8443")
        };
        let (service, dialled) = text.split_once('=').ok_or_else(form)?;
        let (host, port) = match service.rsplit_once(':') {
            Some((host, port)) => (Some(host.to_ascii_lowercase()), port),
            None => (None, service),
        };
        Ok(Self {
            host,
            port: nonzero_port(port).ok_or_else(form)?,
            dialled: nonzero_port(dialled).ok_or_else(form)?,
        })
    }
}

fn nonzero_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

impl EnvoyOptions {
    /// Whether a listener takes connections for every port.
    pub fn takes_every_port(&self) -> bool {
        self.explicit_proxy.is_some() || !self.transparent.is_empty() || self.sidecar
    }

    /// Whether what a client has dialled is known of every connection.
    pub fn knows_original_destinations(&self) -> bool {
        !self.transparent.is_empty() && self.listeners.is_empty() && self.explicit_proxy.is_none()
    }

    /// The port that is dialled for `port` of the registry host `host`.
    pub fn dialled_port(&self, host: &str, port: u16) -> u16 {
        let mapped = |wanted: Option<&str>| {
            self.upstream_ports.iter().find(|entry| entry.port == port && entry.host.as_deref() == wanted)
        };
        mapped(Some(host)).or_else(|| mapped(None)).map_or(port, |entry| entry.dialled)
    }
}

/// Which addresses a name is resolved to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum DnsFamily {
    /// IPv4, Istio's choice for a proxy it knows nothing of (SE-R-06).
    #[default]
    #[serde(rename = "v4")]
    V4Only,
    /// IPv6.
    #[serde(rename = "v6")]
    V6Only,
    /// Both.
    #[serde(rename = "all")]
    All,
}

/// A range of addresses: `ADDRESS/LENGTH`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    /// First address of the range.
    pub address: IpAddr,
    /// How many leading bits are fixed.
    pub length: u8,
}

impl Cidr {
    /// The range of one address.
    pub fn of(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// The same range by its first address, so that equal ranges are equal.
    pub fn normalized(self) -> Self {
        let free = u32::from(Self::of(self.address).length - self.length);
        let address = match self.address {
            IpAddr::V4(address) => {
                IpAddr::V4((u32::from(address) & u32::MAX.checked_shl(free).unwrap_or(0)).into())
            }
            IpAddr::V6(address) => {
                IpAddr::V6((u128::from(address) & u128::MAX.checked_shl(free).unwrap_or(0)).into())
            }
        };
        Self { address, ..self }
    }

    /// Whether all of `other` is in the range.
    pub fn covers(self, other: Self) -> bool {
        self.length <= other.length && self.contains(other.address)
    }

    /// Whether `address` is in the range. IPv4 and IPv6 are apart.
    pub fn contains(self, address: IpAddr) -> bool {
        let bits = |bits: u128, longest: u8| bits.checked_shr(u32::from(longest - self.length)).unwrap_or(0);
        match (self.address, address) {
            (IpAddr::V4(first), IpAddr::V4(other)) => {
                bits(u32::from(first).into(), 32) == bits(u32::from(other).into(), 32)
            }
            (IpAddr::V6(first), IpAddr::V6(other)) => bits(first.into(), 128) == bits(other.into(), 128),
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is neither an IP address nor a range such as 10.0.0.0/8");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().map_err(|_| form())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(longest);
        if length > longest { Err(form()) } else { Ok(Self { address, length }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_explained() {
        assert_eq!(
            "80=127.0.0.1:10080".parse(),
            Ok(Listen { port: 80, address: "127.0.0.1:10080".parse().unwrap() })
        );
        assert_eq!("6=[::1]:0".parse(), Ok(Listen { port: 6, address: "[::1]:0".parse().unwrap() }));
        for bad in ["80", "0=127.0.0.1:1", "80=localhost:1", "x=127.0.0.1:1"] {
            assert!(bad.parse::<Listen>().unwrap_err().contains("PORT=ADDRESS:PORT"), "{bad}");
        }
        assert_eq!("443=8443".parse(), Ok(UpstreamPort { host: None, port: 443, dialled: 8443 }));
        assert!("a:b:1=0".parse::<UpstreamPort>().is_err());
        assert!("10.0.0.0/33".parse::<Cidr>().is_err() && "::1".parse::<Cidr>().is_ok());
    }

    #[test]
    fn ranges_hold_addresses() {
        let holds =
            |range: &str, address: &str| range.parse::<Cidr>().unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("::/0", "1::") && holds("::1", "::1") && !holds("::/127", "::2"));
        assert!(!holds("::/0", "10.0.0.1"));
        let covers = |range: &str, other: &str| range.parse::<Cidr>().unwrap().covers(other.parse().unwrap());
        assert!(covers("10.0.0.0/8", "10.1.0.0/16") && covers("::1", "::1"));
        assert!(!covers("10.1.0.0/16", "10.0.0.0/8") && !covers("10.0.0.0/8", "11.0.0.0/16"));
        let normalized = |range: &str| range.parse::<Cidr>().unwrap().normalized();
        for (written, range) in
            [("10.1.2.3/8", "10.0.0.0/8"), ("10.1.2.3/0", "0.0.0.0/0"), ("1::2/16", "1::/16"), ("::1", "::1")]
        {
            assert_eq!(normalized(written), range.parse().unwrap());
        }
    }

    #[test]
    fn the_port_of_a_host_comes_before_that_of_all() {
        let options = EnvoyOptions {
            upstream_ports: vec!["443=1".parse().unwrap(), "a.example.com:443=2".parse().unwrap()],
            ..EnvoyOptions::default()
        };
        assert_eq!(options.dialled_port("a.example.com", 443), 2);
        assert_eq!(options.dialled_port("b.example.com", 443), 1);
        assert_eq!(options.dialled_port("b.example.com", 80), 80);
    }
}
