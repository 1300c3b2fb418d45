//! Why a decision came out as it did.

pub use crate::pieces::Pieces as VirtualHostName;

/// Receives the steps of a decision, in order. Production passes [`NoTrace`], which
/// compiles to nothing.
pub trait Trace {
    /// One step.
    fn event(&mut self, event: Event<'_>);
}

/// Ignores every step.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    #[inline(always)]
    fn event(&mut self, _: Event<'_>) {}
}

/// One step of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A virtual host was found for the host key.
    VirtualHost {
        /// The key: lower case, without port.
        host: &'a [u8],
        /// Its name.
        name: VirtualHostName<'a>,
    },
    /// No virtual host on this port.
    NoVirtualHost {
        /// The key; empty where the authority is too long to be a host.
        host: &'a [u8],
        /// Whether another port knows it.
        on_another_port: bool,
    },
    /// A route was looked at and a condition of it failed. In order; routes that the index rules
    /// out, and those behind a match, aren't looked at and have no event.
    RouteRejected {
        /// Name of the route.
        route: &'a str,
        /// The first condition that failed.
        condition: Condition<'a>,
    },
    /// A route was chosen.
    RouteMatched {
        /// Name of the route.
        route: &'a str,
    },
}

/// What a route demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition<'a> {
    /// On the path without query.
    Path,
    /// On `:method`.
    Method,
    /// On `:scheme`.
    Scheme,
    /// On `:authority`.
    Authority,
    /// On the header of that name.
    Header(&'a str),
    /// On the query parameter of that name.
    QueryParameter(&'a str),
}
