//! What a change changes, in a line.

use std::collections::BTreeMap;

use portolan_engine::config::{Config, SharedRoutes, VirtualHost};
use serde_json::Value;

use super::transition::{Files, resources};
use crate::emit::Output;

/// Names that are told of each sort; of the others their number.
const TOLD: usize = 3;

/// What is added, changed and removed: rules by the resource that they stem from, clusters and listeners by
/// their names.
pub(super) fn of(before: &Files, after: &Files) -> String {
    let (before, after) = (contents(before), contents(after));
    let mut sorts = [("added", Vec::new()), ("changed", Vec::new()), ("removed", Vec::new())];
    let [(_, added), (_, changed), (_, removed)] = &mut sorts;
    for (name, content) in &after {
        match before.get(name) {
            None => added.push(name),
            Some(old) if old != content => changed.push(name),
            Some(_) => {}
        }
    }
    removed.extend(before.keys().filter(|name| !after.contains_key(*name)));
    let said: Vec<String> =
        sorts.iter().filter(|(_, names)| !names.is_empty()).map(|(verb, names)| said(verb, names)).collect();
    if said.is_empty() { "settings changed".to_owned() } else { said.join("; ") }
}

fn said(verb: &str, names: &[&String]) -> String {
    let told: Vec<&str> = names.iter().take(TOLD).map(|name| name.as_str()).collect();
    let more = match names.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{verb} {}{more}", told.join(", "))
}

/// Everything that has a name, with what it comes to.
fn contents(files: &Files) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let resources_of = |output: Output| {
        let files = files.iter().filter(move |(path, _)| path.starts_with(output.path()));
        files.filter_map(|(_, content)| resources(content)).flatten()
    };
    for (output, sort) in [(Output::Cds, "cluster"), (Output::Lds, "listener"), (Output::Rds, "routes of")] {
        for resource in resources_of(output) {
            let name = resource["name"].as_str().unwrap_or_default();
            found.insert(format!("{sort} {name}"), resource.to_string());
        }
    }
    for resource in resources_of(Output::Ecds) {
        let config = resource.pointer("/typed_config/config/configuration/value").and_then(Value::as_str);
        let Some(config) = config.and_then(|text| serde_json::from_str::<Config>(text).ok()) else {
            continue;
        };
        for host in config.virtual_hosts {
            let VirtualHost { name, domains, .. } = &host;
            let text = format!("{domains:?} {:?} {:?} {:?}", host.ports, host.routes, host.refuse);
            found.entry(name.clone()).or_default().push_str(&text);
        }
        for group in config.shared_routes {
            let SharedRoutes { name_prefix, virtual_hosts, ports, routes, refuse, .. } = &group;
            let common = format!(" {ports:?} {routes:?} {refuse:?}");
            for host in virtual_hosts.iter() {
                let domains: Vec<String> = host.domains().map(|domain| domain.to_string()).collect();
                found
                    .entry(format!("{name_prefix}{}", host.name()))
                    .or_default()
                    .push_str(&format!("{domains:?}{common}"));
            }
        }
    }
    found
}
