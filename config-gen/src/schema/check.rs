//! Compares a document with the tables.

use std::sync::Arc;

use super::{Choice, Field, FieldUse, ISTIO_REFUSES, NULL, Object, Support, Ty, UNKNOWN, duration, suggest};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::{Entry, Node, Value, join, key_segment};
use crate::input::template;
use crate::source::{Sources, Span};

/// Checks a spec against its table, and tells what becomes of its fields.
pub(crate) fn check(
    sources: &Sources,
    resource: &Arc<str>,
    table: &'static Object,
    spec: &Node,
    diagnostics: &mut Diagnostics,
    uses: &mut Vec<FieldUse>,
) {
    let mut checker = Checker { sources, resource, diagnostics, uses, rule: "", told: false };
    checker.value(Ty::Object(table), spec, "spec");
}

/// The same for a document that has its fields at the top.
pub(crate) fn check_document(
    sources: &Sources,
    resource: &Arc<str>,
    table: &'static Object,
    document: &Node,
    diagnostics: &mut Diagnostics,
    uses: &mut Vec<FieldUse>,
) {
    let mut checker = Checker { sources, resource, diagnostics, uses, rule: "", told: false };
    checker.object(table, document, "");
}

struct Checker<'a> {
    sources: &'a Sources,
    resource: &'a Arc<str>,
    diagnostics: &'a mut Diagnostics,
    uses: &'a mut Vec<FieldUse>,
    /// The row of the field that is looked into.
    rule: &'static str,
    /// Inside a field that isn't translated only the shape is checked: one
    /// line says all about its support.
    told: bool,
}

