//! Destinations of VirtualServices: those that the client can't see, and what they are asked for.

use std::collections::{HashMap, HashSet};

use super::{Context, all_destinations, listed};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gateway::{self, MESH};
use crate::names::{covers, expand};
use crate::registry::{Origin, Service, is_exported_to};
use crate::resource::service_entry::{Location, Protocol};
use crate::resource::virtual_service::{Destination, HttpRoute};
use crate::resource::{DestinationRule, Meta, Spanned, VirtualService};
use crate::source::Span;

pub(super) fn check(context: &Context<'_>, out: &mut Diagnostics) {
    let written = written(context);
    let mut hides = HashSet::new();
    for service in context.resources.virtual_services {
        let is_for_client = service.hosts.is_empty()
            || (context.is_visible(service)
                && (service.gateways.is_empty()
                    || gateway::names(&service.gateways, &service.meta.namespace, MESH)));
        // A destination that is named often is reported once.
        let mut told = HashSet::new();
        for destination in all_destinations(service) {
            let host = expand(&destination.host, &service.meta.namespace);
            match context.registry.get(&host) {
                Some(known) => {
                    without_port(service, destination, known, out);
                    if !is_for_client {
                        out.extend(missing_part(context, service, destination, known));
                    }
                }
                None => {
                    let first = told.insert(host.clone());
                    match written.get(host.as_str()) {
                        Some(Some(owner)) if is_for_client => {
                            hides.insert(destination.host.span);
                            out.extend(first.then(|| hidden(context, service, destination, &host, owner)));
                        }
                        // The plan has looked at those that are for the client.
                        None if !is_for_client => {
                            out.extend(first.then(|| unknown(service, destination, &host)));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    // That there is no such host is then not the whole truth.
    let whole = |finding: &Diagnostic| {
        finding.code != "unknown-destination" || finding.span.is_none_or(|span| !hides.contains(&span))
    };
    *out = std::mem::take(out).into_iter().filter(whole).collect();
    for service in context.of_the_client() {
        for http in &service.http {
            foreign_host(context, service, http, out);
        }
    }
}

/// The hosts that are registered for anyone, each with its owner where `exportTo` hides all of them
/// from the client.
fn written<'a>(context: &Context<'a>) -> HashMap<&'a str, Option<&'a Meta>> {
    let client = context.options.client_namespace.as_str();
    let mut written: HashMap<&str, Option<&Meta>> = HashMap::new();
    let mut add = |host: &'a str, export_to: &[Spanned<String>], meta: &'a Meta| {
        let owner = written.entry(host).or_insert(Some(meta));
        if is_exported_to(export_to, meta, client) {
            *owner = None;
        }
    };
    for entry in context.resources.service_entries {
        entry.hosts.iter().for_each(|host| add(host, &entry.export_to, &entry.meta));
    }
    for service in context.resources.kubernetes_services {
        add(&service.host, &service.export_to, &service.meta);
    }
    written
}

/// IST0101 for VirtualServices that are not for the client, such as those of gateways.
fn unknown(service: &VirtualService, destination: &Destination, host: &str) -> Diagnostic {
    Diagnostic::warning(
        "unknown-destination",
        format!("no service has the host `{host}`; whoever follows this rule gets 503"),
    )
    .resource(service.meta.title())
    .at(destination.host.span)
    .rule("CL-09")
    .help("add a ServiceEntry for the host, or its Service")
}

/// The same for a port or subset that the host doesn't have.
fn missing_part(
    context: &Context<'_>,
    service: &VirtualService,
    destination: &Destination,
    known: &Service<'_>,
) -> Option<Diagnostic> {
    let about = |place: Span, what: String, help: &str| {
        Diagnostic::warning("unknown-destination", format!("{what}; whoever follows this rule gets 503"))
            .resource(service.meta.title())
            .at(place)
            .rule("CL-09")
            .help(help)
    };
    if let Some(port) = destination.port.as_ref().filter(|port| !known.ports.contains_key(&port.value)) {
        let offered = listed(known.ports.keys());
        return Some(about(
            port.span,
            format!("`{}` has no port {}", known.host, port.value),
            &format!("set `port.number` to one of {offered}"),
        ));
    }
    let subset = destination.subset.as_ref()?;
    let has = |rule: &DestinationRule| {
        covers(&expand(&rule.host, &rule.meta.namespace), known.host)
            && rule.subsets.iter().any(|own| own.name.value == subset.value)
    };
    (!context.resources.destination_rules.iter().any(has)).then(|| {
        about(
            subset.span,
            format!("no DestinationRule gives `{}` a subset `{}`", known.host, subset.value),
            "add it under `subsets`, or leave `subset` out",
        )
    })
}

/// VIS-01
fn hidden(
    context: &Context<'_>,
    service: &VirtualService,
    destination: &Destination,
    host: &str,
    owner: &Meta,
) -> Diagnostic {
    Diagnostic::error(
        "hidden-destination",
        format!(
            "{} has `{host}`, but clients of namespace `{}` don't see it: they get 503",
            owner.title(),
            context.options.client_namespace
        ),
    )
    .resource(service.meta.title())
    .at(destination.host.span)
    .also("it stands at", owner.name.span)
    .rule("VIS-01")
    .help(format!(
        "add `{}` to its `exportTo`, or keep this rule from these clients by its own",
        context.options.client_namespace
    ))
}

/// CL-05, CL-06: which port is meant then depends on the port that a client addresses.
fn without_port(
    service: &VirtualService,
    destination: &Destination,
    known: &Service<'_>,
    out: &mut Diagnostics,
) {
    let ports: Vec<u16> = known
        .ports
        .iter()
        .filter(|(_, port)| port.protocol.value != Protocol::Udp)
        .map(|(number, _)| *number)
        .collect();
    if destination.port.is_some() || ports.len() < 2 {
        return;
    }
    out.push(
        Diagnostic::warning(
            "destination-without-port",
            format!(
                "`{}` has the ports {}: the one that the client addressed is taken, and others get 503",
                known.host,
                listed(ports)
            ),
        )
        .resource(service.meta.title())
        .at(destination.host.span)
        .also("the ports stand at", known.meta().name.span)
        .rule("CL-05")
        .help("write the port that is meant as `port.number`"),
    );
}

/// A service outside that is asked for by another name than its own: it looks at the Host header, or
/// its certificate is checked against it (DR-TLS-07, DR-TLS-13).
fn foreign_host(context: &Context<'_>, service: &VirtualService, http: &HttpRoute, out: &mut Diagnostics) {
    let rewrites = http.rewrite.as_ref().is_some_and(|rewrite| rewrite.authority.is_some())
        || http.headers.request.authority().is_some();
    if rewrites {
        return;
    }
    for route in http.route.iter().filter(|route| route.headers.request.authority().is_none()) {
        let destination = &route.destination;
        let namespace = &service.meta.namespace;
        let host = expand(&destination.host, namespace);
        let Some(known) = context.registry.get(&host).filter(|known| is_outside(known)) else { continue };
        let foreign = |own: &&Spanned<String>| !covers(&host, &expand(own, namespace));
        let Some(own) = service.hosts.iter().find(foreign) else { continue };
        if own.starts_with('*') && covers(&own.value, &host) {
            continue;
        }
        let subset = destination.subset.as_ref().map(|subset| subset.value.as_str()).unwrap_or_default();
        let port =
            destination.port.as_ref().map(|port| port.value).or_else(|| known.ports.keys().next().copied());
        let tls = port.and_then(|port| context.rules.policy(known, port, subset).tls);
        let names_another = tls.is_some_and(|tls| tls.sni.is_some() || !tls.subject_alt_names.is_empty());
        let verified_by_host =
            port.is_some_and(|port| context.originates_tls(known, port, subset)) && !names_another;
        let follows = if verified_by_host {
            "TLS asks for that name, which its certificate doesn't have: requests get 503"
        } else {
            "servers that tell sites apart by the Host header mostly answer 404"
        };
        out.push(
            Diagnostic::warning(
                "foreign-host",
                format!("`{host}` is asked for as `{}`: {follows}", own.value),
            )
            .resource(service.meta.title())
            .at(destination.host.span)
            .rule("VS-RW-12")
            .help(format!("add `rewrite: {{authority: {host}}}` to the route")),
        );
        return;
    }
}

/// A ServiceEntry for a service elsewhere, which has a name of its own.
fn is_outside(known: &Service<'_>) -> bool {
    let Origin::Entry(entry) = known.origin else { return false };
    let is_inside = entry.location.as_ref().is_some_and(|location| location.value == Location::MeshInternal);
    // Endpoints are often one's own servers behind a made-up name.
    !is_inside
        && entry.endpoints.is_empty()
        && entry.workload_selector.is_none()
        && !known.host.starts_with('*')
}
