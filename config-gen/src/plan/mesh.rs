//! What sidecars of a mesh get, which keep their own routes (GAP-24), and what can't be done there.

use std::collections::{BTreeMap, BTreeSet};

use portolan_engine::config;
use portolan_engine::host::without_port;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::{expand, short_forms};
use crate::options::{EnvoyOptions, Options};
use crate::plan::{Input, Plan, virtual_hosts};
use crate::resource::VirtualService;
use crate::resource::virtual_service::HttpRoute;
use crate::source::Span;

/// Findings about destinations and listeners that only Portolan's own Envoy has.
pub(super) const NOT_OF_A_MESH: [&str; 8] = [
    "all-addresses-balanced",
    "first-address-guarded",
    "host-not-below-wildcard",
    "plaintext-to-tls-port",
    "port-without-listener",
    "server-speaks-first-unguarded",
    "tcp-not-supported",
    "unknown-destination",
];

/// The same for sidecars, whatever Portolan's own Envoy listens on.
pub(super) fn options(input: &Input<'_>) -> Options {
    let envoy = EnvoyOptions { sidecar: true, ..input.options.envoy.clone() };
    Options { envoy, ..input.options.clone() }
}

/// What sidecars get.
#[derive(Debug)]
pub struct Mesh {
    /// The virtual hosts on all ports of sidecars' listeners.
    hosts: Vec<config::VirtualHost>,
    /// What can't be done there, for those who want something for a mesh.
    pub findings: Vec<Diagnostic>,
}

pub(super) fn build(input: &Input<'_>, visible: &[&VirtualService]) -> Mesh {
    let mut diagnostics = Diagnostics::new();
    let hosts = hosts(input, visible, &mut diagnostics);
    Mesh { hosts, findings: diagnostics.into_iter().collect() }
}

fn hosts(
    input: &Input<'_>,
    visible: &[&VirtualService],
    diagnostics: &mut Diagnostics,
) -> Vec<config::VirtualHost> {
    if visible.is_empty() {
        return Vec::new();
    }
    // What is wrong with the rules is said already.
    let hosts = virtual_hosts::build(input, visible, &mut Diagnostics::new());
    let served: BTreeSet<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    let (services, others): (Vec<&VirtualService>, Vec<&VirtualService>) =
        visible.iter().partition(|service| served.contains(service.meta.title().as_str()));
    warn_of_both(&services, diagnostics);
    note_what_the_mesh_needs(input, diagnostics);
    let mut seen = BTreeSet::new();
    let mut warn = |span, what, help| {
        // A delegate's routes are met once for each of its roots.
        if seen.insert((span, what)) {
            let message = format!("in a mesh {what}: the sidecar's own routes decide that");
            let mut warning = Diagnostic::warning("not-in-mesh", message).at(span).rule("GAP-24");
            warning.help = help;
            diagnostics.push(warning);
        }
    };
    for service in services.iter().chain(&others) {
        if let Some(rule) = service.tls.iter().chain(&service.tcp).next() {
            warn(rule.span, "rules of `tls` and `tcp` have no effect", None);
        }
    }
    for service in services {
        service.http.iter().for_each(|http| left_out(http, &mut warn));
        destinations(input, service, &hosts, &mut warn);
    }
    hosts
}

/// Takes the place of what can't be done, what that means, and a way out.
type Warn<'w> = dyn FnMut(Span, &'static str, Option<String>) + 'w;

/// What the filter can't do there.
fn left_out(http: &HttpRoute, warn: &mut Warn<'_>) {
    if let Some(delay) = http.fault.as_ref().and_then(|fault| fault.delay.as_ref())
        && delay.per_million > 0
    {
        warn(delay.span, "no request is delayed", None);
    }
    if http.redirect.is_some() || http.direct_response.is_some() {
        return;
    }
    if let Some(timeout) = &http.timeout {
        warn(timeout.span, "there is no timeout of this rule", None);
    }
    if let Some(retries) = &http.retries {
        warn(retries.span, "there are no retries of this rule", None);
    }
    for mirror in http.mirror.iter().chain(http.mirrors.iter().map(|mirror| &mirror.destination)) {
        warn(mirror.host.span, "no copies of requests are sent", None);
    }
    if let [_, second, ..] = http.route.as_slice() {
        warn(
            second.span,
            "requests are not shared among destinations, nor are headers changed for one of them",
            None,
        );
    }
    for subset in http.route.iter().filter_map(|route| route.destination.subset.as_ref()) {
        warn(subset.span, "requests don't go to a subset", None);
    }
}

/// Destinations that the sidecar's own routes don't lead to: these go by the authority, as rewritten,
/// and the port of the listener.
fn destinations(
    input: &Input<'_>,
    service: &VirtualService,
    hosts: &[config::VirtualHost],
    warn: &mut Warn<'_>,
) {
    for http in &service.http {
        let [only] = http.route.as_slice() else { continue };
        let wanted = &only.destination;
        let host = expand(&wanted.host, &service.meta.namespace);
        let authority = http.rewrite.as_ref().and_then(|rewrite| rewrite.authority.as_ref());
        let authority = authority.or(http.headers.request.authority()).or(only.headers.request.authority());
        let own = || service.hosts.iter().map(|own| expand(own, &service.meta.namespace));
        let leads_there = match authority {
            Some(authority) => means(without_port(authority.as_bytes()), &host, input.options),
            None => own().all(|own| own == host),
        };
        if !leads_there {
            let what = "requests don't go to this destination, whose host isn't that of the request";
            let help = "rewrite `authority` to the host that is meant, or leave the rule to Istio and out of this input";
            warn(wanted.host.span, what, Some(help.to_owned()));
            continue;
        }
        let Some(port) = &wanted.port else { continue };
        let others = listener_ports(input, service, http, hosts).into_iter().filter(|own| *own != port.value);
        let others: Vec<String> = others.map(|port| port.to_string()).collect();
        if !others.is_empty() {
            let help = format!(
                "applications call port {}; give the ServiceEntry of `{host}` that port with `targetPort: {}`, and a \
                 DestinationRule for it where TLS is to be originated",
                others.join(", "),
                port.value
            );
            warn(port.span, "requests go to the listener's port of the host, not to this one", Some(help));
        }
    }
}

