//! Envoy listeners: HTTP for the filter, TLS by SNI (spec section 3.3).

use std::collections::BTreeMap;

use portolan_engine::config::PASSTHROUGH_ROUTE_PROFILE;
use portolan_engine::headers;
use serde_json::{Value, json};

use crate::emit::cluster::{dns_cache, passthrough_dns_cache, socket_address};
use crate::emit::ecds::{FILTER_NAME, WASM_TYPE_URL};
use crate::emit::{BLACK_HOLE_CLUSTER, Output, ROUTE_FILTER_STATE, guard, type_url};
use crate::options::{Listen, Options, OutboundPolicy, Profile, STDOUT};
use crate::plan::profiles::DEFAULT_RETRY_ON;
use crate::plan::retries;
use crate::plan::{Discovery, Mirror, Plan, RetryHosts, RetryProfile, RouteProfile, SniRoute};

/// Most bytes that are held for a request or response whose other side is slower. A body
/// above it loses its retries.
const BUFFER_LIMIT: u32 = 1 << 20;

/// A listener: TLS connections by SNI where the registry has TLS ports on it, and HTTP.
pub(super) fn listener(listen: &Listen, plan: &Plan, options: &Options) -> anyhow::Result<Value> {
    let port = listen.port;
    let sni_routes: Vec<&SniRoute> = plan.sni_routes.iter().filter(|route| route.port == port).collect();
    let mut chains = Vec::new();
    let mut listener_filters = Vec::new();
    if !sni_routes.is_empty() {
        listener_filters.push(json!({
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": {"@type": type_url("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")},
        }));
        chains.extend(sni_chains(&sni_routes, plan, options));
        chains.push(unknown_sni_chain(port, options));
    }
    chains.push(if carries_http(port, plan, options) {
        json!({"name": "http", "filters": [http_connection_manager(port, plan, options)?]})
    } else {
        json!({"name": "refused", "filters": [tcp_proxy("tcp_refused", BLACK_HOLE_CLUSTER, options)]})
    });
    Ok(json!({
        "name": listener_name(port),
        // Tells the filter which port clients mean (GAP-01).
        "metadata": {"filter_metadata": {"portolan": {"port": port.to_string()}}},
        "address": socket_address(&listen.address),
        "per_connection_buffer_limit_bytes": BUFFER_LIMIT,
        "listener_filters": listener_filters,
        "filter_chains": chains,
        "access_log": access_log(options, &json!({
            "start_time": "%START_TIME%",
            "listener": listener_name(port),
            "reason": "no_filter_chain",
            "server_name": "%REQUESTED_SERVER_NAME%",
            "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%",
        }), Some("NR")),
    }))
}

/// Whether the listener of `port` takes HTTP. In Istio a port without HTTP services has no HTTP
/// listener: its connections go where those of unknown hosts go (LI-05), which without the
/// original destination takes the filter.
pub(crate) fn carries_http(port: u16, plan: &Plan, options: &Options) -> bool {
    options.profile == Profile::Standalone
        || options.outbound_policy() == OutboundPolicy::AllowAny
        || plan.virtual_hosts.iter().any(|host| host.ports.is_empty() || host.ports.contains(&port))
}

/// `outbound_80`.
fn listener_name(port: u16) -> String {
    format!("outbound_{port}")
}

/// One chain for each cluster: the server names that go there (VS-TLS-05).
fn sni_chains(routes: &[&SniRoute], plan: &Plan, options: &Options) -> Vec<Value> {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for route in routes {
        names.entry(&route.cluster).or_default().push(&route.server_name);
    }
    names
        .into_iter()
        .map(|(cluster, server_names)| {
            // In the order of their names.
            let found = plan.clusters.binary_search_by(|other| other.name.as_str().cmp(cluster));
            let discovery = found.ok().and_then(|index| plan.clusters.get(index)).map(|it| it.discovery);
            let mut filters = Vec::new();
            if let Some(Discovery::Dynamic(port)) = discovery {
                filters.push(dial_server_name(port, &dns_cache(cluster, &options.envoy)));
            }
            filters.push(tcp_proxy("tls_passthrough", cluster, options));
            json!({
                "name": format!("tls {cluster}"),
                "filter_chain_match": {"transport_protocol": "tls", "server_names": server_names},
                "filters": filters,
            })
        })
        .collect()
}

