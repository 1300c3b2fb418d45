//! Everything that `config-gen` makes of configuration found elsewhere, in real Envoy.
//!
//! The environment variable `PORTOLAN_CORPUS` names a folder of Istio YAML, which is not ours to ship;
//! without it the test is skipped, and says so. Of each file and each way in, what is generated has to
//! pass `envoy --mode validate` with everything inlined that Envoy discovers from files, and to start in
//! its own form with nothing refused; the plugin config has to load in the real module, that for a mesh
//! as well. Where a file has errors that their own messages offer to accept, the offer is taken; files
//! that have errors still are counted.
//!
//! Compiling the module is most of what a start costs, so that only one in [`REAL_MODULE`] has it and the
//! others a module of a few bytes; what the real one makes of the plugin configs is seen by handing them
//! all to one Envoy, one after the other.
//!
//! ```text
//! PORTOLAN_CORPUS=DIR cargo test -p portolan-e2e --test corpus -- --nocapture
//! ```
//!
//! `PORTOLAN_CORPUS_ONLY` takes only the files whose path holds that text.

#[path = "corpus/generated.rs"]
mod generated;
#[path = "corpus/inline.rs"]
mod inline;
#[path = "corpus/plugin_configs.rs"]
mod plugin_configs;
#[path = "corpus/stand_ins.rs"]
mod stand_ins;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use anyhow::{Context, Result, ensure};
use config_gen::input::{self, ReadOptions};
use config_gen::source::Sources;
use portolan_e2e::envoy::validate;
use portolan_e2e::scratch::loopback_address;
use portolan_e2e::{Ca, Envoy, EnvoyOptions, Scratch, places};
use serde_json::Value;

use generated::{Generated, Outcome, generate};
use stand_ins::StandIns;

/// How traffic reaches Envoy, and the options that say so.
const WAYS: &[(&str, &[&str])] = &[
    ("by Host header", &[]),
    ("by Host header, profile istio", &["--profile", "istio"]),
    ("on shared clusters", &["--clusters", "shared"]),
    ("explicit proxy", &["--explicit-proxy", "127.0.0.1:0"]),
    ("transparent", &["--transparent", FREE]),
];

/// Stands for an address with a port that is free: rules for nftables have to name it.
const FREE: &str = "FREE";

/// One for all, so that equal configurations stay equal; Envoys that run at a time may share it.
static FREE_ADDRESS: LazyLock<String> = LazyLock::new(|| format!("{}:15001", loopback_address()));

/// The way that each Gateway of a file has.
const GATEWAY: &str = "gateway";

/// Listeners for the usual ports, which the system picks.
const LISTENERS: [&str; 4] = ["--listen", "80=127.0.0.1:0", "--listen", "443=127.0.0.1:0"];

/// What to try with a file.
fn ways(file: &Path) -> Result<Vec<(&'static str, Vec<String>)>> {
    let text = |options: &[&str]| options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>();
    let mut ways = Vec::new();
    for (way, options) in WAYS {
        let options =
            options.iter().map(|&option| if option == FREE { FREE_ADDRESS.as_str() } else { option });
        ways.push((*way, [text(&LISTENERS), text(&options.collect::<Vec<_>>())].concat()));
    }
    let mut sources = Sources::new();
    sources.add("file", std::fs::read_to_string(file)?);
    let gateways = input::read(sources, &ReadOptions::default()).gateways;
    for gateway in &gateways {
        let name = format!("{}/{}", gateway.meta.namespace, gateway.meta.name.value);
        let mut options = text(&["--gateway", &name]);
        let ports: BTreeSet<u16> =
            gateways.iter().flat_map(|gateway| &gateway.servers).map(|server| server.port.value).collect();
        for port in ports {
            options.extend(text(&["--listen", &format!("{port}=127.0.0.1:0")]));
        }
        ways.push((GATEWAY, options));
    }
    Ok(ways)
}

/// One in so many starts with the real module.
const REAL_MODULE: usize = 10;

/// One in so many is tried in the oldest Envoy as well.
const OLDEST: usize = 5;

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("PORTOLAN_CORPUS").map(PathBuf::from).filter(|path| path.is_dir());
    if folder.is_none() {
        println!("skipped: PORTOLAN_CORPUS does not name a folder of Istio configuration");
    }
    folder
}

/// All YAML files below `folder`, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let only = std::env::var("PORTOLAN_CORPUS_ONLY").unwrap_or_default();
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| format!("read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml")
                && path.to_string_lossy().contains(&only)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What came of one file in one way in.
struct Run {
    name: String,
    way: &'static str,
    outcome: Outcome,
}

