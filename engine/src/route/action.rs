//! What a route does with a request that it matches (spec sections 4.3 to 4.8).

use std::borrow::Cow;

use crate::config::{self, ConfigError, Mode};
use crate::decision::{Cause, Decision, Forward, LocalReply};
use crate::request::Request;
use crate::route::matcher::RouteMatcher;
use crate::route::redirect::Redirect;
use crate::route::rewrite::{PathRewrite, PathSubstitution};

/// The checked form of a [`config::RouteAction`].
#[derive(Debug)]
pub(crate) enum Action {
    Forward(ForwardAction),
    Redirect { redirect: Redirect, details: String },
    Respond { status: u16, body: Vec<u8>, details: String },
}

#[derive(Debug)]
pub(crate) struct ForwardAction {
    /// Route profile, virtual host and route, as the filter state has it.
    state: String,
    target: Target,
    authority: Option<String>,
    path: Option<PathRewrite>,
}

/// Where requests go.
#[derive(Debug)]
enum Target {
    /// A sidecar's own routes know (mode `mesh`).
    Elsewhere,
    One(Destination),
    /// By chance.
    Weighted {
        /// With the sum of the weights up to and with each.
        destinations: Vec<(u64, Destination)>,
        sum: u64,
    },
}

#[derive(Debug)]
struct Destination {
    cluster: String,
    auto_sni: bool,
}

impl Target {
    /// The destination for a request that drew `random` (VS-ROUTE-04).
    fn choose(&self, random: u64) -> Option<&Destination> {
        match self {
            Self::Elsewhere => None,
            Self::One(destination) => Some(destination),
            Self::Weighted { destinations, sum } => {
                let drawn = random.checked_rem(*sum)?;
                destinations.iter().find(|(end, _)| drawn < *end).map(|(_, destination)| destination)
            }
        }
    }
}

impl Action {
    /// Checks and compiles `action`, which stands at `path`; `name` is virtual host and route.
    pub(crate) fn new(
        action: config::RouteAction,
        name: &str,
        mode: Mode,
        path: &str,
    ) -> Result<Self, ConfigError> {
        let forwards =
            action.cluster.is_some() || !action.destinations.is_empty() || action.rewrite.is_some();
        let actions = [forwards, action.redirect.is_some(), action.direct_response.is_some()];
        if actions.into_iter().filter(|given| *given).count() > 1 {
            return Err(ConfigError::new(path, "can only forward, redirect or answer, not several of them"));
        }
        let details = |cause: Cause| format!("{}{{{name}}}", cause.as_str());
        if let Some(redirect) = action.redirect {
            let redirect = Redirect::new(redirect, &format!("{path}.redirect"))?;
            return Ok(Self::Redirect { redirect, details: details(Cause::Redirected) });
        }
        if let Some(response) = action.direct_response {
            let path = format!("{path}.directResponse");
            if !(200..=599).contains(&response.status) {
                return Err(ConfigError::new(format!("{path}.status"), "must be between 200 and 599"));
            }
            let body = match response.body {
                None => Vec::new(),
                Some(config::Body::Text(text)) => text.into_bytes(),
                Some(config::Body::Base64(text)) => crate::base64::decode(&text)
                    .ok_or_else(|| ConfigError::new(format!("{path}.body.base64"), "is not base64"))?,
            };
            // These have none (RFC 9110, 15.3.5 and 15.4.5), and Envoy would send it.
            let body = if matches!(response.status, 204 | 304) { Vec::new() } else { body };
            return Ok(Self::Respond {
                status: response.status,
                body,
                details: details(Cause::DirectResponse),
            });
        }
        ForwardAction::new(action, name, mode, path).map(Self::Forward)
    }

