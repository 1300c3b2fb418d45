//! Every field of the resources that are translated, as data.
//!
//! The tables say of each field what it may hold and what this version makes
//! of it; [`check`] compares a document with them. To support one more field,
//! drop its `.refused(..)`, read it in `resource/` and use it.

pub(crate) mod check;
mod destination_rule;
pub(crate) mod duration;
mod envoy;
mod gateway;
pub mod kinds;
mod kubernetes_service;
pub mod markdown;
mod mesh_config;
pub(crate) mod metadata;
pub mod rows;
mod service_entry;
mod sidecar;
pub(crate) mod suggest;
mod virtual_service;
mod wasm_plugin;

pub(crate) use mesh_config::MESH_CONFIG;

use std::sync::Arc;

use crate::source::Span;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The generated configuration does what it says.
    Translated,
    /// The same in effect, except for what the text says.
    Approximated(&'static str),
    /// Without effect on what is generated, for the reason given.
    Ignored(&'static str),
    /// An error, since leaving it out would change what happens.
    Refused(&'static str),
}

impl Support {
    /// `translated`, `approximated`, `ignored` or `refused`.
    pub fn name(self) -> &'static str {
        match self {
            Support::Translated => "translated",
            Support::Approximated(_) => "approximated",
            Support::Ignored(_) => "ignored",
            Support::Refused(_) => "refused",
        }
    }

    /// Why it isn't simply translated; empty if it is.
    pub fn reason(self) -> &'static str {
        match self {
            Support::Translated => "",
            Support::Approximated(why) | Support::Ignored(why) | Support::Refused(why) => why,
        }
    }
}

/// A field that was met in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldUse {
    /// `Kind namespace/name`.
    pub resource: Arc<str>,
    /// Path, as `spec.ports[0].number`.
    pub field: String,
    /// The value.
    pub span: Span,
    /// What became of it.
    pub support: Support,
    /// ID of the row of the specification; empty if none speaks of it alone.
    pub rule: &'static str,
}

/// What becomes of a field without a value.
pub(crate) const NULL: Support = Support::Ignored("Kubernetes drops it: null is the same as no field");

/// What becomes of a field that there isn't.
pub(crate) const UNKNOWN: Support = Support::Refused("there is no such field");

/// A field of an object.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name in YAML.
    pub name: &'static str,
    /// What it may hold.
    pub ty: Ty,
    /// Whether the object is refused without it.
    pub required: bool,
    /// What an absent enum means, if that is refused as well.
    pub default: Option<&'static str>,
    /// What becomes of it.
    pub support: Support,
    /// ID of the row of the specification; empty if none speaks of it alone.
    pub rule: &'static str,
    /// The field that means the same in another place, and is read by the same code: the tables of
    /// `docs/` list what is in it there only.
    pub like: Option<&'static str>,
}

/// An optional field that is translated.
const fn field(name: &'static str, ty: Ty) -> Field {
    Field { name, ty, required: false, default: None, support: Support::Translated, rule: "", like: None }
}

impl Field {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    const fn rule(mut self, rule: &'static str) -> Self {
        self.rule = rule;
        self
    }

    const fn like(mut self, path: &'static str) -> Self {
        self.like = Some(path);
        self
    }

    const fn approximated(mut self, why: &'static str) -> Self {
        self.support = Support::Approximated(why);
        self
    }

    const fn ignored(mut self, why: &'static str) -> Self {
        self.support = Support::Ignored(why);
        self
    }

