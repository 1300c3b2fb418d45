//! Path rewriting (spec section 4.4).

use crate::request::Request;

/// What replaces the matched part of a path. A plain splice: slashes are neither added nor
/// removed (VS-RW-01, VS-RW-03), and a query in the replacement isn't merged (VS-RW-10).
#[derive(Debug)]
pub(crate) struct PathRewrite {
    replacement: String,
}

impl PathRewrite {
    pub(crate) fn new(replacement: String) -> Self {
        Self { replacement }
    }

    /// The new `:path` where the first `matched` bytes are replaced.
    pub(crate) fn apply(&self, matched: usize, request: &Request<'_>) -> Vec<u8> {
        let rest = request.path.get(matched..).unwrap_or_default();
        [self.replacement.as_bytes(), rest].concat()
    }
}
