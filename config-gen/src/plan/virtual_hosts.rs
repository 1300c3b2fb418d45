//! Virtual hosts: who answers for a host name on a listener port (spec sections 3.2, 4.1).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use portolan_engine::config::{self, Refuse, Route, RouteAction, RouteMatch};

use crate::collapse;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gateway::{MESH, names, resolve};
use crate::names::{covers, domains, expand, overlaps, short_forms};
use crate::options::Profile;
use crate::plan::destinations::Target;
use crate::plan::{Input, RouteProfile, gateway, routes};
use crate::registry::{Service, is_exported_to};
use crate::resource::VirtualService;
use crate::source::Span;

/// The virtual hosts of all listener ports.
///
/// `services` are those that the client takes, in their order.
pub(super) fn build(
    input: &Input<'_>,
    services: &[&VirtualService],
    diagnostics: &mut Diagnostics,
) -> Vec<config::VirtualHost> {
    // Delegates are looked at themselves: what has its faults from there is reported once.
    let routes = services
        .iter()
        .flat_map(|service| service.http.iter().filter(|http| routes::concerns(input, service, http)));
    let used: HashSet<Span> = routes
        .flat_map(|http| std::iter::once(http.span).chain(http.origin.as_ref().map(|origin| origin.root)))
        .collect();
    for service in input.written {
        routes::check(input, service, &used, diagnostics);
    }
    let tables = if input.options.gateway.is_some() {
        gateway::virtual_hosts(input, services, diagnostics)
    } else {
        let mut reported = BTreeSet::new();
        let table = |port| (port, PortTable::build(input, services, port, &mut reported, diagnostics));
        input.ports().into_iter().map(table).collect()
    };
    joined(tables, !input.options.envoy.takes_every_port())
}

/// The tables of all ports as one: those that are alike on every port stand once, and without ports
/// if there are no others than these.
fn joined(tables: Vec<(u16, Vec<config::VirtualHost>)>, no_others: bool) -> Vec<config::VirtualHost> {
    let count = tables.len();
    let mut merged: Vec<config::VirtualHost> = Vec::new();
    // By their first domain.
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (port, hosts) in tables {
        for mut host in hosts {
            let known = places.entry(host.domains.first().cloned().unwrap_or_default()).or_default();
            let same = |at: &&usize| merged.get(**at).is_some_and(|other| is_same_but_ports(other, &host));
            match known.iter().find(same).and_then(|at| merged.get_mut(*at)) {
                Some(other) => other.ports.push(port),
                None => {
                    known.push(merged.len());
                    host.ports = vec![port];
                    merged.push(host);
                }
            }
        }
    }
    for host in &mut merged {
        if no_others && host.ports.len() == count {
            host.ports.clear();
        }
    }
    merged
}

pub(super) fn is_same_but_ports(one: &config::VirtualHost, other: &config::VirtualHost) -> bool {
    let config::VirtualHost { name, domains, ports: _, routes, refuse, unregistered } = one;
    *name == other.name
        && *domains == other.domains
        && *routes == other.routes
        && *refuse == other.refuse
        && *unregistered == other.unregistered
}

/// The VirtualServices that the client's proxy takes, in the order in which they win
/// (VIS-02 to VIS-04).
pub(super) fn visible<'a>(input: &Input<'a>, diagnostics: &mut Diagnostics) -> Vec<&'a VirtualService> {
    let client = input.options.client_namespace.as_str();
    let mut services: Vec<&VirtualService> = Vec::new();
    for service in input.virtual_services {
        let about =
            |diagnostic: Diagnostic| diagnostic.resource(service.meta.title()).at(service.meta.name.span);
        let bound = |own: &&str| names(&service.gateways, &service.meta.namespace, own);
        let in_mesh = service.gateways.is_empty() || bound(&MESH);
        let taken = match input.options.gateway {
            Some(_) => input.gateway_names().iter().any(bound),
            None => in_mesh,
        };
        if !taken && input.options.gateway.is_some() {
            // Not for this proxy: most VirtualServices aren't (GW-06).
        } else if !taken && collapse::gives(service, input) {
            // What it says for the gateway is done elsewhere (GW-21).
        } else if !taken {
            let help = match service.gateways.first().map(|name| resolve(name, &service.meta.namespace)) {
                Some(gateway) => format!(
                    "add `mesh` to `gateways` if the application's own traffic is meant, or generate for the gateway with `--gateway {gateway}`"
                ),
                None => "add `mesh` to `gateways` if the application's own traffic is meant".to_owned(),
            };
            diagnostics.push(
                about(Diagnostic::warning(
                    "gateway-only",
                    "it is bound to gateways only and has no effect here",
                ))
                .field("spec.gateways")
                .rule("VIS-02")
                .help(help),
            );
        } else if is_exported_to(&service.export_to, &service.meta, client) {
            services.push(service);
        } else {
            diagnostics.push(
                about(Diagnostic::note(
                    "not-exported",
                    format!("`exportTo` hides it from the client's namespace `{client}`"),
                ))
                .field("spec.exportTo")
                .rule("VIS-03")
                .help("choose another client with `--client-namespace`"),
            );
        }
    }
    let scope = |service: &VirtualService| match service.export_to.as_slice() {
        [only] if only.value == "." || only.value == service.meta.namespace => 0,
        [] => 2,
        names if names.iter().any(|name| name.value == "*") => 2,
        _ => 1,
    };
    services.sort_by_key(|service| {
        let meta = &service.meta;
        (scope(service), meta.creation_timestamp, meta.name.value.as_str(), meta.namespace.as_str())
    });
    services
}

