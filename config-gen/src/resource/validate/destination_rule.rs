//! VAL-DR rules.

use std::collections::HashMap;

use super::super::destination_rule::{DestinationRule, TlsSettings};
use super::super::domain;
use super::{export_to, invalid_host};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::{Node, Value};

pub(crate) fn validate(rule: &DestinationRule, spec: &Node, out: &mut Diagnostics) {
    if let Err(why) = domain::wildcard_domain(&rule.host) {
        out.extend(invalid_host(&rule.host, "host", &why, "VAL-DR-01"));
    }
    export_to(&rule.meta, &rule.export_to, false, "VAL-00f", out);
    let (Some(policy), Some(node)) = (&rule.traffic_policy, spec.get("trafficPolicy")) else { return };
    if sets_nothing(node, &[]) {
        out.push(empty("`trafficPolicy` sets nothing").at(policy.span));
    }
    if let Some(tls) = &policy.tls {
        validate_tls(tls, out);
    }
    for node in node.get("portLevelSettings").map(Node::items).unwrap_or_default() {
        if node.get("port").is_some() && sets_nothing(node, &["port"]) {
            out.push(empty("the settings of this port set nothing").at(node.span));
        }
    }
    let mut ports = HashMap::new();
    for settings in &policy.port_level_settings {
        if let Some(first) = ports.insert(settings.port.value, settings.port.span) {
            let message =
                format!("the port {} has settings already, and the first ones count", settings.port.value);
            out.push(
                Diagnostic::warning("duplicate-port", message)
                    .at(settings.port.span)
                    .also("first given at", first)
                    .rule("DR-TP-05"),
            );
        }
        if let Some(tls) = &settings.tls {
            validate_tls(tls, out);
        }
    }
}

fn empty(message: &str) -> Diagnostic {
    Diagnostic::error("empty-policy", message).rule("VAL-DR-03").help("set something, or leave it out")
}

/// Whether a well-formed object has no field but `except`.
fn sets_nothing(node: &Node, except: &[&str]) -> bool {
    let Value::Map(entries) = &node.value else { return false };
    entries.iter().all(|entry| entry.node.is_null() || except.contains(&entry.key.as_str()))
}

/// VAL-DR-09, as far as the modes are translated.
fn validate_tls(tls: &TlsSettings, out: &mut Diagnostics) {
    let Some(skip) = tls.insecure_skip_verify.as_ref().filter(|skip| skip.value) else { return };
    let other = tls
        .ca_certificates
        .as_ref()
        .map(|ca| ("caCertificates", ca.span))
        .or_else(|| tls.subject_alt_names.first().map(|name| ("subjectAltNames", name.span)));
    if let Some((name, span)) = other {
        out.push(
            Diagnostic::error(
                "contradicting-tls",
                format!("`insecureSkipVerify` verifies nothing, so `{name}` has no use"),
            )
            .at(skip.span)
            .also(format!("`{name}` stands at"), span)
            .rule("VAL-DR-09")
            .help("keep one of them, and better the one that verifies"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::destination_rule::TlsMode;
    use super::super::tests::{check, read_spec};

    #[test]
    fn rules() {
        let case = |policy: &str| format!("host: a.com\ntrafficPolicy: {policy}");
        check(
            "DestinationRule",
            &[
                ("host: a.com", &[]),
                ("host: '*'", &[]),
                ("host: '*.local'", &[]),
                ("host: a_b", &["error invalid-host VAL-DR-01"]),
                ("exportTo: [.]", &["error missing-field VAL-CRD-19"]),
                (&case("{}"), &["error empty-policy VAL-DR-03"]),
                (&case("{tls: {mode: SIMPLE}}"), &[]),
                (&case("{tls: {mode: simple}}"), &["error invalid-value VAL-CRD-04"]),
                (&case("{tls: {mode: MUTUAL}}"), &["error not-supported DR-TLS-03"]),
                (&case("{tls: {mode: SIMPLE, credentialName: x}}"), &["error not-supported DR-TLS-16"]),
                (&case("{tls: {mode: SIMPLE, insecureSkipVerify: true}}"), &[]),
                (
                    &case("{tls: {mode: SIMPLE, insecureSkipVerify: true, caCertificates: /ca.pem}}"),
                    &["error contradicting-tls VAL-DR-09"],
                ),
                (
                    &case("{tls: {mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [a]}}"),
                    &["error contradicting-tls VAL-DR-09"],
                ),
                (&case("{portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE}}]}"), &[]),
                (&case("{portLevelSettings: [{port: {number: 443}}]}"), &["error empty-policy VAL-DR-03"]),
                (&case("{portLevelSettings: [{tls: {mode: SIMPLE}}]}"), &["error missing-field VAL-DR-03"]),
                (
                    &case("{portLevelSettings: [{port: {}, tls: {mode: SIMPLE}}]}"),
                    &["error missing-field VAL-DR-03"],
                ),
                (
                    &case(
                        "{portLevelSettings: [{port: {number: 1}, tls: {}}, {port: {number: 1}, tls: {}}]}",
                    ),
                    &["warning duplicate-port DR-TP-05"],
                ),
                (&case("{loadBalancer: {simple: RANDOM}}"), &["error not-supported DR-LB-01"]),
                (
                    &case("{outlierDetection: {interval: 1d, consecutive5xxErrors: -1}}"),
                    &[
                        "error not-supported DR-OD-01",
                        "error invalid-duration VAL-CRD-05",
                        "error out-of-range VAL-CRD-06",
                    ],
                ),
                ("host: a\nsubsets: [{name: v1}]", &["error not-supported DR-10"]),
                ("host: a\nworkloadSelector: {matchLabels: {a: b}}", &["error not-supported DR-09"]),
            ],
        );
    }

    #[test]
    fn settings_are_read() {
        let read = read_spec(
            "DestinationRule",
            "host: A.com
trafficPolicy:
  tls: {mode: SIMPLE, sni: b.com, subjectAltNames: [b.com], caCertificates: /ca.pem, insecureSkipVerify: false}
  portLevelSettings:
  - port: {number: 80}
    tls: {}",
        );
        assert!(read.diagnostics.is_empty(), "{}", read.diagnostics.render(&read.sources));
        let rule = &read.destination_rules[0];
        assert_eq!(rule.host.value, "A.com");
        let policy = rule.traffic_policy.as_ref().unwrap();
        let tls = policy.tls.as_ref().unwrap();
        assert_eq!(tls.mode.value, TlsMode::Simple);
        assert_eq!(tls.sni.as_ref().unwrap().value, "b.com");
        assert_eq!(tls.subject_alt_names.len(), 1);
        assert_eq!(tls.ca_certificates.as_ref().unwrap().value, "/ca.pem");
        assert!(!tls.insecure_skip_verify.unwrap().value);
        let port = &policy.port_level_settings[0];
        assert_eq!((port.port.value, port.tls.as_ref().unwrap().mode.value), (80, TlsMode::Disable));
    }
}
