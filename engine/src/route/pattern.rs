//! Regular expressions as Istio means them: RE2 syntax over the whole string.

use std::cell::Cell;
use std::sync::OnceLock;

use regex_automata::nfa::thompson::backtrack::{self, BoundedBacktracker};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange, Hir, Look};

use super::re2::{self, KELVIN, LONG_S, Node};

/// Longest pattern, in characters (VAL-00d).
pub const MAX_PATTERN_LENGTH: usize = 1024;

/// Most memory that one compiled pattern may take, in bytes. Repetitions such as `.{1,1000}`
/// multiply; the limit is met when a config is generated, not when it is loaded.
const MAX_COMPILED_SIZE: usize = 1 << 20;

/// Up to this size, as [`largest_size`] guesses it, a pattern is compiled when it is first asked.
/// That takes some ten microseconds then, and spares loading most of its time and memory: the index
/// asks few of many patterns. It is far from the limit, so that compiling can't fail.
const MAX_LAZY_SIZE: usize = MAX_COMPILED_SIZE / 16;

/// A regular expression that must match a whole string (VS-MATCH-07).
///
/// Syntax and meaning are those of RE2 with its default options, which is what Envoy uses
/// (GAP-17): `\d`, `\w`, `\s`, `\b` and `[[:alpha:]]` are ASCII; `.`, `[^/]` and every other class
/// take one character of UTF-8, so that bytes which are not UTF-8 match nothing but `\C` (with RE2's
/// leniency, which takes surrogates and overlong forms of three and four bytes, except surrogates in a
/// class that names characters outside ASCII); `.` is
/// any character but a newline, and `$` without the flag `m` is the very end. Accepted are
/// literals, `\Q...\E`, classes with ranges, `\d` and `[:name:]`, `.`, `*`, `+`, `?`, `{n}`,
/// `{n,}`, `{n,m}` up to 1000, each with a lazy `?`, groups `(...)`, `(?:...)`, `(?P<name>...)` and
/// `(?<name>...)`, the flags `i`, `m`, `s`, `U`, alternation, `^`, `$`, `\A`, `\z`, `\b`, `\B`,
/// `\C`, and the escapes `\a \f \n \r \t \v`, `\x2f`, `\x{2f}`, `\057` and `\` before punctuation.
/// What RE2 refuses is refused: look-around, backreferences, possessive and doubled operators,
/// `\Z`, `\h`, `\K`, `\R`, `\u`, the flag `x` and whatever else is not in this list.
///
/// Refused although RE2 accepts it: `\p{...}` and the flag `i` on characters outside ASCII, for
/// which the module would have to carry Unicode's tables; `\x{d800}` and its like, which are no
/// characters; names of groups outside ASCII; more than 100 groups inside one another; and what
/// takes more than 1 MiB when compiled.
///
/// Matching takes time linear in the string.
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
    /// One of these matches.
    Steps(Box<[Steps]>),
    Automaton {
        pattern: Box<str>,
        compiled: OnceLock<Option<Box<BoundedBacktracker>>>,
    },
}

/// A pattern that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(String);

/// A pattern that was read and not compiled yet.
#[derive(Debug)]
pub(super) struct Parsed(Node);

impl Pattern {
    /// Compiles `pattern`.
    pub fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        Parsed::new(pattern)?.compile(pattern)
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.0 {
            Kind::Steps(branches) => branches.iter().any(|steps| steps.match_all(text)),
            Kind::Automaton { pattern, compiled } => compiled
                .get_or_init(|| Parsed::new(pattern).and_then(|parsed| parsed.compile_automaton()).ok())
                .as_ref()
                .is_some_and(|automaton| run(automaton, text)),
        }
    }
}

impl InvalidPattern {
    pub(super) fn new(message: String) -> Self {
        Self(message)
    }
}

