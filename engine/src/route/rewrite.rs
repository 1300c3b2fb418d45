//! Path rewriting (spec section 4.4).

use regex_automata::PatternID;
use regex_automata::nfa::thompson::pikevm::PikeVM;

use crate::request::Request;
use crate::route::pattern::{self, InvalidPattern};

/// What replaces the matched part of a path. A plain splice: slashes are neither added nor
/// removed (VS-RW-01, VS-RW-03), and a query in the replacement isn't merged (VS-RW-10).
#[derive(Debug)]
pub(crate) enum PathRewrite {
    /// The part that the path condition matched.
    Matched(String),
    /// Every match of a pattern of its own.
    Pattern(PathSubstitution),
}

impl PathRewrite {
    /// The new `:path`; `matched` is how many bytes of it the path condition matched.
    pub(crate) fn apply(&self, matched: usize, request: &Request<'_>) -> Vec<u8> {
        match self {
            Self::Matched(replacement) => {
                let rest = request.path.get(matched..).unwrap_or_default();
                [replacement.as_bytes(), rest].concat()
            }
            Self::Pattern(substitution) => {
                let path = request.path_only();
                let rest = request.path.get(path.len()..).unwrap_or_default();
                let mut replaced = substitution.apply(path);
                replaced.extend_from_slice(rest);
                replaced
            }
        }
    }
}

/// `uriRegexRewrite`: every non-overlapping match is replaced (VS-RW-11).
///
/// ```
/// use portolan_engine::PathSubstitution;
///
/// let substitution = PathSubstitution::new("/user/([0-9]+)", r"/u/\1")?;
/// assert_eq!(substitution.apply(b"/api/user/42/x"), b"/api/u/42/x");
/// # Ok::<(), portolan_engine::InvalidPattern>(())
/// ```
#[derive(Debug)]
pub struct PathSubstitution {
    pattern: PikeVM,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(Vec<u8>),
    Group(usize),
}

impl PathSubstitution {
    /// Compiles both parts. In `replacement`, `\0` to `\9` stand for groups and `\\` for a
    /// backslash; RE2 knows nothing else.
    #[inline(never)]
    pub fn new(pattern: &str, replacement: &str) -> Result<Self, InvalidPattern> {
        let pattern = pattern::compile_with_groups(pattern)?;
        let groups = pattern.get_nfa().group_info().group_len(PatternID::ZERO).saturating_sub(1);
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let mut bytes = replacement.bytes();
        while let Some(byte) = bytes.next() {
            match (byte, if byte == b'\\' { bytes.next() } else { None }) {
                (b'\\', Some(b'\\')) => text.push(b'\\'),
                (b'\\', Some(digit @ b'0'..=b'9')) => {
                    let group = usize::from(digit - b'0');
                    if group > groups {
                        return Err(InvalidPattern::new(format!(
                            "the replacement uses group {group}, and the regex has {groups}"
                        )));
                    }
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Group(group));
                }
                (b'\\', _) => {
                    return Err(InvalidPattern::new(
                        "in the replacement a backslash must be followed by a digit or a backslash".into(),
                    ));
                }
                // It becomes part of a request line.
                (byte, _) if byte <= b' ' || byte == 0x7f => {
                    return Err(InvalidPattern::new(
                        "the replacement must not hold blanks or control characters".into(),
                    ));
                }
                (byte, _) => text.push(byte),
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { pattern, parts })
    }

    /// `path` with all matches replaced; the same where there is none.
    pub fn apply(&self, path: &[u8]) -> Vec<u8> {
        let mut result = Vec::with_capacity(path.len());
        let mut end = 0;
        for captures in self.pattern.captures_iter(&mut self.pattern.create_cache(), path) {
            let Some(whole) = captures.get_match() else { continue };
            result.extend_from_slice(path.get(end..whole.start()).unwrap_or_default());
            for part in &self.parts {
                match part {
                    Part::Text(text) => result.extend_from_slice(text),
                    Part::Group(group) => {
                        // A group that took no part counts as empty.
                        let span = captures.get_group(*group).map(|span| span.start..span.end);
                        result.extend_from_slice(span.and_then(|span| path.get(span)).unwrap_or_default());
                    }
                }
            }
            end = whole.end();
        }
        result.extend_from_slice(path.get(end..).unwrap_or_default());
        result
    }
}
