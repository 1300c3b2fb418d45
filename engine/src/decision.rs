//! What is to be done with a request.

use std::borrow::Cow;
use std::sync::Arc;

use crate::refusal::Reason;
use crate::route::format::{Message, Property};
use crate::route::header::Operations;

/// The engine's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<'t> {
    /// Send it on.
    Forward(Forward<'t>),
    /// Answer it here.
    Respond(LocalReply<'t>),
    /// Leave it alone (mode `mesh`, no rule of ours).
    Pass,
}

/// How a request is sent on. What is none stays as the client sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forward<'t> {
    /// Envoy cluster; none in mode `mesh`.
    pub cluster: Option<&'t str>,
    /// What the filter writes into the filter state that selects the Envoy route:
    /// the route profile, a blank, virtual host and route, or the reason why there are none. None in mode
    /// `mesh`.
    pub route: Cow<'t, str>,
    /// New `:authority`.
    pub authority: Option<&'t str>,
    /// What the upstream is told of the authority that this replaces (VS-RW-16).
    pub original_host: OriginalHost<'t>,
    /// New `:path`.
    pub path: Option<Vec<u8>>,
    /// Name for SNI and SAN where the cluster would derive a wrong one from `:authority`:
    /// the host without its trailing dot.
    pub server_name: Option<Vec<u8>>,
    /// Host and port to dial where the cluster leads to many hosts.
    pub dial: Option<(Cow<'t, [u8]>, u16)>,
    /// The tunnel that the client asks for ends in a listener of this Envoy, which looks inside.
    pub inspected: Option<Inspected>,
    /// The host is not in the registry (`ALLOW_ANY`).
    pub passed_through: bool,
    /// The host would be refused for this reason, were the registry enforced.
    pub reported: Option<Reason>,
    /// The host is named by a VirtualService only (GAP-01).
    pub unregistered: bool,
    /// Envoy's fault filter holds it back (VS-FAULT-01).
    pub delayed: bool,
    /// Changes of the request's headers, in this order and before all others (VS-HDR-11).
    pub headers: Vec<HeaderChange<'t>>,
    /// The origin that the response has to name, and what else CORS sets in it, after
    /// [`Self::response`].
    pub cors: Option<(Vec<u8>, &'t Arc<[HeaderChange<'static>]>)>,
    /// Changes of the response's headers.
    pub response: Option<&'t Arc<ResponseHeaders>>,
    /// A preflight request that is held back: Envoy's fault filter ends it, and what it answers is
    /// to be replaced by a 200 with these headers (VS-FAULT-06, GAP-10).
    pub preflight: Option<Headers<'t>>,
}

/// What a listener inside Envoy is told of a tunnel that ends in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The server name that TLS in it has to ask for; none: it holds HTTP requests.
    pub server_name: Option<Vec<u8>>,
}

/// The authority before it was replaced, as Envoy tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OriginalHost<'t> {
    /// The one that the client sent.
    #[default]
    Requested,
    /// The one that the chosen of several destinations had set before the route.
    Chosen(&'t str),
    /// Not told: it was replaced by the chosen of several destinations.
    Untold,
}

/// Header lines of an answer: names in lower case, and values that are safe to write out.
pub type Headers<'t> = Vec<(&'t str, Cow<'t, [u8]>)>;

/// A change of a header; names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange<'t> {
    /// All lines of that name.
    Remove(&'t str),
    /// In place of all lines of that name.
    Set(&'t str, Cow<'t, [u8]>),
    /// One line more (VS-HDR-13).
    Add(&'t str, Cow<'t, [u8]>),
}

impl<'t> HeaderChange<'t> {
    /// Makes `changes` in `headers`, in their order, as the filter has Envoy make them.
    pub fn apply_all(changes: impl IntoIterator<Item = Self>, headers: &mut Headers<'t>) {
        for change in changes {
            match change {
                HeaderChange::Remove(name) => headers.retain(|(known, _)| *known != name),
                HeaderChange::Set(name, value) => {
                    headers.retain(|(known, _)| *known != name);
                    headers.push((name, value));
                }
                HeaderChange::Add(name, value) => headers.push((name, value)),
            }
        }
    }
}

/// What a route changes in responses, whoever sends them (VS-HDR-12).
#[derive(Debug, PartialEq, Eq)]
pub struct ResponseHeaders {
    /// One after the other.
    levels: Vec<Operations>,
    /// Names of the headers of the request that values are composed from.
    request_headers: Vec<String>,
}

/// Headers that Envoy gives its own answers only after the route's changes, so that these can't
/// remove them.
const OF_BODY: [&str; 2] = ["content-length", "content-type"];

impl ResponseHeaders {
    pub(crate) fn new(levels: Vec<Operations>) -> Self {
        let names = levels.iter().flat_map(Operations::request_headers);
        Self { request_headers: names.map(str::to_owned).collect(), levels }
    }

    /// Names of the headers that [`Message::request_header`] will be asked for. Once the request
    /// is on its way Envoy doesn't tell them any more.
    pub fn request_headers(&self) -> &[String] {
        &self.request_headers
    }

