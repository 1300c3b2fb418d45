//! Sidecar: what one client imports (spec section 2, 3.4).

use std::collections::BTreeMap;

use super::read::{int, string, strings};
use super::{Meta, Spanned};
use crate::input::node::Node;
use crate::options::OutboundPolicy;
use crate::source::Span;

/// A Sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// Name, namespace and so on.
    pub meta: Meta,
    /// Labels of the clients that it is for; an empty selector is one for all (VIS-11).
    pub workload_selector: Option<Spanned<BTreeMap<String, String>>>,
    /// What is imported; none: everything (VIS-06).
    pub egress: Vec<Egress>,
    /// Present without a mode it is `REGISTRY_ONLY` (OTP-02).
    pub outbound_policy: Option<Spanned<OutboundPolicy>>,
}

/// An egress listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// The port that it is for; none: those that no other is for (VIS-12).
    pub port: Option<Spanned<u16>>,
    /// Protocol of the port as written.
    pub protocol: Option<Spanned<String>>,
    /// `namespace/host`, as written.
    pub hosts: Vec<Spanned<String>>,
    /// The whole listener.
    pub span: Span,
}

pub(crate) fn read(meta: Meta, spec: &Node) -> Sidecar {
    let labels = |node: &Node| -> BTreeMap<String, String> {
        let entries = node.get("labels").map(Node::entries).unwrap_or_default().iter();
        entries.filter_map(|entry| Some((entry.key.clone(), entry.node.as_str()?.to_owned()))).collect()
    };
    Sidecar {
        workload_selector: spec
            .get("workloadSelector")
            .map(|selector| Spanned::new(labels(selector), selector.span)),
        egress: spec.get("egress").map(Node::items).unwrap_or_default().iter().map(egress).collect(),
        outbound_policy: spec.get("outboundTrafficPolicy").map(outbound_policy),
        meta,
    }
}

/// A policy that is present without a mode has the zero value (OTP-02).
pub(crate) fn outbound_policy(node: &Node) -> Spanned<OutboundPolicy> {
    let policy = match node.get("mode").and_then(Node::as_str) {
        Some("ALLOW_ANY") => OutboundPolicy::AllowAny,
        _ => OutboundPolicy::RegistryOnly,
    };
    Spanned::new(policy, node.span)
}

fn egress(node: &Node) -> Egress {
    let port = node.get("port");
    Egress {
        port: port.and_then(|port| int(port.get("number"))),
        protocol: port.and_then(|port| string(port.get("protocol"))),
        hosts: strings(node.get("hosts")),
        span: node.span,
    }
}
