//! Limits and timeouts of connections (spec section 5.4).

use serde_json::{Value, json};

use super::{extend, number, seconds};
use crate::options::EnvoyOptions;
use crate::resource::destination_rule::{ConnectionPool, Keepalive, RetryBudget};

/// No limit: Istio's default for all thresholds (DEF-11).
pub(super) const UNLIMITED: u32 = u32::MAX;

/// `circuit_breakers`: what is above is refused with 503 (DR-CP-01, DR-CP-06, DR-CP-11).
pub(super) fn circuit_breakers(pool: &ConnectionPool, budget: Option<&RetryBudget>) -> Value {
    let limit = |limit: Option<u32>| limit.unwrap_or(UNLIMITED);
    let mut thresholds = json!({
        "max_connections": limit(pool.tcp.max_connections),
        "max_pending_requests": limit(pool.http.max_pending_requests),
        "max_requests": limit(pool.http.max_requests),
        "max_retries": limit(pool.http.max_retries),
    });
    if let Some(budget) = budget {
        extend(
            &mut thresholds,
            json!({"retry_budget": {
                "budget_percent": {"value": number(budget.percent.unwrap_or(20.0))},
                "min_retry_concurrency": budget.min_retry_concurrency.unwrap_or(3),
            }}),
        );
    }
    json!({"thresholds": [thresholds]})
}

/// `connect_timeout` (DR-CP-02).
pub(super) fn connect_timeout(pool: &ConnectionPool, options: &EnvoyOptions) -> String {
    pool.tcp.connect_timeout.map_or_else(|| options.connect_timeout.clone(), seconds)
}

/// `upstream_connection_options`, where anything is said: field by field over the mesh's (DR-CP-03).
pub(super) fn keepalive(own: Option<Keepalive>, mesh: Option<Keepalive>) -> Value {
    if own.or(mesh).is_none() {
        return json!({});
    }
    let (own, mesh) = (own.unwrap_or_default(), mesh.unwrap_or_default());
    let mut value = json!({});
    if let Some(probes) = own.probes.or(mesh.probes) {
        extend(&mut value, json!({"keepalive_probes": probes}));
    }
    // Whole seconds, at least one: so the kernel takes them.
    for (name, span) in
        [("keepalive_time", own.time.or(mesh.time)), ("keepalive_interval", own.interval.or(mesh.interval))]
    {
        if let Some(span) = span {
            extend(&mut value, json!({name: (span / 1000).max(1)}));
        }
    }
    json!({"upstream_connection_options": {"tcp_keepalive": value}})
}

/// `common_http_protocol_options`, where anything is said (DR-CP-04, DR-CP-05, DR-CP-07).
pub(super) fn common_http_options(pool: &ConnectionPool) -> Option<Value> {
    let mut value = json!({});
    // 0 stands for never, in Envoy as well.
    if let Some(span) = pool.http.idle_timeout.or(pool.tcp.idle_timeout) {
        extend(&mut value, json!({"idle_timeout": seconds(span)}));
    }
    if let Some(span) = pool.tcp.max_connection_duration {
        extend(&mut value, json!({"max_connection_duration": seconds(span)}));
    }
    if let Some(count) = pool.http.max_requests_per_connection {
        extend(&mut value, json!({"max_requests_per_connection": count}));
    }
    (value != json!({})).then_some(value)
}

/// `http2_protocol_options` of a cluster that speaks HTTP/2 and nothing else (DR-CP-08).
pub(super) fn http2_options(pool: &ConnectionPool) -> Value {
    // Websockets go on as such, in HTTP/2's form (RFC 8441).
    let mut value = json!({"allow_connect": true});
    if let Some(count) = pool.http.max_concurrent_streams {
        extend(&mut value, json!({"max_concurrent_streams": count}));
    }
    if let Some(alive) = &pool.http.http2_keepalive
        && let (Some(interval), Some(timeout)) = (alive.interval, alive.timeout)
    {
        let pings = json!({"interval": seconds(interval), "timeout": seconds(timeout)});
        extend(&mut value, json!({"connection_keepalive": pings}));
    }
    value
}
