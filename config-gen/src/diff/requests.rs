//! Requests that can show a difference: from the hosts, ports and conditions of both sides, and from what
//! lies just beside them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use portolan_engine::config::{Cors, Route, RouteMatch, StringMatch, VirtualHost};

use super::{Decider, samples};
use crate::explain::Asked;
use crate::plan::{ConnectionRoute, Termination};
use crate::request::Request;

/// Nobody has it.
const UNKNOWN: &str = "unknown.example.org";

/// An address that nobody has (RFC 5737).
const ADDRESS: &str = "192.0.2.1";

/// All requests, so ordered that the first ones show as many hosts as possible.
pub(super) fn derive(before: &Decider<'_>, after: &Decider<'_>) -> Vec<Asked> {
    let mut groups = http(before, after);
    groups.extend(connections(before, after));
    let mut found = Vec::new();
    let mut known = HashSet::new();
    let longest = groups.iter().map(Vec::len).max().unwrap_or(0);
    for at in 0..longest {
        for asked in groups.iter().filter_map(|group| group.get(at)) {
            if known.insert(format!("{asked:?}")) {
                found.push(asked.clone());
            }
        }
    }
    found
}

/// For each pair of virtual hosts that names and ports have on the two sides, requests to one of
/// the names.
fn http(before: &Decider<'_>, after: &Decider<'_>) -> Vec<Vec<Asked>> {
    let sides = [before, after];
    let terminations =
        || sides.iter().flat_map(|side| side.side.plan.gateway.iter().flat_map(|it| &it.terminations));
    let mut ports = ports(before, after);
    ports.extend(terminations().map(|termination| termination.number));
    let names = names(before, after);
    let mut groups: Vec<(u16, &str, [Option<usize>; 2])> = Vec::new();
    let mut known = HashSet::new();
    for port in ports {
        for name in &names {
            let hosts = sides.map(|side| side.explainer.virtual_host(name, port));
            if known.insert((port, hosts)) {
                groups.push((port, name, hosts));
            }
        }
    }
    let mut all = Vec::new();
    for (port, name, hosts) in groups {
        let host = |(side, index): (&Decider<'_>, Option<usize>)| -> Option<VirtualHost> {
            side.config.virtual_hosts.get(index?).cloned()
        };
        let hosts: Vec<VirtualHost> = sides.into_iter().zip(hosts).filter_map(host).collect();
        let base = Request::to(name, port);
        let mut requests = vec![base.clone()];
        // Route by route, so that a bound on requests leaves some to each.
        let routes = hosts.iter().flat_map(|host| &host.routes);
        let around: Vec<Vec<Request>> = routes.map(|route| around(&base, route)).collect();
        let longest = around.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..longest {
            requests.extend(around.iter().filter_map(|requests| requests.get(at)).cloned());
        }
        let termination = terminations().find(|termination| termination.number == port);
        all.push(requests.into_iter().map(|request| in_tls(request, name, termination)).collect());
    }
    all
}

/// A request to a virtual host of a server whose TLS ends at the gateway comes by TLS.
fn in_tls(request: Request, name: &str, termination: Option<&Termination>) -> Asked {
    let Some(termination) = termination else { return Asked::Http(request) };
    let sni = termination.server_names.first().map_or_else(|| name.to_owned(), |it| sample(it));
    let request = Request { port: termination.port, ..request };
    Asked::Tls { host: sni, port: termination.port, request: Box::new(request) }
}

fn ports(before: &Decider<'_>, after: &Decider<'_>) -> BTreeSet<u16> {
    let listeners = [before, after].into_iter().flat_map(|side| &side.side.options.envoy.listeners);
    listeners.map(|listener| listener.port).collect()
}

/// Names that some domain of either side stands for, and that of nobody.
fn names(before: &Decider<'_>, after: &Decider<'_>) -> Vec<String> {
    let hosts = || [before, after].into_iter().flat_map(|side| &side.config.virtual_hosts);
    let mut names = vec![UNKNOWN.to_owned()];
    let mut known: HashSet<String> = names.iter().cloned().collect();
    // First the names that people write.
    let mut domains: Vec<&String> = hosts().flat_map(|host| &host.domains).collect();
    domains.sort_by_key(|domain| (domain.ends_with('.'), domain.len()));
    for domain in domains {
        // What a wildcard stands for, and its end, which it doesn't stand for.
        let end = domain.strip_prefix("*.").map(str::to_owned);
        for name in std::iter::once(sample(domain)).chain(end) {
            if known.insert(name.clone()) {
                names.push(name);
            }
        }
    }
    names
}

