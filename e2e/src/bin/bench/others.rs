//! What else ran on the machine: it takes caches and cores from Envoy, not from all rows alike.

use std::fs;

use anyhow::{Context as _, Result};

/// CPU time used so far, in clock ticks. Their length is of no interest: only shares of two
/// readings' difference are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// By all cores, idle time included.
    all: u64,
    /// By all cores, idle time left out.
    busy: u64,
    /// By the processes that belong to the benchmark.
    own: u64,
}

impl Reading {
    /// Reads the kernel's accounts; this process and `children` belong to the benchmark.
    pub(crate) fn now(children: impl IntoIterator<Item = u32>) -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        let (all, busy) = machine(&stat).context("no CPU times in /proc/stat")?;
        let mut own = 0;
        for pid in children.into_iter().chain([std::process::id()]) {
            let path = format!("/proc/{pid}/stat");
            let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
            own += process(&stat).with_context(|| format!("no CPU times in {path}"))?;
        }
        Ok(Self { all, busy, own })
    }

    /// How many of `cores` cores something else has used since `earlier`, on average. What a
    /// hypervisor has kept to itself counts too.
    pub(crate) fn others_since(&self, earlier: &Self, cores: usize) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        let own = self.own.saturating_sub(earlier.own);
        let others = self.busy.saturating_sub(earlier.busy).saturating_sub(own);
        others as f64 / all as f64 * cores as f64
    }
}

/// All ticks and the busy ones, of `/proc/stat`: its first line has those in user mode, nice,
/// in the kernel, idle, waiting for disks, in interrupts, in soft interrupts, and stolen.
/// (What follows, for guests, is in the first two already.)
fn machine(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let all: u64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((all, all - idle))
}

/// Ticks of a process in user mode and in the kernel, threads and children that have ended included:
/// fields 14 to 17 of `/proc/PID/stat`. The second field, in parentheses, may itself have spaces.
fn process(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<u64> =
        rest.split_whitespace().skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    (fields.len() == 4).then(|| fields.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_accounts_are_read() {
        let stat = "cpu  100 1 20 700 30 2 3 4 50 60\ncpu0 1 2 3\n";
        assert_eq!(machine(stat), Some((860, 130)));
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 40 5 2 1 20";
        assert_eq!(process(stat), Some(48));
        assert_eq!((machine(""), process("")), (None, None));
    }

    #[test]
    fn the_benchmark_itself_is_not_counted() {
        let earlier = Reading { all: 1000, busy: 500, own: 300 };
        let later = Reading { all: 1200, busy: 650, own: 350 };
        // Of 200 ticks of two cores, 150 were busy and 50 of these our own.
        assert!((later.others_since(&earlier, 2) - 1.0).abs() < 1e-9);
        assert!(earlier.others_since(&earlier, 2).abs() < 1e-9);
    }

    #[test]
    fn this_process_is_in_its_own_reading() {
        assert!(Reading::now([]).unwrap().all > 0);
    }
}
