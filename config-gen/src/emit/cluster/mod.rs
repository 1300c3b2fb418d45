//! Envoy clusters (spec sections 1.3, 3.1 and 5).

mod connection_pool;
mod dns;
mod dynamic_forward_proxy;
mod endpoints;
mod http;
mod internal;
mod load_balancing;
mod original_destination;
mod outlier_detection;
mod proxy_protocol;
mod tls;

use serde_json::{Value, json};

use connection_pool::{circuit_breakers, connect_timeout, keepalive};
use dns::{dns, dns_family};
use dynamic_forward_proxy::dynamic;
pub(super) use dynamic_forward_proxy::{
    dns_cache_of, passthrough, passthrough_by_address, passthrough_dns_cache,
};
use endpoints::localities;
use http::http_protocol_options;
pub(super) use internal::internal;
use load_balancing::{common_lb_config, load_balancing};
use original_destination::original_destination;
pub(super) use original_destination::original_destination_passthrough;
use outlier_detection::outlier_detection;
use proxy_protocol::proxy_protocol;
use tls::transport_socket;

use crate::emit::{BLACK_HOLE_CLUSTER, guard};
use crate::options::{EnvoyOptions, Options};
use crate::plan::{Cluster, Discovery};

/// A cluster of the registry.
pub(super) fn cluster(cluster: &Cluster, options: &Options) -> Value {
    if let Some(dns_cache) = dns_cache_of(cluster, &options.envoy) {
        return dynamic(cluster, &dns_cache, options);
    }
    let envoy = &options.envoy;
    if let Discovery::OriginalDestination(port) = cluster.discovery {
        return original_destination(cluster, port, options);
    }
    let mut value = json!({
        "name": cluster.name,
        "alt_stat_name": stat_name(&cluster.name),
    });
    extend(
        &mut value,
        match cluster.discovery {
            Discovery::StrictDns => dns(false, dns_family(envoy), options),
            // An endpoint for each address, or Envoy would go from one to the next without a question.
            Discovery::LogicalDns if guard::is_on(options) => dns(false, dns_family(envoy), options),
            Discovery::RacingDns if guard::is_on(options) => dns(false, "ALL", options),
            Discovery::LogicalDns => dns(true, dns_family(envoy), options),
            Discovery::RacingDns => dns(true, "ALL", options),
            Discovery::Static
            | Discovery::Dynamic(_)
            | Discovery::Shared { .. }
            | Discovery::OriginalDestination(_) => json!({"type": "STATIC"}),
        },
    );
    extend(
        &mut value,
        json!({
            "load_assignment": {
                "cluster_name": cluster.name,
                "endpoints": localities(&cluster.endpoints, cluster.locality_weights.as_ref()),
            },
        }),
    );
    extend(&mut value, load_balancing(cluster));
    extend(&mut value, of_every_cluster(cluster, options));
    value
}

/// What doesn't depend on where endpoints come from.
fn of_every_cluster(cluster: &Cluster, options: &Options) -> Value {
    let pool = &cluster.connection_pool;
    let mut value = json!({
        "connect_timeout": connect_timeout(pool, &options.envoy),
        "circuit_breakers": circuit_breakers(pool, cluster.retry_budget.as_ref()),
        "typed_extension_protocol_options": http_protocol_options(cluster),
    });
    extend(&mut value, keepalive(pool.tcp.keepalive, options.mesh.keepalive));
    if let Some(settings) = &cluster.outlier_detection {
        extend(&mut value, json!({"outlier_detection": outlier_detection(settings)}));
    }
    extend(&mut value, common_lb_config(cluster));
    mark_external(&mut value, cluster);
    let tls = cluster.tls.as_ref().map(|tls| transport_socket(tls, cluster.http, &options.envoy));
    if let Some(socket) = proxy_protocol(cluster.proxy_protocol, tls) {
        extend(&mut value, json!({"transport_socket": socket}));
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

/// A number as Envoy writes it: a whole one without a fraction.
fn number(number: f64) -> Value {
    // What is read is within 0 and 2^53 wherever it is whole.
    if number.fract() == 0.0 { json!(number as u64) } else { json!(number) }
}

/// As protobuf writes a time span.
fn seconds(milliseconds: u64) -> String {
    match milliseconds % 1000 {
        0 => format!("{}s", milliseconds / 1000),
        rest => format!("{}.{rest:03}s", milliseconds / 1000),
    }
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
