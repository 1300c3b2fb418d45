//! Gateways found in the wild: each is generated for, or an error says how to go on.
//!
//! As `corpus.rs`, with the folder that `PORTOLAN_CORPUS` names; without it the test is skipped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use config_gen::diagnostic::{Diagnostic, Diagnostics, Severity};
use config_gen::emit::{MeshOptions, Output};
use config_gen::gateway::GatewayName;
use config_gen::input::{Read, ReadOptions, read};
use config_gen::mesh_config::MeshConfig;
use config_gen::options::{Options, Profile};
use config_gen::plan::Plan;
use config_gen::source::Sources;

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
}

/// The errors with these options; what can be generated is.
fn errors(read: &Read, options: Options) -> Vec<Diagnostic> {
    let options = MeshConfig::default().options(options, read);
    let mut found = Diagnostics::new();
    let plan = Plan::of(&read.resources(), &options, &mut found);
    if !found.has_errors() {
        for output in [Output::PluginConfig, Output::Envoy] {
            output.render(&plan, &options, &MeshOptions::default()).unwrap();
        }
    }
    found.into_iter().filter(|finding| finding.severity == Severity::Error).collect()
}

#[test]
fn gateways_are_generated_for_or_errors_offer_a_way_out() {
    let folder = std::env::var_os("PORTOLAN_CORPUS").map(PathBuf::from).filter(|path| path.is_dir());
    let Some(folder) = folder else {
        println!("skipped: PORTOLAN_CORPUS does not name a folder of Istio configuration");
        return;
    };
    let mut files = Vec::new();
    yaml_files(&folder, &mut files);
    files.sort();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for path in files {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let mut sources = Sources::new();
        sources.add(&name, fs::read_to_string(&path).unwrap());
        let read = read(sources, &ReadOptions::default());
        if read.gateways.is_empty() {
            continue;
        }
        let mut count = |what| *counts.entry(what).or_default() += 1;
        count("files with a Gateway");
        if read.diagnostics.has_errors() {
            count("files with errors of their own");
            continue;
        }
        for gateway in &read.gateways {
            let wanted = GatewayName {
                namespace: gateway.meta.namespace.clone(),
                name: gateway.meta.name.value.clone(),
            };
            for profile in [Profile::Standalone, Profile::Istio] {
                let options = Options {
                    profile,
                    gateway: Some(wanted.clone()),
                    client_namespace_given: false,
                    ..Options::default()
                };
                let errors = errors(&read, options);
                count(if errors.is_empty() { "generated for a Gateway" } else { "errors of a Gateway" });
                for error in errors {
                    println!("{name}: {wanted}: {}: {}", error.code, error.message);
                    if error.help.is_none() {
                        wrong.push(format!("{name}: {wanted}: {} offers nothing", error.code));
                    }
                }
            }
        }
        for profile in [Profile::Standalone, Profile::Istio] {
            let offers = |error: &Diagnostic| {
                error.help.as_deref().is_some_and(|help| help.contains("--collapse-egress-gateway"))
            };
            let options = Options { profile, ..Options::default() };
            let before = errors(&read, options.clone());
            count(match before.iter().any(offers) {
                true => "sidecars whose errors offer to collapse the gateway",
                false if before.is_empty() => "sidecars without errors",
                false => "sidecars with other errors",
            });
            if before.iter().any(offers) {
                let after = errors(&read, Options { collapse_egress_gateway: true, ..options });
                count(if after.is_empty() { "collapsed" } else { "collapsed, with other errors" });
                for error in after {
                    println!("{name}: collapsed: {}: {}", error.code, error.message);
                    if offers(&error) {
                        wrong.push(format!("{name}: {} offers what was done", error.message));
                    }
                }
            }
        }
    }
    for (what, count) in counts {
        println!("{what}: {count}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
