//! The options of `config-gen generate` that a case file may give: those that decide about
//! meaning. Where Envoy listens and what it needs around it is for who runs the case.

use clap::Parser;

use crate::input::ReadOptions;
use crate::options::{Options, OutboundPolicy, Profile};
use crate::resource::service_entry::Location;

#[derive(Debug, Clone, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
pub(super) struct CaseOptions {
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[arg(long)]
    accept_ignored: Vec<String>,
    #[arg(long)]
    accept: Vec<String>,
    #[arg(long)]
    client_namespace: Option<String>,
    #[arg(long, value_delimiter = ',', value_parser = key_value)]
    client_labels: Vec<(String, String)>,
    #[arg(long)]
    outbound_policy: Option<OutboundPolicy>,
    #[arg(long)]
    default_location: Option<Location>,
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    envoy_headers: Option<bool>,
    #[arg(long)]
    originate_tls: bool,
    #[arg(long)]
    allow_unregistered_wildcards: bool,
}

impl CaseOptions {
    /// Reads options as typed; what is wrong is one line.
    pub(super) fn parse_list(list: &[String]) -> Result<Self, String> {
        Self::try_parse_from(list).map_err(|error| {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        })
    }

    pub(super) fn options(&self, profile: Profile) -> Options {
        Options {
            profile,
            client_namespace: self.client_namespace.clone().unwrap_or_else(|| self.namespace.clone()),
            client_labels: self.client_labels.iter().cloned().collect(),
            outbound_policy: self.outbound_policy,
            default_location: self.default_location,
            envoy_headers: self.envoy_headers,
            originate_tls: self.originate_tls,
            allow_unregistered_wildcards: self.allow_unregistered_wildcards,
            accept: self.accept.clone(),
            ..Options::default()
        }
    }

    pub(super) fn read_options(&self) -> ReadOptions {
        ReadOptions { default_namespace: self.namespace.clone(), accept_ignored: self.accept_ignored.clone() }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not of the form KEY=VALUE"))
}
