//! MeshConfig: what holds for all clients of a mesh, and what it changes here.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::Node;
use crate::input::{Read, yaml};
use crate::options::{MeshDefaults, Options, OutboundPolicy, TlsDefaults};
use crate::resource::action::{self, Retries};
use crate::resource::destination_rule::{connection_pool, load_balancer, outlier_detection};
use crate::resource::sidecar::outbound_policy;
use crate::resource::{Spanned, validate};
use crate::schema::{MESH_CONFIG, check, duration};
use crate::source::{FileId, Sources};

/// What is taken from a MeshConfig; absence leaves Istio's defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeshConfig {
    /// Present without a mode it is `REGISTRY_ONLY` (OTP-02).
    pub outbound_policy: Option<OutboundPolicy>,
    /// Of services that say nothing (VIS-01).
    pub service_export_to: Vec<String>,
    /// Of VirtualServices that say nothing (VIS-03).
    pub virtual_service_export_to: Vec<String>,
    /// Of DestinationRules that say nothing: `.` or `*` (DR-06).
    pub destination_rule_export_to: Vec<String>,
    /// The namespace whose resources reach all others.
    pub root_namespace: Option<String>,
    /// Of routes that say nothing (VS-RETRY-01).
    pub default_retries: Option<Retries>,
    /// In Envoy's form, such as `2.5s` (DEF-08).
    pub connect_timeout: Option<String>,
    /// In Envoy's form (SE-R-06).
    pub dns_refresh_rate: Option<String>,
    /// Of clusters that say nothing (DR-TP-03).
    pub clusters: MeshDefaults,
    /// Of all TLS but the mesh's own (DR-TLS-06).
    pub tls_defaults: TlsDefaults,
}

/// What the document is called in messages.
const TITLE: &str = "MeshConfig";

/// Reads the file `text`, called `name`: a MeshConfig, or the `ConfigMap` that holds one in
/// `data.mesh`. Findings join those of `read`.
pub fn read(name: &str, text: &str, read: &mut Read) -> MeshConfig {
    let mut sources = std::mem::take(&mut read.sources);
    let file = sources.add(name, text);
    let mut found = Diagnostics::new();
    let config = document(&mut sources, file, name, &mut found, read);
    read.diagnostics.extend(found.into_iter().map(|mut diagnostic| {
        diagnostic.resource.get_or_insert_with(|| TITLE.to_owned());
        diagnostic
    }));
    read.sources = sources;
    config.unwrap_or_default()
}

fn document(
    sources: &mut Sources,
    file: FileId,
    name: &str,
    found: &mut Diagnostics,
    read: &mut Read,
) -> Option<MeshConfig> {
    let mut documents = yaml::load(sources, file, found);
    if found.has_errors() {
        return None;
    }
    if let [_, second, ..] = documents.as_slice() {
        found.push(
            Diagnostic::error("invalid-mesh-config", "there is a second document in the file")
                .at(second.span)
                .help("a mesh has one configuration"),
        );
        return None;
    }
    let mut root = documents.pop()?;
    if root.get("kind").and_then(Node::as_str) == Some("ConfigMap") {
        let Some(mesh) = root.get("data").and_then(|data| data.get("mesh")) else {
            found.push(
                Diagnostic::error("invalid-mesh-config", "the ConfigMap has no `data.mesh`")
                    .at(root.span)
                    .help("it is the ConfigMap `istio` of Istio's namespace that is meant"),
            );
            return None;
        };
        let Some(text) = mesh.as_str().map(str::to_owned) else {
            found.push(
                Diagnostic::error("wrong-type", "expected a string of YAML").at(mesh.span).field("data.mesh"),
            );
            return None;
        };
        let inner = sources.add(format!("{name} (data.mesh)"), text);
        root = yaml::load(sources, inner, found).pop()?;
        if found.has_errors() {
            return None;
        }
    }
    let title: Arc<str> = TITLE.into();
    check::check_document(sources, &title, &MESH_CONFIG, &root, found, &mut read.field_uses);
    let strings = |name: &str| strings(&root, name);
    let tls_defaults = root.get("tlsDefaults").map(|defaults| TlsDefaults {
        curves: self::strings(defaults, "ecdhCurves"),
        cipher_suites: self::strings(defaults, "cipherSuites"),
    });
    let seconds = |name: &str| {
        let nanoseconds = duration::nanoseconds(root.get(name)?.as_str()?)?;
        let milliseconds = nanoseconds / 1_000_000;
        Some(match milliseconds % 1000 {
            0 => format!("{}s", milliseconds / 1000),
            rest => format!("{}.{rest:03}s", milliseconds / 1000),
        })
    };
    let rules = strings("defaultDestinationRuleExportTo");
    if let Some(other) = rules.iter().find(|name| !matches!(name.as_str(), "." | "*")) {
        found.push(
            Diagnostic::warning(
                "invalid-export-to",
                format!("`{other}` has no effect: it can be `.` or `*`"),
            )
            .at(root.get("defaultDestinationRuleExportTo")?.span)
            .field("defaultDestinationRuleExportTo")
            .rule("DR-06"),
        );
    }
    let default_retries = root.get("defaultHttpRetryPolicy").map(action::retries);
    if let Some(retries) = &default_retries {
        let mut problems = Diagnostics::new();
        validate::retries(retries, &mut problems);
        found.extend(problems.into_iter().map(|problem| problem.field("defaultHttpRetryPolicy")));
    }
    Some(MeshConfig {
        outbound_policy: root.get("outboundTrafficPolicy").map(|node| outbound_policy(node).value),
        service_export_to: strings("defaultServiceExportTo"),
        virtual_service_export_to: strings("defaultVirtualServiceExportTo"),
        destination_rule_export_to: rules.into_iter().filter(|name| name == "." || name == "*").collect(),
        root_namespace: root
            .get("rootNamespace")
            .and_then(Node::as_str)
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        default_retries,
        connect_timeout: seconds("connectTimeout"),
        dns_refresh_rate: seconds("dnsRefreshRate"),
        clusters: clusters(&root),
        tls_defaults: tls_defaults.unwrap_or_default(),
    })
}

