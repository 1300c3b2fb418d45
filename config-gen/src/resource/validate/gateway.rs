//! Rules for Gateways (GW rows of spec section 4.11).

use super::super::gateway::{Gateway, Server, ServerTls, ServerTlsMode};
use super::super::service_entry::{Protocol, ProtocolClass};
use super::super::{Spanned, domain};
use super::invalid_host;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::{Node, Value};
use crate::input::template;

pub(crate) fn validate(gateway: &Gateway, spec: &Node, out: &mut Diagnostics) {
    let missing = match spec.get("servers") {
        None => true,
        Some(servers) => matches!(&servers.value, Value::List(items) if items.is_empty()),
    };
    if missing {
        out.push(Diagnostic::error("missing-field", "a Gateway needs `servers`").at(spec.span).rule("GW-03"));
    }
    for server in &gateway.servers {
        for host in &server.hosts {
            self::host(host, out);
        }
        protocol(server, out);
    }
}

/// GW-05.
fn host(written: &Spanned<String>, out: &mut Diagnostics) {
    if template::in_value(written).is_some() {
        return;
    }
    let (namespace, name) = match written.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, written.as_str()),
    };
    if let Some(namespace) = namespace.filter(|it| !matches!(*it, "*" | ".") && !domain::is_label(it)) {
        out.push(
            Diagnostic::error("invalid-host", format!("`{namespace}` is no namespace"))
                .at(written.span)
                .rule("GW-05")
                .help("such as `shop/a.example.com`, `./*.example.com` or `*/*`"),
        );
    } else if !domain::is_ip(name)
        && let Err(why) = domain::wildcard_domain(name)
    {
        out.extend(invalid_host(written, "host", &why, "GW-05"));
    }
}

/// GW-03, GW-15, GW-16.
fn protocol(server: &Server, out: &mut Diagnostics) {
    let Some(protocol) = server.protocol else {
        let names: Vec<&str> = Protocol::ALL.iter().map(|(name, _)| *name).collect();
        out.push(
            Diagnostic::error("invalid-protocol", format!("`{}` is no protocol", server.protocol_text.value))
                .at(server.protocol_text.span)
                .rule("GW-03")
                .help(format!("it can be one of {}", names.join(", "))),
        );
        return;
    };
    let takes_tls = protocol.class() == ProtocolClass::Tls;
    match &server.tls {
        None if takes_tls => out.push(
            Diagnostic::error("missing-field", format!("a server of protocol {protocol} needs `tls`"))
                .at(server.span)
                .rule("GW-16")
                .help("`tls: {mode: PASSTHROUGH}` passes connections on as they are"),
        ),
        None => {}
        Some(tls) if takes_tls => {
            if tls.https_redirect {
                out.push(
                    Diagnostic::warning(
                        "redirect-without-effect",
                        format!("`httpsRedirect` has no effect on protocol {protocol}"),
                    )
                    .at(tls.span)
                    .rule("GW-15")
                    .help("it belongs to the server of plaintext HTTP"),
                );
            }
            certificates(tls, out);
        }
        // With the redirect alone there is no mode; what Istio takes is a block that says nothing else.
        Some(tls) if tls.https_redirect && tls.mode.value == ServerTlsMode::Passthrough => {
            out.extend((protocol.class() != ProtocolClass::Http).then(|| {
                Diagnostic::warning(
                    "redirect-without-effect",
                    format!("`httpsRedirect` has no effect on protocol {protocol}"),
                )
                .at(tls.span)
                .rule("GW-15")
            }));
        }
        Some(tls) => out.push(
            Diagnostic::error("exclusive-fields", format!("`tls` has no place beside protocol {protocol}"))
                .at(tls.span)
                .rule("GW-16")
                .help("write HTTPS or TLS for the protocol, or take `tls` out"),
        ),
    }
}

