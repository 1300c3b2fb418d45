//! YAML documents to Kubernetes objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::node::{Entry, Node, Value, join, key_segment};
use super::{template, timestamp};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::Spanned;
use crate::schema::check::wrong_type;
use crate::schema::metadata::{ANNOTATIONS, METADATA, OTHER_ANNOTATION, STATUS};
use crate::schema::{FieldUse, NULL, Support, UNKNOWN, suggest};
use crate::source::Sources;

/// A document with a kind, or an item of a list.
pub(crate) struct Object {
    pub(crate) api_version: Spanned<String>,
    pub(crate) kind: Spanned<String>,
    pub(crate) root: Node,
}

impl Object {
    /// `networking.istio.io` of `networking.istio.io/v1`; empty for `v1`.
    pub(crate) fn group(&self) -> &str {
        self.api_version.value.split_once('/').map_or("", |(group, _)| group)
    }

    /// `v1` of `networking.istio.io/v1`.
    pub(crate) fn version(&self) -> &str {
        self.api_version.value.split_once('/').map_or(&*self.api_version.value, |(_, version)| version)
    }

    /// The name, if there is a proper one; for messages about objects whose
    /// metadata isn't checked.
    pub(crate) fn title(&self, default_namespace: &str) -> String {
        let metadata =
            |name: &str| self.root.get("metadata")?.get(name)?.as_str().filter(|text| !text.is_empty());
        let namespace = metadata("namespace").unwrap_or(default_namespace);
        format!("{} {namespace}/{}", self.kind.value, metadata("name").unwrap_or("?"))
    }
}

/// The metadata that is used.
#[derive(Default)]
pub(crate) struct Metadata {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) namespace: Option<Spanned<String>>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) creation_timestamp: Option<i64>,
    /// What becomes of each field.
    pub(crate) uses: Vec<FieldUse>,
}

impl Metadata {
    /// How many fields were left out as Kubernetes' own.
    pub(crate) fn ignored(&self) -> usize {
        let own = |one: &&FieldUse| {
            matches!(one.support, Support::Ignored(_))
                && one.support != NULL
                && one.support != OTHER_ANNOTATION
        };
        self.uses.iter().filter(own).count()
    }
}

/// Takes a document apart: itself, or the items of a list, at any depth. The
/// number of ignored fields of the lists themselves is added to `ignored`.
pub(crate) fn objects(document: Node, ignored: &mut usize, diagnostics: &mut Diagnostics) -> Vec<Object> {
    let mut found = Vec::new();
    let mut open = vec![document];
    while let Some(node) = open.pop() {
        let Some((api_version, kind)) = header(&node, diagnostics) else { continue };
        let is_list = kind.value == "List" || (kind.value.ends_with("List") && node.entry("items").is_some());
        if !is_list {
            found.push(Object { api_version, kind, root: node });
            continue;
        }
        *ignored += usize::from(node.entry("metadata").is_some());
        let span = node.span;
        let Value::Map(entries) = node.value else { continue };
        for entry in entries {
            match entry.key.as_str() {
                "apiVersion" | "kind" | "metadata" => {}
                "items" => match entry.node.value {
                    // Taken from the end, so that the first item comes first.
                    Value::List(items) => open.extend(items.into_iter().rev()),
                    Value::Null => {}
                    _ => diagnostics.push(
                        Diagnostic::error("wrong-type", "expected a list, found something else")
                            .at(entry.node.span)
                            .field("items"),
                    ),
                },
                _ => diagnostics.push(
                    Diagnostic::error(
                        "unknown-field",
                        format!("there is no field `{}` in a list", entry.key),
                    )
                    .at(entry.key_span)
                    .also("the list begins at", span),
                ),
            }
        }
    }
    found
}

