//! Envoy's bootstrap.

use serde_json::{Value, json};

use crate::emit::{cluster, listener, type_url};
use crate::options::{Options, OutboundPolicy};
use crate::plan::Plan;

/// Name of this proxy; nothing but Envoy itself asks for it.
const NODE: &str = "portolan";

/// A complete bootstrap.
pub(super) fn bootstrap(plan: &Plan, options: &Options) -> anyhow::Result<Value> {
    let envoy = &options.envoy;
    let listeners = envoy.listeners.iter().map(|listen| listener::listener(listen, plan, options));
    let mut listeners = listeners.collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(address) = &envoy.explicit_proxy {
        listeners.push(listener::explicit_proxy(address, plan, options)?);
        listeners.extend(listener::tunnel_listeners(plan, options)?);
    }
    let mut bootstrap = json!({
        // Extension config discovery wants both.
        "node": {"id": NODE, "cluster": NODE},
        "static_resources": {
            "listeners": listeners,
            "clusters": clusters(plan, options),
        },
        "stats_config": stats_config(),
        "overload_manager": overload_manager(envoy.max_connections),
    });
    if envoy.explicit_proxy.is_some() {
        bootstrap["bootstrap_extensions"] = json!([{
            "name": "envoy.bootstrap.internal_listener",
            "typed_config": {"@type": type_url("envoy.extensions.bootstrap.internal_listener.v3.InternalListener")},
        }]);
    }
    if let (Some(admin), Value::Object(bootstrap)) = (&envoy.admin, &mut bootstrap) {
        bootstrap.insert("admin".to_owned(), json!({"address": cluster::socket_address(admin)}));
    }
    Ok(bootstrap)
}

/// All clusters: those of the registry, and those for what isn't in it.
pub(crate) fn clusters(plan: &Plan, options: &Options) -> Vec<Value> {
    let envoy = &options.envoy;
    let mut clusters: Vec<Value> =
        plan.clusters.iter().map(|entry| cluster::cluster(entry, options)).collect();
    clusters.push(cluster::black_hole(envoy));
    clusters.extend(listener::tunnel_names(plan).iter().map(|name| cluster::internal(name, envoy)));
    if options.outbound_policy() == OutboundPolicy::AllowAny {
        clusters.push(cluster::passthrough(options));
    }
    clusters
}

/// `portolan.refused.<reason>` is one metric with a label.
fn stats_config() -> Value {
    json!({"stats_tags": [
        {"tag_name": "reason", "regex": "^wasmcustom\\.portolan\\.refused(\\.(.+))$"},
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
