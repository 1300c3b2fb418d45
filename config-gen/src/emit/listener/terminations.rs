//! Filter chains in which clients' TLS ends (GW-03, GW-16).

use portolan_engine::ListenerPort;
use serde_json::{Value, json};

use super::http_connection_manager::{TLS, http_connection_manager};
use super::listener_name;
use crate::emit::secret::Secret;
use crate::emit::type_url;
use crate::options::{EnvoyOptions, Options};
use crate::plan::{DownstreamTls, Plan, Termination};

/// The chain of a server.
pub(super) fn chain(termination: &Termination, plan: &Plan, options: &Options) -> anyhow::Result<Value> {
    let mut chain_match = json!({"transport_protocol": "tls"});
    if !termination.server_names.is_empty() {
        chain_match["server_names"] = json!(termination.server_names);
    }
    let port = ListenerPort::Fixed(termination.number);
    Ok(json!({
        "name": termination.name,
        "filter_chain_match": chain_match,
        "filters": [http_connection_manager(&listener_name(termination.port), port, TLS, plan, options)?],
        "transport_socket": transport_socket(&termination.tls, &["h2", "http/1.1"], &options.envoy),
    }))
}

/// TLS towards clients, with these protocols inside.
pub(super) fn transport_socket(tls: &DownstreamTls, protocols: &[&str], options: &EnvoyOptions) -> Value {
    let mut common = json!({
        "tls_certificate_sds_secret_configs": [Secret::Identity(&tls.identity).reference(options)],
    });
    if !protocols.is_empty() {
        common["alpn_protocols"] = json!(protocols);
    }
    let mut params = json!({});
    if let Some(version) = tls.min_version {
        params["tls_minimum_protocol_version"] = version.into();
    }
    if let Some(version) = tls.max_version {
        params["tls_maximum_protocol_version"] = version.into();
    }
    if !tls.cipher_suites.is_empty() {
        params["cipher_suites"] = json!(tls.cipher_suites);
    }
    if params != json!({}) {
        common["tls_params"] = params;
    }
    // A certificate that is not asked for is not looked at.
    if let Some(authorities) = Secret::of_clients(tls) {
        common["combined_validation_context"] = json!({
            "default_validation_context": client_validation(tls),
            "validation_context_sds_secret_config": authorities.reference(options),
        });
    }
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": type_url("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"),
            "common_tls_context": common,
            "require_client_certificate": tls.client_certificate_required,
        },
    })
}

/// What clients' certificates have to be, besides signed.
fn client_validation(tls: &DownstreamTls) -> Value {
    let mut context = json!({});
    if !tls.spki.is_empty() {
        context["verify_certificate_spki"] = json!(tls.spki);
    }
    if !tls.hashes.is_empty() {
        context["verify_certificate_hash"] = json!(tls.hashes);
    }
    let kinds =
        |name: &String| ["DNS", "URI"].map(|kind| json!({"san_type": kind, "matcher": {"exact": name}}));
    if !tls.subject_alt_names.is_empty() {
        context["match_typed_subject_alt_names"] = tls.subject_alt_names.iter().flat_map(kinds).collect();
    }
    context
}
