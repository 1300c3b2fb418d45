//! Text to typed resources: YAML with places, Kubernetes objects, the schema,
//! the types, the value rules. Nothing is generated here, and nothing is lost
//! in silence: what isn't used is an error or stands in the report.

#[cfg(feature = "cli")]
pub mod files;
mod kubernetes;
pub(crate) mod node;
pub(crate) mod scalar;
pub(crate) mod template;
mod timestamp;
pub(crate) mod yaml;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::{
    self, DestinationRule, Gateway, KubernetesService, Meta, Resources, ServiceEntry, Sidecar, Spanned,
    VirtualService, WorkloadEntry, destination_rule, gateway, kubernetes_service, service_entry, sidecar,
    virtual_service, workload_entry,
};
use crate::schema::kinds::Verdict;
use crate::schema::{self, FieldUse, Support, kinds, suggest};
use crate::source::{Sources, Span};
use kubernetes::Object;

/// How to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Namespace of objects that name none; `default` by default.
    pub default_namespace: String,
    /// Kinds that would be refused and are left out instead.
    pub accept_ignored: Vec<String>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { default_namespace: "default".to_owned(), accept_ignored: Vec::new() }
    }
}

/// What stands in the input. If `diagnostics` has errors, the resources may be
/// incomplete and nothing may be generated from them.
#[derive(Debug, Default)]
pub struct Read {
    /// The ServiceEntry objects in the order of the input.
    pub service_entries: Vec<ServiceEntry>,
    /// The VirtualService objects in the order of the input.
    pub virtual_services: Vec<VirtualService>,
    /// The DestinationRule objects in the order of the input.
    pub destination_rules: Vec<DestinationRule>,
    /// The WorkloadEntry objects in the order of the input.
    pub workload_entries: Vec<WorkloadEntry>,
    /// The Sidecar objects in the order of the input.
    pub sidecars: Vec<Sidecar>,
    /// The Gateway objects in the order of the input.
    pub gateways: Vec<Gateway>,
    /// The Kubernetes Service objects in the order of the input.
    pub kubernetes_services: Vec<KubernetesService>,
    /// Findings in the order of the input.
    pub diagnostics: Diagnostics,
    /// What becomes of each field.
    pub field_uses: Vec<FieldUse>,
    /// How many fields were left out that Kubernetes writes itself (`status`,
    /// `managedFields`, ...).
    pub ignored_metadata_fields: usize,
    /// How many objects of each kind were left out.
    pub ignored_objects: BTreeMap<String, usize>,
    /// The texts, for rendering diagnostics.
    pub sources: Sources,
    /// The documents of the resources, to find the path of a place.
    pub(crate) documents: Vec<(String, node::Node)>,
}

impl Read {
    /// All resources, for [`Plan::of`](crate::plan::Plan::of).
    pub fn resources(&self) -> Resources<'_> {
        Resources {
            service_entries: &self.service_entries,
            kubernetes_services: &self.kubernetes_services,
            workload_entries: &self.workload_entries,
            sidecars: &self.sidecars,
            gateways: &self.gateways,
            virtual_services: &self.virtual_services,
            destination_rules: &self.destination_rules,
        }
    }

    /// Adds the resource and the field to a diagnostic that has a place in the
    /// resources read, unless it names them already.
    pub fn locate(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        let Some(span) = diagnostic.span else { return diagnostic };
        let found = self.documents.iter().find(|(_, root)| root.span.contains(span));
        if let Some((title, root)) = found {
            diagnostic.resource.get_or_insert_with(|| title.clone());
            if diagnostic.field.is_none() {
                diagnostic.field = root.path_to(span).filter(|path| !path.is_empty());
            }
        }
        diagnostic
    }
}

/// Reads all texts. Every finding is collected; only a text that is no YAML
/// ends where it breaks.
pub fn read(sources: Sources, options: &ReadOptions) -> Read {
    let mut reader = Reader {
        sources: &sources,
        options,
        read: Read::default(),
        names: HashMap::new(),
        left_out: BTreeMap::new(),
    };
    for file in sources.files() {
        for document in yaml::load(&sources, file, &mut reader.read.diagnostics) {
            let ignored = &mut reader.read.ignored_metadata_fields;
            for object in kubernetes::objects(document, ignored, &mut reader.read.diagnostics) {
                reader.object(object);
            }
        }
    }
    reader.note_left_out();
    let mut read = reader.read;
    read.diagnostics.sort();
    read.sources = sources;
    read
}

