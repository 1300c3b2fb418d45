//! Clusters: one for each port of each service and each of its subsets (CL-02).

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostics;
use crate::options::{Cidr, Options};
use crate::plan::connections::{needs_passthrough_cluster, passthrough_cluster_name};
use crate::plan::endpoints::{Endpoint, Locality, endpoints, registry_port};
use crate::plan::load_balancing::{LoadBalancing, apply_localities, is_passthrough};
use crate::plan::tls::{UpstreamTls, check_tls, upstream_tls};
use crate::plan::{Input, cluster_name};
use crate::registry::{Origin, Service, location};
use crate::resource::destination_rule::{
    ConnectionPool, H2Upgrade, OutlierDetection, ProxyProtocol, RetryBudget,
};
use crate::resource::service_entry::{Location, Port, Protocol, ProtocolClass, Resolution};

/// A group of endpoints that Envoy forwards to.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Name, such as `outbound|443||example.com`.
    pub name: String,
    /// How endpoints are found.
    pub discovery: Discovery,
    /// Where to.
    pub endpoints: Vec<Endpoint>,
    /// Which of them gets a request.
    pub load_balancing: LoadBalancing,
    /// Weights of localities, of which one is chosen before an endpoint is; without any it has that of
    /// its endpoints. None: all endpoints of a priority are alike (DR-LB-12).
    pub locality_weights: Option<BTreeMap<Locality, u32>>,
    /// Limits and timeouts.
    pub connection_pool: ConnectionPool,
    /// How many requests may be retries; none: as many as the pool says.
    pub retry_budget: Option<RetryBudget>,
    /// When endpoints that fail are taken out.
    pub outlier_detection: Option<OutlierDetection>,
    /// The PROXY protocol goes before everything else.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Which HTTP the endpoints are spoken to.
    pub http: HttpVersion,
    /// TLS that Envoy originates; none: bytes go as they come.
    pub tls: Option<UpstreamTls>,
    /// Where else it leads, for clients of a transparent listener.
    pub original_destination: Option<OriginalDestination>,
    /// The service is outside the mesh; nothing but the cluster's metadata says so (SE-14).
    pub external: bool,
}

/// Clients that have dialled one of these addresses reach that one (SE-R-01).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalDestination {
    /// IP addresses and ranges.
    pub addresses: Vec<Cidr>,
    /// Dialled in place of the client's port.
    pub port: Option<u16>,
}

impl Cluster {
    /// The cluster that dials what the client dialled.
    pub fn original_destination(&self) -> Option<Self> {
        let OriginalDestination { port, .. } = self.original_destination.as_ref()?;
        Some(Self {
            name: original_destination_name(&self.name),
            discovery: Discovery::OriginalDestination(*port),
            endpoints: Vec::new(),
            locality_weights: None,
            original_destination: None,
            ..self.clone()
        })
    }
}

/// The name of the cluster that dials what the client dialled, beside this one.
pub(crate) fn original_destination_name(cluster: &str) -> String {
    format!("original_dst|{cluster}")
}

/// Which HTTP endpoints are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    One,
    /// HTTP/2, whatever the client speaks (SE-P-02).
    Two,
    /// As the client speaks: the port says nothing (SE-P-07).
    AsClient,
}

/// How Envoy finds endpoints (SE-R rows).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// DNS, all addresses of the answer.
    StrictDns,
    /// DNS, one address at a time.
    LogicalDns,
    /// DNS of both families, the address that answers first (SE-22).
    RacingDns,
    /// As given.
    Static,
    /// DNS for the host of each request, or the SNI of each connection, and this port (SE-R-07).
    Dynamic(u16),
    /// DNS for the host that the route names, one address at a time; so many hosts there are.
    Shared {
        /// Names, with their ports.
        hosts: usize,
    },
    /// What the client dialled, or this port of it (SE-R-01).
    OriginalDestination(Option<u16>),
}

/// All clusters, by name: one for each port of each service, and for each of its subsets (CL-02).
pub(super) fn build(input: &Input<'_>, diagnostics: &mut Diagnostics) -> Vec<Cluster> {
    let mut clusters = Vec::new();
    for service in input.registry.services() {
        for (&number, port) in &service.ports {
            let subsets = input.rules.of(service).map(|rules| rules.subsets.as_slice()).unwrap_or_default();
            let subsets = subsets.iter().map(|subset| subset.name.as_str());
            for subset in std::iter::once("").chain(subsets) {
                if !exists(input, service, number, subset) {
                    continue;
                }
                let tls = upstream_tls(input, service, number, subset);
                check_tls(input, service, number, subset, port, diagnostics);
                let policy = input.rules.policy(service, number, subset);
                let mesh = &input.options.mesh;
                // DR-TP-03
                let pool = policy.connection_pool.or(mesh.connection_pool.as_ref());
                let outliers = policy.outlier_detection.or(mesh.outlier_detection.as_ref());
                let mut endpoints = endpoints(input, service, number, subset);
                let discovery = discovery(input, service, port, subset, &endpoints);
                let cluster = Cluster {
                    name: cluster_name(service.host, number, subset),
                    discovery,
                    load_balancing: LoadBalancing::of(policy.load_balancer),
                    locality_weights: apply_localities(
                        &mut endpoints,
                        policy.load_balancer,
                        outliers.is_some(),
                        input.options,
                    ),
                    endpoints,
                    http: http_version(port.protocol.value, pool, input.options),
                    connection_pool: pool.cloned().unwrap_or_default(),
                    retry_budget: policy.retry_budget.cloned(),
                    outlier_detection: outliers.cloned(),
                    proxy_protocol: policy.proxy_protocol,
                    tls,
                    original_destination: original_destination(input, service, port, subset),
                    external: location(service.origin, input.options) == Location::MeshExternal,
                };
                if needs_passthrough_cluster(input, service, number, subset) {
                    clusters.push(Cluster {
                        name: passthrough_cluster_name(service.host, number, subset),
                        tls: None,
                        ..cluster.clone()
                    });
                }
                clusters.push(cluster);
            }
        }
    }
    clusters.sort_by(|one, other| one.name.cmp(&other.name));
    clusters
}

