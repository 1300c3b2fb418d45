//! The table `latency`: how much later responses come with our filter, at a fixed rate that leaves
//! Envoy idle most of the time. From the last byte sent to the whole response, seen by the client.

use std::thread;

use anyhow::{Result, ensure};
use portolan_e2e::load::Load;
use portolan_e2e::{Scratch, Upstream};

use crate::SETTLE;
use crate::claims::{Claim, Outcome};
use crate::configs::Configs;
use crate::cores::Cores;
use crate::machine::Machine;
use crate::options::Options;
use crate::others::Reading;
use crate::report::Rounds;
use crate::row::{HEADERS, Kind, Row};
use crate::workload::Workload;

const HOSTS: usize = 1000;
/// Requests per second.
const RATE: f64 = 1000.0;
/// How many requests a row gets in a round, in so many parts.
const REQUESTS: u64 = 4000;
const SLICES: usize = 4;
/// Microseconds that the filter may add to the median, and to all but one of a hundred.
const BUDGETS: [(f64, f64); 2] = [(0.5, 15.0), (0.99, 100.0)];

pub(crate) fn run(options: &Options, cores: &Cores, machine: &Machine) -> Result<Outcome> {
    let began = Reading::now([])?;
    let scratch = Scratch::new()?;
    let address = portolan_e2e::scratch::loopback_address();
    let upstream = Upstream::builder().address(address).quiet().start()?;
    let workload = Workload::new(HOSTS, 1, address);
    eprintln!("bench: latency, Envoy {}: starting two Envoys", machine.envoy);
    let configs = Configs::generate(&scratch, &workload, upstream.addr().port())?;
    let rows = cores.on_envoys(|| Row::without_and_with(&machine.binary, &configs))?;
    let mut tables = BUDGETS.map(|(share, _)| Rounds {
        title: format!("{RATE} requests/s: p{:.0}, µs", share * 100.0),
        rows: rows.iter().map(|row| row.kind.to_string()).collect(),
        rounds: Vec::new(),
    });
    for number in 0..=options.rounds {
        let mut latencies = [Vec::new(), Vec::new()];
        for slice in 0..SLICES {
            let mut order = [0, 1];
            if slice % 2 == 1 {
                order.reverse();
            }
            for index in order {
                thread::sleep(SETTLE);
                latencies[index].extend(send(&rows[index], &workload)?);
            }
        }
        // The first warms up.
        if number == 0 {
            continue;
        }
        for (table, (share, _)) in tables.iter_mut().zip(BUDGETS) {
            let at = |latencies: &mut Vec<u32>| {
                latencies.sort_unstable();
                let index = ((latencies.len() - 1) as f64 * share).round() as usize;
                f64::from(latencies[index])
            };
            table.rounds.push(latencies.iter_mut().map(at).collect());
        }
        eprintln!("bench: latency, round {number} of {}", options.rounds);
    }
    let mut claims = Vec::new();
    for (table, (_, budget)) in tables.iter().zip(BUDGETS) {
        print!("{table}");
        let name = format!("{}, {} - {}", table.title, Kind::OurFilter, Kind::NoFilter);
        claims.push(Claim::new(name, table.differences(1, 0), budget)?);
    }
    let others = Reading::now([])?.others_since(&began, machine.cores);
    Ok(Outcome { table: "latency", others, claims })
}

/// Microseconds of each response.
fn send(row: &Row, workload: &Workload) -> Result<Vec<u32>> {
    let sent = workload.requests.iter().map(|request| (&*request.sent.authority, &*request.sent.path));
    let requests = REQUESTS / SLICES as u64;
    let mut load = Load::new(row.address, &sent.collect::<Vec<_>>(), requests);
    load.connections = 4;
    load.rate = Some(RATE);
    load.headers = HEADERS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let outcome = load.run()?;
    ensure!(
        outcome.responses == requests && outcome.not_2xx == 0,
        "row `{}`: {} responses, {:?}",
        row.kind,
        outcome.responses,
        outcome.first_error
    );
    Ok(outcome.latencies().to_vec())
}
