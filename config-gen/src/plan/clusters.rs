//! Clusters: one for each port of each service and each of its subsets (CL-02).

use crate::diagnostic::Diagnostics;
use crate::plan::connections::{needs_passthrough_cluster, passthrough_cluster_name};
use crate::plan::endpoints::{Endpoint, endpoints, registry_port};
use crate::plan::tls::{UpstreamTls, check_tls, upstream_tls};
use crate::plan::{Input, cluster_name};
use crate::registry::{Origin, Service, location};
use crate::resource::service_entry::{Location, Port, Protocol, ProtocolClass, Resolution};

/// A group of endpoints that Envoy forwards to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Name, such as `outbound|443||example.com`.
    pub name: String,
    /// How endpoints are found.
    pub discovery: Discovery,
    /// Where to.
    pub endpoints: Vec<Endpoint>,
    /// Which HTTP the endpoints are spoken to.
    pub http: HttpVersion,
    /// TLS that Envoy originates; none: bytes go as they come.
    pub tls: Option<UpstreamTls>,
    /// The service is outside the mesh; nothing but the cluster's metadata says so (SE-14).
    pub external: bool,
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
                let endpoints = endpoints(input, service, number, subset);
                let cluster = Cluster {
                    name: cluster_name(service.host, number, subset),
                    discovery: discovery(input, service, port, &endpoints),
                    endpoints,
                    http: http_version(port.protocol.value),
                    tls,
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
        || dialled_port(input, service, number).is_some()
        || !endpoints(input, service, number, subset).is_empty()
}

fn http_version(protocol: Protocol) -> HttpVersion {
    match protocol {
        Protocol::Unspecified => HttpVersion::AsClient,
        protocol if protocol.is_http2() => HttpVersion::Two,
        _ => HttpVersion::One,
    }
}

/// The port of `service` that is dialled at the host of each request, where there is no other
/// host to dial.
pub(super) fn dialled_port(input: &Input<'_>, service: &Service<'_>, number: u16) -> Option<u16> {
    let port = service.ports.get(&number)?;
    let by_host = matches!(service.resolution(), Resolution::None | Resolution::DynamicDns);
    (by_host && service.host.starts_with('*'))
        .then(|| input.options.envoy.dialled_port(service.host, registry_port(port)))
}

fn discovery(input: &Input<'_>, service: &Service<'_>, port: &Port, endpoints: &[Endpoint]) -> Discovery {
    if let Some(port) = dialled_port(input, service, port.number.value) {
        return Discovery::Dynamic(port);
    }
    let races = matches!(service.origin, Origin::Entry(entry) if entry.races_addresses());
    match service.resolution() {
        // Envoy takes one name only.
        Resolution::Dns if races && endpoints.len() == 1 => Discovery::RacingDns,
        // One address at a time, as a client would dial (GAP-02).
        Resolution::DnsRoundRobin | Resolution::None => Discovery::LogicalDns,
        Resolution::Static => Discovery::Static,
        Resolution::Dns | Resolution::DynamicDns => Discovery::StrictDns,
    }
}
