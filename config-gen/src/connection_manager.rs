//! What Envoy's HTTP connection manager makes of a request before the filter sees it, as the
//! generated bootstrap sets it up: who simulates a request has to apply the same rules (GAP-18).

use std::net::Ipv6Addr;

use portolan_engine::Request as EngineRequest;
use portolan_engine::host::{addressed_port, without_port};

use crate::message::Client;
use crate::request::Request;

/// An answer that the connection manager gives by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// As in Envoy's response code details.
    pub details: &'static str,
}

/// `request` as the filter sees it.
///
/// # Errors
///
/// The answer, where the filter doesn't see it at all.
pub fn receive(request: &Request) -> Result<Request, Refused> {
    let refused = |status, details| Err(Refused { status, details });
    if !METHODS.contains(&request.method.as_str()) {
        return refused(400, "http1.codec_error");
    }
    if request.method == "CONNECT" && !is_target(&request.authority) {
        return refused(400, "http1.invalid_url");
    }
    if !request.authority.iter().all(|byte| is_authority_byte(*byte)) {
        return refused(400, "http.invalid_authority");
    }
    let mut received = request.clone();
    // Clients can't say that they came by TLS (`use_remote_address`).
    received.headers.retain(|(name, _)| name != FORWARDED_PROTO);
    received.headers.push((FORWARDED_PROTO.to_owned(), scheme(request).into()));
    if request.method == "CONNECT" {
        received.path.clear();
        return Ok(received);
    }
    if request.path == b"*" {
        return refused(404, "route_not_found");
    }
    if !request.path.starts_with(b"/") || !request.path.iter().all(|byte| is_path_byte(*byte)) {
        return refused(400, "http1.codec_error");
    }
    let Some(path) = normalize_path(&request.path) else {
        return refused(400, "path_normalization_failed");
    };
    received.path = path;
    Ok(received)
}

/// `:scheme` follows the connection (GW-22).
fn scheme(request: &Request) -> &'static str {
    if request.by_tls { "https" } else { "http" }
}

const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The methods that Envoy takes by HTTP/1.1; others are refused, those in lower case among them.
pub const METHODS: [&str; 34] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// A comma is among them: two Host lines arrive joined by one.
fn is_authority_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=@[]_~".contains(&byte)
}

/// Whether CONNECT can name it: a host and a port, without a user.
fn is_target(target: &[u8]) -> bool {
    let host = without_port(target);
    let address = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let is_host = match address {
        Some(address) => std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
        None => {
            !host.is_empty() && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte))
        }
    };
    is_host && addressed_port(b"CONNECT", b"", target).is_some()
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// `path` after `normalize_path: true` without `merge_slashes` (LI-06, TV-50, TV-51), as Envoy
/// 1.40 does it; none where Envoy refuses the request. The query stays as it is.
///
/// Envoy 1.36 differs in one thing: a dot segment with a parameter, such as `/..;x/`, stays.
pub fn normalize_path(path: &[u8]) -> Option<Vec<u8>> {
    let end = path.iter().position(|byte| *byte == b'?').unwrap_or(path.len());
    let (path, query) = path.split_at(end);
    let raw = path.strip_prefix(b"/").unwrap_or(path);
    let mut decoded = Vec::with_capacity(raw.len());
    for (index, segment) in raw.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            decoded.push(b'/');
        }
        decode(without_parameter(segment), &mut decoded)?;
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut rest = decoded.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = rest.next() {
        let is_dots = matches!(segment, b"." | b"..");
        if segment == b".." {
            segments.pop();
        }
        if !is_dots {
            segments.push(segment);
        } else if rest.peek().is_none() {
            segments.push(b"");
        }
    }
    let mut out = vec![b'/'];
    out.extend_from_slice(&segments.join(&b'/'));
    out.extend_from_slice(query);
    Some(out)
}

/// A dot segment loses its parameter.
fn without_parameter(segment: &[u8]) -> &[u8] {
    let end = segment.iter().position(|byte| *byte == b';').unwrap_or(segment.len());
    match segment.split_at(end).0 {
        dots @ (b"." | b"..") => dots,
        _ => segment,
    }
}

/// Decodes what needs no escape, escapes what needs one, and turns backslashes.
fn decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => match escaped(after) {
                Some(0) => return None,
                Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                    out.push(byte);
                    rest = after.get(2..).unwrap_or_default();
                }
                _ => out.push(b'%'),
            },
            b'\\' => out.push(b'/'),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
            byte => out.push(byte),
        }
    }
    Some(())
}

