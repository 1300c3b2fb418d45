//! The table `hosts`: what a request costs in Envoy.
//!
//! | row | Envoy with |
//! | --- | --- |
//! | `no filter` | one route for all hosts; nothing is rewritten |
//! | `Envoy's own routes` | a virtual host for each host; authority and path are rewritten |
//! | `our filter` | what `config-gen` writes for the same hosts and rewrites |
//! | `our filter, shared cluster` | the same, with destinations that share a cluster |
//! | `our filter, shared and guarded` | the same, with all private addresses refused but those of the upstream |
//! | `Lua filter` | a script with the same rewrites in a table |
//!
//! All Envoys run side by side, and a round goes back and forth over them in slices of its requests
//! (1 2 3, 3 2 1, …), so that all rows suffer alike when something else keeps the machine busy for a
//! while. The upstream, the requests, the listener and the retries are the same in all rows: the
//! others run on the configuration of `our filter`, with only the filter and its routes replaced (see
//! [`configs`](crate::configs)).
//!
//! Before anything is measured, every row is sent a request for every host, and the upstream
//! must have seen the authority and path that the row claims.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portolan_e2e::scratch::loopback_address;
use portolan_e2e::{DnsServer, Scratch, Upstream};

use crate::SETTLE;
use crate::claims::{Claim, Outcome};
use crate::configs::{self, Configs};
use crate::cores::Cores;
use crate::machine::Machine;
use crate::options::Options;
use crate::others::Reading;
use crate::report::Rounds;
use crate::row::{Kind, Row};
use crate::workload::{DESTINATIONS, Workload};

/// In how many parts a round's requests are sent. More parts spread disturbances better, but
/// each opens its connections anew, which costs about one request per connection.
const SLICES: u64 = 10;

/// Most hosts that a script's table can hold: more are too many constants for one function of Lua.
const MOST_OF_LUA: usize = 10_000;

/// What a request may cost relative to Envoy's own routes, on dedicated and on shared clusters, and
/// relative to Lua.
const DEDICATED: f64 = 1.12;
const SHARED: f64 = 1.18;
const LUA: f64 = 1.0;

/// Measures it. Prints the table.
pub(crate) fn run(options: &Options, cores: &Cores, machine: &Machine) -> Result<Outcome> {
    let began = Reading::now([])?;
    let mut claims = Vec::new();
    for &hosts in &options.hosts {
        let rounds = measure_hosts(hosts, options, cores, machine)?;
        print!("{rounds}");
        let row = |kind: Kind| rounds.rows.iter().position(|name| *name == kind.to_string());
        let own = row(Kind::OwnRoutes).context("no such row")?;
        for (kind, budget) in [(Kind::OurFilter, DEDICATED), (Kind::OursShared, SHARED)] {
            let ours = row(kind).context("no such row")?;
            let name = format!("{hosts} hosts: {kind} / {}", Kind::OwnRoutes);
            claims.push(Claim::new(name, rounds.ratios(ours, own), budget)?);
        }
        if let (Some(ours), Some(lua)) = (row(Kind::OurFilter), row(Kind::Lua)) {
            let name = format!("{hosts} hosts: {} / {}", Kind::OurFilter, Kind::Lua);
            claims.push(Claim::new(name, rounds.ratios(ours, lua), LUA)?);
        }
    }
    let others = Reading::now([])?.others_since(&began, machine.cores);
    Ok(Outcome { table: "hosts", others, claims })
}

fn measure_hosts(hosts: usize, options: &Options, cores: &Cores, machine: &Machine) -> Result<Rounds> {
    // On an address of its own, so that its port is still free when the upstream is started
    // for the second time.
    let address = loopback_address();
    let recorder = Upstream::builder().address(address).start()?;
    let port = recorder.addr().port();
    let names = (0..DESTINATIONS).map(crate::workload::destination).collect::<Vec<_>>();
    let dns = DnsServer::start(&names.iter().map(|name| (&**name, address)).collect::<Vec<_>>())?;

    let scratch = Scratch::new()?;
    let workload = Workload::new(hosts, options.rules, address);
    eprintln!("bench: {hosts} hosts, Envoy {}: starting the Envoys", machine.envoy);
    let configs = Configs::generate(&scratch, &workload, port)?;
    let shared = configs::generate_shared(&scratch, &workload, port, dns.addr(), &[])?;
    let guard = ["--allow-upstream", "127.0.0.0/8"];
    let guarded = configs::generate_shared(&scratch, &workload, port, dns.addr(), &guard)?;
    let rows = cores.on_envoys(|| {
        // The first that starts is the one whose configuration the others are made from.
        let ours = Row::start(Kind::OurFilter, &machine.binary, &configs.ours)?;
        let derived = configs.derive(&ours.envoy)?;
        let mut rows = vec![
            Row::start(Kind::NoFilter, &machine.binary, &derived.no_filter)?,
            Row::start(Kind::OwnRoutes, &machine.binary, &derived.own_routes)?,
            ours,
            Row::start(Kind::OursShared, &machine.binary, &shared.join("envoy.yaml"))?,
            Row::start(Kind::OursGuarded, &machine.binary, &guarded.join("envoy.yaml"))?,
        ];
        if hosts <= MOST_OF_LUA && options.rules == 1 {
            rows.push(Row::start(Kind::Lua, &machine.binary, &configs.lua(&rows[2].envoy, &workload)?)?);
        }
        Ok(rows)
    })?;

    eprintln!("bench: checking what the upstream sees");
    for row in &rows {
        row.check(&workload, &recorder)?;
    }
    drop(recorder);
    for row in &rows {
        row.wait_disconnected()?;
    }
    let _upstream = Upstream::builder().address(address).port(port).quiet().start()?;

    eprintln!("bench: warming up");
    measure(&rows, &workload, options.requests)?;
    let processes = || rows.iter().map(|row| row.envoy.pid());
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        let before = Reading::now(processes())?;
        let round = measure(&rows, &workload, options.requests)?;
        let others = Reading::now(processes())?.others_since(&before, machine.cores);
        eprintln!(
            "bench: round {number} of {}: {round:.1?} µs; others used {others:.2} cores",
            options.rounds
        );
        rounds.push(round);
    }
    Ok(Rounds {
        title: format!("{hosts} hosts: CPU, µs per request"),
        rows: rows.iter().map(|row| row.kind.to_string()).collect(),
        rounds,
    })
}

/// One round: `requests` requests for each row.
fn measure(rows: &[Row], workload: &Workload, requests: u64) -> Result<Vec<f64>> {
    let mut cpu_times = vec![Duration::ZERO; rows.len()];
    for slice in 0..SLICES {
        let range = requests * slice / SLICES..requests * (slice + 1) / SLICES;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        if slice % 2 == 1 {
            order.reverse();
        }
        for index in order {
            thread::sleep(SETTLE);
            cpu_times[index] += rows[index].measure(workload, range.clone())?;
        }
    }
    Ok(cpu_times.iter().map(|cpu_time| cpu_time.as_secs_f64() * 1e6 / requests as f64).collect())
}
