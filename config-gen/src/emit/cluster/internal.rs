//! Clusters that lead to listeners inside Envoy.

use serde_json::{Value, json};

use super::connection_pool::circuit_breakers;
use crate::emit::type_url;
use crate::options::EnvoyOptions;
use crate::resource::destination_rule::ConnectionPool;

/// The cluster of the listener `name`. It hands over the filter state that is shared with upstreams.
pub(in crate::emit) fn internal(name: &str, options: &EnvoyOptions) -> Value {
    let address = json!({"envoy_internal_address": {"server_listener_name": name}});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": options.connect_timeout,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": circuit_breakers(&ConnectionPool::default(), None),
        "transport_socket": {
            "name": "envoy.transport_sockets.internal_upstream",
            "typed_config": {
                "@type": type_url("envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport"),
                "transport_socket": {
                    "name": "envoy.transport_sockets.raw_buffer",
                    "typed_config": {"@type": type_url("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")},
                },
            },
        },
    })
}
