//! Patterns mean what they mean in RE2 (GAP-17).
//!
//! `re2.json` says what RE2 itself (its release of 2025-11-05, default options, the whole text)
//! accepts and matches.
#![allow(missing_docs)]

use portolan_engine::Pattern;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    pattern: String,
    re2: Verdict,
    #[serde(default)]
    matches: Vec<String>,
    #[serde(default)]
    rejects: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Accepts,
    Refuses,
    /// Listed in the documentation of [`Pattern`].
    #[serde(rename = "accepts, the engine refuses")]
    Unsupported,
}

#[test]
fn patterns_mean_what_they_mean_in_re2() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("re2.json")).unwrap();
    assert!(cases.len() > 200);
    let mut faults = Vec::new();
    for Case { about, pattern, re2, matches, rejects } in &cases {
        match (Pattern::new(pattern), re2) {
            (Err(_), Verdict::Refuses | Verdict::Unsupported) => {}
            (Ok(_), Verdict::Refuses | Verdict::Unsupported) => {
                faults.push(format!("{about}: {pattern:?} must be refused"));
            }
            (Err(error), Verdict::Accepts) => faults.push(format!("{about}: {pattern:?}: {error}")),
            (Ok(compiled), Verdict::Accepts) => {
                for (texts, expected) in [(matches, true), (rejects, false)] {
                    for text in texts {
                        if compiled.matches(text.as_bytes()) != expected {
                            faults.push(format!("{about}: {pattern:?} on {text:?}: not {expected}"));
                        }
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn bytes_that_are_not_utf8_match_no_character() {
    for pattern in [".*", "(?s).*", "[^/]*", r"(?:.|x)*", r"\D"] {
        assert!(!Pattern::new(pattern).unwrap().matches(b"\xff"), "{pattern}");
    }
    assert!(Pattern::new(r"\C").unwrap().matches(b"\xff"));
}

#[test]
fn a_refusal_says_the_way_out() {
    for (pattern, part) in [
        ("a**", "put the inner one into a group"),
        (r"\pL", "write the characters as a class"),
        ("(?i)é", "write both instead of the flag"),
        (r"a\Z", r"`\z` is its end"),
        ("(?x)a", "the flags are `i`, `m`, `s` and `U`"),
        (r"\u0041", r"as `\x{...}`"),
        (r"\", r"write `\\` for a backslash"),
        ("a{1001}", "at most 1000"),
    ] {
        let error = Pattern::new(pattern).unwrap_err().to_string();
        assert!(error.contains(part), "{pattern}: {error}");
    }
}

#[test]
fn the_longest_patterns_and_texts_are_taken() {
    let nested = format!("{}a{}", "(".repeat(100), ")*".repeat(100));
    assert!(Pattern::new(&nested).unwrap().matches(b"aaa"));
    let error = Pattern::new(&format!("({nested})")).unwrap_err().to_string();
    assert!(error.contains("more than 100 groups"), "{error}");
    let long = "ab".repeat(1 << 20);
    assert!(Pattern::new("(?:a|b)*").unwrap().matches(long.as_bytes()));
    assert!(!Pattern::new("(?:a|b)*c").unwrap().matches(long.as_bytes()));
}
