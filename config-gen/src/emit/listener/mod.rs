//! Envoy listeners (spec section 3.3).

mod access_log;
mod chains;
mod explicit_proxy;
mod http_connection_manager;
mod route_config;
mod terminations;
mod transparent;
mod tunnels;

use std::net::SocketAddr;

use portolan_engine::ListenerPort;
use serde_json::{Value, json};

use access_log::access_log;
use explicit_proxy::explicit_proxy;
use http_connection_manager::{PLAINTEXT, http_connection_manager};
pub(super) use tunnels::names as tunnel_names;

use crate::emit::cluster::socket_address;
use crate::options::{Options, OutboundPolicy, Profile};
use crate::plan::{ConnectionRoute, Plan, Termination};

/// Most bytes that are held for a request or response whose other side is slower. A body
/// above it loses its retries.
const BUFFER_LIMIT: u32 = 1 << 20;

/// How long a listener waits for a client's first bytes where the server may be the one that speaks
/// first.
const FIRST_BYTES: &str = "5s";

/// All listeners: one for each port that is given, the explicit proxy with what its tunnels end in, and
/// the transparent one.
pub(super) fn listeners(plan: &Plan, options: &Options) -> anyhow::Result<Vec<Value>> {
    let mut ports: Vec<u16> = Vec::new();
    for listen in &options.envoy.listeners {
        if !ports.contains(&listen.port) {
            ports.push(listen.port);
        }
    }
    let mut listeners =
        ports.into_iter().map(|port| listener(port, plan, options)).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(address) = &options.envoy.explicit_proxy {
        listeners.push(explicit_proxy(address, plan, options)?);
        listeners.extend(tunnels::listeners(plan, options)?);
    }
    if !options.envoy.transparent.is_empty() {
        listeners.push(transparent::listener(plan, options)?);
    }
    Ok(listeners)
}

/// Where a listener listens: the first address, and others beside it.
fn extend_addresses(listener: &mut Value, addresses: &[SocketAddr]) {
    let mut addresses = addresses.iter().map(socket_address);
    if let Some(first) = addresses.next() {
        listener["address"] = first;
    }
    let others: Vec<Value> = addresses.map(|address| json!({"address": address})).collect();
    if !others.is_empty() {
        listener["additional_addresses"] = others.into();
    }
}

/// A listener that clients connect to themselves: TLS by its server name where the registry has TLS
/// on the port, the TCP service of the port, and HTTP.
fn listener(port: u16, plan: &Plan, options: &Options) -> anyhow::Result<Value> {
    let own = options.envoy.listeners.iter().filter(|listen| listen.port == port);
    let addresses: Vec<SocketAddr> = own.map(|listen| listen.address).collect();
    let routes: Vec<&ConnectionRoute> = plan.connections.iter().filter(|route| route.port == port).collect();
    let http = match carries_http(port, plan, options) {
        true => Some(json!([http_connection_manager(
            &listener_name(port),
            ListenerPort::Fixed(port),
            PLAINTEXT,
            plan,
            options
        )?])),
        false => None,
    };
    let rest = routes.iter().find(|route| route.takes_the_rest());
    let terminations = plan.gateway.iter().flat_map(|gateway| &gateway.terminations);
    let terminations: Vec<&Termination> = terminations.filter(|one| one.port == port).collect();
    let by_name = !terminations.is_empty()
        || routes.iter().any(|route| route.server_name.is_some())
        || looks_for_tls(options);
    let mut chains = chains::registered(&routes, http.as_ref(), None, plan, options);
    for termination in &terminations {
        chains.push(terminations::chain(termination, plan, options)?);
    }
    if rest.is_none() {
        let any_name = routes.iter().any(|route| route.server_name.as_deref() == Some("*"))
            || terminations.iter().any(|termination| termination.server_names.is_empty());
        if by_name && !any_name {
            chains.push(chains::unknown_sni_chain(port, options));
        }
        chains.push(match &http {
            Some(http) => json!({"name": "http", "filters": http}),
            None => chains::refused_chain(options),
        });
    }
    let beside_http = rest.is_some_and(|rest| rest.beside_http);
    let inspectors = chains::inspectors(by_name || beside_http, beside_http);
    let server_may_speak_first = rest.is_some() && !inspectors.is_empty();
    // Where servers of a gateway share a port, their virtual hosts have numbers of their own, which
    // their route configurations tell.
    let shared = terminations.iter().any(|one| one.number != port);
    let mut listener = json!({
        "name": listener_name(port),
        "per_connection_buffer_limit_bytes": BUFFER_LIMIT,
        "listener_filters": inspectors,
        "filter_chains": chains,
        "access_log": no_chain_log(&listener_name(port), options),
    });
    extend_addresses(&mut listener, &addresses);
    if server_may_speak_first {
        listener["listener_filters_timeout"] = json!(FIRST_BYTES);
        listener["continue_on_listener_filters_timeout"] = json!(true);
    }
    if !shared {
        listener["metadata"] = told_to_filter(ListenerPort::Fixed(port));
    }
    Ok(listener)
}

/// Whether TLS is expected on every port: where the registry is still being gathered, it has TLS on none.
pub(crate) fn looks_for_tls(options: &Options) -> bool {
    options.outbound_policy() == OutboundPolicy::Report
}

/// Tells the filter which port clients mean (GAP-01).
fn told_to_filter(port: ListenerPort) -> Value {
    json!({"filter_metadata": {"portolan": {"port": port.to_string()}}})
}

/// Whether the listener of `port` takes HTTP. In Istio a port without HTTP services has no HTTP
/// listener: its connections go where those of unknown hosts go (LI-05), which without the
/// original destination takes the filter. A port with a TCP service has HTTP only beside it (SE-P-09).
pub(crate) fn carries_http(port: u16, plan: &Plan, options: &Options) -> bool {
    if let Some(gateway) = &plan.gateway {
        return gateway.http.contains(&port);
    }
    let mut routes = plan.connections.iter();
    if let Some(rest) = routes.find(|route| route.port == port && route.takes_the_rest()) {
        return rest.beside_http;
    }
    options.profile == Profile::Standalone
        || options.outbound_policy().passes()
        || plan.virtual_hosts.iter().any(|host| host.ports.is_empty() || host.ports.contains(&port))
}

/// A line for each connection that no filter chain takes.
fn no_chain_log(listener: &str, options: &Options) -> Vec<Value> {
    let format = json!({
        "start_time": "%START_TIME%",
        "listener": listener,
        "reason": "no_filter_chain",
        "server_name": "%REQUESTED_SERVER_NAME%",
        "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%",
    });
    access_log(options, &format, Some("NR"))
}

/// `outbound_80`.
fn listener_name(port: u16) -> String {
    format!("outbound_{port}")
}
