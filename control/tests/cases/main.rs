//! The cases of `testdata/`, by what the package for JavaScript says in Node: its `explain` decides, and
//! its `generate` writes.
//!
//! The package is the one that `make control` builds.

mod package;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config_gen::cases::{
    self, CaseFile, EngineKind, Expect, Finding, Group, Mismatch, Report, Test, shares_mismatches,
};
use config_gen::input::files;
use config_gen::options::Profile;
use package::Package;
use serde_json::{Value, json};

const ENGINE: EngineKind = EngineKind::Package;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn load() -> Vec<CaseFile> {
    let sources = files::collect(&[root().join("testdata")]).unwrap();
    let (files, diagnostics) = cases::load(&sources);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(&sources));
    files
}

#[test]
fn every_case_holds_in_node() {
    let files = load();
    let mut package = Package::start();
    let mut report = Report::new(ENGINE, &files);
    for file in &files {
        for &profile in &file.profiles {
            for group in file.groups(ENGINE, profile) {
                run(&group, &mut package, &mut report);
            }
        }
    }
    println!("{report}");
    assert!(report.failures.is_empty(), "{}\n\n{report}", report.failures.join("\n\n"));

    // It runs what the native engine runs.
    let (native, here) = (runs(&files, EngineKind::Native), runs(&files, ENGINE));
    let missing: BTreeSet<&str> = native.difference(&here).map(|(_, name, _)| *name).collect();
    let refused = ["the method in lower case", "a byte that no name has"];
    assert_eq!(missing, BTreeSet::from(refused), "Envoy itself refuses these");
    assert!(here.is_subset(&native));
}

/// Path, name and profile of each test that `engine` runs.
fn runs(files: &[CaseFile], engine: EngineKind) -> BTreeSet<(&str, &str, String)> {
    let mut runs = BTreeSet::new();
    for file in files {
        for profile in [Profile::Istio, Profile::Standalone] {
            let names = file.selected(engine, profile).map(|(test, _)| test.name.as_str());
            runs.extend(names.map(|name| (file.path.as_str(), name, profile.to_string())));
        }
    }
    runs
}

/// Runs the tests of a group: one call of `generate` for what is generated, and one of `explain` for each
/// way to draw.
fn run(group: &Group<'_>, package: &mut Package, report: &mut Report) {
    let Group { file, setup, profile, tests } = group;
    let texts = match texts(group) {
        Ok(texts) => texts,
        Err(why) => return report.add_unusable(group, tests.iter().map(|(test, _)| *test), &why),
    };
    let mut options = options(&setup.options);
    options["profile"] = json!(profile.to_string());
    if let Some(text) = &setup.mesh_config {
        options["meshConfig"] = json!({"name": file.path, "text": text});
    }
    if setup.explicit_proxy {
        options["explicitProxy"] = json!("127.0.0.1:0");
    }
    if !setup.ports.is_empty() {
        options["listen"] = setup.ports.iter().map(|port| json!(format!("{port}=127.0.0.1:0"))).collect();
    }
    let mut asked: BTreeMap<Option<u64>, Vec<(&Test, &Expect)>> = BTreeMap::new();
    for (test, expect) in tests {
        match (expect, &test.request) {
            (Expect::Generated(_), _) | (_, None) => {}
            // From the shares that are told.
            (Expect::Shares(_), Some(_)) => asked.entry(None).or_default().push((test, expect)),
            (_, Some(request)) => asked.entry(Some(request.random)).or_default().push((test, expect)),
        }
    }
    let mut outcomes: BTreeMap<u32, (Vec<Mismatch>, String)> = BTreeMap::new();
    for (draw, tests) in asked {
        // Of a request in a tunnel: what becomes of the tunnel, and of the request.
        let questions: Vec<Vec<Value>> = tests.iter().map(|(test, _)| seen::questions(test)).collect();
        let mut options = options.clone();
        options["onlyProfile"] = json!(true);
        options["draw"] = json!(draw);
        let answer = package.call("explain", &[&texts, &json!(questions.concat()), &options]);
        let mut reports = answer["answers"].as_array().into_iter().flatten();
        for ((test, expect), questions) in tests.into_iter().zip(&questions) {
            let own: Vec<&Value> = reports.by_ref().take(questions.len()).collect();
            let report = match own[..] {
                [tunnel, inside] => seen::through(test, tunnel, inside),
                _ => own[0].clone(),
            };
            outcomes.insert(test.line, held_against(test, expect, &report, &answer));
        }
    }
    if tests.iter().any(|(_, expect)| matches!(expect, Expect::Generated(_))) {
        let mut options = options.clone();
        options["emit"] = json!(["envoy", "plugin-config"]);
        let answer = package.call("generate", &[&texts, &options]);
        let findings = Finding::of_report(&answer);
        let clusters = clusters(&answer);
        let cluster = |name: &str| clusters.iter().find(|cluster| cluster["name"] == name).cloned();
        for (test, expect) in tests {
            if let Expect::Generated(wanted) = expect {
                outcomes.insert(test.line, (wanted.compare(&findings, cluster), String::new()));
            }
        }
    }
    for (test, _) in tests {
        let (found, why) = &outcomes[&test.line];
        report.add(file, *profile, test, found, why);
    }
}

