//! Cases natively: the engine as a library, with the config that the generator makes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use portolan_engine::config::Mode;
use portolan_engine::{
    Decision, Engine, Forward, HeaderChange, LocalReply, NoTrace, OriginalHost, Trace, headers,
};

use super::effects::{self, Headers};
use super::outcome::Report;
use super::proxied::Proxied;
use super::{
    CaseFile, Effects, EngineKind, Expect, Finding, Group, Lines, Mismatch, Request, Seen, Setup, Test,
    UpstreamReply,
};
use crate::connection_manager::{Refused, as_seen_by_engine, receive};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::emit;
use crate::emit::listener::carries_http;
use crate::explain::{self, Chain};
use crate::input;
use crate::message::Response;
use crate::options::{Options, Profile};
use crate::plan::{Plan, share_routes};
use crate::texts::{Planned, Texts};

/// What the resources of a case come to in one profile.
#[derive(Debug)]
pub struct Prepared {
    /// The options in force.
    pub options: Options,
    /// What there is to say of them.
    pub findings: Vec<Finding>,
    planned: Result<(Plan, Engine), String>,
}

/// Reads and plans the resources of `setup`, which is of the file at `path`.
///
/// # Errors
///
/// A file can't be read.
pub fn prepare(path: &str, setup: &Setup, profile: Profile) -> Result<Prepared, String> {
    let mut sources = input::files::collect(&setup.files).map_err(|error| error.to_string())?;
    for resources in &setup.resources {
        sources.add(path, resources.clone());
    }
    let mesh_config = setup.mesh_config.iter().map(|text| (path, text.as_str()));
    let texts = Texts::read(sources, mesh_config, &setup.read_options());
    let Planned { options, plan, findings: diagnostics } = texts.plan(setup.options(profile));
    let planned = match plan {
        Some(plan) if !diagnostics.has_errors() => {
            match Engine::new(share_routes(plan.proxy_config(&options))) {
                Ok(engine) => Ok((plan, engine)),
                Err(error) => Err(format!("plugin config: {error}")),
            }
        }
        _ => {
            let is_error = |one: &&Diagnostic| one.severity == Severity::Error;
            let mut errors = Diagnostics::new();
            errors.extend(diagnostics.iter().filter(is_error).cloned());
            Err(errors.render(&texts.read.sources))
        }
    };
    Ok(Prepared { options, findings: diagnostics.iter().map(Finding::of).collect(), planned })
}

impl Prepared {
    /// What the resources came to.
    ///
    /// # Errors
    ///
    /// What is wrong with them, ready to print.
    pub fn plan(&self) -> Result<&Plan, &str> {
        self.planned().map(|(plan, _)| plan)
    }

    pub(super) fn planned(&self) -> Result<&(Plan, Engine), &str> {
        self.planned.as_ref().map_err(String::as_str)
    }

    /// What of `expect` doesn't hold for `test`, and what there is to say besides.
    fn check(&self, test: &Test, expect: &Expect) -> Result<(Vec<Mismatch>, String), &str> {
        match (expect, &test.request) {
            (Expect::Generated(wanted), _) => {
                let clusters = match self.planned() {
                    Ok((plan, _)) => emit::clusters(plan, &self.options),
                    Err(_) => Vec::new(),
                };
                let cluster = |name: &str| clusters.iter().find(|cluster| cluster["name"] == name).cloned();
                let why = self.planned().err().unwrap_or_default().to_owned();
                Ok((wanted.compare(&self.findings, cluster), why))
            }
            (Expect::Shares(wanted), Some(request)) => {
                let (plan, engine) = self.planned()?;
                let counts = match self.connection(plan, test, request) {
                    Some(chain) => shares_of(&chain),
                    None => drawn(engine, plan, request),
                };
                Ok((shares_mismatches(wanted, &counts), String::new()))
            }
            (expect, Some(request)) => {
                let (seen, why) = self.decide(test, request)?;
                Ok((expect.compare(test, request, &seen), why))
            }
            // The reader doesn't let it through.
            (_, None) => Ok((Vec::new(), String::new())),
        }
    }

    /// Whether the connection is passed through, or closed, without a look at the request.
    ///
    /// # Errors
    ///
    /// What is wrong with the resources, ready to print.
    pub fn is_untold(&self, test: &Test, request: &Request) -> Result<bool, &str> {
        if let Some(way) = &test.by_proxy {
            let passed = self.proxied(test, request, way)?.is_passed();
            return Ok(passed && test.tls.is_some());
        }
        Ok(self.connection(self.plan()?, test, request).is_some())
    }