    const fn refused(mut self, why: &'static str) -> Self {
        self.support = Support::Refused(why);
        self
    }
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Ty {
    /// A boolean.
    Bool,
    /// A string of at most so many characters.
    String {
        /// Limit of Kubernetes; `usize::MAX` for none.
        max: usize,
    },
    /// A string that may hold anything, even what looks like a template.
    Text,
    /// A whole number.
    Int {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A port by its number, or by a name.
    IntOrString,
    /// Any number.
    Number {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
    /// A time span in Go's notation (VAL-CRD-05).
    Duration {
        /// Whether less than a millisecond is allowed.
        zero: bool,
    },
    /// One of some words, in this spelling (VAL-CRD-04).
    Enum(&'static [Choice]),
    /// Anything: a field that isn't translated, and isn't looked into.
    Any,
    /// An object with fixed fields.
    Object(&'static Object),
    /// A list.
    List {
        /// Its items.
        item: &'static Ty,
        /// The fewest items.
        min: usize,
        /// The most items.
        max: usize,
    },
    /// An object with keys of the user's choice.
    Map {
        /// Its values.
        value: &'static Ty,
        /// The most entries.
        max: usize,
        /// Whether a value may be null.
        null: bool,
    },
}

/// A word of an enum.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The word.
    pub name: &'static str,
    /// What becomes of it.
    pub support: Support,
}

const fn choice(name: &'static str) -> Choice {
    Choice { name, support: Support::Translated }
}

impl Choice {
    const fn approximated(mut self, why: &'static str) -> Self {
        self.support = Support::Approximated(why);
        self
    }

    const fn refused(mut self, why: &'static str) -> Self {
        self.support = Support::Refused(why);
        self
    }
}

/// An object with fixed fields.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// Its fields, in the order of the tables.
    pub fields: &'static [Field],
    /// Groups of fields of which only one may be given.
    pub exclusive: &'static [&'static [&'static str]],
    /// The row of the specification that says so.
    pub exclusive_rule: &'static str,
}

const fn object(fields: &'static [Field]) -> Object {
    Object { fields, exclusive: &[], exclusive_rule: "" }
}

impl Object {
    const fn exclusive(mut self, rule: &'static str, groups: &'static [&'static [&'static str]]) -> Self {
        self.exclusive = groups;
        self.exclusive_rule = rule;
        self
    }
}

/// Why a field is refused that the schema has and the webhook doesn't take.
const ISTIO_REFUSES: &str = "Istio refuses it as well";

const STRING: Ty = Ty::String { max: usize::MAX };
const STRINGS: Ty = list(&STRING);
const LABELS: Ty = map(&STRING);
const PORT_NUMBER: Ty = Ty::Int { min: 1, max: 65_535 };
const INT32: Ty = Ty::Int { min: i32::MIN as i64, max: i32::MAX as i64 };
const UINT32: Ty = Ty::Int { min: 0, max: u32::MAX as i64 };
const PERCENT: Ty = Ty::Number { min: 0.0, max: 100.0 };
const DURATION: Ty = Ty::Duration { zero: false };

const fn text(max: usize) -> Ty {
    Ty::String { max }
}

const fn list(item: &'static Ty) -> Ty {
    Ty::List { item, min: 0, max: usize::MAX }
}

const fn map(value: &'static Ty) -> Ty {
    Ty::Map { value, max: usize::MAX, null: false }
}

/// The kinds with their tables.
pub fn tables() -> [(&'static str, &'static Object); 7] {
    [
        ("ServiceEntry", &service_entry::SPEC),
        ("VirtualService", &virtual_service::SPEC),
        ("DestinationRule", &destination_rule::SPEC),
        ("WorkloadEntry", &service_entry::WORKLOAD_ENTRY),
        ("Sidecar", &sidecar::SPEC),
        ("Gateway", &gateway::SPEC),
        ("Service", &kubernetes_service::SPEC),
    ]
}

/// The table of a kind that is checked and not translated.
pub(crate) fn checked_table(group: &str, kind: &str) -> Option<&'static Object> {
    (group == "extensions.istio.io" && kind == "WasmPlugin").then_some(&wasm_plugin::SPEC)
}

/// The table of a kind.
pub(crate) fn table(kind: &str) -> Option<(&'static str, &'static Object)> {
    tables().into_iter().find(|(name, _)| *name == kind)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn visit(object: &'static Object, path: &str) {
        let names: HashSet<&str> = object.fields.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), object.fields.len(), "{path} lists a field twice");
        for name in object.exclusive.iter().copied().flatten() {
            assert!(names.contains(name), "{path} has no {name}");
        }
        for field in object.fields {
            let path = format!("{path}.{}", field.name);
            if field.support != Support::Translated {
                assert!(!field.support.reason().is_empty(), "{path} gives no reason");
            }
            if let Some(default) = field.default {
                let Ty::Enum(choices) = field.ty else { panic!("{path} is no enum") };
                assert!(choices.iter().any(|choice| choice.name == default), "{path}");
            }
            let mut ty = field.ty;
            loop {
                match ty {
                    Ty::List { item, .. } => ty = *item,
                    Ty::Map { value, .. } => ty = *value,
                    Ty::Object(object) => break visit(object, &path),
                    _ => break,
                }
            }
        }
    }

    #[test]
    fn tables_are_sound() {
        for (kind, object) in tables() {
            visit(object, kind);
        }
        visit(&wasm_plugin::SPEC, "WasmPlugin");
        visit(&MESH_CONFIG, "MeshConfig");
        visit(&metadata::DOCUMENT, "metadata");
    }
}
