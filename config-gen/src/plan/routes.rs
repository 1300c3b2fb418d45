//! The routes of a VirtualService, as the engine takes them (spec sections 4.2 to 4.4).

use portolan_engine::Pattern;
use portolan_engine::config::{
    DEFAULT_ROUTE_PROFILE, HeaderMatch, QueryParameterMatch, Rewrite, Route, RouteAction, RouteMatch,
    StringMatch as Match,
};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::expand;
use crate::options::Profile;
use crate::plan::{Input, cluster_name};
use crate::resource::service_entry::ProtocolClass;
use crate::resource::virtual_service::{Destination, HttpMatch, HttpRoute, NamedMatch, StringMatch};
use crate::resource::{Spanned, VirtualService};

/// The gateway name that stands for sidecars (VIS-02).
const MESH: &str = "mesh";

/// Routes of `service` for listener port `port`; empty where none applies there (VH-13).
///
/// Conditions that are settled before any request, such as `port` and `sourceLabels`, are
/// evaluated here (VS-MATCH-30 to VS-MATCH-34).
pub(super) fn build(input: &Input<'_>, service: &VirtualService, port: u16) -> Vec<Route> {
    let mut routes = Vec::new();
    for (index, http) in service.http.iter().enumerate() {
        let Some(action) = action(input, service, http, port) else { continue };
        if http.matches.is_empty() {
            // Nothing can come after it (VS-ORD-02).
            routes.push(Route {
                name: name(index, http, None),
                matcher: RouteMatch::default(),
                route: action,
            });
            return routes;
        }
        for (entry_index, entry) in http.matches.iter().enumerate() {
            if !applies(input, entry, port) {
                continue;
            }
            let matcher = matcher(entry);
            let cuts = is_catch_all(&matcher);
            routes.push(Route {
                name: name(index, http, Some((entry_index, entry))),
                matcher,
                route: action.clone(),
            });
            if cuts {
                return routes;
            }
        }
    }
    routes
}

/// The names given in the resource (VS-ORD-05), else the places.
pub(super) fn name(index: usize, http: &HttpRoute, entry: Option<(usize, &HttpMatch)>) -> String {
    let route = http.name.as_ref().map_or_else(|| format!("http[{index}]"), |name| name.value.clone());
    match entry {
        Some((_, HttpMatch { name: Some(name), .. })) => format!("{route}.{}", name.value),
        Some((entry_index, _)) if http.matches.len() > 1 => format!("{route}.match[{entry_index}]"),
        _ => route,
    }
}

/// Whether the conditions hold that don't depend on the request.
fn applies(input: &Input<'_>, entry: &HttpMatch, port: u16) -> bool {
    if entry.port.as_ref().is_some_and(|wanted| wanted.value != port) {
        return false;
    }
    if !entry.gateways.is_empty() {
        // Once they hold, the source isn't looked at (VS-MATCH-34).
        return entry.gateways.iter().any(|gateway| gateway.value == MESH);
    }
    entry.source_labels.iter().all(|(key, value)| input.options.client_labels.get(key) == Some(value))
        && entry
            .source_namespace
            .as_ref()
            .is_none_or(|namespace| namespace.value == input.options.client_namespace)
}

/// Whether generation stops after a route with these conditions (VS-ORD-02).
fn is_catch_all(matcher: &RouteMatch) -> bool {
    let only_path = RouteMatch {
        path: matcher.path.clone(),
        ignore_path_case: matcher.ignore_path_case,
        ..RouteMatch::default()
    };
    *matcher == only_path
        && match &matcher.path {
            None => true,
            Some(Match::Prefix(prefix)) => prefix == "/",
            Some(Match::Regex(regex)) => regex == ".*",
            Some(Match::Exact(_) | Match::Present) => false,
        }
}

fn matcher(entry: &HttpMatch) -> RouteMatch {
    let single = |value: &Option<Spanned<StringMatch>>| {
        value
            .as_ref()
            .filter(|value| value.value != StringMatch::Present)
            .map(|value| string_match(&value.value))
    };
    let headers = |matches: &[NamedMatch], invert| -> Vec<HeaderMatch> {
        let header = |entry: &NamedMatch| HeaderMatch {
            name: entry.name.value.clone(),
            value: string_match(&entry.value.value),
            invert,
        };
        matches.iter().map(header).collect()
    };
    let parameter = |entry: &NamedMatch| QueryParameterMatch {
        name: entry.name.value.clone(),
        value: string_match(&entry.value.value),
    };
    let path = single(&entry.uri);
    RouteMatch {
        // Without a path there is nothing to ignore the case of.
        ignore_path_case: entry.ignore_uri_case && path.is_some(),
        path,
        method: single(&entry.method),
        scheme: single(&entry.scheme),
        authority: single(&entry.authority),
        headers: [headers(&entry.headers, false), headers(&entry.without_headers, true)].concat(),
        query_parameters: entry.query_params.iter().map(parameter).collect(),
    }
}

fn string_match(value: &StringMatch) -> Match {
    match value {
        StringMatch::Exact(text) => Match::Exact(text.clone()),
        StringMatch::Prefix(text) => Match::Prefix(text.clone()),
        StringMatch::Regex(text) => Match::Regex(text.clone()),
        StringMatch::Present => Match::Present,
    }
}

