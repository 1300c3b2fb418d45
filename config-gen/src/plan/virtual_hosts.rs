//! Virtual hosts: who answers for a host name on a listener port (spec sections 3.2, 4.1).

use std::collections::{BTreeMap, BTreeSet};

use portolan_engine::config::{self, Refuse, Route, RouteAction, RouteMatch};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::{covers, domains, expand, overlaps, short_forms};
use crate::options::Profile;
use crate::plan::{Input, cluster_name, routes};
use crate::registry::{Service, is_exported_to};
use crate::resource::VirtualService;

/// The virtual hosts of all listener ports. Those that are alike on every port stand once and
/// without ports.
pub(super) fn build(input: &Input<'_>, diagnostics: &mut Diagnostics) -> Vec<config::VirtualHost> {
    let services = visible(input, diagnostics);
    for service in &services {
        routes::check(input, service, diagnostics);
    }
    let ports: BTreeSet<u16> = input.options.envoy.listeners.iter().map(|listener| listener.port).collect();
    let mut merged: Vec<config::VirtualHost> = Vec::new();
    let mut reported = BTreeSet::new();
    for &port in &ports {
        for mut host in PortTable::build(input, &services, port, &mut reported, diagnostics) {
            match merged.iter_mut().find(|other| is_same_but_ports(other, &host)) {
                Some(other) => other.ports.push(port),
                None => {
                    host.ports = vec![port];
                    merged.push(host);
                }
            }
        }
    }
    for host in &mut merged {
        if host.ports.len() == ports.len() {
            host.ports.clear();
        }
    }
    merged
}

fn is_same_but_ports(one: &config::VirtualHost, other: &config::VirtualHost) -> bool {
    let config::VirtualHost { name, domains, ports: _, routes, refuse, unregistered } = one;
    *name == other.name
        && *domains == other.domains
        && *routes == other.routes
        && *refuse == other.refuse
        && *unregistered == other.unregistered
}