fn clusters(root: &Node) -> MeshDefaults {
    let policy = root.get("defaultTrafficPolicy");
    let of_policy = |name: &str| policy.and_then(|policy| policy.get(name));
    MeshDefaults {
        connection_pool: of_policy("connectionPool").map(connection_pool::read),
        outlier_detection: of_policy("outlierDetection").map(outlier_detection::read),
        keepalive: root.get("tcpKeepalive").map(connection_pool::keepalive),
        h2_upgrade: root.get("h2UpgradePolicy").and_then(Node::as_str) == Some("UPGRADE"),
        locality: root.get("localityLbSetting").map(load_balancer::locality),
    }
}

fn strings(node: &Node, name: &str) -> Vec<String> {
    let items = node.get(name).map(Node::items).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

impl MeshConfig {
    /// Gives resources without `exportTo` the mesh's.
    pub fn apply(&self, read: &mut Read) {
        let fill = |list: &mut Vec<Spanned<String>>, default: &[String], place| {
            if list.is_empty() {
                list.extend(default.iter().map(|name| Spanned::new(name.clone(), place)));
            }
        };
        for entry in &mut read.service_entries {
            fill(&mut entry.export_to, &self.service_export_to, entry.meta.name.span);
        }
        for service in &mut read.kubernetes_services {
            fill(&mut service.export_to, &self.service_export_to, service.meta.name.span);
        }
        for service in &mut read.virtual_services {
            fill(&mut service.export_to, &self.virtual_service_export_to, service.meta.name.span);
        }
        for rule in &mut read.destination_rules {
            fill(&mut rule.export_to, &self.destination_rule_export_to, rule.meta.name.span);
        }
    }

    /// The options with what the mesh says, and then with what the client's Sidecar says of
    /// hosts outside the registry, unless an option says so itself (OTP-02); a gateway's proxy has
    /// its Gateways in place of a Sidecar.
    pub fn options(&self, options: Options, read: &Read) -> Options {
        let mut options = crate::gateway::options(options, read);
        if let Some(root) = &self.root_namespace {
            options.root_namespace.clone_from(root);
        }
        if let Some(timeout) = &self.connect_timeout {
            options.envoy.connect_timeout.clone_from(timeout);
        }
        if self.dns_refresh_rate.is_some() {
            options.envoy.dns_refresh_rate.clone_from(&self.dns_refresh_rate);
        }
        options.mesh.clone_from(&self.clusters);
        options.envoy.tls_defaults.clone_from(&self.tls_defaults);
        if self.default_retries.is_some() {
            options.default_retries.clone_from(&self.default_retries);
        }
        let sidecar = crate::scope::sidecar(&read.sidecars, &options);
        let own = sidecar.and_then(|sidecar| sidecar.outbound_policy.as_ref()).map(|policy| policy.value);
        options.outbound_policy = options.outbound_policy.or(own).or(self.outbound_policy);
        options
    }
}
