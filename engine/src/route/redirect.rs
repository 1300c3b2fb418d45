//! Redirects (spec section 4.6).

use crate::config::{self, ConfigError};
use crate::request::Request;
use crate::route::action::has_blank_or_control;
use crate::route::matcher::RouteMatcher;

/// The checked form of a [`config::Redirect`].
#[derive(Debug)]
pub(crate) struct Redirect {
    code: u16,
    scheme: Option<String>,
    authority: Option<String>,
    port: Option<String>,
    path: NewPath,
}

#[derive(Debug)]
enum NewPath {
    Same,
    /// The query of the request comes behind it (VS-RD-02).
    Whole(String),
    /// It has a query of its own.
    WithQuery(String),
    Prefix(String),
}

impl Redirect {
    pub(crate) fn new(redirect: config::Redirect, path: &str) -> Result<Self, ConfigError> {
        let config::Redirect { code, scheme, authority, port, path: whole, prefix } = redirect;
        if !matches!(code, 301 | 302 | 303 | 307 | 308) {
            return Err(ConfigError::new(format!("{path}.code"), "must be 301, 302, 303, 307 or 308"));
        }
        if scheme.as_deref().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
            return Err(ConfigError::new(format!("{path}.scheme"), "must be `http` or `https`"));
        }
        // A line break in one of them would end the header (response splitting).
        for (field, value) in [("authority", &authority), ("path", &whole), ("prefix", &prefix)] {
            if value.as_deref().is_some_and(has_blank_or_control) {
                return Err(ConfigError::new(
                    format!("{path}.{field}"),
                    "must not hold blanks or control characters",
                ));
            }
        }
        let new_path = match (whole, prefix) {
            (Some(_), Some(_)) => return Err(ConfigError::new(path, "has both `path` and `prefix`")),
            (Some(whole), None) => {
                let whole = if whole.starts_with('/') { whole } else { format!("/{whole}") };
                if whole.contains('?') { NewPath::WithQuery(whole) } else { NewPath::Whole(whole) }
            }
            (None, Some(prefix)) => NewPath::Prefix(prefix),
            (None, None) => NewPath::Same,
        };
        Ok(Self { code, scheme, authority, port: port.map(|port| format!(":{port}")), path: new_path })
    }

    pub(crate) fn code(&self) -> u16 {
        self.code
    }

    /// The `location` header, as Envoy composes it.
    pub(crate) fn location(&self, matcher: &RouteMatcher, request: &Request<'_>) -> Vec<u8> {
        let scheme = self.scheme.as_deref().map_or(request.scheme, str::as_bytes);
        let port = self.port.as_deref().unwrap_or_default();
        let host = match &self.authority {
            Some(authority) => authority.as_bytes(),
            None => request_host(request, scheme, !port.is_empty()),
        };
        let query = request.path.get(request.path_only().len()..).unwrap_or_default();
        let (start, rest): (&[u8], &[u8]) = match &self.path {
            NewPath::Same => (b"", request.path),
            NewPath::Whole(path) => (path.as_bytes(), query),
            NewPath::WithQuery(path) => (path.as_bytes(), b""),
            NewPath::Prefix(prefix) => {
                (prefix.as_bytes(), request.path.get(matcher.matched_length(request)..).unwrap_or_default())
            }
        };
        let mut location = Vec::with_capacity(scheme.len() + host.len() + start.len() + rest.len() + 10);
        for part in [scheme, b"://", host, port.as_bytes(), start, rest] {
            push_safe(&mut location, part);
        }
        location
    }
}

/// The host that the client asked for, without a port that would be wrong (VS-RD-10).
fn request_host<'a>(request: &Request<'a>, scheme: &[u8], has_port: bool) -> &'a [u8] {
    let authority = request.authority;
    let host = crate::host::without_port(authority);
    let default = match request.scheme {
        b"http" => b":80".as_slice(),
        b"https" => b":443",
        _ => b"",
    };
    let port = authority.get(host.len()..).unwrap_or_default();
    let is_old_default = scheme != request.scheme && !port.is_empty() && port == default;
    if has_port || is_old_default { host } else { authority }
}

/// Appends `part`, with everything that could end a header or its value escaped. Envoy lets
/// no such request in; this is the second lock.
fn push_safe(location: &mut Vec<u8>, part: &[u8]) {
    for &byte in part {
        if byte <= b' ' || byte == 0x7f {
            location.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            location.push(byte);
        }
    }
}
