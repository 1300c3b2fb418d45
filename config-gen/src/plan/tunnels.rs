//! Where tunnels lead that clients of an explicit proxy ask for by CONNECT (GAP-23): by host and
//! port, as the registry has them.

use std::collections::HashSet;
use std::net::IpAddr;

use portolan_engine::config::{self, Connect, Dial, Tunnel, TunnelTls};

use crate::plan::virtual_hosts::client_domains;
use crate::plan::{Input, cluster_name, clusters, connections};
use crate::registry::Service;
use crate::resource::VirtualService;
use crate::resource::service_entry::ProtocolClass;

/// The listener inside Envoy, and its cluster, in which tunnels with TLS for `port` end.
pub(crate) fn tls_listener(port: u16) -> String {
    format!("tunnel_tls_{port}")
}

/// The same for tunnels with HTTP requests.
pub(crate) fn http_listener(port: u16) -> String {
    format!("tunnel_http_{port}")
}

/// None where there is no explicit proxy. `services` are the VirtualServices that the client takes, in
/// their order, and `virtual_hosts` take the HTTP requests in tunnels: also those to ports that say
/// nothing of their protocol.
pub(super) fn build(
    input: &Input<'_>,
    services: &[&VirtualService],
    virtual_hosts: &[config::VirtualHost],
) -> Option<Connect> {
    input.options.envoy.explicit_proxy?;
    let mut table = Table { input, services, taken: HashSet::new(), tunnels: Vec::new() };
    for service in input.registry.services() {
        for &port in service.ports.keys() {
            let is = |class| service.definitions(port).any(|port| port.protocol.class() == class);
            if is(ProtocolClass::Tls) {
                table.add_tls(service, port);
            } else if is(ProtocolClass::Tcp) {
                table.add_tcp(service, port);
            }
        }
    }
    let takes_http = |port: &u16| {
        let serves = |host: &&config::VirtualHost| host.ports.is_empty() || host.ports.contains(port);
        virtual_hosts.iter().filter(serves).any(|host| host.refuse.is_none())
    };
    let http = input.ports().into_iter().filter(takes_http).map(|port| (port, http_listener(port)));
    Some(Connect { tunnels: table.tunnels, http: http.collect() })
}

struct Table<'i, 'a> {
    input: &'i Input<'a>,
    services: &'i [&'i VirtualService],
    /// Domains with their ports: a name of two services belongs to the first (VH-09, VH-10).
    taken: HashSet<(String, u16)>,
    tunnels: Vec<Tunnel>,
}

impl Table<'_, '_> {
    /// TLS has to ask for the host of the CONNECT. An address has none, so that it is the service's;
    /// below a wildcard that is no name, and there is no tunnel.
    fn add_tls(&mut self, service: &Service<'_>, port: u16) {
        let (addresses, names) =
            self.domains(service, port).into_iter().partition(|domain| is_address(domain));
        let tunnel = |domains: Vec<String>, server_name: Option<String>| Tunnel {
            name: service.meta().title(),
            domains,
            ports: vec![port],
            clusters: vec![(tls_listener(port), 1)],
            dial: None,
            tls: Some(TunnelTls { server_name }),
        };
        self.push(tunnel(names, None));
        if !service.host.starts_with('*') && !is_address(service.host) {
            self.push(tunnel(addresses, Some(service.host.to_owned())));
        }
    }

    /// The CONNECT names the service, so that several may have one port; below a wildcard it names what
    /// is dialled.
    fn add_tcp(&mut self, service: &Service<'_>, port: u16) {
        let mut tunnel =
            Tunnel { domains: self.domains(service, port), ports: vec![port], ..Tunnel::default() };
        if let Some(route) = connections::of_service(self.input, self.services, service, port) {
            tunnel.clusters =
                route.destinations.into_iter().map(|share| (share.cluster, share.weight)).collect();
            tunnel.name = match route.rule {
                Some(rule) => format!("{} {rule}", route.resource),
                None => route.resource,
            };
        } else if let Some(dialled) = clusters::dialled_port(self.input, service, port, "") {
            tunnel.clusters = vec![(cluster_name(service.host, port, ""), 1)];
            tunnel.name = service.meta().title();
            tunnel.dial = Some(Dial { host: Some(service.host.to_owned()), port: dialled });
        } else {
            return;
        }
        self.push(tunnel);
    }

    /// What clients may call `service`, as far as it is free.
    fn domains(&mut self, service: &Service<'_>, port: u16) -> Vec<String> {
        let names = std::iter::once(service.host).chain(service.aliases.iter().copied());
        let all: Vec<String> =
            names.flat_map(|name| client_domains(self.input, service, name, port)).collect();
        let is_anothers = |domain: &str| {
            let own = self.input.registry.own(domain.trim_end_matches('.'));
            own.is_some_and(|other| other.host != service.host && other.ports.contains_key(&port))
        };
        let free = all.into_iter().filter(|domain| !is_anothers(domain));
        free.filter(|domain| self.taken.insert((domain.clone(), port))).collect()
    }

    fn push(&mut self, tunnel: Tunnel) {
        if !tunnel.domains.is_empty() {
            self.tunnels.push(tunnel);
        }
    }
}

/// With or without the brackets of a Host header.
fn is_address(domain: &str) -> bool {
    domain.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}
