//! TLS that is originated without naming who may vouch for the server.

use super::Context;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::DestinationRule;
use crate::resource::destination_rule::{TlsMode, TlsSettings, TrafficPolicy};

pub(super) fn check(context: &Context<'_>, out: &mut Diagnostics) {
    for rule in context.resources.destination_rules {
        let policies = rule
            .traffic_policy
            .iter()
            .chain(rule.subsets.iter().filter_map(|one| one.traffic_policy.as_ref()));
        for policy in policies {
            out.extend(settings(policy).filter(|tls| is_open(tls, rule)).map(|tls| finding(tls, rule)));
        }
    }
}

fn settings(policy: &TrafficPolicy) -> impl Iterator<Item = &TlsSettings> {
    let ports = policy.port_level_settings.iter().filter_map(|port| port.settings.tls.as_ref());
    policy.settings.tls.iter().chain(ports)
}

/// DR-TLS-09; what is not verified at all is said elsewhere (DR-TLS-15).
fn is_open(tls: &TlsSettings, rule: &DestinationRule) -> bool {
    let from_credential = tls.credential_name.is_some() && rule.workload_selector.is_some();
    matches!(tls.mode.value, TlsMode::Simple | TlsMode::Mutual)
        && tls.ca_certificates.is_none()
        && tls.insecure_skip_verify.as_ref().is_none_or(|flag| !flag.value)
        && !from_credential
}

fn finding(tls: &TlsSettings, rule: &DestinationRule) -> Diagnostic {
    Diagnostic::note(
        "no-ca-certificates",
        format!(
            "without `caCertificates` every authority of the system's bundle may vouch for `{}`; proxies of older \
             releases of Istio verify nothing",
            rule.host.value
        ),
    )
    .resource(rule.meta.title())
    .at(tls.span)
    .rule("DR-TLS-09")
    .help("name the file of the authority in `caCertificates`, if it is a private one")
}
