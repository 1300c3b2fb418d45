//! VAL-VS rules.

use std::collections::HashMap;

use super::super::read::filled;
use super::super::virtual_service::{
    Destination, HttpMatch, HttpRoute, NamedMatch, StringMatch, VirtualService,
};
use super::super::{Spanned, domain};
use super::{action, export_to, invalid_host, labels, tls_routes};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::Node;
use crate::input::template;
use crate::source::Span;

/// Longest regular expression that Istio takes, in bytes (VAL-00d).
const MAX_REGEX: usize = 1024;

pub(crate) fn validate(service: &VirtualService, spec: &Node, out: &mut Diagnostics) {
    let mesh = service.gateways.is_empty() || service.gateways.iter().any(|gateway| gateway.value == "mesh");
    if spec.get("hosts").is_none_or(|hosts| hosts.items().is_empty() && !matches_type_error(hosts)) {
        delegate(service, spec, out);
    }
    hosts(service, mesh, out);
    gateways(&service.gateways, out);
    export_to(&service.meta, &service.export_to, false, "VAL-VS-30", out);
    let given =
        |name: &str| spec.get(name).is_some_and(|list| !list.items().is_empty() || matches_type_error(list));
    if !["http", "tls", "tcp"].into_iter().any(given) {
        out.push(
            Diagnostic::error("no-routes", "a VirtualService needs `http`, `tls` or `tcp` routes")
                .at(spec.span)
                .rule("VAL-VS-01"),
        );
    }
    tls_routes::check(&service.hosts, spec, out);
    let nodes = spec.get("http").map(Node::items).unwrap_or_default();
    let mut catch_all: Option<Span> = None;
    for (route, node) in service.http.iter().zip(nodes) {
        if let Some(first) = catch_all {
            out.push(
                Diagnostic::warning("unreachable-route", "this route is never reached")
                    .at(route.span)
                    .also("the route without `match` stands at", first)
                    .rule("VAL-VS-27")
                    .help("routes are tried in order, and a route without `match` takes everything; put it last"),
            );
        } else if route.delegate.is_none()
            && node.get("match").is_none_or(|list| list.items().is_empty() && !matches_type_error(list))
        {
            catch_all = Some(route.span);
        }
        http_route(route, node, mesh, out);
    }
}

/// A list of the wrong type was reported; it is not an empty one.
fn matches_type_error(node: &Node) -> bool {
    !matches!(node.value, crate::input::node::Value::List(_))
}

/// VS-HOST-04, VAL-VS-04: without hosts it is a delegate.
fn delegate(service: &VirtualService, spec: &Node, out: &mut Diagnostics) {
    if !service.gateways.is_empty() {
        out.push(
            Diagnostic::error(
                "missing-field",
                "`hosts` is missing; only a delegate has none, and a delegate has no `gateways`",
            )
            .at(spec.span)
            .rule("VAL-VS-04"),
        );
    }
    for name in ["tls", "tcp"] {
        if let Some(routes) = spec.get(name).filter(|routes| !routes.items().is_empty()) {
            out.push(
                Diagnostic::error("exclusive-fields", format!("a delegate can't have `{name}` routes"))
                    .at(routes.span)
                    .rule("VAL-VS-04")
                    .help("without `hosts` it is a delegate, which has `http` routes alone"),
            );
        }
    }
    // VS-DEL-03
    for delegate in service.http.iter().filter_map(|route| route.delegate.as_ref()) {
        out.push(
            Diagnostic::error("nested-delegate", "a route of a delegate can't delegate")
                .at(delegate.span)
                .rule("VAL-VS-29")
                .help("refer to the last VirtualService itself"),
        );
    }
}