fn action(input: &Input<'_>, service: &VirtualService, http: &HttpRoute, port: u16) -> Option<RouteAction> {
    let destination = &http.route.first()?.destination;
    let host = expand(&destination.host, &service.meta.namespace);
    // Left out, it is the listener port, whatever ports the destination has (CL-05, CL-06).
    let number = destination.port.as_ref().map_or(port, |port| port.value);
    let tls = input.registry.get(&host).and_then(|known| super::clusters::upstream_tls(input, known, number));
    Some(RouteAction {
        cluster: Some(cluster_name(&host, number)),
        route_profile: DEFAULT_ROUTE_PROFILE.to_owned(),
        auto_sni: tls.is_some_and(|tls| tls.sni.is_none()),
        rewrite: http.rewrite.as_ref().map(|rewrite| Rewrite {
            path: rewrite.uri.as_ref().map(|uri| uri.value.clone()),
            authority: rewrite.authority.as_ref().map(|authority| authority.value.clone()),
        }),
    })
}

/// Reports what is wrong with the routes of `service` whatever the request.
pub(super) fn check(input: &Input<'_>, service: &VirtualService, diagnostics: &mut Diagnostics) {
    for (index, http) in service.http.iter().enumerate() {
        let field = format!("spec.http[{index}]");
        for (entry_index, entry) in http.matches.iter().enumerate() {
            check_patterns(service, entry, &format!("{field}.match[{entry_index}]"), diagnostics);
        }
        if let [_, second, ..] = http.route.as_slice() {
            diagnostics.push(
                Diagnostic::error(
                    "weights-not-supported",
                    "this version can't divide requests among several destinations",
                )
                .resource(service.meta.title())
                .at(second.span)
                .field(format!("{field}.route[1]"))
                .rule("VS-ROUTE-02")
                .help("keep one destination"),
            );
        }
        for (route_index, route) in http.route.iter().enumerate() {
            check_destination(
                input,
                service,
                &route.destination,
                &format!("{field}.route[{route_index}]"),
                diagnostics,
            );
        }
    }
}

/// Compiles every regex: one that the filter would refuse must not get into a config.
fn check_patterns(service: &VirtualService, entry: &HttpMatch, field: &str, diagnostics: &mut Diagnostics) {
    let single = [
        ("uri", &entry.uri),
        ("scheme", &entry.scheme),
        ("method", &entry.method),
        ("authority", &entry.authority),
    ];
    let mut values: Vec<(String, &Spanned<StringMatch>)> =
        single.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_ref()?))).collect();
    for (list, matches) in [
        ("headers", &entry.headers),
        ("withoutHeaders", &entry.without_headers),
        ("queryParams", &entry.query_params),
    ] {
        values.extend(matches.iter().map(|named| (format!("{list}.{}", named.name.value), &named.value)));
    }
    for (name, value) in values {
        let StringMatch::Regex(regex) = &value.value else { continue };
        if let Err(error) = Pattern::new(regex) {
            diagnostics.push(
                Diagnostic::error("invalid-regex", error.to_string())
                    .resource(service.meta.title())
                    .at(value.span)
                    .field(format!("{field}.{name}.regex"))
                    .rule("VAL-00d")
                    .help("the syntax is RE2's; escape characters that are meant literally with `\\`"),
            );
        }
    }
}

/// A destination needs a cluster: the service must be visible and have the port.
fn check_destination(
    input: &Input<'_>,
    service: &VirtualService,
    destination: &Destination,
    field: &str,
    diagnostics: &mut Diagnostics,
) {
    let host = expand(&destination.host, &service.meta.namespace);
    let about = |diagnostic: Diagnostic| {
        diagnostic
            .resource(service.meta.title())
            .at(destination.host.span)
            .field(format!("{field}.destination"))
    };
    let Some(known) = input.registry.get(&host) else {
        diagnostics.push(
            about(Diagnostic::error(
                "unknown-destination",
                format!("no service has the host `{host}`; requests get 503"),
            ))
            .rule("CL-09")
            .help("add a ServiceEntry for the host, or take it as it is with `--accept unknown-destination`"),
        );
        return;
    };
    let ports: Vec<u16> = match &destination.port {
        Some(port) => vec![port.value],
        None => input.options.envoy.listeners.iter().map(|listener| listener.port).collect(),
    };
    let offered = || known.ports.keys().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let Some(number) = ports.iter().find(|port| known.ports.contains_key(port)).copied() else {
        let message = match &destination.port {
            Some(port) => format!("`{host}` has no port {}; requests get 503", port.value),
            None => format!(
                "without a port the destination takes the listener's, which `{host}` doesn't have; requests get 503"
            ),
        };
        diagnostics.push(about(Diagnostic::error("unknown-destination", message)).rule("CL-06").help(
            format!(
                "set `port.number` to one of {}, or take it as it is with `--accept unknown-destination`",
                offered()
            ),
        ));
        return;
    };
    let is_tls = known.ports.get(&number).is_some_and(|port| port.protocol.class() == ProtocolClass::Tls);
    if is_tls && !input.originates_tls(known, number) {
        let message = format!("plaintext HTTP would go to port {number} of `{host}`, which expects TLS");
        let diagnostic = match input.options.profile {
            Profile::Standalone => Diagnostic::error("plaintext-to-tls-port", message),
            Profile::Istio => Diagnostic::warning("plaintext-to-tls-port", message),
        };
        diagnostics.push(
            about(diagnostic)
                .rule("EX-A-07")
                .help(format!("add a DestinationRule for `{host}` with `trafficPolicy.tls.mode: SIMPLE`, or send plaintext with \
             `--accept plaintext-to-tls-port`")),
        );
    }
}
