//! A decision in words that a person knows: what the filter tells Envoy by headers and route
//! profiles is turned back into timeouts, retries, faults and mirrors.

use std::net::IpAddr;

use portolan_engine::config::{AbortFault, Config, DelayFault, Mode, OutboundTrafficPolicy, Route};
use portolan_engine::headers::{self, is_forbidden};
use portolan_engine::host::without_port;
use portolan_engine::{Cause, Decision, Forward, HeaderChange, LocalReply, OriginalHost};

use super::{Change, Named};
use crate::emit::guard;
use crate::emit::listener::carries_http;
use crate::message::Response;
use crate::options::{DnsFamily, EnvoyOptions, Options};
use crate::plan::profiles::DEFAULT_RETRY_ON;
use crate::plan::{Plan, RetryHosts, RetryProfile, RouteProfile, retries};
use crate::request::Request;
use crate::resource::action;

/// All of a million.
pub(super) const MILLION: u32 = 1_000_000;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is sent on.
    Forwarded(Box<Forwarded>),
    /// It is answered by the filter or by Envoy.
    Answered(Local),
    /// The connection is closed without an answer.
    Closed,
    /// Nothing: a mesh's sidecar goes on with its own routes.
    LeftAlone,
}

/// How a request is sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// Envoy cluster; none in a mesh, whose sidecars choose.
    pub cluster: Option<String>,
    /// The cluster isn't in the plan, so that the client gets 503.
    pub cluster_missing: bool,
    /// The cluster that the service would have of its own, where it shares one.
    pub dedicated_cluster: Option<String>,
    /// The resource that registers the cluster's host.
    pub service: Option<Named>,
    /// Host header for the upstream.
    pub authority: Vec<u8>,
    /// Path for the upstream.
    pub path: Vec<u8>,
    /// The server name of the TLS that Envoy originates.
    pub server_name: Option<String>,
    /// Host and port to dial where the cluster leads to many hosts.
    pub dials: Option<String>,
    /// Names are resolved, and what turns out to be a private address is refused with 403.
    pub guarded: bool,
    /// Why it would be refused if the registry were enforced.
    pub reported: Option<String>,
    /// What becomes of what stands in the tunnel that the client asks for, where that is looked at.
    pub tunnel: Option<String>,
    /// Changes of the request's headers.
    pub request_headers: Vec<Change>,
    /// What the upstream is told of the request as it was (VS-RW-16, VH-21).
    pub told: Vec<Change>,
    /// Changes of the response's headers.
    pub response_headers: Vec<Change>,
    /// Milliseconds for the request with all its retries; none: no limit.
    pub timeout_ms: Option<u64>,
    /// The timeout is that of a gRPC client (VS-TO-06).
    pub client_timeout: bool,
    /// None: no retries.
    pub retries: Option<Retries>,
    /// How long this request is held back, in milliseconds.
    pub delay_ms: Option<u64>,
    /// How this request is ended after the delay: a status of HTTP, or of gRPC.
    pub abort: Option<String>,
    /// All destinations with their weights, where there are several.
    pub destinations: Vec<Share>,
    /// The destination was drawn; else it is the one with the largest share.
    pub drawn: bool,
    /// Clusters that get a copy.
    pub mirrors: Vec<Share>,
    /// What is hashed, for a cluster that chooses its endpoint by it.
    pub hash: Vec<String>,
    /// Delays of the route.
    pub delay_fault: Option<DelayFault>,
    /// Aborts of the route.
    pub abort_fault: Option<AbortFault>,
    /// The combination of static settings that Envoy's route has.
    pub route_profile: Option<String>,
}

/// A cluster's part of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The cluster.
    pub cluster: String,
    /// Out of a million.
    pub per_million: u32,
}

