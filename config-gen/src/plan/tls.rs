//! TLS that Envoy originates towards a cluster's endpoints (spec section 5.6).

use std::net::IpAddr;

use crate::credential::{self, Credential, Identity};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::options::{Options, Profile};
use crate::plan::Input;
use crate::registry::Service;
use crate::resource::destination_rule::{TlsMode, TlsSettings};
use crate::resource::service_entry::{Port, ProtocolClass};

/// TLS towards the endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Sent for every request; none: the host of `:authority` (DR-TLS-07, DR-TLS-08).
    pub sni: Option<String>,
    /// Names of which the certificate must have one (DR-TLS-11, DR-TLS-12).
    pub subject_alt_names: Vec<String>,
    /// The certificate must have the host of `:authority` (DR-TLS-13).
    pub auto_san: bool,
    /// What the certificate is checked against.
    pub ca: Ca,
    /// What is presented in return (DR-TLS-04).
    pub identity: Option<Identity>,
    /// As the mesh's own proxies speak to each other (DR-TLS-05).
    pub mesh: bool,
}

/// What an upstream certificate is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ca {
    /// Authorities, as PEM files.
    Bundle {
        /// Their certificates (DR-TLS-10); none: the bundle of the options, by default the operating
        /// system's (DR-TLS-09).
        file: Option<String>,
        /// What they have revoked.
        crl: Option<String>,
    },
    /// Nothing at all (DR-TLS-15).
    Unverified,
}

impl Ca {
    /// The bundle of the options (DR-TLS-09).
    const SYSTEM: Self = Self::Bundle { file: None, crl: None };
}

/// TLS settings of the DestinationRule, unless they switch it off.
fn tls_settings<'a>(
    input: &Input<'a>,
    service: &Service<'_>,
    port: u16,
    subset: &str,
) -> Option<&'a TlsSettings> {
    input.rules.policy(service, port, subset).tls.filter(|tls| tls.mode.value != TlsMode::Disable)
}

/// TLS for a port of `service` or its subset, as its DestinationRule says, or as `--originate-tls`
/// does for a service that has only TLS ports.
pub(super) fn upstream_tls(
    input: &Input<'_>,
    service: &Service<'_>,
    port: u16,
    subset: &str,
) -> Option<UpstreamTls> {
    if let Some(settings) = tls_settings(input, service, port, subset) {
        return from_settings(settings, input, service, port, subset);
    }
    let asked = input.options.originate_tls && input.options.profile == Profile::Standalone;
    (asked && service.only_tls_ports().is_some_and(|ports| ports.contains(&port))).then(|| UpstreamTls {
        sni: None,
        subject_alt_names: subject_alt_names(service),
        auto_san: true,
        ca: Ca::SYSTEM,
        identity: None,
        mesh: false,
    })
}

/// None where Istio sends plaintext and that was accepted (DR-TLS-16).
fn from_settings(
    settings: &TlsSettings,
    input: &Input<'_>,
    service: &Service<'_>,
    port: u16,
    subset: &str,
) -> Option<UpstreamTls> {
    let options = input.options;
    let credential = credential_name(settings).and_then(|name| options.credential(name));
    let mesh = settings.mode.value == TlsMode::IstioMutual;
    if credential.is_none() && is_dropped_by_istio(settings, input, service) && options.accepts(WITHOUT_FILES)
    {
        return None;
    }
    let own: Vec<String> = settings.subject_alt_names.iter().map(|name| name.value.clone()).collect();
    let sni = settings.sni.as_ref().map(|sni| sni.value.clone());
    if mesh {
        return Some(UpstreamTls {
            sni: sni.or_else(|| Some(format!("outbound_.{port}_.{subset}_.{}", service.host))),
            subject_alt_names: if own.is_empty() { subject_alt_names(service) } else { own },
            auto_san: false,
            ca: credential.map_or(Ca::SYSTEM, authorities),
            identity: credential.and_then(|credential| credential.identity.clone()),
            mesh: true,
        });
    }
    let unverified = settings.insecure_skip_verify.as_ref().is_some_and(|flag| flag.value);
    let host = host_of_connections(input, service, port);
    let sni = sni.or_else(|| host.clone());
    let entry = subject_alt_names(service);
    Some(UpstreamTls {
        // DR-TLS-12, DR-TLS-13: names of the ServiceEntry come on top of the host's check.
        auto_san: own.is_empty() && sni.is_none() && !unverified,
        subject_alt_names: match (unverified, own.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) if entry.is_empty() && settings.sni.is_none() => host.into_iter().collect(),
            (false, true) => entry,
            (false, false) => own,
        },
        sni,
        ca: match credential {
            _ if unverified => Ca::Unverified,
            Some(credential) => authorities(credential),
            None => Ca::Bundle {
                file: settings.ca_certificates.as_ref().map(|path| path.value.clone()),
                crl: settings.ca_crl.as_ref().map(|path| path.value.clone()),
            },
        },
        identity: (settings.mode.value == TlsMode::Mutual).then(|| identity(settings, credential)).flatten(),
        mesh: false,
    })
}

