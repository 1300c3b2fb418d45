//! Which HTTP a cluster's endpoints are spoken to, and what names TLS takes from requests.

use serde_json::{Value, json};

use super::connection_pool::{common_http_options, http2_options};
use super::extend;
use super::outlier_detection::error_matcher;
use crate::emit::type_url;
use crate::plan::{Cluster, HttpVersion};

pub(super) fn http_protocol_options(cluster: &Cluster) -> Value {
    let mut options = json!({"@type": type_url("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")});
    extend(
        &mut options,
        match cluster.http {
            HttpVersion::One => json!({"explicit_http_config": {"http_protocol_options": {}}}),
            HttpVersion::Two => {
                json!({"explicit_http_config": {"http2_protocol_options": http2_options(&cluster.connection_pool)}})
            }
            HttpVersion::AsClient => json!({
                "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {"allow_connect": true}},
            }),
        },
    );
    if let Some(common) = common_http_options(&cluster.connection_pool) {
        extend(&mut options, json!({"common_http_protocol_options": common}));
    }
    if let Some(matcher) = cluster.outlier_detection.as_ref().and_then(error_matcher) {
        extend(&mut options, json!({"outlier_detection": {"error_matcher": matcher}}));
    }
    let (auto_sni, auto_san) =
        cluster.tls.as_ref().map_or((false, false), |tls| (tls.sni.is_none(), tls.auto_san));
    if auto_sni || auto_san {
        extend(&mut options, json!({"upstream_http_protocol_options": auto_names(auto_sni, auto_san)}));
    }
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options})
}

fn auto_names(sni: bool, san: bool) -> Value {
    let mut names = json!({});
    for (name, on) in [("auto_sni", sni), ("auto_san_validation", san)] {
        if on {
            extend(&mut names, json!({name: true}));
        }
    }
    names
}
