//! VirtualService (spec section 4).

use std::collections::BTreeMap;

use super::action::{self, DirectResponse, Fault, Headers, Redirect, RegexRewrite, Retries};
use super::read::{boolean, filled, int, labels, milliseconds, string, strings};
use super::{Meta, Spanned};
use crate::input::node::{Node, Value};
use crate::options::Cidr;
use crate::source::Span;

/// A VirtualService.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualService {
    /// Name, namespace and so on.
    pub meta: Meta,
    /// Hosts in lower case, since they are compared so (VS-HOST-01); none: it is a delegate
    /// (VS-HOST-04).
    pub hosts: Vec<Spanned<String>>,
    /// Gateways as written; empty means `mesh` (VS-HOST-05).
    pub gateways: Vec<Spanned<String>>,
    /// Who may see it; empty means everyone.
    pub export_to: Vec<Spanned<String>>,
    /// HTTP routes; the first whose conditions hold wins (VS-ORD-01).
    pub http: Vec<HttpRoute>,
    /// Routes of TLS connections that are passed through (VS-TLS-01).
    pub tls: Vec<ConnectionRule>,
    /// Routes of TCP connections (VS-TCP-01).
    pub tcp: Vec<ConnectionRule>,
}

/// An entry of `tls` or `tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRule {
    /// Its place, such as `tls[0]`.
    pub label: String,
    /// Alternatives; empty matches everything, which only `tcp` can have.
    pub matches: Vec<ConnectionMatch>,
    /// Destinations with weights.
    pub route: Vec<RouteDestination>,
    /// The whole entry.
    pub span: Span,
}

/// Conditions that all must hold (VS-TLS-02, VS-TCP-03).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionMatch {
    /// Names that the client sends in its TLS hello, in lower case; of `tls` alone, where there is
    /// at least one (VS-TLS-03).
    pub server_names: Vec<Spanned<String>>,
    /// What the client dialled; empty: anything.
    pub destination_subnets: Vec<Spanned<Cidr>>,
    /// Port of the listener.
    pub port: Option<Spanned<u16>>,
    /// Labels the client must have.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the client.
    pub source_namespace: Option<Spanned<String>>,
    /// Overrides the list of the VirtualService.
    pub gateways: Vec<Spanned<String>>,
    /// The whole entry.
    pub span: Span,
}

/// An HTTP route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// Its name, for logs (VS-ORD-05), else its place, such as `http[0]`.
    pub label: String,
    /// Alternatives; empty matches everything (VS-MATCH-01).
    pub matches: Vec<HttpMatch>,
    /// Destinations with weights.
    pub route: Vec<RouteDestination>,
    /// Rewrite before forwarding.
    pub rewrite: Option<Rewrite>,
    /// How long a request may take, in milliseconds (VS-TO-02).
    pub timeout: Option<Spanned<u64>>,
    /// When it is tried again; absent: Istio's default (VS-RETRY-01).
    pub retries: Option<Retries>,
    /// Answers to browsers (spec 4.8).
    pub cors: Option<Cors>,
    /// Faults on purpose (spec 4.8).
    pub fault: Option<Fault>,
    /// Who gets a copy of requests (VS-MIR-01).
    pub mirror: Option<Destination>,
    /// How many of a million requests it gets: `mirrorPercentage`.
    pub mirror_percentage: Option<u32>,
    /// The same in the old way, which counts where the new one is absent: `mirrorPercent`.
    pub mirror_percent: Option<u32>,
    /// Who else gets one (VS-MIR-02).
    pub mirrors: Vec<Mirror>,
    /// Changes of headers for all destinations (VS-HDR-01).
    pub headers: Headers,
    /// Sends the client elsewhere, in place of `route`.
    pub redirect: Option<Redirect>,
    /// Answers the client, in place of `route`.
    pub direct_response: Option<DirectResponse>,
    /// The VirtualService whose routes take the place of this one (VS-DEL-01).
    pub delegate: Option<Delegate>,
    /// Where a route stems from that took the place of another one.
    pub origin: Option<Origin>,
    /// The whole route.
    pub span: Span,
}

