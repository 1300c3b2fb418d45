//! Filter chains for connections that are passed through: by SNI, or by address.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::access_log::access_log;
use crate::emit::cluster::{dns_cache_of, passthrough_dns_cache};
use crate::emit::{BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER, type_url};
use crate::options::{Options, OutboundPolicy};
use crate::plan::{ConnectionRoute, Discovery, Plan, Share};

/// One chain for each cluster and port that is dialled there: the server names that go there
/// (VS-TLS-05).
pub(super) fn sni_chains(routes: &[&ConnectionRoute], plan: &Plan, options: &Options) -> Vec<Value> {
    let mut names: BTreeMap<(&str, Option<u16>), Vec<&str>> = BTreeMap::new();
    for route in routes {
        if let ([Share { cluster, .. }], Some(name)) = (route.destinations.as_slice(), &route.server_name) {
            let to = match plan.shared.get(cluster) {
                Some(shared) => (shared.cluster.as_str(), Some(shared.port)),
                None => (cluster.as_str(), None),
            };
            names.entry(to).or_default().push(name);
        }
    }
    names
        .into_iter()
        .map(|((name, shared_port), server_names)| {
            let cluster = plan.cluster(name);
            let port = match cluster.map(|cluster| cluster.discovery) {
                Some(Discovery::Dynamic(port)) => Some(port),
                _ => shared_port,
            };
            let mut filters = Vec::new();
            if let (Some(port), Some(dns_cache)) =
                (port, cluster.and_then(|cluster| dns_cache_of(cluster, &options.envoy)))
            {
                filters.push(dial_server_name(port, &dns_cache));
            }
            filters.push(tcp_proxy("tls_passthrough", name, options));
            let at = shared_port.map(|port| format!(" at port {port}")).unwrap_or_default();
            json!({
                "name": format!("tls {name}{at}"),
                "filter_chain_match": {"transport_protocol": "tls", "server_names": server_names},
                "filters": filters,
            })
        })
        .collect()
}

/// TLS for a server name that is not in the registry: closed and counted (OTP-04), or passed
/// through by its name.
pub(super) fn unknown_sni_chain(port: u16, options: &Options) -> Value {
    let filters = match options.outbound_policy() {
        OutboundPolicy::RegistryOnly => vec![tcp_proxy("tls_refused", BLACK_HOLE_CLUSTER, options)],
        OutboundPolicy::AllowAny => vec![
            dial_server_name(options.envoy.dialled_port("", port), &passthrough_dns_cache(&options.envoy)),
            tcp_proxy("tls_unregistered", PASSTHROUGH_CLUSTER, options),
        ],
    };
    json!({
        "name": "tls unknown",
        "filter_chain_match": {"transport_protocol": "tls"},
        "filters": filters,
    })
}

/// Has the server name resolved and dialled at `port`.
fn dial_server_name(port: u16, dns_cache: &Value) -> Value {
    json!({
        "name": "envoy.filters.network.sni_dynamic_forward_proxy",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig"),
            "port_value": port,
            "dns_cache_config": dns_cache,
        },
    })
}

pub(super) fn tcp_proxy(stat_prefix: &str, cluster: &str, options: &Options) -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
            "stat_prefix": stat_prefix,
            "cluster": cluster,
            "access_log": access_log(options, &json!({
                "start_time": "%START_TIME%",
                "decision": stat_prefix,
                "server_name": "%REQUESTED_SERVER_NAME%",
                "response_flags": "%RESPONSE_FLAGS%",
                "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
                "upstream": "%UPSTREAM_HOST%",
                "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%",
                "bytes_received": "%BYTES_RECEIVED%",
                "bytes_sent": "%BYTES_SENT%",
                "duration": "%DURATION%",
            }), None),
        },
    })
}
