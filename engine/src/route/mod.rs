//! The routes of one virtual host, ready to be matched.

mod action;
mod cors;
mod fault;
pub(crate) mod header;
mod matcher;
pub(crate) mod pattern;
mod redirect;
pub(crate) mod rewrite;
mod router;

use crate::config::{self, ConfigError, Mode};
use crate::decision::Decision;
use crate::request::Request;
use crate::trace::{Event, Trace};
use action::Action;
use matcher::RouteMatcher;

/// The routes in order; the first that matches wins (VS-ORD-01).
///
/// Matching is one linear walk. The index over exact paths and literal prefixes has to
/// stand behind this type and give the same answers.
#[derive(Debug)]
pub(crate) struct RouteTable {
    routes: Vec<Route>,
}

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
        let routes = routes
            .into_iter()
            .enumerate()
            .map(|(index, route)| Route::new(route, host, mode, &format!("{path}.routes[{index}]")))
            .collect::<Result<_, _>>()?;
        Ok(Self { routes })
    }

    /// The decision of the first route that matches; none where no route does (VH-11).
    pub(crate) fn decide<T: Trace>(&self, request: &Request<'_>, trace: &mut T) -> Option<Decision<'_>> {
        for route in &self.routes {
            match route.matcher.check(request) {
                Ok(()) => {
                    trace.event(Event::RouteMatched { route: &route.name });
                    return Some(route.action.apply(&route.matcher, request));
                }
                Err(condition) => trace.event(Event::RouteRejected { route: &route.name, condition }),
            }
        }
        None
    }
}

impl Route {
    fn new(route: config::Route, host: &str, mode: Mode, path: &str) -> Result<Self, ConfigError> {
        let matcher = RouteMatcher::new(route.matcher, &format!("{path}.match"))?;
        let action =
            Action::new(route.route, &format!("{host} {}", route.name), mode, &format!("{path}.route"))?;
        Ok(Self { name: route.name, matcher, action })
    }
}

#[cfg(test)]
mod tests;
