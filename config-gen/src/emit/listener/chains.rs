//! Filter chains for connections that are passed through: by server name, or by address.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::access_log::access_log;
use super::route_config::seconds;
use super::terminations::transport_socket;
use crate::emit::cluster::{dns_cache_of, passthrough_dns_cache};
use crate::emit::{BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER, guard, type_url};
use crate::options::{Cidr, Options, OutboundPolicy};
use crate::plan::{
    Cluster, ConnectionRoute, ConnectionSettings, Discovery, DownstreamTls, Plan, Share,
    original_destination_name,
};
use crate::resource::destination_rule::Tunnel;

/// The server name that stands for any TLS.
const ANY_NAME: &str = "*";

/// HTTP in plaintext, as Envoy's inspector calls it.
const HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];

/// What a filter chain is for, besides server names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Sort<'a> {
    is_tls: bool,
    addresses: &'a [Cidr],
    destinations: Vec<Destination<'a>>,
    settings: &'a ConnectionSettings,
    /// Resource and place of the rule, where there is one.
    rule: Option<(&'a str, &'a str)>,
    beside_http: bool,
    decrypted: Option<&'a DownstreamTls>,
}

/// A cluster for Envoy.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Destination<'a> {
    cluster: &'a str,
    weight: u32,
    /// What is dialled on a cluster that several services share.
    shared_port: Option<u16>,
}

impl<'a> Destination<'a> {
    fn new(share: &'a Share, plan: &'a Plan) -> Self {
        let shared = plan.shared.get(&share.cluster);
        let cluster = shared.map_or(share.cluster.as_str(), |shared| shared.cluster.as_str());
        Self {
            // Nobody is registered there, which was accepted: the connection is closed.
            cluster: if is_there(cluster, plan) { cluster } else { BLACK_HOLE_CLUSTER },
            weight: share.weight,
            shared_port: shared.map(|shared| shared.port),
        }
    }
}

/// Whether there is such a cluster, those included that dial the original destination.
fn is_there(name: &str, plan: &Plan) -> bool {
    let beside = |cluster: &Cluster| {
        cluster.original_destination.is_some() && original_destination_name(&cluster.name) == name
    };
    plan.cluster(name).is_some() || plan.clusters.iter().any(beside)
}

/// One chain for each thing that becomes of connections, with all server names that go there (VS-TLS-05).
/// `routes` are of one port, and `http` are the filters that take HTTP at addresses which have other
/// bytes as well.
///
/// On a listener for several ports `only_port` restricts them to this one.
pub(super) fn registered(
    routes: &[&ConnectionRoute],
    http: Option<&Value>,
    only_port: Option<u16>,
    plan: &Plan,
    options: &Options,
) -> Vec<Value> {
    let mut chains: BTreeMap<Sort<'_>, Vec<&ConnectionRoute>> = BTreeMap::new();
    for route in routes {
        let sort = Sort {
            is_tls: route.server_name.is_some(),
            addresses: &route.addresses,
            destinations: route.destinations.iter().map(|share| Destination::new(share, plan)).collect(),
            settings: &route.settings,
            rule: route.rule.as_deref().map(|rule| (route.resource.as_str(), rule)),
            beside_http: route.beside_http,
            decrypted: route.decrypted.as_ref(),
        };
        chains.entry(sort).or_default().push(route);
    }
    let mut out = Vec::new();
    for (sort, routes) in &chains {
        let filters = filters(sort, routes, plan, options);
        let name = sort.name();
        let mut conditions = conditions(only_port, sort.addresses);
        if sort.is_tls {
            let names: Vec<&str> = routes.iter().filter_map(|route| route.server_name.as_deref()).collect();
            conditions["transport_protocol"] = json!("tls");
            if !names.contains(&ANY_NAME) {
                conditions["server_names"] = json!(names);
            }
            let mut chain = chain(&name, &conditions, &filters);
            if let Some(tls) = sort.decrypted {
                chain["transport_socket"] = transport_socket(tls, &[], &options.envoy);
            }
            out.push(chain);
            continue;
        }
        out.push(chain(&name, &conditions, &filters));
        if let (true, Some(http)) = (sort.beside_http, http) {
            // Envoy doesn't go back to the chain above once one for plaintext is there.
            conditions["transport_protocol"] = json!("raw_buffer");
            out.push(chain(&format!("{name} in plaintext"), &conditions, &filters));
            conditions["application_protocols"] = json!(HTTP);
            let at = if sort.addresses.is_empty() { String::new() } else { format!(" beside {name}") };
            out.push(chain(&format!("http{at}"), &conditions, http));
        }
    }
    out
}

