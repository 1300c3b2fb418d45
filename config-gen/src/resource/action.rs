//! What a route of a VirtualService does besides forwarding (spec sections 4.4 to 4.8).

use super::Spanned;
use super::read::{boolean, filled, int, milliseconds, string, strings};
use crate::input::node::{Node, Value};
use crate::source::Span;

/// Parts of a path that are replaced by pattern (VS-RW-11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexRewrite {
    /// RE2 syntax; it need not match the whole path.
    pub pattern: Option<Spanned<String>>,
    /// The replacement with `\1` for groups.
    pub replacement: Option<Spanned<String>>,
    /// The whole of it.
    pub span: Span,
}

/// Where the client is sent instead (spec 4.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// New path (VS-RD-02).
    pub uri: Option<Spanned<String>>,
    /// New prefix of the path (VS-RD-04).
    pub prefix_rewrite: Option<Spanned<String>>,
    /// New host (VS-RD-05).
    pub authority: Option<Spanned<String>>,
    /// Port to name.
    pub port: Option<Spanned<u32>>,
    /// Where the port comes from, in place of `port`.
    pub derive_port: Option<Spanned<String>>,
    /// New scheme (VS-RD-06).
    pub scheme: Option<Spanned<String>>,
    /// Status (VS-RD-01); 0 counts as absent.
    pub code: Option<Spanned<u32>>,
    /// The whole redirect.
    pub span: Span,
}

/// A fixed answer (spec 4.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// Status.
    pub status: Option<Spanned<u32>>,
    /// Body.
    pub body: Option<Spanned<Body>>,
    /// The whole answer.
    pub span: Span,
}

/// The body of a fixed answer (VS-DR-02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// As it is.
    Text(String),
    /// Bytes in base64.
    Base64(String),
}

/// Changes of headers (spec 4.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// On the request.
    pub request: HeaderOperations,
    /// On the response.
    pub response: HeaderOperations,
    /// Where they stand; none: nothing is written, not even `{}`, which takes the place of
    /// another route's (VS-DEL-09).
    pub span: Option<Span>,
}

/// Removals, then what is set, then what is added (VS-HDR-02).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderOperations {
    /// In place of what is there.
    pub set: Vec<NamedValue>,
    /// Besides what is there.
    pub add: Vec<NamedValue>,
    /// Names.
    pub remove: Vec<Spanned<String>>,
}

/// A header with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedValue {
    /// Name as written.
    pub name: Spanned<String>,
    /// Value.
    pub value: Spanned<String>,
}

impl NamedValue {
    /// Whether this sets the Host header, which is a rewrite (VS-HDR-06).
    pub fn is_authority(&self) -> bool {
        is_authority(&self.name)
    }
}

/// Whether `name` is one of the Host header's.
pub(crate) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

impl HeaderOperations {
    /// The new Host header; `set` wins over `add` (VS-HDR-06).
    pub fn authority(&self) -> Option<&Spanned<String>> {
        let entries = self.set.iter().chain(&self.add);
        entries
            .filter(|entry| entry.is_authority() && !entry.value.is_empty())
            .map(|entry| &entry.value)
            .next()
    }
}

/// When a request is tried again (spec 4.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Tries after the first; absent is 0, no retries (VS-RETRY-02).
    pub attempts: Option<Spanned<i64>>,
    /// How long one try may take, in milliseconds.
    pub per_try_timeout: Option<Spanned<u64>>,
    /// Base interval in milliseconds (VS-RETRY-11).
    pub backoff: Option<Spanned<u64>>,
    /// Conditions, separated by commas (VS-RETRY-05).
    pub retry_on: Option<Spanned<String>>,
    /// VS-RETRY-09
    pub remote_localities: Option<Spanned<bool>>,
    /// VS-RETRY-10
    pub ignore_previous_hosts: Option<Spanned<bool>>,
    /// All of it.
    pub span: Span,
}

pub(crate) fn retries(node: &Node) -> Retries {
    Retries {
        attempts: int(node.get("attempts")),
        per_try_timeout: milliseconds(node.get("perTryTimeout")),
        backoff: milliseconds(node.get("backoff")),
        retry_on: filled(node.get("retryOn")),
        remote_localities: boolean(node.get("retryRemoteLocalities")),
        ignore_previous_hosts: boolean(node.get("retryIgnorePreviousHosts")),
        span: node.span,
    }
}

