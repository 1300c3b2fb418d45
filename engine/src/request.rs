//! The facts of a request that decisions are made from.

/// A request as the filter sees it: bytes, borrowed from the header map.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The port that the client addressed (GAP-01), not the one in the Host header.
    pub listener_port: u16,
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
}

impl<'a> Request<'a> {
    /// The path without query and fragment, which is what conditions see (VS-MATCH-03).
    pub(crate) fn path_only(&self) -> &'a [u8] {
        let end = self.path.iter().position(|byte| matches!(byte, b'?' | b'#'));
        end.and_then(|end| self.path.get(..end)).unwrap_or(self.path)
    }

    /// The text between `?` and a fragment; none where there is no `?`.
    pub(crate) fn query(&self) -> Option<&'a [u8]> {
        let start = self.path.iter().position(|&byte| byte == b'?')?;
        let query = self.path.get(start + 1..)?;
        query.split(|&byte| byte == b'#').next()
    }
}
