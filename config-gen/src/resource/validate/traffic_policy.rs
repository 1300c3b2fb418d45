//! VAL-DR rules for traffic policies: of the rule, of its ports and of its subsets.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::{Node, Value};
use crate::source::Span;

use super::super::domain;
use super::super::read::{filled, int};

/// A table of Maglev is smaller (DR-LB-09).
const MAGLEV_LIMIT: i64 = 5_000_011;

/// A policy with what is below it.
pub(super) fn check(policy: &Node, out: &mut Diagnostics) {
    if sets_nothing(policy, &[]) {
        out.push(empty("`trafficPolicy` sets nothing", policy.span));
    }
    settings(policy, out);
    for port in policy.get("portLevelSettings").map(Node::items).unwrap_or_default() {
        if port.get("port").is_some() && sets_nothing(port, &["port"]) {
            out.push(empty("the settings of this port set nothing", port.span));
        }
        settings(port, out);
    }
    let (tunnel, proxy) = (policy.entry("tunnel"), policy.get("proxyProtocol"));
    if let Some(tunnel) = tunnel.filter(|entry| !entry.node.is_null()) {
        if let Some(proxy) = proxy {
            out.push(
                error("exclusive-fields", "`tunnel` and `proxyProtocol` exclude each other", tunnel.key_span)
                    .also("`proxyProtocol` stands at", proxy.span)
                    .rule("VAL-DR-04"),
            );
        }
        self::tunnel(&tunnel.node, out);
    }
}

/// What a rule, a port and a subset can all set.
fn settings(node: &Node, out: &mut Diagnostics) {
    if let Some(pool) = node.get("connectionPool") {
        connection_pool(pool, out);
    }
    if let Some(detection) = node.get("outlierDetection") {
        outlier_detection(detection, out);
    }
    if let Some(balancer) = node.get("loadBalancer") {
        load_balancer(balancer, out);
    }
    if let Some(tls) = node.get("tls") {
        self::tls(tls, out);
    }
}

fn error(code: &'static str, message: impl Into<String>, at: Span) -> Diagnostic {
    Diagnostic::error(code, message).at(at)
}

/// VAL-DR-03, VAL-DR-05.
fn empty(message: &str, at: Span) -> Diagnostic {
    error("empty-policy", message, at).rule("VAL-DR-03").help("set something, or leave it out")
}

/// Whether a well-formed object has no field but `except`.
fn sets_nothing(node: &Node, except: &[&str]) -> bool {
    let Value::Map(entries) = &node.value else { return false };
    entries.iter().all(|entry| entry.node.is_null() || except.contains(&entry.key.as_str()))
}

fn not_negative(node: &Node, names: &[&str], code: &'static str, rule: &'static str, out: &mut Diagnostics) {
    for name in names {
        if let Some(value) = int::<i32>(node.get(name)).filter(|value| value.value < 0) {
            out.push(error(code, format!("`{name}` can't be negative"), value.span).rule(rule));
        }
    }
}

/// VAL-DR-05. An empty `http: {}` counts as something.
fn connection_pool(pool: &Node, out: &mut Diagnostics) {
    if sets_nothing(pool, &[]) {
        out.push(empty("`connectionPool` sets nothing", pool.span).rule("VAL-DR-05"));
    }
    const CODE: &str = "invalid-connection-pool";
    const RULE: &str = "VAL-DR-05";
    if let Some(tcp) = pool.get("tcp") {
        not_negative(tcp, &["maxConnections"], CODE, RULE, out);
    }
    let Some(http) = pool.get("http") else { return };
    const COUNTS: [&str; 5] = [
        "http1MaxPendingRequests",
        "http2MaxRequests",
        "maxRequestsPerConnection",
        "maxRetries",
        "maxConcurrentStreams",
    ];
    not_negative(http, &COUNTS, CODE, RULE, out);
    let upgrade = http.get("h2UpgradePolicy").filter(|policy| policy.as_str() == Some("UPGRADE"));
    let keeps = http.get("useClientProtocol").filter(|flag| flag.as_bool() == Some(true));
    if let (Some(upgrade), Some(keeps)) = (upgrade, keeps) {
        out.push(
            error(
                CODE,
                "`useClientProtocol` and `h2UpgradePolicy: UPGRADE` contradict each other",
                keeps.span,
            )
            .also("the other one stands at", upgrade.span)
            .rule(RULE),
        );
    }
    if let Some(alive) = http.get("http2KeepAlive")
        && matches!(alive.value, Value::Map(_))
    {
        for name in ["interval", "timeout"] {
            if alive.get(name).is_none() {
                out.push(error(CODE, format!("`http2KeepAlive` needs `{name}`"), alive.span).rule(RULE));
            }
        }
    }
}