/// TLS for a server name that is not in the registry: closed and counted (OTP-04), or passed
/// through by its name.
fn unknown_sni_chain(port: u16, options: &Options) -> Value {
    let filters = match options.outbound_policy() {
        OutboundPolicy::RegistryOnly => vec![tcp_proxy("tls_refused", BLACK_HOLE_CLUSTER, options)],
        OutboundPolicy::AllowAny => vec![
            dial_server_name(options.envoy.dialled_port("", port), &passthrough_dns_cache(&options.envoy)),
            tcp_proxy("tls_unregistered", super::PASSTHROUGH_CLUSTER, options),
        ],
    };
    json!({
        "name": "tls unknown",
        "filter_chain_match": {"transport_protocol": "tls"},
        "filters": filters,
    })
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

fn tcp_proxy(stat_prefix: &str, cluster: &str, options: &Options) -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
            "stat_prefix": stat_prefix,
            "cluster": cluster,
            "access_log": access_log(options, &json!({
                "start_time": "%START_TIME%",
                "decision": stat_prefix,
                "server_name": "%REQUESTED_SERVER_NAME%",
                "response_flags": "%RESPONSE_FLAGS%",
                "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
                "upstream": "%UPSTREAM_HOST%",
                "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%",
                "bytes_received": "%BYTES_RECEIVED%",
                "bytes_sent": "%BYTES_SENT%",
                "duration": "%DURATION%",
            }), None),
        },
    })
}

fn http_connection_manager(port: u16, plan: &Plan, options: &Options) -> anyhow::Result<Value> {
    let request_id = options.envoy.request_id.unwrap_or(options.profile == Profile::Istio);
    Ok(json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": listener_name(port),
            // Clients are what they are, whatever X-Forwarded-For they send; with `false` their
            // X-Forwarded-Proto would set `:scheme`.
            "use_remote_address": true,
            "skip_xff_append": true,
            "normalize_path": true,
            "generate_request_id": request_id,
            "server_header_transformation": "PASS_THROUGH",
            "http_protocol_options": {"accept_http_10": true},
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "request_headers_timeout": "10s",
            // As Istio's: no limit.
            "stream_idle_timeout": "0s",
            "access_log": access_log(options, &json!({
                "start_time": "%START_TIME%",
                "method": "%REQ(:METHOD)%",
                "authority": "%REQ(:AUTHORITY)%",
                "path": "%REQ(:PATH)%",
                "decision": "%FILTER_STATE(wasm.portolan.route:PLAIN)%",
                "response_code": "%RESPONSE_CODE%",
                "reason": "%RESPONSE_CODE_DETAILS%",
                "response_flags": "%RESPONSE_FLAGS%",
                "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
                "upstream": "%UPSTREAM_HOST%",
                "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
                "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%",
                "duration": "%DURATION%",
            }), None),
            "http_filters": http_filters(plan, options)?,
            "route_config": route_config(plan, options),
        },
    }))
}