/// The host that stands for the one of `:authority` on a port whose connections name none. Istio
/// sends no SNI there, and checks no name (DR-TLS-08).
fn host_of_connections(input: &Input<'_>, service: &Service<'_>, port: u16) -> Option<String> {
    let is_tcp = service.ports.get(&port).is_some_and(|port| port.protocol.class() == ProtocolClass::Tcp);
    let is_name = !service.host.starts_with('*') && service.host.parse::<IpAddr>().is_err();
    (is_tcp && is_name && input.options.profile == Profile::Standalone).then(|| service.host.to_owned())
}

/// What is asked for in place of files.
fn credential_name(settings: &TlsSettings) -> Option<&str> {
    match settings.mode.value {
        TlsMode::IstioMutual => Some(credential::MESH),
        _ => settings.credential_name.as_ref().map(|name| name.value.as_str()),
    }
}

/// Whether Istio's sidecar leaves the settings out, and sends plaintext (DR-TLS-16).
fn is_dropped_by_istio(settings: &TlsSettings, input: &Input<'_>, service: &Service<'_>) -> bool {
    let simple_or_mutual = settings.mode.value != TlsMode::IstioMutual;
    let rule = input.rules.of(service).and_then(|merged| merged.rules.first());
    simple_or_mutual
        && settings.credential_name.as_ref().is_some_and(|name| !credential::is_config_map(&name.value))
        && rule.is_some_and(|rule| rule.workload_selector.is_none())
}

fn authorities(credential: &Credential) -> Ca {
    Ca::Bundle { file: credential.ca.clone(), crl: credential.crl.clone() }
}

fn identity(settings: &TlsSettings, credential: Option<&Credential>) -> Option<Identity> {
    if let Some(credential) = credential {
        return credential.identity.clone();
    }
    Some(Identity {
        certificate: settings.client_certificate.as_ref()?.value.clone(),
        key: settings.private_key.as_ref()?.value.clone(),
    })
}

fn subject_alt_names(service: &Service<'_>) -> Vec<String> {
    service.subject_alt_names().iter().map(|name| name.value.clone()).collect()
}

/// Code of the error for a credential that there is no option for.
const WITHOUT_FILES: &str = "credential-without-files";

