//! TLS towards a cluster's endpoints (spec section 5.6).

use serde_json::{Value, json};

use super::extend;
use crate::emit::type_url;
use crate::options::EnvoyOptions;
use crate::plan::{Ca, HttpVersion, UpstreamTls};

/// TLS towards the endpoints. Without a validation context Envoy would verify nothing
/// (DR-TLS-21), so there is always one unless that was asked for.
pub(super) fn transport_socket(tls: &UpstreamTls, http: HttpVersion, options: &EnvoyOptions) -> Value {
    let mut common = json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
    });
    if http == HttpVersion::Two {
        // DR-TLS-18
        extend(&mut common, json!({"alpn_protocols": ["h2"]}));
    }
    let ca = match &tls.ca {
        Ca::System => Some(options.ca_bundle.as_str()),
        Ca::File(path) => Some(path.as_str()),
        Ca::Unverified => None,
    };
    if let Some(ca) = ca {
        let mut validation = json!({"trusted_ca": {"filename": ca}});
        if !tls.subject_alt_names.is_empty() {
            let names = |kind: &str| -> Vec<Value> {
                let name = |name: &String| json!({"san_type": kind, "matcher": {"exact": name}});
                tls.subject_alt_names.iter().map(name).collect()
            };
            // Any of them, whatever kind of name the certificate has it as.
            let all = [names("DNS"), names("URI")].concat();
            extend(&mut validation, json!({"match_typed_subject_alt_names": all}));
        }
        extend(&mut common, json!({"validation_context": validation}));
    }
    let mut context = json!({
        "@type": type_url("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
        "common_tls_context": common,
    });
    if let Some(sni) = &tls.sni {
        extend(&mut context, json!({"sni": sni}));
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}
