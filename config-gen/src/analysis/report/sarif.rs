//! SARIF 2.1.0: rules, and results that refer to them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Report, page};
use crate::analysis::messages;
use crate::diagnostic::{Diagnostic, Severity};
use crate::source::Span;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

pub(super) fn render(report: &Report<'_>) -> String {
    // In the order of their codes; results refer to them by their place.
    let mut rules: BTreeMap<&str, usize> = report.findings.iter().map(|one| (one.code, 0)).collect();
    rules.values_mut().enumerate().for_each(|(index, place)| *place = index);
    let results = report.findings.iter().map(|one| result(report, one, rules.get(one.code).copied()));
    let value = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "config-gen",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.keys().map(|code| rule(code)).collect::<Value>(),
            }},
            "columnKind": "unicodeCodePoints",
            "properties": {
                "profile": report.profile.to_string(),
                "clientNamespace": report.client_namespace,
            },
            "results": results.collect::<Value>(),
        }],
    });
    format!("{value:#}\n")
}

fn rule(code: &str) -> Value {
    let mut rule = json!({"id": code});
    if let Some(message) = messages::find(code) {
        rule["shortDescription"] = json!({"text": format!("{}.", message.title)});
        rule["fullDescription"] = json!({"text": message.why});
        rule["help"] = json!({"text": format!("{}.", message.way_out)});
        rule["defaultConfiguration"] = json!({"level": level(message.severity)});
        if !message.istio.is_empty() {
            rule["properties"] = json!({"tags": message.istio});
        }
    }
    if let Some(page) = page(code) {
        rule["helpUri"] = json!(page);
    }
    rule
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn result(report: &Report<'_>, one: &Diagnostic, rule: Option<usize>) -> Value {
    let help = one.way_out().map(|help| format!("; {help}")).unwrap_or_default();
    let mut result = json!({
        "ruleId": one.code,
        "level": level(one.severity),
        "message": {"text": format!("{}{help}", one.message)},
    });
    if let Some(rule) = rule {
        result["ruleIndex"] = json!(rule);
    }
    if let Some(span) = one.span {
        let mut location = json!({"physicalLocation": physical(report, span)});
        if let Some(resource) = &one.resource {
            let path =
                one.field.as_ref().map_or_else(|| resource.clone(), |field| format!("{resource}: {field}"));
            location["logicalLocations"] = json!([{"fullyQualifiedName": path, "kind": "resource"}]);
        }
        result["locations"] = json!([location]);
    }
    if !one.related.is_empty() {
        let related = one.related.iter().enumerate().map(|(id, (words, span))| {
            json!({"id": id, "message": {"text": words}, "physicalLocation": physical(report, *span)})
        });
        result["relatedLocations"] = related.collect();
    }
    result
}

fn physical(report: &Report<'_>, span: Span) -> Value {
    let end = report.sources.span(span.file, span.end as usize..span.end as usize);
    json!({
        "artifactLocation": {"uri": uri(report.sources.name(span.file))},
        "region": {
            "startLine": span.line,
            "startColumn": span.column,
            "endLine": end.line,
            "endColumn": end.column.max(1),
        },
    })
}

/// A path as a reference: what a URI can't hold is written by its bytes.
fn uri(name: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    let write = |byte: u8| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.trim_start_matches("./").bytes().map(write).collect()
}
