//! VAL-VS rules for what a route does besides forwarding.

use portolan_engine::config::Mode;

use super::super::Spanned;
use super::super::action::{
    Body, DirectResponse, Fault, Headers, Redirect, RegexRewrite, Retries, grpc_status, is_authority,
};
use super::super::virtual_service::{Cors, HttpRoute, StringMatch};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::{Node, Value};
use crate::source::Span;

/// Largest body of a direct response, and from which on it is warned about (VS-DR-03).
const MAX_BODY: usize = 1 << 20;
const LARGE_BODY: usize = 100 << 10;

pub(super) fn check(route: &HttpRoute, node: &Node, out: &mut Diagnostics) {
    exclusive(node, out);
    outdone(node, out);
    if let Some(rewrite) = &route.rewrite {
        if let Some(regex) = &rewrite.uri_regex {
            regex_rewrite(regex, rewrite.uri.as_ref().map(|uri| uri.span), out);
        }
        for text in [&rewrite.uri, &rewrite.authority].into_iter().flatten() {
            sendable(text, "invalid-rewrite", "VAL-VS-16", out);
        }
    }
    if let Some(fault) = &route.fault {
        self::fault(fault, out);
    }
    shares_of_faults(node, out);
    mirrors(node, out);
    if let Some(cors) = &route.cors {
        self::cors(cors, out);
    }
    if let Some(retries) = &route.retries {
        self::retries(retries, out);
    }
    headers(&route.headers, out);
    for destination in &route.route {
        headers(&destination.headers, out);
    }
    authorities(route, out);
    if let Some(redirect) = &route.redirect {
        self::redirect(redirect, route, out);
    }
    if let Some(response) = &route.direct_response {
        direct_response(response, out);
    }
}

/// VAL-VS-06: what can't stand beside a redirect or a direct response, and what Envoy does only for
/// requests that it forwards.
fn exclusive(node: &Node, out: &mut Diagnostics) {
    for (action, others) in [
        ("redirect", &["route", "directResponse", "rewrite", "fault"][..]),
        ("directResponse", &["route", "rewrite", "fault"]),
    ] {
        let Some(given) = node.get(action) else { continue };
        for unused in ["timeout", "retries", "mirror", "mirrors", "corsPolicy"] {
            if let Some(entry) = node.entry(unused).filter(|entry| !entry.node.is_null()) {
                out.push(no_effect(unused, action, entry.key_span));
            }
        }
        let request = node.get("headers").and_then(|headers| headers.entry("request"));
        if let Some(entry) = request.filter(|entry| !entry.node.is_null()) {
            out.push(no_effect("headers.request", action, entry.key_span));
        }
        for other in others {
            if let Some(entry) = node.entry(other).filter(|entry| !entry.node.is_null()) {
                out.push(
                    Diagnostic::error(
                        "exclusive-fields",
                        format!("`{other}` has no place beside `{action}`"),
                    )
                    .at(entry.key_span)
                    .also(format!("`{action}` stands at"), given.span)
                    .rule("VAL-VS-06"),
                );
            }
        }
    }
}

/// Fields that count only where others are absent, or present.
fn outdone(node: &Node, out: &mut Diagnostics) {
    let delay = node.get("fault").and_then(|fault| fault.get("delay"));
    for (parent, old, new, rule) in [
        (delay, "percent", "percentage", "VS-FAULT-02"),
        (node.get("corsPolicy"), "allowOrigin", "allowOrigins", "VS-CORS-01"),
    ] {
        let Some(parent) = parent else { continue };
        let given = |node: &&Node| !(node.items().is_empty() && node.entries().is_empty());
        if let (Some(entry), Some(_)) = (parent.entry(old), parent.get(new).filter(given)) {
            out.push(no_effect(old, new, entry.key_span).rule(rule));
        }
    }
    if node.get("mirror").is_none() {
        for share in ["mirrorPercentage", "mirrorPercent", "mirror_percent"] {
            if let Some(entry) = node.entry(share).filter(|entry| !entry.node.is_null()) {
                let message = format!("`{share}` has no effect without `mirror`, as in Istio");
                out.push(Diagnostic::warning("has-no-effect", message).at(entry.key_span).rule("VS-MIR-01"));
            }
        }
    }
}

