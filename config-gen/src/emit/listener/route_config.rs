//! The routes, which differ only in what is static in Envoy.

use portolan_engine::ListenerPort;
use portolan_engine::config::{PASSTHROUGH_ROUTE_PROFILE, TUNNEL_ROUTE_PROFILE};
use portolan_engine::headers;
use serde_json::{Value, json};

use super::http_connection_manager::has_delays;
use super::told_to_filter;
use crate::emit::{ROUTE_FILTER_STATE, guard, type_url};
use crate::options::Options;
use crate::plan::profiles::DEFAULT_RETRY_ON;
use crate::plan::{Mirror, Plan, RetryHosts, RetryProfile, RouteProfile, retries};
use crate::resource::destination_rule::HashKey;

/// One virtual host for all. Its routes differ only in what is static in Envoy, and match on
/// a filter state that only the filter can write: a request without a decision of ours meets
/// the last route.
pub(super) fn route_config(port: ListenerPort, plan: &Plan, options: &Options) -> Value {
    let mut routes = vec![profile_route(&RouteProfile::default(), options)];
    routes.extend(plan.profiles.iter().map(|profile| profile_route(profile, options)));
    let allow_any = options.outbound_policy().passes();
    if allow_any {
        routes.push(route(PASSTHROUGH_ROUTE_PROFILE, of_passthrough(options)));
    }
    routes.push(undecided("undecided", "prefix", &json!("/")));
    if port == ListenerPort::Authority {
        routes.push(tunnel_route(TUNNEL_ROUTE_PROFILE, json!({})));
        if allow_any {
            routes.push(tunnel_route(PASSTHROUGH_ROUTE_PROFILE, of_passthrough(options)));
        }
        routes.push(undecided("undecided tunnel", "connect_matcher", &json!({})));
    }
    let mut to_remove = vec![headers::CLUSTER];
    to_remove.extend(headers::WRITTEN_BY_ENVOY);
    if has_delays(plan, options) {
        to_remove.push(headers::FAULT_DELAY);
    }
    // Meant for this proxy alone (RFC 9110, 11.7.2).
    to_remove.push("proxy-authorization");
    let mut virtual_host = json!({
        "name": "outbound",
        "domains": ["*"],
        "request_headers_to_remove": to_remove,
        "include_request_attempt_count": options.envoy_headers(),
        "routes": routes,
    });
    if options.gateway.is_some() {
        // Of several servers on one port, the listener can't tell (GW-17).
        virtual_host["metadata"] = told_to_filter(port);
    }
    json!({"name": name(port, options), "virtual_hosts": [virtual_host]})
}

/// Listeners share routes that are the same.
fn name(port: ListenerPort, options: &Options) -> String {
    match port {
        ListenerPort::Authority => "explicit_proxy".to_owned(),
        ListenerPort::Fixed(port) if options.gateway.is_some() => format!("gateway_{port}"),
        ListenerPort::Fixed(_) | ListenerPort::Destination => "outbound".to_owned(),
    }
}

fn route(profile: &str, settings: Value) -> Value {
    let mut action = json!({"cluster_header": headers::CLUSTER, "timeout": "0s"});
    if let (Value::Object(action), Value::Object(settings)) = (&mut action, settings) {
        action.extend(settings);
    }
    json!({
        "name": profile,
        "match": {
            "prefix": "/",
            "filter_state": [{
                "key": ROUTE_FILTER_STATE,
                "string_match": {"prefix": format!("{profile} ")},
            }],
        },
        "route": action,
    })
}

/// No retries of what was sent (OTP-05, VS-RETRY-12). Where addresses are guarded each is an endpoint of its own; if one
/// can't be connected to, another is tried, as Envoy does by itself elsewhere.
fn of_passthrough(options: &Options) -> Value {
    if !guard::refuses_any(&options.envoy) {
        return json!({});
    }
    let policy = json!({"retry_on": "connect-failure", "num_retries": 1});
    json!({"retry_policy": with_hosts(policy, &RetryHosts::default())})
}

/// For what no other route has taken.
fn undecided(name: &str, matcher: &str, value: &Value) -> Value {
    json!({
        "name": name,
        "match": {matcher: value},
        "direct_response": {"status": 503, "body": {"inline_string": "no decision\n"}},
    })
}

