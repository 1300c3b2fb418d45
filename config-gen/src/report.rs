//! What became of every field of the input, and all findings, as data.

use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::input::Read;
use crate::options::Profile;
use crate::schema::FieldUse;
use crate::source::{Sources, Span};

/// Version of the report's form.
pub const VERSION: u32 = 1;

/// What can become of a field, by [`Support::name`](crate::schema::Support::name).
const SUPPORT: [&str; 4] = ["translated", "approximated", "ignored", "refused"];

/// The report on what was `read`; `findings` are those of all steps.
pub fn json(read: &Read, findings: &Diagnostics, profile: Profile) -> Value {
    let mut counts = json!({});
    for (support, count) in supports(read) {
        counts[support] = json!(count);
    }
    counts["ignoredMetadata"] = json!(read.ignored_metadata_fields);
    for (name, severity) in
        [("errors", Severity::Error), ("warnings", Severity::Warning), ("notes", Severity::Note)]
    {
        counts[name] = json!(findings.count(severity));
    }
    json!({
        "version": VERSION,
        "profile": profile.to_string(),
        "counts": counts,
        "ignoredObjects": read.ignored_objects,
        "fields": read.field_uses.iter().map(|one| field(one, &read.sources)).collect::<Value>(),
        "findings": findings.iter().map(|one| finding(one, &read.sources)).collect::<Value>(),
    })
}

/// One line of counts, such as `fields: 3 translated, 1 ignored`.
pub fn summary(read: &Read) -> String {
    let counts = supports(read).filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(support, count)| format!("{count} {support}")).collect();
    format!("fields: {}", if counts.is_empty() { "none".to_owned() } else { counts.join(", ") })
}

fn supports(read: &Read) -> impl Iterator<Item = (&'static str, usize)> {
    SUPPORT
        .into_iter()
        .map(|support| (support, read.field_uses.iter().filter(|one| one.support.name() == support).count()))
}

fn field(one: &FieldUse, sources: &Sources) -> Value {
    let FieldUse { resource, field, span, support, rule } = one;
    let mut value = json!({"resource": &**resource, "path": field});
    place(&mut value, *span, sources);
    value["support"] = json!(support.name());
    if !support.reason().is_empty() {
        value["reason"] = json!(support.reason());
    }
    if !rule.is_empty() {
        value["spec"] = json!(rule);
    }
    value
}

fn finding(one: &Diagnostic, sources: &Sources) -> Value {
    let mut value = json!({
        "severity": one.severity.to_string(),
        "code": one.code,
        "message": one.message,
    });
    if let Some(span) = one.span {
        place(&mut value, span, sources);
    }
    for (name, fact) in [
        ("resource", one.resource.as_deref()),
        ("path", one.field.as_deref()),
        ("spec", one.rule.filter(|rule| !rule.is_empty())),
        ("help", one.help.as_deref()),
    ] {
        if let Some(fact) = fact {
            value[name] = json!(fact);
        }
    }
    if !one.related.is_empty() {
        let related = one.related.iter().map(|(words, span)| {
            let mut value = json!({"message": words});
            place(&mut value, *span, sources);
            value
        });
        value["related"] = related.collect();
    }
    value
}

fn place(value: &mut Value, span: Span, sources: &Sources) {
    value["file"] = json!(sources.name(span.file));
    value["line"] = json!(span.line);
    value["column"] = json!(span.column);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Support;

    #[test]
    fn every_support_is_counted() {
        for support in
            [Support::Translated, Support::Approximated(""), Support::Ignored(""), Support::Refused("")]
        {
            assert!(SUPPORT.contains(&support.name()));
        }
    }
}