impl HttpRoute {
    /// All who get a copy of requests.
    pub fn all_mirrors(&self) -> impl Iterator<Item = Mirror> + '_ {
        let per_million = self.mirror_percentage.or(self.mirror_percent).unwrap_or(ALL);
        let one = self.mirror.clone().map(|destination| Mirror { destination, per_million });
        one.into_iter().chain(self.mirrors.iter().cloned())
    }
}

/// A reference to a delegate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegate {
    /// Its name.
    pub name: String,
    /// Its namespace; none: the one of the VirtualService.
    pub namespace: Option<String>,
    /// All of it.
    pub span: Span,
}

/// Where a route of a delegate stands, once it has taken the place of another one (VS-DEL-04).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The delegate, such as `VirtualService default/a`.
    pub delegate: String,
    /// The route that it took the place of.
    pub root: Span,
}

/// Conditions that all must hold (VS-ORD-03).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpMatch {
    /// No effect on routing (VS-MATCH-35).
    pub name: Option<Spanned<String>>,
    /// The path without query. `uri: {}` is no condition (VS-MATCH-08).
    pub uri: Option<Spanned<StringMatch>>,
    /// Applies to `exact` and `prefix` of `uri` (VS-MATCH-09); default false.
    pub ignore_uri_case: bool,
    /// `:scheme`
    pub scheme: Option<Spanned<StringMatch>>,
    /// `:method`
    pub method: Option<Spanned<StringMatch>>,
    /// `:authority` as the client sent it (VS-MATCH-12).
    pub authority: Option<Spanned<StringMatch>>,
    /// Headers that must match.
    pub headers: Vec<NamedMatch>,
    /// Headers that must not match; [`StringMatch::Present`] wants the header
    /// absent (VS-MATCH-23, VS-MATCH-24).
    pub without_headers: Vec<NamedMatch>,
    /// Query parameters that must match (VS-MATCH-26).
    pub query_params: Vec<NamedMatch>,
    /// Port of the listener (VS-MATCH-30).
    pub port: Option<Spanned<u16>>,
    /// Labels the client must have (VS-MATCH-31).
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the client (VS-MATCH-32).
    pub source_namespace: Option<Spanned<String>>,
    /// Overrides the list of the VirtualService (VS-MATCH-33).
    pub gateways: Vec<Spanned<String>>,
    /// The whole entry.
    pub span: Span,
}

/// A condition on a header or query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedMatch {
    /// Name as written.
    pub name: Spanned<String>,
    /// Condition on the value.
    pub value: Spanned<StringMatch>,
}

/// A condition on a string (spec 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatch {
    /// Equality.
    Exact(String),
    /// Plain string prefix.
    Prefix(String),
    /// RE2, matched against the whole value.
    Regex(String),
    /// `{}`: the value only has to be there.
    Present,
}

/// A destination of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDestination {
    /// Where to.
    pub destination: Destination,
    /// Share among several destinations (VS-ROUTE-02); absent is 0.
    pub weight: Option<Spanned<i64>>,
    /// Changes of headers for this destination (VS-HDR-01).
    pub headers: Headers,
    /// The whole entry.
    pub span: Span,
}

/// A CORS policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Conditions on the origin (VS-CORS-01).
    pub allow_origins: Vec<Spanned<StringMatch>>,
    /// Methods.
    pub allow_methods: Vec<Spanned<String>>,
    /// Headers of requests.
    pub allow_headers: Vec<Spanned<String>>,
    /// Headers of responses.
    pub expose_headers: Vec<Spanned<String>>,
    /// How long a browser may remember, in milliseconds (VS-CORS-03).
    pub max_age: Option<Spanned<u64>>,
    /// VS-CORS-04
    pub allow_credentials: bool,
    /// VS-CORS-05
    pub ignore_unmatched_preflights: bool,
    /// All of it.
    pub span: Span,
}

