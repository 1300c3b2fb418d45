//! Counters, and their names: `docs/observability.md` lists them. What follows `requests_total` and `config_loads_total`
//! becomes labels in Prometheus (`config-gen/src/emit/bootstrap.rs`).

use std::time::SystemTime;

use portolan_engine::{Cause, Forward, Reason};

use crate::host::{self, Counter, Status};

/// The counters of the filter. Envoy shows them below `wasmcustom.`.
pub(crate) struct Stats {
    /// Forwarded to a registered host.
    allowed: Counter,
    /// Forwarded to a host outside the registry (`ALLOW_ANY`).
    passed_through: Counter,
    /// Answered here, by cause.
    answered: Vec<(Cause, Counter)>,
    /// Answered with 503 because there was no decision, or it couldn't be applied.
    failed: Counter,
    /// Forwarded with another authority or path.
    rewritten: Counter,
    /// Of those passed through, those that the registry would refuse (`--outbound-policy report`).
    reported: Counter,
    /// Forwarded for a host that only a VirtualService names (GAP-01).
    unregistered: Counter,
    /// Held back by a route.
    delayed: Counter,
    /// Header lines removed that a client must not send (GAP-05).
    forbidden_headers: Counter,
}

impl Stats {
    /// Defines all of them, so that they stand at 0 before the first request.
    pub(crate) fn define() -> Result<Self, Status> {
        let requests = |decision: &str| Counter::define(&format!("portolan.requests_total.{decision}"));
        let refused = Reason::ALL.map(Cause::Refused).into_iter();
        let others = [Cause::Redirected, Cause::DirectResponse, Cause::Aborted, Cause::Preflight];
        let answered = refused.chain(others).map(|cause| {
            let counter = match cause {
                Cause::Refused(reason) => requests(&format!("refused.{}", reason.as_str())),
                other => requests(other.as_str()),
            };
            Ok((cause, counter?))
        });
        Ok(Self {
            allowed: requests("allowed")?,
            passed_through: requests("passed_through")?,
            answered: answered.collect::<Result<_, _>>()?,
            failed: requests("failed")?,
            rewritten: Counter::define("portolan.rewritten_total")?,
            reported: Counter::define("portolan.reported_total")?,
            unregistered: Counter::define("portolan.unregistered_total")?,
            delayed: Counter::define("portolan.delayed_total")?,
            forbidden_headers: Counter::define("portolan.forbidden_headers_total")?,
        })
    }

    /// Counts a request that is sent on.
    pub(crate) fn forwarded(&self, forward: &Forward<'_>) {
        if forward.passed_through {
            self.passed_through.add(1);
        } else {
            self.allowed.add(1);
        }
        if forward.reported.is_some() {
            self.reported.add(1);
        }
        if forward.authority.is_some() || forward.path.is_some() {
            self.rewritten.add(1);
        }
        if forward.delayed {
            self.delayed.add(1);
        }
        if forward.unregistered {
            self.unregistered.add(1);
        }
    }

    /// Counts a request that is answered here.
    pub(crate) fn answered(&self, cause: Cause) {
        if let Some((_, counter)) = self.answered.iter().find(|(known, _)| *known == cause) {
            counter.add(1);
        }
    }

    /// Counts a request that nothing was decided about.
    pub(crate) fn failed(&self) {
        self.failed.add(1);
    }

    /// Counts header lines that were removed.
    pub(crate) fn stripped(&self, lines: u32) {
        if lines > 0 {
            self.forbidden_headers.add(lines);
        }
    }
}

/// Tells which config is in force, since when, and of how many virtual hosts.
pub(crate) fn config_accepted(crc32: u32, virtual_hosts: usize) -> Result<(), Status> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    host::set_gauge("portolan.config_crc32", crc32.into())?;
    host::set_gauge("portolan.config_virtual_hosts", virtual_hosts as u64)?;
    host::set_gauge("portolan.config_loaded_timestamp_seconds", now)?;
    // So that there is a 0 before the first refusal.
    Counter::define("portolan.config_loads_total.refused")?;
    Counter::define("portolan.config_loads_total.accepted")?.add(1);
    Ok(())
}

/// Counts a config that was refused.
pub(crate) fn config_refused() {
    if let Ok(counter) = Counter::define("portolan.config_loads_total.refused") {
        counter.add(1);
    }
}
