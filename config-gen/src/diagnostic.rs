//! What is wrong with the input, or worth knowing about it.
//!
//! A [`Diagnostic`] owes its reader a stable code, one sentence, the place,
//! and a way out. Steps collect them in [`Diagnostics`] and go on, so that one
//! run shows everything.

mod render;

use std::fmt;

use crate::analysis::messages;
use crate::source::{Sources, Span};
use render::Colours;

/// How grave a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing may be generated.
    Error,
    /// Something is generated, but perhaps not what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// Stable name of this sort of finding, in kebab-case.
    pub code: &'static str,
    /// One sentence without a full stop; code stands in backticks.
    pub message: String,
    /// Where.
    pub span: Option<Span>,
    /// Other places that belong to it, each with a few words ("first given").
    pub related: Vec<(String, Span)>,
    /// Which resource, as `Kind namespace/name`.
    pub resource: Option<String>,
    /// Which field, as `spec.ports[0].number`.
    pub field: Option<String>,
    /// ID of the row of the specification it rests on, as `VAL-SE-03`.
    pub rule: Option<&'static str>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Codes of errors on what Istio accepts: what is not supported here, or too dangerous.
const BY_CHOICE: [&str; 7] = [
    "not-supported",
    "refused-kind",
    "retired-kind",
    "unknown-kind",
    "partial-wildcard",
    "reserved-header",
    "duplicate-object",
];

impl Diagnostic {
    /// An error that says nothing but `message` so far.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A warning that says nothing but `message` so far.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// A note that says nothing but `message` so far.
    pub fn note(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message)
    }

    fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            message: message.into(),
            span: None,
            related: Vec::new(),
            resource: None,
            field: None,
            rule: None,
            help: None,
        }
    }

    /// Says where.
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Adds another place; `words` go before it, as in "first given at".
    pub fn also(mut self, words: impl Into<String>, span: Span) -> Self {
        self.related.push((words.into(), span));
        self
    }

    /// Says which resource.
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Says which field.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says which row of the specification.
    pub fn rule(mut self, rule: &'static str) -> Self {
        self.rule = Some(rule);
        self
    }

    /// Says what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether this is an error here alone: Istio's schema and webhook have nothing against it.
    pub fn refused_by_choice(&self) -> bool {
        self.severity == Severity::Error && BY_CHOICE.contains(&self.code)
    }

    /// What to do about it: what the finding says itself, else what is known of its code.
    pub fn way_out(&self) -> Option<&str> {
        self.help.as_deref().or_else(|| Some(messages::find(self.code)?.way_out))
    }

    /// As [`Self::render`], with colours for a terminal. They mean nothing that the text doesn't say.
    pub fn render_coloured(&self, sources: &Sources) -> String {
        render::render(self, sources, Colours::of(self.severity))
    }

    /// The finding as text of several lines with the source line it is about,
    /// ending in a line end.
    pub fn render(&self, sources: &Sources) -> String {
        render::render(self, sources, Colours::NONE)
    }
}

/// Findings in the order they came up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// No finding.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Adds all findings of `others`.
    pub fn extend(&mut self, others: impl IntoIterator<Item = Diagnostic>) {
        self.list.extend(others);
    }

    /// Whether there is an error, so that nothing may be generated.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many findings have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// All findings.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many findings there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no finding.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Puts the findings in the order of the text; those without a place come
    /// last. Findings of one place keep their order.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|diagnostic| {
            (diagnostic.span.is_none(), diagnostic.span.map(|span| (span.file, span.start)))
        });
    }

    /// All findings as text, with an empty line between them.
    pub fn render(&self, sources: &Sources) -> String {
        let blocks: Vec<String> = self.iter().map(|diagnostic| diagnostic.render(sources)).collect();
        blocks.join("\n")
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Diagnostic> {
        self.list.iter_mut()
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(list: I) -> Self {
        Self { list: list.into_iter().collect() }
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
