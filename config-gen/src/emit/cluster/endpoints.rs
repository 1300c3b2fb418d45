//! Where a cluster leads (SE-30, SE-31).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::extend;
use crate::plan::{Address, Endpoint, Locality};

/// Endpoints by their locality, whose weight is the sum of theirs (SE-30, SE-31). Without any
/// word on them all are alike.
pub(super) fn localities(endpoints: &[Endpoint]) -> Vec<Value> {
    let nowhere = Locality::default();
    let weighted = endpoints.iter().any(|endpoint| endpoint.weight != 1 || endpoint.locality != nowhere);
    let mut groups: BTreeMap<&Locality, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        groups.entry(&endpoint.locality).or_default().push(endpoint);
    }
    if groups.is_empty() {
        groups.insert(&nowhere, Vec::new());
    }
    groups
        .into_iter()
        .map(|(locality, group)| {
            let endpoints: Vec<Value> = group.iter().map(|one| endpoint(one, weighted)).collect();
            let mut value = json!({"lb_endpoints": endpoints});
            if weighted {
                let sum = group.iter().fold(0_u32, |sum, one| sum.saturating_add(one.weight));
                extend(&mut value, json!({"load_balancing_weight": sum}));
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
