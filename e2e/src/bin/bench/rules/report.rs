//! What is printed of the table `rules`.

use std::fmt;

use anyhow::{Context as _, Result};

use super::reload::Loading;
use super::{Cell, Round, Variant};
use crate::claims::{Claim, Outcome};
use crate::machine::Machine;
use crate::options::Options;
use crate::statistics::Summary;

/// Most that ours may cost, of what it costs with ten rules.
const GROWTH: f64 = 1.15;
const STEADY: [&str; 6] = ["prefix", "exact", "regex", "common-prefix", "nested", "miss"];

/// Most that ours may cost, of what Envoy's own list costs: kind, size, quotient.
const SHARES: [(&str, usize, f64); 5] = [
    ("prefix", 10_000, 0.20),
    ("regex", 10_000, 0.022),
    ("regex-no-literal", 1000, 0.3),
    ("header", 1000, 0.5),
    ("query", 1000, 0.5),
];

/// Megabytes of a VM, milliseconds of loading, milliseconds of the slowest request after it.
const MEMORY: f64 = 60.0;
const LOAD: f64 = 150.0;
const SLOWEST: f64 = 2.0;

/// The results of a run.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    options: &'a Options,
    machine: &'a Machine,
    /// In the order of the cells.
    costs: Vec<(&'a Cell, Summary)>,
    pub(crate) outcome: Outcome,
}

impl<'a> Report<'a> {
    /// There must be at least one round. `others`: how many cores something else used.
    pub(crate) fn new(
        options: &'a Options,
        machine: &'a Machine,
        others: f64,
        cells: &'a [Cell],
        rounds: &[Round],
        loadings: &[Loading],
    ) -> Result<Self> {
        let place = |kind: &str, size: usize, variant: Variant| {
            let is_it = |cell: &Cell| cell.kind.name == kind && cell.size == size && cell.variant == variant;
            cells.iter().position(is_it)
        };
        let ratio = |one: Option<usize>, other: Option<usize>| {
            let (one, other) = (one?, other?);
            Some(rounds.iter().map(|round| round[one] / round[other]).collect::<Vec<_>>())
        };
        let mut claims = Vec::new();
        let mut claim = |name: String, seen: Option<Vec<f64>>, budget: f64| -> Result<()> {
            claims.push(Claim::new(name, seen.unwrap_or_default(), budget)?);
            Ok(())
        };
        for kind in STEADY {
            let at = |size| place(kind, size, Variant::Ours);
            claim(format!("{kind}: ours at 10000 / ours at 10"), ratio(at(10_000), at(10)), GROWTH)?;
        }
        for (kind, size, share) in SHARES {
            let of = |variant| place(kind, size, variant);
            claim(
                format!("{kind}: ours / list, at {size}"),
                ratio(of(Variant::Ours), of(Variant::List)),
                share,
            )?;
        }
        for loading in loadings {
            let name = loading.name;
            let used = loading.memory + loading.memory_of_use.max(0.0);
            claim(format!("{name}: MB of a VM"), Some(vec![loading.memory]), MEMORY)?;
            claim(format!("{name}: MB of a VM, all rules used"), Some(vec![used]), MEMORY)?;
            claim(format!("{name}: ms to load"), Some(loading.load.clone()), LOAD)?;
            let all = |times: &[f64]| Some(times.to_vec());
            claim(format!("{name}: ms, slowest request"), all(&loading.slowest), SLOWEST)?;
            claim(format!("{name}: ms, the same sent again"), all(&loading.settled), SLOWEST)?;
            claim(format!("{name}: ms of CPU, dearest request"), all(&loading.dearest), SLOWEST)?;
        }
        let costs = cells.iter().enumerate().map(|(index, cell)| {
            let summary = Summary::of(rounds.iter().map(|round| round[index]));
            Ok((cell, summary.context("no round was measured")?))
        });
        let costs = costs.collect::<Result<_>>()?;
        Ok(Self { options, machine, costs, outcome: Outcome { table: "rules", others, claims } })
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "ours",
            Self::List => "list",
            Self::Tree => "tree",
        })
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, machine, .. } = self;
        writeln!(f, "\nrules    {} cores, {}, Linux {}", machine.cores, machine.cpu, machine.kernel)?;
        writeln!(f, "Envoy    {}, 1 worker; module of {} bytes", machine.envoy, machine.module_bytes)?;
        writeln!(
            f,
            "work     the last rule is hit, {}; {} round(s) of about {} ms for each cell",
            if options.forward { "requests are forwarded" } else { "Envoy answers by itself" },
            options.rounds,
            options.slice
        )?;

        writeln!(f, "\nCPU time of Envoy, µs per request: median (quartiles)")?;
        let cell = |text: &str| format!("{text:<26}");
        let titles = ["ours", "list", "tree"].map(cell).concat();
        writeln!(f, "{:<18}{:>6}  {}", "kind", "rules", titles.trim_end())?;
        for row in self.costs.chunk_by(|(a, _), (b, _)| (a.kind.name, a.size) == (b.kind.name, b.size)) {
            let costs: String = row
                .iter()
                .map(|(_, cost)| {
                    let (low, high) = (cost.lower_quartile, cost.upper_quartile);
                    cell(&format!("{:.1} ({low:.1}..{high:.1})", cost.median))
                })
                .collect();
            if let [(first, _), ..] = row {
                writeln!(f, "{:<18}{:>6}  {}", first.kind.name, first.size, costs.trim_end())?;
            }
        }

        Ok(())
    }
}
