//! Clusters that resolve what each request or connection is for (SE-R-07, OTP-07).

use serde_json::{Value, json};

use super::connection_pool::{circuit_breakers, connect_timeout, keepalive};
use super::dns::{MAX_HOSTS, dns_cache, registry_dns_cache, sub_cluster_dns};
use super::{extend, of_every_cluster, stat_name};
use crate::emit::{PASSTHROUGH_CLUSTER, PASSTHROUGH_CLUSTER_BY_ADDRESS, guard, type_url};
use crate::options::{EnvoyOptions, Options};
use crate::plan::{Cluster, Discovery};

/// Name of the DNS cache for hosts outside the registry.
const PASSTHROUGH_DNS_CACHE: &str = "passthrough";

/// The DNS cache of a cluster that resolves what each request or connection is for; Envoy requires
/// the same settings wherever it is named.
pub(in crate::emit) fn dns_cache_of(cluster: &Cluster, options: &EnvoyOptions) -> Option<Value> {
    match cluster.discovery {
        Discovery::Dynamic(_) => Some(dns_cache(&cluster.name, options)),
        Discovery::Shared { hosts } => Some(registry_dns_cache(&cluster.name, hosts, options)),
        Discovery::StrictDns
        | Discovery::LogicalDns
        | Discovery::RacingDns
        | Discovery::Static
        | Discovery::OriginalDestination(_) => None,
    }
}

/// Resolves the host of each request, or the server name of each connection (SE-R-07). The host is
/// the one that the filter has allowed, and so is the port.
pub(super) fn dynamic(cluster: &Cluster, dns_cache: &Value, options: &Options) -> Value {
    let mut value = dynamic_forward_proxy(&cluster.name, &json!({"dns_cache_config": dns_cache}));
    extend(&mut value, of_every_cluster(cluster, options));
    if cluster.tls.as_ref().is_none_or(|tls| tls.sni.is_some() || !tls.auto_san) {
        // Names that are written take the place of the host's, as on any other cluster. Without TLS they
        // do nothing, except that Envoy keeps connections for each of them, so for each authority that a
        // rule writes.
        value["cluster_type"]["typed_config"]["allow_insecure_cluster_options"] = json!(true);
    }
    value
}

/// Resolves the host of each request (OTP-07, GAP-02).
pub(in crate::emit) fn passthrough(options: &Options) -> Value {
    let cache = passthrough_dns_cache(&options.envoy);
    let mut value = dynamic_forward_proxy(PASSTHROUGH_CLUSTER, &json!({"dns_cache_config": cache}));
    extend(&mut value, limits_of_passthrough(options));
    value
}

/// The same where addresses are guarded: for each host Envoy makes a cluster in which each of its addresses is an
/// endpoint, so that the guard sees the one that is dialled. Of a host of a DNS cache it sees the first one only,
/// and Envoy goes on to the others by itself.
pub(in crate::emit) fn passthrough_by_address(options: &Options) -> Value {
    let hosts = json!({
        "sub_clusters_config": {"lb_policy": "ROUND_ROBIN", "max_sub_clusters": MAX_HOSTS},
        // Lets it have options of HTTP that say nothing of TLS, of which there is none.
        "allow_insecure_cluster_options": true,
    });
    let mut value = dynamic_forward_proxy(PASSTHROUGH_CLUSTER_BY_ADDRESS, &hosts);
    extend(&mut value, sub_cluster_dns(&options.envoy));
    extend(&mut value, limits_of_passthrough(options));
    guard::set_filters_of_passthrough(&mut value, options);
    value
}

/// What isn't in the registry has the mesh's limits (CL-11).
pub(super) fn limits_of_passthrough(options: &Options) -> Value {
    let mesh = &options.mesh;
    let pool = mesh.connection_pool.clone().unwrap_or_default();
    let mut value = json!({
        "connect_timeout": connect_timeout(&pool, &options.envoy),
        "circuit_breakers": circuit_breakers(&pool, None),
    });
    extend(&mut value, keepalive(pool.tcp.keepalive, mesh.keepalive));
    value
}

/// A cluster that resolves what each connection is for.
fn dynamic_forward_proxy(name: &str, hosts: &Value) -> Value {
    let mut config =
        json!({"@type": type_url("envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig")});
    extend(&mut config, hosts.clone());
    json!({
        "name": name,
        "alt_stat_name": stat_name(name),
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.dynamic_forward_proxy",
            "typed_config": config,
        },
    })
}

/// The DNS cache for hosts outside the registry; Envoy requires the same settings wherever
/// it is named.
pub(in crate::emit) fn passthrough_dns_cache(options: &EnvoyOptions) -> Value {
    dns_cache(PASSTHROUGH_DNS_CACHE, options)
}
