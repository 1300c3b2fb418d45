//! Filter chains in which clients' TLS ends (GW-03, GW-16).

use portolan_engine::ListenerPort;
use serde_json::{Value, json};

use super::http_connection_manager::http_connection_manager;
use super::listener_name;
use crate::emit::type_url;
use crate::options::Options;
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
        "filters": [http_connection_manager(&listener_name(termination.number), port, plan, options)?],
        "transport_socket": transport_socket(&termination.tls, &["h2", "http/1.1"]),
    }))
}

/// TLS towards clients, with these protocols inside.
pub(super) fn transport_socket(tls: &DownstreamTls, protocols: &[&str]) -> Value {
    let file = |path: &String| json!({"filename": path});
    let mut common = json!({
        "tls_certificates": [{
            "certificate_chain": file(&tls.certificate),
            "private_key": file(&tls.private_key),
        }],
    });
    if !protocols.is_empty() {
        common["alpn_protocols"] = json!(protocols);
    }
    let mut versions = json!({});
    if let Some(version) = tls.min_version {
        versions["tls_minimum_protocol_version"] = version.into();
    }
    if let Some(version) = tls.max_version {
        versions["tls_maximum_protocol_version"] = version.into();
    }
    if !tls.cipher_suites.is_empty() {
        versions["cipher_suites"] = json!(tls.cipher_suites);
    }
    if versions != json!({}) {
        common["tls_params"] = versions;
    }
    if let Some(context) = client_validation(tls) {
        common["validation_context"] = context;
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

/// What clients' certificates are checked against; one that is not asked for is not looked at.
fn client_validation(tls: &DownstreamTls) -> Option<Value> {
    let mut context = json!({"trusted_ca": {"filename": tls.client_ca.as_ref()?}});
    if let Some(list) = &tls.client_crl {
        context["crl"] = json!({"filename": list});
    }
    if !tls.spki.is_empty() {
        context["verify_certificate_spki"] = json!(tls.spki);
    }
    if !tls.hashes.is_empty() {
        context["verify_certificate_hash"] = json!(tls.hashes);
    }
    let name = |name: &String| {
        let kinds = ["DNS", "URI"];
        kinds.map(|kind| json!({"san_type": kind, "matcher": {"exact": name}}))
    };
    if !tls.subject_alt_names.is_empty() {
        context["match_typed_subject_alt_names"] = tls.subject_alt_names.iter().flat_map(name).collect();
    }
    Some(context)
}