fn header(node: &Node, diagnostics: &mut Diagnostics) -> Option<(Spanned<String>, Spanned<String>)> {
    let Value::Map(_) = &node.value else {
        diagnostics.push(
            Diagnostic::error(
                "no-kubernetes-object",
                format!("this is {}, not a Kubernetes object", node.describe()),
            )
            .at(node.span)
            .help("a document is an object with `apiVersion`, `kind` and `metadata`"),
        );
        return None;
    };
    let mut missing = Vec::new();
    let mut take = |name: &'static str| {
        let value = node.get(name);
        match value.and_then(Node::as_str) {
            Some("") | None => missing.push((name, value)),
            Some(text) => return value.map(|value| Spanned::new(text.to_owned(), value.span)),
        }
        None
    };
    let api_version = take("apiVersion");
    let kind = take("kind");
    match missing.as_slice() {
        [] => return Some((api_version?, kind?)),
        [(name, Some(value))] | [(name, Some(value)), _] => diagnostics.push(
            Diagnostic::error(
                "no-kubernetes-object",
                format!("`{name}` has to be a string, and not an empty one"),
            )
            .at(value.span)
            .field(*name),
        ),
        [(name, None)] => diagnostics.push(
            Diagnostic::error(
                "no-kubernetes-object",
                format!("`{name}` is missing, so this is no Kubernetes object"),
            )
            .at(node.span)
            .field(*name),
        ),
        _ => diagnostics.push(
            Diagnostic::error(
                "no-kubernetes-object",
                "`apiVersion` and `kind` are missing, so this is no Kubernetes object",
            )
            .at(node.span)
            .help("a document is an object with `apiVersion`, `kind` and `metadata`"),
        ),
    }
    None
}

/// Reads the metadata and checks the keys at the top. Findings are about the
/// object, but don't name it yet: whether it has a name is found out here.
pub(crate) fn metadata(
    sources: &Sources,
    object: &Object,
    default_namespace: &str,
) -> (Metadata, Vec<Diagnostic>) {
    let title = object.title(default_namespace).into();
    let mut reader = Reader { sources, title, metadata: Metadata::default(), findings: Vec::new() };
    reader.top(&object.root);
    match object.root.get("metadata") {
        None => reader.missing_name(&object.root),
        Some(node) => reader.metadata(&object.root, node),
    }
    (reader.metadata, reader.findings)
}

struct Reader<'a> {
    sources: &'a Sources,
    title: Arc<str>,
    metadata: Metadata,
    findings: Vec<Diagnostic>,
}

