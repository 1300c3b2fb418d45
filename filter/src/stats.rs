//! Counters, and their names.

use portolan_engine::{Cause, Forward, Reason};

use crate::host::{Counter, Status};

/// The counters of the filter. Envoy shows them below `wasmcustom.`.
pub(crate) struct Stats {
    /// Forwarded to a registered host.
    allowed: Counter,
    /// Forwarded with another authority or path.
    rewritten: Counter,
    /// Forwarded to a host outside the registry (`ALLOW_ANY`).
    passed_through: Counter,
    /// Of these, those that the registry would refuse (`--outbound-policy report`).
    reported: Counter,
    /// Forwarded for a host that only a VirtualService names (GAP-01).
    unregistered: Counter,
    /// Header lines removed that a client must not send (GAP-05).
    forbidden_headers: Counter,
    /// Redirected by a route.
    redirected: Counter,
    /// Answered by a route.
    direct_response: Counter,
    /// Held back by a route.
    delayed: Counter,
    /// Ended by a route, without a delay.
    aborted: Counter,
    /// Preflight requests that were answered.
    preflight: Counter,
    /// Refused, by reason.
    refused: Vec<(Reason, Counter)>,
}

impl Stats {
    /// Defines all of them, so that they stand at 0 before the first request.
    pub(crate) fn define() -> Result<Self, Status> {
        let refused = Reason::ALL.into_iter().map(|reason| {
            Counter::define(&format!("portolan.refused.{}", reason.as_str())).map(|counter| (reason, counter))
        });
        Ok(Self {
            allowed: Counter::define("portolan.allowed")?,
            rewritten: Counter::define("portolan.rewritten")?,
            passed_through: Counter::define("portolan.passed_through")?,
            reported: Counter::define("portolan.reported")?,
            unregistered: Counter::define("portolan.unregistered")?,
            forbidden_headers: Counter::define("portolan.forbidden_headers")?,
            redirected: Counter::define("portolan.redirected")?,
            direct_response: Counter::define("portolan.direct_response")?,
            delayed: Counter::define("portolan.delayed")?,
            aborted: Counter::define("portolan.aborted")?,
            preflight: Counter::define("portolan.preflight")?,
            refused: refused.collect::<Result<_, _>>()?,
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
        let counter = match cause {
            Cause::Refused(reason) => {
                self.refused.iter().find(|(known, _)| *known == reason).map(|(_, counter)| counter)
            }
            Cause::Redirected => Some(&self.redirected),
            Cause::DirectResponse => Some(&self.direct_response),
            Cause::Aborted => Some(&self.aborted),
            Cause::Preflight => Some(&self.preflight),
        };
        if let Some(counter) = counter {
            counter.add(1);
        }
    }

    /// Counts header lines that were removed.
    pub(crate) fn stripped(&self, lines: u32) {
        if lines > 0 {
            self.forbidden_headers.add(lines);
        }
    }
}