/// Whether the authority `name` is one by which the client means `host`.
fn means(name: &[u8], host: &str, options: &Options) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let name = name.trim_end_matches('.');
    name == host || short_forms(host, &options.client_namespace).iter().any(|short| short == name)
}

/// The listener ports on which requests meet a rule; hosts outside the registry are called on port
/// 80 (VH-15).
fn listener_ports(
    input: &Input<'_>,
    service: &VirtualService,
    http: &HttpRoute,
    hosts: &[config::VirtualHost],
) -> BTreeSet<u16> {
    let title = service.meta.title();
    let all = input.ports();
    let mut ports = BTreeSet::new();
    for host in hosts.iter().filter(|host| host.name == title) {
        let own = host.domains.first().and_then(|domain| input.registry.own(domain));
        let listed: Vec<u16> =
            if host.ports.is_empty() { all.iter().copied().collect() } else { host.ports.clone() };
        ports.extend(listed.into_iter().filter(|port| match own {
            Some(service) => service.is_http_on(*port),
            None => *port == 80,
        }));
    }
    let conditions: Vec<u16> =
        http.matches.iter().filter_map(|entry| Some(entry.port.as_ref()?.value)).collect();
    if !http.matches.is_empty() && conditions.len() == http.matches.len() {
        ports.retain(|port| conditions.contains(port));
    }
    ports
}

fn warn_of_both(services: &[&VirtualService], diagnostics: &mut Diagnostics) {
    let Some(first) = services.first() else { return };
    let names: Vec<String> = services.iter().map(|service| service.meta.title()).collect();
    diagnostics.push(
        Diagnostic::warning(
            "mesh-applied-twice",
            format!("in a cluster that has these as well both would rewrite requests: {}", names.join(", ")),
        )
        .at(first.meta.name.span)
        .field("metadata.name")
        .rule("GAP-24")
        .help("don't apply to the cluster what the plugin config has"),
    );
}

fn note_what_the_mesh_needs(input: &Input<'_>, diagnostics: &mut Diagnostics) {
    let Some(service) = input.registry.services().next() else { return };
    diagnostics.push(
        Diagnostic::note(
            "mesh-needs-registry",
            "ServiceEntries and DestinationRules have to be applied to the cluster: sidecars know hosts, \
             endpoints and TLS from there, and nothing of them is in the plugin config",
        )
        .at(service.meta().name.span)
        .field("metadata.name")
        .rule("GAP-24"),
    );
}

impl Plan {
    /// The plugin config for a mesh, whose sidecars keep their own routes: only virtual hosts
    /// that change or answer something are left, and no cluster is named.
    pub fn mesh_config(&self) -> config::Config {
        let hosts = self.mesh.as_ref().map_or(&self.virtual_hosts, |mesh| &mesh.hosts).iter();
        let hosts = hosts.filter(|host| host.routes.iter().any(|route| acts(&route.route)));
        let mut virtual_hosts: Vec<config::VirtualHost> = Vec::new();
        for mut host in hosts.cloned() {
            host.routes.iter_mut().for_each(|route| leave_to_sidecar(&mut route.route));
            // Without their clusters the rules of several ports are the same.
            match virtual_hosts.iter_mut().find(|other| virtual_hosts::is_same_but_ports(other, &host)) {
                Some(other) => other.ports.append(&mut host.ports),
                None => virtual_hosts.push(host),
            }
        }
        config::Config {
            version: config::VERSION,
            mode: config::Mode::Mesh,
            // Istio's own routes do that.
            original_headers: false,
            empty_refusals: false,
            outbound_traffic_policy: config::OutboundTrafficPolicy::default(),
            original_destinations: BTreeMap::new(),
            shared_routes: Vec::new(),
            connect: None,
            virtual_hosts,
        }
    }
}

/// Whether a sidecar's filter has anything to do.
fn acts(action: &config::RouteAction) -> bool {
    action.rewrite.is_some()
        || action.redirect.is_some()
        || action.direct_response.is_some()
        || action.fault.as_ref().is_some_and(|fault| fault.abort.is_some())
        || action.cors.is_some()
        || !action.request_headers.is_empty()
        || !action.response_headers.is_empty()
}

fn leave_to_sidecar(action: &mut config::RouteAction) {
    action.cluster = None;
    action.destinations.clear();
    action.auto_sni = false;
    action.dial = None;
    // The sidecar's routes have their own.
    action.route_profile = config::DEFAULT_ROUTE_PROFILE.to_owned();
    action.timeout_ms = None;
    action.retries = None;
    if let Some(fault) = &mut action.fault {
        // There is no fault filter behind ours.
        fault.delay = None;
    }
    action.fault = action.fault.take().filter(|fault| fault.abort.is_some());
}
