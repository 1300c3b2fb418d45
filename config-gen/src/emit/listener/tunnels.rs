//! Listeners inside Envoy, in which tunnels end whose inside is looked at (design, section 6).
//!
//! The filter has found the registry's host and port of the CONNECT. What follows is decided by
//! what stands in the tunnel: TLS by its server name, which has to be that host, and HTTP request by
//! request.

use std::collections::BTreeSet;

use portolan_engine::ListenerPort;
use serde_json::{Value, json};

use super::chains::{inspectors, registered};
use super::http_connection_manager::{PLAINTEXT, http_connection_manager};
use super::{BUFFER_LIMIT, no_chain_log, told_to_filter};
use crate::emit::type_url;
use crate::options::Options;
use crate::plan::tunnels::{http_listener, tls_listener};
use crate::plan::{ConnectionRoute, Plan};

/// Filter state that comes with the tunnel: the server name that TLS has to ask for.
const SERVER_NAME: &str = "portolan.tunnel.server_name";

/// Filter state that the listener filter `original_dst` takes for the client's address.
const CLIENT: &str = "envoy.filters.listener.original_dst.remote_ip";

/// Hands over what the filter knows of a tunnel to the listener in which it ends. Other requests
/// have nothing of that, and so share connections to upstreams.
pub(super) fn hand_over() -> Value {
    let state = |key: &str, factory: &str, from: &str| {
        json!({
            "object_key": key,
            "factory_key": factory,
            "format_string": {
                "text_format_source": {"inline_string": format!("%FILTER_STATE(wasm.{from}:PLAIN)%")},
                "omit_empty_values": true,
            },
            "skip_if_empty": true,
            "shared_with_upstream": "ONCE",
        })
    };
    json!({
        "name": "envoy.filters.http.set_filter_state",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.http.set_filter_state.v3.Config"),
            "on_request_headers": [
                state(SERVER_NAME, "envoy.string", SERVER_NAME),
                state(CLIENT, CLIENT, "portolan.tunnel.client"),
            ],
        },
    })
}

/// All of them.
pub(in crate::emit) fn listeners(plan: &Plan, options: &Options) -> anyhow::Result<Vec<Value>> {
    let mut listeners = Vec::new();
    for port in tls_ports(plan) {
        let of_port =
            plan.connections.iter().filter(|route| route.port == port && route.server_name.is_some());
        let routes: Vec<&ConnectionRoute> = of_port.collect();
        let mut chains = registered(&routes, None, None, plan, options);
        for chain in &mut chains {
            if let Some(filters) = chain["filters"].as_array_mut() {
                filters.insert(0, name_check());
            }
        }
        listeners.push(listener(&tls_listener(port), port, inspectors(true, false), &chains, options));
    }
    for (port, name) in plan.connect.iter().flat_map(|connect| &connect.http) {
        let manager = http_connection_manager(name, ListenerPort::Fixed(*port), PLAINTEXT, plan, options)?;
        let chains = vec![json!({"name": "http", "filters": [manager]})];
        listeners.push(listener(&http_listener(*port), *port, Vec::new(), &chains, options));
    }
    Ok(listeners)
}

/// The names of all of them.
pub(in crate::emit) fn names(plan: &Plan) -> Vec<String> {
    let http = plan.connect.iter().flat_map(|connect| &connect.http);
    tls_ports(plan).into_iter().map(tls_listener).chain(http.map(|(_, name)| name.clone())).collect()
}

fn tls_ports(plan: &Plan) -> BTreeSet<u16> {
    let tunnels = plan.connect.iter().flat_map(|connect| &connect.tunnels);
    tunnels.filter(|tunnel| tunnel.tls.is_some()).flat_map(|tunnel| tunnel.ports.iter().copied()).collect()
}

/// What no chain takes is closed: other bytes than TLS, and names that nobody has.
fn listener(
    name: &str,
    port: u16,
    mut listener_filters: Vec<Value>,
    chains: &[Value],
    options: &Options,
) -> Value {
    // The client is the one that asked for the tunnel.
    listener_filters.push(json!({
        "name": "envoy.filters.listener.original_dst",
        "typed_config": {"@type": type_url("envoy.extensions.filters.listener.original_dst.v3.OriginalDst")},
    }));
    json!({
        "name": name,
        "metadata": told_to_filter(ListenerPort::Fixed(port)),
        "internal_listener": {},
        "per_connection_buffer_limit_bytes": BUFFER_LIMIT,
        "listener_filters": listener_filters,
        "filter_chains": chains,
        "access_log": no_chain_log(name, options),
    })
}

/// Closes the connection unless its server name is the one that the tunnel is for. Both are in lower
/// case and without a trailing dot. What can't be compared isn't allowed.
fn name_check() -> Value {
    let call =
        |function: &str, arguments: Value| json!({"call_expr": {"function": function, "args": arguments}});
    let name = json!({"select_expr": {
        "operand": {"ident_expr": {"name": "connection"}},
        "field": "requested_server_name",
    }});
    let wanted = call(
        "_[_]",
        json!([{"ident_expr": {"name": "filter_state"}}, {"const_expr": {"string_value": SERVER_NAME}}]),
    );
    // Filter state is bytes here.
    let condition = call("_==_", json!([call("bytes", json!([name])), wanted]));
    json!({
        "name": "envoy.filters.network.rbac",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.network.rbac.v3.RBAC"),
            "stat_prefix": "tunnel_tls.",
            "rules": {
                "action": "ALLOW",
                "policies": {"server_name_is_that_of_connect": {
                    "permissions": [{"any": true}],
                    "principals": [{"any": true}],
                    "condition": condition,
                }},
            },
        },
    })
}
