//! The routes of one virtual host, ready to be matched.

mod action;
mod answer;
mod cors;
pub(crate) mod dial;
mod fault;
pub(crate) mod format;
pub(crate) mod header;
mod index;
mod literals;
mod matcher;
#[cfg(any(test, feature = "oracle"))]
pub(crate) mod oracle;
pub(crate) mod pattern;
mod re2;
mod redirect;
pub(crate) mod rewrite;
mod router;

use crate::config::{self, ConfigError, Mode};
use crate::decision::Decision;
use crate::request::Request;
use crate::trace::{Condition, Event, Trace};
use action::Action;
pub(crate) use action::Owner;
use index::Index;
use matcher::RouteMatcher;

/// The routes in order; the first that matches wins (VS-ORD-01).
#[derive(Debug)]
pub(crate) struct RouteTable {
    routes: Vec<Route>,
    /// Finds those that have to be asked; none where all are.
    index: Option<Box<Index>>,
}

/// Up to how many routes are all asked: finding out which of them to ask would cost more, in time
/// and in memory.
const FEW: usize = 4;

#[derive(Debug)]
struct Route {
    name: String,
    matcher: RouteMatcher,
    action: Action,
}

impl RouteTable {
    /// Checks and compiles `routes` of the virtual host `host`; `path` is where they stand.
    pub(crate) fn new(
        routes: Vec<config::Route>,
        host: &str,
        mode: Mode,
        path: &str,
    ) -> Result<Self, ConfigError> {
        let mut routes = routes
            .into_iter()
            .enumerate()
            .map(|(index, route)| Route::new(route, host, mode, &format!("{path}.routes[{index}]")))
            .collect::<Result<Vec<Route>, _>>()?;
        let matchers = routes.iter_mut().map(|route| &mut route.matcher);
        let index = if matchers.len() > FEW {
            Some(Box::new(Index::new(matchers)))
        } else {
            matchers.for_each(|matcher| drop(matcher.take_parsed()));
            None
        };
        Ok(Self { routes, index })
    }

    /// The decision of the first route that matches; none where no route does (VH-11).
    pub(crate) fn decide<'t, T: Trace>(
        &'t self,
        owner: Owner<'t>,
        request: &Request<'_>,
        trace: &mut T,
    ) -> Option<Decision<'t>> {
        let holds = |route: &Route, outcome: Result<(), Condition<'_>>, trace: &mut T| match outcome {
            Ok(()) => {
                trace.event(Event::RouteMatched { route: &route.name });
                true
            }
            Err(condition) => {
                trace.event(Event::RouteRejected { route: &route.name, condition });
                false
            }
        };
        let found = match &self.index {
            None => self.routes.iter().position(|route| holds(route, route.matcher.check(request), trace)),
            Some(index) => index.first(request, |id, regex_holds| {
                let Some(route) = self.routes.get(id) else { return false };
                holds(route, route.matcher.check_found(request, regex_holds), trace)
            }),
        };
        let route = self.routes.get(found?)?;
        Some(route.action.apply(&route.matcher, owner, request))
    }

    /// Whether a route dials the domain of its virtual host.
    pub(crate) fn dials_own_host(&self) -> bool {
        self.routes.iter().any(|route| route.action.dials_own_host())
    }

    /// Whether nothing but the state of its one route tells which virtual host it is of.
    pub(crate) fn can_be_shared(&self) -> bool {
        matches!(self.routes.as_slice(), [route] if route.action.can_be_shared())
    }

    /// The same by asking all routes in order, which is what the index is measured by.
    #[cfg(any(test, feature = "oracle"))]
    pub(crate) fn first_by_asking_all(&self, request: &Request<'_>) -> Option<&str> {
        self.routes.iter().find(|route| route.matcher.check(request).is_ok()).map(|route| route.name.as_str())
    }
}

impl Route {
    #[inline(never)]
    fn new(route: config::Route, host: &str, mode: Mode, path: &str) -> Result<Self, ConfigError> {
        let matcher = RouteMatcher::new(route.matcher, &format!("{path}.match"))?;
        let action =
            Action::new(route.route, &format!("{host} {}", route.name), mode, &format!("{path}.route"))?;
        Ok(Self { name: route.name, matcher, action })
    }
}

#[cfg(test)]
mod tests;
