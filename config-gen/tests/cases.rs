//! The cases of `testdata/`, natively; and the table in `testdata/README.md`.
//!
//! To write the table again, run
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

#[test]
fn every_test_names_its_rules() {
    for file in load() {
        for test in &file.tests {
            assert!(!test.rules.is_empty(), "{}:{}: `rules` is missing", file.path, test.line);
        }
    }
}

/// Row of the specification, and the tests that show it.
fn table(files: &[CaseFile]) -> String {
    let mut rows: BTreeMap<(&str, u32, &str), Vec<String>> = BTreeMap::new();
    for file in files {
        let path = Path::new(&file.path).strip_prefix(folder()).unwrap().display().to_string();
        for test in &file.tests {
            for rule in &test.rules {
                let (section, number) = rule.id.rsplit_once('-').unwrap();
                let digits = number.trim_end_matches(|c: char| c.is_ascii_lowercase());
                let key = (section, digits.parse().unwrap(), rule.id.as_str());
                rows.entry(key).or_default().push(format!("[{path}]({path}): {}", test.name));
            }
        }
    }
    let mut out = String::from("| Row | Tests |\n| --- | --- |\n");
    for ((_, _, rule), tests) in rows {
        out.push_str(&format!("| {rule} | {} |\n", tests.join("<br>")));
    }
    out
}

const BEGIN: &str = "<!-- table: begin -->\n";
const END: &str = "<!-- table: end -->\n";

#[test]
fn the_table_is_in_step() {
    let path = folder().join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table's beginning");
    let (_, after) = rest.split_once(END).expect("the table's end");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table(&load()));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, wanted).unwrap();
    } else {
        assert!(text == wanted, "the table in testdata/README.md is out of step; refresh it with UPDATE=1");
    }
}