/// Faults on purpose (spec 4.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Requests wait.
    pub delay: Option<Delay>,
    /// Requests fail.
    pub abort: Option<Abort>,
    /// All of it.
    pub span: Span,
}

/// A delay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Milliseconds.
    pub fixed: Option<Spanned<u64>>,
    /// How many of a million requests; absent is 0 (VS-FAULT-02).
    pub per_million: u32,
    /// All of it.
    pub span: Span,
}

/// An error in place of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abort {
    /// HTTP status.
    pub http_status: Option<Spanned<i64>>,
    /// Name of a status of gRPC.
    pub grpc_status: Option<Spanned<String>>,
    /// How many of a million requests; absent is 0 (VS-FAULT-03).
    pub per_million: u32,
    /// All of it.
    pub span: Span,
}

pub(super) fn fault(node: &Node) -> Fault {
    let delay = node.get("delay").map(|node| {
        let old = int::<u32>(node.get("percent")).map(|percent| percent.value.min(100) * 10_000);
        Delay {
            fixed: milliseconds(node.get("fixedDelay")),
            per_million: per_million(node.get("percentage")).or(old).unwrap_or_default(),
            span: node.span,
        }
    });
    let abort = node.get("abort").map(|node| Abort {
        http_status: int(node.get("httpStatus")),
        grpc_status: filled(node.get("grpcStatus")),
        per_million: per_million(node.get("percentage")).unwrap_or_default(),
        span: node.span,
    });
    Fault { delay, abort, span: node.span }
}

/// A percentage as parts of a million (VS-FAULT-04); `{}` is 0. What is less than one part is cut
/// off, as in Istio.
pub(super) fn per_million(node: Option<&Node>) -> Option<u32> {
    let value = node?.get("value");
    let percent = match value.map(|value| &value.value) {
        Some(Value::Float(percent)) => *percent,
        _ => value.and_then(Node::as_int).map_or(0.0, |percent| percent as f64),
    };
    Some((percent.clamp(0.0, 100.0) * 10_000.0) as u32)
}

/// Number of a status of gRPC, by its name.
pub(crate) fn grpc_status(name: &str) -> Option<u8> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let number = NAMES.iter().position(|known| *known == name)?;
    u8::try_from(number).ok()
}

pub(super) fn headers(node: Option<&Node>) -> Headers {
    let part = |name: &str| node.and_then(|node| node.get(name)).map(header_operations).unwrap_or_default();
    Headers { request: part("request"), response: part("response"), span: node.map(|node| node.span) }
}

fn header_operations(node: &Node) -> HeaderOperations {
    let entries = |name: &str| {
        let entries = node.get(name).map(Node::entries).unwrap_or_default().iter();
        entries
            .filter_map(|entry| {
                let name = Spanned::new(entry.key.clone(), entry.key_span);
                Some(NamedValue { name, value: string(Some(&entry.node))? })
            })
            .collect()
    };
    HeaderOperations { set: entries("set"), add: entries("add"), remove: strings(node.get("remove")) }
}

pub(super) fn regex_rewrite(node: &Node) -> RegexRewrite {
    RegexRewrite {
        pattern: filled(node.get("match")),
        replacement: filled(node.get("rewrite")),
        span: node.span,
    }
}

pub(super) fn redirect(node: &Node) -> Redirect {
    Redirect {
        uri: filled(node.get("uri")),
        prefix_rewrite: filled(node.get("prefixRewrite")),
        authority: filled(node.get("authority")),
        port: int(node.get("port")),
        derive_port: filled(node.get("derivePort")),
        scheme: filled(node.get("scheme")),
        code: int(node.get("redirectCode")).filter(|code| code.value != 0),
        span: node.span,
    }
}

pub(super) fn direct_response(node: &Node) -> DirectResponse {
    let part = |name: &str| node.get("body").and_then(|body| string(body.get(name)));
    let text = part("string").map(|text| text.map(Body::Text));
    DirectResponse {
        status: int(node.get("status")),
        body: text.or_else(|| part("bytes").map(|text| text.map(Body::Base64))),
        span: node.span,
    }
}
