//! From a plan to the files that Envoy and a cluster read.

mod bootstrap;
mod capabilities;
mod cluster;
pub(crate) mod discovery;
mod ecds;
pub(crate) mod guard;
pub(crate) mod listener;
mod mesh;
mod nftables;
pub(crate) mod readiness;
mod secret;

pub(crate) use bootstrap::clusters;
pub use mesh::{MeshOptions, check as check_mesh};

use std::collections::BTreeMap;

use portolan_engine::config;
use serde::Deserialize;
use serde_json::Value;

use crate::options::{EnvoyOptions, Options, OutboundPolicy};
use crate::plan::{Plan, original_destination_name, share_routes};

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the output directory, with `/`.
    pub path: String,
    /// The whole content.
    pub content: String,
}

/// What can be emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// The filter's JSON config by itself.
    PluginConfig,
    /// Envoy's bootstrap.
    Envoy,
    /// The file from which Envoy discovers the filter with its config.
    Ecds,
    /// The one from which it discovers clusters, where resources are dynamic.
    Cds,
    /// The files from which it discovers routes, where resources are dynamic.
    Rds,
    /// The file from which it discovers listeners, where resources are dynamic.
    Lds,
    /// The rules that redirect connections to the transparent listener.
    Nftables,
    /// The files from which Envoy discovers client certificates and authorities; none without them.
    Sds,
    /// The resource that loads the filter in an Istio mesh.
    #[serde(rename = "wasmplugin")]
    WasmPlugin,
    /// The newer one of the same effect.
    #[serde(rename = "trafficextension")]
    TrafficExtension,
    /// The one for Envoy Gateway.
    #[serde(rename = "envoyextensionpolicy")]
    EnvoyExtensionPolicy,
}

impl Output {
    /// What is written unless something else is asked for, in this order. Of the resources for a mesh
    /// just the one that every Istio knows: with two of them requests would be rewritten twice.
    /// The rules for nftables are left out where nothing is to be redirected, and those of
    /// [`Self::is_dynamic`] where the bootstrap holds what they would.
    pub const DEFAULT: [Self; 9] = [
        Self::PluginConfig,
        Self::Ecds,
        Self::Cds,
        Self::Rds,
        Self::Lds,
        Self::Sds,
        Self::Envoy,
        Self::Nftables,
        Self::WasmPlugin,
    ];

    /// Whether it holds what stands in the bootstrap unless [`EnvoyOptions::dynamic_resources`] is set.
    pub const fn is_dynamic(self) -> bool {
        matches!(self, Self::Cds | Self::Rds | Self::Lds)
    }

    /// Whether it is for proxies that keep the routes of a control plane.
    pub const fn is_for_mesh(self) -> bool {
        matches!(self, Self::WasmPlugin | Self::TrafficExtension | Self::EnvoyExtensionPolicy)
    }

    /// Where the file stands below the output directory, or the folder of several.
    pub const fn path(self) -> &'static str {
        match self {
            Self::PluginConfig => "plugin-config.json",
            Self::Envoy => "envoy.yaml",
            Self::Ecds => "envoy.d/ecds/portolan.json",
            Self::Cds => "envoy.d/cds/clusters.json",
            Self::Rds => "envoy.d/rds",
            Self::Lds => "envoy.d/lds/listeners.json",
            Self::Nftables => "portolan.nft",
            Self::Sds => "envoy.d/sds",
            Self::WasmPlugin => "wasm-plugin.yaml",
            Self::TrafficExtension => "traffic-extension.yaml",
            Self::EnvoyExtensionPolicy => "envoy-extension-policy.yaml",
        }
    }

    /// The files of this output.
    pub fn render(self, plan: &Plan, options: &Options, mesh: &MeshOptions) -> anyhow::Result<Vec<File>> {
        let content = match self {
            Self::PluginConfig => plugin_config(plan, options).to_json()?,
            Self::Envoy => yaml(BOOTSTRAP_HEADER, &bootstrap::bootstrap(plan, options)?)?,
            Self::Ecds => ecds::response(&plugin_config(plan, options), options)?,
            Self::Cds => return discovery::clusters(plan, options),
            Self::Rds => return discovery::routes(plan, options),
            Self::Lds => return discovery::listeners(plan, options),
            Self::Nftables => nftables::ruleset(&options.envoy),
            Self::Sds => return secret::files(plan, &options.envoy),
            Self::WasmPlugin => yaml(&mesh::header(plan), &mesh::wasm_plugin(plan, mesh))?,
            Self::TrafficExtension => yaml(&mesh::header(plan), &mesh::traffic_extension(plan, mesh))?,
            Self::EnvoyExtensionPolicy => {
                yaml(&mesh::header(plan), &mesh::envoy_extension_policy(plan, mesh)?)?
            }
        };
        Ok(vec![File { path: self.path().to_owned(), content }])
    }
}

