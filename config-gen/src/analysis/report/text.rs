//! For a person.

use super::Report;
use crate::diagnostic::Diagnostic;

pub(super) fn render(report: &Report<'_>, colour: bool) -> String {
    let one = |finding: &Diagnostic| match colour {
        true => finding.render_coloured(report.sources),
        false => finding.render(report.sources),
    };
    report.findings.iter().map(one).collect::<Vec<_>>().join("\n")
}
