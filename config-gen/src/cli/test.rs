//! `config-gen test`: cases natively, and the report in several forms.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::arguments::{Test, TestFormat};
use super::{Status, print, read_sources};
use crate::cases::{self, CaseFile, EngineKind, Mismatch, Outcome, Report, TestResult};
use crate::xml::escape;

pub(super) fn run(arguments: &Test) -> Status {
    let sources = match read_sources(&arguments.files) {
        Ok(sources) => sources,
        Err(status) => return status,
    };
    let (files, diagnostics) = cases::load(&sources);
    if !diagnostics.is_empty() {
        eprint!("{}", diagnostics.render(&sources));
    }
    if diagnostics.has_errors() {
        return Status::Unreadable;
    }
    let report = cases::run(&files);
    let left_out =
        files.iter().flat_map(|file| &file.tests).filter(|test| !test.runs_in(EngineKind::Native)).count();
    if left_out > 0 {
        let (tests, were) = if left_out == 1 { ("test", "was") } else { ("tests", "were") };
        eprintln!("note: {left_out} {tests} that only Envoy can run {were} left out");
    }
    let data = match arguments.output {
        TestFormat::Text => text(&report),
        TestFormat::Json => format!("{:#}\n", json_report(&report)),
        TestFormat::Junit => junit(&files, &report),
    };
    if arguments.output != TestFormat::Text {
        eprintln!("{report}");
    }
    match print(&data) {
        Err(status) => status,
        Ok(()) if report.failed > 0 => Status::Findings,
        Ok(()) => Status::Done,
    }
}

fn text(report: &Report) -> String {
    let failures = report.failures.iter().map(|failure| format!("{failure}\n\n"));
    failures.chain([format!("{report}\n")]).collect()
}

fn json_report(report: &Report) -> Value {
    let mismatch = |mismatch: &Mismatch| {
        let Mismatch { field, expected, got } = mismatch;
        json!({"field": field, "expected": expected, "got": got})
    };
    let test = |result: &TestResult| {
        let TestResult { path, line, name, profile, outcome } = result;
        let mut test = json!({"file": path, "line": line, "name": name, "profile": profile.to_string()});
        match outcome {
            Outcome::Passed => test["outcome"] = json!("passed"),
            Outcome::KnownFailure(reason) => {
                test["outcome"] = json!("known_failure");
                test["why"] = json!(reason);
            }
            Outcome::Failed { mismatches, why } => {
                test["outcome"] = json!("failed");
                test["mismatches"] = mismatches.iter().map(mismatch).collect();
                test["why"] = json!(why);
            }
        }
        test
    };
    json!({
        "passed": report.passed,
        "knownFailures": report.known,
        "failed": report.failed,
        "tests": report.results.iter().map(test).collect::<Value>(),
    })
}

/// A suite for each file. There are no times, so that equal runs give equal bytes.
fn junit(files: &[CaseFile], report: &Report) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string can't fail.
    let _ = writeln!(
        out,
        "<testsuites tests=\"{}\" failures=\"{}\" skipped=\"{}\">",
        report.runs(),
        report.failed,
        report.known
    );
    for file in files {
        let results: Vec<&TestResult> =
            report.results.iter().filter(|result| result.path == file.path).collect();
        let count =
            |wanted: fn(&Outcome) -> bool| results.iter().filter(|result| wanted(&result.outcome)).count();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" file=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">",
            escape(&file.name),
            escape(&file.path),
            results.len(),
            count(|outcome| matches!(outcome, Outcome::Failed { .. })),
            count(|outcome| matches!(outcome, Outcome::KnownFailure(_))),
        );
        for result in results {
            test_case(&mut out, result);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn test_case(out: &mut String, result: &TestResult) {
    let TestResult { path, line, name, profile, outcome } = result;
    let _ = write!(
        out,
        "    <testcase name=\"{} ({profile})\" classname=\"{path}\" file=\"{path}\" line=\"{line}\"",
        escape(name),
        path = escape(path),
    );
    let _ = match outcome {
        Outcome::Passed => writeln!(out, "/>"),
        Outcome::KnownFailure(reason) => {
            writeln!(
                out,
                ">\n      <skipped message=\"known to fail: {}\"/>\n    </testcase>",
                escape(reason)
            )
        }
        Outcome::Failed { mismatches, why } => {
            let lines: Vec<String> = mismatches.iter().map(Mismatch::to_string).collect();
            let first = lines.first().map_or_else(|| why.lines().next().unwrap_or_default(), String::as_str);
            let all = lines.iter().map(String::as_str).chain(why.lines()).collect::<Vec<_>>().join("\n");
            writeln!(
                out,
                ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
                escape(first),
                escape(&format!("{path}:{line}: {name} ({profile})\n{all}")),
            )
        }
    };
}