/// The virtual hosts of one listener port.
struct PortTable<'a, 'i> {
    input: &'i Input<'a>,
    port: u16,
    /// Services that HTTP requests on this port can mean.
    registered: BTreeMap<&'a str, &'i Service<'a>>,
    hosts: Vec<config::VirtualHost>,
    taken: BTreeMap<String, String>,
}

/// A VirtualService with its routes for one port; without any, it answers for no host (VH-13).
type WithRoutes<'v> = (&'v VirtualService, Vec<Route>);

/// A VirtualService that came too late, for which host, and who was first.
type Loser<'v> = (&'v VirtualService, String, String);

impl<'a, 'i> PortTable<'a, 'i> {
    fn build(
        input: &'i Input<'a>,
        services: &[&VirtualService],
        port: u16,
        reported: &mut BTreeSet<(String, String)>,
        diagnostics: &mut Diagnostics,
    ) -> Vec<config::VirtualHost> {
        let standalone = input.options.profile == Profile::Standalone;
        let known = input.registry.services();
        let on_port = |service: &&Service<'_>| {
            service.is_http_on(port) || (standalone && service.only_tls_ports().is_some())
        };
        let mut table = Self {
            input,
            port,
            registered: known.filter(on_port).map(|service| (service.host, service)).collect(),
            hosts: Vec::new(),
            taken: BTreeMap::new(),
        };
        let with_routes: Vec<WithRoutes<'_>> = services
            .iter()
            .filter(|service| input.scope.imports(service, port))
            .map(|service| (*service, routes::build(input, service, port, MESH)))
            .collect();
        let mut losers = Vec::new();
        let plain = table.add_routed(&with_routes, &mut losers);
        // Virtual hosts of VirtualServices come before those of plain services (VH-10); in
        // profile standalone the registry comes first.
        if standalone {
            table.add_defaults(&plain);
        }
        table.add_unregistered(&with_routes, &mut losers);
        if !standalone {
            table.add_defaults(&plain);
        }
        for (loser, host, winner) in losers {
            if reported.insert((loser.meta.title(), host.clone())) {
                diagnostics.push(
                    Diagnostic::warning(
                        "host-already-routed",
                        format!("`{host}` belongs to {winner}; this has no effect there"),
                    )
                    .resource(loser.meta.title())
                    .at(loser.meta.name.span)
                    .field("spec.hosts")
                    .rule("VH-10")
                    .help("merge the routes into one VirtualService"),
                );
            }
        }
        // The registry's hosts in their order, then the others.
        let order: BTreeMap<&str, usize> =
            table.registered.keys().enumerate().map(|(index, host)| (*host, index)).collect();
        table.hosts.sort_by_key(|host| {
            let first = host.domains.first().map(String::as_str).unwrap_or_default();
            if host.unregistered { usize::MAX } else { order.get(first).copied().unwrap_or(usize::MAX) }
        });
        table.hosts
    }

    /// Hosts of the registry with the routes of the most specific VirtualService (VH-14, VH-16).
    /// Returns the services that none covers.
    fn add_routed<'v>(
        &mut self,
        services: &[WithRoutes<'v>],
        losers: &mut Vec<Loser<'v>>,
    ) -> Vec<&'i Service<'a>> {
        let mut plain = Vec::new();
        let services = &ByHost::new(services);
        let hosts: Vec<&'i Service<'a>> = self.registered.values().copied().collect();
        for known in hosts {
            let own = self.own_domains(known, known.host);
            match most_specific(services, known.host, losers) {
                Some((service, routes)) => self.push_routed(service, routes, own),
                None => plain.push(known),
            }
            // An alias that a VirtualService names has a virtual host of its own (KS-04).
            for alias in &known.aliases {
                if let Some((service, routes)) = most_specific(services, alias, losers) {
                    self.push_routed(service, routes, self.own_domains(known, alias));
                }
            }
        }
        // What is still free of the aliases' domains goes to the services themselves.
        for index in 0..self.hosts.len() {
            let known = self.hosts[index].domains.first().and_then(|host| self.registered.get(host.as_str()));
            let Some(known) = known.copied() else { continue };
            for alias in &known.aliases {
                let domains = self.free(self.own_domains(known, alias));
                let host = &mut self.hosts[index];
                self.taken.extend(domains.iter().map(|domain| (domain.clone(), host.name.clone())));
                host.domains.extend(domains);
            }
        }
        plain
    }

    fn push_routed(&mut self, service: &VirtualService, routes: &[Route], domains: Vec<String>) {
        self.push(config::VirtualHost {
            name: service.meta.title(),
            domains,
            ports: Vec::new(),
            routes: routes.to_vec(),
            refuse: None,
            unregistered: false,
        });
    }

    /// Services without a VirtualService: one route each, to itself (VH-12).
    fn add_defaults(&mut self, services: &[&'i Service<'a>]) {
        for known in services {
            let port = if known.is_http_on(self.port) {
                Some(self.port)
            } else {
                self.input.http_port_of_tls_service(known)
            };
            let route = port.map(|port| Target::of_service(known, port)).map(|target| Route {
                name: "default".to_owned(),
                matcher: RouteMatch::default(),
                route: RouteAction {
                    auto_sni: target.has_auto_sni(self.input),
                    dial: target.dial(self.input),
                    route_profile: self.input.use_profile(RouteProfile {
                        hash: target.hash(self.input, true).into_iter().collect(),
                        ..RouteProfile::default()
                    }),
                    cluster: Some(target.cluster),
                    ..RouteAction::default()
                },
            });
            let names = std::iter::once(known.host).chain(known.aliases.iter().copied());
            let domains = names.flat_map(|name| self.own_domains(known, name)).collect();
            self.push(config::VirtualHost {
                name: known.meta().title(),
                domains,
                ports: Vec::new(),
                refuse: route.is_none().then_some(Refuse::OnlyTlsPorts),
                routes: route.into_iter().collect(),
                unregistered: false,
            });
        }
    }

    /// Hosts that only VirtualServices name (VH-06, VH-15, GAP-01).
    fn add_unregistered<'v>(&mut self, services: &[WithRoutes<'v>], losers: &mut Vec<Loser<'v>>) {
        let options = self.input.options;
        let mut ordered: Vec<_> = services.iter().filter(|(_, routes)| !routes.is_empty()).collect();
        if options.profile == Profile::Standalone {
            // The client's own namespace first; otherwise the order stays.
            ordered.sort_by_key(|(service, _)| service.meta.namespace != options.client_namespace);
        }
        for (service, routes) in ordered {
            let hosts: Vec<String> =
                service.hosts.iter().map(|host| expand(host, &service.meta.namespace)).collect();
            for host in &hosts {
                if !self.is_served_unregistered(host, &hosts) {
                    continue;
                }
                let domains = match options.profile {
                    Profile::Istio => vec![host.clone()],
                    Profile::Standalone => self.standalone_domains(host),
                };
                let taken =
                    domains.iter().find_map(|domain| Some((domain.clone(), self.taken.get(domain)?.clone())));
                losers.extend(taken.map(|(domain, winner)| (*service, domain, winner)));
                self.push(config::VirtualHost {
                    name: service.meta.title(),
                    domains,
                    ports: Vec::new(),
                    routes: routes.clone(),
                    refuse: None,
                    unregistered: true,
                });
            }
        }
    }

    /// Whether a virtual host of its own is made for `host`, one of a VirtualService's `hosts`.
    fn is_served_unregistered(&self, host: &str, hosts: &[String]) -> bool {
        let wildcard = host.starts_with('*');
        let known = if wildcard {
            // Overlap in either direction is enough to have none (VH-16).
            self.registered.keys().any(|registered| overlaps(host, registered))
        } else {
            self.is_registered(host)
        };
        if known {
            return false;
        }
        // Port 80, or beside a host that is registered here (VH-15, VH-19).
        let in_istio = self.port == 80 || hosts.iter().any(|other| self.is_registered(other));
        match self.input.options.profile {
            Profile::Istio => in_istio,
            Profile::Standalone if wildcard => self.input.options.allow_unregistered_wildcards,
            // On every port, unless the registry has the host on others (LI-08).
            Profile::Standalone => in_istio || self.input.registry.get(host).is_none(),
        }
    }

    /// Whether a service here has this host, or goes by it too.
    fn is_registered(&self, host: &str) -> bool {
        self.registered.contains_key(host)
            || (self.input.registry.alias(host).is_some()
                && self.registered.values().any(|service| service.aliases.contains(&host)))
    }

    /// The host itself and the short forms that a Kubernetes service of that name would have.
    fn standalone_domains(&self, host: &str) -> Vec<String> {
        let forms = short_forms(host, &self.input.options.client_namespace);
        std::iter::once(host.to_owned()).chain(forms).flat_map(|name| domains(&name)).collect()
    }

    fn own_domains(&self, service: &Service<'_>, name: &str) -> Vec<String> {
        client_domains(self.input, service, name, self.port)
    }

    /// Those that nothing has yet; what another service is really called is never taken as
    /// a further name (VH-09).
    fn free(&self, domains: Vec<String>) -> Vec<String> {
        let mut free: Vec<String> = Vec::new();
        for (index, domain) in domains.into_iter().enumerate() {
            let others = index > 0 && self.registered.contains_key(domain.trim_end_matches('.'));
            let own = free.first().is_some_and(|first| *first == domain.trim_end_matches('.'));
            if !self.taken.contains_key(&domain) && !free.contains(&domain) && (own || !others) {
                free.push(domain);
            }
        }
        free
    }

    /// Adds what is still free of a virtual host.
    fn push(&mut self, mut host: config::VirtualHost) {
        host.domains = self.free(host.domains);
        if host.domains.is_empty() {
            return;
        }
        for domain in &host.domains {
            self.taken.insert(domain.clone(), host.name.clone());
        }
        self.hosts.push(host);
    }
}