impl Checker<'_> {
    fn object(&mut self, object: &'static Object, node: &Node, path: &str) {
        let Value::Map(entries) = &node.value else {
            return self.wrong_type("an object", node, path);
        };
        for entry in entries {
            match object.fields.iter().find(|field| field.name == entry.key) {
                Some(field) => self.field(field, entry, path),
                None => self.unknown_field(object, entry, path),
            }
        }
        for field in object.fields {
            if node.get(field.name).is_some() {
                continue;
            }
            if field.required {
                let rule = required_rule(field, path);
                self.report(
                    Diagnostic::error("missing-field", format!("`{}` is missing", field.name))
                        .at(node.span)
                        .rule(rule),
                    path,
                );
            }
            self.default(field, node, path);
        }
        for group in object.exclusive {
            let given: Vec<&Entry> =
                group.iter().filter_map(|name| node.entry(name)).filter(|e| !e.node.is_null()).collect();
            if let [first, second, ..] = given.as_slice() {
                self.report(
                    Diagnostic::error(
                        "exclusive-fields",
                        format!("`{}` and `{}` exclude each other", first.key, second.key),
                    )
                    .at(second.key_span)
                    .also("the other one stands at", first.key_span)
                    .rule(object.exclusive_rule),
                    path,
                );
            }
        }
    }

    fn field(&mut self, field: &'static Field, entry: &Entry, path: &str) {
        let path = join(path, field.name);
        // Kubernetes drops an explicit null.
        if entry.node.is_null() {
            return self.used(&path, entry.node.span, NULL, field.rule);
        }
        let before = (self.told, self.rule);
        // A field without a row of its own belongs to that of the field around it.
        if !field.rule.is_empty() {
            self.rule = field.rule;
        }
        let support = match (field.support, field.ty) {
            (Support::Translated, Ty::Enum(choices)) => {
                chosen(choices, &entry.node).unwrap_or(Support::Translated)
            }
            (support, _) => support,
        };
        if !self.told {
            if let Support::Refused(why) = support {
                self.not_supported(field, &entry.node, entry.key_span, &path, why);
            }
            if !composed(field.ty) || support != Support::Translated {
                self.used(&path, entry.node.span, support, self.rule);
                self.told |= support != Support::Translated;
            }
        }
        self.value(field.ty, &entry.node, &path);
        (self.told, self.rule) = before;
    }

    /// Adds a line to the report.
    fn used(&mut self, path: &str, span: Span, support: Support, rule: &'static str) {
        if !self.told {
            let (resource, field) = (Arc::clone(self.resource), path.to_owned());
            self.uses.push(FieldUse { resource, field, span, support, rule });
        }
    }

    fn not_supported(&mut self, field: &Field, node: &Node, key: Span, path: &str, why: &'static str) {
        let diagnostic = match (field.ty, node.as_str()) {
            (Ty::Enum(_), Some(value)) => {
                Diagnostic::error("not-supported", format!("`{}: {value}` is not supported yet", field.name))
                    .at(node.span)
            }
            _ if why == ISTIO_REFUSES => {
                Diagnostic::error("refused-field", format!("`{}` is refused", field.name)).at(key)
            }
            _ => Diagnostic::error("not-supported", format!("`{}` is not supported yet", field.name)).at(key),
        };
        self.report(diagnostic.rule(field.rule).help(why), path);
    }

    /// An absent enum means a value that may be refused as well.
    fn default(&mut self, field: &'static Field, node: &Node, path: &str) {
        let (Some(default), Ty::Enum(choices)) = (field.default, field.ty) else { return };
        let support = choices.iter().find(|choice| choice.name == default).map(|choice| choice.support);
        let Some(Support::Refused(why)) = support else { return };
        if self.told {
            return;
        }
        let message = format!("without `{}` Istio takes `{default}`, which is not supported yet", field.name);
        let path = join(path, field.name);
        self.report(
            Diagnostic::error("not-supported", message).at(node.span).rule(field.rule).help(why),
            &path,
        );
    }

    /// Checks a value. An object or a list without anything in it means something too, so each gets
    /// a line of its own where nothing inside has one.
    fn value(&mut self, ty: Ty, node: &Node, path: &str) {
        let before = self.uses.len();
        self.check(ty, node, path);
        let covered = self.uses.len() > before || self.uses.last().is_some_and(|last| last.field == path);
        if composed(ty) && !covered {
            self.used(path, node.span, Support::Translated, self.rule);
        }
    }

    fn check(&mut self, ty: Ty, node: &Node, path: &str) {
        match ty {
            Ty::Bool => {
                if node.as_bool().is_none() {
                    self.wrong_type("a boolean", node, path);
                }
            }
            Ty::String { max } => self.string(max, true, node, path),
            Ty::Text => self.string(usize::MAX, false, node, path),
            Ty::Int { min, max } => match node.as_int() {
                None => self.wrong_type("a whole number", node, path),
                Some(value) if value < min || value > max => {
                    self.out_of_range(&range(min, max, max == i64::MAX), node, path);
                }
                Some(_) => {}
            },
            Ty::Any => {}
            Ty::IntOrString => {
                if node.as_int().is_none() && node.as_str().is_none() {
                    self.wrong_type("a whole number or a string", node, path);
                }
            }
            Ty::Number { min, max } => {
                let value = match node.value {
                    Value::Float(value) => Some(value),
                    _ => node.as_int().map(|value| value as f64),
                };
                match value {
                    None => self.wrong_type("a number", node, path),
                    Some(value) if !(min..=max).contains(&value) => {
                        self.out_of_range(&range(min, max, max == f64::MAX), node, path);
                    }
                    Some(_) => {}
                }
            }
            Ty::Duration { zero } => self.duration(zero, node, path),
            Ty::Enum(choices) => self.choice(choices, node, path),
            Ty::Object(object) => self.object(object, node, path),
            Ty::List { item, min, max } => {
                let Value::List(items) = &node.value else {
                    return self.wrong_type("a list", node, path);
                };
                self.count("items", items.len(), min, max, node.span, path);
                for (index, node) in items.iter().enumerate() {
                    self.value(*item, node, &format!("{path}[{index}]"));
                }
            }
            Ty::Map { value, max, null } => {
                let Value::Map(entries) = &node.value else {
                    return self.wrong_type("an object", node, path);
                };
                self.count("entries", entries.len(), 0, max, node.span, path);
                for entry in entries {
                    let path = join(path, &key_segment(&entry.key));
                    if null && entry.node.is_null() {
                        self.used(&path, entry.key_span, Support::Translated, self.rule);
                    } else {
                        self.value(*value, &entry.node, &path);
                    }
                }
            }
        }
    }

    fn string(&mut self, max: usize, templates: bool, node: &Node, path: &str) {
        let Some(text) = node.as_str() else {
            return self.wrong_type("a string", node, path);
        };
        if let Some(template) = template::in_value(text).filter(|_| templates) {
            self.report(
                Diagnostic::error("unrendered-template", "this value was never filled in")
                    .at(node.span)
                    .help(template.help()),
                path,
            );
        } else if text.chars().count() > max {
            self.report(
                Diagnostic::error("too-long", format!("the value is longer than {max} characters"))
                    .at(node.span)
                    .rule("VAL-CRD-14"),
                path,
            );
        }
    }

    fn duration(&mut self, zero: bool, node: &Node, path: &str) {
        let Some(text) = node.as_str() else {
            return self.wrong_type("a time span", node, path);
        };
        let at_least = if zero { 0 } else { 1_000_000 };
        let diagnostic = match duration::nanoseconds(text) {
            None if template::in_value(text).is_some() => return self.string(usize::MAX, true, node, path),
            None => Diagnostic::error("invalid-duration", format!("`{text}` is no time span"))
                .help("units are `h`, `m`, `s` and `ms`, as in `1h30m` or `2.5s`; a day is `24h`"),
            Some(value) if value < at_least && zero => {
                Diagnostic::error("invalid-duration", format!("the time span `{text}` is negative"))
            }
            Some(value) if value < at_least => Diagnostic::error(
                "invalid-duration",
                format!("the time span `{text}` is shorter than a millisecond"),
            ),
            Some(value) if value % 1_000_000 != 0 => {
                let message = format!("the time span `{text}` is no whole number of milliseconds");
                return self.report(
                    Diagnostic::error("invalid-duration", message).at(node.span).rule("VAL-00c"),
                    path,
                );
            }
            Some(_) => return,
        };
        self.report(diagnostic.at(node.span).rule("VAL-CRD-05"), path);
    }

    fn choice(&mut self, choices: &[Choice], node: &Node, path: &str) {
        let Some(text) = node.as_str() else {
            return self.wrong_type("a string", node, path);
        };
        if choices.iter().any(|choice| choice.name == text) {
            return;
        }
        let names: Vec<String> = choices.iter().map(|choice| format!("`{}`", choice.name)).collect();
        let mut help = format!("it can be {}", alternatives(&names));
        if let Some(template) = template::in_value(text) {
            help = template.help().to_owned();
        } else if let Some(name) = suggest::nearest(text, choices.iter().map(|choice| choice.name)) {
            help = format!("did you mean `{name}`? {help}");
        }
        self.report(
            Diagnostic::error("invalid-value", format!("`{text}` is no value of this field"))
                .at(node.span)
                .rule("VAL-CRD-04")
                .help(help),
            path,
        );
    }

    fn unknown_field(&mut self, object: &Object, entry: &Entry, path: &str) {
        let names: Vec<&str> = object.fields.iter().map(|field| field.name).collect();
        let help = match suggest::nearest(&entry.key, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                format!("the fields here are {}", enumeration(&names, "and"))
            }
        };
        let diagnostic =
            Diagnostic::error("unknown-field", format!("there is no field `{}` here", entry.key))
                .at(entry.key_span)
                .rule("VAL-CRD-01")
                .help(help);
        let path = join(path, &key_segment(&entry.key));
        self.report(diagnostic, &path);
        self.used(&path, entry.key_span, UNKNOWN, "VAL-CRD-01");
    }

    fn wrong_type(&mut self, wanted: &str, node: &Node, path: &str) {
        if let Some(diagnostic) = wrong_type(self.sources, wanted, node) {
            self.report(diagnostic, path);
        }
    }

    fn out_of_range(&mut self, range: &str, node: &Node, path: &str) {
        let written = self.sources.snippet(node.span);
        let rule = range_rule(path);
        self.report(
            Diagnostic::error("out-of-range", format!("`{written}` is not {range}")).at(node.span).rule(rule),
            path,
        );
    }

    fn count(&mut self, what: &str, count: usize, min: usize, max: usize, span: Span, path: &str) {
        let (message, rule) = if count < min {
            let of_server = path.starts_with("spec.servers");
            ("the list is empty".to_owned(), if of_server { "VAL-CRD-23" } else { "VAL-CRD-07" })
        } else if count > max {
            (format!("there are {count} {what}, and {max} is the limit"), "VAL-CRD-14")
        } else {
            return;
        };
        self.report(Diagnostic::error("wrong-count", message).at(span).rule(rule), path);
    }

    fn report(&mut self, diagnostic: Diagnostic, path: &str) {
        self.diagnostics.push(diagnostic.resource(&**self.resource).field(path));
    }
}

