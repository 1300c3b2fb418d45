//! Certificates from files, each in a file of its own from which Envoy discovers it: so it
//! notices when they are renewed, where files that the bootstrap names are read once.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde_json::{Value, json};

use super::{File, Output, fingerprint, in_files_root, type_url, yaml};
use crate::credential::Identity;
use crate::options::EnvoyOptions;
use crate::plan::{Ca, DownstreamTls, Plan, UpstreamTls};

const HEADER: &str = "\
# Written by `config-gen generate`. Envoy reads the files that this one names again when they are
# replaced, or a link in their directory is.
";

/// What Envoy discovers. Clusters with the same files share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secret<'a> {
    /// What is presented to the other side.
    Identity(&'a Identity),
    /// What the other side is checked against.
    Authorities { bundle: &'a str, crl: Option<&'a str> },
}

impl<'a> Secret<'a> {
    /// The authorities of `ca`, if they are to be discovered. The bundle of the options alone is named
    /// in the bootstrap: without it Envoy doesn't start, and says so.
    pub(super) fn authorities(ca: &'a Ca, options: &'a EnvoyOptions) -> Option<Self> {
        match ca {
            Ca::Unverified | Ca::Bundle { file: None, crl: None } => None,
            Ca::Bundle { file, crl } => Some(Self::Authorities {
                bundle: file.as_deref().unwrap_or(&options.ca_bundle),
                crl: crl.as_deref(),
            }),
        }
    }

    fn of(tls: &'a UpstreamTls, options: &'a EnvoyOptions) -> impl Iterator<Item = Self> {
        let identity = tls.identity.as_ref().map(Self::Identity);
        identity.into_iter().chain(Self::authorities(&tls.ca, options))
    }

    /// What clients' certificates are checked against.
    pub(super) fn of_clients(tls: &'a DownstreamTls) -> Option<Self> {
        Some(Self::Authorities { bundle: tls.client_ca.as_deref()?, crl: tls.client_crl.as_deref() })
    }

    fn of_server(tls: &'a DownstreamTls) -> impl Iterator<Item = Self> {
        std::iter::once(Self::Identity(&tls.identity)).chain(Self::of_clients(tls))
    }

    /// Names the file and the secret: the first file's name, and what tells it from others of that name.
    fn name(self) -> String {
        let files = match self {
            Self::Identity(Identity { certificate, key }) => [certificate.as_str(), key.as_str()],
            Self::Authorities { bundle, crl } => [bundle, crl.unwrap_or_default()],
        };
        let name = files[0].rsplit('/').next().unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
        let name: String = name.chars().map(plain).take(100).collect();
        format!("{name}-{:016x}", fingerprint(&files.join("\n")))
    }

    fn path(self) -> String {
        format!("{}/{}.yaml", Output::Sds.path(), self.name())
    }

    /// What a TLS context says of it.
    pub(super) fn reference(self, options: &EnvoyOptions) -> Value {
        json!({
            "name": self.name(),
            "sds_config": {
                "resource_api_version": "V3",
                "path_config_source": {"path": in_files_root(options, &self.path())},
            },
        })
    }

    /// Without a `watched_directory`: Envoy watches the directories of all files anyway, and with one,
    /// Envoy 1.36 ends when a file was missing at the start and the directory then changes.
    fn response(self) -> Value {
        // Envoy refuses a path without a directory in a secret, since it watches that.
        let file = |path: &str| {
            let directory = if path.contains('/') { "" } else { "./" };
            json!({"filename": format!("{directory}{path}")})
        };
        let (kind, content) = match self {
            Self::Identity(Identity { certificate, key }) => {
                ("tls_certificate", json!({"certificate_chain": file(certificate), "private_key": file(key)}))
            }
            Self::Authorities { bundle, crl: None } => {
                ("validation_context", json!({"trusted_ca": file(bundle)}))
            }
            Self::Authorities { bundle, crl: Some(crl) } => {
                ("validation_context", json!({"trusted_ca": file(bundle), "crl": file(crl)}))
            }
        };
        json!({"resources": [{
            "@type": type_url("envoy.extensions.transport_sockets.tls.v3.Secret"),
            "name": self.name(),
            kind: content,
        }]})
    }
}

/// The files of all secrets that the plan's clusters and servers refer to.
pub(super) fn files(plan: &Plan, options: &EnvoyOptions) -> anyhow::Result<Vec<File>> {
    let mut secrets = BTreeMap::new();
    let clusters = plan.clusters.iter().filter_map(|cluster| cluster.tls.as_ref());
    let upstream = clusters.flat_map(|tls| Secret::of(tls, options));
    for secret in upstream.chain(plan.downstream_tls().flat_map(Secret::of_server)) {
        let other = *secrets.entry(secret.path()).or_insert(secret);
        ensure!(other == secret, "two secrets have the file `{}`", secret.path());
    }
    let file =
        |(path, secret): (String, Secret<'_>)| Ok(File { path, content: yaml(HEADER, &secret.response())? });
    secrets.into_iter().map(file).collect()
}
