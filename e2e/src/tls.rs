//! The TLS side of an upstream: which certificate goes with which SNI.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use crate::ca::{Ca, Identity};

/// What an upstream needs to speak TLS.
#[derive(Debug, Default)]
pub(crate) struct TlsSettings {
    pub(crate) identities: Vec<Identity>,
    pub(crate) fallback: Option<Identity>,
    pub(crate) alpn: Option<Vec<Vec<u8>>>,
    pub(crate) client_roots: Option<RootCertStore>,
    /// `1.2` or `1.3`; none: both.
    pub(crate) version: Option<String>,
}

impl TlsSettings {
    pub(crate) fn enabled(&self) -> bool {
        !self.identities.is_empty() || self.fallback.is_some()
    }

    pub(crate) fn require_clients_of(&mut self, ca: &Ca) -> Result<()> {
        self.client_roots.get_or_insert_with(RootCertStore::empty).add(ca.der())?;
        Ok(())
    }

    /// Builds the configuration; every SNI asked for goes to `hellos`.
    pub(crate) fn build(self, hellos: Arc<Hellos>) -> Result<ServerConfig> {
        let provider = Arc::new(default_provider());
        let versions = match self.version.as_deref() {
            None => rustls::DEFAULT_VERSIONS,
            Some("1.2") => &[&TLS12],
            Some("1.3") => &[&TLS13],
            Some(other) => bail!("there is no TLS {other} here"),
        };
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
        let builder = match self.client_roots {
            Some(roots) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?,
            ),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(BySni {
            identities: self.identities,
            fallback: self.fallback,
            hellos,
        }));
        config.alpn_protocols = self.alpn.unwrap_or_else(|| vec![b"h2".to_vec(), b"http/1.1".to_vec()]);
        Ok(config)
    }
}

/// The SNI of every handshake begun, also of those that failed.
#[derive(Debug, Default)]
pub(crate) struct Hellos {
    pub(crate) quiet: bool,
    pub(crate) seen: Mutex<Vec<Option<String>>>,
}

#[derive(Debug)]
struct BySni {
    identities: Vec<Identity>,
    fallback: Option<Identity>,
    hellos: Arc<Hellos>,
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let sni = hello.server_name();
        if !self.hellos.quiet {
            let mut seen = self.hellos.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(sni.map(str::to_owned));
        }
        let matching = sni.and_then(|sni| {
            self.identities
                .iter()
                .find(|identity| identity.names().iter().any(|name| name_matches(name, sni)))
        });
        matching.or(self.fallback.as_ref()).map(|identity| Arc::clone(identity.certified()))
    }
}

/// Whether a certificate for `name` is one for `host`: `*` is one label.
fn name_matches(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}
