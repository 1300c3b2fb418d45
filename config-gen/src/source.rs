//! The texts that were read, and places in them.
//!
//! Everything a later step wants to point at carries a [`Span`]; [`Sources`]
//! turns it back into a file name and a line.

use std::ops::Range;

/// A file of [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// A place in a text: a half-open range of bytes and where it begins for a
/// reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// The byte after the last one; equal to `start` for an empty place.
    pub end: u32,
    /// Line of the first byte, counted from 1.
    pub line: u32,
    /// Column of the first byte, counted from 1 in characters.
    pub column: u32,
}

impl Span {
    /// Whether `other` lies inside this span.
    pub fn contains(&self, other: Span) -> bool {
        self.file == other.file && self.start <= other.start && other.end <= self.end
    }

    /// From the beginning of this span to the end of `last`, which must not
    /// lie before it.
    pub fn to(self, last: Span) -> Span {
        Span { end: last.end.max(self.end), ..self }
    }
}

/// One text.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    text: String,
    /// Where each line begins, in bytes. Never empty.
    lines: Vec<u32>,
    /// Where no line may be shown, because it holds a Secret.
    hidden: Vec<Range<usize>>,
}

/// All the texts of one run. A text is added once and never changes, so a
/// [`Span`] stays valid.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// No text at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a text in. `name` is what messages call it: the path as the user
    /// gave it, or `<stdin>`. A byte order mark is dropped.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        let lines = line_starts(&text);
        let hidden = secret_documents(&text);
        self.files.push(Source { name: name.into(), text, lines, hidden });
        id
    }

    /// All files in the order they were added.
    pub fn files(&self) -> impl Iterator<Item = FileId> + use<> {
        (0..self.files.len()).map(|index| FileId(index as u32))
    }

    /// What messages call the file.
    pub fn name(&self, file: FileId) -> &str {
        self.get(file).map_or("", |source| &source.name)
    }

    /// The whole text of the file.
    pub fn text(&self, file: FileId) -> &str {
        self.get(file).map_or("", |source| &source.text)
    }

    /// What stands at `span`, or nothing if it stands in a Secret.
    pub fn snippet(&self, span: Span) -> &str {
        if self.is_hidden(span) {
            return "";
        }
        self.text(span.file).get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// The line that `span` begins on, without its end. `None` if it belongs
    /// to a Secret, whose text is never shown.
    pub fn line(&self, span: Span) -> Option<&str> {
        if self.is_hidden(span) {
            return None;
        }
        let source = self.get(span.file)?;
        let index = span.line.checked_sub(1)? as usize;
        let start = *source.lines.get(index)? as usize;
        let end = source.lines.get(index + 1).map_or(source.text.len(), |next| *next as usize);
        Some(source.text.get(start..end)?.trim_end_matches(['\r', '\n']))
    }

    /// The place of a range of bytes of a file. Bounds outside the text or
    /// inside a character are moved to the nearest earlier character.
    pub fn span(&self, file: FileId, bytes: Range<usize>) -> Span {
        let Some(source) = self.get(file) else {
            return Span { file, line: 1, column: 1, ..Span::default() };
        };
        let start = floor_char_boundary(&source.text, bytes.start);
        let end = floor_char_boundary(&source.text, bytes.end).max(start);
        let index = source.lines.partition_point(|line| *line as usize <= start).saturating_sub(1);
        let line_start = source.lines.get(index).map_or(0, |line| *line as usize);
        let column = source.text.get(line_start..start).map_or(0, |before| before.chars().count());
        Span { file, start: start as u32, end: end as u32, line: index as u32 + 1, column: column as u32 + 1 }
    }

    /// Whether the place lies in a document that holds a Secret.
    pub fn is_hidden(&self, span: Span) -> bool {
        let start = span.start as usize;
        self.get(span.file).is_some_and(|source| {
            source.hidden.iter().any(|range| range.start <= start && start <= range.end)
        })
    }

    fn get(&self, file: FileId) -> Option<&Source> {
        self.files.get(file.0 as usize)
    }
}

/// The nearest place at or before `index` that doesn't split a character.
pub(crate) fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

/// Where lines begin: after `\n`, and after a `\r` that stands alone.
pub(crate) fn line_starts(text: &str) -> Vec<u32> {
    let bytes = text.as_bytes();
    let mut starts = vec![0];
    for (index, byte) in bytes.iter().enumerate() {
        let ends = match byte {
            b'\n' => true,
            b'\r' => bytes.get(index + 1) != Some(&b'\n'),
            _ => false,
        };
        if ends {
            starts.push(index as u32 + 1);
        }
    }
    starts
}

/// The documents that seem to hold a `kind: Secret`, in any notation. This
/// looks at the bare text, since a text with a syntax error has no more than
/// that, and rather hides too much than too little.
fn secret_documents(text: &str) -> Vec<Range<usize>> {
    if !text.contains("Secret") {
        return Vec::new();
    }
    let mut documents = Vec::new();
    let mut start = 0;
    for (index, _) in text.match_indices("\n---") {
        documents.push(start..index + 1);
        start = index + 1;
    }
    documents.push(start..text.len());
    documents.retain(|range| text.get(range.clone()).is_some_and(names_secret));
    documents
}

fn names_secret(document: &str) -> bool {
    document.match_indices("Secret").any(|(index, _)| {
        let before =
            document.get(..index).unwrap_or("").trim_end_matches([' ', '\t', '"', '\'', ':', '\r', '\n']);
        before.ends_with("kind")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let mut sources = Sources::new();
        let file = sources.add("a.yaml", "é: ü\r\nb: c\n");
        let span = sources.span(file, 4..6);
        assert_eq!((span.line, span.column), (1, 4));
        assert_eq!(sources.snippet(span), "ü");
        let span = sources.span(file, 11..12);
        assert_eq!((span.line, span.column), (2, 4));
        assert_eq!(sources.line(span), Some("b: c"));
    }

    #[test]
    fn byte_order_mark_is_dropped() {
        let mut sources = Sources::new();
        let file = sources.add("a.yaml", "\u{feff}a: b");
        assert_eq!(sources.text(file), "a: b");
    }

    #[test]
    fn a_span_outside_the_text_does_no_harm() {
        let mut sources = Sources::new();
        let file = sources.add("a.yaml", "é");
        assert_eq!(sources.span(file, 1..99).start, 0);
        assert_eq!(sources.line(Span { file, line: 9, ..Span::default() }), None);
        assert_eq!(sources.name(FileId(7)), "");
    }

    #[test]
    fn lines_of_secrets_are_hidden() {
        for text in [
            "kind: Secret\ndata: {a: b}",
            "{\"kind\" : \"Secret\", \"data\": {}}",
            "data: x\nkind:   'Secret'",
            "kind: SecretList",
        ] {
            let mut sources = Sources::new();
            let file = sources.add("a.yaml", format!("a: b\n---\n{text}\n---\nc: d\n"));
            let place = |needle: &str| {
                let at = sources.text(file).find(needle).unwrap();
                sources.span(file, at..at + 1)
            };
            assert!(sources.line(place("kind")).is_none(), "{text}");
            assert_eq!(sources.line(place("a: b")), Some("a: b"));
            assert_eq!(sources.line(place("c: d")), Some("c: d"));
        }
    }
}