/// When and how often a request is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retries {
    /// Nothing else was said (DEF-06).
    pub is_default: bool,
    /// Tries after the first.
    pub attempts: u32,
    /// Envoy's names for what is tried again, those of gRPC included.
    pub on: Vec<String>,
    /// Statuses that are tried again.
    pub status_codes: Vec<u16>,
    /// Milliseconds for one try.
    pub per_try_timeout_ms: Option<u64>,
    /// Base interval in milliseconds, where it isn't Envoy's own.
    pub backoff_ms: Option<u64>,
    /// Hosts that failed already are tried again too.
    pub same_hosts: bool,
    /// Other localities too.
    pub remote_localities: bool,
}

/// An answer that comes from no upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// HTTP status.
    pub status: u16,
    /// Why, as in the access log: `host_not_in_registry`.
    pub reason: String,
    /// Headers of the answer.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Status of gRPC.
    pub grpc_status: Option<u8>,
    /// The whole body.
    pub body: Vec<u8>,
    /// How long it is held back, in milliseconds.
    pub delay_ms: Option<u64>,
    /// What else there is to know of it.
    pub note: Option<String>,
}

impl Retries {
    fn on_hosts(self, profile: &RetryProfile) -> Self {
        let RetryProfile::ByHeader(hosts) = profile else { return self };
        Self {
            backoff_ms: hosts.backoff,
            same_hosts: !hosts.ignore_previous,
            remote_localities: hosts.remote_localities,
            ..self
        }
    }
}

impl Outcome {
    /// Envoy answers without the filter.
    pub(super) fn refused_by_envoy(status: u16, reason: &str) -> Self {
        let note = Some("Envoy itself answers, before the filter sees the request".to_owned());
        Self::Answered(Local {
            status,
            reason: reason.to_owned(),
            headers: Vec::new(),
            grpc_status: None,
            body: Vec::new(),
            delay_ms: None,
            note,
        })
    }

    /// Says whether the destination was drawn.
    pub(super) fn drawn(mut self, drawn: bool) -> Self {
        if let Self::Forwarded(forwarded) = &mut self {
            forwarded.drawn = drawn;
        }
        self
    }

    /// See [`Explanation::agrees_with`](super::Explanation::agrees_with).
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Answered(one), Self::Answered(other)) if one.status >= 400 => {
                (one.status, &one.reason) == (other.status, &other.reason)
            }
            (Self::Forwarded(one), Self::Forwarded(other)) => {
                let without = |forwarded: &Forwarded| Forwarded {
                    told: Vec::new(),
                    // Where DNS tells the truth, nothing comes of it.
                    guarded: false,
                    ..forwarded.clone()
                };
                without(one) == without(other)
            }
            (one, other) => one == other,
        }
    }
}

/// `decision` on `request`, which `route` took, if any did.
pub(super) fn of(
    decision: Decision<'_>,
    request: &Request,
    route: Option<&Route>,
    config: &Config,
    origin: Option<(&Plan, &Options)>,
) -> Outcome {
    let takes_http = |(plan, options)| carries_http(request.port, plan, options);
    // What comes out of TLS, and to an explicit proxy, is HTTP on every port.
    if request.method != "CONNECT" && !request.by_tls && !request.by_proxy && !origin.is_none_or(takes_http) {
        return Outcome::Closed;
    }
    match decision {
        Decision::Pass => Outcome::LeftAlone,
        Decision::Respond(reply) => Outcome::Answered(local(reply)),
        Decision::Forward(forward) => forwarded(forward, request, route, config, origin),
    }
}

fn local(reply: LocalReply<'_>) -> Local {
    let value = |value: std::borrow::Cow<'_, [u8]>| value.into_owned();
    Local {
        status: reply.status,
        reason: reply.cause.as_str().to_owned(),
        headers: reply.headers.into_iter().map(|(name, it)| (name.to_owned(), value(it))).collect(),
        grpc_status: reply.grpc_status,
        body: value(reply.body),
        delay_ms: None,
        note: match reply.cause {
            Cause::Aborted => Some("a fault on purpose".to_owned()),
            Cause::Preflight => Some("a preflight request of a browser".to_owned()),
            _ => None,
        },
    }
}

