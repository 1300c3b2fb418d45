//! What became of every field of the input, and all findings, as data.

use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::input::Read;
use crate::input::node::{Node, join, key_segment};
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

/// One finding.
pub fn finding(one: &Diagnostic, sources: &Sources) -> Value {
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
        ("help", one.way_out()),
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

/// Places of the resources read that the report has no line for, as `Kind namespace/name: path`.
/// There should be none.
pub fn missing(read: &Read) -> Vec<String> {
    let mut missing = Vec::new();
    for (title, root) in &read.documents {
        let lines: Vec<&str> =
            read.field_uses.iter().filter(|one| *one.resource == **title).map(|one| &*one.field).collect();
        let mut places = Vec::new();
        leaves(root, String::new(), &mut places);
        // These two make the title.
        places.retain(|path| path != "apiVersion" && path != "kind");
        places.retain(|path| !lines.iter().any(|line| covers(line, path)));
        missing.extend(places.into_iter().map(|path| format!("{title}: {path}")));
    }
    missing
}

/// Paths of all values that hold no others.
fn leaves(node: &Node, path: String, out: &mut Vec<String>) {
    for (index, item) in node.items().iter().enumerate() {
        leaves(item, format!("{path}[{index}]"), out);
    }
    for entry in node.entries() {
        leaves(&entry.node, join(&path, &key_segment(&entry.key)), out);
    }
    if node.items().is_empty() && node.entries().is_empty() {
        out.push(path);
    }
}

/// A line speaks of its field and of all below it.
fn covers(line: &str, path: &str) -> bool {
    path.strip_prefix(line).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
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

    #[test]
    fn every_place_has_a_line() {
        let mut sources = Sources::new();
        sources.add(
            "a.yaml",
            "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, uid: x, labels: {}, annotations: {a.b/c: d}, creationTimestamp: null, nonsense: 1}
spec:
  hosts: [a, b]
  gateway: {name: unknown}
  exportTo: []
  http:
  - match:
    - {}
    - uri: {}
      headers: {x: {}, v: {exact: z}}
      withoutHeaders: {v: null}
    delegate: {name: d}
    timeout: null
    route: [{destination: {host: c}}]
  tls: []
status: {}
other: [1]
",
        );
        let mut read = crate::input::read(sources, &Default::default());
        assert_eq!(missing(&read), Vec::<String>::new());
        let lines: Vec<String> =
            read.field_uses.iter().map(|one| format!("{} {}", one.field, one.support.name())).collect();
        for line in [
            "metadata.uid ignored",
            "metadata.labels translated",
            "metadata.annotations[\"a.b/c\"] ignored",
            "metadata.creationTimestamp ignored",
            "metadata.nonsense refused",
            "other refused",
            "spec.gateway refused",
            "spec.http[0].match[0] translated",
            "spec.http[0].match[1].uri translated",
            "spec.http[0].match[1].headers.x translated",
            "spec.http[0].match[1].withoutHeaders.v translated",
            "spec.http[0].delegate.name translated",
            "spec.http[0].timeout ignored",
        ] {
            assert_eq!(
                lines.iter().filter(|other| *other == line).count(),
                1,
                "{line}\n{}",
                lines.join("\n")
            );
        }
        read.field_uses.retain(|one| !one.field.starts_with("spec.http[0].match[1].headers"));
        let found = ["x", "v.exact"]
            .map(|rest| format!("VirtualService default/a: spec.http[0].match[1].headers.{rest}"));
        assert_eq!(missing(&read), found);
    }
}
