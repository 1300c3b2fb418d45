//! Findings for an editor: their places in the units that JavaScript counts in.

use std::collections::HashMap;

use config_gen::diagnostic::Diagnostics;
use config_gen::report;
use config_gen::source::{FileId, Sources, Span};
use serde_json::{Value, json};

use crate::options::Text;

/// All findings in the order of the texts.
pub(crate) fn json(findings: &Diagnostics, sources: &Sources, texts: &[Text]) -> Value {
    let mut findings = findings.clone();
    findings.sort();
    let mut offsets = Offsets { sources, texts, known: HashMap::new() };
    let finding = |finding| {
        let mut value = report::finding(finding, sources);
        if let Some(span) = finding.span {
            let (from, to) = offsets.of(span);
            value["from"] = json!(from);
            value["to"] = json!(to);
        }
        value
    };
    findings.iter().map(finding).collect()
}

/// Counts code units of UTF-16, file by file.
struct Offsets<'a> {
    sources: &'a Sources,
    texts: &'a [Text],
    known: HashMap<FileId, Units>,
}

/// How bytes of a text become code units.
enum Units {
    /// Each byte is one, behind so many in front of the text.
    Bytes(u32),
    /// The code units before each line.
    Lines(Vec<(u32, u32)>),
}

impl Offsets<'_> {
    fn of(&mut self, span: Span) -> (u32, u32) {
        let Self { sources, texts, known } = self;
        let text = sources.text(span.file);
        let units = known.entry(span.file).or_insert_with(|| {
            // What reads the text drops a byte order mark.
            let index = sources.files().position(|file| file == span.file);
            let given = index.and_then(|index| texts.get(index)).map_or(text, |given| given.text.as_str());
            Units::of(text, u32::from(given.len() > text.len()))
        });
        (units.before(text, span.start), units.before(text, span.end))
    }
}

impl Units {
    fn of(text: &str, first: u32) -> Self {
        if text.is_ascii() {
            return Self::Bytes(first);
        }
        let mut lines = vec![(0, first)];
        let (mut bytes, mut units) = (0, first);
        for line in text.split_inclusive('\n') {
            bytes += line.len() as u32;
            units += line.encode_utf16().count() as u32;
            lines.push((bytes, units));
        }
        Self::Lines(lines)
    }

    fn before(&self, text: &str, byte: u32) -> u32 {
        match self {
            Self::Bytes(first) => first + byte,
            Self::Lines(lines) => {
                let index = lines.partition_point(|(start, _)| *start <= byte).saturating_sub(1);
                let (start, units) = lines.get(index).copied().unwrap_or_default();
                let rest = text.get(start as usize..byte as usize).unwrap_or_default();
                units + rest.encode_utf16().count() as u32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use config_gen::diagnostic::Diagnostic;

    use super::*;

    #[test]
    fn places_are_counted_as_javascript_does() {
        for (text, needle, from) in [
            ("a: b\nc: d\n", "d", 8),
            ("\u{feff}a: b\n", "b", 4),
            ("é: \u{1f6a2}\nü: ship\n", "ship", 9),
            ("\u{feff}é: \u{1f6a2}\nü: ship", "ship", 10),
        ] {
            let mut sources = Sources::new();
            let file = sources.add("a.yaml", text);
            let at = sources.text(file).find(needle).unwrap();
            let mut findings = Diagnostics::new();
            findings.push(Diagnostic::error("x", "y").at(sources.span(file, at..at + needle.len())));
            let texts = [Text { name: "a.yaml".to_owned(), text: text.to_owned() }];
            let found = &json(&findings, &sources, &texts)[0];
            assert_eq!((&found["from"], &found["to"]), (&json!(from), &json!(from + needle.len())), "{text}");
            let units: Vec<u16> = text.encode_utf16().collect();
            assert_eq!(String::from_utf16_lossy(&units[from..from + needle.len()]), needle);
        }
    }
}