/// GW-16: where the certificates are.
fn certificates(tls: &ServerTls, out: &mut Diagnostics) {
    let files = [
        ("serverCertificate", &tls.server_certificate),
        ("privateKey", &tls.private_key),
        ("caCertificates", &tls.ca_certificates),
    ];
    let needed: &[&str] = match tls.mode.value {
        ServerTlsMode::Simple | ServerTlsMode::OptionalMutual => &["serverCertificate", "privateKey"],
        ServerTlsMode::Mutual => &["serverCertificate", "privateKey", "caCertificates"],
        ServerTlsMode::IstioMutual | ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => &[],
    };
    if tls.mode.value == ServerTlsMode::IstioMutual {
        for (name, file) in files {
            if let Some(file) = file {
                out.push(
                    Diagnostic::error(
                        "exclusive-fields",
                        format!("`{name}` has no place beside mode ISTIO_MUTUAL"),
                    )
                    .at(file.span)
                    .rule("GW-16")
                    .help("with certificates of your own the mode is MUTUAL"),
                );
            }
        }
    }
    if tls.credential_name.is_some() {
        return;
    }
    for (name, _) in files.iter().filter(|(name, file)| needed.contains(name) && file.is_none()) {
        out.push(
            Diagnostic::error("missing-field", format!("the server has no `{name}`"))
                .at(tls.span)
                .rule("GW-16")
                .help("name a file, or a `credentialName`"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn gateway_rules() {
        let server = |text: &str| format!("servers: [{{port: {{number: 443, name: a, {text}}}]");
        let http = |hosts: &str| server(&format!("protocol: HTTP}}, hosts: {hosts}"));
        let https = |tls: &str| server(&format!("protocol: HTTPS}}, hosts: ['*'], tls: {tls}"));
        let files = "serverCertificate: /a, privateKey: /b";
        check(
            "Gateway",
            &[
                (&http("['*', './*', '*/a.b', ns/*.c, 10.0.0.1]"), &[]),
                (&http("[a_b/c]"), &["error invalid-host GW-05"]),
                (&http("['a b']"), &["error invalid-host GW-05"]),
                (&http("[]"), &["error wrong-count VAL-CRD-23"]),
                (&server("protocol: htp}, hosts: [a.b]"), &["error invalid-protocol GW-03"]),
                (&server("protocol: http2}, hosts: [a.b]"), &[]),
                (&server("protocol: TLS}, hosts: [a.b]"), &["error missing-field GW-16"]),
                (&server("protocol: TLS}, hosts: [a.b], tls: {}"), &[]),
                (
                    &server("protocol: HTTP}, hosts: [a.b], tls: {mode: SIMPLE}"),
                    &["error exclusive-fields GW-16"],
                ),
                (&server("protocol: HTTP}, hosts: [a.b], tls: {httpsRedirect: true}"), &[]),
                (
                    &server("protocol: TCP}, hosts: [a.b], tls: {httpsRedirect: true}"),
                    &["warning redirect-without-effect GW-15"],
                ),
                (&https("{httpsRedirect: true}"), &["warning redirect-without-effect GW-15"]),
                (&https(&format!("{{mode: SIMPLE, {files}}}")), &[]),
                (&https("{mode: SIMPLE, credentialName: a}"), &[]),
                (&https("{mode: SIMPLE, serverCertificate: /a}"), &["error missing-field GW-16"]),
                (&https(&format!("{{mode: MUTUAL, {files}}}")), &["error missing-field GW-16"]),
                (&https(&format!("{{mode: OPTIONAL_MUTUAL, {files}}}")), &[]),
                (&https("{mode: ISTIO_MUTUAL}"), &[]),
                (&https("{mode: ISTIO_MUTUAL, privateKey: /a}"), &["error exclusive-fields GW-16"]),
                (&https("{mode: TERMINATE}"), &["error invalid-value VAL-CRD-04"]),
                ("servers: []", &["error missing-field GW-03"]),
                ("selector: {a: b}", &["error missing-field GW-03"]),
                (&server("protocol: HTTP, targetPort: 80}, hosts: [a.b]"), &["error refused-field GW-02"]),
                (&server("protocol: HTTP}, bind: 10.0.0.1, hosts: [a.b]"), &["error not-supported GW-04"]),
                ("servers: [{hosts: [a.b]}]", &["error missing-field VAL-CRD-23"]),
            ],
        );
    }
}