/// "expected a string, found a boolean", with what to do about it. `None` if the value is a
/// template, which was reported when the YAML was read.
pub(crate) fn wrong_type(sources: &Sources, wanted: &str, node: &Node) -> Option<Diagnostic> {
    let diagnostic = Diagnostic::error("wrong-type", format!("expected {wanted}, found {}", node.describe()))
        .at(node.span);
    let written = sources.snippet(node.span);
    if matches!(node.value, Value::Map(_)) && written.starts_with("{{") {
        return None;
    }
    Some(match (&node.value, wanted) {
        (Value::Int(_) | Value::Float(_), "a time span") if !written.is_empty() => {
            diagnostic.help(format!("a time span has a unit, as `{written}s`"))
        }
        (Value::Bool(_) | Value::Int(_) | Value::Float(_), "a string") if !written.is_empty() => diagnostic
            .help(format!("YAML reads `{written}` as {}; quote it: `\"{written}\"`", node.describe())),
        (Value::String(text), _) => match template::in_value(text) {
            Some(template) => diagnostic.help(template.help()),
            None if wanted == "a list" && !written.is_empty() && written.len() < 80 => {
                diagnostic.help(format!("write `[{written}]`"))
            }
            None if matches!(wanted, "a whole number" | "a number" | "a boolean")
                && written.starts_with(['"', '\'']) =>
            {
                diagnostic.help("leave the quotes out")
            }
            None => diagnostic,
        },
        (Value::Map(_), "a list") => diagnostic.help("a list item begins with a dash: `- `"),
        _ => diagnostic,
    })
}

