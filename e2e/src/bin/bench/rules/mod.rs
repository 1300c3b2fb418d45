//! The table `rules`: many rules in one virtual host, of which the last is hit.
//!
//! | variant | Envoy with |
//! | --- | --- |
//! | `ours` | our filter, and what `config-gen` writes |
//! | `list` | the same virtual hosts as lists of Envoy's own routes, as istiod generates them |
//! | `tree` | the same as Envoy's matcher trees, where these can express the rules |
//!
//! There is one Envoy for each variant; it has all kinds and sizes at once, each as a virtual host, so
//! that sizes are compared within one process. A cell is one size of one kind in one variant. In each
//! round every cell gets as many requests as take about the same CPU time, and neighbours in the
//! table follow each other; every other round goes backwards. What differs between ours and the
//! others is filter and routes alone (see [`crate::configs`]).
//!
//! Before anything is measured, each cell's request must have been forwarded by the last rule. Then,
//! unless `--forward` is given, the same routes are measured with answers of Envoy's own
//! (`direct_response`) in place of the clusters: forwarding costs twice as much as the rest of a
//! request, the same in all variants, and would hide what differs.
//!
//! Loading is measured apart (see [`reload`]).

mod cases;
mod envoy_routes;
pub(crate) mod reload;
mod report;
pub(crate) mod server;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use portolan_e2e::scratch::loopback_address;
use portolan_e2e::{Scratch, Upstream};
use serde_json::{Value, json};

use crate::SETTLE;
use crate::claims::Outcome;
use crate::configs;
use crate::cores::Cores;
use crate::machine::Machine;
use crate::options::Options;
use crate::others::Reading;
use cases::{KINDS, Kind, Sent};
use report::Report;
use server::{Requests, Server};

/// As in the table `hosts`.
const CONNECTIONS: usize = 8;

/// By so many requests it is found out what one costs.
const CALIBRATION: u64 = 64;

/// Few requests would measure the opening of connections, and many last too long where the load
/// generator is slower than Envoy.
const REQUESTS: (f64, f64) = (100.0, 20_000.0);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Ours,
    List,
    Tree,
}

/// What is measured as one number.
#[derive(Debug)]
struct Cell {
    kind: &'static Kind,
    size: usize,
    variant: Variant,
    authority: String,
    sent: Sent,
    /// Requests in each round; 0 until it is known what one costs.
    count: u64,
}

/// Microseconds of CPU time per request, in the order of the cells.
type Round = Vec<f64>;

/// The Envoys of the three variants.
struct Servers {
    ours: Server,
    list: Server,
    tree: Server,
}

/// Measures it. Prints the table.
pub(crate) fn run(options: &Options, cores: &Cores, machine: &Machine) -> Result<Outcome> {
    let address = loopback_address();
    let upstream = Upstream::builder().address(address).quiet().start()?;
    let port = upstream.addr().port();

    eprintln!("bench: rules, Envoy {}: loading", machine.envoy);
    let loads = reload::measure(options, cores, machine, address, port)?;

    eprintln!("bench: rules, Envoy {}: starting three Envoys, checking which rules are hit", machine.envoy);
    let scratch = Scratch::new()?;
    let start = |configs: &Configs| cores.on_envoys(|| Servers::start(configs, &machine.binary));
    let (forwarding, mut cells) = cores.on_envoys(|| prepare(&scratch, &machine.binary, address, port))?;
    let mut servers = start(&forwarding)?;
    for cell in &cells {
        let before = servers.of(cell.variant).last_rule_hits()?;
        cell.send_to(&servers, CALIBRATION)?;
        let hits = servers.of(cell.variant).last_rule_hits()? - before;
        let expected = if cell.kind.is_miss { 0 } else { CALIBRATION };
        ensure!(hits == expected, "{cell:?}: the last rule was hit {hits} times, not {expected}");
    }
    if !options.forward {
        drop(servers);
        servers = start(&forwarding.answered_by_envoy(&scratch)?)?;
    }
    for cell in &mut cells {
        let cost = cell.send_to(&servers, CALIBRATION)?.as_secs_f64() / CALIBRATION as f64;
        let wanted = options.slice as f64 / 1e3 / cost;
        cell.count = wanted.clamp(REQUESTS.0, REQUESTS.1) as u64;
    }

    let processes = || [&servers.ours, &servers.list, &servers.tree].map(|server| server.envoy.pid());
    let began = Reading::now(processes())?;
    let mut rounds = Vec::new();
    for number in 0..=options.rounds {
        let before = Reading::now(processes())?;
        let round = measure(&servers, &cells, number % 2 == 1)?;
        let others = Reading::now(processes())?.others_since(&before, machine.cores);
        if number == 0 {
            eprintln!("bench: rules, warmed up with {} cells", cells.len());
            continue;
        }
        eprintln!("bench: rules, round {number} of {}; others used {others:.2} cores", options.rounds);
        rounds.push(round);
    }
    let others = Reading::now(processes())?.others_since(&began, machine.cores);
    drop(servers);

    let report = Report::new(options, machine, others, &cells, &rounds, &loads)?;
    print!("{report}");
    Ok(report.outcome)
}