/// A name that `domain` stands for.
fn sample(domain: &str) -> String {
    match domain.strip_prefix('*') {
        Some("") => "any.example.net".to_owned(),
        Some(end) => format!("any{end}"),
        None => domain.to_owned(),
    }
}

/// Requests that `route` matches, if any can be found, and their neighbours.
fn around(base: &Request, route: &Route) -> Vec<Request> {
    let matcher = &route.matcher;
    // What fits one condition on the authority may be another host's.
    let mut authorities = vec![base.authority.clone()];
    let conditions = matcher.authority.iter().chain(
        matcher.headers.iter().filter(|header| header.name == ":authority").map(|header| &header.value),
    );
    authorities
        .extend(conditions.flat_map(samples::around).filter(|it| is_visible(it)).map(String::into_bytes));
    let mut found = Vec::new();
    for authority in &authorities {
        found.push(fitting(&Request { authority: authority.clone(), ..base.clone() }, matcher));
    }
    // A host is the same in any case and with any port, but an authority isn't.
    let other_form = [base.authority.to_ascii_uppercase(), format!(":{}", base.port).into_bytes()].concat();
    found.push(fitting(&Request { authority: other_form, ..base.clone() }, matcher));
    let neighbours: Vec<Vec<Request>> = found.iter().map(|fitting| neighbours(fitting, route)).collect();
    // Those with the usual authority first.
    found.extend(neighbours.into_iter().take(authorities.len()).flatten());
    found
}

/// Requests that differ from `fitting` in one thing about which `route` may care.
fn neighbours(fitting: &Request, route: &Route) -> Vec<Request> {
    let matcher = &route.matcher;
    let mut found = Vec::new();
    let query = |request: &Request| request.path.splitn(2, |byte| *byte == b'?').nth(1).map(<[u8]>::to_vec);
    for path in matcher.path.iter().flat_map(paths) {
        found.push(with_path(fitting, &path, query(fitting).as_deref()));
    }
    // A query that no condition asks about.
    found.push(with_path(
        fitting,
        &path_of(fitting),
        Some(&[query(fitting).unwrap_or_default().as_slice(), b"&other=1"].concat()),
    ));
    for method in matcher.method.iter().flat_map(samples::around).filter(|it| is_token(it)) {
        found.push(Request { method, ..fitting.clone() });
    }
    let other = if fitting.method == "GET" { "POST" } else { "GET" };
    found.push(Request { method: other.to_owned(), ..fitting.clone() });
    for header in matcher.headers.iter().filter(|header| is_token(&header.name)) {
        let name = header.name.to_ascii_lowercase();
        let without = without_header(fitting, &name);
        found.extend(
            samples::around(&header.value)
                .into_iter()
                .filter(|it| is_visible(it))
                .map(|value| with_header(&without, &name, &value)),
        );
        found.push(without);
    }
    for (index, parameter) in matcher.query_parameters.iter().enumerate() {
        let path = path_of(fitting);
        let mut values: Vec<Option<String>> =
            samples::around(&parameter.value).into_iter().map(Some).collect();
        values.push(None);
        for value in values {
            let query = query_of(matcher, Some((index, value.as_deref())));
            found.push(with_path(fitting, &path, (!query.is_empty()).then_some(query.as_bytes())));
        }
    }
    if let Some(pattern) = route.route.rewrite.as_ref().and_then(|it| it.path_regex.as_ref()) {
        let prefix = path_of(fitting);
        for text in samples::around(&StringMatch::Regex(pattern.pattern.clone())) {
            let path =
                if text.starts_with('/') { text } else { format!("{}/{text}", prefix.trim_end_matches('/')) };
            found.push(with_path(fitting, &as_path(&path), query(fitting).as_deref()));
        }
    }
    if let Some(cors) = &route.route.cors {
        found.extend(browsers(fitting, cors));
    }
    found
}

/// A request that `matcher` holds for, as far as one can tell from each condition alone.
fn fitting(base: &Request, matcher: &RouteMatch) -> Request {
    let path = matcher.path.as_ref().and_then(|path| paths(path).into_iter().next());
    let query = query_of(matcher, None);
    let mut request =
        with_path(base, path.as_deref().unwrap_or("/"), (!query.is_empty()).then_some(query.as_bytes()));
    let first = |condition: &StringMatch| samples::around(condition).into_iter().next();
    if let Some(method) = matcher.method.as_ref().and_then(first).filter(|it| is_token(it)) {
        request.method = method;
    }
    for header in matcher.headers.iter().filter(|header| !header.invert && is_token(&header.name)) {
        if let Some(value) = first(&header.value).filter(|it| is_visible(it)) {
            request = with_header(&request, &header.name.to_ascii_lowercase(), &value);
        }
    }
    request
}

