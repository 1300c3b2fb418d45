//! For programs.

use serde_json::{Value, json};

use super::Report;
use crate::analysis::messages;
use crate::diagnostic::{Diagnostic, Severity};
use crate::report::finding;

/// Version of the form.
const VERSION: u32 = 1;

pub(super) fn render(report: &Report<'_>) -> String {
    let one = |one: &Diagnostic| {
        let mut value = finding(one, report.sources);
        let istio = messages::istio_codes(one);
        if !istio.is_empty() {
            value["istio"] = json!(istio);
        }
        if let Some(message) = messages::find(one.code) {
            value["page"] = json!(message.page());
        }
        if let Some(span) = one.span {
            let end = report.sources.span(span.file, span.end as usize..span.end as usize);
            value["endLine"] = json!(end.line);
            value["endColumn"] = json!(end.column);
        }
        value
    };
    let value = json!({
        "version": VERSION,
        "profile": report.profile.to_string(),
        "clientNamespace": report.client_namespace,
        "counts": {
            "errors": report.findings.count(Severity::Error),
            "warnings": report.findings.count(Severity::Warning),
            "notes": report.findings.count(Severity::Note),
            "suppressed": report.suppressed,
        },
        "findings": report.findings.iter().map(one).collect::<Value>(),
    });
    format!("{value:#}\n")
}
