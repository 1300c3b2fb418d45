//! Which endpoint gets a request (spec section 5.3).

use serde_json::{Value, json};

use super::{extend, number, seconds};
use crate::plan::{Cluster, Discovery, LoadBalancing};
use crate::resource::destination_rule::{HashTable, Warmup};

/// `lb_policy` and what belongs to it.
pub(super) fn load_balancing(cluster: &Cluster) -> Value {
    let with_warmup = |policy: &str, field: &str, warmup: &Option<Warmup>| {
        let mut value = json!({"lb_policy": policy});
        if let Some(warmup) = warmup {
            extend(&mut value, json!({field: {"slow_start_config": slow_start(warmup)}}));
        }
        value
    };
    let with_size = |policy: &str, field: &str, name: &str, size: Option<u64>| {
        let mut value = json!({"lb_policy": policy});
        if let Some(size) = size {
            extend(&mut value, json!({field: {name: size}}));
        }
        value
    };
    match &cluster.load_balancing {
        LoadBalancing::LeastRequest(warmup) => {
            with_warmup("LEAST_REQUEST", "least_request_lb_config", warmup)
        }
        LoadBalancing::RoundRobin(warmup) => with_warmup("ROUND_ROBIN", "round_robin_lb_config", warmup),
        LoadBalancing::Random => json!({"lb_policy": "RANDOM"}),
        LoadBalancing::Hash(HashTable::Ring(size)) => {
            with_size("RING_HASH", "ring_hash_lb_config", "minimum_ring_size", *size)
        }
        LoadBalancing::Hash(HashTable::Maglev(size)) => {
            with_size("MAGLEV", "maglev_lb_config", "table_size", *size)
        }
    }
}

/// DR-LB-11
fn slow_start(warmup: &Warmup) -> Value {
    json!({
        "slow_start_window": seconds(warmup.duration),
        // Envoy asks for a key, under which it could be changed at run time.
        "aggression": {"default_value": number(warmup.aggression.unwrap_or(1.0)), "runtime_key": "portolan.warmup.aggression"},
        "min_weight_percent": {"value": number(warmup.minimum_percent.unwrap_or(10.0))},
    })
}

/// `common_lb_config`, where anything is said.
pub(super) fn common_lb_config(cluster: &Cluster) -> Value {
    let mut common = json!({});
    if let Some(settings) = &cluster.outlier_detection {
        // However few endpoints are in, those that are out get no requests (DR-OD-07).
        let percent = settings.min_health_percent.unwrap_or(0);
        extend(&mut common, json!({"healthy_panic_threshold": {"value": percent}}));
    }
    if cluster.locality_weights.is_some() && !matches!(cluster.discovery, Discovery::Dynamic(_)) {
        extend(&mut common, json!({"locality_weighted_lb_config": {}}));
    }
    if common == json!({}) { common } else { json!({"common_lb_config": common}) }
}