fn cors(node: &Node) -> Cors {
    let origins = node.get("allowOrigins").map(Node::items).unwrap_or_default();
    let mut allow_origins: Vec<_> = origins.iter().filter_map(|origin| string_match(Some(origin))).collect();
    if allow_origins.is_empty() {
        let old = strings(node.get("allowOrigin"));
        allow_origins = old.into_iter().map(|origin| origin.map(StringMatch::Exact)).collect();
    }
    let unmatched = node.get("unmatchedPreflights").and_then(Node::as_str);
    Cors {
        allow_origins,
        allow_methods: strings(node.get("allowMethods")),
        allow_headers: strings(node.get("allowHeaders")),
        expose_headers: strings(node.get("exposeHeaders")),
        max_age: milliseconds(node.get("maxAge")),
        allow_credentials: boolean(node.get("allowCredentials")).is_some_and(|flag| flag.value),
        ignore_unmatched_preflights: unmatched == Some("IGNORE"),
        span: node.span,
    }
}

/// As parts of a million.
const ALL: u32 = 1_000_000;

/// Who gets a copy of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where to.
    pub destination: Destination,
    /// How many of a million requests.
    pub per_million: u32,
}

/// A service, and one of its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Host as written.
    pub host: Spanned<String>,
    /// Port; may be left out if the service has a single one.
    pub port: Option<Spanned<u16>>,
    /// A part of the host's endpoints, which a DestinationRule names (VS-ROUTE-07).
    pub subset: Option<Spanned<String>>,
}

/// What is changed before forwarding (spec 4.4); at least one is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// New path, or new prefix of the path (VS-RW-01 to VS-RW-08).
    pub uri: Option<Spanned<String>>,
    /// New `:authority` (VS-RW-12).
    pub authority: Option<Spanned<String>>,
    /// Replaces parts of the path by pattern (VS-RW-11).
    pub uri_regex: Option<RegexRewrite>,
    /// The whole rewrite.
    pub span: Span,
}

pub(crate) fn read(meta: Meta, spec: &Node) -> VirtualService {
    let http = spec.get("http").map(Node::items).unwrap_or_default();
    VirtualService {
        meta,
        hosts: strings(spec.get("hosts"))
            .into_iter()
            .map(|host| host.map(|host| host.to_ascii_lowercase()))
            .collect(),
        gateways: strings(spec.get("gateways")),
        export_to: strings(spec.get("exportTo")),
        http: http.iter().enumerate().map(|(index, node)| http_route(index, node)).collect(),
        tls: connection_rules("tls", spec),
        tcp: connection_rules("tcp", spec),
    }
}

fn connection_rules(kind: &str, spec: &Node) -> Vec<ConnectionRule> {
    let rules = spec.get(kind).map(Node::items).unwrap_or_default();
    let rule = |(index, node): (usize, &Node)| {
        let list = |name: &str| node.get(name).map(Node::items).unwrap_or_default();
        ConnectionRule {
            label: format!("{kind}[{index}]"),
            matches: list("match").iter().map(connection_match).collect(),
            route: list("route").iter().filter_map(route_destination).collect(),
            span: node.span,
        }
    };
    rules.iter().enumerate().map(rule).collect()
}

fn connection_match(node: &Node) -> ConnectionMatch {
    let subnets = strings(node.get("destinationSubnets")).into_iter();
    ConnectionMatch {
        server_names: strings(node.get("sniHosts"))
            .into_iter()
            .map(|name| name.map(|name| name.to_ascii_lowercase()))
            .collect(),
        destination_subnets: subnets
            .filter_map(|text| Some(Spanned::new(text.parse().ok()?, text.span)))
            .collect(),
        port: int(node.get("port")).filter(|port| port.value != 0),
        source_labels: labels(node.get("sourceLabels")),
        source_namespace: filled(node.get("sourceNamespace")),
        gateways: strings(node.get("gateways")),
        span: node.span,
    }
}

fn http_route(index: usize, node: &Node) -> HttpRoute {
    let list = |name: &str| node.get(name).map(Node::items).unwrap_or_default();
    let old_percent = || int::<u32>(node.get("mirrorPercent").or_else(|| node.get("mirror_percent")));
    HttpRoute {
        label: filled(node.get("name")).map_or_else(|| format!("http[{index}]"), |name| name.value),
        matches: list("match").iter().map(http_match).collect(),
        route: list("route").iter().filter_map(route_destination).collect(),
        rewrite: node.get("rewrite").map(rewrite),
        timeout: milliseconds(node.get("timeout")),
        retries: node.get("retries").map(action::retries),
        cors: node.get("corsPolicy").map(cors),
        fault: node.get("fault").map(action::fault),
        mirror: node.get("mirror").and_then(destination),
        mirror_percentage: action::per_million(node.get("mirrorPercentage")),
        mirror_percent: old_percent().map(|percent| percent.value.min(100) * 10_000),
        mirrors: list("mirrors").iter().filter_map(mirror).collect(),
        headers: action::headers(node.get("headers")),
        redirect: node.get("redirect").map(action::redirect),
        direct_response: node.get("directResponse").map(action::direct_response),
        delegate: node.get("delegate").map(delegate),
        origin: None,
        span: node.span,
    }
}

