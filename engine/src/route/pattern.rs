//! Regular expressions as Istio means them: RE2 syntax over the whole string.

use regex::bytes::{Regex, RegexBuilder};

/// Longest pattern, in characters (VAL-00d).
pub const MAX_PATTERN_LENGTH: usize = 1024;

/// Most memory that one compiled pattern may take, in bytes. Repetitions such as `.{1,1000}`
/// multiply; the limit is met when a config is generated, not when it is loaded.
const MAX_COMPILED_SIZE: usize = 1 << 20;

/// A regular expression that must match a whole string (VS-MATCH-07).
///
/// Syntax and meaning are RE2's: character classes such as `\d` and `\w` are ASCII, `.` is
/// any character but a newline (GAP-17). Matching takes time linear in the string.
///
/// ```
/// use portolan_engine::Pattern;
///
/// let pattern = Pattern::new("/v[0-9]+")?;
/// assert!(pattern.matches(b"/v1"));
/// assert!(!pattern.matches(b"/v1/x"));
/// # Ok::<(), portolan_engine::InvalidPattern>(())
/// ```
#[derive(Debug)]
pub struct Pattern(Kind);

#[derive(Debug)]
enum Kind {
    /// `.*`: everything without a newline. The most common pattern needs no engine.
    AnyLine,
    Regex(Box<Regex>),
}

/// A pattern that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(String);

impl Pattern {
    /// Compiles `pattern`.
    pub fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        if pattern == ".*" {
            return Ok(Self(Kind::AnyLine));
        }
        // Alone first: wrapped, `a)(b` would compile.
        compile(pattern)?;
        let whole = build(&format!(r"\A(?:{pattern})\z"))?;
        Ok(Self(Kind::Regex(Box::new(whole))))
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.0 {
            Kind::AnyLine => !text.contains(&b'\n'),
            Kind::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Compiles `pattern`, which may match anywhere.
pub(crate) fn compile(pattern: &str) -> Result<Regex, InvalidPattern> {
    if pattern.is_empty() {
        return Err(InvalidPattern("the regex is empty".into()));
    }
    let length = pattern.chars().count();
    if length > MAX_PATTERN_LENGTH {
        return Err(InvalidPattern(format!(
            "the regex has {length} characters, at most {MAX_PATTERN_LENGTH} are allowed"
        )));
    }
    build(pattern)
}

fn build(text: &str) -> Result<Regex, InvalidPattern> {
    RegexBuilder::new(text)
        .unicode(false)
        .size_limit(MAX_COMPILED_SIZE)
        .dfa_size_limit(MAX_COMPILED_SIZE)
        .build()
        .map_err(describe)
}

impl InvalidPattern {
    pub(crate) fn new(message: String) -> Self {
        Self(message)
    }
}

fn describe(error: regex::Error) -> InvalidPattern {
    InvalidPattern(match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("the regex needs more than {limit} bytes when compiled; shorten its repetitions")
        }
        // The parser draws a picture over several lines; its last line says what is wrong.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("invalid regex: {}", last.strip_prefix("error: ").unwrap_or(last))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(text.as_bytes())
    }

    #[test]
    fn the_whole_string_must_match() {
        // VS-MATCH-07, TV-30
        assert!(matches("/v[0-9]+", "/v1"));
        assert!(!matches("/v[0-9]+", "/v1/x"));
        assert!(!matches("/v[0-9]+", "/a/v1"));
        assert!(matches("a|ab", "ab"));
        assert!(!matches("a|b", "ab"));
        assert!(matches(".*", "") && matches(".*", "/x") && !matches(".*", "/\n"));
    }

    #[test]
    fn classes_are_ascii_and_case_folding_is_asked_for() {
        // GAP-17
        assert!(matches(r"\d+", "12") && !matches(r"\d", "٣"));
        assert!(matches("(?i)/abc", "/ABC") && !matches("/abc", "/ABC"));
    }

    #[test]
    fn bad_patterns_say_what_is_wrong() {
        let error = |pattern: &str| Pattern::new(pattern).unwrap_err().to_string();
        assert_eq!(error(""), "the regex is empty");
        assert_eq!(error("*"), "invalid regex: repetition operator missing expression");
        assert_eq!(error("a)(b"), "invalid regex: unopened group");
        assert_eq!(
            error("(?=a)"),
            "invalid regex: look-around, including look-ahead and look-behind, is not supported"
        );
        assert!(error(&"a".repeat(1025)).contains("1025 characters"));
        assert!(error("(a{1,1000}){1,1000}").contains("when compiled"));
    }
}
