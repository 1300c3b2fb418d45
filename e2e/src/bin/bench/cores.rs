//! Who runs on which core.
//!
//! Envoy gets a core of its own, and load generator and upstream the others. Otherwise the
//! scheduler moves all of them between the cores as it likes, for seconds in one way and then
//! in another; a request costs up to twice as much in one of them as in the other, which is
//! more than what is to be measured. With a core of its own that is hardly ever idle, Envoy is
//! measured under full load, where its cost matters.

use anyhow::Result;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// This thread; children and new threads inherit from the one that starts them.
const THIS: Pid = Pid::from_raw(0);

/// The division of cores between Envoy and the rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    /// The core for Envoy, and the cores for the rest; none where there is only one core.
    division: Option<(usize, CpuSet)>,
}

impl Cores {
    /// Divides the cores that this process may use, and moves this thread to those that are
    /// not Envoy's. To be called before there are other threads.
    pub(crate) fn divide() -> Result<Self> {
        let mut rest = sched_getaffinity(THIS)?;
        let usable: Vec<usize> =
            (0..CpuSet::count()).filter(|core| rest.is_set(*core).unwrap_or(false)).collect();
        // The first core has most of the interrupts.
        let division = match usable.as_slice() {
            [_, .., last] => {
                rest.unset(*last)?;
                sched_setaffinity(THIS, &rest)?;
                Some((*last, rest))
            }
            _ => None,
        };
        Ok(Self { division })
    }

    /// Calls `start`, which starts processes, on Envoy's core.
    pub(crate) fn on_envoys<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some((envoys, rest)) = &self.division else { return start() };
        let mut only = CpuSet::new();
        only.set(*envoys)?;
        sched_setaffinity(THIS, &only)?;
        let started = start();
        sched_setaffinity(THIS, rest)?;
        started
    }

    /// Runs `start` with all cores for the processes that it starts.
    pub(crate) fn on_all<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some((envoys, rest)) = &self.division else { return start() };
        let mut all = *rest;
        all.set(*envoys)?;
        sched_setaffinity(THIS, &all)?;
        let started = start();
        sched_setaffinity(THIS, rest)?;
        started
    }

    /// Envoy's core; none where it shares the only one.
    pub(crate) fn envoys(&self) -> Option<usize> {
        self.division.map(|(core, _)| core)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<usize> {
        let set = sched_getaffinity(THIS).unwrap();
        (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap()).collect()
    }

    /// In a thread of its own, for that is what is moved.
    #[test]
    fn envoys_core_is_not_used_by_the_rest() {
        let before = allowed();
        let cores = Cores::divide().unwrap();
        let on_envoys = cores.on_envoys(|| Ok(allowed())).unwrap();
        match cores.envoys() {
            Some(core) => {
                assert_eq!(on_envoys, [core]);
                assert!(!allowed().contains(&core));
                assert_eq!(allowed().len(), before.len() - 1);
            }
            None => assert_eq!((before.len(), on_envoys), (1, before)),
        }
    }
}