fn hosts(service: &VirtualService, mesh: bool, out: &mut Diagnostics) {
    for host in &service.hosts {
        if host.value == "*" {
            if mesh {
                out.push(
                    Diagnostic::error("invalid-host", "a VirtualService of the mesh can't take all hosts")
                        .at(host.span)
                        .rule("VS-HOST-02")
                        .help("name the hosts, or a domain as `*.example.com`"),
                );
            }
        } else if !domain::is_ip(host)
            && let Err(why) = domain::wildcard_domain(host)
        {
            out.extend(invalid_host(host, "host", &why, "VAL-VS-02"));
        }
    }
    overlaps(&service.hosts, out);
}

/// VS-HOST-03. Equal hosts are found by a map and wildcards compared with all
/// hosts: many hosts are usual, many wildcards are not.
fn overlaps(hosts: &[Spanned<String>], out: &mut Diagnostics) {
    let mut report = |host: &Spanned<String>, first: &Spanned<String>| {
        let message = if host.value == first.value {
            format!("the host `{}` is given twice", host.value)
        } else {
            format!("the hosts `{}` and `{}` overlap", first.value, host.value)
        };
        out.push(
            Diagnostic::error("overlapping-hosts", message)
                .at(host.span)
                .also("the other one stands at", first.span)
                .rule("VS-HOST-03"),
        );
    };
    let mut seen: HashMap<&str, &Spanned<String>> = HashMap::new();
    let mut wildcards: Vec<&Spanned<String>> = Vec::new();
    for host in hosts {
        if let Some(first) = seen.get(host.as_str()) {
            report(host, first);
            continue;
        }
        seen.insert(&host.value, host);
        if let Some(first) = wildcards.iter().find(|wildcard| domain::overlap(wildcard, host)) {
            report(host, first);
        } else if host.starts_with('*') {
            let earlier = hosts.iter().take_while(|other| other.span != host.span);
            if let Some(first) = earlier.filter(|other| domain::overlap(other, host)).last() {
                report(host, first);
            }
        }
        if host.starts_with('*') {
            wildcards.push(host);
        }
    }
}

/// VAL-VS-05: `name`, `namespace/name`, `mesh`, or the old dotted form.
pub(super) fn gateways(gateways: &[Spanned<String>], out: &mut Diagnostics) {
    // A template was reported with the shape.
    for gateway in gateways.iter().filter(|gateway| template::in_value(gateway).is_none()) {
        let valid = match gateway.split_once('/') {
            Some((namespace, name)) => {
                (namespace == "." || domain::is_label(namespace)) && domain::fqdn(name).is_ok()
            }
            None => domain::fqdn(gateway).is_ok(),
        };
        if !valid {
            out.push(
                Diagnostic::error("invalid-gateway", format!("`{}` is no gateway", gateway.value))
                    .at(gateway.span)
                    .rule("VAL-VS-05")
                    .help("it can be `mesh`, a name, or a namespace and a name as `istio-system/egress`"),
            );
        } else if !gateway.contains('/') && gateway.contains('.') {
            out.push(
                Diagnostic::warning(
                    "old-gateway-name",
                    format!("`{}` is an outdated way to name a gateway", gateway.value),
                )
                .at(gateway.span)
                .rule("VAL-VS-05")
                .help("write the namespace and the name, as `istio-system/egress`"),
            );
        }
    }
}

