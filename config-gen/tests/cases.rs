//! The cases of `testdata/`, natively; and the tables in `testdata/README.md`.
//!
//! To write the tables again, run
//!
//! ```text
//! UPDATE=1 cargo test -p portolan-config-gen --test cases
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use config_gen::cases::{self, CaseFile};
use config_gen::input::files;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("testdata")
}

fn load() -> Vec<CaseFile> {
    let sources = files::collect(&[folder()]).unwrap();
    let (files, diagnostics) = cases::load(&sources);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(&sources));
    files
}

#[test]
fn every_case_holds_natively() {
    let report = cases::run(&load());
    println!("{report}");
    assert!(report.failures.is_empty(), "{}\n\n{report}", report.failures.join("\n\n"));
}

/// Whether a service has a cluster of its own makes no difference to a request.
#[test]
fn every_case_holds_natively_on_shared_clusters() {
    let files: Vec<CaseFile> = load().into_iter().map(CaseFile::on_shared_clusters).collect();
    let report = cases::run(&files);
    println!("on shared clusters: {report}");
    assert!(report.failures.is_empty(), "{}\n\n{report}", report.failures.join("\n\n"));
}

#[test]
fn every_test_names_its_rules() {
    for file in load() {
        for test in &file.tests {
            assert!(!test.rules.is_empty(), "{}:{}: `rules` is missing", file.path, test.line);
        }
    }
}

/// A row's section, number and letter, in which rows are ordered; and the row.
fn key(row: &str) -> (&str, u32, &str) {
    let (section, number) = row.rsplit_once('-').unwrap();
    let digits = number.trim_end_matches(|c: char| c.is_ascii_lowercase());
    (section, digits.parse().unwrap(), row)
}

/// The tests that show a row, and those that show where it ends.
#[derive(Default)]
struct Shown {
    positive: Vec<String>,
    negative: Vec<String>,
}

fn shown(files: &[CaseFile]) -> BTreeMap<(&str, u32, &str), Shown> {
    let mut rows: BTreeMap<(&str, u32, &str), Shown> = BTreeMap::new();
    for file in files {
        let path = Path::new(&file.path).strip_prefix(folder()).unwrap().display().to_string();
        for test in &file.tests {
            for rule in &test.rules {
                let shown = rows.entry(key(&rule.id)).or_default();
                let list = if rule.negative { &mut shown.negative } else { &mut shown.positive };
                list.push(format!("[{path}]({path}): {}", test.name));
            }
        }
    }
    rows
}

/// What `testdata/rows.txt` says.
struct Rows {
    /// By section.
    sections: Vec<(String, Vec<String>)>,
    /// Rows that may be without a test, and why.
    reasons: BTreeMap<String, String>,
}

impl Rows {
    fn read() -> Self {
        let text = fs::read_to_string(folder().join("rows.txt")).unwrap();
        let mut rows = Self { sections: Vec::new(), reasons: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let mut list = line;
            if let Some((row, reason)) = line.split_once(" = ") {
                let twice = rows.reasons.insert(row.to_owned(), reason.to_owned());
                assert!(twice.is_none(), "{row} has two reasons");
                continue;
            }
            if let Some((section, rest)) = line.split_once(':') {
                rows.sections.push((section.to_owned(), Vec::new()));
                list = rest;
            }
            let (_, section) = rows.sections.last_mut().expect("a section");
            section.extend(list.split_whitespace().map(str::to_owned));
        }
        rows
    }
}

/// A vector is its own request and answer; a row says when something happens, and when it doesn't.
fn is_vector(row: &str) -> bool {
    row.starts_with("TV-")
}

#[test]
fn every_row_has_tests_or_a_reason() {
    let files = load();
    let shown = shown(&files);
    let Rows { sections, reasons } = Rows::read();
    let mut wrong = Vec::new();
    for (section, rows) in &sections {
        for row in rows {
            let none = Shown::default();
            let tests = shown.get(&key(row)).unwrap_or(&none);
            let positive = !tests.positive.is_empty();
            let complete = positive && (is_vector(row) || !tests.negative.is_empty());
            match (complete, reasons.get(row)) {
                (true, Some(reason)) => wrong.push(format!("{row} has tests; take out `{reason}`")),
                (false, None) if positive => {
                    wrong.push(format!("{row} (section {section}) has no test with `not {row}`"));
                }
                (false, None) => wrong.push(format!("{row} (section {section}) has no test")),
                _ => {}
            }
        }
    }
    let known = |row: &&String| sections.iter().any(|(_, rows)| rows.contains(row));
    wrong.extend(reasons.keys().filter(|row| !known(row)).map(|row| format!("{row} is no row")));
    let exceptions = reasons.keys().filter(|row| !is_vector(row)).count();
    if exceptions > 10 {
        wrong.push(format!("{exceptions} rows are without a test, more than ten"));
    }
    assert!(wrong.is_empty(), "see testdata/rows.txt:\n{}", wrong.join("\n"));
}

/// Row of the specification, and the tests that show it.
fn table(files: &[CaseFile]) -> String {
    let mut out = String::from("| Row | Shown by | Its end shown by |\n| --- | --- | --- |\n");
    for ((_, _, row), Shown { positive, negative }) in shown(files) {
        out.push_str(&format!("| {row} | {} | {} |\n", positive.join("<br>"), negative.join("<br>")));
    }
    out
}

fn exceptions() -> String {
    let reasons = Rows::read().reasons;
    let mut rows: Vec<&String> = reasons.keys().collect();
    rows.sort_by_key(|row| key(row));
    let mut out = String::from("| Row | Why |\n| --- | --- |\n");
    for row in rows {
        out.push_str(&format!("| {row} | {} |\n", reasons[row]));
    }
    out
}

/// `text` with what stands between the marks of `name` replaced.
fn with_block(text: &str, name: &str, content: &str) -> String {
    let marks = ["begin", "end"].map(|word| format!("<!-- {name}: {word} -->\n"));
    let (before, rest) = text.split_once(&marks[0]).expect("the beginning");
    let (_, after) = rest.split_once(&marks[1]).expect("the end");
    format!("{before}{}{content}{}{after}", marks[0], marks[1])
}

#[test]
fn the_tables_are_in_step() {
    let path = folder().join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let wanted = with_block(&text, "exceptions", &exceptions());
    let wanted = with_block(&wanted, "table", &table(&load()));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, wanted).unwrap();
    } else {
        assert!(
            text == wanted,
            "the tables in testdata/README.md are out of step; refresh them with UPDATE=1"
        );
    }
}