/// The VirtualServices that the client's proxy takes, in the order in which they win
/// (VIS-02 to VIS-04).
fn visible<'a>(input: &Input<'a>, diagnostics: &mut Diagnostics) -> Vec<&'a VirtualService> {
    let client = input.options.client_namespace.as_str();
    let mut services: Vec<&VirtualService> = Vec::new();
    for service in input.virtual_services {
        let about =
            |diagnostic: Diagnostic| diagnostic.resource(service.meta.title()).at(service.meta.name.span);
        if !service.gateways.is_empty() && !service.gateways.iter().any(|gateway| gateway.value == "mesh") {
            diagnostics.push(
                about(Diagnostic::warning(
                    "gateway-only",
                    "it is bound to gateways only and has no effect here",
                ))
                .field("spec.gateways")
                .rule("VIS-02")
                .help("add `mesh` to `gateways` if the application's own traffic is meant"),
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
        let with_routes: Vec<(&VirtualService, Vec<Route>)> = services
            .iter()
            .map(|service| (*service, routes::build(input, service, port)))
            .filter(|(_, routes)| !routes.is_empty())
            .collect();
        let mut losers = table.add_registered(&with_routes);
        losers.extend(table.add_unregistered(&with_routes));
        for (loser, host, winner) in losers {
            if reported.insert((loser.meta.title(), host.clone())) {
                diagnostics.push(
                    Diagnostic::warning(
                        "host-already-routed",
                        format!("`{host}` is answered by {winner}; this has no effect there"),
                    )
                    .resource(loser.meta.title())
                    .at(loser.meta.name.span)
                    .field("spec.hosts")
                    .rule("VH-10")
                    .help("merge the routes into one VirtualService"),
                );
            }
        }
        table.hosts
    }

    /// Hosts of the registry: with the routes of the most specific VirtualService (VH-14,
    /// VH-16), else with their default route (VH-12). Returns VirtualServices that came
    /// too late: service, host, and who was first.
    fn add_registered<'v>(
        &mut self,
        services: &[(&'v VirtualService, Vec<Route>)],
    ) -> Vec<(&'v VirtualService, String, String)> {
        let mut losers = Vec::new();
        let hosts: Vec<&'i Service<'a>> = self.registered.values().copied().collect();
        for known in hosts {
            let candidates = services.iter().flat_map(|(service, routes)| {
                service.hosts.iter().filter_map(move |host| {
                    let host = expand(host, &service.meta.namespace);
                    covers(&host, known.host).then_some((host, *service, routes))
                })
            });
            // Exact before wildcard, long before short; among equals the first wins.
            let mut candidates: Vec<_> = candidates.collect();
            candidates.sort_by_key(|(host, _, _)| (host.starts_with('*'), std::cmp::Reverse(host.len())));
            let mut candidates = candidates.into_iter();
            let Some((host, service, routes)) = candidates.next() else {
                self.add_default(known);
                continue;
            };
            let winner = service.meta.title();
            losers.extend(
                candidates
                    .filter(|(other, _, _)| *other == host)
                    .map(|(other, late, _)| (late, other, winner.clone())),
            );
            self.push(config::VirtualHost {
                name: winner,
                domains: domains(known.host),
                ports: Vec::new(),
                routes: routes.clone(),
                refuse: None,
                unregistered: false,
            });
        }
        losers
    }

    /// A service without a VirtualService: one route to itself (VH-12).
    fn add_default(&mut self, known: &Service<'_>) {
        let port = if known.is_http_on(self.port) {
            Some(self.port)
        } else {
            self.input.http_port_of_tls_service(known)
        };
        let route = port.map(|port| Route {
            name: "default".to_owned(),
            matcher: RouteMatch::default(),
            route: RouteAction {
                cluster: Some(cluster_name(known.host, port)),
                auto_sni: super::clusters::upstream_tls(self.input, known, port)
                    .is_some_and(|tls| tls.sni.is_none()),
                ..RouteAction::default()
            },
        });
        self.push(config::VirtualHost {
            name: known.entry.meta.title(),
            domains: domains(known.host),
            ports: Vec::new(),
            refuse: route.is_none().then_some(Refuse::OnlyTlsPorts),
            routes: route.into_iter().collect(),
            unregistered: false,
        });
    }

    /// Hosts that only VirtualServices name (VH-06, VH-15, GAP-01). Returns those that came
    /// too late.
    fn add_unregistered<'v>(
        &mut self,
        services: &[(&'v VirtualService, Vec<Route>)],
    ) -> Vec<(&'v VirtualService, String, String)> {
        let options = self.input.options;
        let mut ordered: Vec<_> = services.iter().collect();
        if options.profile == Profile::Standalone {
            // The client's own namespace first; otherwise the order stays.
            ordered.sort_by_key(|(service, _)| service.meta.namespace != options.client_namespace);
        }
        let mut losers = Vec::new();
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
                let free: Vec<String> =
                    domains.iter().filter(|domain| !self.taken.contains_key(*domain)).cloned().collect();
                let taken =
                    domains.iter().find_map(|domain| Some((domain.clone(), self.taken.get(domain)?.clone())));
                losers.extend(taken.map(|(domain, winner)| (*service, domain, winner)));
                if !free.is_empty() {
                    self.push(config::VirtualHost {
                        name: service.meta.title(),
                        domains: free,
                        ports: Vec::new(),
                        routes: routes.clone(),
                        refuse: None,
                        unregistered: true,
                    });
                }
            }
        }
        losers
    }

    /// Whether a virtual host of its own is made for `host`, one of a VirtualService's `hosts`.
    fn is_served_unregistered(&self, host: &str, hosts: &[String]) -> bool {
        let wildcard = host.starts_with('*');
        let known = if wildcard {
            // Overlap in either direction is enough to have none (VH-16).
            self.registered.keys().any(|registered| overlaps(host, registered))
        } else {
            self.registered.contains_key(host)
        };
        if known {
            return false;
        }
        match self.input.options.profile {
            // Port 80, or beside a host that is registered here (VH-15, VH-19).
            Profile::Istio => {
                self.port == 80 || hosts.iter().any(|other| self.registered.contains_key(other.as_str()))
            }
            Profile::Standalone => !wildcard || self.input.options.allow_unregistered_wildcards,
        }
    }

    /// The host itself and the short forms that a Kubernetes service of that name would have.
    fn standalone_domains(&self, host: &str) -> Vec<String> {
        let forms = short_forms(host, &self.input.options.client_namespace);
        std::iter::once(host.to_owned()).chain(forms).flat_map(|name| domains(&name)).collect()
    }

    fn push(&mut self, host: config::VirtualHost) {
        for domain in &host.domains {
            self.taken.insert(domain.clone(), host.name.clone());
        }
        self.hosts.push(host);
    }
}