/// VAL-DR-06, VAL-DR-07.
fn outlier_detection(detection: &Node, out: &mut Diagnostics) {
    if let Some(old) = detection.get("consecutiveErrors").filter(|count| count.as_int() != Some(0)) {
        out.push(
            deprecated("consecutiveErrors", old.span)
                .help("Istio does not use it; set `consecutive5xxErrors` or `consecutiveGatewayErrors`"),
        );
    }
    const CODE: &str = "invalid-outlier-detection";
    const RULE: &str = "VAL-DR-06";
    for name in ["maxEjectionPercent", "minHealthPercent"] {
        let percent = int::<i64>(detection.get(name));
        if let Some(percent) = percent.filter(|percent| !(0..=100).contains(&percent.value)) {
            out.push(
                error(CODE, format!("{} is not between 0 and 100", percent.value), percent.span).rule(RULE),
            );
        }
    }
    let split = detection.get("splitExternalLocalOriginErrors").and_then(Node::as_bool) == Some(true);
    let local = int::<i64>(detection.get("consecutiveLocalOriginFailures"));
    if let Some(local) = local.filter(|count| count.value > 0 && !split) {
        let message = "`consecutiveLocalOriginFailures` needs `splitExternalLocalOriginErrors: true`";
        out.push(error(CODE, message, local.span).rule(RULE));
    }
}

fn deprecated(name: &str, at: Span) -> Diagnostic {
    Diagnostic::warning("deprecated-field", format!("`{name}` is outdated")).at(at).rule("VAL-DR-07")
}

/// VAL-DR-07, VAL-DR-08.
fn load_balancer(balancer: &Node, out: &mut Diagnostics) {
    const CODE: &str = "invalid-load-balancer";
    const RULE: &str = "VAL-DR-08";
    if let Some(hash) = balancer.get("consistentHash") {
        consistent_hash(hash, out);
    }
    let zones = (balancer.get("localityLbSetting"), balancer.get("zoneAwareLbSetting"));
    if let (Some(locality), Some(zone)) = zones {
        let message = "`localityLbSetting` and `zoneAwareLbSetting` exclude each other";
        out.push(error(CODE, message, zone.span).also("the other one stands at", locality.span).rule(RULE));
    }
    if let Some(locality) = balancer.get("localityLbSetting") {
        self::locality(locality, out);
    }
    let Some(aggression) = balancer.get("warmup").and_then(|warmup| warmup.get("aggression")) else { return };
    let number = match aggression.value {
        Value::Float(value) => Some(value),
        _ => aggression.as_int().map(|value| value as f64),
    };
    // Below 0 the schema has reported it.
    if number.is_some_and(|number| (0.0..1.0).contains(&number)) {
        out.push(error(CODE, "`aggression` can't be less than 1", aggression.span).rule(RULE));
    }
}