/// The domains by which clients may mean `port` of `service` as `name`, its host or an alias: with
/// the form that ends in a dot, short names of a Kubernetes host (VH-08), the names of pods of a
/// headless service (KS-03), and addresses (VH-01).
pub(super) fn client_domains(input: &Input<'_>, service: &Service<'_>, name: &str, port: u16) -> Vec<String> {
    let mut names = domains(name);
    names.extend(short_forms(name, &input.options.client_namespace));
    if service.is_headless() {
        let below: Vec<String> = names.iter().map(|name| format!("*.{name}")).collect();
        names.extend(below);
    }
    if name == service.host {
        let addresses = service.addresses(port, input.options.profile);
        // Brackets, as in a Host header (VH-01).
        let bracketed =
            |address: String| if address.contains(':') { format!("[{address}]") } else { address };
        names.extend(addresses.into_iter().map(bracketed));
    }
    names
}

/// VirtualServices by their hosts.
struct ByHost<'s, 'v> {
    services: &'s [WithRoutes<'v>],
    /// Where the VirtualServices stand.
    exact: HashMap<String, Vec<usize>>,
    wildcards: Vec<(String, usize)>,
}

impl<'s, 'v> ByHost<'s, 'v> {
    fn new(services: &'s [WithRoutes<'v>]) -> Self {
        let mut found = Self { services, exact: HashMap::new(), wildcards: Vec::new() };
        for (at, (service, _)) in services.iter().enumerate() {
            for host in &service.hosts {
                let host = expand(host, &service.meta.namespace);
                if host.starts_with('*') {
                    found.wildcards.push((host, at));
                } else {
                    found.exact.entry(host).or_default().push(at);
                }
            }
        }
        found
    }

    /// Those that have the host `known`, by which host of theirs; of each sort in their order.
    fn covering(&self, known: &str) -> Vec<(String, &'v VirtualService, &'s [Route])> {
        let exact = self.exact.get_key_value(known).into_iter();
        let exact = exact.flat_map(|(host, places)| places.iter().map(move |at| (host, at)));
        let wildcards = self.wildcards.iter().filter(|(host, _)| covers(host, known));
        let found = exact.chain(wildcards.map(|(host, at)| (host, at))).filter_map(|(host, at)| {
            let (service, routes) = self.services.get(*at)?;
            Some((host.clone(), *service, routes.as_slice()))
        });
        found.collect()
    }
}

/// The VirtualService for `known`: exact before wildcard, long before short; among equals the
/// first wins, and the others are losers.
///
/// One without routes here still keeps less specific ones away, and other ones of its wildcard
/// (VH-13, VH-16); only of those with the exact host it is no hindrance, as it has no virtual host.
fn most_specific<'s, 'v>(
    services: &ByHost<'s, 'v>,
    known: &str,
    losers: &mut Vec<Loser<'v>>,
) -> Option<(&'v VirtualService, &'s [Route])> {
    let mut candidates = services.covering(known);
    candidates.sort_by_key(|(host, _, _)| (host.starts_with('*'), std::cmp::Reverse(host.len())));
    let best = candidates.first()?.0.clone();
    candidates.retain(|(host, _, routes)| *host == best && (best.starts_with('*') || !routes.is_empty()));
    let mut candidates = candidates.into_iter();
    let (_, service, routes) = candidates.next()?;
    let winner = service.meta.title();
    let late = candidates.filter(|(_, _, routes)| !routes.is_empty());
    losers.extend(late.map(|(host, late, _)| (late, host, winner.clone())));
    (!routes.is_empty()).then_some((service, routes))
}
