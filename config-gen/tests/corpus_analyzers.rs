//! What Istio's own analyzers find in their examples, and what we do.
//!
//! The corpus (see `corpus.rs`) has some of the files that Istio tests its analyzers with. Which codes
//! it expects of which objects stands here, out of the tests of those analyzers and the verdicts of
//! the corpus's table. To see all of it:
//!
//! ```text
//! PORTOLAN_CORPUS=DIR cargo test -p portolan-config-gen --test corpus_analyzers -- --nocapture
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use config_gen::analysis::{analyze, messages};
use config_gen::diagnostic::{Diagnostic, Severity};
use config_gen::input::{ReadOptions, read};
use config_gen::options::{Options, Profile};
use config_gen::source::Sources;

/// How many of a hundred have to agree.
const ENOUGH: usize = 90;

/// A file, an object in it, Istio's code for it, and why ours may differ.
type Expected = (&'static str, &'static str, &'static str, Option<&'static str>);

const EXPECTED: [Expected; 14] = [
    ("istio-analyzers/deprecation.yaml", "VirtualService foo/productpage", "IST0002", None),
    // A route without a destination.
    ("istio-analyzers/deprecation.yaml", "VirtualService foo/productpage", "IST0106", None),
    ("istio-analyzers/deprecation.yaml", "Sidecar default/no-selector", "IST0002", None),
    // Of releases that still had the kind.
    ("istio-analyzers/deprecation.yaml", "QuotaSpec istio-system/request-count", "IST0002", None),
    (
        "istio-analyzers/destinationrule-compound-simple-mutual.yaml",
        "DestinationRule default/db-mtls",
        "IST0128",
        None,
    ),
    (
        "istio-analyzers/destinationrule-compound-simple-mutual.yaml",
        "DestinationRule default/db-mtls",
        "IST0129",
        None,
    ),
    (
        "istio-analyzers/serviceentry-address-required-lowercase.yaml",
        "ServiceEntry default/address-missing-lowercase",
        "IST0134",
        None,
    ),
    (
        "istio-analyzers/virtualservice_dupmatches__part1.yaml",
        "VirtualService foo/sample-foo-cluster01",
        "IST0130",
        None,
    ),
    (
        "istio-analyzers/virtualservice_dupmatches__part1.yaml",
        "VirtualService default/almost-duplicate-match",
        "IST0131",
        None,
    ),
    (
        "istio-analyzers/virtualservice_dupmatches__part1.yaml",
        "VirtualService default/duplicate-empty-tcp",
        "IST0130",
        None,
    ),
    (
        "istio-analyzers/virtualservice_dupmatches__part1.yaml",
        "VirtualService none/tls-routing",
        "IST0130",
        None,
    ),
    (
        "istio-analyzers/virtualservice_dupmatches__part1.yaml",
        "VirtualService none/tls-routing",
        "IST0131",
        None,
    ),
    (
        "istio-analyzers/virtualservice_internal_gateway_ref.yaml",
        "VirtualService default/httpbin",
        "IST0165",
        None,
    ),
    // Its gateway has a name that the webhook refuses.
    (
        "istio-analyzers/virtualservice_internal_gateway_ref.yaml",
        "VirtualService default/httpbin",
        "IST0106",
        None,
    ),
];

/// Codes that Istio's test of the file looks for: it gives no others of these. Other analyzers, such
/// as those for missing hosts, don't run there.
const LOOKED_FOR: [(&str, &[&str]); 7] = [
    ("istio-analyzers/deprecation.yaml", &["IST0002", "IST0106"]),
    ("istio-analyzers/destinationrule-compound-simple-mutual.yaml", &["IST0128", "IST0129", "IST0106"]),
    (
        "istio-analyzers/destinationrule-simple-port-credentialname-selector.yaml",
        &["IST0128", "IST0129", "IST0106"],
    ),
    ("istio-analyzers/serviceentry-address-required-lowercase.yaml", &["IST0134", "IST0106"]),
    ("istio-analyzers/virtualservice_dupmatches__part1.yaml", &["IST0130", "IST0131", "IST0106"]),
    ("istio-analyzers/virtualservice_internal_gateway_ref.yaml", &["IST0165", "IST0106"]),
    ("istio-validation/networking-v1beta1-ServiceEntry.yaml", &["IST0106", "IST0133"]),
];

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("PORTOLAN_CORPUS").map(PathBuf::from).filter(|path| path.is_dir());
    if folder.is_none() {
        println!("skipped: PORTOLAN_CORPUS does not name a folder of Istio configuration");
    }
    folder
}

