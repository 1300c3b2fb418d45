//! What a route does with a request that it matches (spec sections 4.3 to 4.8).

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::{self, ConfigError, Mode};
use crate::decision::{Cause, Decision, Forward, HeaderChange, LocalReply, OriginalHost, ResponseHeaders};
use crate::headers;
use crate::pieces::Pieces;
use crate::refusal::Reason;
use crate::request::Request;
use crate::route::answer::Answer;
use crate::route::cors::{Cors, Verdict};
use crate::route::dial::Dial;
use crate::route::fault::{Abort, Drawn, Fault};
use crate::route::header::{self, Changed, Operations};
use crate::route::matcher::RouteMatcher;
use crate::route::redirect::Redirect;
use crate::route::rewrite::{PathRewrite, PathSubstitution};
use crate::route::router::Router;

/// The checked form of a [`config::RouteAction`].
#[derive(Debug)]
pub(crate) enum Action {
    Forward(ForwardAction),
    Redirect {
        redirect: Redirect,
        details: String,
        response: Option<Arc<ResponseHeaders>>,
    },
    Respond {
        status: u16,
        body: Vec<u8>,
        location: Option<Redirect>,
        details: String,
        response: Option<Arc<ResponseHeaders>>,
    },
}

#[derive(Debug)]
pub(crate) struct ForwardAction {
    /// Route profile, virtual host and route, as the filter state has it.
    state: String,
    target: Target,
    authority: Option<String>,
    path: Option<PathRewrite>,
    router: Router,
    cors: Option<Box<Cors>>,
    /// With the details of an abort; boxed, since hardly any route has one.
    fault: Option<Box<(Fault, String)>>,
}

/// The virtual host of a route.
#[derive(Debug, Clone, Default)]
pub(crate) struct Owner<'t> {
    /// Its first domain.
    pub(crate) domain: Pieces<'t>,
    /// What the filter state has, where several virtual hosts share the route.
    pub(crate) state: Option<String>,
}

/// Where requests go.
#[derive(Debug)]
enum Target {
    /// Without a cluster, where a sidecar's own routes know (mode `mesh`).
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
    cluster: Option<String>,
    auto_sni: bool,
    dial: Option<Dial>,
    authority: Option<String>,
    /// Its own level, then the route's (VS-HDR-04); boxed, since few routes have either.
    headers: Option<Box<[Operations; 2]>>,
    response: Option<Arc<ResponseHeaders>>,
}

impl Target {
    /// The destination for a request that drew `random` (VS-ROUTE-04).
    fn choose(&self, random: u64) -> Option<&Destination> {
        match self {
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
    #[inline(never)]
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
            let response = header::on_response(
                vec![(action.response_headers, format!("{path}.responseHeaders"))],
                mode,
            )?;
            return Ok(Self::Redirect { redirect, details: details(Cause::Redirected), response });
        }
        if let Some(response) = action.direct_response {
            let headers = header::on_response(
                vec![(action.response_headers, format!("{path}.responseHeaders"))],
                mode,
            )?;
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
            // Envoy says where what was created is, or where else to go: under the same address.
            let location = match response.status {
                201 | 300..=399 => {
                    let same = config::Redirect { code: 301, ..config::Redirect::default() };
                    Some(Redirect::new(same, &path)?)
                }
                _ => None,
            };
            return Ok(Self::Respond {
                status: response.status,
                body,
                location,
                details: details(Cause::DirectResponse),
                response: headers,
            });
        }
        ForwardAction::new(action, name, mode, path).map(Self::Forward)
    }

    /// Whether it dials the domain of its virtual host.
    pub(crate) fn dials_own_host(&self) -> bool {
        let is_own = |destination: &Destination| destination.dial.as_ref().is_some_and(Dial::is_own);
        match self {
            Self::Forward(ForwardAction { target: Target::One(destination), .. }) => is_own(destination),
            Self::Forward(ForwardAction { target: Target::Weighted { destinations, .. }, .. }) => {
                destinations.iter().any(|(_, destination)| is_own(destination))
            }
            Self::Redirect { .. } | Self::Respond { .. } => false,
        }
    }

    /// Whether its state alone tells which virtual host it is of.
    pub(crate) fn can_be_shared(&self) -> bool {
        matches!(self, Self::Forward(ForwardAction { fault: None, .. }))
    }

