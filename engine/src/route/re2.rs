//! RE2's syntax, read by RE2's rules.
//!
//! The parser of the `regex` crate reads a dialect that differs in small things: nested classes
//! and set operations, flags, Perl classes, escapes, repetition of repetition. A pattern must not
//! mean one thing here and another in Envoy, so RE2's syntax is read by a parser of our own, into
//! a tree that any automaton can be built from.

use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Dot, Hir, Look, Repetition,
};

/// RE2's limit of a repetition count, and of the product of nested ones.
const MAX_REPEAT: u32 = 1000;

/// Most groups inside one another. A pattern of the allowed length could nest five hundred, and
/// what walks the tree is recursive.
const MAX_NESTING: usize = 100;

/// A regular expression as a tree. Groups are gone: who asks whether a text matches as a whole
/// asks for no captures, and greedy or not makes no difference.
#[derive(Debug)]
pub(super) enum Node {
    /// The empty string.
    Empty,
    /// These bytes, never none.
    Text(Vec<u8>),
    /// One character of a set.
    Class(ClassUnicode),
    /// One byte, `\C`.
    AnyByte,
    /// A place between characters.
    Look(Look),
    /// `min` to `max` times.
    Repeat { node: Box<Node>, min: u32, max: Option<u32> },
    /// One after the other.
    Concat(Vec<Node>),
    /// One of them.
    Alternation(Vec<Node>),
}

impl Node {
    /// The tree as `regex-syntax` has it.
    pub(super) fn to_hir(&self) -> Hir {
        match self {
            Self::Empty => Hir::empty(),
            Self::Text(text) => Hir::literal(text.as_slice()),
            Self::Class(class) => class_to_hir(class),
            Self::AnyByte => Hir::dot(Dot::AnyByte),
            Self::Look(look) => Hir::look(*look),
            Self::Repeat { node, min, max } => Hir::repetition(Repetition {
                min: *min,
                max: *max,
                greedy: true,
                sub: Box::new(node.to_hir()),
            }),
            Self::Concat(nodes) => Hir::concat(nodes.iter().map(Self::to_hir).collect()),
            Self::Alternation(nodes) => Hir::alternation(nodes.iter().map(Self::to_hir).collect()),
        }
    }

    /// What is left of `budget` after dividing it by the counts of nested repetitions; RE2 refuses
    /// what leaves nothing.
    fn repeat_budget(&self, budget: u32) -> u32 {
        match self {
            Self::Repeat { node, min, max } => node.repeat_budget(budget / max.unwrap_or(*min).max(1)),
            Self::Concat(nodes) | Self::Alternation(nodes) => {
                nodes.iter().map(|node| node.repeat_budget(budget)).min().unwrap_or(budget)
            }
            Self::Empty | Self::Text(_) | Self::Class(_) | Self::AnyByte | Self::Look(_) => budget,
        }
    }
}

/// Whether `class` has all or none of the characters outside ASCII.
pub(super) fn beyond_ascii(class: &ClassUnicode) -> Option<bool> {
    let count = class.ranges().iter().filter(|range| !range.end().is_ascii()).map(|range| {
        // With the surrogates, which no range can leave out.
        range.end() as u32 - (range.start() as u32).max(0x80) + 1
    });
    match count.sum() {
        0u32 => Some(false),
        0x10_ff80 => Some(true),
        _ => None,
    }
}

/// Characters outside ASCII, where all are meant, are recognized by their length only. So does RE2:
/// an automaton of a few states instead of many, and what is too long or a surrogate is taken.
fn class_to_hir(class: &ClassUnicode) -> Hir {
    if beyond_ascii(class) != Some(true) {
        return Hir::class(Class::Unicode(class.clone()));
    }
    let bytes = |start, end| Hir::class(Class::Bytes(ClassBytes::new([ClassBytesRange::new(start, end)])));
    let next = || bytes(0x80, 0xbf);
    let ascii = class
        .ranges()
        .iter()
        .filter(|range| range.start().is_ascii())
        .map(|range| ClassBytesRange::new(range.start() as u8, (range.end() as u32).min(0x7f) as u8));
    Hir::alternation(vec![
        Hir::class(Class::Bytes(ClassBytes::new(ascii))),
        Hir::concat(vec![bytes(0xc2, 0xdf), next()]),
        Hir::concat(vec![bytes(0xe0, 0xef), next(), next()]),
        Hir::concat(vec![bytes(0xf0, 0xf4), next(), next(), next()]),
    ])
}

