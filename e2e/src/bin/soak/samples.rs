//! What Envoy takes, over time, and whether that stays what it is.

use std::fmt;

use anyhow::Result;
use portolan_e2e::{Envoy, usage};

/// How much more the last third of the time may have than the second one, of either.
const GROWTH: f64 = 0.05;

/// So few file descriptors more aren't growth: connections come and go.
const FEW_DESCRIPTORS: f64 = 5.0;

/// Memory and file descriptors at points of time.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// Resident memory, in MiB.
    memory: Vec<f64>,
    file_descriptors: Vec<f64>,
}

/// The medians of the second third of the time and of the last one. The first third is left out,
/// as there what grows to its lasting size does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Course {
    pub(crate) before: f64,
    pub(crate) after: f64,
}

impl Samples {
    pub(crate) fn take(&mut self, envoy: &Envoy) -> Result<()> {
        self.memory.push(envoy.rss()? as f64 / f64::from(1 << 20));
        self.file_descriptors.push(usage::file_descriptors(envoy.pid())? as f64);
        Ok(())
    }

    pub(crate) fn memory(&self) -> Course {
        Course::of(&self.memory)
    }

    pub(crate) fn file_descriptors(&self) -> Course {
        Course::of(&self.file_descriptors)
    }

    pub(crate) fn are_flat(&self) -> bool {
        let (memory, descriptors) = (self.memory(), self.file_descriptors());
        memory.growth() <= GROWTH
            && (descriptors.growth() <= GROWTH || descriptors.after <= descriptors.before + FEW_DESCRIPTORS)
    }
}

impl Course {
    fn of(values: &[f64]) -> Self {
        let third = values.len() / 3;
        Self { before: median(&values[third..2 * third]), after: median(&values[2 * third..]) }
    }

    fn growth(self) -> f64 {
        self.after / self.before.max(f64::EPSILON) - 1.0
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} then {:.1} ({:+.1} %)", self.before, self.after, 100.0 * self.growth())
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
