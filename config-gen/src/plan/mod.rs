//! What the resources come to: virtual hosts for the filter, clusters and SNI routes for
//! Envoy. Pure data, which the emitters write in their forms.

mod clusters;
mod connections;
mod destinations;
mod endpoints;
mod gateway;
mod load_balancing;
mod mesh;
mod own_addresses;
mod places;
pub(crate) mod profiles;
pub(crate) mod retries;
mod routes;
mod shared;
mod shared_routes;
mod tls;
pub(crate) mod tunnels;
mod virtual_hosts;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) use clusters::original_destination_name;
pub use clusters::{Cluster, Discovery, HttpVersion, OriginalDestination};
pub use connections::{ConnectionRoute, ConnectionSettings, Share};
pub use endpoints::{Address, Endpoint, Locality};
pub use gateway::{DownstreamTls, GatewayListeners, Termination};
pub use load_balancing::LoadBalancing;
pub use mesh::Mesh;
pub use places::Places;
pub use profiles::{Mirror, RetryHosts, RetryProfile, RouteProfile};
pub use shared::{SharedClusters, SharedHost};
pub use shared_routes::share_routes;
pub use tls::{Ca, UpstreamTls};

use connections::Knows;
use portolan_engine::config;

use crate::collapse;
use crate::delegates;
use crate::destination_rules::DestinationRules;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::emit::guard;
use crate::gateway::{MESH, unprivileged};
use crate::options::{Clusters, Options, Profile};
use crate::registry::{Origin, Registry, Service};
use crate::resource::service_entry::{ProtocolClass, Resolution};
use crate::resource::{DestinationRule, Resources, ServiceEntry, VirtualService};
use crate::scope::Scope;

/// Codes of errors that can be accepted with [`Options::accept`]: what Istio would go on with,
/// and what then happens is said in the message.
pub const ACCEPTABLE: [&str; 4] = [
    "unknown-destination",
    "plaintext-to-tls-port",
    "conflicting-service-entries",
    "credential-without-files",
];

/// What the resources come to.
#[derive(Debug)]
pub struct Plan {
    /// For the filter.
    pub virtual_hosts: Vec<config::VirtualHost>,
    /// For Envoy, in the order of their names.
    pub clusters: Vec<Cluster>,
    /// Where connections go, and what else names a service's own cluster, when services share one.
    pub shared: SharedClusters,
    /// Connections that are passed through, by listener port: on listeners that clients connect to
    /// themselves.
    pub connections: Vec<ConnectionRoute>,
    /// Where a gateway is generated for: what its listeners have beside these.
    pub gateway: Option<GatewayListeners>,
    /// The same for connections whose original destination is known.
    pub redirected: Vec<ConnectionRoute>,
    /// Where the port of the original destination is known, those on which HTTP is for the filter.
    pub http_ports: BTreeSet<u16>,
    /// Where tunnels lead that clients of an explicit proxy ask for; none where there is no such proxy.
    pub connect: Option<config::Connect>,
    /// Route profiles that virtual hosts use, besides the default one.
    pub profiles: Vec<RouteProfile>,
    /// Where the virtual hosts and their routes come from.
    pub places: Places,
    /// For a mesh; none unless [`Options::mesh_outputs`] asks for it.
    pub mesh: Option<Mesh>,
}

/// Everything the plan is made from.
pub(crate) struct Input<'a> {
    pub(crate) registry: &'a Registry<'a>,
    pub(crate) rules: &'a DestinationRules<'a>,
    /// Those that have hosts, with the routes of their delegates.
    pub(crate) virtual_services: &'a [VirtualService],
    /// All as they are written.
    pub(crate) written: &'a [VirtualService],
    pub(crate) scope: &'a Scope<'a>,
    /// Of the gateway that is generated for.
    servers: &'a [gateway::Server<'a>],
    pub(crate) options: &'a Options,
    /// Route profiles that were asked for.
    profiles: RefCell<BTreeSet<RouteProfile>>,
}

