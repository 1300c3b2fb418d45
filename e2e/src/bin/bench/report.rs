//! What is printed of tables that measure rows in rounds.

use std::fmt;

use crate::statistics::Summary;

/// Rows of which each was measured once in each round.
#[derive(Debug)]
pub(crate) struct Rounds {
    /// What it is of, and the unit.
    pub(crate) title: String,
    pub(crate) rows: Vec<String>,
    /// In the order of the rows.
    pub(crate) rounds: Vec<Vec<f64>>,
}

impl Rounds {
    /// One row relative to another, of the same round each time: what a round suffers from, such as a
    /// busy machine, is then in both. (The ratio of two medians would compare rows of different
    /// rounds.)
    pub(crate) fn ratios(&self, one: usize, other: usize) -> Vec<f64> {
        self.rounds.iter().map(|round| round[one] / round[other]).collect()
    }

    /// The same, of differences.
    pub(crate) fn differences(&self, one: usize, other: usize) -> Vec<f64> {
        self.rounds.iter().map(|round| round[one] - round[other]).collect()
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<36}{:>9}   {:<18}  quartiles", self.title, "median", "min..max")?;
        for (row, name) in self.rows.iter().enumerate() {
            let Some(seen) = Summary::of(self.rounds.iter().map(|round| round[row])) else { continue };
            let range = |low: f64, high: f64| format!("{low:.2}..{high:.2}");
            writeln!(
                f,
                "{name:<36}{:>9.2}   {:<18}  {}",
                seen.median,
                range(seen.min, seen.max),
                range(seen.lower_quartile, seen.upper_quartile)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine is slower from round to round, the ratio stays.
        let rounds =
            [(1.0, 12.0), (3.0, 11.0), (2.0, 13.0)].map(|(factor, ours)| vec![10.0 * factor, ours * factor]);
        let rounds =
            Rounds { title: "x".into(), rows: vec!["a".into(), "b".into()], rounds: rounds.to_vec() };
        let near = |value: &f64, expected: f64| (value - expected).abs() < 1e-9;
        assert!(
            rounds.ratios(1, 0).iter().zip([1.2, 1.1, 1.3]).all(|(value, expected)| near(value, expected))
        );
        assert!(near(&rounds.differences(1, 0)[1], 3.0));
    }
}
