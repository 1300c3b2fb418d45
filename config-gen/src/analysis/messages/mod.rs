//! Every code that a finding can have: what it is about, why it matters, what to do.
//!
//! `docs/messages/CODE.md` is made of an entry here and of two examples, one that fails and one that
//! is mended (`config-gen/tests/messages/CODE.yaml`); a test runs both.

mod connections;
mod destination_rule;
mod gateways;
mod objects;
mod other;
mod registry;
mod schema;
mod service_entry;
mod tls;
mod virtual_service;
mod yaml;

use crate::diagnostic::{Diagnostic, Severity};

/// What is known of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// As in [`Diagnostic::code`].
    pub code: &'static str,
    /// How grave it is as a rule; where less depends on it, a finding may be less grave.
    pub severity: Severity,
    /// A line without full stop.
    pub title: &'static str,
    /// Why it matters: what happens, and to whom.
    pub why: &'static str,
    /// What to do about it, as a clause without full stop; findings that know better say so
    /// themselves.
    pub way_out: &'static str,
    /// Codes of `istioctl analyze` for the same, such as `IST0101`. None: it has no code of its own
    /// there.
    pub istio: &'static [&'static str],
}

impl Message {
    const fn error(
        code: &'static str,
        title: &'static str,
        why: &'static str,
        way_out: &'static str,
    ) -> Self {
        Self { code, severity: Severity::Error, title, why, way_out, istio: &[] }
    }

    const fn warning(
        code: &'static str,
        title: &'static str,
        why: &'static str,
        way_out: &'static str,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, title, why, way_out) }
    }

    const fn note(code: &'static str, title: &'static str, why: &'static str, way_out: &'static str) -> Self {
        Self { severity: Severity::Note, ..Self::error(code, title, why, way_out) }
    }

    const fn istio(self, istio: &'static [&'static str]) -> Self {
        Self { istio, ..self }
    }

    /// Its page, below the folder of the documentation.
    pub fn page(&self) -> String {
        format!("messages/{}.md", self.code)
    }
}

/// By subject.
const TABLES: [&[Message]; 11] = [
    yaml::MESSAGES,
    objects::MESSAGES,
    schema::MESSAGES,
    service_entry::MESSAGES,
    registry::MESSAGES,
    virtual_service::MESSAGES,
    destination_rule::MESSAGES,
    tls::MESSAGES,
    connections::MESSAGES,
    gateways::MESSAGES,
    other::MESSAGES,
];

/// All of them, by subject.
pub fn all() -> impl Iterator<Item = &'static Message> {
    TABLES.into_iter().flatten()
}

/// The one with this code.
pub fn find(code: &str) -> Option<&'static Message> {
    all().find(|message| message.code == code)
}

/// What `istioctl analyze` calls `finding`: codes of its own, or the one for all that the webhook
/// refuses or warns of (spec section 6.5). Empty: it has no word for it.
pub fn istio_codes(finding: &Diagnostic) -> &'static [&'static str] {
    let own = find(finding.code).map_or(&[] as &[_], |message| message.istio);
    let is_of_webhook = finding.rule.is_some_and(|rule| rule.starts_with("VAL-"));
    match finding.severity {
        // Of the conflicts that this code is for, the one of protocols.
        _ if finding.code == "conflicting-service-entries" && finding.rule != Some("SE-C-08") => &[],
        _ if !own.is_empty() => own,
        Severity::Error if is_of_webhook => &["IST0106"],
        Severity::Warning if is_of_webhook => &["IST0133"],
        _ => &[],
    }
}
