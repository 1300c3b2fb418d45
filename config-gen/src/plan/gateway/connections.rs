//! Connections that a gateway passes on: by server name, or all of a server (GW-18, GW-19).

use std::collections::BTreeSet;

use super::{Kind, Server, downstream_tls};
use crate::gateway::names;
use crate::plan::connections::{
    name, needs_passthrough_cluster, passthrough_cluster_name, settings_of, shares,
};
use crate::plan::destinations::Target;
use crate::plan::{ConnectionRoute, Input, Share};
use crate::resource::VirtualService;
use crate::resource::virtual_service::{ConnectionMatch, ConnectionRule};

/// The routes of all servers that have any, for `services` in the order in which they win.
pub(in crate::plan) fn build(input: &Input<'_>, services: &[&VirtualService]) -> Vec<ConnectionRoute> {
    let mut taken: BTreeSet<(u16, String)> = BTreeSet::new();
    let mut routes = Vec::new();
    for server in input.servers {
        match server.kind {
            Kind::Passthrough => routes.extend(by_name(input, server, services, &mut taken)),
            Kind::Tcp => routes.extend(whole(input, server, services)),
            Kind::Tls => routes.extend(decrypted(input, server, services)),
            Kind::Http | Kind::Https(_) => {}
        }
    }
    routes
}

/// The VirtualServices that are bound to `server`, in their order.
fn bound<'v>(server: &Server<'_>, services: &[&'v VirtualService]) -> Vec<&'v VirtualService> {
    let is_bound = |service: &&&VirtualService| {
        names(&service.gateways, &service.meta.namespace, &server.gateway_name)
            && !server.hosts_of(service).is_empty()
    };
    services.iter().filter(is_bound).copied().collect()
}

/// A route for each server name that a rule asks for; the names need not be the server's, and one
/// that another route has is left to it (GW-18).
fn by_name(
    input: &Input<'_>,
    server: &Server<'_>,
    services: &[&VirtualService],
    taken: &mut BTreeSet<(u16, String)>,
) -> Vec<ConnectionRoute> {
    let mut routes = Vec::new();
    for service in bound(server, services) {
        for rule in &service.tls {
            for (index, entry) in rule.matches.iter().enumerate() {
                if !applies(server, service, entry) {
                    continue;
                }
                let Some(route) = route(input, server, service, rule, Some((index, entry))) else { continue };
                for name in &entry.server_names {
                    if taken.insert((server.port, name.value.clone())) {
                        let server_name = Some(name.value.clone());
                        routes.push(ConnectionRoute { server_name, ..route.clone() });
                    }
                }
            }
        }
    }
    routes
}

/// The first route that fits has the whole server (GW-19).
fn whole(input: &Input<'_>, server: &Server<'_>, services: &[&VirtualService]) -> Option<ConnectionRoute> {
    bound(server, services).into_iter().find_map(|service| {
        service.tcp.iter().find_map(|rule| {
            let mut entries = rule.matches.iter().enumerate();
            let entry = entries.find(|(_, entry)| applies(server, service, entry));
            if entry.is_none() && !rule.matches.is_empty() {
                return None;
            }
            route(input, server, service, rule, entry)
        })
    })
}

/// The same for what comes out of TLS that ends here, by the server's names.
fn decrypted(input: &Input<'_>, server: &Server<'_>, services: &[&VirtualService]) -> Vec<ConnectionRoute> {
    let Some((route, tls)) = whole(input, server, services).zip(downstream_tls(server, input.options)) else {
        return Vec::new();
    };
    let route = ConnectionRoute { decrypted: Some(tls), ..route };
    let named = |name| ConnectionRoute { server_name: Some(name), ..route.clone() };
    server.server_names().into_iter().map(named).collect()
}

/// Only port and gateway count; the client is unknown (GW-18).
fn applies(server: &Server<'_>, service: &VirtualService, entry: &ConnectionMatch) -> bool {
    entry.port.as_ref().is_none_or(|port| port.value == server.port)
        && (entry.gateways.is_empty()
            || names(&entry.gateways, &service.meta.namespace, &server.gateway_name))
}

/// Where `rule` leads; none where that is nowhere.
fn route(
    input: &Input<'_>,
    server: &Server<'_>,
    service: &VirtualService,
    rule: &ConnectionRule,
    entry: Option<(usize, &ConnectionMatch)>,
) -> Option<ConnectionRoute> {
    let share = |(destination, weight): (&crate::resource::virtual_service::RouteDestination, u32)| {
        let target =
            Target::of_connection(input, &destination.destination, &service.meta.namespace, server.port);
        let known = target.service(input);
        let cluster = match known.filter(|known| {
            // The client's own TLS goes on as it is; what else arrives gets the destination's.
            server.kind == Kind::Passthrough
                && needs_passthrough_cluster(input, known, target.port, &target.subset)
        }) {
            Some(known) => passthrough_cluster_name(known.host, target.port, &target.subset),
            None => target.cluster,
        };
        Share { cluster, weight }
    };
    let destinations: Vec<Share> = shares(&rule.route).map(share).collect();
    (!destinations.is_empty()).then(|| ConnectionRoute {
        port: server.port,
        server_name: None,
        addresses: Vec::new(),
        beside_http: false,
        destinations,
        settings: settings_of(input, rule, &service.meta.namespace, server.port),
        resource: service.meta.title(),
        rule: Some(name(rule, entry)),
        decrypted: None,
    })
}