fn http_filters(plan: &Plan, options: &Options) -> anyhow::Result<Vec<Value>> {
    let directory =
        in_files_root(options, Output::Ecds.path().rsplit_once('/').map_or("", |(parent, _)| parent));
    let mut filters = vec![json!({
        "name": FILTER_NAME,
        "config_discovery": {
            "config_source": {
                "resource_api_version": "V3",
                "path_config_source": {
                    "path": in_files_root(options, Output::Ecds.path()),
                    "watched_directory": {"path": directory},
                },
            },
            "type_urls": [WASM_TYPE_URL],
        },
    })];
    if plan.has_delays() {
        // Does what the filter's headers say (GAP-08).
        filters.push(json!({
            "name": "envoy.filters.http.fault",
            "typed_config": {
                "@type": type_url("envoy.extensions.filters.http.fault.v3.HTTPFault"),
                "delay": {"header_delay": {}, "percentage": {"numerator": 100}},
                "abort": {"header_abort": {}, "percentage": {"numerator": 100}},
            },
        }));
    }
    if options.outbound_policy() == OutboundPolicy::AllowAny {
        filters.push(json!({
            "name": "envoy.filters.http.dynamic_forward_proxy",
            "typed_config": {
                "@type": type_url("envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig"),
                "dns_cache_config": passthrough_dns_cache(&options.envoy),
                "save_upstream_address": true,
                "allow_dynamic_host_from_filter_state": true,
            },
        }));
        filters.push(guard::filter(&options.envoy)?);
    }
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.http.router.v3.Router"),
            // Nothing of ours goes to third parties, and no `x-envoy-upstream-service-time` back.
            "suppress_envoy_headers": !options.envoy_headers(),
        },
    }));
    Ok(filters)
}

fn in_files_root(options: &Options, path: &str) -> String {
    match options.envoy.files_root.trim_end_matches('/') {
        "" => path.to_owned(),
        root => format!("{root}/{path}"),
    }
}

/// One virtual host for all. Its routes differ only in what is static in Envoy, and match on
/// a filter state that only the filter can write: a request without a decision of ours meets
/// the last route.
fn route_config(plan: &Plan, options: &Options) -> Value {
    let mut routes = vec![profile_route(&RouteProfile::default(), options)];
    routes.extend(plan.profiles.iter().map(|profile| profile_route(profile, options)));
    if options.outbound_policy() == OutboundPolicy::AllowAny {
        // No retries (OTP-05, VS-RETRY-12).
        routes.push(route(PASSTHROUGH_ROUTE_PROFILE, json!({})));
    }
    routes.push(json!({
        "name": "undecided",
        "match": {"prefix": "/"},
        "direct_response": {"status": 503, "body": {"inline_string": "no decision\n"}},
    }));
    let mut to_remove = vec![headers::CLUSTER];
    to_remove.extend(headers::WRITTEN_BY_ENVOY);
    if plan.has_delays() {
        to_remove.push(headers::FAULT_DELAY);
    }
    // Meant for this proxy alone (RFC 9110, 11.7.2).
    to_remove.push("proxy-authorization");
    json!({
        "name": "outbound",
        "virtual_hosts": [{
            "name": "outbound",
            "domains": ["*"],
            "request_headers_to_remove": to_remove,
            "include_request_attempt_count": options.envoy_headers(),
            "routes": routes,
        }],
    })
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
    route(&profile.name(), settings)
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
fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}s", milliseconds / 1000, milliseconds % 1000)
}

/// A JSON line for each request or connection.
fn access_log(options: &Options, format: &Value, only_flag: Option<&str>) -> Vec<Value> {
    let Some(path) = &options.envoy.access_log else { return Vec::new() };
    let mut log = if path == STDOUT {
        // Not opened by name, which a user without rights to the terminal could not.
        json!({
            "name": "envoy.access_loggers.stdout",
            "typed_config": {
                "@type": type_url("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"),
                "log_format": {"json_format": format},
            },
        })
    } else {
        json!({
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": type_url("envoy.extensions.access_loggers.file.v3.FileAccessLog"),
                "path": path,
                "log_format": {"json_format": format},
            },
        })
    };
    if let (Some(flag), Value::Object(log)) = (only_flag, &mut log) {
        log.insert("filter".to_owned(), json!({"response_flag_filter": {"flags": [flag]}}));
    }
    vec![log]
}