/// Compiles `pattern`, which may match anywhere and whose groups are asked for. The same is
/// accepted, apart from what the compiler for groups doesn't know (`\\C`, `\\Q...\\E`).
#[inline(never)]
pub(super) fn compile_with_groups(pattern: &str) -> Result<PikeVM, InvalidPattern> {
    Parsed::new(pattern)?;
    PikeVM::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_COMPILED_SIZE)))
        .build(pattern)
        .map_err(|error| match error.size_limit() {
            Some(limit) => InvalidPattern(format!(
                "the regex needs more than {limit} bytes when compiled; shorten its repetitions"
            )),
            None => InvalidPattern("invalid regex: groups can't be found in it".into()),
        })
}

impl Parsed {
    pub(super) fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        if pattern.is_empty() {
            return Err(InvalidPattern("the regex is empty".into()));
        }
        let length = pattern.chars().count();
        if length > MAX_PATTERN_LENGTH {
            return Err(InvalidPattern(format!(
                "the regex has {length} characters, at most {MAX_PATTERN_LENGTH} are allowed"
            )));
        }
        re2::parse(pattern).map(Self).map_err(|fault| InvalidPattern(format!("invalid regex: {fault}")))
    }

    /// Compiles the pattern, which was read from `pattern`.
    pub(super) fn compile(&self, pattern: &str) -> Result<Pattern, InvalidPattern> {
        let steps =
            branches(&self.0).and_then(|branches| branches.iter().map(|nodes| Steps::new(nodes)).collect());
        if let Some(steps) = steps {
            return Ok(Pattern(Kind::Steps(steps)));
        }
        let compiled = OnceLock::new();
        if largest_size(&self.0).is_none_or(|size| size > MAX_LAZY_SIZE) {
            let _ = compiled.set(Some(self.compile_automaton()?));
        }
        Ok(Pattern(Kind::Automaton { pattern: pattern.into(), compiled }))
    }

    fn compile_automaton(&self) -> Result<Box<BoundedBacktracker>, InvalidPattern> {
        let too_large = || {
            InvalidPattern(format!(
                "the regex needs more than {MAX_COMPILED_SIZE} bytes when compiled; shorten its repetitions"
            ))
        };
        let nfa = compile(&[self.to_whole_hir()]).ok_or_else(too_large)?;
        BoundedBacktracker::new_from_nfa(nfa).map(Box::new).map_err(|_| too_large())
    }

    /// The pattern between the start and the end of a text.
    pub(super) fn to_whole_hir(&self) -> Hir {
        Hir::concat(vec![self.0.to_hir(), Hir::look(Look::End)])
    }

    /// The text that every match ends with, backwards; empty where it isn't known.
    pub(super) fn ending(&self) -> Vec<u8> {
        let mut ending = Vec::new();
        extend_ending(&mut ending, &self.0);
        ending
    }

    /// The longest text that is known to be somewhere in every match; empty where none is.
    pub(super) fn inside(&self) -> &[u8] {
        let Node::Concat(nodes) = &self.0 else { return &[] };
        let texts = nodes.iter().filter_map(|node| match node {
            Node::Text(text) => Some(text.as_slice()),
            _ => None,
        });
        texts.max_by_key(|text| text.len()).unwrap_or_default()
    }

    /// The text that every match starts with.
    pub(super) fn literal(&self) -> Literal {
        let mut literal = Literal::default();
        literal.whole = literal.extend(&self.0);
        if literal.fold_case {
            literal.text.make_ascii_lowercase();
        }
        literal
    }
}

/// Adds the text that `node` ends with, backwards. Whether that is all of it.
fn extend_ending(ending: &mut Vec<u8>, node: &Node) -> bool {
    match node {
        Node::Empty | Node::Look(_) => true,
        Node::Text(text) => {
            ending.extend(text.iter().rev());
            true
        }
        Node::Concat(nodes) => nodes.iter().rev().all(|node| extend_ending(ending, node)),
        Node::Repeat { node, min: 1.., .. } => {
            extend_ending(ending, node);
            false
        }
        Node::Repeat { .. } | Node::Alternation(_) | Node::Class(_) | Node::AnyByte => false,
    }
}

