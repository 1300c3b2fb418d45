//! Envoy's bootstrap.

use serde_json::{Value, json};

use crate::emit::{cluster, discovery, guard, listener, passes_original_destinations, type_url};
use crate::options::{ClusterStats, Options, OwnConnections};
use crate::plan::{Cluster, Plan};

/// More clusters than these have their statistics together, unless that is asked for.
const MOST_CLUSTERS_WITH_STATS: usize = 1_000;

/// The name of statistics of all clusters of the registry.
const ALL_CLUSTERS: &str = "outbound";

/// Name of this proxy; nothing but Envoy itself asks for it.
const NODE: &str = "portolan";

/// A complete bootstrap.
pub(super) fn bootstrap(plan: &Plan, options: &Options) -> anyhow::Result<Value> {
    let envoy = &options.envoy;
    let mut bootstrap = json!({
        // Extension config discovery wants both.
        "node": {"id": NODE, "cluster": NODE},
        "stats_config": stats_config(),
        // Most statistics of a cluster, about 20 KB, when it is first used; as Istio has it.
        "deferred_stat_options": {"enable_deferred_creation_stats": true},
        "overload_manager": overload_manager(envoy.max_connections),
    });
    let (key, resources) = if envoy.dynamic_resources {
        ("dynamic_resources", discovery::dynamic_resources(envoy))
    } else {
        let listeners = listener::listeners(plan, options)?;
        ("static_resources", json!({"listeners": listeners, "clusters": clusters(plan, options)}))
    };
    bootstrap[key] = resources;
    if envoy.explicit_proxy.is_some() {
        bootstrap["bootstrap_extensions"] = json!([{
            "name": "envoy.bootstrap.internal_listener",
            "typed_config": {"@type": type_url("envoy.extensions.bootstrap.internal_listener.v3.InternalListener")},
        }]);
    }
    if let (Some(admin), Value::Object(bootstrap)) = (&envoy.admin, &mut bootstrap) {
        bootstrap.insert("admin".to_owned(), json!({"address": cluster::socket_address(admin)}));
    }
    if let (OwnConnections::Mark(mark), false, Value::Object(bootstrap)) =
        (envoy.own_connections, envoy.transparent.is_empty(), &mut bootstrap)
    {
        bootstrap.insert("cluster_manager".to_owned(), marked(mark));
    }
    Ok(bootstrap)
}

/// Sets a mark on all connections to upstreams, by which the kernel knows them.
fn marked(mark: u32) -> Value {
    // As Linux numbers them.
    const SOL_SOCKET: u32 = 1;
    const SO_MARK: u32 = 36;
    json!({"upstream_bind_config": {"socket_options": [{
        "description": "SO_MARK",
        "level": SOL_SOCKET,
        "name": SO_MARK,
        "int_value": mark,
        "state": "STATE_PREBIND",
    }]}})
}

/// All clusters: those of the registry, and those for what isn't in it.
pub(crate) fn clusters(plan: &Plan, options: &Options) -> Vec<Value> {
    let envoy = &options.envoy;
    let registered = plan.clusters.iter();
    let originals = plan.clusters.iter().filter_map(Cluster::original_destination);
    let guarded = |entry: &Cluster| {
        let mut value = cluster::cluster(entry, options);
        guard::set_filters(&mut value, entry, plan, options);
        value
    };
    let mut clusters: Vec<Value> = registered.map(guarded).collect();
    clusters.extend(originals.map(|entry| guarded(&entry)));
    let together = match envoy.cluster_stats {
        ClusterStats::Auto => clusters.len() > MOST_CLUSTERS_WITH_STATS,
        ClusterStats::Each => false,
        ClusterStats::Together => true,
    };
    if together {
        // Envoy adds up counters of the same name.
        for cluster in &mut clusters {
            cluster["alt_stat_name"] = json!(ALL_CLUSTERS);
        }
    }
    clusters.push(cluster::black_hole(envoy));
    clusters.extend(listener::tunnel_names(plan).iter().map(|name| cluster::internal(name, envoy)));
    if options.outbound_policy().passes() {
        clusters.push(cluster::passthrough(options));
        if guard::refuses_any(envoy) {
            clusters.push(cluster::passthrough_by_address(options));
        }
    }
    if passes_original_destinations(options) {
        let mut cluster = cluster::original_destination_passthrough(options);
        if guard::is_on(options) {
            guard::exempt(&mut cluster);
        }
        clusters.push(cluster);
    }
    clusters
}

/// Of the filter's counters, what follows the name are labels: `portolan.requests_total.refused.<reason>` is one of
/// `portolan_requests_total`.
fn stats_config() -> Value {
    json!({"stats_tags": [
        {"tag_name": "decision", "regex": "^wasmcustom\\.portolan\\.requests_total(\\.([^.]+))"},
        {"tag_name": "reason", "regex": "^wasmcustom\\.portolan\\.requests_total\\.refused(\\.(.+))$"},
        {"tag_name": "result", "regex": "^wasmcustom\\.portolan\\.config_loads_total(\\.(.+))$"},
    ]})
}

fn overload_manager(max_connections: u32) -> Value {
    json!({"resource_monitors": [{
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": type_url("envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"),
            "max_active_downstream_connections": max_connections,
        },
    }]})
}