fn no_effect(field: &str, other: &str, span: Span) -> Diagnostic {
    Diagnostic::warning("has-no-effect", format!("`{field}` has no effect beside `{other}`, as in Istio"))
        .at(span)
        .rule("VAL-VS-06")
        .help("remove it")
}

/// What ends up in a request's line or in a header of an answer: a line break would end it there.
fn sendable(text: &Spanned<String>, code: &'static str, rule: &'static str, out: &mut Diagnostics) {
    if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        let message = "blanks and control characters can't be sent here";
        out.push(Diagnostic::error(code, message).at(text.span).rule(rule));
    }
}

/// VAL-VS-16; the syntax is checked by the engine.
fn regex_rewrite(regex: &RegexRewrite, uri: Option<Span>, out: &mut Diagnostics) {
    let error =
        |message: &str| Diagnostic::error("invalid-rewrite", message).at(regex.span).rule("VAL-VS-16");
    if let Some(uri) = uri {
        out.push(error("`uri` and `uriRegexRewrite` exclude each other").also("`uri` stands at", uri));
    }
    if regex.pattern.is_none() || regex.replacement.is_none() {
        out.push(error("`uriRegexRewrite` needs both `match` and `rewrite`"));
    }
}

/// VAL-VS-21, VAL-VS-22.
fn fault(fault: &Fault, out: &mut Diagnostics) {
    let error =
        |message: String, span: Span| Diagnostic::error("invalid-fault", message).at(span).rule("VAL-VS-21");
    if fault.delay.is_none() && fault.abort.is_none() {
        out.push(
            error("this fault is none: set `delay` or `abort`".to_owned(), fault.span).rule("VS-FAULT-07"),
        );
    }
    let never = |what: &str, span: Span, rule: &'static str| {
        Diagnostic::warning("fault-without-percentage", format!("without `percentage` no request is {what}"))
            .at(span)
            .rule(rule)
            .help("set `percentage.value`; 100 is every request")
    };
    if let Some(delay) = &fault.delay {
        if delay.fixed.is_none() {
            out.push(error("`fixedDelay` is missing".to_owned(), delay.span));
        }
        if delay.per_million == 0 {
            out.push(never("delayed", delay.span, "VS-FAULT-02"));
        }
    }
    let Some(abort) = &fault.abort else { return };
    if let Some(status) = &abort.http_status
        && !(200..=599).contains(&status.value)
    {
        out.push(error(format!("{} is not between 200 and 599", status.value), status.span));
    }
    if let Some(status) = &abort.grpc_status
        && grpc_status(status).is_none()
    {
        out.push(
            error(format!("`{}` is no status of gRPC", status.value), status.span)
                .help("it is written as `UNAVAILABLE`"),
        );
    }
    if abort.http_status.is_none() && abort.grpc_status.is_none() {
        out.push(
            Diagnostic::warning("fault-without-status", "without a status no request is aborted")
                .at(abort.span)
                .rule("VAL-VS-22"),
        );
    } else if abort.per_million == 0 {
        out.push(never("aborted", abort.span, "VS-FAULT-03"));
    }
}

/// VS-FAULT-04: what is less than one part of a million is none, though not written as such. Mirrors
/// may have such a share: Istio cuts it off.
fn shares_of_faults(node: &Node, out: &mut Diagnostics) {
    let Some(fault) = node.get("fault") else { return };
    for kind in ["delay", "abort"] {
        let share = fault.get(kind).and_then(|kind| kind.get("percentage")?.get("value"));
        if let Some(Node { value: Value::Float(percent), span, .. }) = share
            && *percent > 0.0
            && *percent < 0.0001
        {
            out.push(
                Diagnostic::error("invalid-fault", format!("{percent} is less than the least, 0.0001"))
                    .at(*span)
                    .rule("VS-FAULT-04")
                    .help("0 is for no request"),
            );
        }
    }
}