fn http_route(route: &HttpRoute, node: &Node, mesh: bool, out: &mut Diagnostics) {
    let given = |value: &Node| !value.items().is_empty() || matches_type_error(value);
    let acts = ["route", "redirect", "directResponse", "delegate"];
    if !acts.into_iter().filter_map(|name| node.get(name)).any(given) {
        out.push(
            Diagnostic::error("no-destination", "this route leads nowhere: `route` is missing or empty")
                .at(route.span)
                .rule("VAL-VS-07"),
        );
    }
    for name in ["route", "redirect"] {
        // VS-DEL-10
        if let (Some(delegate), Some(other)) = (&route.delegate, node.get(name).filter(|node| given(node))) {
            out.push(
                Diagnostic::error("exclusive-fields", format!("`{name}` has no place beside `delegate`"))
                    .at(other.span)
                    .also("`delegate` stands at", delegate.span)
                    .rule("VAL-VS-29"),
            );
        }
    }
    for destination in &route.route {
        host_of(&destination.destination, out);
    }
    for mirror in route.all_mirrors() {
        host_of(&mirror.destination, out);
    }
    subsets(node, out);
    let each: Vec<_> = route.route.iter().map(|destination| (destination.weight, destination.span)).collect();
    weights(&each, out);
    if let Some(rewrite) = &route.rewrite
        && rewrite.uri.is_none()
        && rewrite.authority.is_none()
        && rewrite.uri_regex.is_none()
        && node.get("rewrite").is_some_and(|node| !wrong_parts(node))
    {
        out.push(
            Diagnostic::error("empty-rewrite", "this rewrite changes nothing")
                .at(rewrite.span)
                .rule("VAL-VS-16")
                .help("set `uri`, `uriRegexRewrite` or `authority`, or leave it out"),
        );
    }
    action::check(route, node, out);
    for condition in &route.matches {
        http_match(condition, mesh, out);
    }
    for condition in node.get("match").map(Node::items).unwrap_or_default() {
        labels::check(condition.get("sourceLabels"), "VAL-VS-11", out);
    }
}

/// Whether a part has a wrong type, or the rewrite itself; that was reported.
fn wrong_parts(rewrite: &Node) -> bool {
    !matches!(rewrite.value, crate::input::node::Value::Map(_))
        || ["uri", "authority"]
            .into_iter()
            .any(|name| rewrite.get(name).is_some_and(|node| node.as_str().is_none()))
}

fn host_of(destination: &Destination, out: &mut Diagnostics) {
    destination_host(&destination.host, out);
}

/// VAL-VS-14.
pub(super) fn destination_host(host: &Spanned<String>, out: &mut Diagnostics) {
    if host.value == "*" {
        out.push(
            Diagnostic::error("invalid-host", "requests can't be sent to all hosts")
                .at(host.span)
                .rule("VS-ROUTE-06"),
        );
    } else if let Err(why) = domain::wildcard_domain(host) {
        let diagnostic = invalid_host(host, "destination", &why, "VAL-VS-14");
        out.extend(diagnostic.map(|diagnostic| match domain::is_ip(host) {
            true => diagnostic.help("give the address a name in a ServiceEntry with `resolution: STATIC`"),
            false => diagnostic,
        }));
    }
}

/// VAL-VS-14, of every destination of a route.
fn subsets(route: &Node, out: &mut Diagnostics) {
    let list = |name: &str| route.get(name).map(Node::items).unwrap_or_default().iter();
    let nested = list("route").chain(list("mirrors")).filter_map(|item| item.get("destination"));
    for destination in nested.chain(route.get("mirror")) {
        subset(destination, out);
    }
}

/// VAL-VS-14: the name of a subset, as a DestinationRule gives it.
pub(super) fn subset(destination: &Node, out: &mut Diagnostics) {
    let Some(name) = filled(destination.get("subset")) else { return };
    if template::in_value(&name).is_none() && !domain::is_label(&name) {
        out.push(
            Diagnostic::error("invalid-subset", format!("`{}` can't be the name of a subset", name.value))
                .at(name.span)
                .rule("VAL-VS-14"),
        );
    }
}

/// VAL-VS-15: the weight and the place of each destination. The weight of a single one counts for
/// nothing.
pub(super) fn weights(each: &[(Option<Spanned<i64>>, Span)], out: &mut Diagnostics) {
    let error =
        |message: &str, span: Span| Diagnostic::error("invalid-weight", message).at(span).rule("VAL-VS-15");
    for negative in each.iter().filter_map(|(weight, _)| *weight).filter(|weight| weight.value < 0) {
        out.push(error("a weight can't be negative", negative.span));
    }
    if let [(_, first), _, ..] = each
        && each.iter().filter_map(|(weight, _)| *weight).map(|weight| weight.value).sum::<i64>() == 0
    {
        out.push(
            error("the weights of the destinations add up to 0", *first)
                .help("give each destination a `weight`; none means 0 as soon as there are several"),
        );
    }
}

