//! The options, as typed: on the command line, in the `options` of a case file, and as an object of
//! JavaScript, where a name such as `--outbound-policy` is `outboundPolicy`.

mod envoy;
mod generation;
mod text;
mod wasm_plugin;

use std::collections::BTreeMap;

#[cfg(feature = "cli")]
use clap::builder::PossibleValuesParser;
use serde::Deserialize;

use crate::credential::Credential;
use crate::gateway::GatewayName;
use crate::input::ReadOptions;
use crate::options::{Clusters, Options, OutboundPolicy, Profile};
#[cfg(feature = "cli")]
use crate::plan::ACCEPTABLE;
use crate::plan::Locality;
use crate::resource::service_entry::Location;
pub use envoy::{Envoy, OrOff};
pub use generation::Generation;
pub use wasm_plugin::WasmPlugin;

/// What decides about meaning, beside the profile: the same for every command. Where Envoy listens and
/// what it needs around it is not among it.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(rename_all = "camelCase", default)]
pub struct Meaning {
    /// Namespace of resources that name none
    #[cfg_attr(feature = "cli", arg(short, long, default_value = "default"))]
    pub namespace: String,

    /// Kind to leave out although it has an effect in Istio, such as AuthorizationPolicy
    #[cfg_attr(feature = "cli", arg(long, value_name = "KIND"))]
    pub accept_ignored: Vec<String>,

    /// Code of an error to accept; it becomes a warning
    #[cfg_attr(feature = "cli", arg(long, value_name = "CODE", value_parser = PossibleValuesParser::new(ACCEPTABLE)))]
    pub accept: Vec<String>,

    /// Generate for the proxy of this Gateway in place of a client's; --listen says where its
    /// servers listen
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAMESPACE/NAME"))]
    #[serde(deserialize_with = "text::optional")]
    pub gateway: Option<GatewayName>,

    /// Do what VirtualServices say for an egress gateway right here, in place of sending requests to
    /// it
    #[cfg_attr(feature = "cli", arg(long, conflicts_with = "gateway"))]
    pub collapse_egress_gateway: bool,

    /// Namespace of the client whose traffic Envoy handles [default: that of --gateway, else of
    /// --namespace]
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAMESPACE"))]
    pub client_namespace: Option<String>,

    /// Labels of the client [default: those that --gateway selects]
    #[cfg_attr(feature = "cli", arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',', value_parser = key_value))]
    #[serde(deserialize_with = "labels")]
    pub client_labels: Vec<(String, String)>,

    /// Where the client stands: what DestinationRules say of localities depends on it
    #[cfg_attr(feature = "cli", arg(long, value_name = "REGION/ZONE/SUBZONE"))]
    #[serde(deserialize_with = "text::optional")]
    pub client_locality: Option<Locality>,

    /// What happens to hosts outside the registry [default: registry-only; profile istio:
    /// allow-any]
    #[cfg_attr(feature = "cli", arg(long, value_name = "POLICY"))]
    pub outbound_policy: Option<OutboundPolicy>,

    /// What a ServiceEntry without location is [default: internal; profile istio: external]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LOCATION"))]
    pub default_location: Option<Location>,

    /// Tell upstreams in x-envoy-* headers what was rewritten and which attempt it is [default:
    /// false; profile istio: true]
    #[cfg_attr(feature = "cli", arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true"))]
    pub envoy_headers: Option<bool>,

    /// Originate TLS for hosts with only TLS ports, also without a DestinationRule
    #[cfg_attr(feature = "cli", arg(long))]
    pub originate_tls: bool,

    /// Files of a `credentialName`, as Envoy finds them: DIR with tls.crt, tls.key and ca.crt, or
    /// cert=FILE,key=FILE,cacert=FILE,crl=FILE. The name ISTIO_MUTUAL is for that mode: DIR with
    /// cert-chain.pem, key.pem and root-cert.pem
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME=DIR|FILES"))]
    #[serde(deserialize_with = "text::list")]
    pub credential: Vec<Credential>,

    /// Serve wildcard hosts that only a VirtualService names
    #[cfg_attr(feature = "cli", arg(long))]
    pub allow_unregistered_wildcards: bool,

    /// Which services share a cluster with others
    #[cfg_attr(feature = "cli", arg(long, value_name = "WHICH", default_value = "auto"))]
    pub clusters: Clusters,
}

impl Default for Meaning {
    fn default() -> Self {
        Self {
            namespace: ReadOptions::default().default_namespace,
            accept_ignored: Vec::new(),
            accept: Vec::new(),
            gateway: None,
            collapse_egress_gateway: false,
            client_namespace: None,
            client_labels: Vec::new(),
            client_locality: None,
            outbound_policy: None,
            default_location: None,
            envoy_headers: None,
            originate_tls: false,
            credential: Vec::new(),
            allow_unregistered_wildcards: false,
            clusters: Clusters::default(),
        }
    }
}

impl Meaning {
    /// These options in `profile`; Envoy's settings are the defaults.
    pub fn options(&self, profile: Profile) -> Options {
        Options {
            profile,
            client_namespace: self.client_namespace.clone().unwrap_or_else(|| self.namespace.clone()),
            client_namespace_given: self.client_namespace.is_some(),
            gateway: self.gateway.clone(),
            collapse_egress_gateway: self.collapse_egress_gateway,
            client_labels: self.client_labels.iter().cloned().collect(),
            client_locality: self.client_locality.clone(),
            outbound_policy: self.outbound_policy,
            default_location: self.default_location,
            envoy_headers: self.envoy_headers,
            originate_tls: self.originate_tls,
            allow_unregistered_wildcards: self.allow_unregistered_wildcards,
            clusters: self.clusters,
            accept: self.accept.clone(),
            credentials: self.credential.clone(),
            ..Options::default()
        }
    }

    /// How resources are read.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions { default_namespace: self.namespace.clone(), accept_ignored: self.accept_ignored.clone() }
    }
}

/// The labels of an object.
fn labels<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
}

#[cfg(feature = "cli")]
fn key_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not of the form KEY=VALUE"))
}
