//! Which Gateways a proxy serves, and what that means for the options (GW-01, GW-02).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::input::Read;
use crate::options::{Listen, Options, OutboundPolicy};
use crate::resource::{Gateway, Spanned};

/// The name that stands for all sidecars where gateways are named (VIS-02).
pub const MESH: &str = "mesh";

/// A Gateway by its name: `NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for GatewayName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for GatewayName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("`{text}` is not of the form NAMESPACE/NAME, such as istio-system/egress")),
        }
    }
}

/// `namespace/name` of `gateway`, as VirtualServices name it.
pub(crate) fn full_name(gateway: &Gateway) -> String {
    format!("{}/{}", gateway.meta.namespace, gateway.meta.name.value)
}

/// What a name in `gateways` of a resource of `namespace` stands for: `mesh`, or `namespace/name`
/// (VS-HOST-05).
pub(crate) fn resolve(written: &str, namespace: &str) -> String {
    match written.split_once('/') {
        Some((".", name)) => format!("{namespace}/{name}"),
        Some(_) => written.to_owned(),
        None if written == MESH => written.to_owned(),
        // The outdated form `name.namespace.svc.cluster.local`.
        None => match written.split_once('.') {
            Some((name, rest)) => format!("{}/{name}", rest.split('.').next().unwrap_or_default()),
            None => format!("{namespace}/{written}"),
        },
    }
}

/// Whether the list, of a resource of `namespace`, names the gateway `wanted`.
pub(crate) fn names(list: &[Spanned<String>], namespace: &str, wanted: &str) -> bool {
    list.iter().any(|written| resolve(written, namespace) == wanted)
}

/// The Gateways of a proxy with the labels of the options, in the order in which they are merged
/// (GW-01).
pub(crate) fn served<'a>(gateways: &'a [Gateway], options: &Options) -> Vec<&'a Gateway> {
    if options.gateway.is_none() {
        return Vec::new();
    }
    let mut served: Vec<&Gateway> = gateways
        .iter()
        .filter(|gateway| {
            gateway.selector.iter().all(|(key, value)| options.client_labels.get(key) == Some(value))
        })
        .collect();
    served.sort_by_key(|gateway| {
        let meta = &gateway.meta;
        (meta.creation_timestamp, meta.name.value.as_str(), meta.namespace.as_str())
    });
    served
}

/// The options of the gateway's proxy, if they name one: who it is, unless that was said, and its
/// servers' ports as listeners (GW-02).
pub(crate) fn options(mut options: Options, read: &Read) -> Options {
    let Some(name) = options.gateway.clone() else { return options };
    // A gateway has no such policy (GW-11).
    options.outbound_policy = Some(OutboundPolicy::RegistryOnly);
    if !options.client_namespace_given {
        options.client_namespace.clone_from(&name.namespace);
        options.client_namespace_given = true;
    }
    let own = read.gateways.iter().find(|gateway| full_name(gateway) == name.to_string());
    if let (Some(own), true) = (own, options.client_labels.is_empty()) {
        options.client_labels.clone_from(&own.selector);
    }
    let mut ports: Vec<u16> = served(&read.gateways, &options)
        .iter()
        .flat_map(|gateway| gateway.servers.iter().map(|server| server.port.value))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let mapped = &options.envoy.listeners;
    let listener = |port: u16| {
        let default = Listen { port, address: SocketAddr::from(([127, 0, 0, 1], unprivileged(port))) };
        mapped.iter().find(|listener| listener.port == port).copied().unwrap_or(default)
    };
    options.envoy.listeners = ports.into_iter().map(listener).collect();
    options
}

/// A port for `port` that needs no privilege.
pub(crate) fn unprivileged(port: u16) -> u16 {
    if port < 1024 { port + 10_000 } else { port }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_gateways_have_several_forms() {
        for (written, meant) in [
            ("mesh", "mesh"),
            ("gw", "own/gw"),
            ("./gw", "own/gw"),
            ("egress/gw", "egress/gw"),
            ("gw.egress", "egress/gw"),
            ("gw.egress.svc.cluster.local", "egress/gw"),
        ] {
            assert_eq!(resolve(written, "own"), meant, "{written}");
        }
        assert!("gw".parse::<GatewayName>().unwrap_err().contains("NAMESPACE/NAME"));
    }
}
