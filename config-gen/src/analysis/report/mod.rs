//! Findings in the forms that people and programs read.

mod github;
mod json;
mod junit;
mod sarif;
mod text;

use super::Analysis;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::options::{Options, Profile};
use crate::source::Sources;

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a person, with the lines that are meant.
    Text,
    /// For programs.
    Json,
    /// SARIF 2.1.0, which code hosts show beside the lines.
    Sarif,
    /// JUnit's XML, which CI systems show as tests.
    Junit,
    /// Workflow commands of GitHub Actions.
    Github,
}

/// What is reported.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The findings.
    pub findings: &'a Diagnostics,
    /// The texts they are about.
    pub sources: &'a Sources,
    /// Whose reading they are judged by.
    pub profile: Profile,
    /// The client's namespace.
    pub client_namespace: &'a str,
    /// How many findings somebody has chosen not to see.
    pub suppressed: usize,
}

impl<'a> Report<'a> {
    /// A report on what was found with these options.
    pub fn new(analysis: &'a Analysis, sources: &'a Sources, options: &'a Options) -> Self {
        let Options { profile, client_namespace, .. } = options;
        let Analysis { findings, suppressed } = analysis;
        Self { findings, sources, profile: *profile, client_namespace, suppressed: *suppressed }
    }

    /// The report in `format`; `colour` is for the text alone.
    pub fn render(&self, format: Format, colour: bool) -> String {
        match format {
            Format::Text => text::render(self, colour),
            Format::Json => json::render(self),
            Format::Sarif => sarif::render(self),
            Format::Junit => junit::render(self),
            Format::Github => github::render(self),
        }
    }

    /// One line, such as `2 errors, 1 warning; judged by profile istio for clients of namespace default`.
    pub fn summary(&self) -> String {
        let counts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
            .into_iter()
            .map(|severity| (self.findings.count(severity), severity))
            .filter(|(count, _)| *count > 0)
            .map(|(count, severity)| format!("{count} {severity}{}", if count == 1 { "" } else { "s" }))
            .collect();
        let counts = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
        let suppressed = match self.suppressed {
            0 => String::new(),
            count => format!(", {count} suppressed"),
        };
        format!(
            "{counts}{suppressed}; judged by profile {} for clients of namespace {}",
            self.profile, self.client_namespace
        )
    }

    /// The name of the file and the place in it.
    fn place(&self, finding: &Diagnostic) -> Option<(&'a str, u32, u32)> {
        let span = finding.span?;
        Some((self.sources.name(span.file), span.line, span.column))
    }
}

/// Where the page of a code is, for reports that have a link.
fn page(code: &str) -> Option<String> {
    let repository = option_env!("CARGO_PKG_REPOSITORY").filter(|repository| !repository.is_empty());
    let page = super::messages::find(code)?.page();
    repository.map(|repository| format!("{repository}/blob/main/docs/{page}"))
}
