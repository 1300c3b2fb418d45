//! `make soak`: mixed traffic through one Envoy for a long time, while the plugin config changes.
//!
//! - [`traffic`]: clients of all sorts, each at its own pace, whose every answer is looked at;
//! - [`world`]: Envoy, the upstreams, and the changes;
//! - [`samples`]: Envoy's memory and file descriptors, which have to stay what they are.
//!
//! It ends with a line of counts. The exit status is 0 when no request failed, each change came into
//! force, nothing grew and nothing is left open; 1 when not; and 2 when there is no result.

mod options;
mod samples;
mod traffic;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use portolan_e2e::process::poll;
use portolan_e2e::{Envoy, places};

use options::Options;
use samples::Samples;
use traffic::Sort;
use world::World;

/// Between two changes of the plugin config.
const CHANGE_EVERY: Duration = Duration::from_millis(500);

/// Between two lines that say how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(60);

/// How many samples of memory and file descriptors are taken, about.
const SAMPLES: u32 = 300;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("soak: {error:#}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    match soak(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// How one sort of traffic, or the changes, went.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    failed: u64,
    /// The first failure, in words.
    first: Option<String>,
}

impl Tally {
    fn add(&mut self, result: Result<()>) {
        self.done += 1;
        if let Err(error) = result {
            self.failed += 1;
            self.first.get_or_insert(format!("{error:#}"));
        }
    }
}

/// Whether all was well.
fn soak(options: &Options) -> Result<bool> {
    let version = match &options.envoy {
        Some(version) => version.clone(),
        None => places::envoy_versions()?.pop().context("no Envoy")?,
    };
    let world = World::start(&version)?;
    let envoy = &world.portolan.envoy;
    let sorts = traffic::sorts(world.addresses)?;
    let over = AtomicBool::new(false);
    let began = Instant::now();
    println!("soak: {:?} of Envoy {version}, {} requests a second", options.duration, options.rate);
    let (requests, changes, samples) = thread::scope(|scope| {
        let clients: Vec<_> = sorts
            .into_iter()
            .map(|sort| scope.spawn(|| (sort.name, client(sort, options.rate, &over))))
            .collect();
        let changes = scope.spawn(|| change(&world, &over));
        let samples = watch(envoy, began, options.duration);
        over.store(true, Ordering::Relaxed);
        let requests: BTreeMap<_, _> =
            clients.into_iter().map(|client| client.join().expect("a client doesn't panic")).collect();
        (requests, changes.join().expect("changing doesn't panic"), samples)
    });
    let samples = samples?;
    let left = left_open(envoy)?;
    report(&version, began.elapsed(), &requests, &changes, &samples, &left);
    let failed = requests.values().chain([&changes]).any(|tally| tally.failed > 0);
    Ok(!failed && samples.are_flat() && left.is_empty())
}

/// One sort of traffic, at its pace.
fn client(mut sort: Sort, rate: f64, over: &AtomicBool) -> Tally {
    let every = Duration::from_secs_f64(1.0 / (rate * sort.share));
    let mut tally = Tally::default();
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        tally.add((sort.step)());
        // What a slow moment has held up isn't made good: the pace is a modest one.
        next = (next + every).max(Instant::now());
        thread::sleep(next - Instant::now().min(next));
    }
    tally
}

fn change(world: &World, over: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    for state in [1, 0].into_iter().cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        tally.add(world.change(state));
        thread::sleep(CHANGE_EVERY);
    }
    tally
}

fn watch(envoy: &Envoy, began: Instant, duration: Duration) -> Result<Samples> {
    let every = (duration / SAMPLES).min(Duration::from_secs(5));
    let mut samples = Samples::default();
    let mut progress = PROGRESS_EVERY;
    while began.elapsed() < duration {
        thread::sleep(every);
        samples.take(envoy)?;
        if began.elapsed() >= progress {
            progress += PROGRESS_EVERY;
            let (memory, open) = (envoy.rss()? >> 20, portolan_e2e::usage::file_descriptors(envoy.pid())?);
            println!(
                "soak: after {} min: {memory} MiB, {open} file descriptors",
                began.elapsed().as_secs() / 60
            );
        }
    }
    Ok(samples)
}

/// The requests and connections that Envoy still has when all clients have gone.
fn left_open(envoy: &Envoy) -> Result<BTreeMap<String, u64>> {
    let left = || -> Result<BTreeMap<String, u64>> {
        let active = |name: &str| {
            ["downstream_cx_active", "rq_active"].iter().any(|end| name.ends_with(end))
                && !name.contains("admin")
        };
        Ok(envoy.stats()?.into_iter().filter(|(name, value)| active(name) && *value > 0).collect())
    };
    let none = poll(Duration::from_secs(20), || left().ok().filter(BTreeMap::is_empty));
    none.map_or_else(left, Ok)
}

fn report(
    version: &str,
    took: Duration,
    requests: &BTreeMap<&str, Tally>,
    changes: &Tally,
    samples: &Samples,
    left: &BTreeMap<String, u64>,
) {
    for (name, tally) in requests.iter().map(|(name, tally)| (*name, tally)).chain([("changes", changes)]) {
        println!("{:8} {name}, {} failed {}", tally.done, tally.failed, tally.first.as_deref().unwrap_or(""));
    }
    for (name, value) in left {
        println!("left open: {name}: {value}");
    }
    let sum = |of: fn(&Tally) -> u64| requests.values().map(of).sum::<u64>();
    println!(
        "soak: {} s of Envoy {version}: {} requests, {} failed; {} changes, {} not in force in time; \
         memory in MiB {}; file descriptors {}; left open {}",
        took.as_secs(),
        sum(|tally| tally.done),
        sum(|tally| tally.failed),
        changes.done,
        changes.failed,
        samples.memory(),
        samples.file_descriptors(),
        left.len(),
    );
}