/// CONNECT, which no prefix matches: its bytes go on as they are.
fn tunnel_route(profile: &str, mut settings: Value) -> Value {
    settings["upgrade_configs"] = json!([{"upgrade_type": "CONNECT", "connect_config": {}}]);
    let mut route = route(profile, settings);
    route["name"] = format!("{profile} by CONNECT").into();
    if let Some(matcher) = route["match"].as_object_mut() {
        matcher.remove("prefix");
        matcher.insert("connect_matcher".to_owned(), json!({}));
    }
    route
}

fn profile_route(profile: &RouteProfile, options: &Options) -> Value {
    let mut settings = json!({});
    match &profile.retries {
        RetryProfile::Off => {}
        RetryProfile::Default => {
            if let Some(policy) = default_retries(options) {
                settings["retry_policy"] = policy;
            }
        }
        // Without conditions: Envoy takes those of the headers and of the route together.
        RetryProfile::ByHeader(hosts) => settings["retry_policy"] = with_hosts(json!({}), hosts),
    }
    if !profile.mirrors.is_empty() {
        let policy = |mirror: &Mirror| {
            json!({
                "cluster": mirror.cluster,
                "runtime_fraction": {
                    "default_value": {"numerator": mirror.per_million, "denominator": "MILLION"},
                },
                // VS-MIR-03
                "disable_shadow_host_suffix_append": true,
            })
        };
        settings["request_mirror_policies"] = profile.mirrors.iter().map(policy).collect();
    }
    if !profile.hash.is_empty() {
        settings["hash_policy"] = profile.hash.iter().map(hash_policy).collect();
    }
    route(&profile.name(), settings)
}

/// DR-LB-05 to DR-LB-07
fn hash_policy(key: &HashKey) -> Value {
    match key {
        HashKey::Header(name) => json!({"header": {"header_name": name}}),
        HashKey::SourceIp => json!({"connection_properties": {"source_ip": true}}),
        HashKey::QueryParameter(name) => json!({"query_parameter": {"name": name}}),
        HashKey::Cookie(cookie) => {
            let mut value = json!({"name": cookie.name, "path": cookie.path});
            if let Some(ttl) = cookie.ttl {
                value["ttl"] = seconds(ttl).into();
            }
            let attribute = |(name, text): &(String, String)| json!({"name": name, "value": text});
            if !cookie.attributes.is_empty() {
                value["attributes"] = cookie.attributes.iter().map(attribute).collect();
            }
            json!({"cookie": value})
        }
    }
}

/// Retries of routes that say nothing: the mesh's, else Istio's (VS-RETRY-01, DEF-06).
fn default_retries(options: &Options) -> Option<Value> {
    let Some(retries) = &options.default_retries else {
        let policy = json!({"retry_on": DEFAULT_RETRY_ON, "num_retries": 2});
        return Some(with_hosts(policy, &RetryHosts::default()));
    };
    let RetryProfile::ByHeader(hosts) = retries::profile(Some(retries)) else { return None };
    let conditions = retries::conditions(retries)?;
    let retry_on = [conditions.retry_on, conditions.retry_grpc_on].concat().join(",");
    let mut policy = json!({"retry_on": retry_on, "num_retries": conditions.attempts});
    if !conditions.status_codes.is_empty() {
        policy["retriable_status_codes"] = json!(conditions.status_codes);
    }
    if let Some(limit) = conditions.per_try_timeout_ms {
        policy["per_try_timeout"] = seconds(limit).into();
    }
    Some(with_hosts(policy, &hosts))
}

/// Which hosts are tried, and how soon (VS-RETRY-09 to VS-RETRY-11).
fn with_hosts(mut policy: Value, hosts: &RetryHosts) -> Value {
    if hosts.ignore_previous {
        policy["retry_host_predicate"] = json!([{
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": type_url("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            },
        }]);
    }
    policy["host_selection_retry_max_attempts"] = 5.into();
    if hosts.remote_localities {
        policy["retry_priority"] = json!({
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": type_url("envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"),
                "update_frequency": 2,
            },
        });
    }
    if let Some(backoff) = hosts.backoff {
        policy["retry_back_off"] = json!({"base_interval": seconds(backoff)});
    }
    policy
}

/// As protobuf writes a time span.
pub(super) fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}s", milliseconds / 1000, milliseconds % 1000)
}