impl Plan {
    /// The plan for resources of these three kinds alone.
    pub fn build(
        service_entries: &[ServiceEntry],
        virtual_services: &[VirtualService],
        destination_rules: &[DestinationRule],
        options: &Options,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let resources =
            Resources { service_entries, virtual_services, destination_rules, ..Resources::default() };
        Self::of(&resources, options, diagnostics)
    }

    /// Makes the plan and reports what can't be done, or is done otherwise than one may think.
    pub fn of(resources: &Resources<'_>, options: &Options, diagnostics: &mut Diagnostics) -> Self {
        let mut found = Diagnostics::new();
        let written = resources.virtual_services;
        let virtual_services = delegates::merge(written, &mut found);
        let virtual_services = &*collapse::collapse(virtual_services, resources, options, &mut found);
        let resources = &Resources { virtual_services, ..*resources };
        let scope = Scope::new(resources, options, &mut found);
        let servers = gateway::servers(resources.gateways, options, &mut found);
        let registry = Registry::build(resources, &scope, options, &mut found);
        let rules = DestinationRules::new(resources.destination_rules, &registry, options);
        let input = Input {
            registry: &registry,
            rules: &rules,
            virtual_services,
            written,
            scope: &scope,
            servers: &servers,
            options,
            profiles: RefCell::default(),
        };
        check_ports(&input, &mut found);
        check_rules(&input, &mut found);
        endpoints::check(&input, &mut found);
        own_addresses::check(&input, &mut found);
        let visible = virtual_hosts::visible(&input, &mut found);
        let virtual_hosts = virtual_hosts::build(&input, &visible, &mut found);
        let clusters = clusters::build(&input, &mut found);
        let mut redirected = Vec::new();
        if !options.envoy.transparent.is_empty() {
            redirected = connections::build(&input, &visible, Knows::Address, &mut found);
            connections::keep_original_destinations(&mut redirected, &clusters);
        }
        let mut plan = Self {
            http_ports: input.http_ports(),
            clusters,
            shared: SharedClusters::default(),
            gateway: options.gateway.is_some().then(|| gateway::listeners(&servers, options)),
            connections: match options.gateway {
                Some(_) => gateway::connections(&input, &visible),
                None => connections::build(&input, &visible, Knows::Port, &mut found),
            },
            redirected,
            connect: tunnels::build(&input, &visible, &virtual_hosts),
            profiles: profiles(&input, &virtual_hosts),
            virtual_hosts,
            places: Places::of(&input),
            mesh: options.mesh_outputs.then(|| {
                let options = &mesh::options(&input);
                mesh::build(&Input { options, profiles: RefCell::default(), ..input }, &visible)
            }),
        };
        let connections: Vec<&ConnectionRoute> = plan.connections.iter().chain(&plan.redirected).collect();
        connections::check(&input, &visible, &connections, &mut found);
        plan.share_clusters(options.clusters, &mut found);
        guard::check(&plan, options, &mut found);
        for mut diagnostic in gathered(hidden(found, resources, options)) {
            if options.envoy.sidecar && mesh::NOT_OF_A_MESH.contains(&diagnostic.code) {
                continue;
            }
            let accepted = options.accept.iter().any(|code| code == diagnostic.code);
            if diagnostic.severity == Severity::Error && accepted && ACCEPTABLE.contains(&diagnostic.code) {
                diagnostic.severity = Severity::Warning;
            }
            diagnostics.push(diagnostic);
        }
        plan
    }

    /// Joins clusters that differ in nothing but their host.
    fn share_clusters(&mut self, choice: Clusters, diagnostics: &mut Diagnostics) {
        let Self { clusters, virtual_hosts, connections, redirected, connect, profiles, .. } = self;
        let connections = connections.iter().chain(redirected.iter());
        let tunnels = connect.iter().flat_map(|connect| &connect.tunnels);
        let own = shared::needed(connections, tunnels, profiles);
        let (shared, note) = shared::share(choice, clusters, virtual_hosts, &own);
        self.shared = shared;
        diagnostics.extend(note);
    }