fn forwarded(
    forward: Forward<'_>,
    request: &Request,
    route: Option<&Route>,
    config: &Config,
    origin: Option<(&Plan, &Options)>,
) -> Outcome {
    let defaults = EnvoyOptions::default();
    let envoy = origin.map_or(&defaults, |(_, options)| &options.envoy);
    if request.method == "CONNECT" && config.mode == Mode::Proxy && config.connect.is_none() {
        return Outcome::Answered(Local {
            status: 404,
            reason: "route_not_found".to_owned(),
            headers: Vec::new(),
            grpc_status: None,
            body: Vec::new(),
            delay_ms: None,
            note: Some(
                "only the explicit proxy takes CONNECT (`--explicit-proxy`), whatever the rules say"
                    .to_owned(),
            ),
        });
    }
    if let Some(answer) = forward.preflight {
        // Once Envoy's fault filter has held it back (GAP-10).
        let mut answer = local(LocalReply::preflight(answer));
        answer.delay_ms = Steering::of(&forward.headers).number(headers::FAULT_DELAY);
        return Outcome::Answered(answer);
    }
    let passed_through = matches!(&config.outbound_traffic_policy,
        OutboundTrafficPolicy::AllowAny { cluster, .. } if forward.cluster == Some(cluster));
    let address = forward.dial.as_ref().filter(|_| passed_through).and_then(|(host, _)| address(host));
    if let Some(refused) = address.and_then(|address| not_dialled(address, envoy)) {
        return Outcome::Answered(refused);
    }
    let mut request_headers: Vec<Change> = Vec::new();
    for (name, _) in request.headers.iter().filter(|(name, _)| is_forbidden(name.as_bytes(), config.mode)) {
        let change = Change::Remove(name.clone());
        if !request_headers.contains(&change) {
            request_headers.push(change);
        }
    }
    let steering = Steering::of(&forward.headers);
    request_headers.extend(forward.headers.iter().filter(|change| !Steering::has(change)).map(Change::from));
    let mut response_headers: Vec<Change> = Vec::new();
    if let Some(response) = forward.response {
        // As of an answer 200 without headers.
        let none = Vec::new();
        let message =
            Response { request: &request.headers, cluster: forward.cluster, status: 200, headers: &none };
        response_headers.extend(response.changes(&message).iter().map(Change::from));
    }
    if let Some((origin, rest)) = &forward.cors {
        response_headers.push(Change::Set(headers::ALLOW_ORIGIN.to_owned(), origin.clone()));
        response_headers.extend(rest.iter().map(Change::from));
    }
    let mut told = Vec::new();
    if config.original_headers {
        let mut tell = |name: &'static str, value: &[u8]| {
            told.push(Change::Set(name.to_owned(), value.to_vec()));
        };
        if forward.authority.is_some() {
            match forward.original_host {
                OriginalHost::Requested => tell(headers::ORIGINAL_HOST, &request.authority),
                OriginalHost::Chosen(host) => tell(headers::ORIGINAL_HOST, host.as_bytes()),
                OriginalHost::Untold => {}
            }
        }
        if forward.path.is_some() {
            tell(headers::ORIGINAL_PATH, &request.path);
        }
        tell("x-envoy-attempt-count", b"1");
    }
    let cluster = forward.cluster.zip(origin).and_then(|(name, (plan, _))| plan.cluster(name));
    // A listener of Envoy's own.
    let inside = forward.inspected.is_some();
    let tunnel = forward.inspected.as_ref().map(|inspected| match &inspected.server_name {
        Some(name) => {
            let name = name.escape_ascii();
            format!("TLS that asks for the server name {name} is passed through; all else is closed")
        }
        None => "HTTP, decided request by request".to_owned(),
    });
    let cluster_missing =
        !passed_through && !inside && forward.cluster.is_some() && origin.is_some() && cluster.is_none();
    let authority =
        forward.authority.map_or_else(|| request.authority.clone(), |text| text.as_bytes().to_vec());
    let server_name = cluster.and_then(|cluster| cluster.tls.as_ref()).map(|tls| match &tls.sni {
        Some(name) => name.clone(),
        // That of the authority (DR-TLS-08).
        None => {
            let host = forward.server_name.as_deref().unwrap_or_else(|| without_port(&authority));
            host.escape_ascii().to_string()
        }
    });
    let dedicated_cluster = forward.cluster.zip(origin).and_then(|(cluster, (plan, _))| {
        let (host, port) = forward.dial.as_ref()?;
        plan.shared.dedicated(cluster, std::str::from_utf8(host).ok()?, *port).map(str::to_owned)
    });
    let service = forward.cluster.zip(origin).and_then(|(cluster, (plan, _))| {
        let name = plan.places.service_of_cluster(dedicated_cluster.as_deref().unwrap_or(cluster))?;
        Some(Named { name: name.to_owned(), span: plan.places.resource(name) })
    });
    let profile = forward.cluster.map(|_| forward.route.split(' ').next().unwrap_or_default());
    let known = |name: &str| {
        let asked = origin.map(|(plan, _)| plan.profiles.as_slice()).unwrap_or_default();
        asked.iter().find(|profile| profile.name() == name).cloned()
    };
    let settings = profile.map(|name| known(name).unwrap_or_else(|| named_profile(name)));
    let action = route.map(|route| &route.route);
    let timeout_ms = steering.number("x-envoy-upstream-rq-timeout-ms");
    Outcome::Forwarded(Box::new(Forwarded {
        cluster: forward.cluster.map(str::to_owned),
        cluster_missing,
        dedicated_cluster,
        guarded: cluster.is_some_and(guard::is_resolved)
            && origin.is_some_and(|(_, options)| guard::is_on(options)),
        service,
        authority,
        server_name,
        path: forward.path.unwrap_or_else(|| request.path.clone()),
        reported: forward.reported.map(|reason| reason.as_str().to_owned()),
        dials: forward.dial.map(|(host, port)| format!("{}:{port}", host.escape_ascii())),
        tunnel,
        request_headers,
        told,
        response_headers,
        timeout_ms,
        client_timeout: timeout_ms.is_some() && action.is_some_and(|action| action.timeout_ms != timeout_ms),
        drawn: false,
        retries: settings.as_ref().and_then(|settings| {
            let default = origin.and_then(|(_, options)| options.default_retries.as_ref());
            steering.retries(&settings.retries, default)
        }),
        delay_ms: steering.number(headers::FAULT_DELAY),
        abort: steering
            .text("x-envoy-fault-abort-request")
            .map(str::to_owned)
            .or_else(|| Some(format!("gRPC {}", steering.text("x-envoy-fault-abort-grpc-request")?))),
        destinations: action.map(|action| shares(&action.destinations)).unwrap_or_default(),
        hash: settings.iter().flat_map(|settings| settings.hash.iter().map(ToString::to_string)).collect(),
        mirrors: settings
            .map(|settings| settings.mirrors)
            .unwrap_or_default()
            .into_iter()
            .map(|mirror| Share { cluster: mirror.cluster, per_million: mirror.per_million })
            .collect(),
        delay_fault: action.and_then(|action| action.fault.as_ref()?.delay.clone()),
        abort_fault: action.and_then(|action| action.fault.as_ref()?.abort.clone()),
        route_profile: profile.map(str::to_owned),
    }))
}

