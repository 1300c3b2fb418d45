//! Medians and spreads.

use serde::Serialize;

/// The middle of some numbers, and how far they spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// A quarter of the numbers is below it.
    pub(crate) lower_quartile: f64,
    /// A quarter of the numbers is above it.
    pub(crate) upper_quartile: f64,
}

impl Summary {
    /// `None` without any number.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 0.5)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
            lower_quartile: quantile(&sorted, 0.25)?,
            upper_quartile: quantile(&sorted, 0.75)?,
        })
    }
}

/// The number below which the share `share` of the numbers lies, between two of them in
/// proportion (type 7 of Hyndman and Fan, as in R and NumPy).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let position = sorted.len().checked_sub(1)? as f64 * share;
    let below = *sorted.get(position.floor() as usize)?;
    let above = *sorted.get(position.ceil() as usize)?;
    Some(below + (above - below) * position.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_number_of_numbers() {
        let summary = Summary::of([5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        let expected = Summary { median: 3.0, min: 1.0, max: 5.0, lower_quartile: 2.0, upper_quartile: 4.0 };
        assert_eq!(summary, expected);
    }

    #[test]
    fn an_even_number_of_numbers() {
        let summary = Summary::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        let expected =
            Summary { median: 2.5, min: 1.0, max: 4.0, lower_quartile: 1.75, upper_quartile: 3.25 };
        assert_eq!(summary, expected);
    }

    #[test]
    fn one_number_and_none() {
        let summary = Summary::of([7.0]).unwrap();
        assert_eq!((summary.median, summary.lower_quartile, summary.max), (7.0, 7.0, 7.0));
        assert_eq!(Summary::of([]), None);
    }
}
