//! VAL-SE rules and the CEL rules of ServiceEntry.

use std::collections::HashMap;

use super::super::service_entry::{
    Address, Endpoint, Location, Port, Protocol, ProtocolClass, Resolution, ServiceEntry,
};
use super::super::{Spanned, domain};
use super::{export_to, invalid_host};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::Node;
use crate::schema::suggest;

const UNIX: &str = "unix://";

pub(crate) fn validate(entry: &ServiceEntry, spec: &Node, out: &mut Diagnostics) {
    hosts(entry, spec, out);
    addresses(entry, spec, out);
    ports(entry, out);
    protocols(spec, out);
    endpoints(entry, spec, out);
    selector(entry, out);
    dynamic_dns(entry, out);
    export_to(&entry.meta, &entry.export_to, true, "VAL-SE-25", out);
    if spec.get("ports").is_none_or(|ports| ports.items().is_empty()) {
        out.push(
            Diagnostic::warning(
                "no-ports",
                "without `ports` nothing can reach the hosts of this ServiceEntry",
            )
            .at(spec.span)
            .rule("SE-09"),
        );
    }
}

fn hosts(entry: &ServiceEntry, spec: &Node, out: &mut Diagnostics) {
    let written = spec.get("hosts").map(Node::items).unwrap_or_default();
    for host in &entry.hosts {
        let original =
            written.iter().find(|node| node.span == host.span).and_then(Node::as_str).unwrap_or("");
        if host.value == "*" {
            out.push(
                Diagnostic::error("invalid-host", "a ServiceEntry can't take all hosts")
                    .at(host.span)
                    .rule("VAL-SE-02")
                    .help("name the hosts, or a domain as `*.example.com`"),
            );
        } else if let Err(why) = domain::wildcard_domain(&host.value) {
            let shown = Spanned::new(original.to_owned(), host.span);
            out.extend(invalid_host(&shown, "host", &why, "VAL-SE-03"));
        } else {
            partial_wildcard(host, entry, out);
            if original != host.value {
                out.push(
                    Diagnostic::warning(
                        "host-in-capitals",
                        format!("`{original}` is read as `{}`", host.value),
                    )
                    .at(host.span)
                    .rule("SE-05")
                    .help("Istio would answer 503 for this host; write it in lower case"),
                );
            }
            unresolvable(host, entry, out);
        }
    }
}

/// VAL-SE-08, VAL-SE-09, VAL-SE-20.
fn addresses(entry: &ServiceEntry, spec: &Node, out: &mut Diagnostics) {
    let written = spec.get("addresses").map(Node::items).unwrap_or_default();
    let by_name = matches!(entry.resolution(), Resolution::Dns | Resolution::DnsRoundRobin);
    for node in written {
        let Some(text) = node.as_str() else { continue };
        if Address::parse(text).is_none() {
            out.push(
                Diagnostic::error(
                    "invalid-address",
                    format!("`{text}` is neither an IP address nor a range such as 10.0.0.0/8"),
                )
                .at(node.span)
                .rule("VAL-SE-08"),
            );
        } else if text.contains('/') && !matches!(entry.resolution(), Resolution::None | Resolution::Static) {
            out.push(
                Diagnostic::error("invalid-address", "a range needs `resolution: NONE` or `STATIC`")
                    .at(node.span)
                    .rule("VAL-SE-09")
                    .help("write the address without a length"),
            );
        }
    }
    let tcp = entry.ports.iter().find(|port| port.protocol.class() == ProtocolClass::Tcp);
    if let (Some(port), Some(first), true) = (tcp, written.first(), by_name && entry.hosts.len() > 1) {
        out.push(
            Diagnostic::warning(
                "ambiguous-port",
                format!("on the TCP port {} the hosts share these addresses", port.number.value),
            )
            .at(first.span)
            .rule("VAL-SE-20"),
        );
    }
}