/// Shares come to a hundred, regions fail over to others, and one excludes the other.
fn locality(locality: &Node, out: &mut Diagnostics) {
    const CODE: &str = "invalid-load-balancer";
    const RULE: &str = "VAL-DR-08";
    let distribute = locality.get("distribute").filter(|list| !list.items().is_empty());
    let failover = locality.get("failover").filter(|list| !list.items().is_empty());
    if let (Some(distribute), Some(failover)) = (distribute, failover) {
        let message = "`distribute` and `failover` exclude each other";
        out.push(
            error(CODE, message, failover.span).also("the other one stands at", distribute.span).rule(RULE),
        );
    }
    for item in distribute.map(Node::items).unwrap_or_default() {
        let shares = item.get("to").map(Node::entries).unwrap_or_default();
        let shares: Vec<i64> = shares.iter().filter_map(|entry| entry.node.as_int()).collect();
        if shares.iter().sum::<i64>() != 100 || shares.contains(&0) {
            let message = "the shares in `to` have to be positive, and 100 together";
            out.push(error(CODE, message, item.span).rule(RULE));
        }
    }
    for item in failover.map(Node::items).unwrap_or_default() {
        let region = |name: &str| filled(item.get(name)).map(|region| region.value).unwrap_or_default();
        if region("from") == region("to") {
            let message = "a region can't fail over to itself";
            out.push(error(CODE, message, item.span).rule(RULE));
        }
    }
}

fn consistent_hash(hash: &Node, out: &mut Diagnostics) {
    const CODE: &str = "invalid-load-balancer";
    const RULE: &str = "VAL-DR-08";
    if let Some(cookie) = hash.get("httpCookie") {
        if let Some(name) = cookie.get("name").filter(|name| name.as_str() == Some("")) {
            out.push(error(CODE, "the cookie has no name", name.span).rule(RULE));
        }
        let mut seen = std::collections::HashMap::new();
        for attribute in cookie.get("attributes").map(Node::items).unwrap_or_default() {
            let Some(name) = attribute.get("name").and_then(Node::as_str) else { continue };
            if let Some(first) = seen.insert(name, attribute.span) {
                let message = format!("the cookie has the attribute `{name}` twice");
                out.push(error(CODE, message, attribute.span).also("first given at", first).rule(RULE));
            }
        }
    }
    if let Some(size) = int::<i64>(hash.get("minimumRingSize")).filter(|size| size.value != 0) {
        out.push(deprecated("minimumRingSize", size.span).help("write `ringHash: {minimumRingSize: ...}`"));
        if let Some(other) = hash.get("ringHash").or_else(|| hash.get("maglev")) {
            out.push(
                error(CODE, "`minimumRingSize` stands beside `ringHash` or `maglev`", size.span)
                    .also("the other one stands at", other.span)
                    .rule(RULE),
            );
        }
    }
    let Some(maglev) = hash.get("maglev").filter(|maglev| matches!(maglev.value, Value::Map(_))) else {
        return;
    };
    let size = maglev.get("tableSize");
    let number = size.map_or(Some(0), Node::as_int);
    if number.is_some_and(|number| number >= 0 && (number >= MAGLEV_LIMIT || !is_prime(number))) {
        let message = format!("`tableSize` has to be a prime number below {MAGLEV_LIMIT}");
        out.push(error(CODE, message, size.unwrap_or(maglev).span).rule(RULE));
    }
}

fn is_prime(number: i64) -> bool {
    number > 1 && (2..).take_while(|factor| factor * factor <= number).all(|factor| number % factor != 0)
}

/// VAL-DR-04.
fn tunnel(tunnel: &Node, out: &mut Diagnostics) {
    let invalid = |message: String, at| error("invalid-tunnel", message, at).rule("VAL-DR-04");
    if let Some(protocol) = filled(tunnel.get("protocol"))
        && !matches!(protocol.as_str(), "CONNECT" | "POST")
    {
        out.push(invalid(format!("`{}` is neither `CONNECT` nor `POST`", protocol.value), protocol.span));
    }
    if let Some(host) = super::super::read::string(tunnel.get("targetHost"))
        && !domain::is_ip(&host)
        && let Err(why) = domain::fqdn(&host)
    {
        out.extend(super::invalid_host(&host, "host", &why, "VAL-DR-04"));
    }
    if let Some(port) =
        int::<i64>(tunnel.get("targetPort")).filter(|port| !(1..=65_535).contains(&port.value))
    {
        out.push(invalid(format!("{} is no port", port.value), port.span));
    }
}

