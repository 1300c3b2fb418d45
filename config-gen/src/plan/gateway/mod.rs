//! What a gateway's proxy serves (spec section 4.11): its servers in place of the ports of the
//! registry, and the VirtualServices that are bound to it.

mod connections;
mod servers;
mod virtual_hosts;

use std::collections::BTreeSet;

pub(super) use connections::build as connections;
pub(super) use servers::{Kind, Server, servers};
pub(super) use virtual_hosts::build as virtual_hosts;

use crate::credential::{self, Identity};
use crate::options::Options;
use crate::resource::Spanned;
use crate::resource::gateway::{ServerTls, ServerTlsMode};

/// What the listeners of a gateway have beside connections that are passed through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayListeners {
    /// Ports with plaintext HTTP.
    pub http: BTreeSet<u16>,
    /// TLS that ends here, in the order of the servers.
    pub terminations: Vec<Termination>,
}

/// A server whose TLS ends here, with HTTP inside (GW-03).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Termination {
    /// The Gateway and the place of the server in it, such as `Gateway egress/gw servers[0]`.
    pub name: String,
    /// The listener port.
    pub port: u16,
    /// The number that its virtual hosts have in place of the port (GW-17).
    pub number: u16,
    /// Server names, exact or `*.x`; empty: all.
    pub server_names: Vec<String>,
    /// How it is spoken.
    pub tls: DownstreamTls,
}

/// TLS towards clients (GW-16).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DownstreamTls {
    /// What is presented to clients.
    pub identity: Identity,
    /// PEM file of those who sign clients' certificates.
    pub client_ca: Option<String>,
    /// PEM file of what they revoked.
    pub client_crl: Option<String>,
    /// Clients have to show a certificate.
    pub client_certificate_required: bool,
    /// Names of which a client's certificate must have one.
    pub subject_alt_names: Vec<String>,
    /// Digests of clients' keys.
    pub spki: Vec<String>,
    /// Digests of clients' certificates.
    pub hashes: Vec<String>,
    /// Lowest version, such as `TLSv1_2`.
    pub min_version: Option<&'static str>,
    /// Highest version.
    pub max_version: Option<&'static str>,
    /// Ciphers up to TLS 1.2.
    pub cipher_suites: Vec<String>,
}

/// The listeners for `servers`.
pub(super) fn listeners(servers: &[Server<'_>], options: &Options) -> GatewayListeners {
    let mut listeners = GatewayListeners::default();
    for server in servers {
        match server.kind {
            Kind::Http => drop(listeners.http.insert(server.port)),
            Kind::Https(number) => {
                listeners.terminations.extend(downstream_tls(server, options).map(|tls| {
                    let names = server.server_names();
                    let all = names.iter().any(|name| name == "*");
                    Termination {
                        name: server.title(),
                        port: server.port,
                        number,
                        server_names: if all { Vec::new() } else { names },
                        tls,
                    }
                }));
            }
            Kind::Passthrough | Kind::Tls | Kind::Tcp => {}
        }
    }
    listeners
}

/// How TLS that ends at `server` is spoken; none where it doesn't say its certificate.
fn downstream_tls(server: &Server<'_>, options: &Options) -> Option<DownstreamTls> {
    let tls = server.resource.tls.as_ref()?;
    let credential = credential_name(tls).and_then(|name| options.credential(name));
    let mode = tls.mode.value;
    let asks =
        matches!(mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual | ServerTlsMode::IstioMutual);
    let text = |file: &Option<Spanned<String>>| file.as_ref().map(|file| file.value.clone());
    let texts = |list: &[Spanned<String>]| list.iter().map(|item| item.value.clone()).collect();
    Some(DownstreamTls {
        identity: match credential {
            Some(credential) => credential.identity.clone()?,
            None => Identity { certificate: text(&tls.server_certificate)?, key: text(&tls.private_key)? },
        },
        client_ca: text(&tls.ca_certificates)
            .or_else(|| credential.and_then(|credential| credential.ca.clone()))
            .filter(|_| asks),
        client_crl: text(&tls.ca_crl).or_else(|| credential.and_then(|credential| credential.crl.clone())),
        client_certificate_required: matches!(mode, ServerTlsMode::Mutual | ServerTlsMode::IstioMutual),
        subject_alt_names: texts(&tls.subject_alt_names),
        spki: texts(&tls.verify_certificate_spki),
        hashes: texts(&tls.verify_certificate_hash),
        min_version: tls.min_version,
        max_version: tls.max_version,
        cipher_suites: texts(&tls.cipher_suites),
    })
}

/// The name of the files that `tls` takes its certificates from, where it doesn't name them itself
/// (GAP-25).
fn credential_name(tls: &ServerTls) -> Option<&str> {
    match tls.mode.value {
        ServerTlsMode::IstioMutual => Some(credential::MESH),
        _ => tls.credential_name.as_ref().map(|name| name.value.as_str()),
    }
}
