//! The routes of one virtual host, ready to be matched.

mod index;
mod literals;
mod matcher;
#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
pub(crate) mod pattern;
mod re2;
mod rewrite;

use crate::config::{self, ConfigError, Mode};
use crate::decision::Forward;
use crate::request::Request;
use crate::trace::{Event, Trace};
use index::Index;
use matcher::RouteMatcher;
use rewrite::PathRewrite;

/// The routes in order; the first that matches wins (VS-ORD-01).
///
/// Only those are asked that the index finds for the request.
#[derive(Debug)]
pub(crate) struct RouteTable {
    routes: Vec<Route>,
    index: Index,
}

#[derive(Debug)]
struct Route {
    name: String,
    matcher: RouteMatcher,
    action: Action,
}

#[derive(Debug)]
struct Action {
    cluster: Option<String>,
    /// Route profile, virtual host and route, as the filter state has it.
    state: String,
    auto_sni: bool,
    authority: Option<String>,
    path: Option<PathRewrite>,
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
        let index = Index::new(routes.iter_mut().map(|route| &mut route.matcher));
        Ok(Self { routes, index })
    }

    /// The decision of the first route that matches; none where no route does (VH-11).
    pub(crate) fn decide<T: Trace>(&self, request: &Request<'_>, trace: &mut T) -> Option<Forward<'_>> {
        let found = self.index.first(request, |id, regex_holds| {
            let Some(route) = self.routes.get(id) else { return false };
            match route.matcher.check_found(request, regex_holds) {
                Ok(()) => {
                    trace.event(Event::RouteMatched { route: &route.name });
                    true
                }
                Err(condition) => {
                    trace.event(Event::RouteRejected { route: &route.name, condition });
                    false
                }
            }
        });
        let route = self.routes.get(found?)?;
        Some(route.action.apply(&route.matcher, request))
    }

    /// The same by asking all routes in order, which is what the index is measured by.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn first_by_asking_all(&self, request: &Request<'_>) -> Option<&str> {
        self.routes.iter().find(|route| route.matcher.check(request).is_ok()).map(|route| route.name.as_str())
    }
}

impl Route {
    fn new(route: config::Route, host: &str, mode: Mode, path: &str) -> Result<Self, ConfigError> {
        let matcher = RouteMatcher::new(route.matcher, &format!("{path}.match"))?;
        let config::RouteAction { cluster, route_profile, auto_sni, rewrite } = route.route;
        match (&cluster, mode) {
            (None, Mode::Proxy) => {
                return Err(ConfigError::new(
                    format!("{path}.route.cluster"),
                    "missing, mode `proxy` needs one",
                ));
            }
            (Some(_), Mode::Mesh) => {
                return Err(ConfigError::new(
                    format!("{path}.route.cluster"),
                    "not allowed in mode `mesh`, where the sidecar's own routes choose",
                ));
            }
            _ => {}
        }
        if route_profile.is_empty() || route_profile.contains(' ') {
            return Err(ConfigError::new(
                format!("{path}.route.routeProfile"),
                "must be a name without blanks",
            ));
        }
        let config::Rewrite { path: rewrite_path, authority } = rewrite.unwrap_or_default();
        for (field, value) in [("path", &rewrite_path), ("authority", &authority)] {
            if value
                .as_deref()
                .is_some_and(|value| value.bytes().any(|byte| byte.is_ascii_control() || byte == b' '))
            {
                return Err(ConfigError::new(
                    format!("{path}.route.rewrite.{field}"),
                    "must not hold blanks or control characters",
                ));
            }
        }
        let action = Action {
            cluster,
            state: format!("{route_profile} {host} {}", route.name),
            auto_sni,
            authority,
            path: rewrite_path.map(PathRewrite::new),
        };
        Ok(Self { name: route.name, matcher, action })
    }
}

impl Action {
    fn apply(&self, matcher: &RouteMatcher, request: &Request<'_>) -> Forward<'_> {
        let authority = self.authority.as_deref();
        let final_authority = authority.map_or(request.authority, str::as_bytes);
        Forward {
            cluster: self.cluster.as_deref(),
            route: &self.state,
            authority,
            path: self.path.as_ref().map(|rewrite| rewrite.apply(matcher.matched_length(request), request)),
            server_name: if self.auto_sni { without_trailing_dot(final_authority) } else { None },
            dial: None,
            unregistered: false,
        }
    }
}

/// The host of `authority` without its trailing dot; none where it has none. Envoy derives
/// SNI and SAN from the authority and keeps the dot, with which no certificate agrees.
fn without_trailing_dot(authority: &[u8]) -> Option<Vec<u8>> {
    crate::host::without_port(authority).strip_suffix(b".").map(<[u8]>::to_ascii_lowercase)
}

#[cfg(test)]
mod tests;
