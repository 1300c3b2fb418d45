//! The rules of Istio's admission webhook for values (spec 6.1 to 6.4), as far
//! as they concern what is translated. The shape was checked before; what it
//! refused is absent here and not reported a second time.

mod action;
pub(crate) mod destination_rule;
pub(crate) mod gateway;
pub(crate) mod kubernetes_service;
mod labels;
pub(crate) mod service_entry;
pub(crate) mod sidecar;
mod tls_routes;
mod traffic_policy;
pub(crate) mod virtual_service;
pub(crate) mod wasm_plugin;
pub(crate) mod workload_entry;

use std::collections::HashMap;

pub(crate) use action::retries;

use super::{Meta, Spanned, domain};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::template;

/// VAL-00f. `nobody` tells whether `~` is allowed.
fn export_to(meta: &Meta, list: &[Spanned<String>], nobody: bool, rule: &'static str, out: &mut Diagnostics) {
    let mut seen = HashMap::new();
    for item in list {
        let error =
            |message: String| Diagnostic::error("invalid-export-to", message).at(item.span).rule(rule);
        match item.as_str() {
            "*" | "~" if item.value == "~" && !nobody => {
                out.push(error("`~` is only allowed in a ServiceEntry".to_owned()));
            }
            "*" | "~" if list.len() > 1 => out.push(error(format!("`{}` must stand alone", item.value))),
            "*" | "~" | "." => {}
            name if !domain::is_label(name) => {
                out.push(
                    error(format!("`{name}` is no namespace"))
                        .help("it can be `.`, `*` or the name of a namespace"),
                );
            }
            _ => {}
        }
        let namespace = if item.value == "." { meta.namespace.as_str() } else { item.as_str() };
        if let Some(first) = seen.insert(namespace.to_owned(), item.span) {
            out.push(error(format!("`{namespace}` is given twice")).also("first given at", first));
        }
    }
}

/// Says why a host is none, and what to do if it looks like something else. A
/// template was reported with the shape.
fn invalid_host(host: &Spanned<String>, what: &str, why: &str, rule: &'static str) -> Option<Diagnostic> {
    if template::in_value(host).is_some() {
        return None;
    }
    let diagnostic = Diagnostic::error("invalid-host", format!("`{}` is no {what}: {why}", host.value))
        .at(host.span)
        .rule(rule);
    let text = host.as_str();
    let port = text
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    Some(if text.contains("://") {
        diagnostic.help("write the host alone, without scheme and path")
    } else if port && !domain::is_ip(text) {
        diagnostic.help("write the host alone; ports have fields of their own")
    } else {
        diagnostic
    })
}

#[cfg(test)]
mod tests {
    use crate::input::{Read, ReadOptions, read};
    use crate::source::Sources;

    /// Codes and rules of what reading this one spec finds.
    pub(super) fn findings(kind: &str, spec: &str) -> Vec<String> {
        let read = read_spec(kind, spec);
        read.diagnostics
            .iter()
            .map(|d| {
                assert!(d.field.is_some() && d.resource.is_some(), "{}", d.render(&read.sources));
                format!("{} {} {}", d.severity, d.code, d.rule.unwrap_or("-"))
            })
            .collect()
    }

    pub(super) fn read_spec(kind: &str, spec: &str) -> Read {
        let mut sources = Sources::new();
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: x, namespace: own}}\nspec:\n"
        );
        let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        sources.add("a.yaml", text + &spec);
        read(sources, &ReadOptions::default())
    }

    /// Every case: a name, a spec, and its findings.
    pub(super) fn check(kind: &str, cases: &[(&str, &[&str])]) {
        for (spec, expected) in cases {
            assert_eq!(findings(kind, spec), *expected, "{spec}");
        }
    }

    #[test]
    fn export_to_rules() {
        let se = |list: &str| {
            format!("hosts: [a.com]\nresolution: DNS\nports: [{{number: 80, name: a}}]\nexportTo: {list}")
        };
        for (list, count) in [
            ("['*']", 0),
            ("['.']", 0),
            ("['~']", 0),
            ("[., other]", 0),
            ("['*', a]", 1),
            ("['~', a]", 1),
            ("[., own]", 1),
            ("[a, a]", 1),
            ("[a_b]", 1),
            ("[]", 0),
        ] {
            let found = findings("ServiceEntry", &se(list));
            assert_eq!(found, vec!["error invalid-export-to VAL-SE-25"; count], "{list}");
        }
        let found = findings("DestinationRule", "host: a\nexportTo: ['~']");
        assert_eq!(found, ["error invalid-export-to VAL-00f"]);
    }
}
