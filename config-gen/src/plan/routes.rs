//! The routes of a VirtualService, as the engine takes them (spec sections 4.2 to 4.4).

use std::collections::HashSet;

use portolan_engine::config::{
    self, AbortFault, Body, Cors, DelayFault, DirectResponse, Fault, HeaderMatch, HeaderOperations,
    PathRegex, QueryParameterMatch, Rewrite, Route, RouteAction, RouteMatch, StringMatch as Match,
};
use portolan_engine::host::without_port;
use portolan_engine::{PathSubstitution, Pattern};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gateway;
use crate::names::{expand, overlaps};
use crate::plan::Input;
use crate::plan::destinations::{Purpose, Target, check as check_destination};
use crate::plan::profiles::{Mirror, RouteProfile};
use crate::plan::retries;
use crate::resource::action::NamedValue;
use crate::resource::destination_rule::HashKey;
use crate::resource::virtual_service::{HttpMatch, HttpRoute, NamedMatch, RouteDestination, StringMatch};
use crate::resource::{Spanned, VirtualService, action, virtual_service};
use crate::source::Span;

/// Routes of `service` for listener port `port` of `gateway`, which is `mesh` or a Gateway; empty
/// where none applies there (VH-13).
///
/// Conditions that are settled before any request, such as `port` and `sourceLabels`, are
/// evaluated here (VS-MATCH-30 to VS-MATCH-34).
pub(super) fn build(input: &Input<'_>, service: &VirtualService, port: u16, gateway: &str) -> Vec<Route> {
    let mut routes = Vec::new();
    for http in &service.http {
        let Some(action) = action(input, service, http, port) else { continue };
        if http.matches.is_empty() {
            // Nothing can come after it (VS-ORD-02).
            routes.push(Route { name: name(http, None), matcher: RouteMatch::default(), route: action });
            return routes;
        }
        for (entry_index, entry) in http.matches.iter().enumerate() {
            if !applies(input, service, entry, port, gateway) {
                continue;
            }
            let matcher = matcher(entry);
            let cuts = is_catch_all(&matcher);
            routes.push(Route {
                name: name(http, Some((entry_index, entry))),
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
pub(super) fn name(http: &HttpRoute, entry: Option<(usize, &HttpMatch)>) -> String {
    let route = &http.label;
    match entry {
        Some((_, HttpMatch { name: Some(name), .. })) => format!("{route}.{}", name.value),
        Some((entry_index, _)) if http.matches.len() > 1 => format!("{route}.match[{entry_index}]"),
        _ => route.clone(),
    }
}

/// Whether the conditions hold that don't depend on the request.
fn applies(input: &Input<'_>, service: &VirtualService, entry: &HttpMatch, port: u16, gateway: &str) -> bool {
    if entry.port.as_ref().is_some_and(|wanted| wanted.value != port) {
        return false;
    }
    if !entry.gateways.is_empty() {
        // Once they hold, the source isn't looked at (VS-MATCH-34).
        return gateway::names(&entry.gateways, &service.meta.namespace, gateway);
    }
    entry.source_labels.iter().all(|(key, value)| input.options.client_labels.get(key) == Some(value))
        && entry
            .source_namespace
            .as_ref()
            .is_none_or(|namespace| namespace.value == input.options.client_namespace)
}

/// Whether `http` is for the proxy that is generated for: some of its entries are not for other
/// gateways alone (GW-12, GW-21).
pub(super) fn concerns(input: &Input<'_>, service: &VirtualService, http: &HttpRoute) -> bool {
    let own = input.gateway_names();
    let named = |list: &[Spanned<String>]| {
        list.is_empty() || own.iter().any(|own| gateway::names(list, &service.meta.namespace, own))
    };
    http.matches.is_empty() || http.matches.iter().any(|entry| named(&entry.gateways))
}

/// Whether generation stops after a route with these conditions (VS-ORD-02).
pub(super) fn is_catch_all(matcher: &RouteMatch) -> bool {
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

/// What `http` does on listener port `port`; none where it leads nowhere.
fn action(input: &Input<'_>, service: &VirtualService, http: &HttpRoute, port: u16) -> Option<RouteAction> {
    if let Some(redirect) = &http.redirect {
        return Some(RouteAction {
            redirect: Some(self::redirect(redirect, port)),
            response_headers: operations(&[&http.headers.response]),
            ..RouteAction::default()
        });
    }
    if let Some(response) = &http.direct_response {
        let body = response.body.as_ref().map(|body| match &body.value {
            action::Body::Text(text) => Body::Text(text.clone()),
            action::Body::Base64(text) => Body::Base64(text.clone()),
        });
        let status = u16::try_from(response.status.as_ref()?.value).ok()?;
        return Some(RouteAction {
            direct_response: Some(DirectResponse { status, body }),
            response_headers: operations(&[&http.headers.response]),
            ..RouteAction::default()
        });
    }
    let mut destinations =
        drawn(&http.route).map(|route| destination(input, service, route, port)).collect::<Vec<_>>();
    let mut action = RouteAction::default();
    let mut levels = [vec![&http.headers.request], vec![&http.headers.response]];
    let text = |value: &Spanned<String>| value.value.clone();
    let mut rewrite = match &http.rewrite {
        Some(rewrite) => Rewrite {
            path: rewrite.uri.as_ref().map(text),
            path_regex: rewrite.uri_regex.as_ref().and_then(path_regex),
            authority: rewrite.authority.as_ref().map(text),
        },
        None => Rewrite::default(),
    };
    // VS-HDR-06
    rewrite.authority = rewrite.authority.or_else(|| http.headers.request.authority().map(text));
    if let ([route], Some(_)) = (http.route.as_slice(), destinations.first()) {
        // One alone has no use for a weight (VS-ROUTE-01), and both levels of header operations
        // are one (VS-HDR-03).
        let only = destinations.remove(0);
        action.cluster = Some(only.cluster);
        action.auto_sni = only.auto_sni;
        action.dial = only.dial;
        rewrite.authority = rewrite.authority.or(only.authority);
        levels[0].push(&route.headers.request);
        levels[1].push(&route.headers.response);
    } else if destinations.is_empty() {
        return None;
    }
    let profile = RouteProfile {
        retries: retries::profile(http.retries.as_ref()),
        mirrors: mirrors(input, service, http, port),
        hash: hash(input, service, http, port),
    };
    action.route_profile = input.use_profile(profile);
    action.timeout_ms = http.timeout.as_ref().map(|timeout| timeout.value);
    action.retries = http.retries.as_ref().and_then(retries::conditions);
    action.cors = http.cors.as_ref().map(cors);
    action.fault = http.fault.as_ref().and_then(fault);
    let [request, response] = levels;
    action.request_headers = operations(&request);
    action.response_headers = operations(&response);
    action.destinations = destinations;
    action.rewrite = Some(rewrite).filter(|rewrite| *rewrite != Rewrite::default());
    Some(action)
}

/// Those that ever get a copy (VS-MIR-01).
fn mirrors(input: &Input<'_>, service: &VirtualService, http: &HttpRoute, port: u16) -> Vec<Mirror> {
    let mirrors = http.all_mirrors().filter(|mirror| mirror.per_million > 0);
    let mirrors = mirrors.filter_map(|mirror| {
        let target = Target::new(input, &mirror.destination, &service.meta.namespace, port);
        // To a cluster that doesn't exist nothing is sent; Envoy would refuse the route.
        target.service(input).filter(|_| target.dial(input).is_none())?;
        Some(Mirror { cluster: target.cluster, per_million: mirror.per_million })
    });
    mirrors.collect()
}

/// What the destinations' load balancers hash, each key once (DR-LB-10).
fn hash(input: &Input<'_>, service: &VirtualService, http: &HttpRoute, port: u16) -> Vec<HashKey> {
    let mut keys = Vec::new();
    for route in drawn(&http.route) {
        let target = Target::new(input, &route.destination, &service.meta.namespace, port);
        keys.extend(target.hash(input, route.destination.port.is_some()).filter(|key| !keys.contains(key)));
    }
    keys
}

fn cors(cors: &virtual_service::Cors) -> Cors {
    let joined = |names: &[Spanned<String>]| {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(","))
    };
    Cors {
        allow_origins: cors.allow_origins.iter().map(|origin| string_match(&origin.value)).collect(),
        allow_methods: joined(&cors.allow_methods),
        allow_headers: joined(&cors.allow_headers),
        expose_headers: joined(&cors.expose_headers),
        max_age: cors.max_age.as_ref().map(|age| (age.value / 1000).to_string()),
        allow_credentials: cors.allow_credentials,
        ignore_unmatched_preflights: cors.ignore_unmatched_preflights,
    }
}

/// The faults that ever happen (VS-FAULT-02, VS-FAULT-03).
fn fault(fault: &action::Fault) -> Option<Fault> {
    let delay = fault.delay.as_ref().filter(|delay| delay.per_million > 0).and_then(|delay| {
        Some(DelayFault { ms: delay.fixed.as_ref()?.value, per_million: delay.per_million })
    });
    let abort = fault.abort.as_ref().filter(|abort| abort.per_million > 0).and_then(|abort| {
        let per_million = abort.per_million;
        match (&abort.http_status, &abort.grpc_status) {
            (Some(status), _) => {
                Some(AbortFault { status: u16::try_from(status.value).ok()?, grpc_status: None, per_million })
            }
            // As Envoy's fault filter: 200 beside it.
            (None, Some(name)) => {
                Some(AbortFault { status: 200, grpc_status: Some(action::grpc_status(name)?), per_million })
            }
            (None, None) => None,
        }
    });
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort })
}

/// Header operations of several levels as those of one: what is set comes sorted by name, level
/// by level (VS-HDR-03).
fn operations(levels: &[&action::HeaderOperations]) -> HeaderOperations {
    let values = |entries: &dyn Fn(&action::HeaderOperations) -> Vec<NamedValue>| {
        let mut all = Vec::new();
        for level in levels {
            let mut entries = entries(level);
            // As written: names that differ in case only are in a fixed order too.
            entries.sort_by(|a, b| a.name.value.cmp(&b.name.value));
            let entries = entries
                .into_iter()
                // The Host header is rewritten, and an empty value changes nothing (VS-HDR-08).
                .filter(|entry| !entry.is_authority() && !entry.value.is_empty());
            all.extend(entries.map(|entry| (entry.name.value.to_ascii_lowercase(), entry.value.value)));
        }
        all
    };
    let removed = levels.iter().flat_map(|level| &level.remove);
    HeaderOperations {
        remove: removed.map(|name| name.value.to_ascii_lowercase()).collect(),
        set: values(&|level| level.set.clone()),
        add: values(&|level| level.add.clone()),
    }
}

/// The destinations that get a share: one alone, or those with a weight (VS-ROUTE-01,
/// VS-ROUTE-02).
fn drawn(route: &[RouteDestination]) -> impl Iterator<Item = &RouteDestination> {
    route.iter().filter(|entry| route.len() == 1 || weight(entry) > 0)
}

fn weight(route: &RouteDestination) -> u32 {
    route.weight.as_ref().and_then(|weight| u32::try_from(weight.value).ok()).unwrap_or_default()
}

fn destination(
    input: &Input<'_>,
    service: &VirtualService,
    route: &RouteDestination,
    port: u16,
) -> config::Destination {
    let target = Target::new(input, &route.destination, &service.meta.namespace, port);
    config::Destination {
        auto_sni: target.has_auto_sni(input),
        dial: target.dial(input),
        cluster: target.cluster,
        weight: weight(route),
        authority: route.headers.request.authority().map(|authority| authority.value.clone()),
        request_headers: operations(&[&route.headers.request]),
        response_headers: operations(&[&route.headers.response]),
    }
}

fn path_regex(regex: &action::RegexRewrite) -> Option<PathRegex> {
    Some(PathRegex {
        pattern: regex.pattern.as_ref()?.value.clone(),
        replacement: regex.replacement.as_ref()?.value.clone(),
    })
}

fn redirect(redirect: &action::Redirect, listener_port: u16) -> config::Redirect {
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.value.clone());
    let scheme = text(&redirect.scheme);
    let port = match (&redirect.port, redirect.derive_port.as_ref().map(|derive| derive.as_str())) {
        (Some(port), _) => u16::try_from(port.value).ok(),
        (None, Some("FROM_REQUEST_PORT")) => Some(listener_port),
        (None, _) => None,
    };
    // VS-RD-07: no scheme counts as `http` here.
    let default = if scheme.as_deref() == Some("https") { 443 } else { 80 };
    config::Redirect {
        code: redirect.code.as_ref().and_then(|code| u16::try_from(code.value).ok()).unwrap_or(301),
        scheme,
        authority: text(&redirect.authority),
        port: port.filter(|port| *port != default),
        path: text(&redirect.uri),
        prefix: text(&redirect.prefix_rewrite),
    }
}

/// Reports what is wrong with those routes of `service`, as written, that are `used`, whatever
/// the request.
pub(super) fn check(
    input: &Input<'_>,
    service: &VirtualService,
    used: &HashSet<Span>,
    diagnostics: &mut Diagnostics,
) {
    for (index, http) in service.http.iter().enumerate() {
        if !used.contains(&http.span) {
            continue;
        }
        let field = format!("spec.http[{index}]");
        for (entry_index, entry) in http.matches.iter().enumerate() {
            check_patterns(service, entry, &format!("{field}.match[{entry_index}]"), diagnostics);
        }
        if let Some(rewrite) = &http.rewrite
            && let Some(regex) = &rewrite.uri_regex
            && let Some(PathRegex { pattern, replacement }) = path_regex(regex)
            && let Err(error) = PathSubstitution::new(&pattern, &replacement)
        {
            diagnostics.push(
                Diagnostic::error("invalid-regex", error.to_string())
                    .resource(service.meta.title())
                    .at(regex.span)
                    .field(format!("{field}.rewrite.uriRegexRewrite"))
                    .rule("VAL-VS-16")
                    .help("the syntax is RE2's; in `rewrite`, `\\1` stands for the first group"),
            );
        }
        let one = http.mirror.iter().map(|mirror| (format!("{field}.mirror"), mirror));
        let several =
            http.mirrors.iter().enumerate().map(|(index, mirror)| {
                (format!("{field}.mirrors[{index}].destination"), &mirror.destination)
            });
        for (field, mirror) in one.chain(several) {
            check_destination(input, &service.meta, mirror, Purpose::Mirror, &field, diagnostics);
        }
        for (route_index, route) in http.route.iter().enumerate() {
            if !drawn(&http.route).any(|drawn| drawn.span == route.span) {
                continue;
            }
            let field = format!("{field}.route[{route_index}].destination");
            let purpose = Purpose::Route(service);
            check_destination(input, &service.meta, &route.destination, purpose, &field, diagnostics);
            check_dialled_host(input, service, http, route, &field, diagnostics);
        }
    }
}

/// Requests whose host is dialled and can't be: the destination stands for the names below a
/// wildcard, and the Host header comes to none of them.
fn check_dialled_host(
    input: &Input<'_>,
    service: &VirtualService,
    http: &HttpRoute,
    route: &RouteDestination,
    field: &str,
    diagnostics: &mut Diagnostics,
) {
    let dial = input
        .ports()
        .into_iter()
        .find_map(|port| Target::new(input, &route.destination, &service.meta.namespace, port).dial(input));
    let Some(wildcard) = dial.and_then(|dial| dial.host) else { return };
    let rewrite = http.rewrite.as_ref().and_then(|rewrite| rewrite.authority.as_ref());
    let written = rewrite.or(http.headers.request.authority()).or(route.headers.request.authority());
    let hosts: Vec<String> = match written {
        Some(authority) => {
            let host = without_port(authority.as_bytes());
            vec![String::from_utf8_lossy(host).to_ascii_lowercase()]
        }
        None => service.hosts.iter().map(|host| expand(host, &service.meta.namespace)).collect(),
    };
    for host in hosts.iter().filter(|host| !overlaps(&wildcard, host)) {
        diagnostics.push(
            Diagnostic::warning(
                "host-not-below-wildcard",
                format!("`{host}` is not below `{wildcard}`, so that requests are refused with 502"),
            )
            .resource(service.meta.title())
            .at(route.destination.host.span)
            .field(field)
            .rule("SE-R-07")
            .help("the host of the request is dialled there; rewrite `authority` to the one that is meant"),
        );
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