/// The answer where an address outside the registry isn't dialled.
fn not_dialled(address: IpAddr, envoy: &EnvoyOptions) -> Option<Local> {
    let (status, reason, body, note) = match (address, envoy.dns_family) {
        // The dynamic forward proxy asks DNS for addresses too.
        (IpAddr::V6(_), DnsFamily::V4Only) => (
            503,
            "dns_resolution_failure".to_owned(),
            "DNS resolution failure",
            format!("{address} is not found, since Envoy looks for IPv4 only (`--dns-family` of generate)"),
        ),
        _ if guard::refuses(address, envoy) => (
            403,
            format!("rbac_access_denied_matched_policy[{}]", guard::POLICY),
            "RBAC: access denied",
            format!(
                "{address} is a private address, which is not dialled for a host outside the registry \
                 (`--allow-upstream` makes exceptions)"
            ),
        ),
        _ => return None,
    };
    Some(Local {
        status,
        reason,
        headers: Vec::new(),
        grpc_status: None,
        body: body.as_bytes().to_vec(),
        delay_ms: None,
        note: Some(note),
    })
}

/// The address that `host` is, with brackets or without.
pub(super) fn address(host: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(host).ok()?;
    text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).parse().ok()
}

/// What a profile's name alone says, for a plugin config without its bootstrap.
fn named_profile(name: &str) -> RouteProfile {
    let mut retries = RetryProfile::Off;
    let default = RouteProfile::default().name();
    let base = name.split('+').next().unwrap_or_default();
    if base == default {
        retries = RetryProfile::Default;
    } else if base == "retries" {
        retries = RetryProfile::ByHeader(RetryHosts::default());
    }
    RouteProfile { retries, ..RouteProfile::default() }
}