    pub(crate) fn apply(&self, matcher: &RouteMatcher, request: &Request<'_>) -> Decision<'_> {
        match self {
            Self::Forward(forward) => Decision::Forward(forward.apply(matcher, request)),
            Self::Redirect { redirect, details } => Decision::Respond(LocalReply {
                status: redirect.code(),
                cause: Cause::Redirected,
                details: Cow::Borrowed(details),
                headers: vec![("location", redirect.location(matcher, request).into())],
                body: Cow::Borrowed(b""),
            }),
            Self::Respond { status, body, details } => Decision::Respond(LocalReply {
                status: *status,
                cause: Cause::DirectResponse,
                details: Cow::Borrowed(details),
                headers: Vec::new(),
                body: Cow::Borrowed(body),
            }),
        }
    }
}

impl ForwardAction {
    fn new(action: config::RouteAction, name: &str, mode: Mode, path: &str) -> Result<Self, ConfigError> {
        let config::RouteAction { cluster, destinations, route_profile, auto_sni, rewrite, .. } = action;
        let target = target(cluster, destinations, auto_sni, mode, path)?;
        if route_profile.is_empty() || route_profile.contains(' ') {
            return Err(ConfigError::new(format!("{path}.routeProfile"), "must be a name without blanks"));
        }
        let config::Rewrite { path: rewrite_path, path_regex, authority } = rewrite.unwrap_or_default();
        for (field, value) in [("path", &rewrite_path), ("authority", &authority)] {
            if value.as_deref().is_some_and(has_blank_or_control) {
                return Err(ConfigError::new(
                    format!("{path}.rewrite.{field}"),
                    "must not hold blanks or control characters",
                ));
            }
        }
        let rewrite = match (rewrite_path, path_regex) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::new(format!("{path}.rewrite"), "has both `path` and `pathRegex`"));
            }
            (Some(text), None) => Some(PathRewrite::Matched(text)),
            (None, Some(regex)) => {
                let compiled = PathSubstitution::new(&regex.pattern, &regex.replacement);
                Some(PathRewrite::Pattern(compiled.map_err(|error| {
                    ConfigError::new(format!("{path}.rewrite.pathRegex"), error.to_string())
                })?))
            }
            (None, None) => None,
        };
        Ok(Self { state: format!("{route_profile} {name}"), target, authority, path: rewrite })
    }

    fn apply(&self, matcher: &RouteMatcher, request: &Request<'_>) -> Forward<'_> {
        let destination = self.target.choose(request.random);
        let authority = self.authority.as_deref();
        let final_authority = authority.map_or(request.authority, str::as_bytes);
        Forward {
            cluster: destination.map(|destination| destination.cluster.as_str()),
            route: &self.state,
            authority,
            path: self.path.as_ref().map(|rewrite| rewrite.apply(matcher.matched_length(request), request)),
            server_name: if destination.is_some_and(|destination| destination.auto_sni) {
                without_trailing_dot(final_authority)
            } else {
                None
            },
            dial: None,
            unregistered: false,
        }
    }
}

fn target(
    cluster: Option<String>,
    destinations: Vec<config::Destination>,
    auto_sni: bool,
    mode: Mode,
    path: &str,
) -> Result<Target, ConfigError> {
    let error = |field: &str, message: &str| Err(ConfigError::new(format!("{path}.{field}"), message));
    match (cluster, mode) {
        (Some(_), Mode::Mesh) => {
            error("cluster", "not allowed in mode `mesh`, where the sidecar's own routes choose")
        }
        (None, Mode::Mesh) if !destinations.is_empty() => {
            error("destinations", "not allowed in mode `mesh`, where the sidecar's own routes choose")
        }
        (Some(_), Mode::Proxy) if !destinations.is_empty() => {
            error("destinations", "not allowed beside `cluster`")
        }
        (None, Mode::Proxy) if destinations.is_empty() => error("cluster", "missing, mode `proxy` needs one"),
        (None, Mode::Mesh) => Ok(Target::Elsewhere),
        (Some(cluster), Mode::Proxy) => Ok(Target::One(Destination { cluster, auto_sni })),
        (None, Mode::Proxy) => {
            let mut sum = 0;
            let destinations: Vec<(u64, Destination)> = destinations
                .into_iter()
                // Never drawn (VS-ROUTE-02).
                .filter(|destination| destination.weight > 0)
                .map(|config::Destination { cluster, weight, auto_sni }| {
                    sum += u64::from(weight);
                    (sum, Destination { cluster, auto_sni })
                })
                .collect();
            if sum == 0 {
                return error("destinations", "the weights add up to 0");
            }
            Ok(Target::Weighted { destinations, sum })
        }
    }
}

pub(super) fn has_blank_or_control(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ')
}

/// The host of `authority` without its trailing dot; none where it has none. Envoy derives
/// SNI and SAN from the authority and keeps the dot, with which no certificate agrees.
fn without_trailing_dot(authority: &[u8]) -> Option<Vec<u8>> {
    crate::host::without_port(authority).strip_suffix(b".").map(<[u8]>::to_ascii_lowercase)
}
