//! `make bench`: what requests cost in Envoy, and whether that is within the budgets.
//!
//! The cost is the CPU time of the whole Envoy process in microseconds per request, with one
//! worker on a core of its own (see [`cores`]). As times of two runs, or of two machines, say
//! little, the result is a **ratio** of variants within one round. The tables:
//!
//! - [`hosts`]: no filter, Envoy's own routes, our filter and Lua, for many hosts with a rewrite;
//! - [`rules`]: many rules in one virtual host, and loading them;
//! - [`bodies`]: large requests and responses;
//! - [`latency`]: what the filter adds to the time of a response, at a fixed rate;
//! - [`scale`]: many plain services; the plugin config, memory and the time to be ready;
//! - [`clusters`]: many services with TLS, generated, started and called; times and memory.
//!
//! The exit status is 0 when all budgets are met, 1 when one is exceeded, and 2 when there is no
//! result, such as when one request failed.

mod bodies;
mod claims;
mod clusters;
mod configs;
mod cores;
mod hosts;
mod latency;
mod machine;
mod options;
mod others;
mod plot;
mod report;
mod row;
mod rules;
mod scale;
mod statistics;
mod workload;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portolan_e2e::places;

use claims::Outcomes;
use cores::Cores;
use machine::Machine;
use options::{Command, Options, Table};

/// Between two slices: what the one Envoy does after its last response, such as closing
/// connections, shall not take the processor from the next one.
const SETTLE: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("bench: {error:#}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    match bench(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("bench failed: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all budgets are met.
fn bench(options: &Options) -> Result<bool> {
    let version = match &options.envoy {
        Some(version) => version.clone(),
        None => places::envoy_versions()?.pop().context("no Envoy")?,
    };
    let cores = Cores::divide()?;
    let machine = Machine::look(&version, &cores)?;
    let mut outcomes = Outcomes { machine: &machine, tables: Vec::new() };
    for table in &options.tables {
        outcomes.tables.push(match table {
            Table::Hosts => hosts::run(options, &cores, &machine)?,
            Table::Rules => rules::run(options, &cores, &machine)?,
            Table::Bodies => bodies::run(options, &cores, &machine)?,
            Table::Latency => latency::run(options, &cores, &machine)?,
            Table::Scale => scale::run(options, &cores, &machine)?,
            Table::Clusters => clusters::run(options, &cores, &machine)?,
        });
    }
    print!("{outcomes}");
    if let Some(file) = &options.json {
        outcomes.append_to(file)?;
    }
    if let Some(file) = &options.plot {
        plot::write(&outcomes, file)?;
    }
    Ok(outcomes.is_met())
}