impl Sort<'_> {
    fn name(&self) -> String {
        let kind = if self.is_tls { "tls" } else { "tcp" };
        if let Some((resource, rule)) = self.rule {
            return format!("{kind} {resource} {rule}");
        }
        let destinations = self.destinations.iter().map(|it| match it.shared_port {
            Some(port) => format!("{} at port {port}", it.cluster),
            None => it.cluster.to_owned(),
        });
        format!("{kind} {}", destinations.collect::<Vec<_>>().join(" "))
    }
}

fn chain(name: &str, conditions: &Value, filters: &Value) -> Value {
    let mut chain = json!({"name": name, "filters": filters});
    if conditions.as_object().is_some_and(|conditions| !conditions.is_empty()) {
        chain["filter_chain_match"] = conditions.clone();
    }
    chain
}

fn conditions(only_port: Option<u16>, addresses: &[Cidr]) -> Value {
    let mut conditions = json!({});
    if let Some(port) = only_port {
        conditions["destination_port"] = json!(port);
    }
    if !addresses.is_empty() {
        let range =
            |range: &Cidr| json!({"address_prefix": range.address.to_string(), "prefix_len": range.length});
        conditions["prefix_ranges"] = addresses.iter().map(range).collect();
    }
    conditions
}

fn filters(sort: &Sort<'_>, routes: &[&ConnectionRoute], plan: &Plan, options: &Options) -> Value {
    let mut filters = Vec::new();
    for Destination { cluster, shared_port, .. } in &sort.destinations {
        let cluster = plan.cluster(cluster);
        let port = match cluster.map(|cluster| cluster.discovery) {
            Some(Discovery::Dynamic(port)) => Some(port),
            _ => *shared_port,
        };
        let dns_cache = cluster.and_then(|cluster| dns_cache_of(cluster, &options.envoy));
        filters.extend(port.zip(dns_cache).map(|(port, cache)| dial_server_name(port, &cache)));
    }
    let clusters = sort.destinations.iter().filter_map(|it| plan.cluster(it.cluster));
    filters.extend(guard::of_connections(clusters, options));
    let prefix = match sort.is_tls {
        true if sort.decrypted.is_some() => "tls_decrypted",
        true => "tls_passthrough",
        false => "tcp_passthrough",
    };
    let resources: BTreeSet<&str> = routes.iter().map(|route| route.resource.as_str()).collect();
    let decision = match (sort.rule, resources.first()) {
        (Some((resource, rule)), _) => format!("{prefix} {resource} {rule}"),
        (None, Some(only)) if resources.len() == 1 => format!("{prefix} {only}"),
        _ => prefix.to_owned(),
    };
    let mut proxy = tcp_proxy(prefix, &decision, None, &sort.destinations, options);
    set(&mut proxy["typed_config"], sort.settings);
    filters.push(proxy);
    Value::Array(filters)
}

/// TCP-01, TCP-02, DR-LB-07.
fn set(proxy: &mut Value, settings: &ConnectionSettings) {
    if let Some(timeout) = settings.idle_timeout {
        proxy["idle_timeout"] = json!(seconds(timeout));
    }
    if let Some(duration) = settings.max_duration {
        proxy["max_downstream_connection_duration"] = json!(seconds(duration));
    }
    if settings.hashes_source {
        proxy["hash_policy"] = json!([{"source_ip": {}}]);
    }
    if let Some(Tunnel { by_post, host, port }) = &settings.tunnel {
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let mut tunnel = json!({"hostname": format!("{host}:{port}")});
        if *by_post {
            tunnel["use_post"] = json!(true);
        }
        proxy["tunneling_config"] = tunnel;
    }
}

/// TLS for a server name that is not in the registry: closed and counted (OTP-04), or passed
/// through by its name.
pub(super) fn unknown_sni_chain(port: u16, options: &Options) -> Value {
    let filters = match options.outbound_policy() {
        OutboundPolicy::RegistryOnly => vec![refuse("tls_refused", "server_name_not_in_registry", options)],
        policy => {
            let (prefix, decision) = match policy {
                // As the filter says it of requests.
                OutboundPolicy::Report => {
                    let what = format!("server_name_not_in_registry{{%REQUESTED_SERVER_NAME%:{port}}}");
                    ("tls_reported", format!("tls_reported {what}"))
                }
                _ => ("tls_unregistered", "tls_unregistered".to_owned()),
            };
            let dialled = options.envoy.dialled_port("", port);
            let dial = dial_server_name(dialled, &passthrough_dns_cache(&options.envoy));
            let proxy = tcp_proxy(prefix, &decision, None, &to(PASSTHROUGH_CLUSTER), options);
            [dial].into_iter().chain(guard::of_unknown_names(options)).chain([proxy]).collect()
        }
    };
    chain("tls unknown", &json!({"transport_protocol": "tls"}), &Value::Array(filters))
}