#[test]
fn what_is_generated_is_taken_by_envoy() -> Result<()> {
    let Some(folder) = corpus() else { return Ok(()) };
    let files = files(&folder)?;
    let scratch = Scratch::new()?;
    let stand_ins = StandIns::new(scratch.path(), &Ca::new()?)?;
    let module = scratch.write("module.wasm", wat::parse_str(TAKES_ANY_CONFIG)?)?;
    let module = ["--module".to_owned(), module.to_string_lossy().into_owned()];
    let mut runs = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&folder)?.to_string_lossy().into_owned();
        for (way, options) in ways(file)? {
            let options = [options, module.to_vec()].concat();
            let output = scratch.path().join(format!("out/{}", runs.len()));
            let outcome = generate(file, &options, &output)?;
            runs.push(Run { name: name.clone(), way, outcome });
        }
    }
    print_counts(files.len(), &runs);

    // What is the same needs to be tried once only.
    let mut distinct: BTreeMap<String, (&Run, &Generated)> = BTreeMap::new();
    for run in &runs {
        if let Outcome::Generated(generated) = &run.outcome {
            distinct.entry(generated.content()?).or_insert((run, generated));
        }
    }
    let distinct: Vec<(&Run, &Generated)> = distinct.into_values().collect();
    for (_, generated) in &distinct {
        generated.put_stand_ins(&stand_ins)?;
    }
    let versions = places::envoy_versions()?;
    let (oldest, newest) = versions.first().zip(versions.last()).context("no Envoy")?;
    let mut failures = Vec::new();
    for (version, step) in [(newest, 1), (oldest, OLDEST)] {
        let chosen: Vec<_> = distinct.iter().step_by(step).enumerate().collect();
        let failed = in_parallel(&chosen, |(index, (run, generated))| {
            let tried = try_in_envoy(version, generated, index % REAL_MODULE == 0);
            tried.err().map(|error| format!("{}, {}, Envoy {version}: {error:#}", run.name, run.way))
        });
        println!("Envoy {version}: {} different configurations, {} refused", chosen.len(), failed.len());
        failures.extend(failed);
    }
    failures.extend(plugin_configs::refused(newest, &distinct)?);
    ensure!(failures.is_empty(), "{} refused:\n{}", failures.len(), failures.join("\n\n"));
    Ok(())
}

/// A filter that takes every config and does nothing.
const TAKES_ANY_CONFIG: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_context_create") (param i32 i32)))"#;

/// How many files came to what, in each way in, and why some came to nothing.
fn print_counts(files: usize, runs: &[Run]) {
    println!("{files} files");
    for way in WAYS.iter().map(|(way, _)| *way).chain([GATEWAY]) {
        let of_way = || runs.iter().filter(|run| run.way == way);
        let count = |wanted: &dyn Fn(&Outcome) -> bool| of_way().filter(|run| wanted(&run.outcome)).count();
        let with_offers = |run: &Outcome| matches!(run, Outcome::Generated(it) if !it.offers.is_empty());
        let generated = count(&|run| matches!(run, Outcome::Generated(_)));
        println!(
            "{way}: {generated} generated ({} of them with what their errors offer), {} with input errors",
            count(&with_offers),
            count(&|run| matches!(run, Outcome::InputErrors(_))),
        );
        let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
        for run in of_way() {
            if let Outcome::InputErrors(found) = &run.outcome {
                let found: BTreeSet<&String> = found.iter().collect();
                found.into_iter().for_each(|code| *codes.entry(code).or_default() += 1);
            }
        }
        let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{code} {count}")).collect();
        println!("  files by error: {}", codes.join(", "));
    }
}

/// What `attempt` says of `items`, as far as it says anything; as many at a time as there are processors.
fn in_parallel<T: Sync>(items: &[T], attempt: impl Fn(&T) -> Option<String> + Sync) -> Vec<String> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(failure) = attempt(item) {
                        failed.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

fn try_in_envoy(version: &str, generated: &Generated, real_module: bool) -> Result<()> {
    let directory = &generated.directory;
    let binary = places::envoy_binary(version)?;
    let inlined = directory.join("inlined.json");
    std::fs::write(&inlined, inline::inlined(directory)?.to_string())?;
    validate(&binary, &inlined, directory).context("inlined")?;

    if real_module {
        let path = directory.join(ECDS);
        std::fs::write(&path, plugin_configs::with_real_module(&std::fs::read_to_string(&path)?)?)?;
    }
    let mut options = EnvoyOptions::new(binary, directory.join("envoy.yaml"));
    options.log_level = "warning".to_owned();
    let envoy = Envoy::start(&options)?;
    let refused: Vec<String> = envoy.stats()?.into_iter().filter(is_refusal).map(|(name, _)| name).collect();
    let log = envoy.log();
    ensure!(refused.is_empty(), "{}\n{log}", refused.join(", "));
    // What Envoy would rather not have.
    let complaints: Vec<&str> = log.lines().filter(|line| is_complaint(line)).collect();
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

/// Where the filter's configuration stands.
const ECDS: &str = "envoy.d/ecds/portolan.json";

/// Whether a counter says that Envoy didn't take something. A cluster's says that a name doesn't resolve.
fn is_refusal((name, count): &(String, u64)) -> bool {
    const ENDS: [&str; 4] =
        [".update_rejected", ".config_fail", ".update_failure", ".listener_create_failure"];
    *count > 0 && !name.starts_with("cluster.") && ENDS.iter().any(|end| name.ends_with(end))
}

/// Whether a line of Envoy's log is a warning or worse about the configuration.
fn is_complaint(line: &str) -> bool {
    let grave = ["[warning]", "[error]", "[critical]"].iter().any(|level| line.contains(level));
    // Of the machine, not of the configuration.
    let machine = ["tcp_stats", "there is no configured limit to the number of allowed active"];
    grave && !machine.iter().any(|text| line.contains(text))
}

/// A JSON value below `pointer`, or the reason why there is none.
fn at<'a>(value: &'a Value, pointer: &str) -> Result<&'a Value> {
    value.pointer(pointer).with_context(|| format!("no {pointer}"))
}