/// The filter's config as it is written: with the host that tells whether the filter decides.
fn plugin_config(plan: &Plan, options: &Options) -> config::Config {
    let mut config = share_routes(plan.proxy_config(options));
    config.virtual_hosts.push(readiness::virtual_host());
    config
}

const BOOTSTRAP_HEADER: &str = "\
# Written by `config-gen generate`. Start Envoy in the directory that holds this file:
#   envoy -c envoy.yaml
";

/// `value` as YAML, behind `header`.
pub(crate) fn yaml(header: &str, value: &Value) -> anyhow::Result<String> {
    // A text of one line stays one, however long: that is how Envoy's names are read and found.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(format!("{header}{}", serde_saphyr::to_string_with_options(value, options)?))
}

/// What the filter says of a request: its route profile, a blank, virtual host and route.
const ROUTE_FILTER_STATE: &str = "wasm.portolan.route";

/// Cluster for hosts outside the registry (CL-11).
pub(crate) const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";

/// The same for requests, where addresses are guarded.
pub(crate) const PASSTHROUGH_CLUSTER_BY_ADDRESS: &str = "strict_dns|PassthroughCluster";

/// Cluster without endpoints, for connections that are to be closed (CL-11).
pub(crate) const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";

/// The policy in the plugin config's words.
pub(crate) fn outbound_traffic_policy(options: &Options) -> config::OutboundTrafficPolicy {
    match options.outbound_policy() {
        _ if options.gateway.is_some() => config::OutboundTrafficPolicy::Gateway,
        OutboundPolicy::RegistryOnly => config::OutboundTrafficPolicy::RegistryOnly,
        policy @ (OutboundPolicy::AllowAny | OutboundPolicy::Report) => {
            config::OutboundTrafficPolicy::AllowAny {
                cluster: PASSTHROUGH_CLUSTER.to_owned(),
                upstream_ports: options
                    .envoy
                    .upstream_ports
                    .iter()
                    .filter(|entry| entry.host.is_none())
                    .map(|entry| (entry.port, entry.dialled))
                    .collect(),
                report: policy == OutboundPolicy::Report,
            }
        }
    }
}

/// Clusters that give way to one that dials what the client dialled (SE-R-01, OTP-05).
pub(crate) fn original_destinations(
    plan: &Plan,
    options: &Options,
) -> BTreeMap<String, config::OriginalDestination> {
    let twin = |cluster: &str, addresses: Vec<String>| {
        let twin = config::OriginalDestination { cluster: original_destination_name(cluster), addresses };
        (cluster.to_owned(), twin)
    };
    let registered = plan.clusters.iter().filter_map(|cluster| {
        let original = cluster.original_destination.as_ref()?;
        Some(twin(&cluster.name, original.addresses.iter().map(ToString::to_string).collect()))
    });
    let any = || twin(PASSTHROUGH_CLUSTER, vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()]);
    registered.chain(passes_original_destinations(options).then(any)).collect()
}

/// Whether connections to what isn't in the registry go where the client wanted them.
fn passes_original_destinations(options: &Options) -> bool {
    !options.envoy.transparent.is_empty() && options.outbound_policy().passes()
}

/// A generated file as Envoy finds it.
pub(crate) fn in_files_root(options: &EnvoyOptions, path: &str) -> String {
    match options.files_root.trim_end_matches('/') {
        "" => path.to_owned(),
        root => format!("{root}/{path}"),
    }
}

/// FNV-1a: the same in every release and on every machine.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// `type.googleapis.com/` and the message's name.
pub(crate) fn type_url(message: &str) -> String {
    format!("type.googleapis.com/{message}")
}