/// VAL-VS-23.
fn cors(cors: &Cors, out: &mut Diagnostics) {
    const METHODS: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];
    let error =
        |message: String, span: Span| Diagnostic::error("invalid-cors", message).at(span).rule("VAL-VS-23");
    for origin in &cors.allow_origins {
        match &origin.value {
            StringMatch::Exact(text) | StringMatch::Prefix(text) if text.is_empty() => {
                out.push(error("an empty origin matches nothing useful".to_owned(), origin.span));
            }
            StringMatch::Present => out.push(error("the origin has no condition".to_owned(), origin.span)),
            StringMatch::Regex(text) => {
                if let Err(why) = portolan_engine::Pattern::new(text) {
                    out.push(error(why.to_string(), origin.span));
                }
            }
            StringMatch::Exact(_) | StringMatch::Prefix(_) => {}
        }
    }
    for method in cors.allow_methods.iter().filter(|method| !METHODS.contains(&method.as_str())) {
        out.push(error(format!("`{}` is no method", method.value), method.span));
    }
    for name in cors.allow_headers.iter().chain(&cors.expose_headers) {
        if name.is_empty()
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        {
            out.push(error(format!("`{}` can't be the name of a header", name.value), name.span));
        }
    }
    if let Some(age) = &cors.max_age
        && age.value % 1000 != 0
    {
        out.push(error("`maxAge` is no whole number of seconds".to_owned(), age.span));
    }
}

/// VAL-VS-08, VAL-VS-09.
fn mirrors(node: &Node, out: &mut Diagnostics) {
    if let (Some(one), Some(several)) = (node.get("mirror"), node.get("mirrors"))
        && !several.items().is_empty()
    {
        out.push(
            Diagnostic::error("exclusive-fields", "`mirror` and `mirrors` exclude each other")
                .at(several.span)
                .also("`mirror` stands at", one.span)
                .rule("VAL-VS-08"),
        );
    }
    for name in ["mirrorPercent", "mirror_percent"] {
        if let Some(percent) = node.get(name) {
            if percent.as_int().is_some_and(|percent| percent > 100) {
                out.push(
                    Diagnostic::error("out-of-range", "a percentage is between 0 and 100")
                        .at(percent.span)
                        .rule("VAL-VS-08"),
                );
            }
            out.push(
                Diagnostic::warning("deprecated-field", format!("`{name}` is outdated"))
                    .at(percent.span)
                    .rule("VAL-VS-09")
                    .help("write `mirrorPercentage: {value: ...}`"),
            );
        }
    }
}

/// What Envoy tries again; the last ones are statuses of gRPC (VS-RETRY-06).
const RETRY_ON: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// Whether a status has a name, which Istio wants of those that are tried again on (VS-RETRY-05).
fn is_known_status(status: u16) -> bool {
    matches!(
        status,
        100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451
            | 500..=508 | 510 | 511
    )
}

/// VAL-VS-20.
pub(crate) fn retries(retries: &Retries, out: &mut Diagnostics) {
    let error = |message: String, span: Span| {
        Diagnostic::error("invalid-retries", message).at(span).rule("VAL-VS-20")
    };
    let attempts = retries.attempts.as_ref().map_or(0, |attempts| attempts.value);
    if attempts < 0 {
        out.push(error("`attempts` can't be negative".to_owned(), retries.span));
    }
    let remote = retries.remote_localities.as_ref().filter(|flag| flag.value).map(|flag| flag.span);
    let others = [
        retries.per_try_timeout.as_ref().map(|limit| limit.span),
        retries.retry_on.as_ref().map(|conditions| conditions.span),
        remote,
    ];
    if attempts == 0
        && let Some(span) = others.into_iter().flatten().next()
    {
        out.push(
            error("without `attempts` nothing is tried again, and this has no effect".to_owned(), span)
                .rule("VS-RETRY-02")
                .help("set `attempts`"),
        );
    }
    if let Some(conditions) = &retries.retry_on {
        for word in conditions.split(',') {
            let status = word.parse().is_ok_and(is_known_status);
            if !status && !RETRY_ON.contains(&word) {
                out.push(
                    error(format!("`{word}` is nothing that Envoy tries again on"), conditions.span)
                        .rule("VS-RETRY-06")
                        .help(format!("it can be a known status or one of {}", RETRY_ON.join(", "))),
                );
            }
        }
    }
}

