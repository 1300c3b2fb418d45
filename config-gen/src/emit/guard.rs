//! Addresses that a name outside the registry must not resolve to: what is private to the
//! machine or its network. Otherwise a client could have the proxy dial Envoy's own admin
//! interface, a metadata service, or anything that trusts the proxy's address.

use std::net::IpAddr;

use portolan_engine::config::PASSTHROUGH_ROUTE_PROFILE;
use serde_json::{Value, json};

use crate::emit::{ROUTE_FILTER_STATE, type_url};
use crate::options::{Cidr, EnvoyOptions};

/// Ranges that are not global: this network, private, shared, loopback, link-local, protocol
/// assignments, benchmarking, multicast, reserved (IANA special-purpose registries).
const NOT_GLOBAL: [&str; 18] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "::ffff:0:0/96",
    "64:ff9b:1::/48",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// The name of the guard's policy in access logs.
pub(crate) const POLICY: &str = "private_upstream_address";

/// Whether the guard lets nobody dial `address`, for all that is known without DNS.
pub(crate) fn refuses(address: IpAddr, options: &EnvoyOptions) -> bool {
    let holds = |range: &Cidr| range.contains(address);
    let private = NOT_GLOBAL.iter().filter_map(|text| text.parse().ok()).any(|range| holds(&range));
    private && !options.allow_upstream.iter().any(holds)
}

/// An HTTP filter that refuses such addresses with 403 before they are dialled. It sees what
/// the dynamic forward proxy filter before it has resolved.
pub(super) fn filter(options: &EnvoyOptions) -> anyhow::Result<Value> {
    let not_global = NOT_GLOBAL.iter().map(|text| text.parse().map_err(anyhow::Error::msg));
    let ranges = |ranges: &[Cidr]| -> Value { ranges.iter().map(permission).collect() };
    let mut rules =
        vec![json!({"or_rules": {"rules": ranges(&not_global.collect::<anyhow::Result<Vec<Cidr>>>()?)}})];
    if !options.allow_upstream.is_empty() {
        rules.push(json!({"not_rule": {"or_rules": {"rules": ranges(&options.allow_upstream)}}}));
    }
    Ok(json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.http.rbac.v3.RBAC"),
            "rules": {
                "action": "DENY",
                "policies": {
                    POLICY: {
                        "permissions": [{"and_rules": {"rules": rules}}],
                        // Of the registry's hosts the registry's word stands.
                        "principals": [{"filter_state": {
                            "key": ROUTE_FILTER_STATE,
                            "string_match": {"prefix": format!("{PASSTHROUGH_ROUTE_PROFILE} ")},
                        }}],
                    },
                },
            },
        },
    }))
}

fn permission(range: &Cidr) -> Value {
    json!({"matcher": {
        "name": "envoy.rbac.matchers.upstream_ip_port",
        "typed_config": {
            "@type": type_url("envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher"),
            "upstream_ip": {"address_prefix": range.address.to_string(), "prefix_len": range.length},
        },
    }})
}