/// What TLS settings do that one may not expect.
pub(super) fn check_tls(
    input: &Input<'_>,
    service: &Service<'_>,
    number: u16,
    subset: &str,
    port: &Port,
    diagnostics: &mut Diagnostics,
) {
    let Some(settings) = tls_settings(input, service, number, subset) else { return };
    // What the subset shares with the whole was reported there.
    if !subset.is_empty() && tls_settings(input, service, number, "") == Some(settings) {
        return;
    }
    let dropped = is_dropped_by_istio(settings, input, service);
    if let Some(problem) = credential_problem(settings, dropped, input.options)
        && diagnostics.iter().all(|known| *known != problem)
    {
        diagnostics.push(problem);
    }
    let Some(tls) = upstream_tls(input, service, number, subset) else { return };
    let about = |diagnostic: Diagnostic| diagnostic.at(settings.span).field("spec.trafficPolicy.tls");
    if tls.ca == Ca::Unverified {
        diagnostics.push(
            about(Diagnostic::warning(
                "tls-not-verified",
                format!("`insecureSkipVerify` lets anyone pose as `{}`", service.host),
            ))
            .rule("DR-TLS-15")
            .help("name the CA in `caCertificates` instead"),
        );
    } else if tls.sni.is_some() && tls.subject_alt_names.is_empty() {
        diagnostics.push(
            about(Diagnostic::warning(
                "certificate-name-not-checked",
                "with `sni` and without `subjectAltNames` every certificate that the CA signed is accepted",
            ))
            .rule("DR-TLS-14")
            .help("add `subjectAltNames` with the name that the certificate carries"),
        );
    }
    let is_verified_by_host = tls.auto_san && tls.ca != Ca::Unverified;
    if port.protocol.class() == ProtocolClass::Tcp && is_verified_by_host && tls.subject_alt_names.is_empty()
    {
        diagnostics.push(
            about(Diagnostic::warning(
                "certificate-name-not-checked",
                format!(
                    "connections to port {number} of `{}` name no host, so that no SNI is sent and every \
                     certificate that the CA signed is accepted",
                    service.host
                ),
            ))
            .rule("DR-TLS-08")
            .help("add `sni` and `subjectAltNames` with the name that the certificate carries"),
        );
    }
    if port.protocol.class() == ProtocolClass::Tls && input.options.profile == Profile::Istio {
        diagnostics.push(
            about(Diagnostic::warning(
                "tls-in-tls",
                format!(
                    "a client that speaks TLS to port {number} of `{}` gets TLS inside TLS",
                    service.host
                ),
            ))
            .rule("VS-TLS-08")
            .help("originate TLS on a port of its own, or use profile standalone"),
        );
    }
    if service.host.parse::<IpAddr>().is_ok() && tls.sni.is_none() {
        diagnostics.push(
            about(Diagnostic::warning(
                "no-sni-for-address",
                format!("`{}` is an address, for which no SNI is sent", service.host),
            ))
            .rule("DR-TLS-08"),
        );
    }
}

/// What is wrong with the files that stand for a credential; `dropped`: Istio's sidecar leaves the
/// settings out.
fn credential_problem(settings: &TlsSettings, dropped: bool, options: &Options) -> Option<Diagnostic> {
    let name = credential_name(settings)?;
    let mode = settings.mode.value;
    let (place, field) = match &settings.credential_name {
        Some(name) if mode != TlsMode::IstioMutual => (name.span, "spec.trafficPolicy.tls.credentialName"),
        _ => (settings.mode.span, "spec.trafficPolicy.tls.mode"),
    };
    let (problem, help) = match options.credential(name) {
        None if mode == TlsMode::IstioMutual => (
            Diagnostic::error(
                "no-mesh-certificates",
                "`ISTIO_MUTUAL` presents the certificate of a mesh, and there is none here",
            )
            .rule("GAP-13"),
            "give its files with `--credential ISTIO_MUTUAL=DIR`".to_owned(),
        ),
        None if dropped => (
            Diagnostic::error(
                WITHOUT_FILES,
                format!("there are no files for `{name}`, and Istio's sidecar would send plaintext"),
            )
            .rule("DR-TLS-16"),
            format!("give its files with `--credential {name}=DIR`"),
        ),
        None => (
            Diagnostic::error("unknown-credential", format!("there are no files for `{name}`"))
                .rule("DR-TLS-17"),
            format!("give its files with `--credential {name}=DIR`"),
        ),
        Some(credential) if credential.identity.is_none() && mode != TlsMode::Simple => (
            Diagnostic::error(
                "incomplete-credential",
                format!("the files of `{name}` have no certificate to present"),
            )
            .rule("DR-TLS-04"),
            format!("name them: `--credential {name}=cert=FILE,key=FILE,cacert=FILE`"),
        ),
        Some(_) if dropped && options.profile == Profile::Istio => (
            Diagnostic::warning(
                "plaintext-in-istio",
                format!("Istio's sidecar would ignore `{name}` and send plaintext; here there is TLS"),
            )
            .rule("DR-TLS-16"),
            "give the rule a `workloadSelector`, as Istio wants it".to_owned(),
        ),
        Some(_) => return None,
    };
    Some(problem.at(place).field(field).help(help))
}