/// VAL-VS-12.
fn headers(headers: &Headers, out: &mut Diagnostics) {
    for (operations, on_request) in [(&headers.request, true), (&headers.response, false)] {
        for entry in operations.set.iter().chain(&operations.add) {
            if !(on_request && entry.is_authority()) {
                header_name(&entry.name, out);
            }
            if on_request
                && portolan_engine::headers::is_forbidden(
                    entry.name.to_ascii_lowercase().as_bytes(),
                    Mode::Proxy,
                )
            {
                out.push(
                    Diagnostic::error("reserved-header", format!("`{}` would steer Envoy", entry.name.value))
                        .at(entry.name.span)
                        .rule("GAP-05")
                        .help("retries and timeouts have fields of their own"),
                );
            }
            header_value(&entry.value, on_request, out);
            if entry.is_authority() && entry.value.contains('%') {
                out.push(
                    Diagnostic::warning("literal-authority", "the Host header is set to this as it stands")
                        .at(entry.value.span)
                        .rule("VS-HDR-06")
                        .help("operators stand for something in other headers only"),
                );
            }
        }
        for name in &operations.remove {
            header_name(name, out);
        }
    }
}

fn header_name(name: &Spanned<String>, out: &mut Diagnostics) {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let message = if is_authority(name) {
        format!("`{}` can only be set on requests", name.value)
    } else if name.starts_with(':') {
        format!("`{}` can't be changed: it is no header", name.value)
    } else if name.is_empty() || !name.bytes().all(token) {
        format!("`{}` can't be the name of a header", name.value)
    } else {
        return;
    };
    out.push(Diagnostic::error("invalid-header-name", message).at(name.span).rule("VAL-VS-12"));
}

/// VS-HDR-08, VS-HDR-09.
fn header_value(value: &Spanned<String>, on_request: bool, out: &mut Diagnostics) {
    if value.is_empty() {
        out.push(
            Diagnostic::warning("empty-header-value", "an empty value changes nothing")
                .at(value.span)
                .rule("VS-HDR-08")
                .help("to get rid of the header, name it in `remove`"),
        );
    } else if let Err(message) = portolan_engine::check_header_value(value, on_request) {
        let diagnostic = Diagnostic::error("invalid-header-value", message).at(value.span).rule("VS-HDR-09");
        let operators = portolan_engine::supported_operators(on_request);
        out.push(
            diagnostic.help(format!("`%%` is a percent sign, and these operators can be used: {operators}")),
        );
    }
}

/// VAL-VS-13: one place at most decides about the Host header.
fn authorities(route: &HttpRoute, out: &mut Diagnostics) {
    let in_headers = |headers: &Headers| -> Vec<Span> {
        let entries = headers.request.set.iter().chain(&headers.request.add);
        entries.filter(|entry| entry.is_authority()).map(|entry| entry.name.span).collect()
    };
    let mut report = |places: &[Span]| {
        if let [first, second, ..] = places {
            out.push(
                Diagnostic::error("several-authorities", "the Host header is set in two places")
                    .at(*second)
                    .also("the other one stands at", *first)
                    .rule("VAL-VS-13"),
            );
        }
    };
    let rewrite = route.rewrite.as_ref().and_then(|rewrite| rewrite.authority.as_ref());
    let of_route =
        [rewrite.map(|authority| authority.span).into_iter().collect(), in_headers(&route.headers)].concat();
    report(&of_route);
    let of_destinations: Vec<Vec<Span>> =
        route.route.iter().map(|destination| in_headers(&destination.headers)).collect();
    for places in &of_destinations {
        report(places);
    }
    if let (Some(wins), Some(loses)) = (of_route.first(), of_destinations.iter().flatten().next()) {
        out.push(
            Diagnostic::warning(
                "authority-has-no-effect",
                "the route sets the Host header for all its destinations",
            )
            .at(*loses)
            .also("it does so at", *wins)
            .rule("VS-RW-14"),
        );
    }
}

