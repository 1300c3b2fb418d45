//! VAL-SE-24 and the CEL rules of WorkloadEntry.

use super::super::domain;
use super::super::workload_entry::WorkloadEntry;
use super::invalid_host;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::Node;

pub(crate) fn validate(entry: &WorkloadEntry, spec: &Node, out: &mut Diagnostics) {
    for (name, _) in &entry.endpoint.ports {
        // Kubernetes takes one character less than a label has (VAL-CRD-13).
        if !domain::is_label(name) || name.len() >= 63 {
            out.push(
                Diagnostic::error(
                    "invalid-port-name",
                    format!("`{}` can't be the name of a port", name.value),
                )
                .at(name.span)
                .rule("VAL-CRD-13")
                .help("a name consists of at most 62 letters, digits and inner `-`"),
            );
        }
    }
    let Some(address) = &entry.endpoint.address else {
        if spec.get("address").is_none() && spec.get("network").is_none() {
            out.push(
                Diagnostic::error("missing-field", "`address` is missing").at(spec.span).rule("VAL-SE-24"),
            );
        }
        return;
    };
    let error =
        |message: &str| Diagnostic::error("invalid-address", message).at(address.span).rule("VAL-CRD-13");
    if let Some(path) = address.strip_prefix("unix://") {
        if !path.starts_with(['/', '@']) || path.ends_with('/') || path == "@" {
            out.push(error("a `unix://` path is absolute and names a socket, as `unix:///run/app.sock`"));
        }
        if !entry.endpoint.ports.is_empty() {
            out.push(error("a `unix://` path can't have `ports`"));
        }
    } else if !domain::is_ip(address)
        && let Err(why) = domain::fqdn(address)
    {
        out.extend(invalid_host(address, "address", &why, "VAL-SE-24"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn workload_entry_rules() {
        check(
            "WorkloadEntry",
            &[
                ("address: 10.0.0.1\nports: {http: 80}\nlabels: {app: a}\nweight: 3\nlocality: a/b/c", &[]),
                ("address: a.example.com", &[]),
                ("address: 'unix:///run/a.sock'", &[]),
                ("weight: 1", &["error missing-field VAL-SE-24"]),
                ("address: ''", &["error invalid-host VAL-SE-24"]),
                ("address: 10.0.0.1\nports: {a_b: 1}", &["error invalid-port-name VAL-CRD-13"]),
                ("address: a_b", &["error invalid-host VAL-SE-24"]),
                ("address: 'unix://a'", &["error invalid-address VAL-CRD-13"]),
                ("address: 'unix:///a'\nports: {http: 1}", &["error invalid-address VAL-CRD-13"]),
                ("address: 10.0.0.1\nnetwork: net", &["error not-supported SE-32"]),
            ],
        );
    }
}