fn http_match(condition: &HttpMatch, mesh: bool, out: &mut Diagnostics) {
    if let Some(uri) = &condition.uri {
        regex(uri, out);
    }
    for part in [&condition.scheme, &condition.method, &condition.authority].into_iter().flatten() {
        string_match(part, out);
    }
    for header in condition.headers.iter().chain(&condition.without_headers) {
        header_name(&header.name, mesh, out);
    }
    for NamedMatch { value, .. } in
        condition.headers.iter().chain(&condition.without_headers).chain(&condition.query_params)
    {
        string_match(value, out);
    }
    client(condition.source_namespace.as_ref(), out);
    gateways(&condition.gateways, out);
}

/// VAL-VS-11.
pub(super) fn client(namespace: Option<&Spanned<String>>, out: &mut Diagnostics) {
    if let Some(namespace) = namespace.filter(|namespace| !domain::is_label(namespace)) {
        out.push(
            Diagnostic::error("invalid-namespace", format!("`{}` is no namespace", namespace.value))
                .at(namespace.span)
                .rule("VAL-VS-11"),
        );
    }
}

/// VS-MATCH-22: what matches everything there has to be written as `{}`.
fn string_match(value: &Spanned<StringMatch>, out: &mut Diagnostics) {
    if matches!(&value.value, StringMatch::Prefix(text) if text.is_empty()) {
        out.push(
            Diagnostic::error("empty-match", "an empty `prefix` is refused here")
                .at(value.span)
                .rule("VS-MATCH-22")
                .help("to ask for presence only, write `{}`"),
        );
    }
    regex(value, out);
}

/// VAL-00d, except for the syntax, which the engine checks.
fn regex(value: &Spanned<StringMatch>, out: &mut Diagnostics) {
    let StringMatch::Regex(text) = &value.value else { return };
    let message = if text.is_empty() {
        "an empty `regex` is refused".to_owned()
    } else if text.len() > MAX_REGEX {
        format!("the regular expression has {} bytes, and {MAX_REGEX} is the limit", text.len())
    } else {
        return;
    };
    out.push(Diagnostic::error("invalid-regex", message).at(value.span).rule("VAL-00d"));
}

