//! Clusters that dial what the client dialled (SE-R-01).

use serde_json::{Value, json};

use super::dynamic_forward_proxy::limits_of_passthrough;
use super::{extend, of_every_cluster, stat_name};
use crate::emit::PASSTHROUGH_CLUSTER;
use crate::options::Options;
use crate::plan::{Cluster, original_destination_name};

/// With `port`, that port of it.
pub(super) fn original_destination(cluster: &Cluster, port: Option<u16>, options: &Options) -> Value {
    let mut value = dials_it(&cluster.name);
    if let Some(port) = port {
        extend(&mut value, json!({"original_dst_lb_config": {"upstream_port_override": port}}));
    }
    extend(&mut value, of_every_cluster(cluster, options));
    value
}

/// For what isn't in the registry (OTP-05).
pub(in crate::emit) fn original_destination_passthrough(options: &Options) -> Value {
    let mut value = dials_it(&original_destination_name(PASSTHROUGH_CLUSTER));
    extend(&mut value, limits_of_passthrough(options));
    value
}

fn dials_it(name: &str) -> Value {
    json!({
        "name": name,
        "alt_stat_name": stat_name(name),
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
    })
}
