//! Rewrites of a path's beginning that double a slash or lose one (VS-RW-01 to VS-RW-07).
//!
//! The engine rewrites a path that the condition takes; what is wrong shows in the result.

use portolan_engine::config::{self, Config, Mode, Route, RouteAction, RouteMatch, VirtualHost};
use portolan_engine::{Decision, Engine, NoTrace, Request};

use super::Context;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::virtual_service::{HttpMatch, HttpRoute, StringMatch};
use crate::resource::{Spanned, VirtualService};

pub(super) fn check(context: &Context<'_>, out: &mut Diagnostics) {
    for service in context.resources.virtual_services {
        for route in &service.http {
            if route.route.is_empty() {
                continue;
            }
            let Some(uri) = route.rewrite.as_ref().and_then(|rewrite| rewrite.uri.as_ref()) else { continue };
            for prefix in prefixes(route) {
                if let Some(finding) = finding(service, uri, prefix) {
                    out.push(finding);
                    break;
                }
            }
        }
    }
}

/// The beginnings of paths that the route replaces; without a condition it is `/` (VS-RW-07).
fn prefixes(route: &HttpRoute) -> Vec<&str> {
    fn of_entry(entry: &HttpMatch) -> Option<&str> {
        match entry.uri.as_ref().map(|uri| &uri.value) {
            None => Some("/"),
            Some(StringMatch::Prefix(prefix)) => Some(prefix.as_str()),
            Some(_) => None,
        }
    }
    if route.matches.is_empty() { vec!["/"] } else { route.matches.iter().filter_map(of_entry).collect() }
}

fn finding(service: &VirtualService, uri: &Spanned<String>, prefix: &str) -> Option<Diagnostic> {
    let sample = if prefix.ends_with('/') { format!("{prefix}x") } else { format!("{prefix}/x") };
    let rewritten = rewritten(prefix, uri, &sample)?;
    let path = rewritten.split(['?', '#']).next().unwrap_or_default();
    let about = |diagnostic: Diagnostic| diagnostic.resource(service.meta.title()).at(uri.span);
    if path.contains("//") && !sample.contains("//") && !uri.contains("//") {
        return Some(
            about(Diagnostic::warning(
                "rewrite-doubles-slash",
                format!("the rewrite turns `{sample}` into `{rewritten}`, with two slashes"),
            ))
            .rule("VS-RW-03")
            .help(match uri.trim_end_matches('/') {
                "" => format!("match the prefix `{prefix}/`, and `{prefix}` itself as `exact`"),
                uri => format!("match the prefix `{prefix}/`, or write `uri: {uri}`"),
            }),
        );
    }
    if !path.starts_with('/') || !path.ends_with("/x") {
        return Some(
            about(Diagnostic::warning(
                "rewrite-drops-slash",
                format!("the rewrite turns `{sample}` into `{rewritten}`, without the slash between"),
            ))
            .rule("VS-RW-02")
            .help(format!("write `uri: {}`", with_slashes(uri, prefix))),
        );
    }
    None
}

/// What was likely meant.
fn with_slashes(uri: &str, prefix: &str) -> String {
    let first = if uri.starts_with('/') { "" } else { "/" };
    let last = if prefix.ends_with('/') && !uri.ends_with('/') { "/" } else { "" };
    format!("{first}{uri}{last}")
}

/// The path that an upstream sees for `sample`.
fn rewritten(prefix: &str, uri: &str, sample: &str) -> Option<String> {
    let matcher =
        RouteMatch { path: Some(config::StringMatch::Prefix(prefix.to_owned())), ..RouteMatch::default() };
    let rewrite = config::Rewrite { path: Some(uri.to_owned()), ..config::Rewrite::default() };
    let route = RouteAction {
        cluster: Some("upstream".to_owned()),
        rewrite: Some(rewrite),
        ..RouteAction::default()
    };
    let host = VirtualHost {
        name: "rewrite".to_owned(),
        domains: vec!["*".to_owned()],
        ports: Vec::new(),
        routes: vec![Route { name: "rewrite".to_owned(), matcher, route }],
        refuse: None,
        unregistered: false,
    };
    let config = Config {
        version: config::VERSION,
        mode: Mode::Proxy,
        original_headers: false,
        empty_refusals: false,
        outbound_traffic_policy: config::OutboundTrafficPolicy::default(),
        original_destinations: Default::default(),
        shared_routes: Vec::new(),
        virtual_hosts: vec![host],
        connect: None,
    };
    let engine = Engine::new(config).ok()?;
    let request = Request { authority: b"x", path: sample.as_bytes(), ..Request::default() };
    match engine.decide(&request, &mut NoTrace) {
        Decision::Forward(forward) => String::from_utf8(forward.path?).ok(),
        _ => None,
    }
}
