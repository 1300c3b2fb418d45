//! Rules for Sidecars, as far as they concern what is translated.

use std::collections::HashMap;

use super::super::domain;
use super::super::sidecar::Sidecar;
use crate::diagnostic::{Diagnostic, Diagnostics};

pub(crate) fn validate(sidecar: &Sidecar, out: &mut Diagnostics) {
    if let Some(selector) = &sidecar.workload_selector {
        for (key, value) in &selector.value {
            if value.contains('*') || value.len() > 63 {
                out.push(
                    Diagnostic::error("invalid-selector", format!("`{key}: {value}` is no label"))
                        .at(selector.span)
                        .rule("VAL-CRD-15")
                        .help("labels are compared as they are, without patterns"),
                );
            }
        }
    }
    let mut ports = HashMap::new();
    for egress in &sidecar.egress {
        let number = egress.port.as_ref().map(|port| port.value);
        if let Some(first) = ports.insert(number, egress.span) {
            let message = match number {
                Some(number) => format!("port {number} has an egress listener already"),
                None => "there is an egress listener without a port already".to_owned(),
            };
            out.push(
                Diagnostic::error("duplicate-port", message)
                    .at(egress.span)
                    .also("first given at", first)
                    .rule("VIS-12"),
            );
        }
        if let Some(protocol) = egress.protocol.as_ref().filter(|it| it.eq_ignore_ascii_case("HTTP_PROXY")) {
            out.push(
                Diagnostic::error(
                    "not-supported",
                    "an egress listener as explicit proxy is not supported yet",
                )
                .at(protocol.span)
                .rule("VH-20"),
            );
        }
        for host in &egress.hosts {
            let problem = match host.split_once('/') {
                None => Some("it has to be `namespace/host`".to_owned()),
                Some((namespace, name)) => {
                    let plain = namespace.strip_prefix('~').unwrap_or(namespace);
                    let known = matches!(plain, "*" | "." | "") || domain::is_label(plain);
                    match domain::wildcard_domain(name) {
                        _ if namespace.is_empty() || !known => Some(format!("`{namespace}` is no namespace")),
                        Err(why) => Some(format!("`{name}` is no host: {why}")),
                        Ok(()) => None,
                    }
                }
            };
            if let Some(problem) = problem {
                out.push(
                    Diagnostic::error(
                        "invalid-host",
                        format!("`{}` can't be imported: {problem}", host.value),
                    )
                    .at(host.span)
                    .rule("VIS-06")
                    .help("such as `./*` for the own namespace, `*/api.example.com` or `shop/*.example.com`"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn sidecar_rules() {
        let egress = |hosts: &str| format!("egress: [{{hosts: {hosts}}}]");
        check(
            "Sidecar",
            &[
                (
                    &egress(
                        "['./*', '*/*', istio-system/a.example.com, '*/*.example.com', '~/*', '~shop/*']",
                    ),
                    &[],
                ),
                ("outboundTrafficPolicy: {}", &[]),
                ("workloadSelector: {labels: {app: '*'}}", &["error invalid-selector VAL-CRD-15"]),
                ("ingress: [{defaultEndpoint: '127.0.0.1:80'}]", &["error missing-field VAL-CRD-22"]),
                (
                    "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {port: {number: 80}}}",
                    &["error not-supported OTP-06", "error missing-field VAL-CRD-22"],
                ),
                ("ingress: [{port: {number: 80}}]\nworkloadSelector: {labels: {app: a}}", &[]),
                (&egress("[a.example.com]"), &["error invalid-host VIS-06"]),
                (&egress("['a_b/*']"), &["error invalid-host VIS-06"]),
                (&egress("['./a b']"), &["error invalid-host VIS-06"]),
                ("egress: [{port: {number: 80}}]", &["error missing-field VAL-CRD-22"]),
                ("egress: [{hosts: ['*/*']}, {hosts: ['./*']}]", &["error duplicate-port VIS-12"]),
                ("egress: [{bind: 127.0.0.1, hosts: ['*/*']}]", &["error not-supported VIS-12"]),
                ("egress: [{captureMode: NONE, hosts: ['*/*']}]", &["error not-supported VIS-12"]),
                (
                    "egress: [{port: {number: 80, protocol: HTTP_PROXY}, hosts: ['*/*']}]",
                    &["error not-supported VH-20"],
                ),
                // TV-146
                ("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}", &["error invalid-value VAL-CRD-04"]),
                (
                    "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a}}",
                    &["error not-supported OTP-06"],
                ),
            ],
        );
    }
}
