//! What lines of a listing have in common, written once: a hundred thousand services are a megabyte in each VM in place of
//! four. A line is found by an offset into the text, so what it needs stands a few lines before it.

use crate::listing::{Listed, Listing};

/// Begins a line of what the lines after it have in common.
pub(crate) const COMMON: u8 = 1;

/// At the start of a domain: the name of its virtual host.
pub(crate) const NAME: char = '\u{2}';

/// At the end of a domain: [`Common::end`].
pub(crate) const END: char = '\u{3}';

/// So many lines follow such a line at most.
pub(crate) const MOST_LINES: usize = 32;

/// What lines have in common; both may be empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Common<'l> {
    /// What names begin with.
    pub(crate) beginning: &'l str,
    /// What domains can end in.
    pub(crate) end: &'l str,
}

impl<'l> Common<'l> {
    /// None where `line` isn't one.
    pub(crate) fn parse(line: &'l str) -> Option<Self> {
        let (first, rest) = line.as_bytes().split_first()?;
        if *first != COMMON {
            return None;
        }
        if rest.iter().any(u8::is_ascii_control) {
            return None;
        }
        // Names may have spaces, domains don't.
        let space = memchr::memrchr(b' ', rest)?;
        Some(Self { beginning: line.get(1..=space)?, end: line.get(space + 2..)? })
    }
}

/// The text of `listing`, packed.
pub(crate) fn pack(listing: &Listing) -> String {
    let mut lines = listing.iter().map(Line::of).peekable();
    let mut packed = String::new();
    let mut block = Vec::with_capacity(MOST_LINES);
    while let Some(first) = lines.next() {
        let (mut beginning, mut end) = (first.name.clone(), first.end().to_owned());
        block.clear();
        block.push(first);
        while let Some(next) = lines.peek().filter(|_| block.len() < MOST_LINES) {
            let shorter = (common_start(&beginning, &next.name), common_end(&end, next.end()));
            let lost = beginning.len() + end.len() - shorter.0.len() - shorter.1.len();
            // What another line of what is common would take.
            if lost * block.len() > shorter.0.len() + shorter.1.len() + 3 {
                break;
            }
            (beginning, end) = (shorter.0.to_owned(), shorter.1.to_owned());
            block.extend(lines.next());
        }
        packed.push(char::from(COMMON));
        packed.push_str(&format!("{beginning} {end}\n"));
        let common = Common { beginning: &beginning, end: &end };
        block.iter().for_each(|line| line.write(common, &mut packed));
    }
    packed
}

/// A virtual host in words.
struct Line {
    name: String,
    domains: Vec<String>,
}

impl Line {
    fn of(listed: Listed<'_>) -> Self {
        let domains = listed.words().map(|(_, domain)| domain.to_string()).collect();
        Self { name: listed.name().to_string(), domains }
    }

    /// What its longest domain ends in behind the name.
    fn end(&self) -> &str {
        let longest = self.domains.iter().max_by_key(|domain| domain.len()).map_or("", String::as_str);
        longest.strip_prefix(&self.name).unwrap_or(longest)
    }

    fn write(&self, common: Common<'_>, packed: &mut String) {
        packed.push_str(self.name.strip_prefix(common.beginning).unwrap_or_default());
        packed.push(':');
        for domain in &self.domains {
            packed.push(' ');
            let mut rest = domain.as_str();
            if let Some(after) = rest.strip_prefix(&self.name) {
                packed.push(NAME);
                rest = after;
            }
            match rest.strip_suffix(common.end).filter(|_| !common.end.is_empty()) {
                Some(before) => {
                    packed.push_str(before);
                    packed.push(END);
                }
                None => packed.push_str(rest),
            }
        }
        packed.push('\n');
    }
}

/// What both begin with.
fn common_start<'t>(one: &'t str, other: &str) -> &'t str {
    let mut pairs = one.char_indices().zip(other.chars());
    let end = pairs.find(|((_, a), b)| a != b).map_or(one.len().min(other.len()), |((index, _), _)| index);
    one.get(..end).unwrap_or_default()
}

/// What both end in.
fn common_end<'t>(one: &'t str, other: &str) -> &'t str {
    let mut pairs = one.char_indices().rev().zip(other.chars().rev());
    let length = pairs
        .find(|((_, a), b)| a != b)
        .map_or(one.len().min(other.len()), |((index, a), _)| one.len() - index - a.len_utf8());
    one.get(one.len() - length..).unwrap_or_default()
}