    /// The cluster of this name.
    pub(crate) fn cluster(&self, name: &str) -> Option<&Cluster> {
        // In the order of their names.
        let found = self.clusters.binary_search_by(|other| other.name.as_str().cmp(name)).ok()?;
        self.clusters.get(found)
    }

    /// TLS that ends at a gateway.
    pub fn downstream_tls(&self) -> impl Iterator<Item = &DownstreamTls> {
        let servers = self.gateway.iter().flat_map(|gateway| &gateway.terminations).map(|one| &one.tls);
        servers.chain(self.connections.iter().filter_map(|route| route.decrypted.as_ref()))
    }

    /// Whether requests are held back on purpose somewhere.
    pub(crate) fn has_delays(&self) -> bool {
        let mut routes = self.virtual_hosts.iter().flat_map(|host| &host.routes);
        routes.any(|route| route.route.fault.as_ref().is_some_and(|fault| fault.delay.is_some()))
    }

    /// The plugin config for Portolan's own Envoy configuration.
    pub fn proxy_config(&self, options: &Options) -> config::Config {
        config::Config {
            version: config::VERSION,
            mode: config::Mode::Proxy,
            original_headers: options.envoy_headers(),
            empty_refusals: options.profile == Profile::Istio,
            outbound_traffic_policy: crate::emit::outbound_traffic_policy(options),
            original_destinations: crate::emit::original_destinations(self, options),
            virtual_hosts: self.virtual_hosts.clone(),
            shared_routes: Vec::new(),
            connect: self.connect.clone(),
        }
    }
}

impl Input<'_> {
    /// The ports that clients can mean (GAP-01): those of the listeners, and where a listener takes
    /// all, those of the registry, 80 and 443.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        let envoy = &self.options.envoy;
        let mut ports: BTreeSet<u16> = envoy.listeners.iter().map(|listener| listener.port).collect();
        if envoy.takes_every_port() {
            ports.extend([80, 443]);
            ports.extend(self.registry.services().flat_map(|service| service.ports.keys().copied()));
        }
        ports
    }

    /// Of [`Self::ports`], those on which HTTP may be meant: of an HTTP service (LI-01), and in profile
    /// standalone, where a VirtualService alone has all ports, those that no TCP service has.
    fn http_ports(&self) -> BTreeSet<u16> {
        let is_http = |port: &u16| self.registry.services().any(|service| service.is_http_on(*port));
        let is_tcp = |port: &u16| {
            let ports = self.registry.services().filter_map(|service| service.ports.get(port));
            let mut classes = ports.map(|port| port.protocol.class());
            classes.any(|class| class == ProtocolClass::Tcp)
        };
        let standalone = self.options.profile == Profile::Standalone;
        self.ports().into_iter().filter(|port| is_http(port) || (standalone && !is_tcp(port))).collect()
    }

    /// The gateways as which VirtualServices name the proxy.
    fn gateway_names(&self) -> BTreeSet<&str> {
        if self.options.gateway.is_none() {
            return BTreeSet::from([MESH]);
        }
        self.servers.iter().map(|server| server.gateway_name.as_str()).collect()
    }

    /// The name of `profile`, which is remembered.
    fn use_profile(&self, profile: RouteProfile) -> String {
        let name = profile.name();
        self.profiles.borrow_mut().insert(profile);
        name
    }

    /// Whether `service` has a cluster on `port` that originates TLS.
    pub(crate) fn originates_tls(&self, service: &Service<'_>, port: u16) -> bool {
        tls::upstream_tls(self, service, port, "").is_some()
    }

    /// The port that plaintext HTTP for a service with only TLS ports goes to: the single
    /// one, else 443, provided TLS is originated there (design, section 3).
    pub(crate) fn http_port_of_tls_service(&self, service: &Service<'_>) -> Option<u16> {
        let ports = service.only_tls_ports()?;
        let port = match ports.as_slice() {
            [only] => *only,
            several => *several.iter().find(|port| **port == 443)?,
        };
        self.originates_tls(service, port).then_some(port)
    }
}

