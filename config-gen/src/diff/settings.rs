//! What a request doesn't show: how clusters reach their endpoints, and how long connections last.
//!
//! Clusters are compared as Envoy gets them, so that nothing is forgotten; what people look for
//! first is said in words.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Side;
use crate::emit;
use crate::explain::words::time;
use crate::plan::{Address, Ca, Cluster, ConnectionRoute, Endpoint, UpstreamTls};

/// Something that has a value before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// What it is, such as `timeout`.
    pub what: String,
    /// None: it wasn't there.
    pub before: Option<String>,
    /// None: it isn't there any more.
    pub after: Option<String>,
}

/// A cluster or connection that is set up otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsChange {
    /// What it is called, such as `cluster outbound|443||example.com`.
    pub name: String,
    /// At least one.
    pub settings: Vec<Setting>,
}

/// What two lists of names with values differ in, in the order of the first, then of the second.
pub(super) fn differences(before: &[(String, String)], after: &[(String, String)]) -> Vec<Setting> {
    let value = |list: &[(String, String)], name: &str| {
        list.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let mut found: Vec<Setting> = Vec::new();
    for (name, _) in before.iter().chain(after) {
        let setting = Setting { what: name.clone(), before: value(before, name), after: value(after, name) };
        if setting.before != setting.after && !found.iter().any(|known| known.what == *name) {
            found.push(setting);
        }
    }
    found
}

/// What clusters and connections differ in.
pub(super) fn compare(before: &Side<'_>, after: &Side<'_>) -> Vec<SettingsChange> {
    let (one, other) = (clusters(before), clusters(after));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let empty = Vec::new();
        let settings = match (one.get(name), other.get(name)) {
            (Some(_), None) => exists(true, false),
            (None, Some(_)) => exists(false, true),
            (one, other) => differences(one.unwrap_or(&empty), other.unwrap_or(&empty)),
        };
        if !settings.is_empty() {
            found.push(SettingsChange { name: format!("cluster {name}"), settings });
        }
    }
    let (one, other) = (connections(before), connections(after));
    // Those of one side alone come to something else as connections.
    for (name, settings) in &one {
        let settings = other.get(name).map(|other| differences(settings, other)).unwrap_or_default();
        if !settings.is_empty() {
            found.push(SettingsChange { name: name.clone(), settings });
        }
    }
    found
}

fn exists(before: bool, after: bool) -> Vec<Setting> {
    let yes = |is: bool| is.then(|| "yes".to_owned());
    vec![Setting { what: "exists".to_owned(), before: yes(before), after: yes(after) }]
}

type Values = Vec<(String, String)>;

/// What nobody sees but Envoy's statistics and other filters.
const UNSEEN: [&str; 4] = ["name", "alt_stat_name", "metadata", "load_assignment"];

fn clusters(side: &Side<'_>) -> BTreeMap<String, Values> {
    let mut found = BTreeMap::new();
    for json in emit::clusters(side.plan, side.options) {
        let name = json["name"].as_str().unwrap_or_default().to_owned();
        let mut values = Vec::new();
        if let Some(cluster) = side.plan.cluster(&name) {
            values.push(("endpoints".to_owned(), endpoints(cluster)));
            values.push(("TLS".to_owned(), cluster.tls.as_ref().map_or_else(|| "none".to_owned(), tls)));
        }
        for (field, value) in json.as_object().into_iter().flatten() {
            // In words above; but what these don't say is said here.
            if !UNSEEN.contains(&field.as_str()) {
                leaves(value, field, &mut values);
            }
        }
        found.insert(name, values);
    }
    found
}

/// Each value with its path, such as `circuit_breakers.thresholds[0].max_requests`.
fn leaves(value: &Value, path: &str, found: &mut Values) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                // Of long names of Envoy's extensions the last part tells them apart.
                let name = name.rsplit('.').next().unwrap_or(name);
                // Who else wraps the same: a level that says nothing.
                let path = match name {
                    "typed_config" | "@type" => path.to_owned(),
                    name => format!("{path}.{name}"),
                };
                leaves(value, &path, found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| leaves(item, &format!("{path}[{index}]"), found));
        }
        Value::String(text) => found.push((path.to_owned(), text.escape_debug().to_string())),
        other => found.push((path.to_owned(), other.to_string())),
    }
}

fn endpoints(cluster: &Cluster) -> String {
    let endpoint = |endpoint: &Endpoint| {
        let address = match &endpoint.address {
            Address::Socket(host, port) if host.contains(':') => format!("[{host}]:{port}"),
            Address::Socket(host, port) => format!("{host}:{port}"),
            Address::Pipe(path) => path.clone(),
        };
        let mut more = Vec::new();
        if endpoint.weight != 1 {
            more.push(format!("weight {}", endpoint.weight));
        }
        if endpoint.priority != 0 {
            more.push(format!("priority {}", endpoint.priority));
        }
        let locality = &endpoint.locality;
        let locality = [&locality.region, &locality.zone, &locality.sub_zone].map(String::as_str).join("/");
        let locality = locality.trim_end_matches('/');
        if !locality.is_empty() {
            more.push(format!("in {locality}"));
        }
        if more.is_empty() { address } else { format!("{address} ({})", more.join(", ")) }
    };
    let all: Vec<String> = cluster.endpoints.iter().map(endpoint).collect();
    if all.is_empty() { "none of its own".to_owned() } else { all.join(", ") }
}

fn tls(tls: &UpstreamTls) -> String {
    let mut words = vec!["originated".to_owned()];
    words.push(match &tls.sni {
        Some(sni) => format!("for the server name {sni}"),
        None => "for the request's host".to_owned(),
    });
    words.push(match &tls.ca {
        Ca::Unverified => "NOT verified".to_owned(),
        Ca::Bundle { file: Some(file), .. } => format!("verified by {file}"),
        Ca::Bundle { file: None, .. } => "verified by the usual authorities".to_owned(),
    });
    if !tls.subject_alt_names.is_empty() {
        words.push(format!("for the names {}", tls.subject_alt_names.join(" ")));
    }
    if tls.identity.is_some() {
        words.push("with a certificate of its own".to_owned());
    }
    words.join(", ")
}

fn connections(side: &Side<'_>) -> BTreeMap<String, Values> {
    let transparent = !side.options.envoy.transparent.is_empty();
    let routes = if transparent { &side.plan.redirected } else { &side.plan.connections };
    routes.iter().map(|route| (connection_name(route), connection(route))).collect()
}

fn connection_name(route: &ConnectionRoute) -> String {
    let addresses: Vec<String> = route.addresses.iter().map(ToString::to_string).collect();
    let to = if addresses.is_empty() { String::new() } else { format!(" to {}", addresses.join(" ")) };
    match &route.server_name {
        Some(name) => format!("TLS for {name} on port {}{to}", route.port),
        None => format!("TCP on port {}{to}", route.port),
    }
}

fn connection(route: &ConnectionRoute) -> Values {
    let settings = &route.settings;
    let milliseconds = |value: Option<u64>| value.map_or_else(|| "none".to_owned(), time);
    let tunnel = settings.tunnel.as_ref().map(|tunnel| {
        let method = if tunnel.by_post { "POST" } else { "CONNECT" };
        format!("by {method} to {}:{}", tunnel.host, tunnel.port)
    });
    vec![
        ("idle timeout".to_owned(), milliseconds(settings.idle_timeout)),
        ("longest duration".to_owned(), milliseconds(settings.max_duration)),
        ("tunnel".to_owned(), tunnel.unwrap_or_else(|| "none".to_owned())),
    ]
}
