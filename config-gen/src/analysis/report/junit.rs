//! JUnit's XML: a suite for each file, a test for each finding. Errors and warnings have failed,
//! notes have passed and say something.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Report;
use crate::diagnostic::{Diagnostic, Severity};
use crate::xml::escape;

pub(super) fn render(report: &Report<'_>) -> String {
    let mut suites: BTreeMap<&str, Vec<&Diagnostic>> =
        report.sources.files().map(|file| (report.sources.name(file), Vec::new())).collect();
    for finding in report.findings {
        let file = report.place(finding).map_or("input", |(file, _, _)| file);
        suites.entry(file).or_default().push(finding);
    }
    let failed = |finding: &&&Diagnostic| finding.severity != Severity::Note;
    let tests: usize = suites.values().map(|findings| findings.len().max(1)).sum();
    let failures = report.findings.iter().filter(|finding| failed(&finding)).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string can't fail.
    let _ = writeln!(
        out,
        "<testsuites name=\"config-gen validate, profile {}\" tests=\"{tests}\" failures=\"{failures}\">",
        report.profile
    );
    for (file, findings) in suites {
        let failures = findings.iter().filter(failed).count();
        let name = escape(file);
        let tests = findings.len().max(1);
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" file=\"{name}\" tests=\"{tests}\" failures=\"{failures}\">"
        );
        if findings.is_empty() {
            let _ = writeln!(out, "    <testcase name=\"nothing found\" classname=\"{name}\"/>");
        }
        for finding in findings {
            case(&mut out, report, finding, &name);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn case(out: &mut String, report: &Report<'_>, finding: &Diagnostic, file: &str) {
    let about = finding.resource.as_deref().unwrap_or_default();
    let field = finding.field.as_deref().map(|field| format!(" {field}")).unwrap_or_default();
    let line = report.place(finding).map(|(_, line, _)| format!(" line=\"{line}\"")).unwrap_or_default();
    let name = format!("{}: {about}{field}", finding.code);
    let _ = write!(out, "    <testcase name=\"{}\" classname=\"{file}\"{line}>\n      ", escape(name.trim()));
    let text = escape(&finding.render(report.sources));
    let _ = match finding.severity {
        Severity::Note => writeln!(out, "<system-out>{text}</system-out>"),
        severity => writeln!(
            out,
            "<failure type=\"{severity}\" message=\"{}\">{text}</failure>",
            escape(&finding.message)
        ),
    };
    out.push_str("    </testcase>\n");
}