    /// What becomes of the connection, where that is settled before any request: it is TLS, or its port
    /// has no HTTP.
    fn connection(&self, plan: &Plan, test: &Test, request: &Request) -> Option<Chain> {
        match &test.tls {
            Some(host) if explain::terminated(plan, host, request.port).is_some() => None,
            Some(host) => Some(explain::explain_tls(plan, &self.options, host, request.port)),
            None => (!carries_http(request.port, plan, &self.options))
                .then(|| explain::explain_tcp(plan, &self.options, "", request.port)),
        }
    }

    /// What becomes of `request` of `test`, and which route decided that.
    ///
    /// # Errors
    ///
    /// What is wrong with the resources, ready to print.
    pub fn decide(&self, test: &Test, request: &Request) -> Result<(Seen, String), &str> {
        let (plan, engine) = self.planned()?;
        if let Some(way) = &test.by_proxy {
            let request = match self.proxied(test, request, way)? {
                Proxied::Seen(seen, why) => return Ok((*seen, why)),
                Proxied::Request(request) => request,
            };
            return Ok(received_and_decided(plan, engine, test, &request));
        }
        let terminated = test.tls.as_ref().and_then(|host| explain::terminated(plan, host, request.port));
        let inside = terminated.map(|port| Request { port, by_tls: true, ..request.clone() });
        let chain = self.connection(plan, test, request);
        let request = inside.as_ref().unwrap_or(request);
        if let Some(chain) = chain {
            let why = match &chain {
                Chain::Registered(chain) => format!("decided by: {}", chain.resource.name),
                _ => "no filter chain has it".to_owned(),
            };
            let mut seen = of_connection(request, &chain);
            name_dedicated(&mut seen, plan);
            return Ok((seen, why));
        }
        Ok(received_and_decided(plan, engine, test, request))
    }
}

/// What becomes of a request in plaintext, and which route decided that.
fn received_and_decided(plan: &Plan, engine: &Engine, test: &Test, request: &Request) -> (Seen, String) {
    // What Envoy would refuse is for the engine alone.
    let received = if test.runs_in(EngineKind::Envoy) { receive(request) } else { Ok(request.clone()) };
    let received = match received {
        Ok(received) => received,
        Err(Refused { status, details }) => {
            let reason = details.to_owned();
            let seen = Seen::Answered { status, reason, body: String::new(), effects: Box::default() };
            return (seen, "refused before the filter".to_owned());
        }
    };
    let (mut seen, why) = decide(engine, &received, &test.upstream, &mut NoTrace);
    if let Seen::Forwarded { effects, .. } = &mut seen {
        effects::add_profile(effects, plan);
    }
    name_dedicated(&mut seen, plan);
    (seen, why)
}

/// How many connections of ten thousand go where.
fn shares_of(chain: &Chain) -> BTreeMap<String, usize> {
    let Chain::Registered(chain) = chain else { return BTreeMap::new() };
    chain.destinations.iter().map(|share| (share.cluster.clone(), share.per_million as usize / 100)).collect()
}

/// Names the cluster that the service would have of its own, where it shares one: what a test
/// expects doesn't depend on how many services there are.
pub(super) fn name_dedicated(seen: &mut Seen, plan: &Plan) {
    let Seen::Forwarded { cluster: Some(cluster), dials: Some(dials), .. } = seen else { return };
    let dialled = dials.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let dedicated = dialled.and_then(|(host, port)| plan.shared.dedicated(cluster, host, port));
    if let Some(dedicated) = dedicated {
        *cluster = dedicated.to_owned();
    }
}

/// What becomes of a connection that is passed through: none of its bytes are touched.
pub(super) fn of_connection(request: &Request, chain: &Chain) -> Seen {
    let mut effects = Effects { reported: Some(None), ..Effects::default() };
    let (cluster, dials) = match chain {
        Chain::Registered(chain) if chain.cluster_missing => return Seen::Closed,
        Chain::Closed { .. } | Chain::NotTls | Chain::NotHttp | Chain::NoHttp => return Seen::Closed,
        Chain::Registered(chain) => (&chain.cluster, chain.dials.clone()),
        Chain::Unregistered { cluster, dials, reported } => {
            effects.reported = Some(reported.then(|| "server_name_not_in_registry".to_owned()));
            (cluster, Some(dials.clone()))
        }
    };
    Seen::passed(request, Some(cluster.clone()), dials)
}