    pub(crate) fn apply<'t>(
        &'t self,
        matcher: &RouteMatcher,
        owner: Owner<'t>,
        request: &Request<'_>,
    ) -> Decision<'t> {
        match self {
            Self::Forward(forward) => forward.apply(matcher, owner, request),
            Self::Redirect { redirect, details, response } => {
                let headers = vec![("location", redirect.location(matcher, request).into())];
                Decision::Respond(LocalReply {
                    status: redirect.code(),
                    cause: Cause::Redirected,
                    details: Cow::Borrowed(details),
                    headers: Answer::new(redirect.code(), request, None)
                        .changed(headers, response.as_deref()),
                    grpc_status: None,
                    body: Cow::Borrowed(b""),
                })
            }
            Self::Respond { status, body, location, details, response } => {
                let mut headers = Vec::new();
                if let Some(redirect) = location {
                    headers.push(("location", redirect.location(matcher, request).into()));
                }
                Decision::Respond(LocalReply {
                    status: *status,
                    cause: Cause::DirectResponse,
                    details: Cow::Borrowed(details),
                    headers: Answer::new(*status, request, None).changed(headers, response.as_deref()),
                    grpc_status: None,
                    body: Cow::Borrowed(body),
                })
            }
        }
    }
}

impl ForwardAction {
    #[inline(never)]
    fn new(action: config::RouteAction, name: &str, mode: Mode, path: &str) -> Result<Self, ConfigError> {
        let (target, action) = target(action, mode, path)?;
        let config::RouteAction { route_profile, rewrite, timeout_ms, retries, fault, cors, .. } = action;
        let router = Router::new(timeout_ms, retries, path)?;
        let cors = match cors {
            None => None,
            Some(cors) => Some(Box::new(Cors::new(cors, &format!("{path}.cors"))?)),
        };
        let fault = match fault {
            None => None,
            Some(fault) => Some(Box::new((
                Fault::new(fault, &format!("{path}.fault"))?,
                format!("{}{{{name}}}", Cause::Aborted.as_str()),
            ))),
        };
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
        Ok(Self {
            state: format!("{route_profile} {name}"),
            target,
            authority,
            path: rewrite,
            router,
            cors,
            fault,
        })
    }

    fn apply<'t>(&'t self, matcher: &RouteMatcher, owner: Owner<'t>, request: &Request<'_>) -> Decision<'t> {
        let destination = self.target.choose(request.random);
        let cluster = destination.and_then(|chosen| chosen.cluster.as_deref());
        let mut drawn = Drawn::default();
        if let Some((fault, details)) = self.fault.as_deref() {
            drawn = fault.draw(request.random);
            // An answer from here would come before the delay (GAP-08).
            if let Drawn { delay: None, abort: Some(abort) } = drawn {
                let response = destination.and_then(|chosen| chosen.response.as_deref());
                let answer = Answer::new(abort.status, request, cluster);
                return Decision::Respond(LocalReply {
                    status: abort.status,
                    cause: Cause::Aborted,
                    details: Cow::Borrowed(details),
                    headers: answer.changed(Vec::new(), response),
                    grpc_status: abort.grpc_status,
                    // As Envoy's fault filter says it.
                    body: Cow::Borrowed(b"fault filter abort"),
                });
            }
        }
        let (mut cors, mut preflight) = (None, None);
        // What is aborted never gets as far (VS-FAULT-06).
        let policy = self.cors.as_deref().filter(|_| drawn.abort.is_none());
        match policy.map_or(Verdict::Other, |cors| cors.judge(request)) {
            Verdict::Other => {}
            Verdict::Allowed(origin, headers) => cors = Some((origin, headers)),
            Verdict::Preflight(headers) if drawn.delay.is_some() => preflight = Some(headers),
            Verdict::Preflight(headers) => return Decision::Respond(LocalReply::preflight(headers)),
        }
        let chosen_authority = destination.and_then(|chosen| chosen.authority.as_deref());
        let authority = self.authority.as_deref().or(chosen_authority);
        let final_authority = authority.map_or(request.authority, str::as_bytes);
        let mut dial = None;
        if let Some(rule) = destination.and_then(|chosen| chosen.dial.as_ref()) {
            dial = rule.apply(final_authority, owner.domain);
            if dial.is_none() {
                let reason = Reason::HostNotBelowWildcard;
                return Decision::Respond(LocalReply::refuse(reason, final_authority));
            }
        }
        let mut headers = Vec::new();
        if let Some([own, of_route]) = destination.and_then(|chosen| chosen.headers.as_deref()) {
            own.apply(request, &mut headers);
            match chosen_authority {
                // VS-HDR-10: by then the destination has done all of its own.
                Some(authority) => {
                    let replaced = [HeaderChange::Set(":authority", authority.as_bytes().into())];
                    of_route.apply(&Changed::request(request, &replaced), &mut headers);
                }
                None => of_route.apply(request, &mut headers),
            }
        }
        self.router.apply(request, &mut headers);
        if let Some(delay) = drawn.delay {
            let mut set = |name: &'static str, value: &str| {
                headers.push(HeaderChange::Set(name, Cow::Owned(value.as_bytes().to_vec())));
            };
            set(headers::FAULT_DELAY, delay);
            if let Some(Abort { header: (name, value), .. }) = drawn.abort {
                set(name, value);
            } else if preflight.is_some() {
                set(headers::FAULT_ABORT, "200");
            }
        }
        Decision::Forward(Forward {
            cluster,
            route: owner.state.map_or_else(|| self.state.as_str().into(), Cow::Owned),
            authority,
            original_host: match (&self.authority, chosen_authority) {
                (_, None) => OriginalHost::Requested,
                (Some(_), Some(chosen)) => OriginalHost::Chosen(chosen),
                (None, Some(_)) => OriginalHost::Untold,
            },
            path: self.path.as_ref().map(|rewrite| rewrite.apply(matcher.matched_length(request), request)),
            server_name: if destination.is_some_and(|destination| destination.auto_sni) {
                without_trailing_dot(final_authority)
            } else {
                None
            },
            dial,
            inspected: None,
            passed_through: false,
            reported: None,
            unregistered: false,
            delayed: drawn.delay.is_some(),
            cors,
            headers,
            // Answers to preflight requests are none of the route's (VS-CORS-06).
            response: destination.and_then(|chosen| chosen.response.as_ref()).filter(|_| preflight.is_none()),
            preflight,
        })
    }
}

