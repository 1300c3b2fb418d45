//! Envoy listeners (spec section 3.3).

mod access_log;
mod chains;
mod http_connection_manager;
mod route_config;

use portolan_engine::ListenerPort;
use serde_json::{Value, json};

use access_log::access_log;
use chains::{sni_chains, tcp_proxy, unknown_sni_chain};
use http_connection_manager::http_connection_manager;

use crate::emit::cluster::socket_address;
use crate::emit::{BLACK_HOLE_CLUSTER, type_url};
use crate::options::{Listen, Options, OutboundPolicy, Profile};
use crate::plan::{ConnectionRoute, Plan};

/// Most bytes that are held for a request or response whose other side is slower. A body
/// above it loses its retries.
const BUFFER_LIMIT: u32 = 1 << 20;

/// A listener: TLS connections by SNI where the registry has TLS ports on it, and HTTP.
pub(super) fn listener(listen: &Listen, plan: &Plan, options: &Options) -> anyhow::Result<Value> {
    let port = listen.port;
    let connections: Vec<&ConnectionRoute> =
        plan.connections.iter().filter(|route| route.port == port).collect();
    let mut chains = Vec::new();
    let mut listener_filters = Vec::new();
    if !connections.is_empty() {
        listener_filters.push(json!({
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": {"@type": type_url("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")},
        }));
        chains.extend(sni_chains(&connections, plan, options));
        chains.push(unknown_sni_chain(port, options));
    }
    chains.push(if carries_http(port, plan, options) {
        json!({"name": "http", "filters": [http_connection_manager(port, plan, options)?]})
    } else {
        json!({"name": "refused", "filters": [tcp_proxy("tcp_refused", BLACK_HOLE_CLUSTER, options)]})
    });
    Ok(json!({
        "name": listener_name(port),
        // Tells the filter which port clients mean (GAP-01).
        "metadata": {"filter_metadata": {"portolan": {"port": ListenerPort::Fixed(port).to_string()}}},
        "address": socket_address(&listen.address),
        "per_connection_buffer_limit_bytes": BUFFER_LIMIT,
        "listener_filters": listener_filters,
        "filter_chains": chains,
        "access_log": access_log(options, &json!({
            "start_time": "%START_TIME%",
            "listener": listener_name(port),
            "reason": "no_filter_chain",
            "server_name": "%REQUESTED_SERVER_NAME%",
            "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%",
        }), Some("NR")),
    }))
}

/// Whether the listener of `port` takes HTTP. In Istio a port without HTTP services has no HTTP
/// listener: its connections go where those of unknown hosts go (LI-05), which without the
/// original destination takes the filter.
pub(crate) fn carries_http(port: u16, plan: &Plan, options: &Options) -> bool {
    options.profile == Profile::Standalone
        || options.outbound_policy() == OutboundPolicy::AllowAny
        || plan.virtual_hosts.iter().any(|host| host.ports.is_empty() || host.ports.contains(&port))
}

/// `outbound_80`.
fn listener_name(port: u16) -> String {
    format!("outbound_{port}")
}
