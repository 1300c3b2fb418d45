//! The table `hosts`: what a request costs in Envoy, in three rows.
//!
//! | row | Envoy with |
//! | --- | --- |
//! | `no filter` | one route for all hosts; nothing is rewritten |
//! | `Envoy's own routes` | a virtual host for each host; authority and path are rewritten |
//! | `our filter` | what `config-gen` writes for the same hosts and rewrites |
//!
//! All three Envoys run side by side, and a round goes back and forth
//! over them in slices of its requests (1 2 3, 3 2 1, …), so that all rows suffer alike when
//! something else keeps the machine busy for a while. The upstream, the requests, the
//! listener, the clusters and the retries are the same in all rows: rows 1 and 2 run on the
//! configuration of row 3, with only the filter and its routes replaced (see [`configs`](crate::configs)).
//!
//! Before anything is measured, every row is sent a request for every host, and the upstream
//! must have seen the authority and path that the row claims.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use portolan_e2e::scratch::loopback_address;
use portolan_e2e::{Scratch, Upstream};

use crate::SETTLE;
use crate::configs::Configs;
use crate::cores::Cores;
use crate::machine::Machine;
use crate::options::Options;
use crate::others::Reading;
use crate::report::Report;
use crate::row::{self, Row};
use crate::statistics::Round;
use crate::workload::Workload;

/// In how many parts a round's requests are sent. More parts spread disturbances better, but
/// each opens its connections anew, which costs about one request per connection.
const SLICES: u64 = 10;

/// Measures it. Prints the report; returns whether the budget is met.
pub(crate) fn run(options: &Options, cores: &Cores, machine: &Machine) -> Result<bool> {
    // On an address of its own, so that its port is still free when the upstream is started
    // for the second time.
    let address = loopback_address();
    let recorder = Upstream::builder().address(address).start()?;
    let port = recorder.addr().port();

    let scratch = Scratch::new()?;
    let workload = Workload::new(options.hosts, options.rules, address);
    eprintln!("bench: {} hosts, Envoy {}: starting three Envoys", options.hosts, machine.envoy);
    let configs = Configs::generate(&scratch, &workload, port)?;
    let rows = cores.on_envoys(|| start(&configs, &machine.binary))?;

    eprintln!("bench: checking what the upstream sees");
    for row in &rows {
        row.check(&workload, &recorder)?;
    }
    drop(recorder);
    for row in &rows {
        row.wait_disconnected()?;
    }
    let upstream = Upstream::builder().address(address).port(port).quiet().start()?;

    eprintln!("bench: warming up");
    measure(&rows, &workload, options.requests)?;
    let processes = || rows.iter().map(|row| row.envoy.pid());
    let mut rounds = Vec::new();
    let began = Reading::now(processes())?;
    for number in 1..=options.rounds {
        let before = Reading::now(processes())?;
        let round = measure(&rows, &workload, options.requests)?;
        let others = Reading::now(processes())?.others_since(&before, machine.cores);
        eprintln!(
            "bench: round {number} of {}: {:.1}, {:.1}, {:.1} µs; others used {others:.2} cores",
            options.rounds, round.no_filter, round.own_routes, round.our_filter,
        );
        rounds.push(round);
    }
    let others = Reading::now(processes())?.others_since(&began, machine.cores);
    // The load is over; what follows needs neither of them.
    drop((rows, upstream));

    let report = Report::new(options, machine, others, rounds)?;
    print!("{report}");
    if let Some(file) = &options.json {
        report.append_to(file)?;
    }
    Ok(report.is_met())
}

/// All three rows, in the order of [`Round`]'s fields.
fn start(configs: &Configs, binary: &std::path::Path) -> Result<[Row; 3]> {
    // The first that starts is the one whose configuration the others are made from.
    let ours = Row::start(row::Kind::OurFilter, binary, &configs.ours)?;
    let derived = configs.derive(&ours.envoy)?;
    Ok([
        Row::start(row::Kind::NoFilter, binary, &derived.no_filter)?,
        Row::start(row::Kind::OwnRoutes, binary, &derived.own_routes)?,
        ours,
    ])
}

/// One round: `requests` requests for each row.
fn measure(rows: &[Row; 3], workload: &Workload, requests: u64) -> Result<Round> {
    let mut cpu_times = [Duration::ZERO; 3];
    for slice in 0..SLICES {
        let range = requests * slice / SLICES..requests * (slice + 1) / SLICES;
        let mut order = [0, 1, 2];
        if slice % 2 == 1 {
            order.reverse();
        }
        for index in order {
            thread::sleep(SETTLE);
            cpu_times[index] += rows[index].measure(workload, range.clone())?;
        }
    }
    let [no_filter, own_routes, our_filter] =
        cpu_times.map(|cpu_time| cpu_time.as_secs_f64() * 1e6 / requests as f64);
    Ok(Round { no_filter, own_routes, our_filter })
}
