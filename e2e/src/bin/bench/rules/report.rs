//! What is printed of the table `rules`, and what is written for machines.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::reload::Loading;
use super::{Cell, Round, Variant};
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

/// With more than so many cores used by others, the report says that it is worth less.
const OTHERS: f64 = 0.1;

/// The results of a run.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    options: &'a Options,
    machine: &'a Machine,
    others: f64,
    /// In the order of the cells.
    costs: Vec<(&'a Cell, Summary)>,
    claims: Vec<Claim>,
}

/// A number with its budget.
#[derive(Debug)]
struct Claim {
    name: String,
    seen: Summary,
    budget: f64,
}

impl Claim {
    fn is_met(&self) -> bool {
        self.seen.median <= self.budget
    }
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
            Summary::of_ratio(rounds, |round| round[one], |round| round[other])
        };
        let mut claims = Vec::new();
        let mut claim = |name: String, seen: Option<Summary>, budget: f64| -> Result<()> {
            let seen = seen.with_context(|| format!("{name} was not measured"))?;
            claims.push(Claim { name, seen, budget });
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
            claim(format!("{name}: MB of a VM"), Summary::of([loading.memory]), MEMORY)?;
            claim(format!("{name}: MB of a VM, all rules used"), Summary::of([used]), MEMORY)?;
            claim(format!("{name}: ms to load"), Summary::of(loading.load.iter().copied()), LOAD)?;
            let all = |times: &[f64]| Summary::of(times.iter().copied());
            claim(format!("{name}: ms, slowest request"), all(&loading.slowest), SLOWEST)?;
            claim(format!("{name}: ms, the same sent again"), all(&loading.settled), SLOWEST)?;
            claim(format!("{name}: ms of CPU, dearest request"), all(&loading.dearest), SLOWEST)?;
        }
        let costs = cells.iter().enumerate().map(|(index, cell)| {
            let summary = Summary::of(rounds.iter().map(|round| round[index]));
            Ok((cell, summary.context("no round was measured")?))
        });
        let costs = costs.collect::<Result<_>>()?;
        Ok(Self { options, machine, others, costs, claims })
    }

    /// Whether all medians are within their budgets.
    pub(crate) fn is_met(&self) -> bool {
        self.claims.iter().all(Claim::is_met)
    }

    /// Appends one line of JSON.
    pub(crate) fn append_to(&self, path: &Path) -> Result<()> {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let costs = self.costs.iter().map(|(cell, cost)| {
            let variant = cell.variant.to_string();
            json!({"kind": cell.kind.name, "rules": cell.size, "variant": variant, "micros_per_request": cost})
        });
        let claims = self.claims.iter().map(|claim| {
            json!({"name": claim.name, "seen": claim.seen, "budget": claim.budget, "met": claim.is_met()})
        });
        let line = json!({
            "table": "rules",
            "forward": self.options.forward,
            "unix_time": time,
            "machine": self.machine,
            "cores_used_by_others": self.others,
            "costs": costs.collect::<Vec<_>>(),
            "budgets": claims.collect::<Vec<_>>(),
        });
        let write = || -> std::io::Result<()> {
            let mut file = File::options().create(true).append(true).open(path)?;
            file.write_all(format!("{line}\n").as_bytes())
        };
        write().with_context(|| format!("write {}", path.display()))
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
        let Self { options, machine, others, .. } = self;
        let warning = if *others > OTHERS { ": better run it again alone" } else { "" };
        writeln!(f, "\nrules    {} cores, {}, Linux {}", machine.cores, machine.cpu, machine.kernel)?;
        writeln!(f, "others   used {others:.2} cores meanwhile{warning}")?;
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

        writeln!(
            f,
            "\n{:<44}{:>8}  {:<16}{:>8}",
            "of the same round, or reload", "median", "min..max", "budget"
        )?;
        for claim in &self.claims {
            let Claim { name, seen, budget } = claim;
            let range = format!("{:.3}..{:.3}", seen.min, seen.max);
            let verdict = if claim.is_met() { "met" } else { "exceeded" };
            writeln!(f, "{name:<44}{:>8.3}  {range:<16}{budget:>8}  {verdict}", seen.median)?;
        }
        Ok(())
    }
}