/// What `node` takes at most when compiled, in bytes; none where that can't be said.
fn largest_size(node: &Node) -> Option<usize> {
    /// A state of an automaton, with what it leads to.
    const STATE: usize = 64;
    /// A class with all characters outside ASCII: twelve states, and at most 64 ranges of ASCII.
    const CLASS: usize = 12 * STATE + 64 * 8;
    Some(match node {
        Node::Empty | Node::Look(_) | Node::AnyByte => STATE,
        Node::Text(text) => text.len() * STATE,
        // One that has a part of the characters outside ASCII may need hundreds of states.
        Node::Class(class) if folded_letter(class).is_none() && re2::beyond_ascii(class).is_none() => {
            return None;
        }
        Node::Class(_) => CLASS,
        Node::Repeat { node, min, max } => {
            let copies = max.unwrap_or(min + 1).max(1) as usize;
            copies.saturating_mul(largest_size(node)? + 3 * STATE)
        }
        Node::Concat(nodes) | Node::Alternation(nodes) => {
            let sizes = nodes.iter().map(|node| Some(largest_size(node)? + 2 * STATE));
            sizes.sum::<Option<usize>>()? + STATE
        }
    })
}

/// An automaton for `patterns`, to be run from the start of a text. None if it gets too large.
pub(super) fn compile(patterns: &[Hir]) -> Option<NFA> {
    let config = thompson::Config::new()
        .utf8(false)
        .which_captures(WhichCaptures::None)
        .nfa_size_limit(Some(MAX_COMPILED_SIZE * patterns.len()));
    NFA::compiler().configure(config).build_many_from_hir(patterns).ok()
}

thread_local! {
    /// What a run of an automaton notes; shared by all of them.
    static CACHE: Cell<Option<Box<backtrack::Cache>>> = const { Cell::new(None) };
}

fn run(automaton: &BoundedBacktracker, text: &[u8]) -> bool {
    let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
    let mut cache = CACHE.take().unwrap_or_else(|| Box::new(automaton.create_cache()));
    let found = automaton.try_is_match(&mut cache, input.clone());
    CACHE.set(Some(cache));
    found.unwrap_or_else(|_| {
        // Too long a text for it: a slower automaton has no such limit.
        PikeVM::new_from_nfa(automaton.get_nfa().clone())
            .is_ok_and(|automaton| automaton.is_match(&mut automaton.create_cache(), input))
    })
}

/// The text that every match of a pattern starts with.
#[derive(Debug, Default)]
pub(super) struct Literal {
    /// The text, in lower case if `fold_case`.
    pub(super) text: Vec<u8>,
    /// The case of ASCII letters doesn't matter.
    pub(super) fold_case: bool,
    /// Characters outside ASCII may stand for a letter in it ([`KELVIN`], [`LONG_S`]).
    pub(super) beyond_ascii: bool,
    /// Nothing follows: only this text matches.
    pub(super) whole: bool,
}

impl Literal {
    /// Adds what `node` starts with. Whether that is all of it.
    fn extend(&mut self, node: &Node) -> bool {
        match node {
            // A place adds no text.
            Node::Empty | Node::Look(_) => true,
            Node::Text(text) => {
                self.text.extend_from_slice(text);
                true
            }
            Node::Class(class) => {
                let Some(letter) = folded_letter(class) else { return false };
                self.fold_case = true;
                self.beyond_ascii |= class.ranges().len() > 2;
                self.text.push(letter);
                true
            }
            Node::Concat(nodes) => nodes.iter().all(|node| self.extend(node)),
            Node::Repeat { node, min: 1.., .. } => {
                self.extend(node);
                false
            }
            Node::Repeat { .. } | Node::Alternation(_) | Node::AnyByte => false,
        }
    }
}

