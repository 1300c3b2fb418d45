//! Connections that the filter doesn't see: which filter chain Envoy picks by the server name,
//! and what becomes of other protocols.

use std::net::IpAddr;

use super::Named;
use crate::emit::PASSTHROUGH_CLUSTER;
use crate::emit::listener::carries_http;
use crate::options::{Options, OutboundPolicy};
use crate::plan::{ConnectionRoute, Discovery, Plan, Share};

/// What becomes of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// Its bytes are passed through.
    Registered {
        /// The server name of the chain, exact or `*.x`.
        server_name: String,
        /// To this cluster.
        cluster: String,
        /// Which isn't there, so that the connection is closed.
        cluster_missing: bool,
        /// Name and port to dial where the name is the client's.
        dials: Option<String>,
        /// The resource that has the name.
        resource: Named,
    },
    /// No chain has the name: passed through by it, in the cluster of that name (OTP-05).
    Unregistered {
        /// That cluster.
        cluster: String,
        /// Name and port to dial.
        dials: String,
    },
    /// No chain has the name: closed (OTP-04).
    Closed {
        /// The client sends none, since its URL has an address.
        no_name: bool,
    },
    /// Nothing on this port is TLS, so that its listener takes all bytes for HTTP, and closes.
    NotTls,
    /// Bytes that are neither TLS nor HTTP: taken for HTTP, and answered 400.
    NotHttp,
    /// The same, where the listener has no HTTP: closed (LI-05).
    NoHttp,
}

/// What becomes of a TLS connection to `host` on listener port `port`.
pub fn explain(plan: &Plan, options: &Options, host: &str, port: u16) -> Chain {
    let on_port: Vec<&ConnectionRoute> = plan.connections.iter().filter(|route| route.port == port).collect();
    if on_port.is_empty() {
        return Chain::NotTls;
    }
    // Clients send the name without a trailing dot, and no name for an address.
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let no_name = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let tried = if no_name { Vec::new() } else { server_names(&name) };
    let chain =
        tried.iter().find_map(|name| on_port.iter().find(|route| route.server_name.as_ref() == Some(name)));
    match (chain, options.outbound_policy()) {
        (Some(ConnectionRoute { destinations, server_name: Some(server_name), resource, .. }), _) => {
            let name_of = |share: &Share| share.cluster.clone();
            let to = destinations.iter().max_by_key(|share| share.weight).map(name_of).unwrap_or_default();
            let shared = plan.shared.get(&to);
            let to = shared.map_or(to.as_str(), |shared| shared.cluster.as_str());
            let cluster = plan.cluster(to);
            let port = match cluster.map(|cluster| cluster.discovery) {
                Some(Discovery::Dynamic(port)) => Some(port),
                _ => shared.map(|shared| shared.port),
            };
            Chain::Registered {
                server_name: server_name.clone(),
                cluster: to.to_owned(),
                cluster_missing: cluster.is_none(),
                dials: port.map(|port| format!("{name}:{port}")),
                resource: Named { name: resource.clone(), span: plan.places.resource(resource) },
            }
        }
        (_, OutboundPolicy::AllowAny) if !no_name => Chain::Unregistered {
            cluster: PASSTHROUGH_CLUSTER.to_owned(),
            dials: format!("{name}:{}", options.envoy.dialled_port("", port)),
        },
        _ => Chain::Closed { no_name },
    }
}

/// What becomes of a connection of a protocol that is neither TLS nor HTTP. This version has no
/// routes for such; its listeners take all that isn't TLS for HTTP.
pub(crate) fn explain_tcp(plan: &Plan, options: &Options, port: u16) -> Chain {
    if carries_http(port, plan, options) { Chain::NotHttp } else { Chain::NoHttp }
}

/// What Envoy looks `server_names` of filter chains up by, in its order: the name, then wildcards
/// from the longest.
fn server_names(name: &str) -> Vec<String> {
    let dots = name.match_indices('.').filter_map(|(at, _)| Some(format!("*{}", name.get(at..)?)));
    std::iter::once(name.to_owned()).chain(dots).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wildcard_comes_first() {
        assert_eq!(server_names("a.b.c"), ["a.b.c", "*.b.c", "*.c"]);
        assert_eq!(server_names("a"), ["a"]);
    }
}
