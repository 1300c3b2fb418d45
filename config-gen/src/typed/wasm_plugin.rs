//! The resource that loads the filter where a control plane writes Envoy's configuration.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::emit::MeshOptions;
use crate::resource::validate::wasm_plugin;

/// The resource that loads the filter in a mesh, as typed.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(
    feature = "cli",
    derive(clap::Args),
    command(next_help_heading = "WasmPlugin, TrafficExtension, EnvoyExtensionPolicy")
)]
#[serde(rename_all = "camelCase", default)]
pub struct WasmPlugin {
    /// Where proxies find the module: oci, http, https or file
    #[cfg_attr(feature = "cli", arg(long, value_name = "URL", default_value = "file:///etc/portolan/portolan.wasm", value_parser = wasm_url))]
    #[serde(deserialize_with = "read_url")]
    pub wasm_url: String,

    /// Digest of the module
    #[cfg_attr(feature = "cli", arg(long, value_name = "HEX", value_parser = sha256))]
    #[serde(deserialize_with = "read_sha256")]
    pub wasm_sha256: Option<String>,

    /// Labels of the workloads [default: all of the namespace]
    #[cfg_attr(feature = "cli", arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',', value_parser = super::key_value))]
    #[serde(deserialize_with = "super::labels")]
    pub selector: Vec<(String, String)>,

    /// Gateway of the Kubernetes Gateway API that an EnvoyExtensionPolicy is for
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME"))]
    pub target_gateway: Option<String>,
}

impl Default for WasmPlugin {
    fn default() -> Self {
        let MeshOptions { url, sha256, target_gateway, .. } = MeshOptions::default();
        Self { wasm_url: url, wasm_sha256: sha256, selector: Vec::new(), target_gateway }
    }
}

impl WasmPlugin {
    /// What this comes to, for a resource in `namespace`.
    pub fn options(&self, namespace: &str) -> MeshOptions {
        MeshOptions {
            url: self.wasm_url.clone(),
            sha256: self.wasm_sha256.clone(),
            selector: self.selector.iter().cloned().collect(),
            target_gateway: self.target_gateway.clone(),
            namespace: namespace.to_owned(),
        }
    }
}

fn sha256(text: &str) -> Result<String, &'static str> {
    wasm_plugin::sha256(text).map(|()| text.to_owned())
}

/// VAL-CRD-24
fn wasm_url(text: &str) -> Result<String, &'static str> {
    wasm_plugin::module_url(text).map(|()| text.to_owned())
}

fn read_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    wasm_url(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn read_sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| sha256(&text).map_err(D::Error::custom)).transpose()
}
