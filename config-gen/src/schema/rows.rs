//! The tables as a list: one row for each field and each value of an enum.

use super::metadata::DOCUMENT;
use super::{Choice, Field, FieldUse, MESH_CONFIG, Object, Support, Ty, markdown, tables};

/// A row of `docs/fields.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The kind; `any` for what all kinds have.
    pub kind: &'static str,
    /// As `spec.http[].match[].headers.*.exact`.
    pub path: String,
    /// The value of the enum that the row is about.
    pub choice: Option<&'static str>,
    /// The values of the enum, except that one.
    pub alternatives: Vec<&'static str>,
    /// What the field may hold, in words.
    pub ty: String,
    /// What becomes of it.
    pub support: Support,
    /// ID of the row of the specification, of this field or the one around it.
    pub rule: &'static str,
}

/// What all kinds have is listed under this name.
pub const ANY_KIND: &str = "any";

/// What is read with `--mesh-config`.
pub const MESH_CONFIG_KIND: &str = "MeshConfig";

/// All rows in the order of the tables. The fields below one that is not translated share its fate
/// and have none, nor have those that are listed in another place.
pub fn rows() -> Vec<Row> {
    let mut rows = Rows { kind: ANY_KIND, list: Vec::new() };
    rows.object(&DOCUMENT, "", "");
    for (kind, table) in tables() {
        rows.kind = kind;
        rows.object(table, "spec", "");
    }
    rows.kind = MESH_CONFIG_KIND;
    rows.object(&MESH_CONFIG, "", "");
    rows.list
}

struct Rows {
    kind: &'static str,
    list: Vec<Row>,
}

impl Rows {
    fn object(&mut self, object: &Object, path: &str, rule: &'static str) {
        for field in object.fields {
            self.field(field, path, rule);
        }
    }

    fn field(&mut self, field: &Field, path: &str, rule: &'static str) {
        let (suffix, inner) = nested(field.ty);
        let path = match field.name.contains(['.', '/']) {
            true => format!("{path}[\"{}\"]{suffix}", field.name),
            false if path.is_empty() => format!("{}{suffix}", field.name),
            false => format!("{path}.{}{suffix}", field.name),
        };
        let rule = if field.rule.is_empty() { rule } else { field.rule };
        let required = if field.required { ", required" } else { "" };
        self.list.push(Row {
            kind: self.kind,
            path: path.clone(),
            choice: None,
            alternatives: match field.ty {
                Ty::Enum(choices) => choices.iter().map(|choice| choice.name).collect(),
                _ => Vec::new(),
            },
            ty: match field.like {
                Some(other) => format!("as `{other}`{required}"),
                None => format!("{}{required}", markdown::describe(field.ty)),
            },
            support: field.support,
            rule,
        });
        if field.support != Support::Translated || field.like.is_some() {
            return;
        }
        if let Ty::Enum(choices) = field.ty {
            self.choices(choices, field.default, &path, rule);
        }
        if let Some(object) = inner {
            self.object(object, &path, rule);
        }
    }

    fn choices(&mut self, choices: &[Choice], default: Option<&str>, path: &str, rule: &'static str) {
        for choice in choices {
            let others = choices.iter().map(|other| other.name).filter(|other| *other != choice.name);
            self.list.push(Row {
                kind: self.kind,
                path: path.to_owned(),
                choice: Some(choice.name),
                alternatives: others.collect(),
                ty: if default == Some(choice.name) { "value, default" } else { "value" }.to_owned(),
                support: choice.support,
                rule,
            });
        }
    }
}

/// How a path goes on below a field, and the object there.
fn nested(ty: Ty) -> (&'static str, Option<&'static Object>) {
    match ty {
        Ty::Object(object) => ("", Some(object)),
        Ty::List { item: Ty::Object(object), .. } => ("[]", Some(object)),
        Ty::List { .. } => ("[]", None),
        Ty::Map { value: Ty::Object(object), .. } => (".*", Some(object)),
        _ => ("", None),
    }
}

impl Row {
    /// Whether `one` is this field, or a field below it. Of an enum, the value isn't looked at.
    pub fn covers(&self, one: &FieldUse) -> bool {
        let kind = one.resource.split(' ').next().unwrap_or_default();
        if self.kind != kind && (self.kind != ANY_KIND || kind == MESH_CONFIG_KIND) {
            return false;
        }
        let mut row = segments(&self.path);
        // A list or a map has one line for all that is in it, unless objects are.
        row.pop_if(|last| matches!(*last, ANY_PLACE | ANY_KEY));
        let one = segments(&one.field);
        row.len() <= one.len() && row.iter().zip(&one).all(|(row, one)| row == one || *row == ANY_KEY)
    }
}

const ANY_PLACE: &str = "[]";
const ANY_KEY: &str = "*";

/// The names and keys of a path; of a place in a list the number is left out.
fn segments(path: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (segment, after) = if let Some((key, after)) =
            rest.strip_prefix("[\"").and_then(|quoted| quoted.split_once("\"]"))
        {
            (key, after)
        } else if let Some((_, after)) = rest.strip_prefix('[').and_then(|place| place.split_once(']')) {
            (ANY_PLACE, after)
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            name.split_at(name.find(['.', '[']).unwrap_or(name.len()))
        };
        found.push(segment);
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::input::{ReadOptions, read};
    use crate::source::Sources;

    #[test]
    fn paths_are_taken_apart() {
        for (path, expected) in [
            ("", vec![]),
            ("spec.http[0].match[12].uri", vec!["spec", "http", "[]", "match", "[]", "uri"]),
            ("spec.http[].headers.*.exact", vec!["spec", "http", "[]", "headers", "*", "exact"]),
            ("metadata.annotations[\"a.b/c\"].d", vec!["metadata", "annotations", "a.b/c", "d"]),
        ] {
            assert_eq!(segments(path), expected, "{path}");
        }
    }

    #[test]
    fn rows_are_told_apart() {
        let rows = rows();
        let names: HashSet<_> = rows.iter().map(|row| (row.kind, &row.path, row.choice)).collect();
        assert_eq!(names.len(), rows.len());
    }

    #[test]
    fn every_line_of_a_report_has_its_row() {
        let mut sources = Sources::new();
        sources.add(
            "a.yaml",
            "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, annotations: {istio.io/connect-strategy: x}}
spec:
  hosts: [a]
  tls: [{match: [{sniHosts: [a]}], route: [{destination: {host: a}}]}]
  http:
  - match: [{uri: {exact: /}, headers: {x.y: {exact: a}, z: {}}, sourceLabels: {app: a}}]
    route: [{destination: {host: c, port: {number: 80}}}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: a}
spec: {ingress: [{port: {number: 80}, captureMode: NONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {sessionAffinityConfig: {clientIP: {timeoutSeconds: 1}}, ports: []}
",
        );
        let read = read(sources, &ReadOptions::default());
        let rows = rows();
        for one in &read.field_uses {
            let nearest = rows.iter().filter(|row| row.covers(one)).max_by_key(|row| row.path.len());
            let nearest = nearest.unwrap_or_else(|| panic!("{} has no row", one.field));
            assert_eq!(nearest.support, one.support, "{} {}", one.field, nearest.path);
            assert_eq!(nearest.rule, one.rule, "{} {}", one.field, nearest.path);
        }
    }
}
