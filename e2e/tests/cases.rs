//! The cases of `testdata/` in Envoy with the built module.
//!
//! `CASES=hosts/` in the environment runs only the files whose path holds that text.

#[path = "cases/client.rs"]
mod client;
#[path = "cases/world.rs"]
mod world;

use anyhow::{Context as _, Result, ensure};
use config_gen::cases::{
    self, CaseFile, EngineKind, Expect, Finding, Group, Mismatch, Prepared, Report, Test, WantedOutput,
};
use config_gen::input::files;
use config_gen::plan::Plan;
use portolan_e2e::{Scratch, Setup, places};
use serde_json::Value;

use client::Client;
use world::World;

#[test]
fn every_case_holds_in_the_newest_envoy() -> Result<()> {
    every_case_holds(places::envoy_versions()?.last().context("no Envoy")?)
}

/// Whether a service has a cluster of its own makes no difference to a request.
#[test]
fn every_case_holds_on_shared_clusters() -> Result<()> {
    let versions = places::envoy_versions()?;
    let version = versions.last().context("no Envoy")?;
    let files: Vec<CaseFile> = load()?.into_iter().map(CaseFile::on_shared_clusters).collect();
    // The others are the same as in the other tests.
    let report = run_all(version, &files, |plan| !plan.shared.is_empty());
    println!("Envoy {version}, on shared clusters: {report}");
    ensure!(report.failures.is_empty(), "{}\n\nEnvoy {version}: {report}", report.failures.join("\n\n"));
    Ok(())
}

#[test]
fn every_case_holds_in_the_oldest_envoy() -> Result<()> {
    let versions = places::envoy_versions()?;
    match versions.as_slice() {
        [oldest, _, ..] => every_case_holds(oldest),
        // The other test has had it.
        _ => Ok(()),
    }
}

fn every_case_holds(version: &str) -> Result<()> {
    let files = load()?;
    let report = run_all(version, &files, |_| true);
    println!("Envoy {version}: {report}");
    ensure!(report.failures.is_empty(), "{}\n\nEnvoy {version}: {report}", report.failures.join("\n\n"));
    // Nothing was left out on the way.
    let native = cases::run(&files);
    assert_eq!(report.runs() - report.only_here, native.runs() - native.only_here, "natively: {native}");
    Ok(())
}

/// Runs what has a plan that is `wanted`, or none.
fn run_all(version: &str, files: &[CaseFile], wanted: fn(&Plan) -> bool) -> Report {
    let mut report = Report::new(EngineKind::Envoy, files);
    for file in files {
        for &profile in &file.profiles {
            for group in file.groups(EngineKind::Envoy, profile) {
                let ran = cases::prepare(&file.path, group.setup, profile)
                    .map_err(anyhow::Error::msg)
                    .and_then(|prepared| match prepared.plan() {
                        Ok(plan) if !wanted(plan) => Ok(()),
                        _ => run(version, &group, &prepared, &mut report),
                    });
                if let Err(error) = ran {
                    let tests = group.tests.iter().map(|(test, _)| *test);
                    report.add_unusable(&group, tests, &format!("{error:#}"));
                }
            }
        }
    }
    report
}

fn load() -> Result<Vec<CaseFile>> {
    let sources = files::collect(&[places::root()?.join("testdata")])?;
    let (mut files, diagnostics) = cases::load(&sources);
    ensure!(!diagnostics.has_errors(), "{}", diagnostics.render(&sources));
    if let Ok(wanted) = std::env::var("CASES") {
        files.retain(|file| file.path.contains(&wanted));
    }
    Ok(files)
}

