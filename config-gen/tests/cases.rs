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

use config_gen::cases::{self, CaseFile, EngineKind, Group, Seen};
use config_gen::explain::{self, Found};
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

/// What `explain` says is what happens, and has a place.
#[test]
fn every_case_is_explained_as_it_is_decided() {
    let mut explained = 0;
    for file in load() {
        for &profile in &file.profiles {
            for group in file.groups(EngineKind::Native, profile) {
                explained += group_is_explained(&group);
            }
        }
    }
    assert!(explained > 600, "{explained}");
}

fn group_is_explained(group: &Group<'_>) -> usize {
    let Group { file, setup, profile, tests } = group;
    let prepared = cases::prepare(&file.path, setup, *profile).unwrap();
    let Ok(plan) = prepared.plan() else { return 0 };
    let config = plan.proxy_config(&prepared.options);
    let mut explained = 0;
    for (test, _) in tests {
        let Some(request) = test.request.as_ref().filter(|_| test.tls.is_none()) else { continue };
        let explanation = explain::explain(&config, Some(plan), Some(*profile), request).unwrap();
        let at = format!("{}:{}", file.path, test.line);
        let decided = prepared.decide(test, request).unwrap().0;
        if decided != Seen::Closed {
            assert_eq!(explanation.seen.to_string(), decided.to_string(), "{at}");
        }
        if let Found::VirtualHost { named, .. } = &explanation.virtual_host {
            assert!(named.span.is_some(), "{at}: {}", named.name);
            let routes = explanation.route.iter().chain(explanation.lost.iter().map(|lost| &lost.route));
            for route in routes.filter(|_| named.name.starts_with("VirtualService ")) {
                assert!(route.span.is_some(), "{at}: {}", route.name);
            }
        }
        for lost in &explanation.lost {
            assert!(!lost.wanted.is_empty(), "{at}: {lost:?}");
        }
        explained += 1;
    }
    explained
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