/// VAL-VS-17.
fn redirect(redirect: &Redirect, route: &HttpRoute, out: &mut Diagnostics) {
    let error = |message: String, span: Span| {
        Diagnostic::error("invalid-redirect", message).at(span).rule("VAL-VS-17")
    };
    if let (Some(uri), Some(prefix)) = (&redirect.uri, &redirect.prefix_rewrite) {
        out.push(
            error("`uri` and `prefixRewrite` exclude each other".to_owned(), prefix.span)
                .also("`uri` stands at", uri.span),
        );
    }
    if let Some(prefix) = &redirect.prefix_rewrite {
        let other = route.matches.iter().filter_map(|entry| entry.uri.as_ref());
        let other = other.filter(|uri| uri.value != StringMatch::Present);
        for uri in other.filter(|uri| !matches!(uri.value, StringMatch::Prefix(_))) {
            out.push(
                error("`prefixRewrite` needs `uri.prefix` in every match".to_owned(), prefix.span)
                    .also("this one has another condition on the path", uri.span),
            );
        }
    }
    let texts = [&redirect.uri, &redirect.prefix_rewrite, &redirect.authority];
    for text in texts.into_iter().flatten() {
        sendable(text, "invalid-redirect", "VAL-VS-17", out);
    }
    let texts_given = texts.into_iter().any(Option::is_some);
    if !texts_given && redirect.port.is_none() && redirect.derive_port.is_none() && redirect.scheme.is_none()
    {
        out.push(
            error("this redirect leads to where the request came".to_owned(), redirect.span)
                .rule("VS-RD-11")
                .help("set `uri`, `prefixRewrite`, `authority`, `port` or `scheme`"),
        );
    }
    if let Some(code) = &redirect.code
        && !matches!(code.value, 301 | 302 | 303 | 307 | 308)
    {
        let message = format!("{} is no status of a redirect", code.value);
        // Istio takes all that begin with a 3, and comes to routes that Envoy refuses.
        let diagnostic = match code.value {
            300..=399 => Diagnostic::error("not-supported", message).at(code.span),
            _ => error(message, code.span),
        };
        out.push(diagnostic.rule("VS-RD-01").help("it can be 301, 302, 303, 307 or 308"));
    }
    if let Some(scheme) = &redirect.scheme
        && !matches!(scheme.as_str(), "http" | "https")
    {
        out.push(
            error(format!("`{}` is neither `http` nor `https`", scheme.value), scheme.span).rule("VS-RD-06"),
        );
    }
    if let Some(port) = &redirect.port
        && !(1..=65_535).contains(&port.value)
    {
        out.push(error(format!("{} is no port", port.value), port.span));
    }
}