/// What is wrong with a pattern, and the way out.
type Fault = std::borrow::Cow<'static, str>;

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    /// `i`
    fold_case: bool,
    /// `m`
    multi_line: bool,
    /// `s`
    dot_newline: bool,
}

/// What is open: the whole pattern or a group.
#[derive(Debug, Default)]
struct Frame {
    branches: Vec<Node>,
    items: Vec<Node>,
    /// Literal bytes that aren't in `items` yet, and where their last character starts.
    text: Vec<u8>,
    last: usize,
    /// The flags around the group.
    outer: Flags,
}

impl Frame {
    fn push(&mut self, node: Node) {
        self.flush();
        self.items.push(node);
    }

    fn push_char(&mut self, char: char) {
        self.last = self.text.len();
        self.text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.items.push(Node::Text(std::mem::take(&mut self.text)));
        }
    }

    /// Takes what a repetition operator applies to.
    fn pop(&mut self) -> Option<Node> {
        if self.text.is_empty() {
            return self.items.pop();
        }
        let char = self.text.split_off(self.last);
        self.flush();
        Some(Node::Text(char))
    }

    fn close_branch(&mut self) {
        self.flush();
        let mut items = std::mem::take(&mut self.items);
        self.branches.push(match items.len() {
            0 => Node::Empty,
            1 => items.pop().unwrap_or(Node::Empty),
            _ => Node::Concat(items),
        });
    }

    fn close(mut self) -> Node {
        self.close_branch();
        if self.branches.len() == 1 {
            return self.branches.pop().unwrap_or(Node::Empty);
        }
        Node::Alternation(self.branches)
    }
}

/// Reads `pattern`.
pub(super) fn parse(pattern: &str) -> Result<Node, Fault> {
    let mut parser = Parser { rest: pattern, flags: Flags::default() };
    let mut open: Vec<Frame> = Vec::new();
    let mut frame = Frame::default();
    // Whether the last thing read was a repetition operator: RE2 takes no second one.
    let mut repeated = false;
    while let Some(char) = parser.next() {
        let was_repeated = std::mem::take(&mut repeated);
        match char {
            '(' => match parser.open_group()? {
                Opened::Flags => {}
                Opened::Group { outer } => {
                    if open.len() >= MAX_NESTING {
                        return Err(format!("more than {MAX_NESTING} groups inside one another").into());
                    }
                    open.push(std::mem::replace(&mut frame, Frame { outer, ..Frame::default() }));
                }
            },
            ')' => {
                let outside = open.pop().ok_or("unopened group")?;
                parser.flags = frame.outer;
                let group = std::mem::replace(&mut frame, outside).close();
                frame.push(group);
            }
            '|' => frame.close_branch(),
            '*' | '+' | '?' | '{' => {
                let (min, max) = match char {
                    '*' => (0, None),
                    '+' => (1, None),
                    '?' => (0, Some(1)),
                    _ => match parser.counts() {
                        Some(counts) => counts,
                        None => {
                            parser.literal(&mut frame, char)?;
                            continue;
                        }
                    },
                };
                if was_repeated {
                    return Err("a repetition operator follows another, which RE2 has no meaning for; \
                                put the inner one into a group: `(?:a*)*`"
                        .into());
                }
                if max.is_some_and(|max| max < min) {
                    return Err("the counts of a repetition are in the wrong order".into());
                }
                if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT) {
                    return Err(format!("a repetition counts to at most {MAX_REPEAT} in RE2").into());
                }
                parser.skip('?');
                let node = frame.pop().ok_or("repetition operator missing expression")?;
                let node = Node::Repeat { node: Box::new(node), min, max };
                if (min >= 2 || max.is_some_and(|max| max >= 2)) && node.repeat_budget(MAX_REPEAT) == 0 {
                    return Err(format!(
                        "repetitions inside one another multiply to at most {MAX_REPEAT} in RE2"
                    )
                    .into());
                }
                frame.push(node);
                repeated = true;
            }
            '^' => {
                frame.push(Node::Look(if parser.flags.multi_line { Look::StartLF } else { Look::Start }));
            }
            '$' => frame.push(Node::Look(if parser.flags.multi_line { Look::EndLF } else { Look::End })),
            '.' => {
                let newline = ClassUnicodeRange::new('\n', '\n');
                let mut class = ClassUnicode::new((!parser.flags.dot_newline).then_some(newline));
                class.negate();
                frame.push(Node::Class(class));
            }
            '[' => {
                let class = parser.class()?;
                frame.push(Node::Class(class));
            }
            '\\' => parser.escape(&mut frame)?,
            char => parser.literal(&mut frame, char)?,
        }
    }
    if open.is_empty() { Ok(frame.close()) } else { Err("unclosed group".into()) }
}