/// Whether the fields inside are told apart.
fn composed(ty: Ty) -> bool {
    match ty {
        Ty::Object(_) => true,
        Ty::List { item, .. } => matches!(item, Ty::Object(_)),
        Ty::Map { value, .. } => matches!(value, Ty::Object(_)),
        _ => false,
    }
}

/// "between 1 and 5"
fn range<T: std::fmt::Display>(min: T, max: T, open: bool) -> String {
    if open { format!("{min} or more") } else { format!("between {min} and {max}") }
}

/// What becomes of the chosen word.
fn chosen(choices: &[Choice], node: &Node) -> Option<Support> {
    let text = node.as_str()?;
    choices.iter().find(|choice| choice.name == text).map(|choice| choice.support)
}

/// The row that asks for a field.
fn required_rule(field: &Field, path: &str) -> &'static str {
    match (field.name, path) {
        ("hosts", "spec") => "VAL-CRD-07",
        ("port", path) if path.starts_with("spec.ports") => "KS-01",
        (_, path) if path.starts_with("spec.servers") => "VAL-CRD-23",
        (_, path)
            if ["spec.egress", "spec.ingress", "spec.outboundTrafficPolicy"]
                .iter()
                .any(|start| path.starts_with(start)) =>
        {
            "VAL-CRD-22"
        }
        ("number" | "name", path) if path.starts_with("spec.ports") => "VAL-CRD-12",
        ("host", "spec") => "VAL-CRD-19",
        ("port" | "number", path) if path.starts_with("spec.trafficPolicy") => "VAL-DR-03",
        (_, path) if path.starts_with("spec.trafficPolicy") || path.starts_with("spec.subsets") => {
            "VAL-CRD-19"
        }
        ("number", _) => "VAL-VS-14",
        _ => "VAL-CRD-18",
    }
}

/// The row that limits a number.
fn range_rule(path: &str) -> &'static str {
    const LIMITED: [&str; 3] = [".outlierDetectionHttpErrorCodes[", ".retryBudget.", ".warmup."];
    if LIMITED.iter().any(|part| path.contains(part)) { "VAL-CRD-21" } else { "VAL-CRD-06" }
}

fn alternatives(names: &[String]) -> String {
    enumeration(names, "or")
}

/// `a, b and c`
pub(crate) fn enumeration(names: &[String], last: &str) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., end] => format!("{} {last} {end}", most.join(", ")),
    }
}