/// Requests as a browser sends them: from an origin that is allowed and from others, asked about before or not.
fn browsers(fitting: &Request, cors: &Cors) -> Vec<Request> {
    let mut origins: Vec<String> = cors.allow_origins.iter().flat_map(samples::around).collect();
    origins.push("https://other.example.org".to_owned());
    let mut found = Vec::new();
    for origin in origins.iter().filter(|it| is_visible(it)) {
        let simple = with_header(fitting, "origin", origin);
        let preflight = Request { method: "OPTIONS".to_owned(), ..simple.clone() };
        found.push(with_header(&preflight, "access-control-request-method", "GET"));
        found.push(simple);
    }
    found
}

/// Connections that are passed through: by server name, and those without.
fn connections(before: &Decider<'_>, after: &Decider<'_>) -> Vec<Vec<Asked>> {
    let mut by_port: BTreeMap<u16, Vec<&ConnectionRoute>> = BTreeMap::new();
    for side in [before, after] {
        let transparent = !side.side.options.envoy.transparent.is_empty();
        let routes = if transparent { &side.side.plan.redirected } else { &side.side.plan.connections };
        for route in routes {
            by_port.entry(route.port).or_default().push(route);
        }
    }
    let mut groups = Vec::new();
    for (port, routes) in by_port {
        let mut group = Vec::new();
        let names = routes.iter().filter_map(|route| route.server_name.as_deref());
        let ends = names.clone().filter_map(|name| name.strip_prefix("*.").map(str::to_owned));
        let names: BTreeSet<String> = names.map(sample).chain(ends).chain([UNKNOWN.to_owned()]).collect();
        for name in names {
            let request = Request::to(&name, port);
            group.push(Asked::Tls { host: name, port, request: Box::new(request) });
        }
        let addresses =
            routes.iter().flat_map(|route| &route.addresses).map(|range| range.address.to_string());
        for address in addresses.chain([ADDRESS.to_owned()]).collect::<BTreeSet<_>>() {
            let host = if address.contains(':') { format!("[{address}]") } else { address };
            group.push(Asked::Tcp { target: format!("{host}:{port}"), port });
        }
        groups.push(group);
    }
    groups
}

fn paths(condition: &StringMatch) -> Vec<String> {
    samples::around(condition).iter().map(|text| as_path(text)).collect()
}

/// `text` as it may stand in a request line.
fn as_path(text: &str) -> String {
    let mut path = String::from(if text.starts_with('/') { "" } else { "/" });
    for c in text.chars() {
        if c.is_ascii_graphic() && !"?#%".contains(c) || c == '%' {
            path.push(c);
        } else {
            let mut bytes = [0; 4];
            path.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
    path
}

fn path_of(request: &Request) -> String {
    let path = request.path.split(|byte| *byte == b'?').next().unwrap_or_default();
    String::from_utf8_lossy(path).into_owned()
}

fn with_path(request: &Request, path: &str, query: Option<&[u8]>) -> Request {
    let mut bytes = path.as_bytes().to_vec();
    if let Some(query) = query {
        bytes.push(b'?');
        bytes.extend_from_slice(query.strip_prefix(b"&").unwrap_or(query));
    }
    Request { path: bytes, ..request.clone() }
}

/// A query that holds what `matcher` asks for; of the parameter at a place another value, or none.
fn query_of(matcher: &RouteMatch, other: Option<(usize, Option<&str>)>) -> String {
    let mut parts = Vec::new();
    for (index, parameter) in matcher.query_parameters.iter().enumerate() {
        let value = match other {
            Some((at, value)) if at == index => value.map(str::to_owned),
            _ => samples::around(&parameter.value).into_iter().next(),
        };
        let clean = |text: &str| text.chars().all(|c| c.is_ascii_graphic() && !"&#".contains(c));
        if let Some(value) = value.filter(|value| clean(value) && clean(&parameter.name)) {
            parts.push(format!("{}={value}", parameter.name));
        }
    }
    parts.join("&")
}

fn without_header(request: &Request, name: &str) -> Request {
    let mut request = request.clone();
    request.headers.retain(|(known, _)| known != name);
    request
}

fn with_header(request: &Request, name: &str, value: &str) -> Request {
    let mut request = without_header(request, name);
    request.headers.push((name.to_owned(), value.as_bytes().to_vec()));
    request
}

/// Whether `text` may be a method or the name of a header (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(may)
}

/// Whether `text` may be the value of a header.
fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' && byte != 0x7f) && text.trim() == text
}
