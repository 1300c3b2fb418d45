//! Clusters: one for each port of each service and each of its subsets (CL-02), with its TLS (spec
//! section 5.6).

use std::net::IpAddr;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::options::Profile;
use crate::plan::connections::{needs_passthrough_cluster, passthrough_cluster_name};
use crate::plan::endpoints::{Endpoint, endpoints, registry_port};
use crate::plan::{Input, cluster_name};
use crate::registry::{Origin, Service, location};
use crate::resource::destination_rule::{TlsMode, TlsSettings};
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

/// TLS towards the endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Sent for every request; none: the host of `:authority` (DR-TLS-07, DR-TLS-08).
    pub sni: Option<String>,
    /// Names of which the certificate must have one (DR-TLS-11, DR-TLS-12).
    pub subject_alt_names: Vec<String>,
    /// The certificate must have the host of `:authority` (DR-TLS-13).
    pub auto_san: bool,
    /// What the certificate is checked against.
    pub ca: Ca,
}

/// What an upstream certificate is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ca {
    /// The bundle of the options, by default the operating system's (DR-TLS-09).
    System,
    /// A PEM file (DR-TLS-10).
    File(String),
    /// Nothing at all (DR-TLS-15).
    Unverified,
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
                if tls.is_some() {
                    check_tls(input, service, number, subset, port, diagnostics);
                }
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

/// TLS settings of the DestinationRule, unless they switch it off.
fn tls_settings<'a>(
    input: &Input<'a>,
    service: &Service<'_>,
    port: u16,
    subset: &str,
) -> Option<&'a TlsSettings> {
    input.rules.policy(service, port, subset).tls.filter(|tls| tls.mode.value != TlsMode::Disable)
}

/// TLS for a port of `service` or its subset, as its DestinationRule says, or as `--originate-tls`
/// does for a service that has only TLS ports.
pub(super) fn upstream_tls(
    input: &Input<'_>,
    service: &Service<'_>,
    port: u16,
    subset: &str,
) -> Option<UpstreamTls> {
    if let Some(settings) = tls_settings(input, service, port, subset) {
        return Some(from_settings(settings, service));
    }
    let asked = input.options.originate_tls && input.options.profile == Profile::Standalone;
    (asked && service.only_tls_ports().is_some_and(|ports| ports.contains(&port))).then(|| UpstreamTls {
        sni: None,
        subject_alt_names: subject_alt_names(service),
        auto_san: true,
        ca: Ca::System,
    })
}

fn from_settings(settings: &TlsSettings, service: &Service<'_>) -> UpstreamTls {
    let own: Vec<String> = settings.subject_alt_names.iter().map(|name| name.value.clone()).collect();
    let sni = settings.sni.as_ref().map(|sni| sni.value.clone());
    let unverified = settings.insecure_skip_verify.as_ref().is_some_and(|flag| flag.value);
    UpstreamTls {
        // DR-TLS-12, DR-TLS-13: names of the ServiceEntry come on top of the host's check.
        auto_san: own.is_empty() && sni.is_none() && !unverified,
        subject_alt_names: match (unverified, own.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => subject_alt_names(service),
            (false, false) => own,
        },
        sni,
        ca: match &settings.ca_certificates {
            _ if unverified => Ca::Unverified,
            Some(path) => Ca::File(path.value.clone()),
            None => Ca::System,
        },
    }
}

fn subject_alt_names(service: &Service<'_>) -> Vec<String> {
    service.subject_alt_names().iter().map(|name| name.value.clone()).collect()
}

/// What TLS settings do that one may not expect.
fn check_tls(
    input: &Input<'_>,
    service: &Service<'_>,
    number: u16,
    subset: &str,
    port: &Port,
    diagnostics: &mut Diagnostics,
) {
    let Some(settings) = tls_settings(input, service, number, subset) else { return };
    // What the subset shares with the whole was reported there.
    if !subset.is_empty() && tls_settings(input, service, number, "") == Some(settings) {
        return;
    }
    let Some(tls) = upstream_tls(input, service, number, subset) else { return };
    let about = |diagnostic: Diagnostic| diagnostic.at(settings.span).field("spec.trafficPolicy.tls");
    if tls.ca == Ca::Unverified {
        diagnostics.push(
            about(Diagnostic::warning(
                "tls-not-verified",
                format!("`insecureSkipVerify` lets anyone pose as `{}`", service.host),
            ))
            .rule("DR-TLS-15")
            .help("name the CA in `caCertificates` instead"),
        );
    } else if tls.sni.is_some() && tls.subject_alt_names.is_empty() {
        diagnostics.push(
            about(Diagnostic::warning(
                "certificate-name-not-checked",
                "with `sni` and without `subjectAltNames` every certificate that the CA signed is accepted",
            ))
            .rule("DR-TLS-14")
            .help("add `subjectAltNames` with the name that the certificate carries"),
        );
    }
    if port.protocol.class() == ProtocolClass::Tls && input.options.profile == Profile::Istio {
        diagnostics.push(
            about(Diagnostic::warning(
                "tls-in-tls",
                format!(
                    "a client that speaks TLS to port {number} of `{}` gets TLS inside TLS",
                    service.host
                ),
            ))
            .rule("VS-TLS-08")
            .help("originate TLS on a port of its own, or use profile standalone"),
        );
    }
    if service.host.parse::<IpAddr>().is_ok() && tls.sni.is_none() {
        diagnostics.push(
            about(Diagnostic::warning(
                "no-sni-for-address",
                format!("`{}` is an address, for which no SNI is sent", service.host),
            ))
            .rule("DR-TLS-08"),
        );
    }
}