/// The lower case of the ASCII letter that `class` is both cases of.
fn folded_letter(class: &ClassUnicode) -> Option<u8> {
    let (upper, lower) = match class.ranges() {
        [upper, lower] => (upper, lower),
        [upper, lower, other] if other.len() == 1 && [KELVIN, LONG_S].contains(&other.start()) => {
            (upper, lower)
        }
        _ => return None,
    };
    let is_letter = upper.len() == 1
        && lower.len() == 1
        && lower.start().is_ascii_lowercase()
        && upper.start() == lower.start().to_ascii_uppercase();
    is_letter.then_some(lower.start() as u8)
}

/// The character outside ASCII that an upper or lower case of `letter` is.
fn beyond_ascii(letter: u8) -> Option<char> {
    match letter {
        b'k' => Some(KELVIN),
        b's' => Some(LONG_S),
        _ => None,
    }
}

/// Most branches that a pattern is run as one after the other.
const MAX_BRANCHES: usize = 8;

/// `node` as an alternation of concatenations without alternations inside, so `/a(/.*)?` as `/a`
/// and `/a/.*`; none where they would be too many or too long.
fn branches(node: &Node) -> Option<Vec<Vec<&Node>>> {
    let mut all = vec![Vec::new()];
    extend_branches(&mut all, node)?;
    Some(all)
}

fn extend_branches<'a>(branches_so_far: &mut Vec<Vec<&'a Node>>, node: &'a Node) -> Option<()> {
    let mut continued = |choices: Vec<Vec<&'a Node>>| {
        let longest = choices.iter().map(Vec::len).max().unwrap_or(0);
        let too_long = branches_so_far.iter().any(|branch| branch.len() + longest > MAX_PATTERN_LENGTH);
        if branches_so_far.len() * choices.len() > MAX_BRANCHES || too_long {
            return None;
        }
        *branches_so_far = branches_so_far
            .iter()
            .flat_map(|start| choices.iter().map(move |end| [start.as_slice(), end].concat()))
            .collect();
        Some(())
    };
    match node {
        Node::Empty => Some(()),
        Node::Concat(nodes) => nodes.iter().try_for_each(|node| extend_branches(branches_so_far, node)),
        Node::Alternation(nodes) => {
            let choices = nodes.iter().map(branches).collect::<Option<Vec<_>>>()?;
            continued(choices.into_iter().flatten().collect())
        }
        Node::Repeat { node: inner, min: 0, max: Some(1) } if set(inner).is_none() => {
            let mut choices = branches(inner)?;
            choices.push(Vec::new());
            continued(choices)
        }
        node => continued(vec![vec![node]]),
    }
}

/// The set that one character of `node` is in, where it is always one.
fn set(node: &Node) -> Option<Set> {
    match node {
        Node::Class(class) => Set::new(class),
        Node::Text(text) => match text.as_slice() {
            [byte @ ..0x80] => {
                let char = char::from(*byte);
                Set::new(&ClassUnicode::new([ClassUnicodeRange::new(char, char)]))
            }
            _ => None,
        },
        _ => None,
    }
}

/// A pattern of texts and repeated classes, such as `/v[0-9]+/items/[^/]+`, in which every byte
/// says by itself which step it belongs to. Most patterns are of this kind; it takes a hundredth of
/// the memory of an automaton and less time.
#[derive(Debug)]
struct Steps {
    head: Box<[Step]>,
    /// What lies between head and tail. Not certain where it ends when read from the start, but
    /// the tail is of one length.
    gap: Option<(Repeated, usize)>,
    tail: Box<[Step]>,
}

#[derive(Debug)]
enum Step {
    Text(Box<[u8]>),
    /// Text in lower case, of which the case doesn't matter.
    Folded(Box<[u8]>),
    Class(Repeated),
}