/// VAL-SE-22, VAL-SE-23.
fn dynamic_dns(entry: &ServiceEntry, out: &mut Diagnostics) {
    let Some(resolution) = entry.resolution.as_ref().filter(|it| it.value == Resolution::DynamicDns) else {
        return;
    };
    let mut error = |message: String, at| {
        out.push(Diagnostic::error("invalid-dynamic-dns", message).at(at).rule("VAL-SE-22"));
    };
    for host in entry.hosts.iter().filter(|host| !host.starts_with('*')) {
        error(format!("`DYNAMIC_DNS` takes wildcard hosts, and `{}` is none", host.value), host.span);
    }
    if let Some(address) = entry.addresses.first() {
        error("`DYNAMIC_DNS` takes no `addresses`".to_owned(), address.span);
    }
    if let Some(endpoint) = entry.endpoints.first() {
        error("`DYNAMIC_DNS` takes no `endpoints`".to_owned(), endpoint.span);
    }
    let allowed = [Protocol::Http, Protocol::Http2, Protocol::Grpc, Protocol::Tls];
    for port in entry.ports.iter().filter(|port| !allowed.contains(&port.protocol.value)) {
        let message =
            format!("`DYNAMIC_DNS` takes ports of HTTP, HTTP2, GRPC and TLS, not {}", port.protocol.value);
        error(message, port.protocol.span);
    }
    let internal = entry.location.as_ref().is_some_and(|it| it.value == Location::MeshInternal);
    if internal && entry.meta.labels.contains_key("istio.io/use-waypoint") {
        out.push(
            Diagnostic::error("invalid-dynamic-dns", "`DYNAMIC_DNS` within the mesh has no waypoint")
                .at(resolution.span)
                .rule("VAL-SE-23"),
        );
    }
}

/// VAL-SE-06, VAL-SE-07, VAL-SE-13, VAL-CRD-15.
fn selector(entry: &ServiceEntry, out: &mut Diagnostics) {
    let Some(selector) = &entry.workload_selector else { return };
    if selector.value.is_empty() {
        out.push(
            Diagnostic::warning(
                "selects-everything",
                format!(
                    "without `labels` every WorkloadEntry of namespace `{}` is selected",
                    entry.meta.namespace
                ),
            )
            .at(selector.span)
            .rule("VAL-SE-06"),
        );
    }
    for (key, value) in &selector.value {
        if key.is_empty() || key.contains('*') || value.contains('*') || value.len() > 63 {
            out.push(
                Diagnostic::error("invalid-selector", format!("`{key}: {value}` is no label"))
                    .at(selector.span)
                    .rule("VAL-SE-07")
                    .help("labels are compared as they are, without patterns"),
            );
        }
    }
    if entry.resolution() == Resolution::None {
        out.push(
            Diagnostic::warning(
                "unused-endpoints",
                "`workloadSelector` has no effect: `resolution` is `NONE`",
            )
            .at(selector.span)
            .rule("VAL-SE-13")
            .help("set `resolution` to `STATIC` for IP addresses, or to `DNS` for names"),
        );
    }
}

/// `*-a.x` (SE-01, VAL-SE-04).
fn partial_wildcard(host: &Spanned<String>, entry: &ServiceEntry, out: &mut Diagnostics) {
    let partial = host.strip_prefix('*').is_some_and(|rest| !rest.starts_with('.'));
    if !partial {
        return;
    }
    let tls = entry.ports.iter().find(|port| port.protocol.class() == ProtocolClass::Tls);
    let diagnostic = match tls {
        Some(port) => Diagnostic::error(
            "partial-wildcard",
            format!("`{}` can't be matched on port {}", host.value, port.number.value),
        )
        .also("the port stands at", port.span)
        .rule("SE-01")
        .help("Envoy knows no such server name in TLS; use `*.` and a whole domain"),
        None if entry.resolution() == Resolution::DynamicDns => return,
        None => Diagnostic::warning(
            "partial-wildcard",
            format!("`{}` is no wildcard of a whole label", host.value),
        )
        .rule("VAL-SE-04"),
    };
    out.push(diagnostic.at(host.span));
}

/// VAL-SE-16.
fn unresolvable(host: &Spanned<String>, entry: &ServiceEntry, out: &mut Diagnostics) {
    let dns = matches!(entry.resolution(), Resolution::Dns | Resolution::DnsRoundRobin);
    if dns && entry.endpoints.is_empty() && entry.workload_selector.is_none() && host.starts_with('*') {
        out.push(
            Diagnostic::error("unresolvable-host", format!("`{}` can't be looked up in DNS", host.value))
                .at(host.span)
                .rule("VAL-SE-16")
                .help("name the hosts, or list `endpoints`"),
        );
    }
}