struct Reader<'a> {
    sources: &'a Sources,
    options: &'a ReadOptions,
    read: Read,
    /// Where each resource stands, by kind, namespace and name.
    names: HashMap<(&'static str, String, String), Span>,
    /// Kinds that were left out: how often, why, and where first.
    left_out: BTreeMap<String, (usize, &'static str, Span)>,
}

impl Reader<'_> {
    fn object(&mut self, object: Object) {
        let kind = object.kind.value.as_str();
        let accepted = self.options.accept_ignored.iter().any(|accepted| accepted == kind);
        let known = kinds::find(object.group(), kind);
        if let Some(table) = schema::checked_table(object.group(), kind) {
            self.checked(&object, table);
        }
        match known.map(|kind| kind.verdict) {
            Some(Verdict::Translated) => self.translated(object),
            Some(Verdict::Ignored(why)) => self.leave_out(&object, why),
            Some(Verdict::Refused(_)) | None if accepted => {
                self.leave_out(&object, "it is accepted as ignored");
            }
            Some(Verdict::Refused(why)) => {
                self.whole(&object, Support::Refused(why));
                self.push(
                Diagnostic::error("refused-kind", format!("`{kind}` is not supported: {why}"))
                    .at(object.kind.span)
                    .resource(object.title(&self.options.default_namespace))
                    .help(format!(
                        "take it out of the input, or accept the difference with `--accept-ignored {kind}`"
                    )),
                );
            }
            None => self.unknown_kind(&object),
        }
    }

    /// One line in the report for an object of which no field is read.
    fn whole(&mut self, object: &Object, support: Support) {
        self.read.field_uses.push(FieldUse {
            resource: object.title(&self.options.default_namespace).into(),
            field: "kind".to_owned(),
            span: object.kind.span,
            support,
            rule: "",
        });
    }

    fn unknown_kind(&mut self, object: &Object) {
        self.whole(object, Support::Refused("the kind is not known"));
        let kind = object.kind.value.as_str();
        let title = object.title(&self.options.default_namespace);
        // Something with the right name in a group that is Istio's, or nearly so, is more likely a
        // slip than a stranger. Others have a kind `Gateway`, too.
        let is_slip = |known: &&kinds::Kind| {
            let group = object.group();
            group.is_empty()
                || group.ends_with("istio.io")
                || suggest::nearest(group, [known.group]).is_some()
        };
        if let Some(known) = kinds::translated_kind(kind).filter(is_slip) {
            let message = format!("`{}` has no kind `{kind}`", object.api_version.value);
            return self.push(
                Diagnostic::error("wrong-api-version", message)
                    .at(object.api_version.span)
                    .resource(title)
                    .field("apiVersion")
                    .rule("VAL-CRD-02")
                    .help(format!("Istio's is `{}/v1`", known.group)),
            );
        }
        if let Some(instead) = kinds::retired(object.group()) {
            return self.push(
                Diagnostic::error(
                    "retired-kind",
                    format!("Istio has dropped the kinds of `{}`, such as `{kind}`", object.group()),
                )
                .at(object.kind.span)
                .resource(title)
                .field("kind")
                .rule("IST0002")
                .help(format!("use {instead} instead; `--accept-ignored {kind}` leaves it out")),
            );
        }
        let names = kinds::KINDS.iter().map(|kind| kind.name);
        let message = if object.group().is_empty() {
            format!("the kind `{kind}` is not known")
        } else {
            format!("the kind `{kind}` of `{}` is not known", object.group())
        };
        let help = match suggest::nearest(kind, names).filter(|name| *name != kind) {
            Some(name) => format!("did you mean `{name}`?"),
            None => {
                format!("take it out of the input, or accept the difference with `--accept-ignored {kind}`")
            }
        };
        self.push(
            Diagnostic::error("unknown-kind", message)
                .at(object.kind.span)
                .resource(title)
                .field("kind")
                .help(help),
        );
    }

    fn leave_out(&mut self, object: &Object, why: &'static str) {
        let entry = self.left_out.entry(object.kind.value.clone()).or_insert((0, why, object.kind.span));
        entry.0 += 1;
        self.whole(object, Support::Ignored(why));
    }

    /// One note for each kind, at the first object.
    fn note_left_out(&mut self) {
        for (kind, (count, why, span)) in std::mem::take(&mut self.left_out) {
            let message = match count {
                1 => format!("a `{kind}` is left out: {why}"),
                _ => format!("{count} `{kind}` objects are left out: {why}"),
            };
            self.push(Diagnostic::note("ignored-kind", message).at(span));
            self.read.ignored_objects.insert(kind, count);
        }
    }

    fn translated(&mut self, object: Object) {
        let Some((kind, table)) = schema::table(&object.kind.value) else { return };
        let namespace = &self.options.default_namespace;
        let (metadata, findings) = kubernetes::metadata(self.sources, &object, namespace);
        self.read.ignored_metadata_fields += metadata.ignored();
        self.read.field_uses.extend(metadata.uses);
        let meta = Meta {
            kind,
            name: metadata.name.unwrap_or_else(|| Spanned::new("?".to_owned(), object.kind.span)),
            namespace: metadata
                .namespace
                .map_or_else(|| self.options.default_namespace.clone(), |ns| ns.value),
            labels: metadata.labels,
            annotations: metadata.annotations,
            creation_timestamp: metadata.creation_timestamp,
            span: object.root.span,
        };
        let title: Arc<str> = meta.title().into();
        let mut diagnostics = Diagnostics::new();
        diagnostics.extend(findings.into_iter().map(|finding| finding.resource(&*title)));
        self.version(&object, &mut diagnostics);
        self.repeated(&meta, &mut diagnostics);
        // Nothing asks for the spec of a Sidecar (VAL-CRD-03); the others need a field in it.
        let absent = (kind == "Sidecar")
            .then(|| node::Node { value: node::Value::Map(Vec::new()), span: object.root.span });
        match object.root.get("spec").or(absent.as_ref()) {
            Some(spec) => {
                schema::check::check(
                    self.sources,
                    &title,
                    table,
                    spec,
                    &mut diagnostics,
                    &mut self.read.field_uses,
                );
                self.resource(meta, spec, object.root.get("status"), &mut diagnostics);
            }
            None => diagnostics.push(
                Diagnostic::error("missing-field", "`spec` is missing")
                    .at(object.root.span)
                    .field("spec")
                    .rule("VAL-CRD-03"),
            ),
        }
        self.add_places(diagnostics, &title, &object.root);
        self.read.documents.push((title.to_string(), object.root));
    }

    /// An object of which nothing is made: what a cluster would refuse in it is an error all the same.
    fn checked(&mut self, object: &Object, table: &'static schema::Object) {
        let title: Arc<str> = object.title(&self.options.default_namespace).into();
        let mut diagnostics = Diagnostics::new();
        self.version(object, &mut diagnostics);
        match object.root.get("spec") {
            Some(spec) => {
                // One line speaks of the whole object.
                let uses = &mut Vec::new();
                schema::check::check(self.sources, &title, table, spec, &mut diagnostics, uses);
                resource::validate::wasm_plugin::validate(spec, &mut diagnostics);
                // One row has all limits of this kind.
                diagnostics.iter_mut().for_each(|diagnostic| diagnostic.rule = Some("VAL-CRD-24"));
            }
            None => diagnostics.push(
                Diagnostic::error("missing-field", "`spec` is missing")
                    .at(object.root.span)
                    .field("spec")
                    .rule("VAL-CRD-03"),
            ),
        }
        self.add_places(diagnostics, &title, &object.root);
    }

    /// Says of findings which resource and which field they are about.
    fn add_places(&mut self, mut diagnostics: Diagnostics, title: &str, root: &node::Node) {
        for diagnostic in diagnostics.iter_mut() {
            diagnostic.resource.get_or_insert_with(|| title.to_owned());
            if let (None, Some(span)) = (&diagnostic.field, diagnostic.span) {
                diagnostic.field = root.path_to(span).filter(|path| !path.is_empty());
            }
        }
        self.read.diagnostics.extend(diagnostics);
    }

    fn resource(
        &mut self,
        meta: Meta,
        spec: &node::Node,
        status: Option<&node::Node>,
        diagnostics: &mut Diagnostics,
    ) {
        use resource::validate;
        match meta.kind {
            "ServiceEntry" => {
                let entry = service_entry::read(meta, spec);
                validate::service_entry::validate(&entry, spec, diagnostics);
                self.read.service_entries.push(entry);
            }
            "VirtualService" => {
                let service = virtual_service::read(meta, spec);
                validate::virtual_service::validate(&service, spec, diagnostics);
                self.read.virtual_services.push(service);
            }
            "WorkloadEntry" => {
                let entry = workload_entry::read(meta, spec, status);
                validate::workload_entry::validate(&entry, spec, diagnostics);
                self.read.workload_entries.push(entry);
            }
            "Sidecar" => {
                let sidecar = sidecar::read(meta, spec);
                validate::sidecar::validate(&sidecar, diagnostics);
                self.read.sidecars.push(sidecar);
            }
            "Gateway" => {
                let gateway = gateway::read(meta, spec);
                validate::gateway::validate(&gateway, spec, diagnostics);
                self.read.gateways.push(gateway);
            }
            "Service" => {
                let service = kubernetes_service::read(meta, spec);
                validate::kubernetes_service::validate(&service, spec, diagnostics);
                self.read.kubernetes_services.push(service);
            }
            _ => {
                if let Some(rule) = destination_rule::read(meta, spec) {
                    validate::destination_rule::validate(&rule, spec, diagnostics);
                    self.read.destination_rules.push(rule);
                }
            }
        }
    }

    fn version(&self, object: &Object, diagnostics: &mut Diagnostics) {
        let group = object.group();
        let versions = kinds::versions(group);
        if versions.contains(&object.version()) {
            return;
        }
        let name = |version: &&str| match group {
            "" => format!("`{version}`"),
            _ => format!("`{group}/{version}`"),
        };
        let versions: Vec<String> = versions.iter().map(name).collect();
        diagnostics.push(
            Diagnostic::error(
                "wrong-api-version",
                format!(
                    "`{}` is no version of `{}` that is read",
                    object.api_version.value, object.kind.value
                ),
            )
            .at(object.api_version.span)
            .field("apiVersion")
            .rule("VAL-CRD-02")
            .help(format!("it can be {}", schema::check::enumeration(&versions, "or"))),
        );
    }

    /// In a cluster the second one would replace the first.
    fn repeated(&mut self, meta: &Meta, diagnostics: &mut Diagnostics) {
        if meta.name.value == "?" {
            return;
        }
        let key = (meta.kind, meta.namespace.clone(), meta.name.value.clone());
        if let Some(first) = self.names.get(&key) {
            diagnostics.push(
                Diagnostic::error(
                    "duplicate-object",
                    "an object of this kind, namespace and name is already there",
                )
                .at(meta.name.span)
                .also("first given at", *first)
                .field("metadata.name")
                .help("in a cluster the second one would replace the first; rename one or take one out"),
            );
        } else {
            self.names.insert(key, meta.name.span);
        }
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.read.diagnostics.push(diagnostic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Read {
        let mut sources = Sources::new();
        sources.add(
            "a.yaml",
            "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: ns, uid: x}
spec:
  hosts: [a, b]
  http:
  - match: [{name: m, statPrefix: m, uri: {exact: /}}]
    route: [{destination: {host: c, subset: v1}}]
status: {}
",
        );
        read(sources, &ReadOptions::default())
    }

    #[test]
    fn every_field_is_accounted_for() {
        let read = example();
        let uses: Vec<(&str, &str)> =
            read.field_uses.iter().map(|one| (one.field.as_str(), one.support.name())).collect();
        let expected = [
            ("status", "ignored"),
            ("metadata.name", "translated"),
            ("metadata.namespace", "translated"),
            ("metadata.uid", "ignored"),
            ("spec.hosts", "translated"),
            ("spec.http[0].match[0].name", "translated"),
            ("spec.http[0].match[0].statPrefix", "ignored"),
            ("spec.http[0].match[0].uri.exact", "translated"),
            ("spec.http[0].route[0].destination.host", "translated"),
            ("spec.http[0].route[0].destination.subset", "translated"),
        ];
        assert_eq!(uses, expected);
        assert!(read.field_uses.iter().all(|one| &*one.resource == "VirtualService ns/a"));
        assert_eq!(read.ignored_metadata_fields, 2);
    }

    #[test]
    fn a_place_is_found_again() {
        let read = example();
        let service = &read.virtual_services[0];
        let place = |span| {
            let found = read.locate(Diagnostic::error("x", "y").at(span));
            (found.resource.unwrap_or_default(), found.field.unwrap_or_default())
        };
        let title = "VirtualService ns/a".to_owned();
        assert_eq!(place(service.hosts[1].span), (title.clone(), "spec.hosts[1]".to_owned()));
        assert_eq!(place(service.http[0].span), (title.clone(), "spec.http[0]".to_owned()));
        let host = service.http[0].route[0].destination.host.span;
        assert_eq!(place(host), (title.clone(), "spec.http[0].route[0].destination.host".to_owned()));
        assert_eq!(place(service.meta.name.span), (title, "metadata.name".to_owned()));
    }

    /// VAL-CRD-03
    #[test]
    fn a_sidecar_needs_no_spec() {
        for (kind, errors) in [("Sidecar", 0), ("ServiceEntry", 1)] {
            let mut sources = Sources::new();
            let head = "apiVersion: networking.istio.io/v1\nkind";
            sources.add("a.yaml", format!("{head}: {kind}\nmetadata: {{name: a}}\n"));
            let read = read(sources, &ReadOptions::default());
            assert_eq!(read.diagnostics.len(), errors, "{}", read.diagnostics.render(&read.sources));
        }
    }
}