impl Reader<'_> {
    /// The webhook refuses other keys too (VAL-CRD-01).
    fn top(&mut self, root: &Node) {
        const KNOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
        for entry in root.entries() {
            match entry.key.as_str() {
                "status" => self.used(entry, "status", status(root), "SE-35"),
                key @ ("metadata" | "spec") if entry.node.is_null() => self.used(entry, key, NULL, ""),
                key if KNOWN.contains(&key) => {}
                _ => self.unknown(entry, "", &KNOWN),
            }
        }
    }

    fn metadata(&mut self, root: &Node, node: &Node) {
        const KNOWN: [&str; 5] = ["name", "namespace", "labels", "annotations", "creationTimestamp"];
        if let Some(entry) = root.entry("metadata").filter(|entry| entry.node.entries().is_empty()) {
            self.used(entry, "metadata", Support::Translated, "");
        }
        if !matches!(node.value, Value::Map(_)) {
            self.wrong_type("an object", node, "metadata");
            return;
        }
        for entry in node.entries() {
            let key = entry.key.as_str();
            let Some(field) = METADATA.fields.iter().find(|field| field.name == key) else {
                self.unknown(entry, "metadata", &KNOWN);
                continue;
            };
            if key != "annotations" || entry.node.is_null() {
                self.used(entry, &join("metadata", key), field.support, field.rule);
            }
            if entry.node.is_null() || field.support != Support::Translated {
                continue;
            }
            match key {
                "name" => self.metadata.name = self.name(entry, subdomain),
                "namespace" => self.metadata.namespace = self.name(entry, label),
                "labels" => self.metadata.labels = self.strings(entry),
                "annotations" => {
                    self.metadata.annotations = self.strings(entry);
                    self.annotations(entry);
                }
                _ => self.creation_timestamp(entry),
            }
        }
        if node.get("name").is_none_or(|name| name.as_str() == Some("")) {
            self.missing_name(node);
        }
    }

    fn annotations(&mut self, annotations: &Entry) {
        for entry in annotations.node.entries() {
            let known = ANNOTATIONS.fields.iter().find(|field| field.name == entry.key);
            let (support, rule) = known.map_or((OTHER_ANNOTATION, ""), |field| (field.support, field.rule));
            self.used(entry, &join("metadata.annotations", &key_segment(&entry.key)), support, rule);
        }
        if annotations.node.entries().is_empty() {
            self.used(annotations, "metadata.annotations", Support::Translated, "");
        }
    }

    fn used(&mut self, entry: &Entry, path: &str, support: Support, rule: &'static str) {
        self.metadata.uses.push(FieldUse {
            resource: Arc::clone(&self.title),
            field: path.to_owned(),
            span: entry.node.span,
            support: if entry.node.is_null() { NULL } else { support },
            rule,
        });
    }

    fn missing_name(&mut self, node: &Node) {
        let diagnostic = Diagnostic::error("missing-name", "the object has no name").at(node.span);
        let help = match node.get("generateName") {
            Some(_) => {
                "`generateName` is filled in by Kubernetes when the object is created; give it a `name` here"
            }
            None => "set `metadata.name`",
        };
        self.push(diagnostic.help(help), "metadata.name");
    }

    fn name(
        &mut self,
        entry: &Entry,
        is_valid: fn(&str) -> Result<(), &'static str>,
    ) -> Option<Spanned<String>> {
        let field = join("metadata", &entry.key);
        let Some(text) = entry.node.as_str() else {
            self.wrong_type("a string", &entry.node, &field);
            return None;
        };
        if text.is_empty() {
            return None;
        }
        if let Some(template) = template::in_value(text) {
            let diagnostic = Diagnostic::error("unrendered-template", "this value was never filled in");
            self.push(diagnostic.at(entry.node.span).help(template.help()), &field);
        } else if let Err(why) = is_valid(text) {
            let diagnostic =
                Diagnostic::error("invalid-name", format!("Kubernetes takes no `{text}` here: {why}"));
            self.push(diagnostic.at(entry.node.span), &field);
        }
        Some(Spanned::new(text.to_owned(), entry.node.span))
    }

    fn strings(&mut self, entry: &Entry) -> BTreeMap<String, String> {
        let field = join("metadata", &entry.key);
        if !matches!(entry.node.value, Value::Map(_)) {
            self.wrong_type("an object", &entry.node, &field);
        }
        let mut strings = BTreeMap::new();
        for item in entry.node.entries() {
            match item.node.as_str() {
                Some(text) => drop(strings.insert(item.key.clone(), text.to_owned())),
                None => self.wrong_type("a string", &item.node, &join(&field, &key_segment(&item.key))),
            }
        }
        strings
    }

    fn creation_timestamp(&mut self, entry: &Entry) {
        self.metadata.creation_timestamp = entry.node.as_str().and_then(timestamp::seconds);
        if self.metadata.creation_timestamp.is_none() {
            let diagnostic = Diagnostic::error("invalid-timestamp", "this is no time")
                .at(entry.node.span)
                .help("write it as `2024-05-06T07:08:09Z`, or leave it out");
            self.push(diagnostic, "metadata.creationTimestamp");
        }
    }

    fn unknown(&mut self, entry: &Entry, path: &str, known: &[&'static str]) {
        let help =
            suggest::nearest(&entry.key, known.iter().copied()).map(|name| format!("did you mean `{name}`?"));
        let mut diagnostic =
            Diagnostic::error("unknown-field", format!("there is no field `{}` here", entry.key))
                .at(entry.key_span)
                .rule("VAL-CRD-01");
        diagnostic.help = help;
        let path = join(path, &key_segment(&entry.key));
        self.push(diagnostic, &path);
        self.used(entry, &path, UNKNOWN, "VAL-CRD-01");
    }

    fn wrong_type(&mut self, wanted: &str, node: &Node, field: &str) {
        if let Some(diagnostic) = wrong_type(self.sources, wanted, node) {
            self.push(diagnostic, field);
        }
    }

    fn push(&mut self, diagnostic: Diagnostic, field: &str) {
        self.findings.push(diagnostic.field(field));
    }
}

/// That of a WorkloadEntry says whether it is healthy.
fn status(root: &Node) -> Support {
    let kind = root.get("kind").and_then(Node::as_str);
    if kind == Some("WorkloadEntry") { Support::Translated } else { STATUS }
}

/// What Kubernetes takes for the name of an object of these kinds.
fn subdomain(text: &str) -> Result<(), &'static str> {
    if text.len() > 253 {
        Err("a name has at most 253 characters")
    } else if text.split('.').all(|part| is_label(part, usize::MAX)) {
        Ok(())
    } else {
        Err(
            "a name consists of lower-case letters, digits, `-` and `.`, and begins and ends with a letter or digit",
        )
    }
}

/// What Kubernetes takes for the name of a namespace.
fn label(text: &str) -> Result<(), &'static str> {
    if is_label(text, 63) {
        Ok(())
    } else {
        Err("a namespace has at most 63 characters: lower-case letters, digits and inner `-`")
    }
}

fn is_label(text: &str, max: usize) -> bool {
    let bytes = text.as_bytes();
    let outer = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    bytes.len() <= max
        && outer(bytes.first())
        && outer(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}
