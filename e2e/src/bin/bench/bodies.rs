//! The table `bodies`: what requests and responses with a body of 1 MB cost, with our filter and
//! without one. The module doesn't export what Envoy would call for each piece of a body.

use std::thread;

use anyhow::{Result, ensure};
use portolan_e2e::load::Load;
use portolan_e2e::upstream::Reply;
use portolan_e2e::{Scratch, Upstream};

use crate::SETTLE;
use crate::claims::{Claim, Outcome};
use crate::configs::Configs;
use crate::cores::Cores;
use crate::machine::Machine;
use crate::options::Options;
use crate::others::Reading;
use crate::report::Rounds;
use crate::row::{Kind, Row};
use crate::workload::Workload;

const BODY: usize = 1_000_000;
const HOSTS: usize = 100;
const SLICES: usize = 10;
/// In each slice.
const REQUESTS: u64 = 40;
const BUDGET: f64 = 1.02;

pub(crate) fn run(options: &Options, cores: &Cores, machine: &Machine) -> Result<Outcome> {
    let began = Reading::now([])?;
    let scratch = Scratch::new()?;
    let address = portolan_e2e::scratch::loopback_address();
    let upstream = Upstream::builder()
        .address(address)
        .quiet()
        .handler(|_| Reply::new(200, vec![b'x'; BODY]))
        .start()?;
    let workload = Workload::new(HOSTS, 1, address);
    eprintln!("bench: bodies, Envoy {}: starting two Envoys", machine.envoy);
    let configs = Configs::generate(&scratch, &workload, upstream.addr().port())?;
    let rows = cores.on_envoys(|| Row::without_and_with(&machine.binary, &configs))?;
    let mut rounds = Rounds {
        title: "1 MB bodies: CPU, µs per request".to_owned(),
        rows: rows.iter().map(|row| row.kind.to_string()).collect(),
        rounds: Vec::new(),
    };
    for number in 0..=options.rounds {
        let mut micros = vec![0.0; rows.len()];
        for slice in 0..SLICES {
            let mut order = [0, 1];
            if slice % 2 == 1 {
                order.reverse();
            }
            for index in order {
                thread::sleep(SETTLE);
                let before = rows[index].envoy.cpu_time()?;
                send(&rows[index], &workload)?;
                let spent = rows[index].envoy.cpu_time()?.saturating_sub(before);
                micros[index] += spent.as_secs_f64() * 1e6 / (REQUESTS * SLICES as u64) as f64;
            }
        }
        // The first warms up.
        if number > 0 {
            eprintln!("bench: bodies, round {number} of {}: {micros:.0?} µs", options.rounds);
            rounds.rounds.push(micros);
        }
    }
    print!("{rounds}");
    let name = format!("1 MB request and response: {} / {}", Kind::OurFilter, Kind::NoFilter);
    let others = Reading::now([])?.others_since(&began, machine.cores);
    Ok(Outcome { table: "bodies", others, claims: vec![Claim::new(name, rounds.ratios(1, 0), BUDGET)?] })
}

fn send(row: &Row, workload: &Workload) -> Result<()> {
    let sent = workload.requests.iter().map(|request| (&*request.sent.authority, &*request.sent.path));
    let mut load = Load::new(row.address, &sent.collect::<Vec<_>>(), REQUESTS);
    load.connections = 4;
    load.body = BODY;
    let outcome = load.run()?;
    ensure!(outcome.responses == REQUESTS && outcome.not_2xx == 0, "row `{}`: {outcome:?}", row.kind);
    Ok(())
}
