//! The virtual hosts of a gateway (GW-05 to GW-12, GW-15).

use std::collections::{BTreeMap, BTreeSet};

use portolan_engine::config::{self, Redirect, Route, RouteAction, RouteMatch};

use super::{Kind, Server};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gateway::names;
use crate::plan::{Input, routes};
use crate::resource::VirtualService;

/// The virtual hosts of each number that stands for a port (GW-03), for `services` in the order in
/// which they win.
pub(in crate::plan) fn build(
    input: &Input<'_>,
    services: &[&VirtualService],
    diagnostics: &mut Diagnostics,
) -> Vec<(u16, Vec<config::VirtualHost>)> {
    let mut by_number: BTreeMap<u16, Vec<&Server<'_>>> = BTreeMap::new();
    for server in input.servers {
        match server.kind {
            Kind::Http => by_number.entry(server.port).or_default().push(server),
            Kind::Https(number) => by_number.entry(number).or_default().push(server),
            Kind::Tls | Kind::Passthrough | Kind::Tcp => {}
        }
    }
    report_unbound(input, services, diagnostics);
    by_number
        .into_iter()
        .map(|(number, servers)| {
            let mut hosts = Hosts::default();
            for server in servers {
                hosts.add(input, server, services);
            }
            (number, hosts.finish())
        })
        .collect()
}

/// The hosts of servers that are one.
#[derive(Default)]
struct Hosts {
    /// In the order of their coming.
    order: Vec<String>,
    by_name: BTreeMap<String, Host>,
}

struct Host {
    /// The Gateway that was first to have it.
    gateway: String,
    routes: Vec<Route>,
    /// Who gave routes: a VirtualService gives them once.
    from: BTreeSet<(String, String)>,
    redirects: bool,
}

impl Hosts {
    fn host(&mut self, name: &str, server: &Server<'_>) -> &mut Host {
        if !self.by_name.contains_key(name) {
            self.order.push(name.to_owned());
        }
        self.by_name.entry(name.to_owned()).or_insert_with(|| Host {
            gateway: server.gateway.meta.title(),
            routes: Vec::new(),
            from: BTreeSet::new(),
            redirects: false,
        })
    }

    /// Appends the routes of the VirtualServices that are bound to `server` (GW-07, GW-09).
    fn add(&mut self, input: &Input<'_>, server: &Server<'_>, services: &[&VirtualService]) {
        let redirects =
            server.kind == Kind::Http && server.resource.tls.as_ref().is_some_and(|tls| tls.https_redirect);
        for service in services {
            if !names(&service.gateways, &service.meta.namespace, &server.gateway_name) {
                continue;
            }
            let title = service.meta.title();
            let mut routes = routes::build(input, service, server.port, &server.gateway_name);
            if routes.is_empty() {
                continue;
            }
            for route in &mut routes {
                // Several VirtualServices can share the virtual host.
                route.name = format!("{title} {}", route.name);
            }
            for name in server.hosts_of(service) {
                let host = self.host(&name, server);
                host.redirects |= redirects;
                if host.from.insert((title.clone(), server.gateway_name.clone())) {
                    host.routes.extend(routes.iter().cloned());
                }
            }
        }
        if redirects {
            // Also those that no VirtualService has (GW-15).
            for (_, name) in server.hosts() {
                self.host(name, server).redirects = true;
            }
        }
    }

    fn finish(mut self) -> Vec<config::VirtualHost> {
        let order = std::mem::take(&mut self.order);
        let hosts = order.into_iter().filter_map(|name| {
            let mut host = self.by_name.remove(&name)?;
            if host.redirects {
                host.routes = vec![redirect_to_https()];
            }
            // What takes everything comes last, otherwise the order stays (GW-09).
            host.routes.sort_by_key(|route| routes::is_catch_all(&route.matcher));
            Some(config::VirtualHost {
                name: host.gateway,
                // Exactly this one (GW-08).
                domains: vec![name],
                ports: Vec::new(),
                routes: host.routes,
                refuse: None,
                unregistered: false,
            })
        });
        hosts.collect()
    }
}

/// GW-15.
fn redirect_to_https() -> Route {
    Route {
        name: "httpsRedirect".to_owned(),
        matcher: RouteMatch::default(),
        route: RouteAction {
            redirect: Some(Redirect {
                code: 301,
                scheme: Some("https".to_owned()),
                authority: None,
                port: None,
                path: None,
                prefix: None,
            }),
            ..RouteAction::default()
        },
    }
}

/// VirtualServices that name a Gateway of the proxy none of whose hosts they have (GW-05, GW-07).
fn report_unbound(input: &Input<'_>, services: &[&VirtualService], diagnostics: &mut Diagnostics) {
    for service in services {
        let mut bound = input
            .servers
            .iter()
            .filter(|server| names(&service.gateways, &service.meta.namespace, &server.gateway_name))
            .peekable();
        if bound.peek().is_none() || bound.any(|server| !server.hosts_of(service).is_empty()) {
            continue;
        }
        diagnostics.push(
            Diagnostic::warning(
                "no-host-of-gateway",
                "no server of the Gateway has one of its hosts, so it has no effect",
            )
            .resource(service.meta.title())
            .at(service.meta.name.span)
            .field("spec.hosts")
            .rule("GW-07")
            .help(
                "a server's host such as `shop/*.example.com` is for VirtualServices of that namespace alone",
            ),
        );
    }
}
