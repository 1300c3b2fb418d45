//! Numbers that have a budget, from all tables.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::json;

use crate::machine::Machine;
use crate::statistics::Summary;

/// With more than so many cores used by others, a table says that it is worth less.
const OTHERS: f64 = 0.1;

/// A number and what it may be at most.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Claim {
    /// What it is, with its unit; of a quotient, what is divided by what.
    pub(crate) name: String,
    /// What was seen; in several rounds, or once.
    pub(crate) seen: Summary,
    /// The most that is allowed.
    pub(crate) budget: f64,
}

/// What a number is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The median is within the budget.
    Met,
    /// The median is above it, by less than the rounds differ: a quarter of them were within.
    WithinSpread,
    /// Most rounds were above it.
    Exceeded,
}

impl Claim {
    /// A number that was seen once or more; an error where it never was.
    pub(crate) fn new(
        name: impl Into<String>,
        seen: impl IntoIterator<Item = f64>,
        budget: f64,
    ) -> Result<Self> {
        let name = name.into();
        let seen = Summary::of(seen).with_context(|| format!("{name} was not measured"))?;
        Ok(Self { name, seen, budget })
    }

    pub(crate) fn verdict(&self) -> Verdict {
        if self.seen.median <= self.budget {
            Verdict::Met
        } else if self.seen.lower_quartile <= self.budget && self.seen.lower_quartile < self.seen.median {
            Verdict::WithinSpread
        } else {
            Verdict::Exceeded
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "met",
            Self::WithinSpread => "within the spread",
            Self::Exceeded => "exceeded",
        })
    }
}

/// The claims of one table.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) table: &'static str,
    /// How many cores something else used meanwhile.
    pub(crate) others: f64,
    pub(crate) claims: Vec<Claim>,
}

impl Outcome {
    pub(crate) fn is_met(&self) -> bool {
        self.claims.iter().all(|claim| claim.verdict() != Verdict::Exceeded)
    }
}

/// All tables, as they are printed at the end.
#[derive(Debug)]
pub(crate) struct Outcomes<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) tables: Vec<Outcome>,
}

impl Outcomes<'_> {
    pub(crate) fn is_met(&self) -> bool {
        self.tables.iter().all(Outcome::is_met)
    }

    /// Appends one line of JSON for each table.
    pub(crate) fn append_to(&self, path: &Path) -> Result<()> {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let write = || -> Result<()> {
            let mut file = File::options().create(true).append(true).open(path)?;
            for outcome in &self.tables {
                let line = json!({
                    "unix_time": time,
                    "machine": self.machine,
                    "table": outcome.table,
                    "cores_used_by_others": outcome.others,
                    "claims": outcome.claims,
                    "met": outcome.is_met(),
                });
                file.write_all(format!("{line}\n").as_bytes())?;
            }
            Ok(())
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}

impl fmt::Display for Outcomes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, cpu, architecture, kernel, envoy, module_bytes, .. } = self.machine;
        writeln!(f, "\nmachine  {cores} cores, {cpu}, {architecture}, Linux {kernel}")?;
        writeln!(f, "Envoy    {envoy}; module of {module_bytes} bytes")?;
        writeln!(f, "\n{:<66}{:>9}  {:<20}{:>8}", "", "median", "quartiles", "budget")?;
        for outcome in &self.tables {
            let Outcome { table, others, claims } = outcome;
            let warning = if *others > OTHERS { ": better run it again alone" } else { "" };
            writeln!(f, "{table} (others used {others:.2} cores{warning})")?;
            for claim in claims {
                let Claim { name, seen, budget } = claim;
                let quartiles = format!("{:.3}..{:.3}", seen.lower_quartile, seen.upper_quartile);
                let median = format!("{:.3}", seen.median);
                writeln!(f, "  {name:<64}{median:>9}  {quartiles:<20}{budget:>8}  {}", claim.verdict())?;
            }
        }
        let all = self.tables.iter().flat_map(|outcome| &outcome.claims);
        let of = |wanted| all.clone().filter(|claim| claim.verdict() == wanted).count();
        writeln!(
            f,
            "\nbudgets: {} met, {} within the spread, {} exceeded",
            of(Verdict::Met),
            of(Verdict::WithinSpread),
            of(Verdict::Exceeded)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_smaller_than_the_spread_is_none() {
        let verdict = |seen: &[f64]| Claim::new("x", seen.iter().copied(), 1.0).unwrap().verdict();
        assert_eq!(verdict(&[0.9, 1.0, 1.3]), Verdict::Met);
        assert_eq!(verdict(&[0.9, 1.0, 1.1, 1.2, 1.2]), Verdict::WithinSpread);
        assert_eq!(verdict(&[1.1, 1.1, 1.2]), Verdict::Exceeded);
        assert_eq!(verdict(&[1.1]), Verdict::Exceeded);
        assert!(Claim::new("x", [], 1.0).is_err());
    }
}
