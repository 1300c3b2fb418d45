//! TLS connections: which filter chain Envoy picks by the server name.

use std::net::IpAddr;

use super::Named;
use crate::emit::PASSTHROUGH_CLUSTER;
use crate::options::{Options, OutboundPolicy};
use crate::plan::{Plan, SniRoute};

/// What becomes of a TLS connection.
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
        /// The resource that has the name.
        resource: Named,
    },
    /// No chain has the name: passed through by it, in the cluster of that name (OTP-05).
    Unregistered {
        /// That cluster.
        cluster: String,
    },
    /// No chain has the name: closed (OTP-04).
    Closed,
    /// Nothing on this port is TLS, so that its listener takes all bytes for HTTP, and closes.
    NotTls,
}

/// What becomes of a TLS connection to `host` on listener port `port`.
pub fn explain(plan: &Plan, options: &Options, host: &str, port: u16) -> Chain {
    let on_port: Vec<&SniRoute> = plan.sni_routes.iter().filter(|route| route.port == port).collect();
    if on_port.is_empty() {
        return Chain::NotTls;
    }
    // Clients send the name without a trailing dot, and no name for an address.
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let tried = if is_address { Vec::new() } else { server_names(&name) };
    let chain = tried.iter().find_map(|name| on_port.iter().find(|route| route.server_name == *name));
    match (chain, options.outbound_policy()) {
        (Some(route), _) => Chain::Registered {
            server_name: route.server_name.clone(),
            cluster: route.cluster.clone(),
            cluster_missing: !plan.clusters.iter().any(|cluster| cluster.name == route.cluster),
            resource: Named { name: route.resource.clone(), span: plan.places.resource(&route.resource) },
        },
        (None, OutboundPolicy::AllowAny) if !is_address => {
            Chain::Unregistered { cluster: PASSTHROUGH_CLUSTER.to_owned() }
        }
        (None, _) => Chain::Closed,
    }
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