struct Parser<'a> {
    rest: &'a str,
    flags: Flags,
}

enum Opened {
    /// `(?i)`: flags for what follows.
    Flags,
    Group {
        outer: Flags,
    },
}

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        Some(next)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip(&mut self, char: char) -> bool {
        let rest = self.rest.strip_prefix(char);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn literal(&self, frame: &mut Frame, char: char) -> Result<(), Fault> {
        if !self.flags.fold_case {
            frame.push_char(char);
            return Ok(());
        }
        let class = self.folded(ClassUnicode::new([ClassUnicodeRange::new(char, char)]))?;
        match class.ranges() {
            [only] if only.len() == 1 => frame.push_char(char),
            _ => frame.push(Node::Class(class)),
        }
        Ok(())
    }

    /// Reads what follows `(`.
    fn open_group(&mut self) -> Result<Opened, Fault> {
        let outer = self.flags;
        let Some(rest) = self.rest.strip_prefix('?') else { return Ok(Opened::Group { outer }) };
        if rest.starts_with(['=', '!']) || rest.starts_with("<=") || rest.starts_with("<!") {
            return Err("look-around, including look-ahead and look-behind, is not supported".into());
        }
        if let Some(rest) = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<')) {
            let (name, rest) = rest.split_once('>').ok_or("the name of a group isn't closed with `>`")?;
            if name.is_empty() || !name.bytes().all(is_word) {
                return Err("the name of a group is made of letters, digits and `_`".into());
            }
            self.rest = rest;
            return Ok(Opened::Group { outer });
        }
        self.rest = rest;
        let mut flags = self.flags;
        let mut value = true;
        let mut dangling = false;
        loop {
            let Some(char) = self.next() else { return Err("unclosed group".into()) };
            match char {
                'i' => flags.fold_case = value,
                'm' => flags.multi_line = value,
                's' => flags.dot_newline = value,
                // Greedy or not: no difference where the whole text must match.
                'U' => {}
                '-' if value => {
                    value = false;
                    dangling = true;
                    continue;
                }
                ':' | ')' if dangling => return Err("`-` in a group's flags needs a flag behind it".into()),
                ':' => {
                    self.flags = flags;
                    return Ok(Opened::Group { outer });
                }
                ')' => {
                    self.flags = flags;
                    return Ok(Opened::Flags);
                }
                other => {
                    return Err(format!(
                        "`(?{}` is no group of RE2's; the flags are `i`, `m`, `s` and `U`, a group is \
                         `(...)`, `(?:...)` or `(?P<name>...)`",
                        other.escape_debug()
                    )
                    .into());
                }
            }
            dangling = false;
        }
    }

    /// Reads the counts after `{`; none where it is no repetition and `{` stands for itself.
    fn counts(&mut self) -> Option<(u32, Option<u32>)> {
        let (min, rest) = integer(self.rest)?;
        let (max, rest) = match rest.strip_prefix(',') {
            None => (Some(min), rest),
            Some(rest) if rest.starts_with('}') => (None, rest),
            Some(rest) => integer(rest).map(|(max, rest)| (Some(max), rest))?,
        };
        self.rest = rest.strip_prefix('}')?;
        Some((min, max))
    }

    /// Reads what follows `\` outside a class.
    fn escape(&mut self, frame: &mut Frame) -> Result<(), Fault> {
        if let Some(class) = self.perl_class()? {
            frame.push(Node::Class(class));
            return Ok(());
        }
        let node = match self.peek() {
            Some('A') => Node::Look(Look::Start),
            Some('z') => Node::Look(Look::End),
            Some('b') => Node::Look(Look::WordAscii),
            Some('B') => Node::Look(Look::WordAsciiNegate),
            Some('C') => Node::AnyByte,
            Some('Q') => {
                self.next();
                let (text, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
                for char in text.chars() {
                    self.literal(frame, char)?;
                }
                self.rest = rest;
                return Ok(());
            }
            _ => {
                let char = self.escaped_char()?;
                return self.literal(frame, char);
            }
        };
        self.next();
        frame.push(node);
        Ok(())
    }

    /// The class that is named after `\`: `\d` and its like.
    fn perl_class(&mut self) -> Result<Option<ClassUnicode>, Fault> {
        let ranges: &[(char, char)] = match self.peek() {
            Some('d' | 'D') => &[('0', '9')],
            Some('s' | 'S') => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
            Some('w' | 'W') => &WORD,
            Some('p' | 'P') => {
                return Err("the filter carries no Unicode tables for `\\p` and `\\P`; \
                            write the characters as a class, such as `[A-Za-z\\x{c0}-\\x{24f}]`"
                    .into());
            }
            _ => return Ok(None),
        };
        let negated = self.next().is_some_and(|char| char.is_ascii_uppercase());
        self.named(ranges, negated).map(Some)
    }

    fn named(&self, ranges: &[(char, char)], negated: bool) -> Result<ClassUnicode, Fault> {
        let ranges = ranges.iter().map(|&(start, end)| ClassUnicodeRange::new(start, end));
        let mut class = self.folded(ClassUnicode::new(ranges))?;
        if negated {
            class.negate();
        }
        Ok(class)
    }

    /// Reads the one character that follows `\`.
    fn escaped_char(&mut self) -> Result<char, Fault> {
        let Some(char) = self.next() else {
            return Err("a `\\` at the end escapes nothing; write `\\\\` for a backslash".into());
        };
        let octal = |char: char| char.to_digit(8);
        let code = match char {
            '1'..='7' if self.peek().is_none_or(|next| octal(next).is_none()) => {
                return Err("backreferences are not supported".into());
            }
            '0'..='7' => {
                let mut code = octal(char).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(octal) else { break };
                    code = code * 8 + digit;
                    self.next();
                }
                code
            }
            'x' => self.hexadecimal()?,
            'a' => 0x07,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            'Z' => {
                return Err("`\\Z` is no escape of RE2's; the whole text must match anyway, \
                            and `\\z` is its end"
                    .into());
            }
            char if char.is_ascii() && !char.is_ascii_alphanumeric() => return Ok(char),
            char => {
                return Err(format!(
                    "`\\{}` is no escape of RE2's; a letter stands for itself without `\\`, \
                     any other character as `\\x{{...}}`",
                    char.escape_debug()
                )
                .into());
            }
        };
        char::from_u32(code).ok_or_else(|| format!("`\\x{{{code:x}}}` is no character").into())
    }

    /// Reads what follows `\x`.
    fn hexadecimal(&mut self) -> Result<u32, Fault> {
        const FAULT: &str = "`\\x` needs two hexadecimal digits, or some in braces: `\\x2f`, `\\x{2f}`";
        let (digits, rest) = match self.rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}').ok_or(FAULT)?,
            None => self.rest.split_at_checked(2).ok_or(FAULT)?,
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(FAULT.into());
        }
        self.rest = rest;
        u32::from_str_radix(digits.trim_start_matches('0'), 16).or_else(|_| {
            if digits.bytes().all(|byte| byte == b'0') { Ok(0) } else { Err("no such character".into()) }
        })
    }

    /// Reads what follows `[`.
    fn class(&mut self) -> Result<ClassUnicode, Fault> {
        const UNCLOSED: &str = "unclosed character class";
        let negated = self.skip('^');
        let mut class = ClassUnicode::empty();
        let mut plain = ClassUnicode::empty();
        let mut first = true;
        loop {
            let start = self.next().ok_or(UNCLOSED)?;
            match start {
                ']' if !first => break,
                '[' if self.rest.starts_with(':') => {
                    // Without an end it is a `[` like any other.
                    if let Some((name, rest)) = self.rest.get(1..).and_then(|rest| rest.split_once(":]")) {
                        let (name, without) = match name.strip_prefix('^') {
                            Some(name) => (name, true),
                            None => (name, false),
                        };
                        let ranges = posix_class(name)
                            .ok_or_else(|| format!("`[:{}:]` is no class of RE2's", name.escape_debug()))?;
                        self.rest = rest;
                        class.union(&self.named(ranges, without)?);
                        first = false;
                        continue;
                    }
                }
                '\\' => {
                    if let Some(named) = self.perl_class()? {
                        class.union(&named);
                        first = false;
                        continue;
                    }
                }
                _ => {}
            }
            first = false;
            let start = if start == '\\' { self.escaped_char()? } else { start };
            let mut end = start;
            if let Some(rest) = self.rest.strip_prefix('-')
                && !rest.starts_with(']')
            {
                self.rest = rest;
                end = self.next().ok_or(UNCLOSED)?;
                if end == '\\' {
                    end = self.escaped_char()?;
                }
                if end < start {
                    return Err("a range in a character class ends before it starts".into());
                }
            }
            plain.push(ClassUnicodeRange::new(start, end));
        }
        class.union(&self.folded(plain)?);
        if negated {
            class.negate();
        }
        Ok(class)
    }

    /// `class` in both cases, where the flag `i` asks for it.
    fn folded(&self, mut class: ClassUnicode) -> Result<ClassUnicode, Fault> {
        if !self.flags.fold_case {
            return Ok(class);
        }
        let mut folded = ClassUnicode::empty();
        for range in class.ranges() {
            if !range.end().is_ascii() {
                return Err("the filter carries no Unicode tables for the other case of a character \
                            outside ASCII; write both instead of the flag `i`"
                    .into());
            }
            for (first, last) in [('a', 'z'), ('A', 'Z')] {
                let (start, end) = (range.start().max(first), range.end().min(last));
                if start <= end {
                    // The two cases of an ASCII letter differ in one bit.
                    let other = |char: char| char::from(char as u8 ^ 0x20);
                    folded.push(ClassUnicodeRange::new(other(start), other(end)));
                }
            }
        }
        class.union(&folded);
        // The two characters outside ASCII whose other case is inside.
        for (letter, other) in [('k', KELVIN), ('s', LONG_S)] {
            if class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&letter)) {
                class.push(ClassUnicodeRange::new(other, other));
            }
        }
        Ok(class)
    }
}

/// The sign of the unit, another upper case of `k`.
pub(super) const KELVIN: char = '\u{212a}';

/// The old form of `s`.
pub(super) const LONG_S: char = '\u{17f}';

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A number without leading zero, and what follows it. One too large is cut: it is above the limit
/// in any case.
fn integer(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    if digits.is_empty() || digits.len() > 9 || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().ok()?, rest))
}

const WORD: [(char, char); 4] = [('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

fn posix_class(name: &str) -> Option<&'static [(char, char)]> {
    Some(match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &WORD,
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    })
}
