//! Hosts of VirtualServices: those that the registry doesn't have, and those whose ports HTTP rules
//! say nothing about.

use std::collections::HashSet;
use std::net::IpAddr;

use super::slips::Slips;
use super::{Context, all_destinations, listed};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::names::{covers, expand};
use crate::options::Profile;
use crate::registry::Service;
use crate::resource::service_entry::ProtocolClass;
use crate::resource::{Spanned, VirtualService};

pub(super) fn check(context: &Context<'_>, out: &mut Diagnostics) {
    if context.options.gateway.is_some() {
        // Which hosts a gateway serves, its servers say (GW-06).
        return;
    }
    let all: Vec<&Service<'_>> = context.registry.services().collect();
    let wildcards = all.iter().copied().filter(|service| service.host.starts_with('*')).collect();
    let known = Known { slips: Slips::new(all.iter().map(|service| service.host)), all, wildcards };
    // What `exportTo` hides was said.
    let hidden: HashSet<&str> = context
        .resources
        .service_entries
        .iter()
        .flat_map(|entry| &entry.hosts)
        .map(|host| host.as_str())
        .collect();
    for service in context.of_the_client().filter(|service| !service.http.is_empty()) {
        for host in service.hosts.iter().filter(|host| host.parse::<IpAddr>().is_err()) {
            let full = expand(host, &service.meta.namespace);
            match context.registry.get(&full) {
                Some(registered) => on_tls_ports(context, service, host, registered, out),
                None if hidden.contains(full.as_str()) => {}
                None => out.extend(unregistered(context, &known, service, host, &full)),
            }
        }
    }
}

/// The hosts of the registry, to look others up among them.
struct Known<'a> {
    all: Vec<&'a Service<'a>>,
    wildcards: Vec<&'a Service<'a>>,
    slips: Slips<'a>,
}

/// VH-06, VH-15 to VH-18.
fn unregistered(
    context: &Context<'_>,
    known: &Known<'_>,
    service: &VirtualService,
    host: &Spanned<String>,
    full: &str,
) -> Option<Diagnostic> {
    let options = context.options;
    let is_wildcard = full.starts_with('*');
    let about = |severity: Severity, message: String| {
        let mut diagnostic = Diagnostic::note("host-not-in-registry", message);
        diagnostic.severity = severity;
        diagnostic.resource(service.meta.title()).at(host.span)
    };
    if is_wildcard && known.all.iter().any(|service| covers(full, service.host)) {
        return None;
    }
    let wider = known.wildcards.iter().find(|service| covers(service.host, full));
    if let Some(wider) = wider.filter(|_| is_wildcard) {
        return Some(
            about(
                Severity::Warning,
                format!(
                    "`{full}` lies within `{}` of the registry: rules for a part of a wildcard apply to none of it",
                    wider.host
                ),
            )
            .also("the wildcard stands at", wider.meta().name.span)
            .rule("VH-16")
            .help(format!("add a ServiceEntry for `{full}`, or write the rules for `{}`", wider.host)),
        );
    }
    if let Some(wider) = wider {
        let mut found = Diagnostics::new();
        on_tls_ports(context, service, host, wider, &mut found);
        if !found.is_empty() {
            return found.into_iter().next();
        }
        let others: Vec<u16> =
            wider.ports.keys().copied().filter(|port| *port != 80 && wider.is_http_on(*port)).collect();
        // In profile standalone the rules count wherever the wildcard is served.
        return (options.profile == Profile::Istio && !others.is_empty()).then(|| {
            about(
                Severity::Warning,
                format!(
                    "the registry has `{full}` only below `{}`: Istio asks these rules on port 80 alone, and not on {}",
                    wider.host,
                    listed(others)
                ),
            )
            .also("the wildcard stands at", wider.meta().name.span)
            .rule("VH-18")
            .help("add a ServiceEntry for the host itself")
        });
    }
    if let Some(meant) = known.slips.meant(full) {
        return Some(
            about(Severity::Warning, format!("the registry has no host `{full}`, but `{meant}`"))
                .rule("VH-15")
                .help(format!("write `{meant}` if that is meant; otherwise add a ServiceEntry for `{full}`")),
        );
    }
    if is_wildcard && options.profile == Profile::Standalone && !options.allow_unregistered_wildcards {
        return Some(
            about(
                Severity::Warning,
                format!(
                    "the registry has no host below `{full}`, so that requests for such names are refused"
                ),
            )
            .rule("VH-16")
            .help(
                "add a ServiceEntry for the hosts, or serve all names with `--allow-unregistered-wildcards`",
            ),
        );
    }
    let message = match options.profile {
        Profile::Standalone => {
            format!("the registry has no host `{full}`: these rules alone say where its requests go")
        }
        Profile::Istio => {
            format!("the registry has no host `{full}`: Istio asks these rules on port 80 alone")
        }
    };
    // That the service itself is missing is the graver news.
    if all_destinations(service).any(|destination| expand(&destination.host, &service.meta.namespace) == full)
    {
        return None;
    }
    Some(
        about(Severity::Note, message)
            .rule("VH-15")
            .help("leave it so if the name is made up for these rules; otherwise add a ServiceEntry for it"),
    )
}

/// HTTP rules say nothing about connections that the proxy passes through (SE-P-04).
fn on_tls_ports(
    context: &Context<'_>,
    service: &VirtualService,
    host: &Spanned<String>,
    registered: &Service<'_>,
    out: &mut Diagnostics,
) {
    let tls = |port: u16| {
        registered.ports.get(&port).is_some_and(|port| port.protocol.class() == ProtocolClass::Tls)
    };
    let about = |diagnostic: Diagnostic| {
        diagnostic
            .resource(service.meta.title())
            .also(format!("`{}` is registered at", registered.host), registered.meta().name.span)
            .rule("VS-HOST-06")
            .help(format!(
                "to have them apply, let clients send plaintext: give the host a port 80 with `protocol: HTTP` and \
                 `targetPort: {}`, and a DestinationRule with `tls.mode: SIMPLE`; to route by server name, write `tls` \
                 rules",
                registered.ports.keys().copied().find(|port| tls(*port)).unwrap_or(443)
            ))
    };
    let mut only_by_port = false;
    for entry in service.http.iter().flat_map(|http| &http.matches) {
        if let Some(port) = entry.port.as_ref().filter(|port| tls(port.value)) {
            only_by_port = true;
            out.push(about(
                Diagnostic::warning(
                    "http-rules-on-tls-port",
                    format!(
                        "port {} of `{}` carries TLS, which is passed through by its server name: this condition is \
                         never met",
                        port.value, registered.host
                    ),
                )
                .at(port.span),
            ));
        }
    }
    let Some(ports) = registered.only_tls_ports().filter(|_| !only_by_port) else { return };
    // There plaintext for the host comes to these rules on any port (design, section 3).
    let originates = ports.iter().any(|port| context.originates_tls(registered, *port, ""));
    if context.options.profile == Profile::Standalone && originates {
        return;
    }
    let ports = listed(ports);
    out.push(about(
        Diagnostic::warning(
            "http-rules-on-tls-port",
            format!(
                "`{}` has nothing but TLS, on port {ports}, which is passed through by its server name: these HTTP rules \
                 see none of it",
                registered.host
            ),
        )
        .at(host.span),
    ));
}
