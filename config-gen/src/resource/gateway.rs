//! Gateway: what a gateway's proxy serves (spec section 4.11).

use std::collections::BTreeMap;

use super::read::{boolean, filled, int, string, strings};
use super::service_entry::Protocol;
use super::{Meta, Spanned};
use crate::input::node::Node;
use crate::source::Span;

/// A Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Name, namespace and so on.
    pub meta: Meta,
    /// Labels of the proxies that it is for; empty: all (GW-01).
    pub selector: BTreeMap<String, String>,
    /// What they serve.
    pub servers: Vec<Server>,
}

/// A server: hosts on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The port that clients address (GW-02).
    pub port: Spanned<u16>,
    /// As written.
    pub protocol_text: Spanned<String>,
    /// What it means; none: there is no such protocol.
    pub protocol: Option<Protocol>,
    /// `host` or `namespace/host`, in lower case (GW-05).
    pub hosts: Vec<Spanned<String>>,
    /// TLS towards clients.
    pub tls: Option<ServerTls>,
    /// The whole server.
    pub span: Span,
}

/// TLS towards clients (GW-16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Answer plaintext with a redirect (GW-15).
    pub https_redirect: bool,
    /// The mode; absent is `PASSTHROUGH`, and the place is then the whole block.
    pub mode: Spanned<ServerTlsMode>,
    /// PEM file.
    pub server_certificate: Option<Spanned<String>>,
    /// PEM file.
    pub private_key: Option<Spanned<String>>,
    /// PEM file of those who sign clients' certificates.
    pub ca_certificates: Option<Spanned<String>>,
    /// PEM file of what they revoked.
    pub ca_crl: Option<Spanned<String>>,
    /// The Secret that has all of them.
    pub credential_name: Option<Spanned<String>>,
    /// Names of which a client's certificate must have one.
    pub subject_alt_names: Vec<Spanned<String>>,
    /// Digests of clients' keys.
    pub verify_certificate_spki: Vec<Spanned<String>>,
    /// Digests of clients' certificates.
    pub verify_certificate_hash: Vec<Spanned<String>>,
    /// In Envoy's words, such as `TLSv1_2`; none: Envoy's choice.
    pub min_version: Option<&'static str>,
    /// In Envoy's words; none: Envoy's choice.
    pub max_version: Option<&'static str>,
    /// Ciphers up to TLS 1.2; empty: Envoy's choice.
    pub cipher_suites: Vec<Spanned<String>>,
    /// The whole block.
    pub span: Span,
}

/// Mode of TLS towards clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTlsMode {
    /// Not terminated; the server name decides.
    Passthrough,
    /// With a server certificate.
    Simple,
    /// Clients have to show a certificate as well.
    Mutual,
    /// Clients may show one, which is then verified.
    OptionalMutual,
    /// With the mesh's certificates.
    IstioMutual,
    /// The server name is a cluster's (GW-20).
    AutoPassthrough,
}

impl ServerTlsMode {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "PASSTHROUGH" => Self::Passthrough,
            "SIMPLE" => Self::Simple,
            "MUTUAL" => Self::Mutual,
            "OPTIONAL_MUTUAL" => Self::OptionalMutual,
            "ISTIO_MUTUAL" => Self::IstioMutual,
            "AUTO_PASSTHROUGH" => Self::AutoPassthrough,
            _ => return None,
        })
    }
}

pub(crate) fn read(meta: Meta, spec: &Node) -> Gateway {
    let selector = spec.get("selector").map(Node::entries).unwrap_or_default().iter();
    Gateway {
        meta,
        selector: selector
            .filter_map(|entry| Some((entry.key.clone(), entry.node.as_str()?.to_owned())))
            .collect(),
        servers: spec.get("servers").map(Node::items).unwrap_or_default().iter().filter_map(server).collect(),
    }
}

/// `None` if there is no port, which the schema reports.
fn server(node: &Node) -> Option<Server> {
    let port = node.get("port")?;
    let protocol_text = string(port.get("protocol"))?;
    Some(Server {
        port: int(port.get("number"))?,
        protocol: Protocol::parse(&protocol_text).filter(|protocol| *protocol != Protocol::Unspecified),
        protocol_text,
        hosts: strings(node.get("hosts"))
            .into_iter()
            .map(|host| host.map(|host| host.to_ascii_lowercase()))
            .collect(),
        tls: node.get("tls").map(tls),
        span: node.span,
    })
}

fn tls(node: &Node) -> ServerTls {
    let version = |name: &str| match node.get(name).and_then(Node::as_str)? {
        "TLSV1_0" => Some("TLSv1_0"),
        "TLSV1_1" => Some("TLSv1_1"),
        "TLSV1_2" => Some("TLSv1_2"),
        "TLSV1_3" => Some("TLSv1_3"),
        _ => None,
    };
    ServerTls {
        https_redirect: boolean(node.get("httpsRedirect")).is_some_and(|flag| flag.value),
        mode: node
            .get("mode")
            .and_then(|mode| Some(Spanned::new(ServerTlsMode::parse(mode.as_str()?)?, mode.span)))
            .unwrap_or(Spanned::new(ServerTlsMode::Passthrough, node.span)),
        server_certificate: filled(node.get("serverCertificate")),
        private_key: filled(node.get("privateKey")),
        ca_certificates: filled(node.get("caCertificates")),
        ca_crl: filled(node.get("caCrl")),
        credential_name: filled(node.get("credentialName")),
        subject_alt_names: strings(node.get("subjectAltNames")),
        verify_certificate_spki: strings(node.get("verifyCertificateSpki")),
        verify_certificate_hash: strings(node.get("verifyCertificateHash")),
        min_version: version("minProtocolVersion"),
        max_version: version("maxProtocolVersion"),
        cipher_suites: strings(node.get("cipherSuites")),
        span: node.span,
    }
}