/// Nothing is registered that could be meant: closed and counted (OTP-04).
pub(super) fn refused_chain(options: &Options) -> Value {
    chain("refused", &json!({}), &json!([refuse("tcp_refused", "port_not_in_registry", options)]))
}

/// The same for some of the original destinations; without `ranges`, for all of the port.
pub(super) fn refused_at(port: u16, ranges: &[Cidr], options: &Options) -> Value {
    let filters = json!([refuse("tcp_refused", "own_address", options)]);
    chain(&format!("{port} own address"), &conditions(Some(port), ranges), &filters)
}

/// Nothing is registered that could be meant: passed to where the client wanted it (OTP-05).
pub(super) fn passed_chain(options: &Options) -> Value {
    let cluster = original_destination_name(PASSTHROUGH_CLUSTER);
    let (prefix, decision) = match options.outbound_policy() {
        OutboundPolicy::Report => {
            ("tcp_reported", "tcp_reported destination_not_in_registry{%DOWNSTREAM_LOCAL_ADDRESS%}")
        }
        _ => ("tcp_unregistered", "tcp_unregistered"),
    };
    let filter = tcp_proxy(prefix, decision, None, &to(&cluster), options);
    chain("passed", &json!({}), &json!([filter]))
}

/// HTTP to `port`, as opposed to all else (LI-02).
pub(super) fn http(port: u16, filters: &Value) -> Value {
    let mut conditions = conditions(Some(port), &[]);
    conditions["transport_protocol"] = json!("raw_buffer");
    conditions["application_protocols"] = json!(HTTP);
    chain("http", &conditions, filters)
}

/// What tells the beginnings of TLS and HTTP. Where the server may speak first, waiting for the client
/// has an end.
pub(super) fn inspectors(tls: bool, http: bool) -> Vec<Value> {
    let inspector = |name: &str, message: &str| {
        let message = format!("envoy.extensions.filters.listener.{name}.v3.{message}");
        json!({
            "name": format!("envoy.filters.listener.{name}"),
            "typed_config": {"@type": type_url(&message)},
        })
    };
    // In this order: TLS isn't HTTP.
    let tls = tls.then(|| inspector("tls_inspector", "TlsInspector"));
    tls.into_iter().chain(http.then(|| inspector("http_inspector", "HttpInspector"))).collect()
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

fn to(cluster: &str) -> [Destination<'_>; 1] {
    [Destination { cluster, weight: 1, shared_port: None }]
}

/// Closes the connection, which the counters of `decision` tell.
fn refuse(decision: &str, reason: &str, options: &Options) -> Value {
    tcp_proxy(decision, decision, Some(reason), &to(BLACK_HOLE_CLUSTER), options)
}

/// `stat_prefix` is one of a few, so that the statistics of any registry are as many.
fn tcp_proxy(
    stat_prefix: &str,
    decision: &str,
    reason: Option<&str>,
    destinations: &[Destination<'_>],
    options: &Options,
) -> Value {
    let mut config = json!({
        "@type": type_url("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
        "stat_prefix": stat_prefix,
    });
    match destinations {
        [Destination { cluster, .. }] => config["cluster"] = json!(cluster),
        several => {
            let share = |it: &Destination<'_>| json!({"name": it.cluster, "weight": it.weight});
            config["weighted_clusters"] = json!({"clusters": several.iter().map(share).collect::<Value>()});
        }
    }
    config["access_log"] = Value::Array(access_log(
        options,
        &json!({
            "start_time": "%START_TIME%",
            "decision": decision,
            "reason": reason.unwrap_or("%CONNECTION_TERMINATION_DETAILS%"),
            "server_name": "%REQUESTED_SERVER_NAME%",
            "response_flags": "%RESPONSE_FLAGS%",
            "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
            "upstream": "%UPSTREAM_HOST%",
            "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%",
            "destination": "%DOWNSTREAM_LOCAL_ADDRESS%",
            "bytes_received": "%BYTES_RECEIVED%",
            "bytes_sent": "%BYTES_SENT%",
            "duration": "%DURATION%",
        }),
        None,
    ));
    json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": config})
}
