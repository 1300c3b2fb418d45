//! Texts that a condition holds for, and texts just beside them.

use portolan_engine::config::StringMatch;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Most texts for one condition.
const MOST: usize = 8;

/// Most characters of one: a regex may ask for thousands.
const LONGEST: usize = 512;

/// Texts about which `condition` may have changed its mind. It holds for the first, if for any that
/// can be found so; of the others the engine says what it does.
pub(super) fn around(condition: &StringMatch) -> Vec<String> {
    let mut texts = match condition {
        StringMatch::Exact(text) => vec![text.clone(), format!("{text}x")],
        StringMatch::Prefix(text) => vec![text.clone(), format!("{text}x"), format!("{text}/x")],
        StringMatch::Regex(pattern) => of_regex(pattern),
        StringMatch::Present => vec!["x".to_owned(), String::new()],
    };
    let Some(first) = texts.first().cloned() else { return texts };
    let mut shorter = first.clone();
    if shorter.pop().is_some() {
        texts.push(shorter);
    }
    texts.push(other_case(&first));
    if matches!(condition, StringMatch::Regex(_)) {
        texts.push(format!("{first}x"));
    }
    let mut seen = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen
}

/// With letters of the other case.
fn other_case(text: &str) -> String {
    let flip = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    text.chars().map(flip).collect()
}

/// Texts that `pattern` matches, the shortest first: one for each of its branches. None of a pattern that
/// can't be read.
fn of_regex(pattern: &str) -> Vec<String> {
    // Tables of Unicode, which this program does without, are wanted by `\d` and the like, whose RE2 meaning is
    // that of bytes.
    let mut bytes = ParserBuilder::new();
    bytes.unicode(false).utf8(false);
    let hir = regex_syntax::parse(pattern).ok().or_else(|| bytes.build().parse(pattern).ok());
    let Some(hir) = hir else { return Vec::new() };
    let mut texts = Vec::new();
    for text in variants(&hir) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// Of each part of `hir` every variant once, beside the first of all other parts.
fn variants(hir: &Hir) -> Vec<String> {
    let mut found = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8_lossy(&literal.0).into_owned()],
        HirKind::Class(class) => of_class(class),
        HirKind::Capture(capture) => variants(&capture.sub),
        HirKind::Alternation(parts) => parts.iter().flat_map(variants).collect(),
        HirKind::Repetition(repetition) => {
            let sub = variants(&repetition.sub);
            let first = sub.first().cloned().unwrap_or_default();
            let times = |count: u32| {
                let longest = LONGEST / first.len().max(1);
                first.repeat(usize::try_from(count).unwrap_or(longest).min(longest))
            };
            let least = repetition.min;
            let mut found = vec![times(least)];
            if repetition.max.is_none_or(|most| most > least) {
                // Once more, each time with another end.
                found.extend(sub.iter().map(|last| times(least) + last));
            } else if least > 0 {
                found.extend(sub.iter().skip(1).map(|last| times(least - 1) + last));
            }
            found
        }
        HirKind::Concat(parts) => {
            let parts: Vec<Vec<String>> = parts.iter().map(variants).collect();
            let first = |part: &Vec<String>| part.first().cloned().unwrap_or_default();
            let mut found = vec![parts.iter().map(first).collect::<String>()];
            for (index, part) in parts.iter().enumerate() {
                for variant in part.iter().skip(1) {
                    let pick = |(at, other): (usize, &Vec<String>)| {
                        if at == index { variant.clone() } else { first(other) }
                    };
                    found.push(parts.iter().enumerate().map(pick).collect());
                }
            }
            found
        }
    };
    found.retain(|text| text.len() <= LONGEST);
    found.truncate(MOST);
    found
}

/// A letter, if one may stand there: it reads well, and as a path it needs no escape. Then the ends of the
/// class, since `a|b` is one, too.
fn of_class(class: &Class) -> Vec<String> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.ranges().iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => {
            let ranges = class.ranges().iter();
            ranges.map(|range| (char::from(range.start()), char::from(range.end()))).collect()
        }
    };
    let holds = |c: &char| ranges.iter().any(|(start, end)| start <= c && c <= end);
    let usual = ['x', 'a', 'X', 'A', '1', '0', '-', '_', '/'].into_iter().filter(holds).take(1);
    let ends = ranges.iter().flat_map(|(start, end)| [*start, *end]);
    let readable: Vec<char> = usual.chain(ends.clone()).filter(char::is_ascii_graphic).collect();
    let mut found: Vec<String> = Vec::new();
    for c in if readable.is_empty() { ends.collect() } else { readable } {
        let text = c.to_string();
        if found.len() < MOST && !found.contains(&text) {
            found.push(text);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(pattern: &str) -> Vec<String> {
        of_regex(pattern)
    }

    #[test]
    fn every_branch_of_a_regex_has_a_text() {
        assert_eq!(regex("/v[12]/(a|b)"), ["/v1/a", "/v2/a", "/v1/b"]);
        assert_eq!(regex("/(north|south)?"), ["/", "/north", "/south"]);
        assert_eq!(regex("/x?"), ["/", "/x"]);
        assert_eq!(regex("a{3}")[0], "aaa");
        assert_eq!(regex(".*")[0], "");
        assert_eq!(regex("^/[^/]+/items$")[0], "/x/items");
        assert!(regex("(").is_empty());
    }

    /// What was found fits, on the pattern's own word.
    #[test]
    fn texts_of_a_regex_match_it() {
        for pattern in
            ["/v[0-9]+/items/[^/]+", "(?i)/Abc|/d.{2,4}", r"\d{3}-[a-f]+", ".*user=jason.*", "(a|b)*c"]
        {
            let texts = regex(pattern);
            let compiled = portolan_engine::Pattern::new(pattern).unwrap();
            assert!(!texts.is_empty());
            for text in texts {
                assert!(compiled.matches(text.as_bytes()), "{pattern}: {text}");
            }
        }
    }

    #[test]
    fn large_repetitions_are_bounded() {
        for text in regex("(abc){1000000}") {
            assert!(text.len() <= LONGEST);
        }
        assert!(regex("(((a|b){2}){2}){2}").len() <= MOST);
    }

    #[test]
    fn neighbours_lie_just_outside() {
        let around = |condition| around(&condition);
        assert_eq!(around(StringMatch::Exact("/a".into())), ["/a", "/ax", "/", "/A"]);
        assert_eq!(around(StringMatch::Prefix("/a".into())), ["/a", "/ax", "/a/x", "/", "/A"]);
        assert_eq!(around(StringMatch::Present), ["x", "", "X"]);
        assert_eq!(around(StringMatch::Regex("a|b".into())), ["a", "b", "", "A", "ax"]);
    }
}