/// Where nobody chose the client's namespace and the input has several, one note names all that
/// `exportTo` hides from the one that was taken, in place of one note for each.
fn hidden(found: Diagnostics, resources: &Resources<'_>, options: &Options) -> Vec<Diagnostic> {
    let entries = resources.service_entries.iter().map(|entry| &entry.meta);
    let services = resources.kubernetes_services.iter().map(|service| &service.meta);
    let routes = resources.virtual_services.iter().map(|service| &service.meta);
    let all = entries.chain(services).chain(routes);
    let namespaces: BTreeSet<&str> = all.map(|meta| meta.namespace.as_str()).collect();
    let (hidden, mut others): (Vec<Diagnostic>, Vec<Diagnostic>) =
        found.into_iter().partition(|diagnostic| diagnostic.code == "not-exported");
    if options.client_namespace_given || namespaces.len() < 2 || hidden.is_empty() {
        others.extend(hidden);
        return others;
    }
    let names: Vec<&str> = hidden.iter().filter_map(|note| note.resource.as_deref()).collect();
    let mut note = Diagnostic::note(
        "not-exported",
        format!(
            "no client namespace was given, so `{}` is taken, from which `exportTo` hides {}",
            options.client_namespace,
            names.join(", ")
        ),
    )
    .help("choose the client with `--client-namespace`");
    let first = hidden.into_iter().next();
    note.span = first.as_ref().and_then(|first| first.span);
    note.rule = first.as_ref().and_then(|first| first.rule);
    note.field = first.as_ref().and_then(|first| first.field.clone());
    note.resource = first.and_then(|first| first.resource);
    others.push(note);
    others
}

/// Notes that large inputs have by the thousand; one of each sort says it all.
const GATHERED: [&str; 5] = [
    "addresses-approximated",
    "any-host-approximated",
    "not-imported",
    "resolution-none-approximated",
    "workload-unused",
];

/// How many resources a gathered note names.
const MOST_NAMES: usize = 5;

/// Leaves the first note of each of these sorts, with the names of the others' resources.
fn gathered(found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut others: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut kept: Vec<Diagnostic> = Vec::new();
    let mut firsts: BTreeMap<&str, usize> = BTreeMap::new();
    for diagnostic in found {
        if !GATHERED.contains(&diagnostic.code) {
            kept.push(diagnostic);
        } else if firsts.contains_key(diagnostic.code) {
            others.entry(diagnostic.code).or_default().extend(diagnostic.resource);
        } else {
            firsts.insert(diagnostic.code, kept.len());
            kept.push(diagnostic);
        }
    }
    for (code, mut names) in others {
        let Some(first) = firsts.get(code).and_then(|index| kept.get_mut(*index)) else { continue };
        names.dedup();
        names.retain(|name| first.resource.as_ref() != Some(name));
        let more = names.len().saturating_sub(MOST_NAMES);
        names.truncate(MOST_NAMES);
        if names.is_empty() {
            continue;
        }
        first.message += &format!("; the same goes for {}", names.join(", "));
        if more > 0 {
            first.message += &format!(" and {more} more");
        }
    }
    kept
}

/// The profiles that routes of `hosts` use: not all VirtualServices have an effect.
fn profiles(input: &Input<'_>, hosts: &[config::VirtualHost]) -> Vec<RouteProfile> {
    let routes = hosts.iter().flat_map(|host| &host.routes);
    let used: BTreeSet<&str> = routes.map(|route| route.route.route_profile.as_str()).collect();
    let asked = input.profiles.borrow();
    asked
        .iter()
        .filter(|profile| **profile != RouteProfile::default() && used.contains(profile.name().as_str()))
        .cloned()
        .collect()
}

