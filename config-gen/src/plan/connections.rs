//! Connections that are passed through without a look inside: which cluster gets them (spec
//! sections 3.3 and 4.10).

use std::collections::BTreeMap;

use crate::names::short_forms;
use crate::options::{Cidr, Profile};
use crate::plan::clusters::upstream_tls;
use crate::plan::{Input, cluster_name};
use crate::registry::Service;
use crate::resource::service_entry::ProtocolClass;

/// Where connections to a listener port go that look like this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRoute {
    /// The listener port.
    pub port: u16,
    /// TLS with this server name, exact or `*.x` (VS-TLS-05); none: bytes of any kind.
    pub server_name: Option<String>,
    /// Only to these original destinations; empty: to all.
    pub addresses: Vec<Cidr>,
    /// Where the bytes go.
    pub destinations: Vec<Share>,
    /// The resource it stems from, such as `ServiceEntry default/a`.
    pub resource: String,
}

/// A cluster's share of connections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// The cluster.
    pub cluster: String,
    /// In proportion to the others' (VS-TLS-07).
    pub weight: u32,
}

/// The second cluster of a service that originates TLS: for clients that speak TLS themselves
/// (design, section 3).
pub(super) fn passthrough_cluster_name(host: &str, port: u16, subset: &str) -> String {
    format!("passthrough|{port}|{subset}|{host}")
}

/// Whether clients' own TLS needs a cluster beside the one that originates it.
pub(super) fn needs_passthrough_cluster(
    input: &Input<'_>,
    service: &Service<'_>,
    port: u16,
    subset: &str,
) -> bool {
    let is_tls = service.ports.get(&port).is_some_and(|port| port.protocol.class() == ProtocolClass::Tls);
    is_tls
        && input.options.profile == Profile::Standalone
        && upstream_tls(input, service, port, subset).is_some()
}

/// All routes: TLS ports by SNI (VS-TLS-05).
pub(super) fn build(input: &Input<'_>) -> Vec<ConnectionRoute> {
    let mut by_name: BTreeMap<(u16, String), (String, String)> = BTreeMap::new();
    for service in input.registry.services() {
        for (&port, definition) in &service.ports {
            if service.is_tls_on(port, definition) {
                let name = if needs_passthrough_cluster(input, service, port, "") {
                    passthrough_cluster_name(service.host, port, "")
                } else {
                    cluster_name(service.host, port, "")
                };
                for host in std::iter::once(service.host).chain(service.aliases.iter().copied()) {
                    for server_name in server_names(input, service, host) {
                        // A name of two services belongs to the first (VH-09, VH-10).
                        if server_name == service.host || input.registry.own(&server_name).is_none() {
                            let resource = service.meta().title();
                            by_name.entry((port, server_name)).or_insert((name.clone(), resource));
                        }
                    }
                }
            }
        }
    }
    let route = |((port, server_name), (cluster, resource))| ConnectionRoute {
        port,
        server_name: Some(server_name),
        addresses: Vec::new(),
        destinations: vec![Share { cluster, weight: 1 }],
        resource,
    };
    by_name.into_iter().map(route).collect()
}

/// The server names by which clients mean `host` of `service`: also as an `ExternalName` service
/// (KS-04), and those of the pods of a headless service (KS-03).
fn server_names(input: &Input<'_>, service: &Service<'_>, host: &str) -> Vec<String> {
    let mut names = vec![host.to_owned()];
    names.extend(short_forms(host, &input.options.client_namespace));
    if service.is_headless() {
        let below: Vec<String> = names.iter().map(|name| format!("*.{name}")).collect();
        names.extend(below);
    }
    names
}