/// VAL-DR-09.
fn tls(tls: &Node, out: &mut Diagnostics) {
    let mode = tls.get("mode").and_then(Node::as_str).unwrap_or("DISABLE");
    let given = |name: &str| filled(tls.get(name)).map(|value| value.span);
    if mode == "MUTUAL" && given("credentialName").is_none() {
        for name in ["clientCertificate", "privateKey"] {
            if given(name).is_none() && tls.get(name).is_none_or(|node| node.as_str().is_some()) {
                let message = format!("`mode: MUTUAL` needs `{name}`, or `credentialName`");
                out.push(error("missing-field", message, tls.span).rule("VAL-DR-09"));
            }
        }
    }
    if let Some(credential) = given("credentialName").filter(|_| matches!(mode, "SIMPLE" | "MUTUAL")) {
        for name in ["clientCertificate", "privateKey", "caCertificates"] {
            // With SIMPLE there is no client certificate, and a path to one has no effect.
            if let Some(span) = given(name).filter(|_| mode == "MUTUAL" || name == "caCertificates") {
                out.push(contradiction(
                    format!("`credentialName` holds all certificates, so `{name}` has no use"),
                    credential,
                    name,
                    span,
                ));
            }
        }
    }
    let Some(skip) = tls.get("insecureSkipVerify").filter(|skip| skip.as_bool() == Some(true)) else {
        return;
    };
    let names = tls.get("subjectAltNames").map(Node::items).unwrap_or_default();
    let others = [
        ("caCertificates", given("caCertificates")),
        ("subjectAltNames", names.first().map(|name| name.span)),
        ("credentialName", given("credentialName").filter(|_| mode == "SIMPLE")),
    ];
    if let Some((name, span)) = others.into_iter().find_map(|(name, span)| Some((name, span?))) {
        out.push(contradiction(
            format!("`insecureSkipVerify` verifies nothing, so `{name}` has no use"),
            skip.span,
            name,
            span,
        ));
    }
}

