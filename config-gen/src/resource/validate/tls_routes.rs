//! VAL-VS rules for `tls` and `tcp` routes.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::{Node, Value};
use crate::input::template;
use crate::source::Span;

use super::super::read::{int, string, strings};
use super::super::service_entry::Address;
use super::super::{Spanned, domain};
use super::virtual_service::{client, destination_host, gateways, subset, weights};
use super::{invalid_host, labels};

pub(super) fn check(hosts: &[Spanned<String>], spec: &Node, out: &mut Diagnostics) {
    for route in spec.get("tls").map(Node::items).unwrap_or_default() {
        if let Some(list) = empty_list(route, "match") {
            out.push(incomplete("`match` is empty, and a TLS route needs server names", list));
        }
        for condition in route.get("match").map(Node::items).unwrap_or_default() {
            if let Some(list) = empty_list(condition, "sniHosts") {
                out.push(incomplete("`sniHosts` is empty", list));
            }
            for name in strings(condition.get("sniHosts")) {
                server_name(&name, hosts, out);
            }
            common(condition, out);
        }
        destinations(route, "VAL-VS-24", out);
    }
    for route in spec.get("tcp").map(Node::items).unwrap_or_default() {
        for condition in route.get("match").map(Node::items).unwrap_or_default() {
            if let Some(subnet) = string(condition.get("sourceSubnet")) {
                self::subnet(&subnet, out);
            }
            common(condition, out);
        }
        destinations(route, "VAL-VS-07", out);
    }
}

fn incomplete(message: &str, at: Span) -> Diagnostic {
    Diagnostic::error("invalid-tls-route", message).at(at).rule("VAL-VS-24")
}

/// Where a list stands that is there and empty.
fn empty_list(node: &Node, name: &str) -> Option<Span> {
    let list = node.get(name)?;
    matches!(&list.value, Value::List(items) if items.is_empty()).then_some(list.span)
}

/// VS-TLS-03, VAL-VS-24, VAL-VS-25.
fn server_name(name: &Spanned<String>, hosts: &[Spanned<String>], out: &mut Diagnostics) {
    if template::in_value(name).is_some() {
        return;
    }
    if domain::is_ip(name) {
        out.push(
            Diagnostic::warning("address-as-server-name", "clients send no address as server name")
                .at(name.span)
                .rule("VAL-VS-25"),
        );
    } else if let Err(why) = domain::wildcard_domain(name) {
        out.extend(invalid_host(name, "server name", &why, "VAL-VS-24"));
        return;
    }
    let lower = name.to_ascii_lowercase();
    if !hosts.iter().any(|host| domain::covers(host, &lower)) {
        out.push(
            Diagnostic::error(
                "invalid-tls-route",
                format!("the server name `{}` is none of this resource's hosts", name.value),
            )
            .at(name.span)
            .rule("VAL-VS-24")
            .help("add it to `hosts`, which may hold wildcards"),
        );
    }
}

/// What both kinds of routes can ask for; VAL-VS-11.
fn common(condition: &Node, out: &mut Diagnostics) {
    for subnet in strings(condition.get("destinationSubnets")) {
        self::subnet(&subnet, out);
    }
    if let Some(port) = int::<i64>(condition.get("port")).filter(|port| port.value > 65_535) {
        out.push(
            Diagnostic::error("out-of-range", format!("{} is no port", port.value))
                .at(port.span)
                .rule("VAL-VS-11"),
        );
    }
    labels::check(condition.get("sourceLabels"), "VAL-VS-11", out);
    client(super::super::read::filled(condition.get("sourceNamespace")).as_ref(), out);
    gateways(&strings(condition.get("gateways")), out);
}

/// VS-TLS-02, VS-TCP-03.
fn subnet(text: &Spanned<String>, out: &mut Diagnostics) {
    if template::in_value(text).is_none() && Address::parse(text).is_none() {
        out.push(
            Diagnostic::error(
                "invalid-address",
                format!("`{}` is neither an IP address nor a range such as 10.0.0.0/8", text.value),
            )
            .at(text.span)
            .rule("VS-TCP-03"),
        );
    }
}

