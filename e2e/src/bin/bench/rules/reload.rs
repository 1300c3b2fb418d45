//! What loading ten thousand regexes takes: time, memory, and the requests that come first.
//!
//! - `memory`: of a VM, from what Envoys with one and with three workers have resident, as a worker
//!   more is a VM more.
//! - `load`: the CPU time of Envoy's worker from the replacement of the filter's config until it has
//!   loaded the new one. Meanwhile it serves nothing.
//! - `slowest`: the longest of the first requests after that, one for each rule in an order without
//!   pattern, over one connection. This one is the time of a clock, upstream and load generator
//!   included: a busy machine shows in it. `settled` is the longest when the same requests are sent
//!   once more: what is left without a reload. `dearest` is the CPU time of the worker for one of the
//!   first, each over a connection of its own: there a busy machine doesn't show.

use std::fs::{self, DirEntry};
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portolan_e2e::process::poll;
use portolan_e2e::{Envoy, Scratch};

use super::cases::{self, Kind, LOADED, Sent};
use super::server::{Requests, Server};
use crate::configs;
use crate::cores::Cores;
use crate::machine::Machine;
use crate::options::Options;

/// The rules that are loaded, and those that are loaded before.
const MANY: usize = 10_000;
const FEW: usize = 10;

/// How many of the first requests are looked at one by one.
const WATCHED_ONE_BY_ONE: usize = 500;

/// The file that Envoy watches.
pub(crate) const WATCHED: &str = "envoy.d/ecds/portolan.json";

/// What was seen of one kind.
#[derive(Debug)]
pub(crate) struct Loading {
    pub(crate) name: &'static str,
    /// Of a VM, in megabytes, after loading; and what each rule's first request added to it.
    pub(crate) memory: f64,
    pub(crate) memory_of_use: f64,
    /// Milliseconds, of each reload.
    pub(crate) load: Vec<f64>,
    /// Milliseconds, of each reload.
    pub(crate) slowest: Vec<f64>,
    /// The same of the same requests once more.
    pub(crate) settled: Vec<f64>,
    /// Milliseconds of CPU time, of each reload.
    pub(crate) dearest: Vec<f64>,
}

pub(crate) fn measure(
    options: &Options,
    cores: &Cores,
    machine: &Machine,
    address: Ipv4Addr,
    port: u16,
) -> Result<Vec<Loading>> {
    let measure = |kind: &Kind| {
        let loading = measure_kind(kind, options, cores, machine, address, port)?;
        eprintln!("bench: rules, {loading:.1?}");
        Ok(loading)
    };
    LOADED.iter().map(measure).collect()
}

fn measure_kind(
    kind: &Kind,
    options: &Options,
    cores: &Cores,
    machine: &Machine,
    address: Ipv4Addr,
    port: u16,
) -> Result<Loading> {
    let scratch = Scratch::new()?;
    let generate = |size| {
        let yaml = cases::registry(&[(kind, size)], address);
        configs::generate(&scratch, &size.to_string(), &yaml, port)
    };
    let (few, many) = (generate(FEW)?, generate(MANY)?);
    let start = |config: &Path, workers| {
        cores.on_envoys(|| Server::start(&machine.binary, &config.join("envoy.yaml"), workers))
    };
    // Neither a power of two nor a divisor of their number: all rules, in an order without pattern.
    let sent: Vec<Sent> = (0..MANY).map(|i| (kind.request)(i * 7919 % MANY)).collect();
    let requests = |size: usize, sent: &[Sent], server: &Server| {
        let (authority, count) = (kind.authority(size), sent.len() as u64);
        server.send(&Requests { authority: &authority, sent, are_missing: false, connections: 1, count })
    };

    let (one, three) = (start(&many, 1)?, start(&many, 3)?);
    let megabytes = |server: &Server| -> Result<f64> { Ok(server.envoy.rss()? as f64 / 1e6) };
    let loaded = megabytes(&one)?;
    let memory = (megabytes(&three)? - loaded) / 2.0;
    requests(MANY, &sent, &one)?;
    let memory_of_use = megabytes(&one)? - loaded;
    drop((one, three));

    let server = start(&few, 1)?;
    let files = [few.join(WATCHED), many.join(WATCHED)];
    let [to_few, to_many] = [&files[0], &files[1]].map(|file| fs::read(file).context("the filter's config"));
    let (to_few, to_many) = (to_few?, to_many?);
    let replace = |content: &[u8]| -> Result<f64> {
        let loaded = loads(&server.envoy)?;
        let before = worker_time(&server.envoy)?;
        scratch.replace(&format!("{FEW}/{WATCHED}"), content)?;
        wait_loaded(&server.envoy, loaded)?;
        // The line is written just before the end of loading.
        thread::sleep(Duration::from_millis(50));
        Ok((worker_time(&server.envoy)? - before).as_secs_f64() * 1e3)
    };
    let few_sent: Vec<Sent> = (0..FEW).map(kind.request).collect();
    let mut loading = Loading {
        name: kind.name,
        memory,
        memory_of_use,
        load: Vec::new(),
        slowest: Vec::new(),
        settled: Vec::new(),
        dearest: Vec::new(),
    };
    for _ in 0..options.rounds {
        requests(FEW, &few_sent, &server)?;
        loading.load.push(replace(&to_many)?);
        for slowest in [&mut loading.slowest, &mut loading.settled] {
            let outcome = requests(MANY, &sent, &server)?;
            slowest.push(outcome.latency(1.0).as_secs_f64() * 1e3);
        }
        replace(&to_few)?;

        loading.load.push(replace(&to_many)?);
        let mut dearest = Duration::ZERO;
        for sent in sent.chunks(1).take(WATCHED_ONE_BY_ONE) {
            let before = worker_time(&server.envoy)?;
            requests(MANY, sent, &server)?;
            dearest = dearest.max(worker_time(&server.envoy)?.saturating_sub(before));
        }
        loading.dearest.push(dearest.as_secs_f64() * 1e3);
        replace(&to_few)?;
    }
    Ok(loading)
}

/// Waits until the worker has loaded more than so many configs.
pub(crate) fn wait_loaded(envoy: &Envoy, loaded: usize) -> Result<()> {
    let done = || loads(envoy).is_ok_and(|loads| loads > loaded).then_some(());
    poll(Duration::from_secs(20), done)
        .with_context(|| format!("the new config was not loaded:\n{}", envoy.log()))
}

/// How many configs the worker has loaded. (The main thread loads them too, with a VM of its own.)
pub(crate) fn loads(envoy: &Envoy) -> Result<usize> {
    let (log, thread) = (envoy.log(), format!("[{}]", worker(envoy)?.file_name().to_string_lossy()));
    let is_load = |line: &&str| line.contains(&thread) && line.contains("portolan: plugin config loaded");
    Ok(log.lines().filter(is_load).count())
}

/// CPU time of the worker.
pub(crate) fn worker_time(envoy: &Envoy) -> Result<Duration> {
    let text = fs::read_to_string(worker(envoy)?.path().join("schedstat"))?;
    let nanoseconds = text.split_whitespace().next().and_then(|text| text.parse().ok());
    nanoseconds.map(Duration::from_nanos).context("the kernel keeps no schedstat")
}

/// The thread that serves requests.
fn worker(envoy: &Envoy) -> Result<DirEntry> {
    let tasks = format!("/proc/{}/task", envoy.pid());
    let mut threads = fs::read_dir(&tasks).with_context(|| format!("read {tasks}"))?.flatten();
    let is_worker = |task: &DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("wrk:"))
    };
    threads.find(is_worker).context("Envoy has no worker")
}