/// The byte whose two digits `text` begins with.
fn escaped(text: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(..2)?).ok()?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// Hands `request` to `then` in the engine's form. What is left to chance is drawn from `random`.
pub(crate) fn as_seen_by_engine<T>(
    request: &Request,
    random: u64,
    then: impl FnOnce(&EngineRequest<'_>) -> T,
) -> T {
    // In the order in which Envoy hands them over. CONNECT has no path.
    let mut headers: Vec<(&[u8], &[u8])> = vec![(b":authority", &request.authority)];
    if request.method != "CONNECT" {
        headers.push((b":path", &request.path));
    }
    let scheme = scheme(request).as_bytes();
    headers.extend([(&b":method"[..], request.method.as_bytes()), (b":scheme", scheme)]);
    headers.extend(request.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())));
    then(&EngineRequest {
        listener_port: request.port,
        original_destination: None,
        method: request.method.as_bytes(),
        scheme,
        authority: &request.authority,
        path: &request.path,
        headers: &headers,
        random,
        properties: Some(&Client),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Envoy 1.40 was seen to do it; `e2e/tests/settings.rs` asks it again.
    #[test]
    fn paths_are_normalized_as_by_envoy() {
        for (sent, seen) in [
            ("/a/./c/../b", "/a/b"), // TV-50
            ("/a//b", "/a//b"),      // TV-51
            ("/a%2Fb", "/a%2Fb"),
            ("/a%5c..%5cb", "/a%5c..%5cb"),
            ("/%41?x=../y%41", "/A?x=../y%41"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("//..//a", "//a"),
            ("/a///../b", "/a//b"),
            ("/a/b/..//", "/a//"),
            ("/a%2e%2E/b", "/a../b"),
            ("/a/.%2e/b", "/b"),
            ("/a/b/%2e", "/a/b/"),
            ("/a/%2e%2e%2e/b", "/a/.../b"),
            ("/a\\..\\b", "/b"),
            ("/a?b\\c", "/a?b\\c"),
            ("/a/..;x/b", "/b"),
            ("/a/.;", "/a/"),
            ("/a\\..;x\\b", "/a/..;x/b"),
            ("/a/%2e%2e;x/b", "/a/..;x/b"),
            ("/a;x=1/b", "/a;x=1/b"),
            ("/%7Euser%252e%zz%4", "/~user%252e%zz%4"),
            ("/a\"b<c>d^e`f{g|h}i", "/a%22b%3Cc%3Ed%5Ee%60f%7Bg%7Ch%7Di"),
            ("/", "/"),
            ("//", "//"),
        ] {
            let normalized = normalize_path(sent.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(normalized).unwrap(), seen, "{sent}");
        }
        assert_eq!(normalize_path(b"/a%00b"), None);
        assert_eq!(normalize_path(b"/a?%00").as_deref(), Some(&b"/a?%00"[..]));
    }

    #[test]
    fn what_envoy_refuses_by_itself() {
        let request = |method: &str, authority: &str, path: &str| Request {
            by_tls: false,
            by_proxy: false,
            random: 0,
            port: 80,
            method: method.to_owned(),
            authority: authority.into(),
            path: path.into(),
            headers: vec![("x-forwarded-proto".to_owned(), b"https".to_vec())],
        };
        let received = receive(&request("GET", "a,b:80", "/x/../y")).unwrap();
        assert_eq!(received.path, b"/y");
        assert_eq!(received.headers, [("x-forwarded-proto".to_owned(), b"http".to_vec())]);
        assert!(receive(&request("CONNECT", "a:443", "/")).unwrap().path.is_empty());
        for (method, authority, path, status) in [
            ("get", "a", "/", 400),
            ("GET", "a b", "/", 400),
            ("GET", "a/b", "/", 400),
            ("GET", "a", "/#x", 400),
            ("GET", "a", "x", 400),
            ("GET", "a", "/%00", 400),
            ("OPTIONS", "a", "*", 404),
            // As seen by tests of the explicit proxy.
            ("CONNECT", "a", "", 400),
            ("CONNECT", "me@a:443", "", 400),
            ("CONNECT", "a:443/x", "", 400),
            ("CONNECT", "a_b:443", "", 400),
            ("CONNECT", "::1:443", "", 400),
            ("CONNECT", "a:99999", "", 400),
        ] {
            let refused = receive(&request(method, authority, path)).unwrap_err();
            assert_eq!(refused.status, status, "{method} {authority} {path}");
        }
    }
}
