//! Connections that the filter doesn't see: which filter chain Envoy picks by port, address and
//! server name, and what becomes of other protocols.

use std::net::IpAddr;

use super::outcome::MILLION;
use super::{Named, Share};
use crate::emit::PASSTHROUGH_CLUSTER;
use crate::emit::listener::{carries_http, looks_for_tls};
use crate::options::{Cidr, Options, OutboundPolicy};
use crate::plan::{ConnectionRoute, Discovery, Plan};

/// What becomes of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// Its bytes are passed through.
    Registered(Box<Registered>),
    /// No chain has the name: passed through by it, in the cluster of that name (OTP-05).
    Unregistered {
        /// That cluster.
        cluster: String,
        /// Name and port to dial.
        dials: String,
        /// The name is in the access log, and counted.
        reported: bool,
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

/// The chain of a service or rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The server name that is asked for, exact or `*.x`; none: the chain takes any bytes.
    pub server_name: Option<String>,
    /// The ranges of original destinations that are asked for.
    pub addresses: Vec<String>,
    /// Where the bytes go: the first of those with the largest weight.
    pub cluster: String,
    /// All that they may go to.
    pub destinations: Vec<Share>,
    /// The cluster isn't there, so that the connection is closed.
    pub cluster_missing: bool,
    /// Name and port to dial where the name is the client's.
    pub dials: Option<String>,
    /// HTTP to the same port is routed by request instead.
    pub beside_http: bool,
    /// The resource that has the name or the port.
    pub resource: Named,
    /// The rule of that resource, if it is a VirtualService.
    pub rule: Option<Named>,
}

/// What becomes of a TLS connection to `host` on listener port `port`.
pub fn explain(plan: &Plan, options: &Options, host: &str, port: u16) -> Chain {
    // Clients send the name without a trailing dot, and no name for an address.
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let address = address(&name);
    let routes = Routes::new(plan, options, port, address);
    let tried = if address.is_some() { vec!["*".to_owned()] } else { server_names(&name) };
    let named = tried.iter().find_map(|name| routes.of(Some(name)));
    match (named.or_else(|| routes.of(None)), options.outbound_policy()) {
        (Some(route), _) => registered(plan, route, &name),
        _ if !looks_for_tls(options) && !routes.all.iter().any(|route| route.server_name.is_some()) => {
            Chain::NotTls
        }
        (None, policy) if policy.passes() && address.is_none() => Chain::Unregistered {
            cluster: PASSTHROUGH_CLUSTER.to_owned(),
            dials: format!("{name}:{}", options.envoy.dialled_port("", port)),
            reported: policy == OutboundPolicy::Report,
        },
        _ => Chain::Closed { no_name: address.is_some() },
    }
}

/// What becomes of a connection to `target` whose protocol is neither TLS nor HTTP.
pub(crate) fn explain_tcp(plan: &Plan, options: &Options, target: &str, port: u16) -> Chain {
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
    match Routes::new(plan, options, port, address(host)).of(None) {
        Some(route) => registered(plan, route, host),
        None if carries_http(port, plan, options) => Chain::NotHttp,
        None => Chain::NoHttp,
    }
}

/// What becomes of HTTP in plaintext where nobody looks for it: the port is a TCP service's.
pub(crate) fn explain_untold(plan: &Plan, options: &Options, host: &str, port: u16) -> Option<Chain> {
    if carries_http(port, plan, options) {
        return None;
    }
    let chain = explain_tcp(plan, options, host, port);
    matches!(chain, Chain::Registered(_)).then_some(chain)
}

/// The number of the virtual hosts that a request meets which comes by TLS to `host` on listener port
/// `port`, where this ends at the gateway (GW-17).
pub fn terminated(plan: &Plan, host: &str, port: u16) -> Option<u16> {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let tried = if address(&name).is_some() { vec!["*".to_owned()] } else { server_names(&name) };
    let terminations = &plan.gateway.as_ref()?.terminations;
    tried.iter().find_map(|name| {
        let has = |names: &[String]| names.contains(name) || (names.is_empty() && name == "*");
        let here = terminations.iter().find(|one| one.port == port && has(&one.server_names));
        let passed =
            plan.connections.iter().any(|one| one.port == port && one.server_name.as_ref() == Some(name));
        match here {
            Some(termination) => Some(Some(termination.number)),
            None => passed.then_some(None),
        }
    })?
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// The routes of a port among which Envoy chooses by server name.
struct Routes<'a> {
    all: Vec<&'a ConnectionRoute>,
}