#[derive(Debug)]
struct Repeated {
    set: Set,
    min: u32,
    max: u32,
}

/// A class that takes all or none of the characters outside ASCII.
#[derive(Debug)]
struct Set {
    ascii: [u32; 4],
    others: bool,
}

impl Set {
    fn new(class: &ClassUnicode) -> Option<Self> {
        let others = re2::beyond_ascii(class)?;
        let mut ascii = [0; 4];
        for range in class.ranges() {
            for code in range.start() as u32..=(range.end() as u32).min(0x7f) {
                if let Some(word) = ascii.get_mut(code as usize / 32) {
                    *word |= 1 << (code % 32);
                }
            }
        }
        Some(Self { ascii, others })
    }

    fn has(&self, byte: u8) -> bool {
        self.ascii.get(usize::from(byte) / 32).is_some_and(|word| word & (1 << (byte % 32)) != 0)
    }

    /// Whether a character in the set can start with `byte`.
    fn may_take(&self, byte: u8) -> bool {
        if byte.is_ascii() { self.has(byte) } else { self.others }
    }

    fn overlaps(&self, step: &Step) -> bool {
        match step {
            Step::Text(text) => text.first().is_some_and(|&byte| self.may_take(byte)),
            Step::Folded(text) => text.first().is_some_and(|&byte| {
                self.may_take(byte)
                    || self.may_take(byte.to_ascii_uppercase())
                    || self.others && beyond_ascii(byte).is_some()
            }),
            Step::Class(Repeated { set, .. }) => {
                self.others && set.others || self.ascii.iter().zip(set.ascii).any(|(a, b)| a & b != 0)
            }
        }
    }

    /// How long the character is that `text` starts with; none if it isn't in the set.
    fn first(&self, text: &[u8]) -> Option<usize> {
        let byte = *text.first()?;
        if byte.is_ascii() {
            return self.has(byte).then_some(1);
        }
        let length = match byte {
            _ if !self.others => return None,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return None,
        };
        // As loosely as RE2 does.
        text.get(1..length)?.iter().all(|byte| matches!(byte, 0x80..=0xbf)).then_some(length)
    }
}

impl Repeated {
    /// What follows the longest run at the start of `text`; none if it is too short.
    fn strip<'a>(&self, mut text: &'a [u8]) -> Option<&'a [u8]> {
        let mut count = 0;
        while count < self.max
            && let Some(length) = self.set.first(text)
            && let Some(rest) = text.get(length..)
        {
            text = rest;
            count += 1;
        }
        (count >= self.min).then_some(text)
    }
}

impl Steps {
    fn new(nodes: &[&Node]) -> Option<Self> {
        // Both ends are where they have to be anyway.
        let nodes = match nodes {
            [Node::Look(Look::Start), rest @ ..] => rest,
            all => all,
        };
        let nodes = match nodes {
            [rest @ .., Node::Look(Look::End)] => rest,
            all => all,
        };
        let mut head: Vec<Step> = Vec::with_capacity(nodes.len());
        for node in nodes {
            match (head.last_mut(), Step::new(node)?) {
                // Neighbours become one, as far as case permits.
                (Some(Step::Text(text)), Step::Text(more))
                | (Some(Step::Folded(text)), Step::Folded(more)) => {
                    *text = [&**text, &more].concat().into();
                }
                (Some(Step::Folded(text)), Step::Text(more)) if is_caseless(&more) => {
                    *text = [&**text, &more].concat().into();
                }
                (Some(step @ Step::Text(_)), Step::Folded(more)) => {
                    if let Step::Text(text) = step
                        && is_caseless(text)
                    {
                        *step = Step::Folded([&**text, &more].concat().into());
                    } else {
                        head.push(Step::Folded(more));
                    }
                }
                (_, step) => head.push(step),
            }
        }
        let Some(uncertain) = head.iter().enumerate().position(|(index, step)| {
            head.get(index + 1..).is_some_and(|rest| !step.is_certain_before(rest))
        }) else {
            return Some(Self { head: head.into(), gap: None, tail: Box::default() });
        };
        let tail = head.split_off(uncertain + 1);
        let length = tail.iter().map(Step::length).sum::<Option<usize>>()?;
        let Some(Step::Class(gap)) = head.pop() else { return None };
        Some(Self { head: head.into(), gap: Some((gap, length)), tail: tail.into() })
    }