fn ports(entry: &ServiceEntry, out: &mut Diagnostics) {
    let mut numbers = HashMap::new();
    let mut names = HashMap::new();
    for port in &entry.ports {
        if let Some(first) = numbers.insert(port.number.value, port.number.span) {
            let message = format!("the port {} is given twice", port.number.value);
            out.push(duplicate_port(message, port.number.span, first));
        }
        if let Some(first) = names.insert(port.name.as_str(), port.name.span) {
            let message = format!("two ports are called `{}`", port.name.value);
            out.push(duplicate_port(message, port.name.span, first));
        }
        if !domain::is_label(&port.name) {
            out.push(
                Diagnostic::error(
                    "invalid-port-name",
                    format!("`{}` can't be the name of a port", port.name.value),
                )
                .at(port.name.span)
                .rule("VAL-SE-10")
                .help("a name consists of at most 63 letters, digits and inner `-`"),
            );
        }
        several_hosts(port, entry, out);
    }
}

fn duplicate_port(message: String, at: crate::source::Span, first: crate::source::Span) -> Diagnostic {
    Diagnostic::error("duplicate-port", message).at(at).also("first given at", first).rule("VAL-SE-10")
}

/// VAL-SE-21: without a host in the bytes, the services can't be told apart.
fn several_hosts(port: &Port, entry: &ServiceEntry, out: &mut Diagnostics) {
    let told_apart = matches!(port.protocol.class(), ProtocolClass::Http | ProtocolClass::Tls);
    if entry.hosts.len() < 2 || told_apart || entry.resolution() == Resolution::None {
        return;
    }
    out.push(
        Diagnostic::error(
            "ambiguous-port",
            format!(
                "on the {} port {} several hosts can't be told apart",
                port.protocol.value, port.number.value
            ),
        )
        .at(port.protocol.span)
        .rule("VAL-SE-21")
        .help("use a protocol of HTTP or TLS, or a ServiceEntry for each host"),
    );
}

/// SE-11, VAL-SE-10.
fn protocols(spec: &Node, out: &mut Diagnostics) {
    for port in spec.get("ports").map(Node::items).unwrap_or_default() {
        let Some(node) = port.get("protocol") else { continue };
        let Some(text) = node.as_str().filter(|text| Protocol::parse(text).is_none()) else { continue };
        if crate::input::template::in_value(text).is_some() {
            continue;
        }
        let names = Protocol::ALL.map(|(name, _)| name);
        let mut help = match suggest::nearest(text, names) {
            Some(name) => format!("did you mean `{name}`? "),
            None => String::new(),
        };
        let names = names.map(|name| format!("`{name}`"));
        help += &format!("it can be {}", crate::schema::check::enumeration(&names, "or"));
        out.push(
            Diagnostic::error("unknown-protocol", format!("`{text}` is no protocol"))
                .at(node.span)
                .rule("VAL-SE-10")
                .help(help),
        );
    }
}

fn endpoints(entry: &ServiceEntry, spec: &Node, out: &mut Diagnostics) {
    match (entry.resolution(), entry.endpoints.as_slice()) {
        (Resolution::None, [first, ..]) => out.push(
            Diagnostic::error("unused-endpoints", "`endpoints` are given, but `resolution` is `NONE`")
                .at(first.span)
                .rule("VAL-SE-12")
                .help("set `resolution` to `STATIC` for IP addresses, or to `DNS` for names"),
        ),
        (Resolution::None, []) => out.extend(spec.get("endpoints").map(|list| {
            Diagnostic::error("unused-endpoints", "`endpoints` is given, but `resolution` is `NONE`")
                .at(list.span)
                .rule("VAL-CRD-10")
        })),
        (Resolution::DnsRoundRobin, [_, second, ..]) => out.push(
            Diagnostic::error("too-many-endpoints", "`DNS_ROUND_ROBIN` takes one endpoint")
                .at(second.span)
                .rule("VAL-SE-17"),
        ),
        _ => {}
    }
    let nodes = spec.get("endpoints").map(Node::items).unwrap_or_default();
    for (endpoint, node) in entry.endpoints.iter().zip(nodes) {
        address(endpoint, node, entry, out);
        endpoint_ports(endpoint, entry, out);
    }
}