    /// Makes the changes in the headers of an answer of our own, before it is sent.
    pub(crate) fn apply<'t>(&'t self, message: &dyn Message, headers: &mut Headers<'t>) {
        HeaderChange::apply_all(self.composed(message), headers);
    }

    /// The changes of the response `message` in order. Only what comes from headers can hold a line
    /// break, and no header does.
    pub fn changes(&self, message: &dyn Message) -> Vec<HeaderChange<'_>> {
        let mut changes = self.composed(message);
        let is_of_body = |change: &HeaderChange<'_>| matches!(change, HeaderChange::Remove(name) if OF_BODY.contains(name));
        if changes.iter().any(is_of_body) && message.number(Property::ResponseCode).is_none() {
            changes.retain(|change| !is_of_body(change));
        }
        changes
    }

    fn composed(&self, message: &dyn Message) -> Vec<HeaderChange<'_>> {
        let mut changes = Vec::new();
        for level in &self.levels {
            level.apply(message, &mut changes);
        }
        changes
    }
}

/// An answer of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply<'t> {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Why.
    pub cause: Cause,
    /// Response-code details: the cause, and the host or the rule:
    /// `host_not_in_registry{example.com}`.
    pub details: Cow<'t, str>,
    /// Besides those that Envoy writes.
    pub headers: Headers<'t>,
    /// Status of gRPC; none: Envoy derives it for a request of gRPC.
    pub grpc_status: Option<u8>,
    /// A refusal has a line for a person.
    pub body: Cow<'t, [u8]>,
}

/// Why a request is answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It is not allowed, or leads nowhere.
    Refused(Reason),
    /// A route redirects it (VS-RD-01).
    Redirected,
    /// A route answers it (VS-DR-01).
    DirectResponse,
    /// A route ends it on purpose (VS-FAULT-05).
    Aborted,
    /// A preflight request of a browser (VS-CORS-06).
    Preflight,
}

impl Cause {
    /// As it stands in access logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(reason) => reason.as_str(),
            Self::Redirected => "redirected",
            Self::DirectResponse => "direct_response",
            Self::Aborted => "fault_abort",
            Self::Preflight => "cors_preflight",
        }
    }
}

impl<'t> LocalReply<'t> {
    /// The answer to a preflight request (VS-CORS-06).
    pub fn preflight(headers: Headers<'t>) -> Self {
        Self {
            status: 200,
            cause: Cause::Preflight,
            details: Cow::Borrowed(Cause::Preflight.as_str()),
            headers,
            grpc_status: None,
            body: Cow::Borrowed(b""),
        }
    }

    /// A refusal that names host and reason.
    pub(crate) fn refuse(reason: Reason, authority: &[u8]) -> Self {
        let host = printable(authority);
        Self {
            status: reason.status(),
            cause: Cause::Refused(reason),
            details: reason.of(&host).into(),
            headers: Vec::new(),
            grpc_status: None,
            body: format!("{host} {}\n", reason.sentence()).into_bytes().into(),
        }
    }
}

impl Reason {
    /// The reason and what it is about, as it stands in access logs: `host_not_in_registry{example.com}`.
    fn of(self, printable: &str) -> String {
        format!("{}{{{printable}}}", self.as_str())
    }

    /// The same of a host and the port that would be dialled: `host_not_in_registry{example.com:80}`.
    pub(crate) fn of_dialled(self, host: &[u8], port: u16) -> String {
        self.of(&format!("{}:{port}", printable(host)))
    }
}

/// Longest host that is repeated to the client or the log.
const MAX_PRINTED_HOST: usize = 253;

/// `authority` in a form that is safe in a header, a log line and a terminal: everything but
/// letters, digits and the punctuation of hosts is escaped as `\xNN`.
fn printable(authority: &[u8]) -> Cow<'static, str> {
    if authority.is_empty() {
        return Cow::Borrowed("(empty)");
    }
    let mut text = String::with_capacity(authority.len().min(MAX_PRINTED_HOST));
    for &byte in authority.iter().take(MAX_PRINTED_HOST) {
        if byte.is_ascii_alphanumeric() || b".-_:[]*@,".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if authority.len() > MAX_PRINTED_HOST {
        text.push_str("...");
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_escaped_and_bounded() {
        assert_eq!(printable(b""), "(empty)");
        assert_eq!(printable(b"a.example.com:80"), "a.example.com:80");
        assert_eq!(printable(b"a\r\nx: <b>\xff"), "a\\x0d\\x0ax:\\x20\\x3cb\\x3e\\xff");
        assert_eq!(printable(&[b'a'; 60_000]).len(), MAX_PRINTED_HOST + 3);
        assert_eq!(printable(&[b'a'; MAX_PRINTED_HOST]).len(), MAX_PRINTED_HOST);
    }

    #[test]
    fn refusals_name_host_and_reason() {
        let reply = LocalReply::refuse(Reason::HostNotInRegistry, b"b.example.com");
        assert_eq!(reply.status, 502);
        assert_eq!(reply.details, "host_not_in_registry{b.example.com}");
        assert_eq!(&*reply.body, b"b.example.com is not in the registry; a ServiceEntry would allow it\n");
    }

    #[test]
    fn headers_are_changed_in_order() {
        // VS-HDR-02
        let changes = [
            HeaderChange::Remove("a"),
            HeaderChange::Set("b", b"new".as_slice().into()),
            HeaderChange::Add("b", b"more".as_slice().into()),
        ];
        let headers = [("a", "1"), ("b", "old"), ("b", "older"), ("c", "kept")];
        let mut headers: Headers<'_> =
            headers.map(|(name, value)| (name, Cow::Borrowed(value.as_bytes()))).into();
        HeaderChange::apply_all(changes, &mut headers);
        let text: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}={}", value.escape_ascii())).collect();
        assert_eq!(text, ["c=kept", "b=new", "b=more"]);
    }
}