    fn match_all(&self, text: &[u8]) -> bool {
        let Some(rest) = strip_all(&self.head, text) else { return false };
        let Some((gap, length)) = &self.gap else { return rest.is_empty() };
        let Some((middle, end)) =
            rest.len().checked_sub(*length).and_then(|middle| rest.split_at_checked(middle))
        else {
            return false;
        };
        gap.strip(middle).is_some_and(<[u8]>::is_empty)
            && strip_all(&self.tail, end).is_some_and(<[u8]>::is_empty)
    }
}

fn strip_all<'a>(steps: &[Step], text: &'a [u8]) -> Option<&'a [u8]> {
    steps.iter().try_fold(text, |text, step| match step {
        Step::Text(prefix) => text.strip_prefix(&**prefix),
        Step::Folded(prefix) => strip_folded(prefix, text),
        Step::Class(repeated) => repeated.strip(text),
    })
}

/// What follows `prefix`, which is in lower case, at the start of `text` in any case.
fn strip_folded<'a>(prefix: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
    if let Some((start, rest)) = text.split_at_checked(prefix.len())
        && start.eq_ignore_ascii_case(prefix)
    {
        return Some(rest);
    }
    prefix.iter().try_fold(text, |text, &byte| match text.split_first() {
        Some((first, rest)) if first.eq_ignore_ascii_case(&byte) => Some(rest),
        _ => text.strip_prefix(beyond_ascii(byte)?.encode_utf8(&mut [0; 4]).as_bytes()),
    })
}

fn is_caseless(text: &[u8]) -> bool {
    !text.iter().any(u8::is_ascii_alphabetic)
}

/// Whether the case of a letter doesn't matter, and neither does it for the characters outside
/// ASCII that belong to it.
fn is_folded_letter(class: &ClassUnicode) -> bool {
    folded_letter(class).is_some_and(|letter| beyond_ascii(letter).is_some() == (class.ranges().len() > 2))
}

impl Step {
    fn new(node: &Node) -> Option<Self> {
        Some(match node {
            Node::Text(text) => Self::Text(text.as_slice().into()),
            Node::Repeat { node, min, max } => {
                Self::Class(Repeated { set: set(node)?, min: *min, max: max.unwrap_or(u32::MAX) })
            }
            Node::Class(class) if is_folded_letter(class) => {
                Self::Folded(folded_letter(class).into_iter().collect())
            }
            node => Self::Class(Repeated { set: set(node)?, min: 1, max: 1 }),
        })
    }

    /// Whether a run of this step ends at the first byte that isn't in its set, or at its count.
    fn is_certain_before(&self, rest: &[Self]) -> bool {
        let Self::Class(Repeated { set, min, max }) = self else { return true };
        if min == max {
            return true;
        }
        for step in rest {
            if set.overlaps(step) {
                return false;
            }
            if !matches!(step, Self::Class(Repeated { min: 0, .. })) {
                return true;
            }
        }
        true
    }