/// VAL-00e, VAL-VS-26.
fn header_name(name: &Spanned<String>, mesh: bool, out: &mut Diagnostics) {
    const PSEUDO: [&str; 5] = [":method", ":scheme", ":authority", ":path", ":status"];
    let error = |message: String, rule: &'static str| {
        Diagnostic::error("invalid-header-name", message).at(name.span).rule(rule)
    };
    if name.starts_with("@request.auth.claims") {
        if mesh {
            out.push(error("claims of a token can only be matched at a gateway".to_owned(), "VAL-VS-26"));
        }
        return;
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~,".contains(&b);
    let valid = !name.is_empty() && name.bytes().all(token);
    if !valid && !PSEUDO.contains(&name.as_str()) {
        out.push(error(format!("`{}` can't be the name of a header", name.value), "VAL-VS-10"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, read_spec};
    use super::*;

    const ROUTE: &str = "route: [{destination: {host: b}}]";

    #[test]
    fn host_rules() {
        let case = |rest: &str| format!("http: [{{{ROUTE}}}]\n{rest}");
        check(
            "VirtualService",
            &[
                (&case("hosts: [webserver]"), &[]),
                (&case("hosts: [a.com, '*.b.com', 10.0.0.1, '::1', A.b]"), &[]),
                (&case("hosts: ['*']"), &["error invalid-host VS-HOST-02"]),
                (&case("hosts: ['*']\ngateways: [x/y]"), &[]),
                (&case("hosts: ['*']\ngateways: [x/y, mesh]"), &["error invalid-host VS-HOST-02"]),
                (&case("hosts: [a_b]"), &["error invalid-host VAL-VS-02"]),
                (&case("hosts: ['${HOST}']"), &["error unrendered-template -"]),
                (&case("hosts: [a.com, a.com]"), &["error overlapping-hosts VS-HOST-03"]),
                (&case("hosts: [a.com, A.com]"), &["error overlapping-hosts VS-HOST-03"]),
                (&case("hosts: ['*.foo.com', a.foo.com]"), &["error overlapping-hosts VS-HOST-03"]),
                (&case("hosts: [a.foo.com, '*.foo.com']"), &["error overlapping-hosts VS-HOST-03"]),
                (&case("hosts: []"), &[]),
                (&case(""), &[]),
                (&case("gateways: [a/b]"), &["error missing-field VAL-VS-04"]),
                (&case("tcp: [{route: [{destination: {host: b}}]}]"), &["error exclusive-fields VAL-VS-04"]),
                (&case("hosts: a.com"), &["error wrong-type -"]),
                (
                    &case("hosts: [a]\ngateways: [a.b.svc.cluster.local]"),
                    &["warning old-gateway-name VAL-VS-05"],
                ),
                (&case("hosts: [a]\ngateways: [a/b/c]"), &["error invalid-gateway VAL-VS-05"]),
                (&case("hosts: [a]\nexportTo: ['~']"), &["error invalid-export-to VAL-VS-30"]),
            ],
        );
    }

    #[test]
    fn route_rules() {
        let case = |http: &str| format!("hosts: [a]\nhttp: {http}");
        check(
            "VirtualService",
            &[
                ("hosts: [a]", &["error no-routes VAL-VS-01"]),
                (&case("[]"), &["error no-routes VAL-VS-01"]),
                (&case("{}"), &["error wrong-type -"]),
                (&case("[{}]"), &["error no-destination VAL-VS-07"]),
                (&case("[null]"), &["error wrong-type -", "error no-destination VAL-VS-07"]),
                (&case("[{route: []}]"), &["error no-destination VAL-VS-07"]),
                (&case("[{route: [{}]}]"), &["error missing-field VAL-CRD-18"]),
                (&case("[{route: [{destination: {}}]}]"), &["error missing-field VAL-CRD-18"]),
                (&case("[{route: [{destination: {host: '*'}}]}]"), &["error invalid-host VS-ROUTE-06"]),
                (&case("[{route: [{destination: {host: 10.0.0.1}}]}]"), &["error invalid-host VAL-VS-14"]),
                (&case("[{route: [{destination: {host: b, port: {number: 80}}}]}]"), &[]),
                (
                    &case("[{route: [{destination: {host: b, port: {}}}]}]"),
                    &["error missing-field VAL-VS-14"],
                ),
                (
                    &case("[{route: [{destination: {host: b, port: {number: 0}}}]}]"),
                    &["error out-of-range VAL-CRD-06"],
                ),
                (&case("[{route: [{destination: {host: b, subset: v1}}]}]"), &[]),
                (
                    &case("[{route: [{destination: {host: b, subset: v_1}}]}]"),
                    &["error invalid-subset VAL-VS-14"],
                ),
                (
                    &case(&format!("[{{{ROUTE}, mirror: {{host: '*'}}}}]")),
                    &["error invalid-host VS-ROUTE-06"],
                ),
                (
                    &case(&format!("[{{{ROUTE}, mirror: {{host: b}}, mirrorPercent: 101}}]")),
                    &["error out-of-range VAL-VS-08", "warning deprecated-field VAL-VS-09"],
                ),
                (&case("[{redirect: {uri: /}}]"), &[]),
                (&case("[{delegate: {name: d}}]"), &[]),
                (
                    &case(&format!("[{{delegate: {{name: d}}, {ROUTE}}}]")),
                    &["error exclusive-fields VAL-VS-29"],
                ),
                (&case("[{delegate: {name: d}, redirect: {uri: /}}]"), &["error exclusive-fields VAL-VS-29"]),
                ("http: [{delegate: {name: d}}]", &["error nested-delegate VAL-VS-29"]),
                // What its delegate matches isn't known here.
                (&case(&format!("[{{delegate: {{name: d}}}}, {{{ROUTE}}}]")), &[]),
                (
                    &case(&format!("[{{{ROUTE}}}, {{match: [{{port: 80}}], {ROUTE}}}]")),
                    &["warning unreachable-route VAL-VS-27"],
                ),
                (&case(&format!("[{{rewrite: {{}}, {ROUTE}}}]")), &["error empty-rewrite VAL-VS-16"]),
                (&case(&format!("[{{rewrite: {{uri: ''}}, {ROUTE}}}]")), &["error empty-rewrite VAL-VS-16"]),
                (&case(&format!("[{{rewrite: null, {ROUTE}}}]")), &[]),
                (&case(&format!("[{{rewrite: {{uri: 1}}, {ROUTE}}}]")), &["error wrong-type -"]),
                (
                    &case(&format!("[{{rewrite: {{uriRegexRewrite: {{match: a, rewrite: b}}}}, {ROUTE}}}]")),
                    &[],
                ),
                (&case(&format!("[{{timeout: 1d, {ROUTE}}}]")), &["error invalid-duration VAL-CRD-05"]),
            ],
        );
    }

    #[test]
    fn weight_rules() {
        let case = |weights: &[&str]| {
            let list: Vec<String> =
                weights.iter().map(|weight| format!("{{destination: {{host: b}}{weight}}}")).collect();
            format!("hosts: [a]\nhttp: [{{route: [{}]}}]", list.join(", "))
        };
        check(
            "VirtualService",
            &[
                (&case(&[", weight: 0"]), &[]),
                (&case(&[", weight: 1", ", weight: 7"]), &[]),
                (&case(&[", weight: 1", ""]), &[]),
                (&case(&["", ""]), &["error invalid-weight VAL-VS-15"]),
                (&case(&[", weight: -1", ", weight: 2"]), &["error invalid-weight VAL-VS-15"]),
            ],
        );
    }

    #[test]
    fn match_rules() {
        let case = |condition: &str| format!("hosts: [a]\nhttp: [{{match: [{condition}], {ROUTE}}}]");
        let long = format!("{{uri: {{regex: {}}}}}", "a".repeat(1025));
        check(
            "VirtualService",
            &[
                (&case("{}"), &[]),
                (&case("{uri: {}}"), &[]),
                (&case("{uri: {prefix: ''}}"), &[]),
                (&case("{uri: {exact: yes}}"), &["error wrong-type -"]),
                (&case("{uri: {exact: a, prefix: b}}"), &["error exclusive-fields VAL-CRD-16"]),
                (&case("{uri: {regex: ''}}"), &["error invalid-regex VAL-00d"]),
                (&case(&long), &["error invalid-regex VAL-00d"]),
                (&case("{method: {prefix: ''}}"), &["error empty-match VS-MATCH-22"]),
                (&case("{headers: {x: {prefix: ''}}}"), &["error empty-match VS-MATCH-22"]),
                (&case("{headers: {x: {}}, queryParams: {k: {}}, withoutHeaders: {w: null, z: {}}}"), &[]),
                (&case("{headers: {x: null}}"), &["error wrong-type -"]),
                (&case("{headers: {'a b': {}}}"), &["error invalid-header-name VAL-VS-10"]),
                (&case("{headers: {':path': {exact: /}}}"), &[]),
                (&case("{headers: {':foo': {exact: /}}}"), &["error invalid-header-name VAL-VS-10"]),
                (
                    &case("{headers: {'@request.auth.claims.x': {exact: a}}}"),
                    &["error invalid-header-name VAL-VS-26"],
                ),
                (&case("{sourceNamespace: a_b}"), &["error invalid-namespace VAL-VS-11"]),
                (&case("{sourceLabels: {a: 'b c'}}"), &["error invalid-label VAL-VS-11"]),
                (&case("{port: 70000}"), &["error out-of-range VAL-CRD-06"]),
                (&case("{name: x, statPrefix: w, sourceLabels: {a: b}, gateways: [mesh]}"), &[]),
                (&case("{ignore_uri_case: true}"), &["error unknown-field VAL-CRD-01"]),
                (&case("null"), &["error wrong-type -"]),
            ],
        );
    }

    #[test]
    fn every_condition_is_read() {
        let spec = format!(
            "hosts: [A]
gateways: [mesh]
exportTo: [.]
http:
- name: first
  match:
  - name: m
    uri: {{regex: a.*}}
    ignoreUriCase: true
    scheme: {{exact: https}}
    method: {{prefix: G}}
    authority: {{exact: b}}
    headers: {{x: {{exact: ''}}, v: {{}}}}
    withoutHeaders: {{w: null, z: {{regex: '*'}}}}
    queryParams: {{k: {{prefix: v}}}}
    port: 80
    sourceLabels: {{app: a}}
    sourceNamespace: ns
    gateways: [mesh]
  - uri: {{}}
    port: 0
    sourceNamespace: ''
  rewrite: {{uri: /x, authority: ''}}
  {ROUTE}"
        );
        let read = read_spec("VirtualService", &spec);
        assert!(read.diagnostics.is_empty(), "{}", read.diagnostics.render(&read.sources));
        let service = &read.virtual_services[0];
        assert_eq!(service.hosts[0].value, "a");
        let route = &service.http[0];
        assert_eq!(route.label, "first");
        let [first, second] = route.matches.as_slice() else { panic!() };
        let value = |part: &Option<Spanned<StringMatch>>| part.clone().map(|part| part.value);
        assert_eq!(value(&first.uri), Some(StringMatch::Regex("a.*".into())));
        assert!(first.ignore_uri_case);
        assert_eq!(value(&first.scheme), Some(StringMatch::Exact("https".into())));
        assert_eq!(value(&first.method), Some(StringMatch::Prefix("G".into())));
        assert_eq!(value(&first.authority), Some(StringMatch::Exact("b".into())));
        let named = |list: &[NamedMatch]| -> Vec<(String, StringMatch)> {
            list.iter().map(|item| (item.name.value.clone(), item.value.value.clone())).collect()
        };
        assert_eq!(
            named(&first.headers),
            [("x".into(), StringMatch::Exact(String::new())), ("v".into(), StringMatch::Present)]
        );
        assert_eq!(
            named(&first.without_headers),
            [("w".into(), StringMatch::Present), ("z".into(), StringMatch::Present)]
        );
        assert_eq!(named(&first.query_params), [("k".into(), StringMatch::Prefix("v".into()))]);
        assert_eq!(first.port.map(|port| port.value), Some(80));
        assert_eq!(first.source_labels.get("app").map(String::as_str), Some("a"));
        assert_eq!(first.source_namespace.as_ref().map(|ns| ns.as_str()), Some("ns"));
        assert_eq!(first.gateways.len(), 1);
        assert_eq!(value(&second.uri), Some(StringMatch::Present));
        assert_eq!((second.port, &second.source_namespace), (None, &None));
        let rewrite = route.rewrite.as_ref().unwrap();
        assert_eq!(rewrite.uri.as_ref().map(|uri| uri.as_str()), Some("/x"));
        assert!(rewrite.authority.is_none());
    }
}