fn destinations(route: &Node, rule: &'static str, out: &mut Diagnostics) {
    let list = route.get("route");
    if list.is_none() || empty_list(route, "route").is_some() {
        out.push(
            Diagnostic::error("no-destination", "this route leads nowhere: `route` is missing or empty")
                .at(route.span)
                .rule(rule),
        );
    }
    let list = list.map(Node::items).unwrap_or_default();
    for destination in list.iter().filter_map(|item| item.get("destination")) {
        if let Some(host) = string(destination.get("host")) {
            destination_host(&host, out);
        }
        subset(destination, out);
    }
    let each: Vec<_> = list.iter().map(|item| (int(item.get("weight")), item.span)).collect();
    weights(&each, out);
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;

    const ROUTE: &str = "route: [{destination: {host: b}}]";

    fn invalid(routes: &str) -> Vec<String> {
        findings("VirtualService", &format!("hosts: [a.com, '*.b.com']\n{routes}"))
    }

    #[test]
    fn tls_routes() {
        let wrong = ["error invalid-tls-route VAL-VS-24"].as_slice();
        for (condition, expected) in [
            ("[{sniHosts: [a.com]}]", [].as_slice()),
            ("[{sniHosts: [A.com, x.b.com, '*.b.com', '*.x.b.com']}]", &[]),
            ("[{sniHosts: [c.com]}]", wrong),
            ("[{sniHosts: [b.com]}]", wrong),
            ("[{sniHosts: ['*.com']}]", wrong),
            ("[{sniHosts: []}]", wrong),
            ("[]", wrong),
            ("[{port: 443}]", &["error missing-field VAL-CRD-18"]),
            ("[{sniHosts: [a_b]}]", &["error invalid-host VAL-VS-24"]),
            (
                "[{sniHosts: [10.0.0.1]}]",
                &["warning address-as-server-name VAL-VS-25", "error invalid-tls-route VAL-VS-24"],
            ),
            ("[{sniHosts: [a.com], destinationSubnets: [10.0.0.0/8]}]", &[]),
            ("[{sniHosts: [a.com], destinationSubnets: [ten]}]", &["error invalid-address VS-TCP-03"]),
            ("[{sniHosts: [a.com], port: 65536}]", &["error out-of-range VAL-VS-11"]),
            ("[{sniHosts: [a.com], sourceLabels: {a: '*'}}]", &["error invalid-label VAL-VS-11"]),
            ("[{sniHosts: [a.com], sourceNamespace: a_b}]", &["error invalid-namespace VAL-VS-11"]),
            ("[{sniHosts: [a.com], gateways: [a/b/c]}]", &["error invalid-gateway VAL-VS-05"]),
        ] {
            assert_eq!(invalid(&format!("tls: [{{match: {condition}, {ROUTE}}}]")), expected, "{condition}");
        }
    }

    #[test]
    fn destinations() {
        for (route, expected) in [
            ("tls: [{match: [{sniHosts: [a.com]}]}]", ["error no-destination VAL-VS-24"].as_slice()),
            ("tcp: [{route: []}]", &["error no-destination VAL-VS-07"]),
            ("tcp: [{route: [{destination: {host: b, subset: v1}}]}]", &[]),
            ("tcp: [{route: [{destination: {host: '*'}}]}]", &["error invalid-host VS-ROUTE-06"]),
            ("tcp: [{route: [{destination: {host: b, subset: v_1}}]}]", &["error invalid-subset VAL-VS-14"]),
            (
                "tcp: [{route: [{destination: {host: b}}, {destination: {host: c}}]}]",
                &["error invalid-weight VAL-VS-15"],
            ),
            (
                "tcp: [{match: [{sourceSubnet: 10.0.0.0/33}], route: [{destination: {host: b}}]}]",
                &["error invalid-address VS-TCP-03"],
            ),
        ] {
            assert_eq!(invalid(route), expected, "{route}");
        }
    }
}
