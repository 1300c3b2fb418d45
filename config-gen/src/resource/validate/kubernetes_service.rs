//! What Kubernetes itself refuses in a Service, as far as it is translated.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::domain;
use super::super::kubernetes_service::KubernetesService;
use super::super::read::{filled, string};
use super::invalid_host;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::Node;
use crate::resource::service_entry::ProtocolClass;

pub(crate) fn validate(service: &KubernetesService, spec: &Node, out: &mut Diagnostics) {
    external_name(service, spec, out);
    ports(service, out);
    let cluster_ips = spec.get("clusterIPs").map(Node::items).unwrap_or_default();
    let addresses = filled(spec.get("clusterIP")).into_iter();
    for address in addresses.chain(cluster_ips.iter().filter_map(|node| string(Some(node)))) {
        if address.value != "None" && address.parse::<IpAddr>().is_err() {
            out.push(
                Diagnostic::error("invalid-address", format!("`{}` is no IP address", address.value))
                    .at(address.span)
                    .rule("KS-07")
                    .help("it can be an IP address, or `None` for a headless service"),
            );
        }
    }
}

fn external_name(service: &KubernetesService, spec: &Node, out: &mut Diagnostics) {
    let is_alias = spec.get("type").and_then(Node::as_str) == Some("ExternalName");
    match (&service.external_name, is_alias) {
        (None, true) => out.push(
            Diagnostic::error("missing-field", "an `ExternalName` service has to name a host")
                .at(spec.span)
                .field("spec.externalName")
                .rule("KS-04"),
        ),
        (Some(host), _) if !domain::is_ip(host) => {
            if let Err(why) = domain::fqdn(host) {
                out.extend(invalid_host(host, "host", &why, "KS-04"));
            }
        }
        _ => {}
    }
}

/// A number may serve TCP and UDP at once.
fn ports(service: &KubernetesService, out: &mut Diagnostics) {
    let mut numbers = HashMap::new();
    let mut names = HashMap::new();
    for port in &service.ports {
        let duplicate = |message: String, first| {
            Diagnostic::error("duplicate-port", message)
                .at(port.span)
                .also("first given at", first)
                .rule("KS-01")
        };
        let udp = port.protocol.class() == ProtocolClass::Udp;
        if let Some(first) = numbers.insert((port.number.value, udp), port.span) {
            out.push(duplicate(format!("the port {} is given twice", port.number.value), first));
        }
        if let Some(first) = names.insert(port.name.as_str(), port.span) {
            out.push(duplicate(format!("two ports are called `{}`", port.name.value), first));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::input::{ReadOptions, read};
    use crate::source::Sources;

    fn findings(spec: &str) -> Vec<String> {
        let mut sources = Sources::new();
        sources
            .add("a.yaml", format!("apiVersion: v1\nkind: Service\nmetadata: {{name: x}}\nspec: {spec}\n"));
        let read = read(sources, &ReadOptions::default());
        let codes = read.diagnostics.iter().map(|d| format!("{} {}", d.code, d.rule.unwrap_or("-")));
        codes.collect()
    }

    #[test]
    fn service_rules() {
        for (spec, expected) in [
            ("{ports: [{port: 80}]}", vec![]),
            ("{ports: [{port: 53, name: a}, {port: 53, name: b, protocol: UDP}]}", vec![]),
            ("{ports: [{port: 80, name: http, targetPort: web, nodePort: 30080}], type: NodePort}", vec![]),
            ("{clusterIP: None, clusterIPs: [None], selector: {app: x}}", vec![]),
            ("{clusterIP: '', ports: []}", vec![]),
            ("{clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 'fd00::1']}", vec![]),
            ("{clusterIP: web}", vec!["invalid-address KS-07"]),
            ("{type: ExternalName, externalName: a.example.com}", vec![]),
            ("{type: ExternalName}", vec!["missing-field KS-04"]),
            ("{type: ExternalName, externalName: 'a:80'}", vec!["invalid-host KS-04"]),
            ("{type: External}", vec!["invalid-value VAL-CRD-04"]),
            ("{ports: [{port: 80, name: a}, {port: 80, name: b}]}", vec!["duplicate-port KS-01"]),
            ("{ports: [{port: 80}, {port: 81}]}", vec!["duplicate-port KS-01"]),
            ("{ports: [{name: a}]}", vec!["missing-field KS-01"]),
            ("{ports: [{port: 80, targetPort: [a]}]}", vec!["wrong-type -"]),
            ("{ports: [{port: 9, protocol: SCTP}]}", vec!["not-supported KS-02"]),
            ("{portz: []}", vec!["unknown-field VAL-CRD-01"]),
        ] {
            assert_eq!(findings(spec), expected, "{spec}");
        }
    }
}
