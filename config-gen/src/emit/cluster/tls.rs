//! TLS towards a cluster's endpoints (spec section 5.6).

use serde_json::{Value, json};

use super::extend;
use crate::emit::secret::Secret;
use crate::emit::type_url;
use crate::options::{EnvoyOptions, TlsDefaults};
use crate::plan::{Ca, HttpVersion, UpstreamTls};

/// TLS towards the endpoints.
pub(super) fn transport_socket(tls: &UpstreamTls, http: HttpVersion, options: &EnvoyOptions) -> Value {
    let mut context = json!({
        "@type": type_url("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
        "common_tls_context": common_tls_context(tls, http, options),
    });
    if let Some(sni) = &tls.sni {
        extend(&mut context, json!({"sni": sni}));
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}

fn common_tls_context(tls: &UpstreamTls, http: HttpVersion, options: &EnvoyOptions) -> Value {
    // DEF-13
    let mut params =
        json!({"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"});
    let TlsDefaults { curves, cipher_suites } = &options.tls_defaults;
    for (name, wanted) in [("ecdh_curves", curves), ("cipher_suites", cipher_suites)] {
        if !wanted.is_empty() && !tls.mesh {
            extend(&mut params, json!({name: wanted}));
        }
    }
    let mut context = json!({"tls_params": params});
    let alpn = alpn(tls, http);
    if !alpn.is_empty() {
        extend(&mut context, json!({"alpn_protocols": alpn}));
    }
    if let Some(identity) = &tls.identity {
        let reference = Secret::Identity(identity).reference(options);
        extend(&mut context, json!({"tls_certificate_sds_secret_configs": [reference]}));
    }
    extend(&mut context, validation(tls, options));
    context
}

/// DR-TLS-05, DR-TLS-18.
fn alpn(tls: &UpstreamTls, http: HttpVersion) -> Vec<&'static str> {
    let mesh: &[&str] = if tls.mesh { &["istio-peer-exchange", "istio"] } else { &[] };
    let http: &[&str] = if http == HttpVersion::Two { &["h2"] } else { &[] };
    [mesh, http].concat()
}

/// Without a validation context Envoy would verify nothing (DR-TLS-21), so there is always one
/// unless that was asked for.
fn validation(tls: &UpstreamTls, options: &EnvoyOptions) -> Value {
    if tls.ca == Ca::Unverified {
        return json!({});
    }
    let mut validation = json!({});
    if !tls.subject_alt_names.is_empty() {
        let names = |kind: &str| -> Vec<Value> {
            let name = |name: &String| json!({"san_type": kind, "matcher": {"exact": name}});
            tls.subject_alt_names.iter().map(name).collect()
        };
        // Any of them, whatever kind of name the certificate has it as.
        let all = [names("DNS"), names("URI")].concat();
        extend(&mut validation, json!({"match_typed_subject_alt_names": all}));
    }
    match Secret::authorities(&tls.ca, options) {
        Some(secret) => json!({"combined_validation_context": {
            "default_validation_context": validation,
            "validation_context_sds_secret_config": secret.reference(options),
        }}),
        None => {
            extend(&mut validation, json!({"trusted_ca": {"filename": options.ca_bundle}}));
            json!({"validation_context": validation})
        }
    }
}