impl Seen {
    /// Bytes that are passed on as they are.
    pub(super) fn passed(request: &Request, cluster: Option<String>, dials: Option<String>) -> Self {
        Self::Forwarded {
            cluster,
            authority: request.authority.clone(),
            path: request.path.clone(),
            dials,
            status: None,
            headers: Some(Headers { lines: request.headers.clone(), all: true }),
            effects: Box::default(),
        }
    }
}

/// What `engine` makes of `request`, and which route decided that. The steps go to `trace`.
fn decide<T: Trace>(
    engine: &Engine,
    request: &Request,
    upstream: &UpstreamReply,
    trace: &mut T,
) -> (Seen, String) {
    as_seen_by_engine(request, request.random, |view| match engine.decide(view, trace) {
        Decision::Forward(forward) => {
            let why = format!("decided by: {}", forward.route);
            (forwarded(engine, request, upstream, forward), why)
        }
        Decision::Respond(reply) => {
            let why = format!("answered: {}", reply.details);
            (local(request, &reply), why)
        }
        Decision::Pass => {
            let reason = "left alone, as in mode `mesh`".to_owned();
            let seen = Seen::Answered { status: 0, reason, body: String::new(), effects: Box::default() };
            (seen, String::new())
        }
    })
}

fn forwarded(engine: &Engine, request: &Request, upstream: &UpstreamReply, forward: Forward<'_>) -> Seen {
    let sent = request_headers(engine, request, &forward);
    let effects = Effects {
        response_headers: Some(Headers { lines: response_headers(&forward, upstream, &sent), all: false }),
        ..effects::of_forward(&forward)
    };
    // Answered once Envoy's fault filter has held it back (GAP-10).
    if let Some(headers) = forward.preflight {
        let mut seen = local(request, &LocalReply::preflight(headers));
        if let Seen::Answered { effects: of_answer, .. } = &mut seen {
            of_answer.delay = effects.delay;
        }
        return seen;
    }
    // Envoy's fault filter answers after the delay (VS-FAULT-06).
    if let Some(status) = effects::told(&forward, "x-envoy-fault-abort-request") {
        return Seen::Answered {
            status: status.parse().unwrap_or_default(),
            reason: "fault_filter_abort".to_owned(),
            body: "fault filter abort".to_owned(),
            effects: Box::new(effects),
        };
    }
    let dials = forward.dial.as_ref().map(|(host, port)| format!("{}:{port}", host.escape_ascii()));
    Seen::Forwarded {
        cluster: forward.cluster.map(str::to_owned),
        authority: forward.authority.map_or(request.authority.clone(), |text| text.as_bytes().to_vec()),
        headers: Some(Headers { lines: sent, all: false }),
        path: forward.path.unwrap_or_else(|| request.path.clone()),
        dials,
        status: None,
        effects: Box::new(effects),
    }
}

pub(super) fn local(request: &Request, reply: &LocalReply<'_>) -> Seen {
    let lines = reply.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    let (cause, body) = (reply.cause.as_str(), String::from_utf8_lossy(&reply.body));
    answered(request, reply.status, reply.grpc_status, cause, &body, lines)
}

/// What the client gets of an answer of Envoy's own, which has another form for gRPC.
pub fn answered(
    request: &Request,
    status: u16,
    grpc_status: Option<u8>,
    reason: &str,
    body: &str,
    lines: Lines,
) -> Seen {
    let grpc = request.headers.iter().any(|(name, value)| {
        name == "content-type" && (value == b"application/grpc" || value.starts_with(b"application/grpc+"))
    });
    let grpc_status = grpc.then(|| grpc_status.unwrap_or(derived_grpc_status(status)));
    Seen::Answered {
        status: if grpc { 200 } else { status },
        reason: reason.to_owned(),
        // Envoy puts it into a header of gRPC.
        body: if grpc { String::new() } else { body.to_owned() },
        effects: Box::new(Effects {
            response_headers: Some(Headers { lines, all: false }),
            grpc_status: Some(grpc_status),
            delay: Some(None),
            ..Effects::default()
        }),
    }
}

/// The status of gRPC that Envoy derives for its own answers.
fn derived_grpc_status(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// The headers that go upstream, but for those that Envoy itself adds and removes.
fn request_headers(engine: &Engine, request: &Request, forward: &Forward<'_>) -> Lines {
    let sent =
        request.headers.iter().filter(|(name, _)| !headers::is_forbidden(name.as_bytes(), Mode::Proxy));
    let mut lines: Vec<(&str, Cow<'_, [u8]>)> =
        sent.map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_slice()))).collect();
    HeaderChange::apply_all(forward.headers.iter().cloned(), &mut lines);
    // For Envoy's own filters.
    lines.retain(|(name, _)| !headers::is_forbidden(name.as_bytes(), Mode::Proxy));
    if engine.sends_original_headers() {
        if forward.authority.is_some() {
            match forward.original_host {
                OriginalHost::Requested => {
                    lines.push((headers::ORIGINAL_HOST, Cow::Borrowed(&request.authority)));
                }
                OriginalHost::Chosen(host) => {
                    lines.push((headers::ORIGINAL_HOST, Cow::Borrowed(host.as_bytes())));
                }
                OriginalHost::Untold => {}
            }
        }
        if forward.path.is_some() {
            lines.push((headers::ORIGINAL_PATH, Cow::Borrowed(&request.path)));
        }
    }
    owned(lines)
}