fn run(version: &str, group: &Group<'_>, prepared: &Prepared, report: &mut Report) -> Result<()> {
    let scratch = Scratch::new()?;
    let plan = match prepared.plan() {
        Ok(plan) if group.tests.iter().any(|(_, expect)| needs_envoy(expect)) => plan,
        planned => {
            let generated = Generated::of(&setup(version, group, &scratch)?, &scratch, prepared)?;
            let mut unusable = Vec::new();
            for (test, expect) in &group.tests {
                if let Expect::Generated(wanted) = expect {
                    let found = wanted.compare(&generated.findings, |_| None);
                    report.add(group.file, group.profile, test, &found, &generated.said);
                } else {
                    unusable.push(*test);
                }
            }
            if let (Err(why), false) = (planned, unusable.is_empty()) {
                report.add_unusable(group, unusable, why);
            }
            return Ok(());
        }
    };
    let world = World::start(group, prepared, plan)?;
    let setup = world.add_to(setup(version, group, &scratch)?);
    let generated = Generated::of(&setup, &scratch, prepared)?;
    World::write_certificates(plan, &setup.output())?;
    let portolan = setup.start_as_generated()?;
    let mut client = Client::new(&portolan, &world);
    let untold = |test: &Test| {
        let request = test.request.as_ref();
        request.is_some_and(|request| prepared.is_untold(test, request).unwrap_or_default())
    };
    for (test, expect) in &group.tests {
        let result = match (expect, &test.request) {
            (Expect::Generated(wanted), _) => clusters(&portolan.envoy).map(|clusters| {
                let found = translated(wanted, &world);
                let cluster = |name: &str| clusters.iter().find(|cluster| cluster["name"] == name).cloned();
                (found.compare(&generated.findings, cluster), generated.said.clone())
            }),
            (Expect::Shares(wanted), Some(request)) => client
                .count(test, request, untold(test))
                .map(|counts| (cases::shares_mismatches(wanted, &counts), String::new())),
            (expect, Some(request)) => client
                .send(test, request, expect, untold(test))
                .map(|(seen, why)| (expect.compare(test, request, &seen), why)),
            (_, None) => Ok(Default::default()),
        };
        let (found, why) = result.unwrap_or_else(|error| {
            let (field, expected, got) = ("outcome".to_owned(), expect.to_string(), format!("{error:#}"));
            (vec![Mismatch { field, expected, got }], String::new())
        });
        report.add(group.file, group.profile, test, &found, &why);
    }
    Ok(())
}

fn needs_envoy(expect: &Expect) -> bool {
    !matches!(expect, Expect::Generated(output) if output.clusters.is_empty())
}

/// What a user would type.
fn setup(version: &str, group: &Group<'_>, scratch: &Scratch) -> Result<Setup> {
    let given = group.setup;
    let mut setup = Setup::new(version)?
        .log_level("warning")
        .option("--profile", group.profile.to_string())
        .option("--report", report_path(scratch));
    if given.explicit_proxy {
        setup = setup.option("--explicit-proxy", "127.0.0.1:0");
    } else if given.ports.is_empty() {
        setup = setup.option("--listen", "80=127.0.0.1:0").option("--listen", "443=127.0.0.1:0");
    }
    for option in &given.options {
        setup = setup.flag(option);
    }
    if let Some(mesh_config) = &given.mesh_config {
        setup = setup.option("--mesh-config", scratch.write("mesh.yaml", mesh_config)?.to_string_lossy());
    }
    for path in &given.files {
        setup = setup.file(&path.to_string_lossy());
    }
    for resources in &given.resources {
        setup = setup.yaml(resources)?;
    }
    Ok(setup)
}

fn report_path(scratch: &Scratch) -> String {
    scratch.path().join("report.json").to_string_lossy().into_owned()
}

/// What the built `config-gen` did.
struct Generated {
    findings: Vec<Finding>,
    said: String,
}

impl Generated {
    fn of(setup: &Setup, scratch: &Scratch, prepared: &Prepared) -> Result<Self> {
        let finished = setup.generate()?;
        let report = std::fs::read_to_string(report_path(scratch)).with_context(|| finished.to_string())?;
        let findings = Finding::of_report(&serde_json::from_str(&report)?);
        let refused = findings.iter().any(Finding::is_error);
        ensure!(finished.success() != refused, "errors and exit status contradict each other: {finished}");
        ensure!(setup.output().join("envoy.yaml").exists() != refused, "what was written: {finished}");
        ensure!(prepared.plan().is_err() == refused, "natively it ends otherwise: {finished}");
        Ok(Self { findings, said: finished.stderr })
    }
}

/// All clusters that Envoy has.
fn clusters(envoy: &portolan_e2e::Envoy) -> Result<Vec<Value>> {
    let dump: Value = envoy.admin_get("/config_dump?resource=static_clusters")?.json()?;
    let configs = dump["configs"].as_array().context("no configs")?;
    Ok(configs.iter().map(|config| config["cluster"].clone()).collect())
}

/// The expectation with ports and files as they are here.
fn translated(wanted: &WantedOutput, world: &World) -> WantedOutput {
    let mut wanted = wanted.clone();
    for (name, cluster) in &mut wanted.clusters {
        if let Some(cluster) = cluster {
            world.translate(world::host(name), cluster);
        }
    }
    wanted
}