fn contradiction(message: String, at: Span, name: &str, other: Span) -> Diagnostic {
    error("contradicting-tls", message, at)
        .also(format!("`{name}` stands at"), other)
        .rule("VAL-DR-09")
        .help("keep one of them, and better the one that verifies")
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::*;

    /// What is found beside what isn't supported.
    fn invalid(policy: &str) -> Vec<String> {
        let found = findings("DestinationRule", &format!("host: a.com\ntrafficPolicy: {policy}"));
        found.into_iter().filter(|finding| !finding.contains("not-supported")).collect()
    }

    #[test]
    fn policies() {
        let pool = ["error invalid-connection-pool VAL-DR-05"].as_slice();
        let outlier = ["error invalid-outlier-detection VAL-DR-06"].as_slice();
        let balancer = ["error invalid-load-balancer VAL-DR-08"].as_slice();
        let old = ["warning deprecated-field VAL-DR-07"].as_slice();
        let tunnel = ["error invalid-tunnel VAL-DR-04"].as_slice();
        for (policy, expected) in [
            ("{connectionPool: {}}", ["error empty-policy VAL-DR-05"].as_slice()),
            ("{connectionPool: {http: {}}}", &[]),
            ("{connectionPool: {tcp: {maxConnections: -1}}}", pool),
            ("{connectionPool: {tcp: {maxConnections: 0, idleTimeout: 0s}}}", &[]),
            ("{connectionPool: {http: {maxRetries: -1}}}", pool),
            ("{connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}}", pool),
            ("{connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: false}}}", &[]),
            ("{connectionPool: {http: {http2KeepAlive: {interval: 1s}}}}", pool),
            ("{connectionPool: {http: {http2KeepAlive: {interval: 1s, timeout: 1s}}}}", &[]),
            ("{outlierDetection: {consecutiveErrors: 1}}", old),
            ("{outlierDetection: {maxEjectionPercent: 101}}", outlier),
            ("{outlierDetection: {minHealthPercent: -1}}", outlier),
            ("{outlierDetection: {minHealthPercent: 100}}", &[]),
            ("{outlierDetection: {consecutiveLocalOriginFailures: 1}}", outlier),
            (
                "{outlierDetection: {consecutiveLocalOriginFailures: 1, splitExternalLocalOriginErrors: true}}",
                &[],
            ),
            ("{loadBalancer: {consistentHash: {minimumRingSize: 1, httpHeaderName: a}}}", old),
            ("{loadBalancer: {consistentHash: {httpCookie: {name: a, ttl: 0s}}}}", &[]),
            ("{loadBalancer: {consistentHash: {httpCookie: {name: ''}}}}", balancer),
            (
                "{loadBalancer: {consistentHash: {httpCookie: {name: a, attributes: [{name: b}, {name: b}]}}}}",
                balancer,
            ),
            ("{loadBalancer: {consistentHash: {maglev: {}}}}", balancer),
            ("{loadBalancer: {consistentHash: {maglev: {tableSize: 65537}}}}", &[]),
            ("{loadBalancer: {consistentHash: {maglev: {tableSize: 65536}}}}", balancer),
            ("{loadBalancer: {consistentHash: {maglev: {tableSize: 5000011}}}}", balancer),
            ("{loadBalancer: {localityLbSetting: {}, zoneAwareLbSetting: {}}}", balancer),
            ("{loadBalancer: {warmup: {duration: 1s, aggression: 0.5}}}", balancer),
            ("{loadBalancer: {warmup: {duration: 1s, aggression: 1}}}", &[]),
            (
                "{loadBalancer: {warmup: {duration: 1s, minimumPercent: 101}}}",
                &["error out-of-range VAL-CRD-21"],
            ),
            ("{tunnel: {targetHost: a.com, targetPort: 443}}", &[]),
            ("{tunnel: {targetHost: 10.0.0.1, targetPort: 443, protocol: POST}}", &[]),
            ("{tunnel: {targetHost: a.com, targetPort: 443, protocol: GET}}", tunnel),
            ("{tunnel: {targetHost: a.com, targetPort: 0}}", tunnel),
            ("{tunnel: {targetHost: a_b, targetPort: 1}}", &["error invalid-host VAL-DR-04"]),
            (
                "{tunnel: {targetHost: a.com, targetPort: 1}, proxyProtocol: {version: V1}}",
                &["error exclusive-fields VAL-DR-04"],
            ),
            ("{portLevelSettings: [{port: {number: 1}, connectionPool: {tcp: {maxConnections: -1}}}]}", pool),
        ] {
            assert_eq!(invalid(policy), expected, "{policy}");
        }
    }

    #[test]
    fn certificates() {
        let missing = "error missing-field VAL-DR-09";
        let contradicting = "error contradicting-tls VAL-DR-09";
        for (tls, expected) in [
            ("{mode: MUTUAL}", [missing, missing].as_slice()),
            ("{mode: MUTUAL, clientCertificate: /a}", &[missing]),
            ("{mode: MUTUAL, clientCertificate: /a, privateKey: /b, caCertificates: /c}", &[]),
            ("{mode: MUTUAL, credentialName: a}", &[]),
            ("{mode: MUTUAL, credentialName: a, privateKey: /b}", &[contradicting]),
            ("{mode: SIMPLE, credentialName: a, caCertificates: /c}", &[contradicting]),
            ("{mode: ISTIO_MUTUAL, sni: a.com}", &[]),
            ("{mode: SIMPLE, insecureSkipVerify: true}", &[]),
            ("{mode: SIMPLE, insecureSkipVerify: true, caCertificates: /ca.pem}", &[contradicting]),
            ("{mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [a]}", &[contradicting]),
            ("{mode: SIMPLE, insecureSkipVerify: true, credentialName: a}", &[contradicting]),
        ] {
            assert_eq!(invalid(&format!("{{tls: {tls}}}")), expected, "{tls}");
        }
    }

    #[test]
    fn primes() {
        let primes: Vec<i64> = (0..30).filter(|number| is_prime(*number)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
    }
}
