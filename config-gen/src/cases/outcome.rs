//! What came of a test, in any engine, and the report on all of them.

use std::collections::BTreeSet;
use std::fmt;

use super::{CaseFile, EngineKind, Expect, Request, Test};
use crate::options::Profile;

/// What an engine did with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Sent on. What is none can't be told by this engine.
    Forwarded {
        /// The cluster.
        cluster: Option<String>,
        /// The authority behind the filter.
        authority: Vec<u8>,
        /// The path behind the filter.
        path: Vec<u8>,
        /// Host and port where they came from the request.
        dials: Option<String>,
        /// The status in the end.
        status: Option<u16>,
        /// The headers that the upstream saw.
        headers: Option<Vec<(String, Vec<u8>)>>,
    },
    /// Answered.
    Answered {
        /// The status.
        status: u16,
        /// Why.
        reason: String,
        /// The whole body.
        body: String,
    },
    /// The connection was closed without an answer.
    Closed,
}

/// A part of an expectation that didn't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Which part, as the case file calls it.
    pub field: String,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.field, self.expected, self.got)
    }
}

impl Expect {
    /// What of it doesn't hold for `seen`, which came of `request`.
    pub fn compare(&self, request: &Request, seen: &Seen) -> Vec<Mismatch> {
        let mut found = Vec::new();
        let mut check = |field: &str, expected: String, got: String| {
            if expected != got {
                found.push(Mismatch { field: field.to_owned(), expected, got });
            }
        };
        let bytes = |bytes: &[u8]| bytes.escape_ascii().to_string();
        match (self, seen) {
            (
                Self::Forward { cluster, authority, path, dials, status, headers },
                Seen::Forwarded {
                    cluster: seen_cluster,
                    authority: seen_authority,
                    path: seen_path,
                    dials: seen_dials,
                    status: seen_status,
                    headers: seen_headers,
                },
            ) => {
                if let Some(seen) = seen_cluster {
                    check("cluster", cluster.clone(), seen.clone());
                }
                check(
                    "authority",
                    bytes(authority.as_ref().unwrap_or(&request.authority)),
                    bytes(seen_authority),
                );
                check("path", bytes(path.as_ref().unwrap_or(&request.path)), bytes(seen_path));
                if dials.is_some() {
                    let text = |dials: &Option<String>| dials.clone().unwrap_or_else(|| "nothing".to_owned());
                    check("dials", text(dials), text(seen_dials));
                }
                if let Some(seen) = seen_status {
                    check("status", status.unwrap_or(200).to_string(), seen.to_string());
                }
                for (name, value) in headers {
                    // An upstream that wasn't reached saw none.
                    let lines = seen_headers.iter().flatten().filter(|(seen, _)| seen == name);
                    let lines: Vec<&[u8]> = lines.map(|(_, value)| value.as_slice()).collect();
                    let text = |value: Option<&[u8]>| value.map_or_else(|| "(none)".to_owned(), bytes);
                    let seen = (!lines.is_empty()).then(|| lines.join(&b','));
                    check(&format!("headers.{name}"), text(value.as_deref()), text(seen.as_deref()));
                }
            }
            (
                Self::Respond { status, reason, body },
                Seen::Answered { status: seen_status, reason: seen_reason, body: seen_body },
            ) => {
                check("status", status.to_string(), seen_status.to_string());
                if let Some(reason) = reason {
                    check("reason", reason.clone(), seen_reason.clone());
                }
                if let Some(body) = body {
                    check("body", format!("{body:?}"), format!("{seen_body:?}"));
                }
            }
            (Self::Closed, Seen::Closed) => {}
            _ => check("outcome", self.to_string(), seen.to_string()),
        }
        found
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward { cluster, .. } => write!(f, "forwarded to {cluster}"),
            Self::Respond { status, reason: Some(reason), .. } => write!(f, "answered {status} ({reason})"),
            Self::Respond { status, .. } => write!(f, "answered {status}"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded { cluster, .. } => {
                write!(f, "forwarded to {}", cluster.as_deref().unwrap_or("a cluster that isn't there"))
            }
            Self::Answered { status, reason, .. } => write!(f, "answered {status} ({reason})"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

/// What came of a test in one profile.
#[derive(Debug, Clone)]
pub struct TestResult {
    /// The case file, as it was given.
    pub path: String,
    /// The line on which the test begins.
    pub line: u32,
    /// The test.
    pub name: String,
    /// The profile it ran in.
    pub profile: Profile,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As expected.
    Passed,
    /// It failed, as it is known to, for this reason.
    KnownFailure(String),
    /// Otherwise than expected.
    Failed {
        /// What doesn't hold; empty where nothing could be compared.
        mismatches: Vec<Mismatch>,
        /// What else there is to say, perhaps in several lines; may be empty.
        why: String,
    },
}

/// How a run went.
#[derive(Debug, Clone)]
pub struct Report {
    engine: EngineKind,
    files: usize,
    tests: usize,
    profiles: BTreeSet<String>,
    /// How many tests passed, each profile counted.
    pub passed: usize,
    /// How many failed as they are known to.
    pub known: usize,
    /// How many of the above this engine alone can run.
    pub only_here: usize,
    /// How many failed.
    pub failed: usize,
    /// What failed, ready to print.
    pub failures: Vec<String>,
    /// Every test that was run, in order.
    pub results: Vec<TestResult>,
}

impl TestResult {
    fn new(file: &CaseFile, profile: Profile, test: &Test, outcome: Outcome) -> Self {
        Self { path: file.path.clone(), line: test.line, name: test.name.clone(), profile, outcome }
    }
}

impl Report {
    /// An empty report on `files`.
    pub fn new(engine: EngineKind, files: &[CaseFile]) -> Self {
        let profiles = [Profile::Istio, Profile::Standalone];
        let runs = |test: &&Test| test.engines.contains(&engine);
        Self {
            engine,
            files: files.len(),
            tests: files.iter().flat_map(|file| &file.tests).filter(runs).count(),
            profiles: profiles
                .into_iter()
                .filter(|profile| files.iter().any(|file| file.selected(engine, *profile).next().is_some()))
                .map(|profile| profile.to_string())
                .collect(),
            passed: 0,
            known: 0,
            only_here: 0,
            failed: 0,
            failures: Vec::new(),
            results: Vec::new(),
        }
    }

    /// Takes in what came of one test. `why` explains a failure; it may be empty.
    pub fn add(&mut self, file: &CaseFile, profile: Profile, test: &Test, found: &[Mismatch], why: &str) {
        self.only_here += usize::from(test.engines.len() == 1);
        let title = format!("{}:{}: {} ({profile}, {})", file.path, test.line, test.name, self.engine);
        let outcome = match (&test.known_failure, found.is_empty()) {
            (None, true) => {
                self.passed += 1;
                Outcome::Passed
            }
            (Some(reason), false) => {
                self.known += 1;
                Outcome::KnownFailure(reason.clone())
            }
            (Some(reason), true) => {
                self.failed += 1;
                let why = format!("passes, though it is known to fail; take out `known_failure: {reason}`");
                self.failures.push(format!("{title}\n  {why}"));
                Outcome::Failed { mismatches: Vec::new(), why }
            }
            (None, false) => {
                self.failed += 1;
                let mut lines = vec![title];
                lines.extend(found.iter().map(|mismatch| format!("  {mismatch}")));
                lines.extend(why.lines().map(|line| format!("  {line}")));
                self.failures.push(lines.join("\n"));
                Outcome::Failed { mismatches: found.to_vec(), why: why.to_owned() }
            }
        };
        self.results.push(TestResult::new(file, profile, test, outcome));
    }

    /// Takes in that no test of a file could run in `profile`.
    pub fn add_unusable(&mut self, file: &CaseFile, profile: Profile, why: &str) {
        let engine = self.engine;
        let tests = || file.selected(engine, profile).map(|(test, _)| test);
        self.failed += tests().count();
        for test in tests() {
            let outcome = Outcome::Failed { mismatches: Vec::new(), why: why.to_owned() };
            self.results.push(TestResult::new(file, profile, test, outcome));
        }
        self.only_here += tests().filter(|test| test.engines.len() == 1).count();
        let why: Vec<String> = why.lines().map(|line| format!("  {line}")).collect();
        let title = format!("{}: all tests ({profile}, {})", file.path, self.engine);
        self.failures.push(format!("{title}\n{}", why.join("\n")));
    }

    /// How many tests were run, each profile counted.
    pub fn runs(&self) -> usize {
        self.passed + self.known + self.failed
    }
}

/// The summary line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count =
            |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        write!(
            f,
            "cases: {} in {}, {}: {} passed",
            count(self.tests, "test"),
            count(self.files, "file"),
            count(self.profiles.len(), "profile"),
            self.passed
        )?;
        for (number, what) in [(self.known, "known to fail"), (self.failed, "failed")] {
            if number > 0 {
                write!(f, ", {number} {what}")?;
            }
        }
        if self.only_here > 0 {
            write!(f, " ({} in {} only)", self.only_here, self.engine)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;

    const CASE: &str = r#"
name: one
resources: "a: b"
tests:
- name: forward
  rules: [VH-01]
  request: {url: http://a/x}
  expect: {cluster: c, path: /y}
- name: refuse
  rules: [VH-01]
  request: {url: http://a/}
  expect: {status: 502, reason: r}
  known_failure: soon
"#;

    fn forwarded(cluster: &str, path: &str, authority: &str) -> Seen {
        Seen::Forwarded {
            cluster: Some(cluster.to_owned()),
            authority: authority.into(),
            path: path.into(),
            dials: None,
            status: None,
            headers: None,
        }
    }

    #[test]
    fn every_part_that_differs_is_told() {
        let mut sources = Sources::new();
        sources.add("a.yaml", CASE);
        let (files, _) = super::super::load(&sources);
        let profile = Profile::Istio;
        let tests: Vec<_> = files[0].selected(EngineKind::Native, profile).collect();
        let found = |index: usize, seen: &Seen| -> Vec<String> {
            let (test, expect) = tests[index];
            expect.compare(&test.request, seen).iter().map(Mismatch::to_string).collect()
        };
        let refused = Seen::Answered { status: 502, reason: "r".to_owned(), body: String::new() };
        assert!(found(0, &forwarded("c", "/y", "a")).is_empty() && found(1, &refused).is_empty());
        assert_eq!(
            found(0, &forwarded("d", "/x", "b")),
            ["cluster: expected c, got d", "authority: expected a, got b", "path: expected /y, got /x"]
        );
        assert_eq!(found(0, &refused), ["outcome: expected forwarded to c, got answered 502 (r)"]);
        assert_eq!(found(1, &Seen::Closed), ["outcome: expected answered 502 (r), got closed"]);

        let mut report = Report::new(EngineKind::Native, &files);
        for (index, seen) in
            [(0, forwarded("c", "/y", "a")), (0, refused.clone()), (1, Seen::Closed), (1, refused)]
        {
            let (test, expect) = tests[index];
            report.add(&files[0], profile, test, &expect.compare(&test.request, &seen), "why");
        }
        assert_eq!(
            report.to_string(),
            "cases: 2 tests in 1 file, 2 profiles: 1 passed, 1 known to fail, 2 failed"
        );
        assert_eq!(
            report.failures,
            [
                "a.yaml:5: forward (istio, native)\n  outcome: expected forwarded to c, got answered 502 (r)\n  why",
                "a.yaml:9: refuse (istio, native)\n  passes, though it is known to fail; take out `known_failure: soon`"
            ]
        );
        report.add_unusable(&files[0], profile, "broken");
        assert_eq!((report.failed, report.runs()), (4, 6));
        assert_eq!(report.results.len(), report.runs());
    }
}