/// Istio's codes for the port level and for the destination level are one of ours, told apart by the
/// field.
fn is_called(finding: &Diagnostic, istio: &str) -> bool {
    let at_port = finding.field.as_deref().is_some_and(|field| field.contains("portLevelSettings"));
    match istio {
        "IST0128" if at_port => false,
        "IST0129" if !at_port => false,
        _ => messages::istio_codes(finding).contains(&istio),
    }
}

#[test]
fn istio_and_we_find_the_same() {
    let Some(corpus) = corpus() else { return };
    let (mut rows, mut agree, mut wrong) = (0, 0, Vec::new());
    println!("| file | object | Istio | ours | agree |\n| --- | --- | --- | --- | --- |");
    for (file, looked_for) in LOOKED_FOR {
        let mut sources = Sources::new();
        sources.add(file, fs::read_to_string(corpus.join(file)).unwrap());
        // Kinds that concern other parts of a mesh are left out.
        let accept_ignored = vec!["EnvoyFilter".to_owned()];
        let read = read(sources, &ReadOptions { accept_ignored, ..ReadOptions::default() });
        let options = Options { profile: Profile::Istio, ..Options::default() };
        let found = analyze(&read, &options);
        let by_choice =
            |finding: &Diagnostic| finding.severity == Severity::Error && finding.code == "not-supported";
        let found: Vec<&Diagnostic> = found.iter().filter(|finding| !by_choice(finding)).collect();
        let mut row = |object: &str, istio: &str, ours: &str, agrees: bool, why: Option<&str>| {
            rows += 1;
            agree += usize::from(agrees);
            let name = file.rsplit('/').next().unwrap();
            println!(
                "| {name} | {object} | {istio} | {ours} | {} |",
                if agrees { "yes" } else { why.unwrap_or("no") }
            );
            if !agrees && why.is_none() {
                wrong.push(format!("{file}: {object}: Istio {istio}, ours {ours}"));
            }
        };
        let mut called: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (_, object, istio, why) in EXPECTED.iter().filter(|(other, ..)| *other == file) {
            let ours = found
                .iter()
                .find(|finding| finding.resource.as_deref() == Some(*object) && is_called(finding, istio));
            called.insert((object, istio));
            row(object, istio, ours.map_or("nothing", |ours| ours.code), ours.is_some(), *why);
        }
        for istio in looked_for {
            for ours in found.iter().filter(|finding| is_called(finding, istio)) {
                let object = ours.resource.as_deref().unwrap_or_default();
                if called.insert((object, istio)) {
                    row(object, "nothing", ours.code, false, None);
                }
            }
        }
        if EXPECTED.iter().all(|(other, ..)| *other != file) {
            let ours = found.iter().find(|finding| looked_for.iter().any(|istio| is_called(finding, istio)));
            row("all", "nothing", ours.map_or("nothing", |ours| ours.code), ours.is_none(), None);
        }
    }
    println!("{agree} of {rows} agree");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(agree * 100 >= rows * ENOUGH, "{agree} of {rows}");
}

/// Whatever is found in the wild, the analysis comes to an end, and soon.
#[test]
fn every_file_is_analyzed() {
    let Some(corpus) = corpus() else { return };
    let (mut files, mut findings, mut longest) = (0, 0, (Duration::ZERO, PathBuf::new()));
    for entry in fs::read_dir(&corpus).unwrap() {
        let Ok(folder) = fs::read_dir(entry.unwrap().path()) else { continue };
        for path in folder.map(|entry| entry.unwrap().path()) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for profile in [Profile::Standalone, Profile::Istio] {
                let mut sources = Sources::new();
                sources.add(path.display().to_string(), text.as_str());
                let read = read(sources, &ReadOptions::default());
                let start = Instant::now();
                findings += analyze(&read, &Options { profile, ..Options::default() }).len();
                longest = longest.max((start.elapsed(), path.clone()));
            }
            files += 1;
        }
    }
    println!("{files} files, {findings} findings, at most {:?} ({})", longest.0, longest.1.display());
    assert!(files > 0 && longest.0 < Duration::from_secs(2));
}