/// The headers that the client gets of the upstream's answer to what was `sent`.
fn response_headers(forward: &Forward<'_>, upstream: &UpstreamReply, sent: &Lines) -> Lines {
    let message = Response {
        request: sent,
        cluster: forward.cluster,
        status: upstream.status,
        headers: &upstream.headers,
    };
    let mut lines: Vec<(&str, Cow<'_, [u8]>)> = upstream
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_slice())))
        .collect();
    if let Some(response) = forward.response {
        HeaderChange::apply_all(response.changes(&message), &mut lines);
    }
    if let Some((origin, rest)) = &forward.cors {
        lines.retain(|(name, _)| *name != headers::ALLOW_ORIGIN);
        lines.push((headers::ALLOW_ORIGIN, Cow::Borrowed(origin)));
        HeaderChange::apply_all(rest.iter().cloned(), &mut lines);
    }
    owned(lines)
}

fn owned(lines: Vec<(&str, Cow<'_, [u8]>)>) -> Lines {
    lines.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
}

/// How often what came of `request` when it was decided many times.
fn drawn(engine: &Engine, plan: &Plan, request: &Request) -> BTreeMap<String, usize> {
    const DRAWS: usize = 10_000;
    let mut counts = BTreeMap::new();
    let mut state = 1_u64;
    for _ in 0..DRAWS {
        // Knuth's MMIX generator; its upper bits are good.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let request = Request { random: state >> 16, ..request.clone() };
        let (mut seen, _) = decide(engine, &request, &UpstreamReply::default(), &mut NoTrace);
        name_dedicated(&mut seen, plan);
        let what = match seen {
            Seen::Forwarded { cluster, .. } => cluster.unwrap_or_default(),
            Seen::Answered { status, .. } => status.to_string(),
            Seen::Closed => "closed".to_owned(),
        };
        *counts.entry(what).or_default() += 1;
    }
    counts
}

/// What of the shares, in percent, doesn't hold for what was counted: within five standard
/// deviations, and exactly where it is all or nothing.
pub fn shares_mismatches(wanted: &[(String, u32)], counts: &BTreeMap<String, usize>) -> Vec<Mismatch> {
    let total = counts.values().sum::<usize>() as f64;
    let unknown = counts.keys().filter(|name| !wanted.iter().any(|(known, _)| known == *name));
    let all = wanted.iter().map(|(name, share)| (name, *share)).chain(unknown.map(|name| (name, 0)));
    let mut found = Vec::new();
    for (name, share) in all {
        let count = counts.get(name).copied().unwrap_or(0) as f64;
        let part = f64::from(share) / 100.0;
        let deviation = (total * part * (1.0 - part)).sqrt();
        if (count - total * part).abs() > 5.0 * deviation {
            let got = format!("{count} of {total}");
            found.push(Mismatch::new(&format!("shares.{name}"), &format!("{share} %"), &got));
        }
    }
    found
}

/// Runs all tests that can be run natively.
pub fn run(files: &[CaseFile]) -> Report {
    let engine = EngineKind::Native;
    let mut report = Report::new(engine, files);
    for file in files {
        for &profile in &file.profiles {
            for group in file.groups(engine, profile) {
                run_group(&group, &mut report);
            }
        }
    }
    report
}

fn run_group(group: &Group<'_>, report: &mut Report) {
    let Group { file, setup, profile, tests } = group;
    let prepared = match prepare(&file.path, setup, *profile) {
        Ok(prepared) => prepared,
        Err(why) => return report.add_unusable(group, tests.iter().map(|(test, _)| *test), &why),
    };
    let mut unusable = Vec::new();
    for (test, expect) in tests {
        match prepared.check(test, expect) {
            Ok((found, why)) => report.add(file, *profile, test, &found, &why),
            Err(_) => unusable.push(*test),
        }
    }
    if let Err(why) = prepared.planned()
        && !unusable.is_empty()
    {
        report.add_unusable(group, unusable, why);
    }
}
