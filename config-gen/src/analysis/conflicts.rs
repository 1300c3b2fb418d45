//! Resources that say different things of one host, whoever the client is (VS-HOST-07, SE-C-08).

use std::collections::{BTreeSet, HashMap};

use super::Context;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::expand;
use crate::resource::service_entry::Port;
use crate::resource::{Meta, ServiceEntry, Spanned, VirtualService};

pub(super) fn check(context: &Context<'_>, out: &mut Diagnostics) {
    routes(context, out);
    protocols(context, out);
}

fn age(meta: &Meta) -> (Option<i64>, &str, &str) {
    (meta.creation_timestamp, meta.name.value.as_str(), meta.namespace.as_str())
}

fn routes(context: &Context<'_>, out: &mut Diagnostics) {
    // The plan has compared those that the client sees.
    let told: BTreeSet<String> = out
        .iter()
        .filter(|finding| finding.code == "host-already-routed")
        .filter_map(|finding| finding.resource.clone())
        .collect();
    let mut services: Vec<&VirtualService> = context.of_the_mesh().collect();
    services.sort_by_key(|service| age(&service.meta));
    let mut by_host: HashMap<String, Vec<&VirtualService>> = HashMap::new();
    for service in services {
        for host in &service.hosts {
            let owners = by_host.entry(expand(host, &service.meta.namespace)).or_default();
            let first = owners.iter().find(|first| {
                meet((&first.export_to, &first.meta), (&service.export_to, &service.meta))
                    && ![first, &service].iter().any(|one| told.contains(&one.meta.title()))
            });
            if let Some(first) = first {
                out.push(
                    Diagnostic::warning(
                        "host-already-routed",
                        format!(
                            "`{}` belongs to {} too; only one of the two counts",
                            host.value,
                            first.meta.title()
                        ),
                    )
                    .resource(service.meta.title())
                    .at(host.span)
                    .also("the other one stands at", first.meta.name.span)
                    .rule("VH-10")
                    .help("merge the routes into one VirtualService"),
                );
            }
            owners.push(service);
        }
    }
}

/// Each namespace takes a host from one entry (SE-C-04), but listeners are made from all of them.
fn protocols(context: &Context<'_>, out: &mut Diagnostics) {
    // The plan has compared those of one namespace that are joined.
    let told: BTreeSet<String> = out
        .iter()
        .filter(|finding| finding.code == "conflicting-service-entries" && finding.rule == Some("SE-C-08"))
        .filter_map(|finding| finding.resource.clone())
        .collect();
    let mut entries: Vec<&ServiceEntry> = context.resources.service_entries.iter().collect();
    entries.sort_by_key(|entry| age(&entry.meta));
    let mut known: HashMap<(&str, u16), Vec<(&ServiceEntry, &Port)>> = HashMap::new();
    for entry in entries {
        let mut found = None;
        for host in &entry.hosts {
            for port in &entry.ports {
                let others = known.entry((host.as_str(), port.number.value)).or_default();
                let differing = others.iter().find(|(other, its)| {
                    its.protocol.value != port.protocol.value
                        && meet((&other.export_to, &other.meta), (&entry.export_to, &entry.meta))
                });
                found = found.or(differing.map(|(other, its)| (*other, *its, host, port)));
                others.push((entry, port));
            }
        }
        let Some((other, its, host, port)) = found.filter(|_| !told.contains(&entry.meta.title())) else {
            continue;
        };
        out.push(
            Diagnostic::warning(
                "conflicting-protocol",
                format!(
                    "port {} of `{}` is {} here and {} in {}",
                    port.number.value,
                    host.value,
                    port.protocol.value,
                    its.protocol.value,
                    other.meta.title()
                ),
            )
            .resource(entry.meta.title())
            .at(port.protocol.span)
            .also("it is defined at", its.protocol.span)
            .rule("SE-C-08")
            .help("give the port one protocol, or keep the two apart by `exportTo`"),
        );
    }
}

/// An `exportTo`, and whose it is.
type Export<'a> = (&'a [Spanned<String>], &'a Meta);

/// Whether some namespace sees both.
fn meet(one: Export<'_>, other: Export<'_>) -> bool {
    match (namespaces(one), namespaces(other)) {
        (Some(one), Some(other)) => !one.is_disjoint(&other),
        (None, Some(some)) | (Some(some), None) => !some.is_empty(),
        (None, None) => true,
    }
}

/// Which namespaces see it; none: all.
fn namespaces<'a>((names, meta): Export<'a>) -> Option<BTreeSet<&'a str>> {
    if names.is_empty() || names.iter().any(|name| name.value == "*") {
        return None;
    }
    let named = names.iter().filter(|name| name.value != "~");
    Some(
        named
            .map(|name| if name.value == "." { meta.namespace.as_str() } else { name.value.as_str() })
            .collect(),
    )
}