    /// How many bytes the step takes, where that is certain.
    fn length(&self) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.len()),
            // The characters outside ASCII are longer.
            Self::Folded(text) => {
                (!text.iter().any(|&byte| beyond_ascii(byte).is_some())).then_some(text.len())
            }
            Self::Class(Repeated { set: Set { others: false, .. }, min, max }) if min == max => {
                usize::try_from(*min).ok()
            }
            Self::Class(_) => None,
        }
    }
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
        assert!(matches("(/[a-z]+)*x*", "/a/b") && !matches("(/[a-z]+)*x*", "/a/"));
        assert!(matches(".*", "") && matches(".*", "/x") && !matches(".*", "/\n"));
    }

    #[test]
    fn classes_are_ascii_and_case_folding_is_asked_for() {
        // GAP-17
        assert!(matches(r"\d+", "12") && !matches(r"\d", "٣"));
        assert!(matches("(?i)/abc", "/ABC") && !matches("/abc", "/ABC"));
    }

    /// However a pattern is run, it matches what its automaton does.
    #[test]
    fn steps_match_what_automata_match() {
        let patterns = [
            "(?i)k+",
            "(?i)/s",
            "(?i)kas?",
            "(?i)sk",
            "(?i)k[^/]*",
            "[^/]*(?i:k)",
            "[^/]*(?i:sk)",
            "[^k]*(?i:k)",
            "[a-z]+k",
            "[^a]*(?i:s)",
            ".*(?i:k)",
            "(?i)(k|s)a?",
            "(?i)a/",
            "[^/]+/[^/]+",
            "[ak]*[ks]+",
            "a?k",
            ".{2}",
            "[^a]{1,2}",
            "[^/]{2,}/?",
            "(a|k|/s)[^/]*",
            "(?:ka|s)+",
            "[a/][^a]?k",
            "(?i)é",
            "é*k",
            "[^k]s",
            "[k-s]*/",
            "[/-a]*k",
            "(?i)[^k]",
            "(?i)[ks]+",
            "(?i:k)[^s]*(?i:s)",
            "(?s).k",
            ".k",
            "[^/]*[a-s]",
        ];
        let letters = ["/", "a", "A", "k", "K", "s", "S", "\u{212a}", "\u{17f}", "é", "日", "😀", "\n", "z"];
        let mut texts = vec![String::new()];
        for length in 0..3 {
            let longer: Vec<String> = texts
                .iter()
                .filter(|text| text.chars().count() == length)
                .flat_map(|text| letters.iter().map(move |letter| format!("{text}{letter}")))
                .collect();
            texts.extend(longer);
        }
        let mut texts: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
        texts.extend([&b"k\xff"[..], b"\xe2\x84", b"a\xc3", b"\xf0\x9f\x98", b"/\x80"].map(<[u8]>::to_vec));
        for pattern in patterns {
            let Ok(parsed) = Parsed::new(pattern) else { continue };
            let automaton = parsed.compile_automaton().unwrap();
            let compiled = Pattern::new(pattern).unwrap();
            for text in &texts {
                let expected = run(&automaton, text);
                assert_eq!(compiled.matches(text), expected, "{pattern} on {}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn the_guess_of_a_size_is_never_too_low() {
        let patterns = [
            "a|b*",
            "(a*b?)*",
            "(?:/[a-z]+)*/x",
            "([^/]*/)*[^/]*",
            "(.{3,7}|a?){2,9}",
            "(a|b|c|d|e|f|g|h|i){1,50}",
            "((a?){5,}){3,}",
            "(?i)(kilo|s)+.",
            r"(\bx\B|\C)*(?:)",
            "((((x*)*)*)*)*",
            "([!#%')+/13579;=?ACEGIKMOQSUWY_acegikmoqsuwy]*x)*",
        ];
        for pattern in patterns {
            let parsed = Parsed::new(pattern).unwrap();
            let size = parsed.compile_automaton().unwrap().get_nfa().memory_usage();
            let guess = largest_size(&parsed.0).unwrap();
            assert!(size <= guess + 512, "{pattern}: {size} > {guess}");
        }
        assert_eq!(largest_size(&Parsed::new("[à-ü]*").unwrap().0), None);
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
        assert!(error("(a{1,1000}){1,1000}").contains("multiply to at most 1000"));
        assert!(error(&["(?:é|.{9}){100}"; 9].join("|")).contains("when compiled"));
    }
}
