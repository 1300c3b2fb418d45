//! The tables as Markdown: `docs/kinds.md` and `docs/fields.md`.

use std::fmt::Write as _;

use super::kinds::{KINDS, VERSIONS, Verdict};
use super::metadata::DOCUMENT;
use super::{Field, MESH_CONFIG, Object, Support, Ty, tables};

const GENERATED: &str = "<!-- Generated from config-gen/src/schema; refresh with `UPDATE=1 cargo test -p portolan-config-gen --test input`. -->\n";

/// What becomes of every kind.
pub fn kinds() -> String {
    let mut out = format!(
        "{GENERATED}
# Kinds

What `config-gen` does with a document of each kind. An error can be turned off with `--accept-ignored KIND`; the
document is then left out. A kind that is not listed is an error too.

The versions of `networking.istio.io` that are read are {}.

| kind | group | result | why |
| --- | --- | --- | --- |
",
        VERSIONS.map(|version| format!("`{version}`")).join(", ")
    );
    for kind in KINDS {
        let (result, why) = match kind.verdict {
            Verdict::Translated => ("translated", ""),
            Verdict::Ignored(why) => ("left out with a note", why),
            Verdict::Refused(why) => ("error", why),
        };
        let group = if kind.group.is_empty() { "core".to_owned() } else { format!("`{}`", kind.group) };
        let _ = writeln!(out, "| `{}` | {group} | {result} | {why} |", kind.name);
    }
    out
}

/// What becomes of every field of the kinds that are read.
pub fn fields() -> String {
    let mut out = format!(
        "{GENERATED}
# Fields

What `config-gen` makes of each field. A refused field is an error: leaving it out would change what happens. The
fields below a refused field are refused with it and not listed. IDs refer to the specification.
"
    );
    out.push_str(
        "\n## Every kind\n\n| field | type | result | why | ID |\n| --- | --- | --- | --- | --- |\n",
    );
    rows(&mut out, &DOCUMENT, "");
    for (kind, table) in tables() {
        let _ = write!(
            out,
            "\n## {kind}\n\n| field | type | result | why | ID |\n| --- | --- | --- | --- | --- |\n"
        );
        rows(&mut out, table, "spec");
    }
    out.push_str(
        "
## MeshConfig

Read with `--mesh-config`: the document itself, or Istio's `ConfigMap` with it in `data.mesh`.

| field | type | result | why | ID |
| --- | --- | --- | --- | --- |
",
    );
    rows(&mut out, &MESH_CONFIG, "");
    out
}

fn rows(out: &mut String, object: &Object, path: &str) {
    for field in object.fields {
        row(out, field, path);
    }
}

fn row(out: &mut String, field: &Field, path: &str) {
    let (suffix, inner) = nested(field.ty);
    let dot = if path.is_empty() { "" } else { "." };
    let path = format!("{path}{dot}{}{suffix}", field.name);
    let required = if field.required { ", required" } else { "" };
    let _ = writeln!(
        out,
        "| `{path}` | {}{required} | {} | {} | {} |",
        describe(field.ty),
        field.support.name(),
        field.support.reason(),
        field.rule
    );
    if matches!(field.support, Support::Refused(_)) {
        return;
    }
    if let Ty::Enum(choices) = field.ty {
        for choice in choices {
            let default = if field.default == Some(choice.name) { ", default" } else { "" };
            let _ = writeln!(
                out,
                "| `{path}: {}` | value{default} | {} | {} | |",
                choice.name,
                choice.support.name(),
                choice.support.reason()
            );
        }
    }
    if let Some(object) = inner {
        rows(out, object, &path);
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

fn describe(ty: Ty) -> String {
    match ty {
        Ty::Bool => "boolean".to_owned(),
        Ty::String { .. } | Ty::Text => "string".to_owned(),
        Ty::Int { min, max } => format!("whole number, {min} to {max}"),
        Ty::Any => "anything".to_owned(),
        Ty::IntOrString => "number or name".to_owned(),
        Ty::Number { .. } => "number".to_owned(),
        Ty::Duration { .. } => "time span".to_owned(),
        Ty::Enum(_) => "one of the values below".to_owned(),
        Ty::Object(_) => "object".to_owned(),
        Ty::List { item, .. } => format!("list of {}", plural(*item)),
        Ty::Map { value, .. } => format!("map to {}", plural(*value)),
    }
}

fn plural(ty: Ty) -> &'static str {
    match ty {
        Ty::Object(_) => "objects",
        Ty::Int { .. } | Ty::IntOrString | Ty::Number { .. } => "numbers",
        Ty::List { .. } => "lists",
        Ty::Map { .. } => "maps",
        Ty::Any => "values",
        Ty::Bool | Ty::String { .. } | Ty::Text | Ty::Duration { .. } | Ty::Enum(_) => "strings",
    }
}
