//! What is printed of the table `hosts`, and what is written for machines.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::machine::Machine;
use crate::options::Options;
use crate::row::Kind;
use crate::statistics::{Round, Summary};

/// A request through our filter may cost this much, relative to Envoy's own routes.
const BUDGET: f64 = 1.25;

/// With more than so many cores used by others, the report says that it is worth less.
const OTHERS: f64 = 0.1;

/// The results of a run.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    options: &'a Options,
    machine: &'a Machine,
    others: f64,
    rounds: Vec<Round>,
    rows: [(Kind, Summary); 3],
    ratios: [(Kind, Kind, Summary); 3],
}

impl<'a> Report<'a> {
    /// There must be at least one round. `others`: how many cores something else used.
    pub(crate) fn new(
        options: &'a Options,
        machine: &'a Machine,
        others: f64,
        rounds: Vec<Round>,
    ) -> Result<Self> {
        let row = |kind| Some((kind, Summary::of(rounds.iter().map(|round| cost(round, kind)))?));
        let ratio = |one, other| {
            let summary = Summary::of_ratio(&rounds, |round| cost(round, one), |round| cost(round, other))?;
            Some((one, other, summary))
        };
        let summarise = || {
            let rows = [row(Kind::NoFilter)?, row(Kind::OwnRoutes)?, row(Kind::OurFilter)?];
            let ratios = [
                ratio(Kind::OurFilter, Kind::OwnRoutes)?,
                ratio(Kind::OurFilter, Kind::NoFilter)?,
                ratio(Kind::OwnRoutes, Kind::NoFilter)?,
            ];
            Some((rows, ratios))
        };
        let (rows, ratios) = summarise().context("no round was measured")?;
        Ok(Self { options, machine, others, rounds, rows, ratios })
    }

    /// Whether the median is within the budget.
    pub(crate) fn is_met(&self) -> bool {
        self.claim().median <= BUDGET
    }

    /// Our filter relative to Envoy's own routes.
    fn claim(&self) -> Summary {
        let [(_, _, claim), ..] = self.ratios;
        claim
    }

    /// Appends one line of JSON.
    pub(crate) fn append_to(&self, path: &Path) -> Result<()> {
        let [no_filter, own_routes, our_filter] = &self.rows;
        let [ours_to_own, ours_to_none, own_to_none] = &self.ratios;
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let line = json!({
            "table": "hosts",
            "unix_time": time,
            "machine": self.machine,
            "cores_used_by_others": self.others,
            "hosts": self.options.hosts,
            "rules": self.options.rules,
            "requests": self.options.requests,
            "micros_per_request": {
                "rounds": self.rounds,
                "no_filter": no_filter.1,
                "own_routes": own_routes.1,
                "our_filter": our_filter.1,
            },
            "ratios": {
                "our_filter_to_own_routes": ours_to_own.2,
                "our_filter_to_no_filter": ours_to_none.2,
                "own_routes_to_no_filter": own_to_none.2,
            },
            "budget": {"our_filter_to_own_routes": BUDGET, "met": self.is_met()},
        });
        let write = || -> std::io::Result<()> {
            let mut file = File::options().create(true).append(true).open(path)?;
            file.write_all(format!("{line}\n").as_bytes())
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}

fn cost(round: &Round, kind: Kind) -> f64 {
    match kind {
        Kind::NoFilter => round.no_filter,
        Kind::OwnRoutes => round.own_routes,
        Kind::OurFilter => round.our_filter,
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, machine, others, .. } = self;
        writeln!(
            f,
            "machine  {} cores, {}, {}, Linux {}",
            machine.cores, machine.cpu, machine.architecture, machine.kernel
        )?;
        let warning = if *others > OTHERS { ": better run it again alone" } else { "" };
        writeln!(f, "others   used {others:.2} cores meanwhile{warning}")?;
        match machine.envoys_core {
            Some(core) => writeln!(f, "Envoy    {}, 1 worker, alone on core {core}", machine.envoy)?,
            None => writeln!(f, "Envoy    {}, 1 worker, sharing the only core", machine.envoy)?,
        }
        writeln!(f, "module   {} bytes", machine.module_bytes)?;
        writeln!(
            f,
            "work     {} hosts with {} rule(s) each; {} round(s) of {} requests for each row",
            options.hosts, options.rules, options.rounds, options.requests
        )?;

        heading(f, "CPU time of Envoy, µs per request")?;
        for (kind, summary) in &self.rows {
            line(f, &kind.to_string(), summary)?;
        }
        heading(f, "ratio, in the same round")?;
        for (one, other, summary) in &self.ratios {
            line(f, &format!("{one} / {other}"), summary)?;
        }

        let claim = self.claim();
        // With a digit more than the budget has: a median just above it shall look like that.
        let verdict = if self.is_met() { "met" } else { "exceeded" };
        writeln!(
            f,
            "\n{} / {}: {:.3} ({:.3}..{:.3}), budget {BUDGET:.2}: {verdict}",
            Kind::OurFilter,
            Kind::OwnRoutes,
            claim.median,
            claim.min,
            claim.max
        )
    }
}

fn heading(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    writeln!(f, "\n{name:<36}{:>8}   {:<14}  quartiles", "median", "min..max")
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, summary: &Summary) -> fmt::Result {
    let range = |low: f64, high: f64| format!("{low:.2}..{high:.2}");
    writeln!(
        f,
        "{name:<36}{:>8.2}   {:<14}  {}",
        summary.median,
        range(summary.min, summary.max),
        range(summary.lower_quartile, summary.upper_quartile)
    )
}