/// VAL-VS-18.
fn direct_response(response: &DirectResponse, out: &mut Diagnostics) {
    if let Some(status) = &response.status
        && !(200..=599).contains(&status.value)
    {
        let message = format!("{} is not between 200 and 599", status.value);
        let diagnostic = match status.value {
            600 => Diagnostic::error("not-supported", format!("{message}, though Istio lets it pass")),
            _ => Diagnostic::error("invalid-direct-response", message),
        };
        out.push(diagnostic.at(status.span).rule("VAL-VS-18"));
    }
    let Some(body) = &response.body else { return };
    let size = match &body.value {
        Body::Text(text) => text.len(),
        Body::Base64(text) => match portolan_engine::decode_base64(text) {
            Some(bytes) => bytes.len(),
            None => {
                out.push(
                    Diagnostic::error("invalid-direct-response", "this is not base64")
                        .at(body.span)
                        .rule("VS-DR-02")
                        .help("write text in `string`"),
                );
                return;
            }
        },
    };
    if size > MAX_BODY {
        out.push(
            Diagnostic::error(
                "invalid-direct-response",
                format!("the body has {size} bytes, and 1 MB is the limit"),
            )
            .at(body.span)
            .rule("VS-DR-03"),
        );
    } else if size > LARGE_BODY {
        out.push(
            Diagnostic::warning(
                "large-direct-response",
                format!("the body has {size} bytes, which every Envoy keeps in memory"),
            )
            .at(body.span)
            .rule("VS-DR-03"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    fn case(http: &str) -> String {
        format!("hosts: [a]\nhttp: [{{{http}}}]")
    }

    #[test]
    fn redirects() {
        let redirect = |fields: &str| case(&format!("redirect: {{{fields}}}"));
        const BAD: &[&str] = &["error invalid-redirect VAL-VS-17"];
        check(
            "VirtualService",
            &[
                (&redirect("uri: /x, authority: b, scheme: https, port: 8443, redirectCode: 308"), &[]),
                (&redirect("derivePort: FROM_REQUEST_PORT"), &[]),
                (&redirect("scheme: https, redirectCode: 0"), &[]),
                (&redirect(""), &["error invalid-redirect VS-RD-11"]),
                (&redirect("uri: /x, prefixRewrite: /y"), BAD),
                (&redirect("uri: \"/x\\ry\""), BAD),
                (&redirect("uri: /x, redirectCode: 304"), &["error not-supported VS-RD-01"]),
                (&redirect("scheme: ftp"), &["error invalid-redirect VS-RD-06"]),
                (&redirect("port: 0"), BAD),
                (
                    &redirect("port: 80, derivePort: FROM_REQUEST_PORT"),
                    &["error exclusive-fields VAL-CRD-17"],
                ),
                (&case("match: [{uri: {exact: /}}], redirect: {prefixRewrite: /b}"), BAD),
                (&case("match: [{uri: {prefix: /}}, {}], redirect: {prefixRewrite: /b}"), &[]),
                (
                    &case("redirect: {uri: /x}, route: [{destination: {host: b}}], rewrite: {uri: /}"),
                    &["error exclusive-fields VAL-VS-06", "error exclusive-fields VAL-VS-06"],
                ),
            ],
        );
    }

    #[test]
    fn direct_responses() {
        let large = format!("status: 200, body: {{string: {}}}", "a".repeat(102_401));
        let response = |fields: &str| case(&format!("directResponse: {{{fields}}}"));
        check(
            "VirtualService",
            &[
                (&response("status: 503, body: {string: down}"), &[]),
                (&response("status: 200, body: {bytes: Zm9v}"), &[]),
                (&response("status: 600"), &["error not-supported VAL-VS-18"]),
                (&response("status: 199"), &["error invalid-direct-response VAL-VS-18"]),
                (&response("body: {string: a}"), &["error missing-field VAL-CRD-18"]),
                (&response("status: 200, body: {bytes: '?'}"), &["error invalid-direct-response VS-DR-02"]),
                (
                    &response("status: 200, body: {bytes: '', string: ''}"),
                    &["error exclusive-fields VAL-CRD-17"],
                ),
                (&response(&large), &["warning large-direct-response VS-DR-03"]),
                (
                    &case("directResponse: {status: 200}, redirect: {uri: /}"),
                    &["error exclusive-fields VAL-VS-06"],
                ),
            ],
        );
    }

    #[test]
    fn timeouts_and_retries() {
        let with = |fields: &str| case(&format!("{fields}, route: [{{destination: {{host: b}}}}]"));
        let retries = |fields: &str| with(&format!("retries: {{{fields}}}"));
        check(
            "VirtualService",
            &[
                (&with("timeout: 1.5s"), &[]),
                (&with("timeout: 0s"), &["error invalid-duration VAL-CRD-05"]),
                (&retries("attempts: 0"), &[]),
                (&retries("attempts: 3, retryOn: '503,reset', perTryTimeout: 2s, backoff: 100ms"), &[]),
                (&retries("attempts: -1"), &["error invalid-retries VAL-VS-20"]),
                (&retries("attempts: 0, perTryTimeout: 2s"), &["error invalid-retries VS-RETRY-02"]),
                (&retries("retryOn: 5xx"), &["error invalid-retries VS-RETRY-02"]),
                (&retries("attempts: 1, retryOn: '5xx, reset'"), &["error invalid-retries VS-RETRY-06"]),
                (&retries("attempts: 1, retryOn: 'nope'"), &["error invalid-retries VS-RETRY-06"]),
                (&retries("attempts: 1, retryOn: '429,599'"), &["error invalid-retries VS-RETRY-06"]),
            ],
        );
    }

    #[test]
    fn faults_and_mirrors() {
        let with = |fields: &str| case(&format!("{fields}, route: [{{destination: {{host: b}}}}]"));
        let fault = |fields: &str| with(&format!("fault: {{{fields}}}"));
        check(
            "VirtualService",
            &[
                (
                    &fault(
                        "delay: {fixedDelay: 2s, percentage: {value: 0.1}}, abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}",
                    ),
                    &[],
                ),
                (&fault(""), &["error invalid-fault VS-FAULT-07"]),
                (&fault("delay: {fixedDelay: 2s}"), &["warning fault-without-percentage VS-FAULT-02"]),
                (&fault("delay: {percent: 5}"), &["error invalid-fault VAL-VS-21"]),
                (
                    &fault("delay: {fixedDelay: 1s, percent: 5, percentage: {value: 1}}"),
                    &["warning has-no-effect VS-FAULT-02"],
                ),
                (&with("mirrorPercentage: {value: 10}"), &["warning has-no-effect VS-MIR-01"]),
                (
                    &fault("abort: {httpStatus: 600, percentage: {value: 1}}"),
                    &["error invalid-fault VAL-VS-21"],
                ),
                (
                    &fault("abort: {grpcStatus: NOPE, percentage: {value: 1}}"),
                    &["error invalid-fault VAL-VS-21"],
                ),
                (&fault("abort: {httpStatus: 500}"), &["warning fault-without-percentage VS-FAULT-03"]),
                (&fault("abort: {percentage: {value: 1}}"), &["warning fault-without-status VAL-VS-22"]),
                (
                    &fault("abort: {httpStatus: 500, percentage: {value: 101}}"),
                    &["error out-of-range VAL-CRD-06"],
                ),
                (
                    &fault("delay: {fixedDelay: 1s, percentage: {value: 0.00009}}"),
                    &["warning fault-without-percentage VS-FAULT-02", "error invalid-fault VS-FAULT-04"],
                ),
                (&fault("abort: {httpStatus: 500, percentage: {value: 0.0001}}"), &[]),
                (&with("mirror: {host: c}, mirrorPercentage: {value: 10}"), &[]),
                (&with("mirrors: [{destination: {host: c}, percentage: {value: 10}}]"), &[]),
                (&with("mirror: {host: c}, mirrorPercent: 10"), &["warning deprecated-field VAL-VS-09"]),
                (
                    &with("mirror: {host: c}, mirrors: [{destination: {host: c}}]"),
                    &["error exclusive-fields VAL-VS-08"],
                ),
            ],
        );
    }

    #[test]
    fn cors_policies() {
        let with =
            |fields: &str| case(&format!("corsPolicy: {{{fields}}}, route: [{{destination: {{host: b}}}}]"));
        const BAD: &[&str] = &["error invalid-cors VAL-VS-23"];
        check(
            "VirtualService",
            &[
                (
                    &with(
                        "allowOrigins: [{exact: 'http://a'}], allowMethods: [GET], allowHeaders: [x], maxAge: 24h, allowCredentials: true, unmatchedPreflights: IGNORE",
                    ),
                    &[],
                ),
                (
                    &with("allowOrigins: [{exact: a}], allowOrigin: [b]"),
                    &["warning has-no-effect VS-CORS-01"],
                ),
                (&with("allowOrigins: [{exact: ''}]"), BAD),
                (&with("allowOrigins: [{}]"), BAD),
                (&with("allowOrigins: [{regex: '('}]"), BAD),
                (&with("allowMethods: [get]"), BAD),
                (&with("exposeHeaders: ['a b']"), BAD),
                (&with("maxAge: 1500ms"), BAD),
                (&case("corsPolicy: {}, redirect: {uri: /}"), &["warning has-no-effect VAL-VS-06"]),
                (
                    &case(
                        "headers: {request: {set: {x: a}}, response: {set: {x: a}}}, timeout: 1s, directResponse: {status: 200}",
                    ),
                    &["warning has-no-effect VAL-VS-06", "warning has-no-effect VAL-VS-06"],
                ),
            ],
        );
    }

    #[test]
    fn header_operations() {
        let at_route =
            |headers: &str| case(&format!("headers: {{{headers}}}, route: [{{destination: {{host: b}}}}]"));
        let at_destination =
            |headers: &str| case(&format!("route: [{{destination: {{host: b}}, headers: {{{headers}}}}}]"));
        check(
            "VirtualService",
            &[
                (
                    &at_route(
                        "request: {set: {x: '%REQ(y)% 100%%'}, add: {x: a}, remove: [z]}, response: {set: {x: 'a'}}",
                    ),
                    &[],
                ),
                (&at_route("request: {set: {Host: b}}"), &[]),
                (&at_route("request: {set: {host: '%REQ(x)%'}}"), &["warning literal-authority VS-HDR-06"]),
                (&at_route("request: {add: {':authority': b}}"), &[]),
                (
                    &at_route("request: {set: {host: b}, add: {':authority': b}}"),
                    &["error several-authorities VAL-VS-13"],
                ),
                (&at_route("request: {remove: [host]}"), &["error invalid-header-name VAL-VS-12"]),
                (&at_route("response: {set: {':authority': b}}"), &["error invalid-header-name VAL-VS-12"]),
                (&at_route("request: {set: {':path': /}}"), &["error invalid-header-name VAL-VS-12"]),
                (&at_route("request: {set: {'a b': /}}"), &["error invalid-header-name VAL-VS-12"]),
                (&at_route("request: {set: {x: '100%'}}"), &["error invalid-header-value VS-HDR-09"]),
                (
                    &at_route("request: {set: {x: '%START_TIME%'}}, response: {set: {x: '%RESP(y?z):9%'}}"),
                    &[],
                ),
                (
                    &at_route("request: {set: {x: '%UPSTREAM_HOST%'}}"),
                    &["error invalid-header-value VS-HDR-09"],
                ),
                (&at_route("response: {set: {x: '%HOSTNAME%'}}"), &["error invalid-header-value VS-HDR-09"]),
                (
                    &at_route("response: {set: {x: \"a\\r\\nb: c\"}}"),
                    &["error invalid-header-value VS-HDR-09"],
                ),
                (&at_route("request: {set: {x: ''}}"), &["warning empty-header-value VS-HDR-08"]),
                (&at_route("request: {set: {x-envoy-retry-on: 5xx}}"), &["error reserved-header GAP-05"]),
                (&at_destination("request: {set: {x: a}}"), &[]),
                (&at_destination("request: {set: {x: '%'}}"), &["error invalid-header-value VS-HDR-09"]),
                (
                    &case(
                        "rewrite: {authority: c}, route: [{destination: {host: b}, headers: {request: {set: {host: d}}}}]",
                    ),
                    &["warning authority-has-no-effect VS-RW-14"],
                ),
                (
                    &case(
                        "rewrite: {authority: c}, headers: {request: {set: {host: d}}}, route: [{destination: {host: b}}]",
                    ),
                    &["error several-authorities VAL-VS-13"],
                ),
            ],
        );
    }

    #[test]
    fn regex_rewrites() {
        let rewrite =
            |fields: &str| case(&format!("route: [{{destination: {{host: b}}}}], rewrite: {{{fields}}}"));
        const BAD: &[&str] = &["error invalid-rewrite VAL-VS-16"];
        check(
            "VirtualService",
            &[
                (&rewrite("uri: \"/a\\r\\nx: 1\""), BAD),
                (&rewrite("uri: /a b"), BAD),
                (&rewrite("authority: \"a\\nx: 1\""), BAD),
                (&rewrite("uri: '/a%20b', authority: 'a:80'"), &[]),
                (&rewrite("uriRegexRewrite: {match: /a, rewrite: /b}"), &[]),
                (&rewrite("uriRegexRewrite: {match: /a}"), BAD),
                (&rewrite("uriRegexRewrite: {match: /a, rewrite: ''}"), BAD),
                (&rewrite("uriRegexRewrite: {}"), BAD),
                (&rewrite("uri: /x, uriRegexRewrite: {match: /a, rewrite: /b}"), BAD),
            ],
        );
    }
}
