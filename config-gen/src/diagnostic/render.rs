//! A [`Diagnostic`] as text, in the manner of rustc.

use std::fmt::Write as _;

use super::{Diagnostic, Severity};
use crate::source::{Sources, Span, floor_char_boundary};

/// A tab counts for this many columns, whatever its position: what matters is
/// that the marks stand below what they mark.
const TAB: &str = "    ";

/// A line longer than this is cut around the marks. JSON often is one line.
const WIDTH: usize = 140;

/// How much of a cut line stays in front of the marks.
const BEFORE: usize = 40;

/// What is written before parts of the text; each is ended by the same sequence.
#[derive(Clone, Copy)]
pub(super) struct Colours {
    title: &'static str,
    message: &'static str,
    frame: &'static str,
    end: &'static str,
}

impl Colours {
    /// Plain text.
    pub(super) const NONE: Self = Self { title: "", message: "", frame: "", end: "" };

    /// For a terminal: bold red, yellow or green for the severity, bold for the sentence, blue around
    /// the source.
    pub(super) fn of(severity: Severity) -> Self {
        let title = match severity {
            Severity::Error => "\u{1b}[1;31m",
            Severity::Warning => "\u{1b}[1;33m",
            Severity::Note => "\u{1b}[1;32m",
        };
        Self { title, message: "\u{1b}[1m", frame: "\u{1b}[1;34m", end: "\u{1b}[0m" }
    }
}

pub(super) fn render(diagnostic: &Diagnostic, sources: &Sources, colours: Colours) -> String {
    let Colours { title, message, frame, end } = colours;
    let mut out = String::new();
    let (severity, code) = (diagnostic.severity, diagnostic.code);
    // Writing to a string can't fail.
    let _ = writeln!(out, "{title}{severity}[{code}]{end}{message}: {}{end}", printable(&diagnostic.message));
    let margin = diagnostic.span.map_or(0, |span| span.line.to_string().len());
    let pad = " ".repeat(margin);
    if let Some(span) = diagnostic.span {
        let _ = writeln!(out, "{pad}{frame}-->{end} {}", place(sources, span));
        if let Some(line) = sources.line(span) {
            let (text, offset, length) = excerpt(line, span);
            let _ = writeln!(out, "{pad} {frame}|{end}");
            let _ = writeln!(out, "{frame}{} |{end} {}", span.line, text);
            let _ =
                writeln!(out, "{pad} {frame}|{end} {}{title}{}{end}", " ".repeat(offset), "^".repeat(length));
        }
    }
    for (words, span) in &diagnostic.related {
        let _ = writeln!(out, "{pad} {frame}={end} note: {words} {}", place(sources, *span));
    }
    let facts = [
        ("resource", diagnostic.resource.as_deref()),
        ("field", diagnostic.field.as_deref()),
        ("spec", diagnostic.rule),
        ("help", diagnostic.way_out()),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            let _ = writeln!(out, "{pad} {frame}={end} {message}{name}{end}: {}", printable(value));
        }
    }
    out
}

fn place(sources: &Sources, span: Span) -> String {
    format!("{}:{}:{}", printable(sources.name(span.file)), span.line, span.column)
}

/// The line as it is shown, and where in it the marks begin and how many there
/// are (at least one).
fn excerpt(line: &str, span: Span) -> (String, usize, usize) {
    let first = (span.column as usize).saturating_sub(1);
    let line_bytes = span.end.saturating_sub(span.start) as usize;
    let marked = line
        .char_indices()
        .nth(first)
        .map_or("", |(start, _)| {
            let rest = line.get(start..).unwrap_or("");
            rest.get(..floor_char_boundary(rest, line_bytes)).unwrap_or("").trim_end()
        })
        .chars()
        .count();
    let chars: Vec<char> = line.chars().collect();
    let (from, to) = if chars.len() > WIDTH {
        let from = first.saturating_sub(BEFORE);
        (from, (from + WIDTH).min(chars.len()))
    } else {
        (0, chars.len())
    };
    let shown = |range: std::ops::Range<usize>| -> String {
        chars.get(range).map_or(String::new(), |part| printable(&part.iter().collect::<String>()))
    };
    let cut_before = if from > 0 { "..." } else { "" };
    let cut_after = if to < chars.len() { "..." } else { "" };
    let prefix = format!("{cut_before}{}", shown(from..first.min(to)));
    let middle = shown(first.min(to)..(first + marked).min(to));
    let suffix = shown((first + marked).min(to)..to);
    let offset = prefix.chars().count();
    let length = middle.chars().count().max(1);
    (format!("{prefix}{middle}{suffix}{cut_after}"), offset, length)
}

/// What came from a file must not steer the terminal, nor break the layout.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str(TAB),
            // Characters that turn the direction of the text around can make
            // it read as something else.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    fn sources(text: &str) -> (Sources, FileId) {
        let mut sources = Sources::new();
        let file = sources.add("a.yaml", text);
        (sources, file)
    }

    fn shown(text: &str, needle: &str) -> String {
        let (sources, file) = sources(text);
        let start = text.find(needle).unwrap();
        let span = sources.span(file, start..start + needle.len());
        Diagnostic::error("a-code", "Something is wrong").at(span).render(&sources)
    }

    #[test]
    fn everything_a_diagnostic_can_say() {
        let (sources, file) = sources("a: 1\nb: 2\n");
        let diagnostic = Diagnostic::error("bad-b", "`b` is bad")
            .at(sources.span(file, 5..6))
            .also("first given at", sources.span(file, 0..1))
            .resource("ServiceEntry default/x")
            .field("spec.b")
            .rule("SE-01")
            .help("leave it out");
        let expected = "\
error[bad-b]: `b` is bad
 --> a.yaml:2:1
  |
2 | b: 2
  | ^
  = note: first given at a.yaml:1:1
  = resource: ServiceEntry default/x
  = field: spec.b
  = spec: SE-01
  = help: leave it out
";
        assert_eq!(diagnostic.render(&sources), expected);
    }

    #[test]
    fn tabs_and_carriage_returns_keep_the_marks_in_place() {
        let expected = "\
error[a-code]: Something is wrong
 --> a.yaml:1:5
  |
1 | a:     bäd
  |        ^^^
";
        assert_eq!(shown("a:\t bäd\r\nc: d\r\n", "bäd"), expected);
    }

    #[test]
    fn a_long_line_is_cut_and_a_long_span_ends_with_its_line() {
        let long =
            format!("{{\"a\": \"{}\", \"needle\": 1, \"b\": \"{}\"}}", "x".repeat(500), "y".repeat(500));
        let text = shown(&long, "\"needle\"");
        assert!(text.lines().all(|line| line.chars().count() < 160), "{text}");
        assert!(text.contains("..."), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[3].find("\"needle\""), lines[4].find('^'), "{text}");

        let text = shown("a: b\nc: d\n", "b\nc: d");
        assert!(text.ends_with("  |    ^\n"), "{text}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let (sources, _) = sources("");
        let text = Diagnostic::error("x", "\u{1b}[2J and \u{202e}").render(&sources);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
    }
}