impl<'a> Routes<'a> {
    /// Of several ranges with the address the smallest has all the connections, as for Envoy.
    fn new(plan: &'a Plan, options: &Options, port: u16, address: Option<IpAddr>) -> Self {
        let known = !options.envoy.transparent.is_empty();
        let routes = if known { &plan.redirected } else { &plan.connections };
        let on_port: Vec<&ConnectionRoute> = routes.iter().filter(|route| route.port == port).collect();
        let holding = |range: &&Cidr| address.is_some_and(|address| range.contains(address));
        let ranges = on_port.iter().flat_map(|route| &route.addresses).filter(holding);
        let nearest = ranges.max_by_key(|range| range.length).copied();
        let here = |route: &&ConnectionRoute| match nearest {
            Some(range) => route.addresses.contains(&range),
            None => route.addresses.is_empty(),
        };
        Self { all: on_port.into_iter().filter(here).collect() }
    }

    fn of(&self, server_name: Option<&String>) -> Option<&'a ConnectionRoute> {
        self.all.iter().find(|route| route.server_name.as_ref() == server_name).copied()
    }
}

fn registered(plan: &Plan, route: &ConnectionRoute, name: &str) -> Chain {
    let largest = route.destinations.iter().map(|share| share.weight).max();
    let chosen = route.destinations.iter().find(|share| Some(share.weight) == largest);
    let chosen = chosen.map(|share| share.cluster.clone()).unwrap_or_default();
    let shared = plan.shared.get(&chosen);
    let chosen = shared.map_or(chosen.as_str(), |shared| shared.cluster.as_str());
    let original = plan
        .clusters
        .iter()
        .find_map(|cluster| cluster.original_destination().filter(|original| original.name == chosen));
    let cluster = original.as_ref().or_else(|| plan.cluster(chosen));
    let port = match cluster.map(|cluster| cluster.discovery) {
        Some(Discovery::Dynamic(port)) => Some(port),
        _ => shared.map(|shared| shared.port),
    };
    let total: u64 = route.destinations.iter().map(|share| u64::from(share.weight)).sum();
    let per_million = |weight: u32| u64::from(weight) * u64::from(MILLION) / total.max(1);
    let destinations = route.destinations.iter().map(|share| Share {
        cluster: share.cluster.clone(),
        per_million: u32::try_from(per_million(share.weight)).unwrap_or(MILLION),
    });
    let named = |name: &str, span| Named { name: name.to_owned(), span };
    Chain::Registered(Box::new(Registered {
        server_name: route.server_name.clone(),
        addresses: route.addresses.iter().map(ToString::to_string).collect(),
        cluster_missing: cluster.is_none(),
        dials: port.map(|port| format!("{name}:{port}")),
        cluster: chosen.to_owned(),
        destinations: destinations.collect(),
        beside_http: route.beside_http,
        resource: named(&route.resource, plan.places.resource(&route.resource)),
        rule: route.rule.as_ref().map(|rule| named(rule, plan.places.route(&route.resource, rule))),
    }))
}

/// What Envoy looks `server_names` of filter chains up by, in its order: the name, then wildcards
/// from the longest, then all.
fn server_names(name: &str) -> Vec<String> {
    let dots = name.match_indices('.').filter_map(|(at, _)| Some(format!("*{}", name.get(at..)?)));
    std::iter::once(name.to_owned()).chain(dots).chain(["*".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wildcard_comes_first() {
        assert_eq!(server_names("a.b.c"), ["a.b.c", "*.b.c", "*.c", "*"]);
        assert_eq!(server_names("a"), ["a", "*"]);
    }
}
