//! The tables as Markdown: `docs/kinds.md` and `docs/fields.md`.

use std::fmt::Write as _;

use super::Ty;
use super::envoy::KINDS as KINDS_IN_ENVOY;
use super::kinds::{KINDS, VERSIONS, Verdict};
use super::rows::{ANY_KIND, MESH_CONFIG_KIND, Row, rows};

const GENERATED: &str = "<!-- Generated from config-gen/src/schema; refresh with `UPDATE=1 cargo test -p portolan-config-gen --test input`. -->\n";

const FIELDS: &str = "<!-- Generated from config-gen/src/schema; refresh with `UPDATE=1 cargo test -p portolan-config-gen --test fields`. -->\n";

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

/// What becomes of every field; `test` names the test that shows it.
pub fn fields(test: impl Fn(&Row) -> String) -> String {
    let mut out = format!(
        "{FIELDS}
# Fields

What `config-gen` makes of each field, of all kinds that are read, and the test that shows it. A refused field is an
error: leaving it out would change what happens. What is below a field that is refused, ignored or approximated
shares its fate and is not listed. `{ANY_KIND}` is what all kinds have, `{MESH_CONFIG_KIND}` what is read with
`--mesh-config`. IDs refer to the specification.

The test of a translated field is a case of `testdata/` that fails without the field. Where there is none, other
things are generated from the resources in `config-gen/tests/fields` without it, and the test in Rust of what the
field does is named, if there is one. Ignored fields stand there too, and change nothing. Refused fields have their
message in `config-gen/tests/input`.

| kind | field | type | result | why | ID | test |
| --- | --- | --- | --- | --- | --- | --- |
"
    );
    for row in rows() {
        let value = row.choice.map_or(String::new(), |choice| format!(": {choice}"));
        let _ = writeln!(
            out,
            "| {} | `{}{value}` | {} | {} | {} | {} | {} |",
            row.kind,
            row.path,
            row.ty,
            row.support.name(),
            row.support.reason(),
            row.rule,
            test(&row)
        );
    }
    out
}

/// What the fields that decide about clusters become in Envoy; `test` names the test that shows it,
/// and `behaviours` are those of what they do.
pub fn traffic_policy(behaviours: &[(&str, String)], test: impl Fn(&Row) -> String) -> String {
    let mut out = format!(
        "{FIELDS}
# Traffic policy

What ServiceEntry and DestinationRule become in Envoy. First what is shown by requests through a real Envoy 1.36.4
and 1.40.0, then field by field. Envoy's fields are of `envoy.config.cluster.v3.Cluster` where no message is named.
What a field may hold, and why it is ignored or refused, stands in [fields.md](fields.md).

| behaviour | test |
| --- | --- |
"
    );
    for (behaviour, test) in behaviours {
        let _ = writeln!(out, "| {behaviour} | {test} |");
    }
    out.push_str("\n| kind | field | result | in Envoy | test |\n| --- | --- | --- | --- | --- |\n");
    for row in rows().iter().filter(|row| KINDS_IN_ENVOY.contains(&row.kind)) {
        let value = row.choice.map_or(String::new(), |choice| format!(": {choice}"));
        let (path, support) = (&row.path, row.support.name());
        let _ =
            writeln!(out, "| {} | `{path}{value}` | {support} | {} | {} |", row.kind, row.envoy(), test(row));
    }
    out
}

pub(super) fn describe(ty: Ty) -> String {
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
