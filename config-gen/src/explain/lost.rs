//! Why a route doesn't match: the engine is asked for each of its conditions alone, since its
//! index passes over routes without a word.

use portolan_engine::config::{
    Config, HeaderMatch, Mode, OutboundTrafficPolicy, QueryParameterMatch, Route, RouteAction, RouteMatch,
    StringMatch, VERSION, VirtualHost,
};
use portolan_engine::{ConfigError, Engine};

use super::{Named, Steps};
use crate::connection_manager::as_seen_by_engine;
use crate::request::Request;

/// A route that didn't match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The route.
    pub route: Named,
    /// Its conditions that failed, at least one.
    pub failed: Vec<FailedCondition>,
}

/// A condition that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCondition {
    /// On what, such as `path` or `header x-user`.
    pub condition: String,
    /// What it asks for, such as ``prefix `/a` ``.
    pub wanted: String,
    /// What the request has; none where it hasn't any.
    pub got: Option<String>,
    /// Where it stands among the kinds of conditions.
    pub(super) rank: u8,
}

/// Why `route` of the host that has `domain` doesn't match `request`; none where it does.
pub(super) fn why(
    name: Named,
    domain: &str,
    route: &Route,
    request: &Request,
) -> Result<Option<Lost>, ConfigError> {
    let mut failed = Vec::new();
    for (condition, alone) in conditions(&route.matcher, request) {
        if !holds(alone, domain, request)? {
            failed.push(condition);
        }
    }
    Ok((!failed.is_empty()).then_some(Lost { route: name, failed }))
}

/// Whether `condition` alone holds, as the engine sees it.
fn holds(condition: RouteMatch, domain: &str, request: &Request) -> Result<bool, ConfigError> {
    let route = RouteAction { cluster: Some("any".to_owned()), ..RouteAction::default() };
    let config = Config {
        version: VERSION,
        mode: Mode::Proxy,
        original_headers: false,
        empty_refusals: false,
        outbound_traffic_policy: OutboundTrafficPolicy::RegistryOnly,
        original_destinations: Default::default(),
        shared_routes: Vec::new(),
        virtual_hosts: vec![VirtualHost {
            name: "0".to_owned(),
            domains: vec![domain.to_owned()],
            ports: Vec::new(),
            routes: vec![Route { name: "0".to_owned(), matcher: condition, route }],
            refuse: None,
            unregistered: false,
        }],
        connect: None,
    };
    let engine = Engine::new(config)?;
    let mut steps = Steps::default();
    as_seen_by_engine(request, 0, |view| {
        engine.decide(view, &mut steps);
    });
    Ok(steps.matched.is_some())
}

/// The conditions of `matcher` in the order in which the engine asks, each in words and alone.
fn conditions(matcher: &RouteMatch, request: &Request) -> Vec<(FailedCondition, RouteMatch)> {
    let text = |bytes: &[u8]| Some(bytes.escape_ascii().to_string());
    let end = request.path.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let (path, query) = request.path.split_at(end.unwrap_or(request.path.len()));
    let mut found = Vec::new();
    let mut add = |rank, condition: String, wanted: String, got, alone| {
        found.push((FailedCondition { condition, wanted, got, rank }, alone));
    };
    if let Some(value) = &matcher.path {
        let in_any_case = if matcher.ignore_path_case { " in any case" } else { "" };
        let alone = RouteMatch {
            path: matcher.path.clone(),
            ignore_path_case: matcher.ignore_path_case,
            ..RouteMatch::default()
        };
        add(
            0,
            "path".to_owned(),
            format!("{}{in_any_case}", describe(value)),
            text(path).filter(|path| !path.is_empty()),
            alone,
        );
    }
    if let Some(value) = &matcher.method {
        let alone = RouteMatch { method: Some(value.clone()), ..RouteMatch::default() };
        add(1, "method".to_owned(), describe(value), Some(request.method.clone()), alone);
    }
    if let Some(value) = &matcher.scheme {
        let alone = RouteMatch { scheme: Some(value.clone()), ..RouteMatch::default() };
        add(2, "scheme".to_owned(), describe(value), Some("http".to_owned()), alone);
    }
    if let Some(value) = &matcher.authority {
        let alone = RouteMatch { authority: Some(value.clone()), ..RouteMatch::default() };
        add(3, "authority".to_owned(), describe(value), text(&request.authority), alone);
    }
    for header in &matcher.headers {
        let alone = RouteMatch { headers: vec![header.clone()], ..RouteMatch::default() };
        add(
            4,
            format!("header {}", header.name),
            describe_header(header),
            header_of(request, &header.name),
            alone,
        );
    }
    for parameter in &matcher.query_parameters {
        let alone = RouteMatch { query_parameters: vec![parameter.clone()], ..RouteMatch::default() };
        let condition = format!("query parameter {}", parameter.name);
        add(5, condition, describe(&parameter.value), parameter_of(query, parameter), alone);
    }
    found
}

fn header_of(request: &Request, name: &str) -> Option<String> {
    let pseudo = match name {
        ":method" => Some(request.method.as_bytes()),
        ":path" => Some(request.path.as_slice()),
        ":authority" => Some(request.authority.as_slice()),
        ":scheme" => Some(&b"http"[..]),
        _ => None,
    };
    let lines = request.headers.iter().filter(|(line, _)| line.eq_ignore_ascii_case(name));
    let lines: Vec<&[u8]> = pseudo.into_iter().chain(lines.map(|(_, value)| value.as_slice())).collect();
    (!lines.is_empty()).then(|| lines.join(&b',').escape_ascii().to_string())
}

fn parameter_of(query: &[u8], parameter: &QueryParameterMatch) -> Option<String> {
    let query = query.strip_prefix(b"?")?.split(|byte| *byte == b'#').next()?;
    let mut parameters = query.split(|byte| *byte == b'&').map(|parameter| {
        let end = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
        parameter.split_at(end)
    });
    let (_, value) = parameters.find(|(known, _)| *known == parameter.name.as_bytes())?;
    Some(value.strip_prefix(b"=").unwrap_or_default().escape_ascii().to_string())
}

pub(crate) fn describe_header(header: &HeaderMatch) -> String {
    match (&header.value, header.invert) {
        (StringMatch::Present, true) => "none".to_owned(),
        (value, true) => format!("not {}", describe(value)),
        (value, false) => describe(value),
    }
}

pub(crate) fn describe(value: &StringMatch) -> String {
    match value {
        StringMatch::Exact(text) => format!("exactly `{text}`"),
        StringMatch::Prefix(text) => format!("prefix `{text}`"),
        StringMatch::Regex(text) => format!("regex `{text}`"),
        StringMatch::Present => "any value".to_owned(),
    }
}
