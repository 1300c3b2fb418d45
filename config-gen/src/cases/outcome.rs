//! How tests ended, and the report on all of them.

use std::collections::BTreeSet;
use std::fmt;

use super::{CaseFile, EngineKind, Group, Mismatch, Test};
use crate::options::Profile;

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
        let runs = |test: &&Test| test.runs_in(engine);
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
        self.only_here += usize::from(test.only.as_ref().is_some_and(|(only, _)| *only == self.engine));
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

    /// Takes in that none of these tests could run.
    pub fn add_unusable<'t>(
        &mut self,
        group: &Group<'_>,
        tests: impl IntoIterator<Item = &'t Test>,
        why: &str,
    ) {
        let Group { file, profile, .. } = group;
        let mut failed = false;
        for test in tests {
            self.only_here += usize::from(test.only.as_ref().is_some_and(|(only, _)| *only == self.engine));
            let outcome = if let Some(reason) = &test.known_failure {
                self.known += 1;
                Outcome::KnownFailure(reason.clone())
            } else {
                failed = true;
                self.failed += 1;
                Outcome::Failed { mismatches: Vec::new(), why: why.to_owned() }
            };
            self.results.push(TestResult::new(file, *profile, test, outcome));
        }
        if !failed {
            return;
        }
        let why: Vec<String> = why.lines().map(|line| format!("  {line}")).collect();
        let title = format!("{}: all its tests ({profile}, {})", file.path, self.engine);
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
    use super::super::{Effects, Seen};
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
            effects: Box::default(),
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
            expect
                .compare(test, test.request.as_ref().unwrap(), seen)
                .iter()
                .map(Mismatch::to_string)
                .collect()
        };
        let refused = Seen::Answered {
            status: 502,
            reason: "r".to_owned(),
            body: String::new(),
            effects: Box::new(Effects::default()),
        };
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
            report.add(
                &files[0],
                profile,
                test,
                &expect.compare(test, test.request.as_ref().unwrap(), &seen),
                "why",
            );
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
        let group = &files[0].groups(EngineKind::Native, profile)[0];
        report.add_unusable(group, group.tests.iter().map(|(test, _)| *test), "broken");
        assert_eq!((report.known, report.failed, report.runs()), (2, 3, 6));
        assert_eq!(report.results.len(), report.runs());
    }
}