fn http_match(node: &Node) -> HttpMatch {
    HttpMatch {
        name: filled(node.get("name")),
        uri: string_match(node.get("uri")),
        ignore_uri_case: boolean(node.get("ignoreUriCase")).is_some_and(|value| value.value),
        scheme: string_match(node.get("scheme")),
        method: string_match(node.get("method")),
        authority: string_match(node.get("authority")),
        headers: named_matches(node.get("headers")),
        without_headers: without(named_matches(node.get("withoutHeaders"))),
        query_params: named_matches(node.get("queryParams")),
        port: int(node.get("port")).filter(|port| port.value != 0),
        source_labels: labels(node.get("sourceLabels")),
        source_namespace: filled(node.get("sourceNamespace")),
        gateways: strings(node.get("gateways")),
        span: node.span,
    }
}

fn string_match(node: Option<&Node>) -> Option<Spanned<StringMatch>> {
    let node = node?;
    let text = |name: &str| node.get(name).and_then(Node::as_str).map(str::to_owned);
    let value = text("exact")
        .map(StringMatch::Exact)
        .or_else(|| text("prefix").map(StringMatch::Prefix))
        .or_else(|| text("regex").map(StringMatch::Regex))
        .unwrap_or(StringMatch::Present);
    Some(Spanned::new(value, node.span))
}

/// A null in `withoutHeaders` means presence (VS-MATCH-24); elsewhere it is
/// refused before (VS-MATCH-20).
fn named_matches(node: Option<&Node>) -> Vec<NamedMatch> {
    let entries = node.map(Node::entries).unwrap_or_default();
    let read = |node: &Node| match &node.value {
        Value::Map(_) | Value::Null => string_match(Some(node)),
        _ => None,
    };
    entries
        .iter()
        .filter_map(|entry| {
            let name = Spanned::new(entry.key.clone(), entry.key_span);
            read(&entry.node).map(|value| NamedMatch { name, value })
        })
        .collect()
}

/// In `withoutHeaders` the regular expression `*` asks for absence; elsewhere
/// it is none (VS-MATCH-21, VS-MATCH-24).
fn without(mut headers: Vec<NamedMatch>) -> Vec<NamedMatch> {
    for header in &mut headers {
        if matches!(&header.value.value, StringMatch::Regex(text) if text == "*") {
            header.value.value = StringMatch::Present;
        }
    }
    headers
}

fn destination(node: &Node) -> Option<Destination> {
    Some(Destination {
        host: string(node.get("host"))?,
        port: node.get("port").and_then(|port| int(port.get("number"))),
        subset: filled(node.get("subset")),
    })
}

fn mirror(node: &Node) -> Option<Mirror> {
    Some(Mirror {
        destination: destination(node.get("destination")?)?,
        per_million: action::per_million(node.get("percentage")).unwrap_or(ALL),
    })
}

fn delegate(node: &Node) -> Delegate {
    Delegate {
        name: filled(node.get("name")).map(|name| name.value).unwrap_or_default(),
        namespace: filled(node.get("namespace")).map(|name| name.value),
        span: node.span,
    }
}

fn route_destination(node: &Node) -> Option<RouteDestination> {
    Some(RouteDestination {
        destination: destination(node.get("destination")?)?,
        weight: int(node.get("weight")),
        headers: action::headers(node.get("headers")),
        span: node.span,
    })
}

fn rewrite(node: &Node) -> Rewrite {
    Rewrite {
        uri: filled(node.get("uri")),
        authority: filled(node.get("authority")),
        uri_regex: node.get("uriRegexRewrite").map(action::regex_rewrite),
        span: node.span,
    }
}