/// Takes out of `action` where requests go.
#[inline(never)]
fn target(
    mut action: config::RouteAction,
    mode: Mode,
    path: &str,
) -> Result<(Target, config::RouteAction), ConfigError> {
    let error = |field: &str, message: &str| Err(ConfigError::new(format!("{path}.{field}"), message));
    let cluster = action.cluster.take();
    let destinations = std::mem::take(&mut action.destinations);
    let request = std::mem::take(&mut action.request_headers);
    let response = std::mem::take(&mut action.response_headers);
    let dial = action.dial.take();
    if dial.is_some() && cluster.is_none() {
        return error("dial", "has no use without `cluster`");
    }
    if cluster.is_some() && !destinations.is_empty() {
        return error("destinations", "not allowed beside `cluster`");
    }
    const MESH: &str = "not allowed in mode `mesh`, where the sidecar's own routes choose";
    match mode {
        Mode::Mesh if cluster.is_some() => return error("cluster", MESH),
        Mode::Mesh if !destinations.is_empty() => return error("destinations", MESH),
        Mode::Proxy if cluster.is_none() && destinations.is_empty() => {
            return error("cluster", "missing, mode `proxy` needs one");
        }
        _ => {}
    }
    let request_path = format!("{path}.requestHeaders");
    let response_path = format!("{path}.responseHeaders");
    if destinations.is_empty() {
        let headers = [Operations::on_request(request, mode, &request_path)?, Operations::default()];
        let headers = levels(headers);
        let one = Destination {
            cluster,
            auto_sni: action.auto_sni,
            dial: Dial::new(dial, &format!("{path}.dial"))?,
            authority: None,
            headers,
            response: header::on_response(vec![(response, response_path)], mode)?,
        };
        return Ok((Target::One(one), action));
    }
    let mut sum = 0;
    let mut list = Vec::with_capacity(destinations.len());
    for (index, destination) in destinations.into_iter().enumerate() {
        let path = format!("{path}.destinations[{index}]");
        // Never drawn (VS-ROUTE-02).
        if destination.weight == 0 {
            continue;
        }
        sum += u64::from(destination.weight);
        if destination.authority.as_deref().is_some_and(has_blank_or_control) {
            return Err(ConfigError::new(
                format!("{path}.authority"),
                "must not hold blanks or control characters",
            ));
        }
        // The destination's level first, the route's second (VS-HDR-04).
        let headers = [
            Operations::on_request(destination.request_headers, mode, &format!("{path}.requestHeaders"))?,
            Operations::on_request(request.clone(), mode, &request_path)?,
        ];
        let headers = levels(headers);
        let levels = vec![
            (destination.response_headers, format!("{path}.responseHeaders")),
            (response.clone(), response_path.clone()),
        ];
        list.push((
            sum,
            Destination {
                cluster: Some(destination.cluster),
                auto_sni: destination.auto_sni,
                dial: Dial::new(destination.dial, &format!("{path}.dial"))?,
                authority: destination.authority,
                headers,
                response: header::on_response(levels, mode)?,
            },
        ));
    }
    if sum == 0 {
        return error("destinations", "the weights add up to 0");
    }
    Ok((Target::Weighted { destinations: list, sum }, action))
}

fn levels(levels: [Operations; 2]) -> Option<Box<[Operations; 2]>> {
    (!levels.iter().all(Operations::is_empty)).then(|| Box::new(levels))
}

pub(super) fn has_blank_or_control(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ')
}

/// The host of `authority` without its trailing dot; none where it has none. Envoy derives
/// SNI and SAN from the authority and keeps the dot, with which no certificate agrees.
fn without_trailing_dot(authority: &[u8]) -> Option<Vec<u8>> {
    crate::host::without_port(authority).strip_suffix(b".").map(<[u8]>::to_ascii_lowercase)
}