/// `outbound|443|v1|example.com` (CL-01); without a subset, `subset` is empty.
pub(crate) fn cluster_name(host: &str, port: u16, subset: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// Ports that no listener carries, and protocols that this version doesn't serve.
fn check_ports(input: &Input<'_>, diagnostics: &mut Diagnostics) {
    let listeners = input.ports();
    for service in input.registry.services() {
        for (&number, port) in &service.ports {
            let about = |diagnostic: Diagnostic| {
                diagnostic.resource(service.meta().title()).at(port.span).field("spec.ports")
            };
            match port.protocol.class() {
                ProtocolClass::Udp => diagnostics.push(
                    about(Diagnostic::warning(
                        "udp-ignored",
                        format!(
                            "port {number} of `{}` is UDP, which no proxy of Istio's serves either",
                            service.host
                        ),
                    ))
                    .rule("SE-P-06"),
                ),
                _ if input.options.envoy.transparent.iter().any(|own| own.port() == number) => {
                    diagnostics.push(
                        about(Diagnostic::warning(
                            "port-of-envoy",
                            format!(
                                "`--transparent` listens on port {number}, so that connections to port {number} of `{}` are closed",
                                service.host
                            ),
                        ))
                        .rule("LI-05")
                        .help("listen on a port that no service has"),
                    );
                }
                // Its ports are those of its servers (GW-14).
                _ if input.options.gateway.is_some() => {}
                _ if listeners.contains(&number) || input.http_port_of_tls_service(service).is_some() => {}
                _ => diagnostics.push(
                    about(Diagnostic::warning(
                        "port-without-listener",
                        format!("no listener carries port {number} of `{}`", service.host),
                    ))
                    .rule("LI-05")
                    .help(format!("add one, such as `--listen {number}=127.0.0.1:{}`", unprivileged(number))),
                ),
            }
        }
    }
}

fn check_rules(input: &Input<'_>, diagnostics: &mut Diagnostics) {
    let services: Vec<_> = input.registry.services().collect();
    for rule in input.rules.without_service(services.iter().copied()) {
        diagnostics.push(
            Diagnostic::warning(
                "unknown-destination-rule-host",
                format!("no service has the host `{}`", rule.host.value),
            )
            .resource(rule.meta.title())
            .at(rule.host.span)
            .field("spec.host")
            .rule("DR-04")
            .help("add a ServiceEntry for the host, or remove the rule"),
        );
    }
    load_balancing::check(input, diagnostics);
    for service in services {
        let Some(merged) = input.rules.of(service) else { continue };
        for subset in merged.subsets.iter().filter(|subset| !subset.labels.is_empty()) {
            let rule =
                merged.rules.iter().find(|rule| rule.subsets.iter().any(|own| std::ptr::eq(own, *subset)));
            let Some(rule) = rule else { continue };
            let finding = if let Origin::Kubernetes(_) = service.origin {
                let message = format!(
                    "pods are not known here, so subset `{}` is all of `{}`",
                    subset.name.value, service.host
                );
                Diagnostic::warning("subset-approximated", message)
                    .rule("KS-06")
                    .help("to choose endpoints, list them with their labels in a ServiceEntry")
            } else if !service.ports.keys().any(|port| {
                clusters::exists(input, service, *port, "")
                    && (service.resolution() == Resolution::None
                        || !endpoints::endpoints(input, service, *port, &subset.name).is_empty())
            }) {
                let message = format!(
                    "no endpoint of `{}` has the labels of subset `{}`; requests to it get 503",
                    service.host, subset.name.value
                );
                Diagnostic::warning("empty-subset", message).rule("DR-10").help(
                    "give `endpoints` these labels; names that are resolved without `endpoints` have none",
                )
            } else {
                continue;
            };
            diagnostics.push(finding.resource(rule.meta.title()).at(subset.name.span).field("spec.subsets"));
        }
    }
}
