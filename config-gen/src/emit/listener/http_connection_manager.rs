//! HTTP: the connection manager and its filters (LI-06, LI-07).

use portolan_engine::ListenerPort;
use portolan_engine::config::PASSTHROUGH_ROUTE_PROFILE;
use serde_json::{Value, json};

use super::access_log::access_log;
use super::route_config::route_config;
use super::tunnels::hand_over;
use crate::emit::cluster::passthrough_dns_cache;
use crate::emit::ecds::{FILTER_NAME, WASM_TYPE_URL};
use crate::emit::{Output, ROUTE_FILTER_STATE, discovery, guard, type_url};
use crate::options::{Options, Profile};
use crate::plan::Plan;

/// `name` is that of the listener. Where clients name the port, it is an explicit proxy, and they may
/// ask for tunnels as well; elsewhere no route takes a CONNECT. `scheme` is what connections are like;
/// none: clients name it with the port.
pub(super) fn http_connection_manager(
    name: &str,
    port: ListenerPort,
    scheme: Option<&str>,
    plan: &Plan,
    options: &Options,
) -> anyhow::Result<Value> {
    let mut upgrades = vec![json!({"upgrade_type": "websocket"})];
    if port == ListenerPort::Authority {
        upgrades.push(json!({"upgrade_type": "CONNECT"}));
    }
    let request_id = options.envoy.request_id.unwrap_or(options.profile == Profile::Istio);
    let mut log = json!({
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
        "upstream_attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "traceparent": "%REQ(TRACEPARENT)%",
        "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "duration": "%DURATION%",
    });
    if port == ListenerPort::Authority {
        // All there is to say of what was in a tunnel.
        log["bytes_received"] = json!("%BYTES_RECEIVED%");
        log["bytes_sent"] = json!("%BYTES_SENT%");
    }
    let mut manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": name,
            // Clients are what they are, whatever X-Forwarded-For they send; with `false` their
            // X-Forwarded-Proto would set `:scheme`.
            "use_remote_address": true,
            "skip_xff_append": true,
            "normalize_path": true,
            "generate_request_id": request_id,
            "server_header_transformation": "PASS_THROUGH",
            "http_protocol_options": {"accept_http_10": true},
            // Websockets over HTTP/2 (RFC 8441).
            "http2_protocol_options": {"allow_connect": true},
            "upgrade_configs": upgrades,
            // As Istio's: the upstream says whether it wants the body.
            "proxy_100_continue": true,
            "request_headers_timeout": "10s",
            // As Istio's: no limit.
            "stream_idle_timeout": "0s",
            "access_log": access_log(options, &log, None),
            "http_filters": http_filters(port, plan, options)?,
            "route_config": route_config(port, plan, options),
        },
    });
    if let Some(scheme) = scheme {
        // By HTTP/2 clients would choose it themselves (GW-22).
        manager["typed_config"]["scheme_header_transformation"] = json!({"scheme_to_overwrite": scheme});
    }
    Ok(manager)
}

/// The scheme of what comes without TLS.
pub(super) const PLAINTEXT: Option<&str> = Some("http");

/// The scheme where TLS ends.
pub(super) const TLS: Option<&str> = Some("https");

fn http_filters(port: ListenerPort, plan: &Plan, options: &Options) -> anyhow::Result<Vec<Value>> {
    let mut filters = vec![json!({
        "name": FILTER_NAME,
        "config_discovery": {
            "config_source": discovery::watched(Output::Ecds.path(), &options.envoy),
            "type_urls": [WASM_TYPE_URL],
        },
    })];
    if port == ListenerPort::Authority {
        filters.push(hand_over());
    }
    if has_delays(plan, options) {
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
    if options.outbound_policy().passes() {
        let cache = passthrough_dns_cache(&options.envoy);
        filters.push(only_passed_through(&resolved("dns_cache_config", cache)));
        if guard::refuses_any(&options.envoy) {
            filters.push(guard::filter(&options.envoy));
            filters.push(only_passed_through(&guard::go_on_by_address()));
            filters.push(only_passed_through(&resolved("sub_cluster_config", json!({}))));
        }
    }
    let mut router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.http.router.v3.Router"),
            // Nothing of ours goes to third parties, and no `x-envoy-upstream-service-time` back.
            "suppress_envoy_headers": !options.envoy_headers(),
        },
    });
    if let Some(upstream_filters) = guard::of_router(options) {
        router["typed_config"]["upstream_http_filters"] = upstream_filters.into();
    }
    filters.push(router);
    Ok(filters)
}

/// Whether requests may be delayed: where rules change under way, without closing connections for the first
/// one that is.
pub(super) fn has_delays(plan: &Plan, options: &Options) -> bool {
    options.envoy.dynamic_resources || plan.has_delays()
}

/// An HTTP filter that has the host of a request resolved.
fn resolved(by: &str, settings: Value) -> Value {
    let mut config = json!({
        "@type": type_url("envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig"),
        "save_upstream_address": true,
        "allow_dynamic_host_from_filter_state": true,
    });
    config[by] = settings;
    json!({"name": "envoy.filters.http.dynamic_forward_proxy", "typed_config": config})
}

/// An HTTP filter for requests to hosts outside the registry only. Envoy's dynamic forward proxy
/// filter would have hosts of the registry resolved as well, in the cache that clients can fill.
fn only_passed_through(filter: &Value) -> Value {
    json!({
        "name": filter["name"],
        "typed_config": {
            "@type": type_url("envoy.extensions.common.matching.v3.ExtensionWithMatcher"),
            "extension_config": filter,
            "xds_matcher": {"matcher_list": {"matchers": [{
                "predicate": {"not_matcher": {"single_predicate": {
                    "input": {
                        "name": "envoy.matching.inputs.filter_state",
                        "typed_config": {
                            "@type": type_url("envoy.extensions.matching.common_inputs.network.v3.FilterStateInput"),
                            "key": ROUTE_FILTER_STATE,
                        },
                    },
                    "value_match": {"prefix": format!("{PASSTHROUGH_ROUTE_PROFILE} ")},
                }}},
                "on_match": {"action": {
                    "name": "skip",
                    "typed_config": {
                        "@type": type_url("envoy.extensions.filters.common.matcher.action.v3.SkipFilter"),
                    },
                }},
            }]}},
        },
    })
}