fn shares(destinations: &[portolan_engine::config::Destination]) -> Vec<Share> {
    let sum: u64 = destinations.iter().map(|destination| u64::from(destination.weight)).sum();
    let share = |weight: u32| (u64::from(weight) * u64::from(MILLION)).checked_div(sum).unwrap_or(0);
    destinations
        .iter()
        .map(|destination| Share {
            cluster: destination.cluster.clone(),
            per_million: u32::try_from(share(destination.weight)).unwrap_or(MILLION),
        })
        .collect()
}

/// Headers by which the filter tells Envoy's router and fault filter what to do (GAP-03, GAP-04,
/// GAP-08); no upstream sees them.
#[derive(Debug, Default)]
struct Steering(Vec<(String, String)>);

impl Steering {
    fn of(changes: &[HeaderChange<'_>]) -> Self {
        let header = |change: &HeaderChange<'_>| match change {
            HeaderChange::Set(name, value) => {
                Some((name.to_string(), String::from_utf8_lossy(value).into_owned()))
            }
            _ => None,
        };
        Self(changes.iter().filter(|change| Self::has(change)).filter_map(header).collect())
    }

    /// Whether the change is of such a header.
    fn has(change: &HeaderChange<'_>) -> bool {
        matches!(change, HeaderChange::Set(name, _) if is_forbidden(name.as_bytes(), Mode::Proxy))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    fn words(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// `default` is what the mesh says instead of DEF-06.
    fn retries(&self, profile: &RetryProfile, default: Option<&action::Retries>) -> Option<Retries> {
        match (profile, default) {
            (RetryProfile::Off, _) => None,
            (RetryProfile::Default, Some(default)) => {
                let conditions = retries::conditions(default)?;
                let per_try = self.number("x-envoy-upstream-rq-per-try-timeout-ms");
                Some(
                    Retries {
                        is_default: true,
                        attempts: conditions.attempts,
                        on: [conditions.retry_on, conditions.retry_grpc_on].concat(),
                        status_codes: conditions.status_codes,
                        per_try_timeout_ms: per_try.or(conditions.per_try_timeout_ms),
                        ..Retries::default()
                    }
                    .on_hosts(&retries::profile(Some(default))),
                )
            }
            (RetryProfile::Default, None) => Some(Retries {
                is_default: true,
                attempts: 2,
                on: DEFAULT_RETRY_ON.split(',').map(str::to_owned).collect(),
                per_try_timeout_ms: self.number("x-envoy-upstream-rq-per-try-timeout-ms"),
                ..Retries::default()
            }),
            (RetryProfile::ByHeader(_), _) => Some(
                Retries {
                    attempts: self.number("x-envoy-max-retries")?,
                    on: [self.words("x-envoy-retry-on"), self.words("x-envoy-retry-grpc-on")].concat(),
                    status_codes: self
                        .words("x-envoy-retriable-status-codes")
                        .iter()
                        .filter_map(|word| word.parse().ok())
                        .collect(),
                    per_try_timeout_ms: self.number("x-envoy-upstream-rq-per-try-timeout-ms"),
                    ..Retries::default()
                }
                .on_hosts(profile),
            ),
        }
    }
}
