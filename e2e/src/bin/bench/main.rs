//! `make bench`: what requests cost in Envoy, and whether that is within the budgets.
//!
//! The cost is the CPU time of the whole Envoy process in microseconds per request, with one
//! worker on a core of its own (see [`cores`]). As times of two runs, or of two machines, say
//! little, the result is a **ratio** of variants within one round. The tables:
//!
//! - [`hosts`]: no filter, Envoy's own routes and our filter, for many hosts with a rewrite;
//! - [`rules`]: many rules in one virtual host, and loading them;
//! - [`clusters`]: many services with TLS, generated, started and called; times and memory.
//!
//! The exit status is 0 when all budgets are met, 1 when one is exceeded, and 2 when there is no
//! result, such as when one request failed.

mod clusters;
mod configs;
mod cores;
mod hosts;
mod machine;
mod options;
mod others;
mod report;
mod row;
mod rules;
mod statistics;
mod workload;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portolan_e2e::places;

use cores::Cores;
use machine::Machine;
use options::{Command, Options};

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
    let hosts = !options.tables.hosts || hosts::run(options, &cores, &machine)?;
    let rules = !options.tables.rules || rules::run(options, &cores, &machine)?;
    let clusters = !options.tables.clusters || clusters::run(options, &cores, &machine)?;
    Ok(hosts && rules && clusters)
}
