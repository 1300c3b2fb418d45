//! The resources that load the filter where a control plane writes Envoy's configuration (spec section 7,
//! GAP-24): in an Istio mesh, and behind Envoy Gateway.

use std::collections::BTreeMap;

use anyhow::bail;
use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, Severity};
use crate::emit::ecds::FILTER_NAME;
use crate::options::Options;
use crate::plan::Plan;

/// What the resources need besides the rules.
#[derive(Debug, Clone)]
pub struct MeshOptions {
    /// Where proxies find the module: `oci://`, `http://`, `https://` or `file://` (WP-01).
    pub url: String,
    /// Digest of the module, 64 lower-case hex digits (WP-04).
    pub sha256: Option<String>,
    /// Labels of the workloads; empty: all of the namespace (WP-16).
    pub selector: BTreeMap<String, String>,
    /// The Gateway of Kubernetes' Gateway API, for Envoy Gateway.
    pub target_gateway: Option<String>,
    /// Namespace of the resource.
    pub namespace: String,
}

impl Default for MeshOptions {
    fn default() -> Self {
        Self {
            url: "file:///etc/portolan/portolan.wasm".to_owned(),
            sha256: None,
            selector: BTreeMap::new(),
            target_gateway: None,
            namespace: "default".to_owned(),
        }
    }
}

/// What stands above a resource: what this way can't do.
pub(super) fn header(plan: &Plan) -> String {
    let mut text = "\
# Written by `config-gen generate`. Loads the filter in proxies that keep the routes of their control
# plane: the filter rewrites authority and path, redirects and answers, and the request is then routed
# anew. Unknown hosts, destinations, balancing and TLS are the control plane's.
"
    .to_owned();
    let findings = plan.mesh.iter().flat_map(|mesh| &mesh.findings);
    for Diagnostic { severity, message, resource, field, help, .. } in findings {
        if *severity != Severity::Note {
            let place = [resource.as_deref(), field.as_deref()].into_iter().flatten().collect::<Vec<_>>();
            text.push_str(&format!("# - {}: {message}", place.join(" ")));
            text.push_str(
                &help.as_ref().map_or_else(String::new, |help| format!("; {help}")).replace('\n', " "),
            );
            text.push('\n');
        }
    }
    text
}

/// A `WasmPlugin`.
pub(super) fn wasm_plugin(plan: &Plan, options: &MeshOptions) -> Value {
    let mut spec = scope(options);
    extend(&mut spec, module(plan, options));
    resource("extensions.istio.io/v1alpha1", "WasmPlugin", options, &spec)
}

/// The newer resource of the same effect, which Istio makes of a WasmPlugin by itself. A cluster is to
/// have one of the two.
pub(super) fn traffic_extension(plan: &Plan, options: &MeshOptions) -> Value {
    let mut spec = scope(options);
    spec["wasm"] = module(plan, options);
    resource("extensions.istio.io/v1alpha1", "TrafficExtension", options, &spec)
}

/// Which requests pass the filter.
fn scope(options: &MeshOptions) -> Value {
    // Requests that leave a workload, not those that come in (WP-14): each is rewritten once.
    let mut spec = json!({"match": [{"mode": "CLIENT"}]});
    if !options.selector.is_empty() {
        spec["selector"] = json!({"matchLabels": options.selector});
    }
    spec
}

/// The module with its config.
fn module(plan: &Plan, options: &MeshOptions) -> Value {
    let mut module = json!({
        "url": options.url,
        // A VM that died is started again; until then requests get an error.
        "failStrategy": "FAIL_RELOAD",
        "pluginConfig": plan.mesh_config(),
    });
    if let Some(sha256) = &options.sha256 {
        module["sha256"] = json!(sha256);
    }
    module
}

/// Envoy Gateway's `EnvoyExtensionPolicy`.
pub(super) fn envoy_extension_policy(plan: &Plan, options: &MeshOptions) -> anyhow::Result<Value> {
    let Some(gateway) = &options.target_gateway else {
        bail!("an EnvoyExtensionPolicy is for a Gateway: name it with `--target-gateway`");
    };
    let (scheme, rest) = options.url.split_once("://").unwrap_or(("oci", &options.url));
    let mut source = json!({"url": if scheme == "oci" { rest } else { &options.url }});
    if let Some(sha256) = &options.sha256 {
        source["sha256"] = json!(sha256);
    }
    let code = match scheme {
        "oci" => json!({"type": "Image", "image": source}),
        "http" | "https" => json!({"type": "HTTP", "http": source}),
        _ => bail!(
            "Envoy Gateway can't load `{}`: name an image or an HTTP address with `--wasm-url`",
            options.url
        ),
    };
    let spec = json!({
        "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway}],
        "wasm": [{
            "name": FILTER_NAME,
            "rootID": FILTER_NAME,
            "code": code,
            "failOpen": false,
            "config": plan.mesh_config(),
        }],
    });
    Ok(resource("gateway.envoyproxy.io/v1alpha1", "EnvoyExtensionPolicy", options, &spec))
}

fn resource(api_version: &str, kind: &str, options: &MeshOptions, spec: &Value) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": FILTER_NAME, "namespace": options.namespace},
        "spec": spec,
    })
}

fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}

/// Without a selector a resource of the root namespace reaches every proxy, egress gateways as well, which
/// count as clients (WP-14, WP-16): a request that goes through one would be rewritten there once more.
pub fn check(mesh: &MeshOptions, options: &Options) -> Option<Diagnostic> {
    let everywhere = mesh.namespace == options.root_namespace && mesh.selector.is_empty();
    everywhere.then(|| {
        Diagnostic::warning(
            "mesh-reaches-gateways",
            format!(
                "in the root namespace `{}` the plugin reaches gateways as well, where requests of sidecars would \
                 be rewritten a second time",
                mesh.namespace
            ),
        )
        .rule("WP-16")
        .help("choose the workloads with `--selector`, or another namespace with `--namespace`")
    })
}