/// The bootstraps of all variants, whose routes forward, and the cells.
fn prepare(scratch: &Scratch, binary: &Path, address: Ipv4Addr, port: u16) -> Result<(Configs, Vec<Cell>)> {
    let hosts: Vec<(&'static Kind, usize)> =
        KINDS.iter().flat_map(|kind| kind.sizes.iter().map(move |&size| (kind, size))).collect();
    let output = configs::generate(scratch, OURS, &cases::registry(&hosts, address), port)?;
    let all = configs::virtual_hosts(&output)?;
    let ours = output.join("envoy.yaml");
    let bootstrap = configs::bootstrap(&Server::start(binary, &ours, 1)?.envoy)?;
    let action = configs::route_action(&bootstrap)?;
    let (mut lists, mut trees, mut cells) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, size) in hosts {
        let authority = kind.authority(size);
        let names = |host: &&Value| host["domains"][0].as_str() == Some(&*authority);
        let host = all.iter().find(names).with_context(|| format!("no virtual host {authority}"))?;
        let mut cell = |variant| {
            let sent = (kind.request)(size - 1);
            cells.push(Cell { kind, size, variant, authority: authority.clone(), sent, count: 0 });
        };
        cell(Variant::Ours);
        lists.push(envoy_routes::list(host, &action)?);
        cell(Variant::List);
        if let Some(tree) = envoy_routes::tree(host, &action)? {
            trees.push(tree);
            cell(Variant::Tree);
        }
    }
    let list = configs::with_routes(bootstrap.clone(), &lists)?;
    let tree = configs::with_routes(bootstrap.clone(), &trees)?;
    Ok((Configs::write(scratch, "forwarding", [bootstrap, list, tree])?, cells))
}

/// The folder of our files: the bootstrap names them relative to it.
const OURS: &str = "ours";

/// The bootstraps in the order of the variants.
struct Configs([(Value, PathBuf); 3]);

impl Configs {
    fn write(scratch: &Scratch, name: &str, bootstraps: [Value; 3]) -> Result<Self> {
        let mut configs = Vec::new();
        for (bootstrap, variant) in bootstraps.into_iter().zip([Variant::Ours, Variant::List, Variant::Tree])
        {
            let path =
                scratch.write(&format!("{OURS}/{name}-{variant}.json"), serde_json::to_vec(&bootstrap)?)?;
            configs.push((bootstrap, path));
        }
        configs.try_into().map(Self).map_err(|_| anyhow!("not three variants"))
    }

    /// The same with answers in place of clusters.
    fn answered_by_envoy(self, scratch: &Scratch) -> Result<Self> {
        let bootstraps = self.0.map(|(mut bootstrap, _)| {
            answer_directly(&mut bootstrap);
            bootstrap
        });
        Self::write(scratch, "answering", bootstraps)
    }
}

/// Replaces the actions of all routes that forward.
fn answer_directly(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let forwards = |action: &Value| action.get("cluster").or(action.get("cluster_header")).is_some();
            if object.get("route").is_some_and(forwards) {
                object.remove("route");
                let answer = json!({"status": 200, "body": {"inline_string": "answer\n"}});
                object.insert("direct_response".to_owned(), answer);
            }
            object.values_mut().for_each(answer_directly);
        }
        Value::Array(values) => values.iter_mut().for_each(answer_directly),
        _ => {}
    }
}

fn measure(servers: &Servers, cells: &[Cell], backwards: bool) -> Result<Round> {
    let mut round = vec![0.0; cells.len()];
    let mut order: Vec<usize> = (0..cells.len()).collect();
    if backwards {
        order.reverse();
    }
    for index in order {
        thread::sleep(SETTLE);
        let cell = &cells[index];
        round[index] = cell.send_to(servers, cell.count)?.as_secs_f64() * 1e6 / cell.count as f64;
    }
    Ok(round)
}

impl Servers {
    fn start(configs: &Configs, binary: &Path) -> Result<Self> {
        let [ours, list, tree] = configs.0.each_ref().map(|(_, path)| Server::start(binary, path, 1));
        Ok(Self { ours: ours?, list: list?, tree: tree? })
    }

    fn of(&self, variant: Variant) -> &Server {
        match variant {
            Variant::Ours => &self.ours,
            Variant::List => &self.list,
            Variant::Tree => &self.tree,
        }
    }
}

impl Cell {
    /// The CPU time that so many of its requests take.
    fn send_to(&self, servers: &Servers, count: u64) -> Result<Duration> {
        let requests = Requests {
            authority: &self.authority,
            sent: std::slice::from_ref(&self.sent),
            are_missing: self.kind.is_miss,
            connections: CONNECTIONS,
            count,
        };
        servers.of(self.variant).cost(&requests)
    }
}
