//! `outlierDetection` (spec 5.5).

use super::super::read::{boolean, int, milliseconds};
use crate::input::node::Node;

/// When endpoints that fail are taken out. What is none is Envoy's default; time spans are in
/// milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Failures in a row; 0: they don't count (DR-OD-03).
    pub consecutive_5xx_errors: Option<u32>,
    /// 502, 503 and 504 in a row; 0: they don't count (DR-OD-04).
    pub consecutive_gateway_errors: Option<u32>,
    /// Failures to connect and the like count apart (DR-OD-08).
    pub split_local_origin: bool,
    /// Those in a row.
    pub consecutive_local_origin_failures: Option<u32>,
    /// From one look at all endpoints to the next.
    pub interval: Option<u64>,
    /// How long an endpoint is out, the first time.
    pub base_ejection_time: Option<u64>,
    /// Most endpoints that are out at a time (DR-OD-06).
    pub max_ejection_percent: Option<u32>,
    /// With fewer that are in, all get requests (DR-OD-07).
    pub min_health_percent: Option<u32>,
    /// Statuses that are failures, in place of 500 to 599 (DR-OD-10).
    pub http_error_codes: Vec<u16>,
}

pub(crate) fn read(node: &Node) -> OutlierDetection {
    let count = |name: &str| int(node.get(name)).map(|count| count.value);
    let span = |name: &str| milliseconds(node.get(name)).map(|span| span.value);
    let codes = node.get("outlierDetectionHttpErrorCodes").map(Node::items).unwrap_or_default();
    OutlierDetection {
        consecutive_5xx_errors: count("consecutive5xxErrors"),
        consecutive_gateway_errors: count("consecutiveGatewayErrors"),
        split_local_origin: boolean(node.get("splitExternalLocalOriginErrors"))
            .is_some_and(|flag| flag.value),
        consecutive_local_origin_failures: count("consecutiveLocalOriginFailures"),
        interval: span("interval"),
        base_ejection_time: span("baseEjectionTime"),
        max_ejection_percent: count("maxEjectionPercent").filter(|percent| *percent > 0),
        min_health_percent: count("minHealthPercent"),
        http_error_codes: codes.iter().filter_map(|code| Some(int(Some(code))?.value)).collect(),
    }
}
