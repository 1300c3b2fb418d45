//! The facts of a request that decisions are made from.

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::config::Mode;
use crate::headers::is_forbidden;
use crate::route::format::{Message, Properties, Property};

/// A request as the filter sees it: bytes, borrowed from the header map.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The port that the client addressed (GAP-01), not the one in the Host header; for an explicit
    /// proxy [`addressed_port`](crate::host::addressed_port), and 0 where that is none.
    pub listener_port: u16,
    /// What the client dialled, where the listener is told (SE-R-01).
    pub original_destination: Option<SocketAddr>,
    /// `:method`.
    pub method: &'a [u8],
    /// `:scheme`.
    pub scheme: &'a [u8],
    /// `:authority`, unchanged.
    pub authority: &'a [u8],
    /// `:path` with its query, after Envoy's path normalization (LI-06). Empty for CONNECT.
    pub path: &'a [u8],
    /// All headers in order with lower-case names, pseudo headers included.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// A number that nobody can foresee, new for each request: what is left to chance is
    /// drawn from it.
    pub random: u64,
    /// What else there is to know; nothing where there is nobody to ask.
    pub properties: Option<&'a dyn Properties>,
}

impl<'a> Request<'a> {
    /// The path without query and fragment, which is what conditions see (VS-MATCH-03).
    pub(crate) fn path_only(&self) -> &'a [u8] {
        let end = memchr::memchr2(b'?', b'#', self.path);
        end.and_then(|end| self.path.get(..end)).unwrap_or(self.path)
    }

    /// The text between `?` and a fragment; none where there is no `?`.
    pub(crate) fn query(&self) -> Option<&'a [u8]> {
        let start = self.path.iter().position(|&byte| byte == b'?')?;
        let query = self.path.get(start + 1..)?;
        query.split(|&byte| byte == b'#').next()
    }
}

impl Message for Request<'_> {
    fn request_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        // Envoy knows the Host header by its name in HTTP/2.
        let name = if name == "host" { ":authority" } else { name };
        // Those are removed before the decision takes effect.
        if is_forbidden(name.as_bytes(), Mode::Proxy) {
            return None;
        }
        let line = self.headers.iter().find(|(known, _)| *known == name.as_bytes());
        line.map(|(_, value)| Cow::Borrowed(*value))
    }

    fn response_header(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        None
    }
}

impl Properties for Request<'_> {
    fn text(&self, property: Property) -> Option<Vec<u8>> {
        self.properties?.text(property)
    }

    fn number(&self, property: Property) -> Option<i64> {
        self.properties?.number(property)
    }
}
