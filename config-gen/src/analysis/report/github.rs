//! Workflow commands of GitHub Actions, which shows them beside the lines of a pull request.

use super::Report;
use crate::diagnostic::{Diagnostic, Severity};

pub(super) fn render(report: &Report<'_>) -> String {
    report.findings.iter().map(|finding| command(report, finding)).collect()
}

fn command(report: &Report<'_>, finding: &Diagnostic) -> String {
    let name = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let mut properties = Vec::new();
    if let (Some(span), Some((file, line, column))) = (finding.span, report.place(finding)) {
        let end = report.sources.span(span.file, span.end as usize..span.end as usize);
        properties.push(format!("file={}", property(file)));
        properties.push(format!("line={line}"));
        properties.push(format!("endLine={}", end.line));
        // Columns count within one line alone.
        if end.line == line {
            properties.push(format!("col={column}"));
            properties.push(format!("endColumn={}", end.column));
        }
    }
    properties.push(format!("title={}", property(finding.code)));
    let resource = finding.resource.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let help = finding.way_out().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    let text = data(&format!("{resource}{}{help}", finding.message));
    format!("::{name} {}::{text}\n", properties.join(","))
}

/// What would end the command is written by its number.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
