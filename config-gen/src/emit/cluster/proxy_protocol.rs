//! The PROXY protocol, which tells endpoints the client's address (DR-PP-01).

use serde_json::{Value, json};

use crate::emit::type_url;
use crate::resource::destination_rule::ProxyProtocol;

/// The transport socket `inner`, plaintext where there is none, behind a header of that version. None
/// where Envoy's default does.
pub(super) fn proxy_protocol(version: Option<ProxyProtocol>, inner: Option<Value>) -> Option<Value> {
    let version = match version {
        None => return inner,
        Some(ProxyProtocol::V1) => "V1",
        Some(ProxyProtocol::V2) => "V2",
    };
    let raw = || {
        json!({
            "name": "envoy.transport_sockets.raw_buffer",
            "typed_config": {"@type": type_url("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")},
        })
    };
    Some(json!({
        "name": "envoy.transport_sockets.upstream_proxy_protocol",
        "typed_config": {
            "@type": type_url("envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"),
            "config": {"version": version},
            "transport_socket": inner.unwrap_or_else(raw),
        },
    }))
}
