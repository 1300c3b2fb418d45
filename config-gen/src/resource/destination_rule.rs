//! DestinationRule (spec section 5).

use super::read::{boolean, filled, int, string, strings};
use super::{Meta, Spanned};
use crate::input::node::Node;
use crate::source::Span;

/// A DestinationRule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRule {
    /// Name, namespace and so on.
    pub meta: Meta,
    /// Host as written: it is compared with its case (DR-05).
    pub host: Spanned<String>,
    /// Who may see it; empty means everyone (DR-06).
    pub export_to: Vec<Spanned<String>>,
    /// The policy. A rule without one takes part in merging all the same
    /// (DR-07).
    pub traffic_policy: Option<TrafficPolicy>,
}

/// How the destination is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficPolicy {
    /// TLS origination for ports without a setting of their own.
    pub tls: Option<TlsSettings>,
    /// Settings that replace the ones above for a port (DR-TP-01).
    pub port_level_settings: Vec<PortSettings>,
    /// The whole policy.
    pub span: Span,
}

/// What replaces the policy for one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// Number of the service port (DR-TP-05).
    pub port: Spanned<u16>,
    /// TLS origination; `None` means plaintext here, not the setting above.
    pub tls: Option<TlsSettings>,
    /// The whole entry.
    pub span: Span,
}

/// TLS origination (spec 5.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The mode; absent is `DISABLE`, and the place is then the whole block.
    pub mode: Spanned<TlsMode>,
    /// Fixed SNI (DR-TLS-07).
    pub sni: Option<Spanned<String>>,
    /// Names of which the certificate must carry one (DR-TLS-11).
    pub subject_alt_names: Vec<Spanned<String>>,
    /// CA bundle in place of the system's (DR-TLS-10).
    pub ca_certificates: Option<Spanned<String>>,
    /// Verifies nothing (DR-TLS-15); absence is false.
    pub insecure_skip_verify: Option<Spanned<bool>>,
    /// The whole block.
    pub span: Span,
}

/// Mode of TLS origination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Plaintext.
    Disable,
    /// TLS without client certificate.
    Simple,
    /// TLS with client certificate.
    Mutual,
    /// TLS with the mesh's certificates.
    IstioMutual,
}

impl TlsMode {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "DISABLE" => TlsMode::Disable,
            "SIMPLE" => TlsMode::Simple,
            "MUTUAL" => TlsMode::Mutual,
            "ISTIO_MUTUAL" => TlsMode::IstioMutual,
            _ => return None,
        })
    }
}

/// `None` if there is no host, which the schema reports.
pub(crate) fn read(meta: Meta, spec: &Node) -> Option<DestinationRule> {
    Some(DestinationRule {
        meta,
        host: string(spec.get("host"))?,
        export_to: strings(spec.get("exportTo")),
        traffic_policy: spec.get("trafficPolicy").map(traffic_policy),
    })
}

fn traffic_policy(node: &Node) -> TrafficPolicy {
    let ports = node.get("portLevelSettings").map(Node::items).unwrap_or_default();
    TrafficPolicy {
        tls: node.get("tls").map(tls),
        port_level_settings: ports.iter().filter_map(port_settings).collect(),
        span: node.span,
    }
}

fn port_settings(node: &Node) -> Option<PortSettings> {
    Some(PortSettings {
        port: int(node.get("port")?.get("number"))?,
        tls: node.get("tls").map(tls),
        span: node.span,
    })
}

fn tls(node: &Node) -> TlsSettings {
    let mode = node
        .get("mode")
        .and_then(|mode| Some(Spanned::new(TlsMode::parse(mode.as_str()?)?, mode.span)))
        .unwrap_or(Spanned::new(TlsMode::Disable, node.span));
    TlsSettings {
        mode,
        sni: filled(node.get("sni")),
        subject_alt_names: strings(node.get("subjectAltNames")),
        ca_certificates: filled(node.get("caCertificates")),
        insecure_skip_verify: boolean(node.get("insecureSkipVerify")),
        span: node.span,
    }
}