fn address(endpoint: &Endpoint, node: &Node, entry: &ServiceEntry, out: &mut Diagnostics) {
    let Some(address) = &endpoint.address else {
        // With the wrong type it was reported, and a network is refused.
        if node.get("address").is_none() && node.get("network").is_none() {
            let rule = if entry.resolution() == Resolution::Static { "VAL-SE-14" } else { "VAL-SE-18" };
            out.push(Diagnostic::error("missing-field", "`address` is missing").at(endpoint.span).rule(rule));
        }
        return;
    };
    let error = |message: String, rule: &'static str| {
        Diagnostic::error("invalid-address", message).at(address.span).rule(rule)
    };
    if let Some(path) = address.strip_prefix(UNIX) {
        unix(path, endpoint, entry, address, out);
        return;
    }
    if domain::is_ip(address) {
        return;
    }
    match entry.resolution() {
        Resolution::Static => out.push(
            error(format!("`{}` is no IP address", address.value), "VAL-SE-14")
                .help("`STATIC` takes IP addresses and `unix://` paths; for names set `resolution: DNS`"),
        ),
        Resolution::Dns | Resolution::DnsRoundRobin => {
            if let Err(why) = domain::fqdn(address) {
                out.extend(invalid_host(address, "address", &why, "VAL-SE-18"));
            }
        }
        Resolution::None | Resolution::DynamicDns => {}
    }
}

/// VAL-SE-15, VAL-CRD-13.
fn unix(
    path: &str,
    endpoint: &Endpoint,
    entry: &ServiceEntry,
    address: &Spanned<String>,
    out: &mut Diagnostics,
) {
    let error =
        |message: &str| Diagnostic::error("invalid-address", message).at(address.span).rule("VAL-SE-15");
    if entry.resolution() != Resolution::Static {
        out.push(error("a `unix://` path needs `resolution: STATIC`").rule("SE-29"));
    }
    if !path.starts_with(['/', '@']) || path.ends_with('/') || path == "@" {
        out.push(error("a `unix://` path is absolute and names a socket, as `unix:///run/app.sock`"));
    }
    if !endpoint.ports.is_empty() {
        out.push(error("a `unix://` path can't have `ports`"));
    }
    if entry.ports.len() != 1 {
        out.push(error("a `unix://` path needs a ServiceEntry with exactly one port"));
    }
}

