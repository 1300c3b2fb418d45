//! The `WasmPlugin` that loads the filter in an Istio mesh (spec section 7, GAP-24).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::plan::Plan;

/// What the resource needs besides the rules.
#[derive(Debug, Clone)]
pub struct WasmPluginOptions {
    /// Where proxies find the module: `oci://`, `http://`, `https://` or `file://` (WP-01).
    pub url: String,
    /// Digest of the module, 64 lower-case hex digits (WP-04).
    pub sha256: Option<String>,
    /// Labels of the workloads; empty: all of the namespace (WP-16).
    pub selector: BTreeMap<String, String>,
    /// Namespace of the resource.
    pub namespace: String,
}

impl Default for WasmPluginOptions {
    fn default() -> Self {
        Self {
            url: "file:///etc/portolan/portolan.wasm".to_owned(),
            sha256: None,
            selector: BTreeMap::new(),
            namespace: "default".to_owned(),
        }
    }
}

/// What stands above the resource: what this mode can't do.
pub(super) fn header(plan: &Plan) -> String {
    let mut text = "\
# Written by `config-gen generate`. Loads the filter in the sidecars of an Istio mesh, which
# keep their own routes: the filter rewrites authority and path, and Istio then routes the
# request anew. Istio, not the filter, has to know the destinations (ServiceEntry and
# DestinationRule), refuses unknown hosts and originates TLS.
# Several destinations, timeouts, retries, mirrors and delays are left to the sidecar as well.
# Don't apply the VirtualServices below to the cluster as well: both would rewrite.
"
    .to_owned();
    for host in &plan.mesh_config().virtual_hosts {
        text.push_str(&format!("#   {}\n", host.name));
    }
    text
}

/// The resource.
pub(super) fn wasm_plugin(plan: &Plan, options: &WasmPluginOptions) -> anyhow::Result<Value> {
    let mut spec = json!({
        "url": options.url,
        // Requests that leave a workload, not those that come in (WP-14).
        "match": [{"mode": "CLIENT"}],
        "failStrategy": "FAIL_RELOAD",
        "pluginConfig": plan.mesh_config(),
    });
    if let Value::Object(spec) = &mut spec {
        if let Some(sha256) = &options.sha256 {
            spec.insert("sha256".to_owned(), json!(sha256));
        }
        if !options.selector.is_empty() {
            spec.insert("selector".to_owned(), json!({"matchLabels": options.selector}));
        }
    }
    Ok(json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": "portolan", "namespace": options.namespace},
        "spec": spec,
    }))
}
