//! When endpoints that fail are taken out (spec section 5.5).

use serde_json::{Value, json};

use super::{extend, seconds};
use crate::resource::destination_rule::OutlierDetection;

/// `outlier_detection` of the cluster.
pub(super) fn outlier_detection(settings: &OutlierDetection) -> Value {
    // DR-OD-02
    let mut value = json!({"enforcing_success_rate": 0});
    let mut consecutive = |count: Option<u32>, name: &str| {
        if let Some(count) = count {
            let enforcing = if count > 0 { 100 } else { 0 };
            // Envoy takes no count of 0.
            extend(&mut value, json!({name: count.max(1), format!("enforcing_{name}"): enforcing}));
        }
    };
    consecutive(settings.consecutive_5xx_errors, "consecutive_5xx");
    consecutive(settings.consecutive_gateway_errors, "consecutive_gateway_failure");
    if settings.split_local_origin {
        // DR-OD-08
        let failures = settings.consecutive_local_origin_failures.filter(|count| *count > 0);
        consecutive(failures, "consecutive_local_origin_failure");
        extend(
            &mut value,
            json!({"split_external_local_origin_errors": true, "enforcing_local_origin_success_rate": 0}),
        );
    }
    for (name, span) in [("interval", settings.interval), ("base_ejection_time", settings.base_ejection_time)]
    {
        if let Some(span) = span {
            extend(&mut value, json!({name: seconds(span)}));
        }
    }
    if let Some(percent) = settings.max_ejection_percent {
        extend(&mut value, json!({"max_ejection_percent": percent}));
    }
    value
}

/// What counts as a failure in place of the statuses from 500 to 599 (DR-OD-10).
pub(super) fn error_matcher(settings: &OutlierDetection) -> Option<Value> {
    let status = |code: &u16| {
        json!({"http_response_headers_match": {
            "headers": [{"name": ":status", "string_match": {"exact": code.to_string()}}],
        }})
    };
    let rules: Vec<Value> = settings.http_error_codes.iter().map(status).collect();
    match rules.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        _ => Some(json!({"or_match": {"rules": rules}})),
    }
}