/// VAL-SE-19, VAL-CRD-13.
fn endpoint_ports(endpoint: &Endpoint, entry: &ServiceEntry, out: &mut Diagnostics) {
    for (name, _) in &endpoint.ports {
        if !entry.ports.iter().any(|port| port.name.value == name.value) {
            let names = entry.ports.iter().map(|port| port.name.as_str());
            let mut diagnostic =
                Diagnostic::error("unknown-port", format!("there is no port called `{}`", name.value))
                    .at(name.span)
                    .rule("VAL-SE-19");
            diagnostic.help = suggest::nearest(name, names).map(|name| format!("did you mean `{name}`?"));
            out.push(diagnostic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, read_spec};

    const PORT: &str = "\nports: [{number: 443, name: tls, protocol: TLS}]\nresolution: DNS";

    fn hosts_case(hosts: &str) -> String {
        format!("hosts: {hosts}{PORT}")
    }

    #[test]
    fn host_rules() {
        let case = hosts_case;
        check(
            "ServiceEntry",
            &[
                (&case("[a.com]"), &[]),
                (&case("[a.com, b.com]"), &[]),
                (&case("[]"), &["error wrong-count VAL-CRD-07"]),
                (&case("null"), &["error missing-field VAL-CRD-07"]),
                (&case("['*']"), &["error invalid-host VAL-SE-02"]),
                (&case("['a.*.com']"), &["error invalid-host VAL-SE-03"]),
                (&case("['https://a.com']"), &["error invalid-host VAL-SE-03"]),
                (&case("['a.com:443']"), &["error invalid-host VAL-SE-03"]),
                (&case("[10.0.0.1]"), &["error invalid-host VAL-SE-03"]),
                (&case("['*.a.com']"), &["error unresolvable-host VAL-SE-16"]),
                (&case("['*.a.com']\nendpoints: [{address: b.com}]"), &[]),
                (&case("['*-a.com']\nendpoints: [{address: b.com}]"), &["error partial-wildcard SE-01"]),
                (&case("[A.com]"), &["warning host-in-capitals SE-05"]),
                (&case("[yes]"), &["error wrong-type -"]),
                (
                    "hosts: ['*-a.com']\nports: [{number: 80, name: a, protocol: HTTP}]\nresolution: STATIC",
                    &["warning partial-wildcard VAL-SE-04"],
                ),
            ],
        );
    }

    #[test]
    fn selector_rules() {
        let case = |resolution: &str, selector: &str| {
            format!(
                "hosts: [a.com]\nports: [{{number: 80, name: http}}]\nresolution: {resolution}\nworkloadSelector: {selector}"
            )
        };
        check(
            "ServiceEntry",
            &[
                (&case("STATIC", "{labels: {app: a}}"), &[]),
                (&case("STATIC", "{labels: {}}"), &["warning selects-everything VAL-SE-06"]),
                (&case("STATIC", "{labels: {app: 'a*'}}"), &["error invalid-selector VAL-SE-07"]),
                (&case("STATIC", "{labels: {'*': a}}"), &["error invalid-selector VAL-SE-07"]),
            ],
        );
    }

    #[test]
    fn address_rules() {
        let case = |resolution: &str, addresses: &str| {
            format!(
                "hosts: [a.com]\nports: [{{number: 80, name: http}}]\nresolution: {resolution}\naddresses: {addresses}"
            )
        };
        check(
            "ServiceEntry",
            &[
                (&case("DNS", "[10.0.0.1, '2001:db8::1']"), &[]),
                (&case("STATIC", "[10.0.0.0/8, 10.0.0.1/32]"), &[]),
                (&case("DNS", "[a.com]"), &["error invalid-address VAL-SE-08"]),
                (&case("STATIC", "[10.0.0.0/33]"), &["error invalid-address VAL-SE-08"]),
                (&case("STATIC", "['[::1]']"), &["error invalid-address VAL-SE-08"]),
                // TV-141
                (&case("DNS", "[10.0.0.1/32]"), &["error invalid-address VAL-SE-09"]),
                (&case("STATIC", "[80]"), &["error wrong-type -"]),
            ],
        );
    }

    #[test]
    fn hosts_are_read_in_lower_case() {
        let read = read_spec("ServiceEntry", &hosts_case("[A.Com]"));
        assert_eq!(read.service_entries[0].hosts[0].value, "a.com");
        assert!(!read.diagnostics.has_errors());
    }

    #[test]
    fn port_rules() {
        let case = |ports: &str| format!("hosts: [a.com]\nresolution: DNS\nports: {ports}");
        check(
            "ServiceEntry",
            &[
                (
                    &case(
                        "[{number: 80, name: a}, {number: 81, name: b, protocol: grpc-web, targetPort: 8080}]",
                    ),
                    &[],
                ),
                (
                    &case("[{number: 80, name: a}, {number: 80, name: b}]"),
                    &["error duplicate-port VAL-SE-10"],
                ),
                (
                    &case("[{number: 80, name: a}, {number: 81, name: a}]"),
                    &["error duplicate-port VAL-SE-10"],
                ),
                (&case("[{number: 0, name: a}]"), &["error out-of-range VAL-CRD-06"]),
                (&case("[{number: 65536, name: a}]"), &["error out-of-range VAL-CRD-06"]),
                (&case("[{number: '80', name: a}]"), &["error wrong-type -"]),
                (&case("[{number: 80.5, name: a}]"), &["error wrong-type -"]),
                (&case("[{number: 80, name: a, targetPort: 0}]"), &["error out-of-range VAL-CRD-06"]),
                (&case("[{name: a}]"), &["error missing-field VAL-CRD-12"]),
                (&case("[{number: 80}]"), &["error missing-field VAL-CRD-12"]),
                (&case("[{number: 80, name: a_b}]"), &["error invalid-port-name VAL-SE-10"]),
                (&case("[{number: 80, name: ''}]"), &["error invalid-port-name VAL-SE-10"]),
                (&case("[{number: 80, name: a, protocol: HTP}]"), &["error unknown-protocol VAL-SE-10"]),
                (&case("[null]"), &["error wrong-type -"]),
                (&case("[]"), &["warning no-ports SE-09"]),
                (
                    "hosts: [a.com, b.com]\nresolution: DNS\nports: [{number: 80, name: a, protocol: TCP}]",
                    &["error ambiguous-port VAL-SE-21"],
                ),
            ],
        );
    }

    #[test]
    fn resolutions() {
        let case = |rest: &str| format!("hosts: [a.com]\nports: [{{number: 80, name: a}}]\n{rest}");
        check(
            "ServiceEntry",
            &[
                (&case("resolution: STATIC\nlocation: MESH_INTERNAL"), &[]),
                (&case(""), &[]),
                (&case("resolution: NONE"), &[]),
                // TV-95, TV-140
                (
                    &case("resolution: NONE\nendpoints: [{address: 10.0.0.1}]"),
                    &["error unused-endpoints VAL-SE-12"],
                ),
                (&case("endpoints: []"), &["error unused-endpoints VAL-CRD-10"]),
                (
                    &case("resolution: NONE\nworkloadSelector: {labels: {a: b}}"),
                    &["warning unused-endpoints VAL-SE-13"],
                ),
                (
                    &case("resolution: DYNAMIC_DNS"),
                    &["error invalid-dynamic-dns VAL-SE-22", "error invalid-dynamic-dns VAL-SE-22"],
                ),
                (
                    "hosts: ['*.a.com']\nports: [{number: 443, name: a, protocol: TLS}]\nresolution: DYNAMIC_DNS",
                    &[],
                ),
                (
                    "hosts: ['*-b.a.com']\nports: [{number: 443, name: a, protocol: TLS}]\nresolution: DYNAMIC_DNS",
                    &["error partial-wildcard SE-01"],
                ),
                (&case("resolution: dns"), &["error invalid-value VAL-CRD-04"]),
                (&case("resolution: 2"), &["error wrong-type -"]),
            ],
        );
    }

    #[test]
    fn endpoint_rules() {
        let case = |resolution: &str, endpoints: &str| {
            format!(
                "hosts: [a.com]\nports: [{{number: 80, name: http}}]\nresolution: {resolution}\nendpoints: {endpoints}"
            )
        };
        check(
            "ServiceEntry",
            &[
                (&case("STATIC", "[{address: 10.0.0.1, ports: {http: 8080}}, {address: '::1'}]"), &[]),
                (&case("STATIC", "[{address: 'unix:///run/a.sock'}]"), &[]),
                (&case("STATIC", "[{address: 'unix://@a'}]"), &[]),
                (&case("DNS", "[{address: a.com}, {address: 10.0.0.1}]"), &[]),
                (&case("STATIC", "[{address: a.com}]"), &["error invalid-address VAL-SE-14"]),
                (&case("STATIC", "[{}]"), &["error missing-field VAL-SE-14"]),
                (&case("DNS", "[{address: 'a_b'}]"), &["error invalid-host VAL-SE-18"]),
                (&case("DNS", "[{address: ''}]"), &["error invalid-host VAL-SE-18"]),
                (&case("DNS", "[{address: 'unix:///a'}]"), &["error invalid-address SE-29"]),
                (&case("STATIC", "[{address: 'unix://a/'}]"), &["error invalid-address VAL-SE-15"]),
                (
                    &case("STATIC", "[{address: 'unix:///a', ports: {http: 1}}]"),
                    &["error invalid-address VAL-SE-15"],
                ),
                (&case("DNS_ROUND_ROBIN", "[{address: a.com}]"), &[]),
                (
                    &case("DNS_ROUND_ROBIN", "[{address: a.com}, {address: b.com}]"),
                    &["error too-many-endpoints VAL-SE-17"],
                ),
                (
                    &case("STATIC", "[{address: 10.0.0.1, ports: {htpp: 1}}]"),
                    &["error unknown-port VAL-SE-19"],
                ),
                (
                    &case("STATIC", "[{address: 10.0.0.1, ports: {http: 0}}]"),
                    &["error out-of-range VAL-CRD-06"],
                ),
                (&case("STATIC", "[{address: 10.0.0.1, weight: 3, locality: a/b}]"), &[]),
                (
                    &case("STATIC", "[]\nworkloadSelector: {labels: {app: a}}"),
                    &["error exclusive-fields VAL-CRD-08"],
                ),
                (&case("STATIC", "[{address: 10.0.0.1, labels: {a: b}, serviceAccount: x}]"), &[]),
            ],
        );
    }
}
