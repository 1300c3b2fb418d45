//! Where a cluster leads (SE-30, SE-31).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::extend;
use crate::plan::{Address, Endpoint, Locality};

/// Endpoints by priority and locality, whose weight is the one it was given, else the sum of theirs
/// (SE-30, SE-31). Without any word on them all are alike.
pub(super) fn localities(endpoints: &[Endpoint], weights: Option<&BTreeMap<Locality, u32>>) -> Vec<Value> {
    let nowhere = Locality::default();
    let weighted = weights.is_some()
        || endpoints.iter().any(|endpoint| endpoint.weight != 1 || endpoint.locality != nowhere);
    let mut groups: BTreeMap<(u32, &Locality), Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        groups.entry((endpoint.priority, &endpoint.locality)).or_default().push(endpoint);
    }
    if groups.is_empty() {
        groups.insert((0, &nowhere), Vec::new());
    }
    groups
        .into_iter()
        .map(|((priority, locality), group)| {
            let endpoints: Vec<Value> = group.iter().map(|one| endpoint(one, weighted)).collect();
            let mut value = json!({"lb_endpoints": endpoints});
            if weighted {
                let sum = || group.iter().fold(0_u32, |sum, one| sum.saturating_add(one.weight));
                let weight = weights.and_then(|weights| weights.get(locality)).copied().unwrap_or_else(sum);
                extend(&mut value, json!({"load_balancing_weight": weight}));
            }
            if priority > 0 {
                extend(&mut value, json!({"priority": priority}));
            }
            if *locality != nowhere {
                let mut names = json!({});
                for (name, text) in
                    [("region", &locality.region), ("zone", &locality.zone), ("sub_zone", &locality.sub_zone)]
                {
                    if !text.is_empty() {
                        extend(&mut names, json!({name: text}));
                    }
                }
                extend(&mut value, json!({"locality": names}));
            }
            value
        })
        .collect()
}

fn endpoint(endpoint: &Endpoint, weighted: bool) -> Value {
    let address = match &endpoint.address {
        Address::Socket(address, port) => {
            json!({"socket_address": {"address": address, "port_value": port}})
        }
        Address::Pipe(path) => json!({"pipe": {"path": path}}),
    };
    let mut value = json!({"endpoint": {"address": address}});
    if weighted {
        extend(&mut value, json!({"load_balancing_weight": endpoint.weight}));
    }
    value
}