/// What of `expect` doesn't hold for what was answered.
fn held_against(test: &Test, expect: &Expect, report: &Value, all: &Value) -> (Vec<Mismatch>, String) {
    let Some(request) = &test.request else { return Default::default() };
    let answer = &report["answers"][0];
    if !answer["decision"].is_object() {
        let missing = Mismatch {
            field: "outcome".to_owned(),
            expected: expect.to_string(),
            got: "no answer".to_owned(),
        };
        let findings = Finding::of_report(all).into_iter().filter(Finding::is_error);
        let why: Vec<String> = findings.map(|finding| finding.to_string()).collect();
        return (vec![missing], if why.is_empty() { report.to_string() } else { why.join("\n") });
    }
    let mismatches = match expect {
        Expect::Shares(wanted) => shares_mismatches(wanted, &seen::shares(answer)),
        expect => expect.compare(test, request, &seen::seen(test, request, answer)),
    };
    (mismatches, report["text"].as_str().unwrap_or_default().to_owned())
}

/// What the package reads.
fn texts(group: &Group<'_>) -> Result<Value, String> {
    let sources = files::collect(&group.setup.files).map_err(|error| error.to_string())?;
    let files = sources.files().map(|file| (sources.name(file), sources.text(file)));
    let own = group.setup.resources.iter().map(|text| (group.file.path.as_str(), text.as_str()));
    Ok(files.chain(own).map(|(name, text)| json!({"name": name, "text": text})).collect())
}

/// Options as typed on the command line, as an object.
fn options(typed: &[String]) -> Value {
    let mut object = json!({});
    let mut words = typed.iter().peekable();
    while let Some(word) = words.next() {
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let mut name = name.trim_start_matches('-').split('-').map(str::to_owned);
        let first = name.next().unwrap();
        let rest = name.map(|part| part[..1].to_uppercase() + &part[1..]);
        let name = first + &rest.collect::<String>();
        let value = attached.or_else(|| words.next_if(|word| !word.starts_with("--")).cloned());
        match (name.as_str(), value) {
            ("accept" | "acceptIgnored" | "credential", value) => {
                let list = object[&name].as_array().cloned().unwrap_or_default();
                object[name] = list.into_iter().chain(value.map(Value::from)).collect();
            }
            ("clientLabels", Some(value)) => {
                for (key, value) in value.split(',').filter_map(|pair| pair.split_once('=')) {
                    object[&name][key] = json!(value);
                }
            }
            (_, Some(value)) if ["true", "false"].contains(&value.as_str()) => {
                object[name] = json!(value == "true");
            }
            (_, Some(value)) => object[name] = json!(value),
            (_, None) => object[name] = json!(true),
        }
    }
    object
}

/// The clusters of Envoy's configuration.
fn clusters(generated: &Value) -> Vec<Value> {
    let files = generated["files"].as_array().into_iter().flatten();
    let envoy = files.into_iter().find(|file| file["path"] == "envoy.yaml");
    let Some(text) = envoy.and_then(|file| file["content"].as_str()) else { return Vec::new() };
    let bootstrap: Value = serde_saphyr::from_str(text).expect("YAML of our own");
    bootstrap["static_resources"]["clusters"].as_array().cloned().unwrap_or_default()
}