/// Whether `service` has a cluster on `port`, or its subset of that name, unless it is empty.
pub(super) fn exists(input: &Input<'_>, service: &Service<'_>, number: u16, subset: &str) -> bool {
    let Some(port) = service.ports.get(&number) else { return false };
    if port.protocol.class() == ProtocolClass::Udp || service.without_cluster.contains(&number) {
        return false;
    }
    // What is resolved by each request has no subsets (SE-R-07).
    let is_known =
        || input.rules.subset(service, subset).is_some() && service.resolution() != Resolution::DynamicDns;
    if !subset.is_empty() && !is_known() {
        return false;
    }
    // A DNS cluster without endpoints doesn't exist, a static one is empty (SE-R-08).
    service.resolution() == Resolution::Static
        || dialled_port(input, service, number, subset).is_some()
        || !endpoints(input, service, number, subset).is_empty()
}

/// As the port's protocol says, unless the pool or the mesh says otherwise (DR-CP-09, DR-CP-10).
fn http_version(protocol: Protocol, pool: Option<&ConnectionPool>, options: &Options) -> HttpVersion {
    let http = pool.map(|pool| &pool.http);
    let upgrades = match http.map_or(H2Upgrade::Default, |http| http.h2_upgrade) {
        H2Upgrade::Upgrade => true,
        H2Upgrade::DoNotUpgrade => false,
        H2Upgrade::Default => options.mesh.h2_upgrade && protocol.class() == ProtocolClass::Http,
    };
    match protocol {
        _ if http.is_some_and(|http| http.use_client_protocol) => HttpVersion::AsClient,
        _ if upgrades => HttpVersion::Two,
        Protocol::Unspecified => HttpVersion::AsClient,
        protocol if protocol.is_http2() => HttpVersion::Two,
        _ => HttpVersion::One,
    }
}

/// Whether the address is meant that the client dialled: so says the entry, or the load balancer
/// `PASSTHROUGH` (SE-R-01, DR-LB-04).
pub(super) fn is_dialled(input: &Input<'_>, service: &Service<'_>, number: u16, subset: &str) -> bool {
    service.resolution() == Resolution::None
        || is_passthrough(input.rules.policy(service, number, subset).load_balancer)
}

/// The port of `service` that is dialled at the host of each request, where there is no other
/// host to dial.
pub(super) fn dialled_port(
    input: &Input<'_>,
    service: &Service<'_>,
    number: u16,
    subset: &str,
) -> Option<u16> {
    let port = service.ports.get(&number)?;
    let by_host =
        service.resolution() == Resolution::DynamicDns || is_dialled(input, service, number, subset);
    (by_host && service.host.starts_with('*'))
        .then(|| input.options.envoy.dialled_port(service.host, registry_port(port)))
}

/// On a transparent listener such a service is what the client dialled, provided that this is one of
/// its addresses: a Host header or SNI must not lead anywhere else (design, section 6).
fn original_destination(
    input: &Input<'_>,
    service: &Service<'_>,
    port: &Port,
    subset: &str,
) -> Option<OriginalDestination> {
    let number = port.number.value;
    if input.options.envoy.transparent.is_empty() || !is_dialled(input, service, number, subset) {
        return None;
    }
    let addresses = service.ranges(number);
    let dialled = input.options.envoy.dialled_port(service.host, registry_port(port));
    (!addresses.is_empty())
        .then(|| OriginalDestination { addresses, port: (dialled != number).then_some(dialled) })
}

fn discovery(
    input: &Input<'_>,
    service: &Service<'_>,
    port: &Port,
    subset: &str,
    endpoints: &[Endpoint],
) -> Discovery {
    if let Some(port) = dialled_port(input, service, port.number.value, subset) {
        return Discovery::Dynamic(port);
    }
    if is_dialled(input, service, port.number.value, subset) {
        // One address at a time, as a client would dial (GAP-02).
        return Discovery::LogicalDns;
    }
    let races = matches!(service.origin, Origin::Entry(entry) if entry.races_addresses());
    match service.resolution() {
        // Envoy takes one name only.
        Resolution::Dns if races && endpoints.len() == 1 => Discovery::RacingDns,
        Resolution::DnsRoundRobin | Resolution::None => Discovery::LogicalDns,
        Resolution::Static => Discovery::Static,
        Resolution::Dns | Resolution::DynamicDns => Discovery::StrictDns,
    }
}
