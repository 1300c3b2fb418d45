//! VAL-DR rules.

use std::collections::HashMap;

use super::super::destination_rule::DestinationRule;
use super::super::domain;
use super::super::read::string;
use super::{export_to, invalid_host, labels, traffic_policy};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::Node;
use crate::input::template;

pub(crate) fn validate(rule: &DestinationRule, spec: &Node, out: &mut Diagnostics) {
    if let Err(why) = domain::wildcard_domain(&rule.host) {
        out.extend(invalid_host(&rule.host, "host", &why, "VAL-DR-01"));
    }
    export_to(&rule.meta, &rule.export_to, false, "VAL-00f", out);
    selector(rule, spec, out);
    if let Some(policy) = spec.get("trafficPolicy") {
        traffic_policy::check(policy, out);
    }
    subsets(spec, out);
    let Some(policy) = &rule.traffic_policy else { return };
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
    }
}

/// VAL-DR-10, VAL-CRD-15: such a rule is for its own namespace (DR-09).
fn selector(rule: &DestinationRule, spec: &Node, out: &mut Diagnostics) {
    let Some(selector) = spec.get("workloadSelector") else { return };
    let own = |name: &str| name == "." || name == rule.meta.namespace;
    if let Some(other) = rule.export_to.iter().find(|name| !own(name)) {
        out.push(
            Diagnostic::error("invalid-export-to", "a rule with `workloadSelector` stays in its namespace")
                .at(other.span)
                .also("`workloadSelector` stands at", selector.span)
                .rule("VAL-DR-10"),
        );
    }
    for entry in selector.get("matchLabels").map(Node::entries).unwrap_or_default() {
        let value = entry.node.as_str().unwrap_or_default();
        if entry.key.is_empty() || entry.key.contains('*') || value.contains('*') {
            out.push(
                Diagnostic::error("invalid-selector", format!("`{}: {value}` is no label", entry.key))
                    .at(entry.key_span)
                    .rule("VAL-CRD-15")
                    .help("labels are compared as they are, without patterns"),
            );
        }
    }
}

/// VAL-DR-02.
fn subsets(spec: &Node, out: &mut Diagnostics) {
    let mut names = HashMap::new();
    for subset in spec.get("subsets").map(Node::items).unwrap_or_default() {
        let error =
            |message: String, at| Diagnostic::error("invalid-subset", message).at(at).rule("VAL-DR-02");
        if let Some(name) = string(subset.get("name")).filter(|name| template::in_value(name).is_none()) {
            if !domain::is_label(&name) {
                let message = format!("`{}` can't be the name of a subset", name.value);
                out.push(
                    error(message, name.span)
                        .help("a name consists of at most 63 letters, digits and inner `-`"),
                );
            }
            if let Some(first) = names.insert(name.value.clone(), name.span) {
                let message = format!("two subsets are called `{}`", name.value);
                out.push(error(message, name.span).also("first given at", first));
            }
        }
        labels::check(subset.get("labels"), "VAL-DR-02", out);
        if let Some(policy) = subset.get("trafficPolicy") {
            traffic_policy::check(policy, out);
        }
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
                (&case("{tls: {mode: MUTUAL, credentialName: x}}"), &[]),
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
                (&case("{loadBalancer: {simple: RANDOM}}"), &[]),
                (
                    &case("{outlierDetection: {interval: 1d, consecutive5xxErrors: -1}}"),
                    &["error invalid-duration VAL-CRD-05", "error out-of-range VAL-CRD-06"],
                ),
                ("host: a\nsubsets: [{name: v1, labels: {version: v1}}]", &[]),
                (
                    "host: a\nsubsets: [{name: v_1}, {name: a}, {name: a, labels: {'*': b, c: '*'}}]",
                    &[
                        "error invalid-subset VAL-DR-02",
                        "error invalid-subset VAL-DR-02",
                        "error invalid-label VAL-DR-02",
                        "error invalid-label VAL-DR-02",
                    ],
                ),
                ("host: a\nsubsets: [{name: v1, trafficPolicy: {}}]", &["error empty-policy VAL-DR-03"]),
                (
                    "host: a\nworkloadSelector: {matchLabels: {a: '*'}}\nexportTo: [., other]",
                    &["error invalid-selector VAL-CRD-15", "error invalid-export-to VAL-DR-10"],
                ),
                ("host: a\nworkloadSelector: {matchLabels: {a: b}}", &[]),
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
        let tls = policy.settings.tls.as_ref().unwrap();
        assert_eq!(tls.mode.value, TlsMode::Simple);
        assert_eq!(tls.sni.as_ref().unwrap().value, "b.com");
        assert_eq!(tls.subject_alt_names.len(), 1);
        assert_eq!(tls.ca_certificates.as_ref().unwrap().value, "/ca.pem");
        assert!(!tls.insecure_skip_verify.unwrap().value);
        let port = &policy.port_level_settings[0];
        assert_eq!((port.port.value, port.settings.tls.as_ref().unwrap().mode.value), (80, TlsMode::Disable));
    }
}
