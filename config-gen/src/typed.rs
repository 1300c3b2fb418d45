//! The options that decide about meaning, as typed: the same for every command and for the
//! `options` of a case file. Where Envoy listens and what it needs around it is not among them.

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::credential::Credential;
use crate::gateway::GatewayName;
use crate::input::ReadOptions;
use crate::options::{Clusters, Options, OutboundPolicy, Profile};
use crate::plan::{ACCEPTABLE, Locality};
use crate::resource::service_entry::Location;

/// What is typed beside the profile, which some callers choose themselves.
#[derive(Debug, Clone, Args)]
pub(crate) struct Meaning {
    /// Namespace of resources that name none
    #[arg(short, long, default_value = "default")]
    pub(crate) namespace: String,

    /// Kind to leave out although it has an effect in Istio, such as AuthorizationPolicy
    #[arg(long, value_name = "KIND")]
    accept_ignored: Vec<String>,

    /// Code of an error to accept; it becomes a warning
    #[arg(long, value_name = "CODE", value_parser = PossibleValuesParser::new(ACCEPTABLE))]
    accept: Vec<String>,

    /// Generate for the proxy of this Gateway in place of a client's; --listen says where its
    /// servers listen
    #[arg(long, value_name = "NAMESPACE/NAME")]
    gateway: Option<GatewayName>,

    /// Do what VirtualServices say for an egress gateway right here, in place of sending requests to
    /// it
    #[arg(long, conflicts_with = "gateway")]
    collapse_egress_gateway: bool,

    /// Namespace of the client whose traffic Envoy handles [default: that of --gateway, else of
    /// --namespace]
    #[arg(long, value_name = "NAMESPACE")]
    client_namespace: Option<String>,

    /// Labels of the client [default: those that --gateway selects]
    #[arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',', value_parser = key_value)]
    client_labels: Vec<(String, String)>,

    /// Where the client stands: what DestinationRules say of localities depends on it
    #[arg(long, value_name = "REGION/ZONE/SUBZONE")]
    client_locality: Option<Locality>,

    /// What happens to hosts outside the registry [default: registry-only; profile istio:
    /// allow-any]
    #[arg(long, value_name = "POLICY")]
    outbound_policy: Option<OutboundPolicy>,

    /// What a ServiceEntry without location is [default: internal; profile istio: external]
    #[arg(long, value_name = "LOCATION")]
    default_location: Option<Location>,

    /// Tell upstreams in x-envoy-* headers what was rewritten and which attempt it is [default:
    /// false; profile istio: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    envoy_headers: Option<bool>,

    /// Originate TLS for hosts with only TLS ports, also without a DestinationRule
    #[arg(long)]
    originate_tls: bool,

    /// Files of a `credentialName`, as Envoy finds them: DIR with tls.crt, tls.key and ca.crt, or
    /// cert=FILE,key=FILE,cacert=FILE,crl=FILE. The name ISTIO_MUTUAL is for that mode: DIR with
    /// cert-chain.pem, key.pem and root-cert.pem
    #[arg(long, value_name = "NAME=DIR|FILES")]
    credential: Vec<Credential>,

    /// Serve wildcard hosts that only a VirtualService names
    #[arg(long)]
    allow_unregistered_wildcards: bool,

    /// Which services share a cluster with others
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub(crate) clusters: Clusters,
}

impl Meaning {
    /// These options in `profile`; Envoy's settings are the defaults.
    pub(crate) fn options(&self, profile: Profile) -> Options {
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
    pub(crate) fn read_options(&self) -> ReadOptions {
        ReadOptions { default_namespace: self.namespace.clone(), accept_ignored: self.accept_ignored.clone() }
    }
}

pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not of the form KEY=VALUE"))
}
