//! Kubernetes' `Service`, a member of the registry like any other (spec 1.7).

use std::net::IpAddr;

use super::read::{filled, int, string};
use super::service_entry::{Port, Protocol};
use super::{Meta, Spanned};
use crate::input::node::Node;
use crate::options::DOMAIN_SUFFIX;

/// Namespaces that may see the service (KS-05).
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// Ports that carry plain TCP where nothing says what they carry (KS-02).
const USUALLY_TCP: [u16; 4] = [25, 53, 3306, 27017];

/// A Kubernetes Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesService {
    /// Name, namespace and so on.
    pub meta: Meta,
    /// `<name>.<namespace>.svc.<domain>` (KS-01).
    pub host: String,
    /// Ports by the numbers that clients address. `target_port` is set for a headless service
    /// only, whose name stands for the pods themselves.
    pub ports: Vec<Port>,
    /// Ports whose `targetPort` is a name, which only the pods could resolve (KS-06).
    pub named_target_ports: Vec<Spanned<String>>,
    /// Address of the service; none in files that were not read from a cluster (KS-07).
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`: the name stands for the pods (KS-03).
    pub headless: bool,
    /// The service is another name for this host (KS-04).
    pub external_name: Option<Spanned<String>>,
    /// Who may see it; empty means everyone (KS-05).
    pub export_to: Vec<Spanned<String>>,
}

/// The fields were checked before; what is wrong is absent.
pub(crate) fn read(meta: Meta, spec: &Node) -> KubernetesService {
    let is_alias = spec.get("type").and_then(Node::as_str) == Some("ExternalName");
    let cluster_ip = filled(spec.get("clusterIP"));
    let headless = cluster_ip.as_ref().is_some_and(|ip| ip.value == "None") && !is_alias;
    let mut addresses: Vec<String> = cluster_ip.into_iter().map(|ip| ip.value).collect();
    for more in spec.get("clusterIPs").map(Node::items).unwrap_or_default() {
        addresses.extend(more.as_str().map(str::to_owned));
    }
    let mut cluster_ips: Vec<IpAddr> = Vec::new();
    for address in addresses.iter().filter_map(|text| text.parse().ok()) {
        if !cluster_ips.contains(&address) {
            cluster_ips.push(address);
        }
    }
    let ports = spec.get("ports").map(Node::items).unwrap_or_default();
    let named = ports.iter().filter_map(|port| string(port.get("targetPort")));
    let exports = meta.annotations.get(EXPORT_TO).map(String::as_str).unwrap_or_default();
    let exports = exports.split(',').map(str::trim).filter(|name| !name.is_empty());
    KubernetesService {
        host: format!("{}.{}.svc.{DOMAIN_SUFFIX}", meta.name.value, meta.namespace),
        export_to: exports.map(|name| Spanned::new(name.to_owned(), meta.name.span)).collect(),
        ports: ports.iter().filter_map(|node| port(node, headless)).collect(),
        named_target_ports: named.collect(),
        cluster_ips: if is_alias { Vec::new() } else { cluster_ips },
        headless,
        external_name: filled(spec.get("externalName"))
            .filter(|_| is_alias)
            .map(|name| name.map(|name| name.trim_end_matches('.').to_ascii_lowercase())),
        meta,
    }
}

fn port(node: &Node, headless: bool) -> Option<Port> {
    let number: Spanned<u16> = int(node.get("port"))?;
    let name = string(node.get("name")).unwrap_or(Spanned::new(String::new(), node.span));
    let layer4 = node.get("protocol").and_then(Node::as_str);
    let app = string(node.get("appProtocol"));
    let protocol = protocol(layer4, app.as_ref().map(|app| app.as_str()), &name, number.value);
    let place = app.map_or(if name.is_empty() { node.span } else { name.span }, |app| app.span);
    Some(Port {
        number,
        protocol: Spanned::new(protocol, place),
        name,
        target_port: int(node.get("targetPort")).filter(|_| headless),
        span: node.span,
    })
}

/// The protocol of a port (KS-02).
fn protocol(layer4: Option<&str>, app: Option<&str>, name: &str, number: u16) -> Protocol {
    if layer4 == Some("UDP") {
        return Protocol::Udp;
    }
    match app {
        Some("kubernetes.io/h2c") => return Protocol::Http2,
        Some("kubernetes.io/ws") => return Protocol::Http,
        Some("kubernetes.io/wss") => return Protocol::Https,
        _ => {}
    }
    let text = app.unwrap_or(name);
    if text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("grpc-web")) {
        return Protocol::GrpcWeb;
    }
    let word = text.split('-').next().filter(|word| !word.is_empty());
    word.and_then(Protocol::parse).unwrap_or(if USUALLY_TCP.contains(&number) {
        Protocol::Tcp
    } else {
        Protocol::Unspecified
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_come_from_names() {
        // TV-105, KS-02
        for (number, name, app, expected) in [
            (81, "tcp-x", None, Protocol::Tcp),
            (82, "https", None, Protocol::Https),
            (83, "tcp-x", Some("kubernetes.io/h2c"), Protocol::Http2),
            (84, "http-x", Some("tcp"), Protocol::Tcp),
            (3306, "db", None, Protocol::Tcp),
            (85, "grpc-web-x", None, Protocol::GrpcWeb),
            (85, "gRPC-Web", None, Protocol::GrpcWeb),
            (86, "foo", None, Protocol::Unspecified),
            (86, "", None, Protocol::Unspecified),
            (88, "foo", Some("kubernetes.io/ws"), Protocol::Http),
            (88, "foo", Some("kubernetes.io/wss"), Protocol::Https),
            // The name isn't looked at beside an `appProtocol`.
            (88, "http", Some("example.com/own"), Protocol::Unspecified),
            (80, "HTTP2-x", None, Protocol::Http2),
        ] {
            assert_eq!(protocol(None, app, name, number), expected, "{number} {name} {app:?}");
        }
        assert_eq!(protocol(Some("UDP"), Some("http"), "http", 87), Protocol::Udp);
    }
}
