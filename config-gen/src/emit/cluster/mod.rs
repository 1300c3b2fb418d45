//! Envoy clusters (spec sections 1.3, 3.1 and 5).

mod dns;
mod dynamic_forward_proxy;
mod endpoints;
mod http;
mod tls;

use serde_json::{Value, json};

use dns::{dns, dns_family};
use dynamic_forward_proxy::dynamic;
pub(super) use dynamic_forward_proxy::{dns_cache_of, passthrough, passthrough_dns_cache};
use endpoints::localities;
use http::http_protocol_options;
use tls::transport_socket;

use crate::emit::BLACK_HOLE_CLUSTER;
use crate::options::EnvoyOptions;
use crate::plan::{Cluster, Discovery};

/// No limit: Istio's default for all thresholds (DEF-11).
const UNLIMITED: u32 = u32::MAX;

/// A cluster of the registry.
pub(super) fn cluster(cluster: &Cluster, options: &EnvoyOptions) -> Value {
    if let Some(dns_cache) = dns_cache_of(cluster, options) {
        return dynamic(cluster, &dns_cache, options);
    }
    let mut value = json!({
        "name": cluster.name,
        "alt_stat_name": stat_name(&cluster.name),
    });
    extend(
        &mut value,
        match cluster.discovery {
            Discovery::StrictDns => dns(false, dns_family(options), options),
            Discovery::LogicalDns => dns(true, dns_family(options), options),
            Discovery::RacingDns => dns(true, "ALL", options),
            Discovery::Static | Discovery::Dynamic(_) | Discovery::Shared { .. } => json!({"type": "STATIC"}),
        },
    );
    extend(
        &mut value,
        json!({
            "connect_timeout": options.connect_timeout,
            "lb_policy": "LEAST_REQUEST",
            "circuit_breakers": circuit_breakers(),
            "load_assignment": {
                "cluster_name": cluster.name,
                "endpoints": localities(&cluster.endpoints),
            },
            "typed_extension_protocol_options": http_protocol_options(cluster),
        }),
    );
    mark_external(&mut value, cluster);
    if let Some(tls) = &cluster.tls {
        extend(&mut value, json!({"transport_socket": transport_socket(tls, cluster.http, options)}));
    }
    value
}

/// As Istio does (SE-14).
fn mark_external(value: &mut Value, cluster: &Cluster) {
    if cluster.external {
        extend(value, json!({"metadata": {"filter_metadata": {"istio": {"external": true}}}}));
    }
}

/// Adds the fields of `more` to an object.
fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}

/// A cluster name without dots, at which Envoy's tag extraction would cut it.
fn stat_name(name: &str) -> String {
    name.replace('.', "_")
}

fn circuit_breakers() -> Value {
    json!({"thresholds": [{
        "max_connections": UNLIMITED,
        "max_pending_requests": UNLIMITED,
        "max_requests": UNLIMITED,
        "max_retries": UNLIMITED,
    }]})
}

/// `{"socket_address": …}`.
pub(super) fn socket_address(address: &std::net::SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// Without endpoints: a connection that is sent here is closed (CL-11).
pub(super) fn black_hole(options: &EnvoyOptions) -> Value {
    json!({
        "name": BLACK_HOLE_CLUSTER,
        "type": "STATIC",
        "connect_timeout": options.connect_timeout,
    })
}
