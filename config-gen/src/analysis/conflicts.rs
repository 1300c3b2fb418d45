//! VirtualServices that share a host, whoever the client is (VS-HOST-07).

use std::collections::{BTreeSet, HashMap};

use super::Context;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::expand;
use crate::resource::{Spanned, VirtualService};

pub(super) fn check(context: &Context<'_>, out: &mut Diagnostics) {
    // The plan has compared those that the client sees.
    let told: BTreeSet<String> = out
        .iter()
        .filter(|finding| finding.code == "host-already-routed")
        .filter_map(|finding| finding.resource.clone())
        .collect();
    let mut services: Vec<&VirtualService> = context.of_the_mesh().collect();
    services.sort_by_key(|service| {
        let meta = &service.meta;
        (meta.creation_timestamp, meta.name.value.as_str(), meta.namespace.as_str())
    });
    let mut by_host: HashMap<String, Vec<(&VirtualService, &Spanned<String>)>> = HashMap::new();
    for service in services {
        for host in &service.hosts {
            let owners = by_host.entry(expand(host, &service.meta.namespace)).or_default();
            if let Some((first, _)) = owners.iter().find(|(first, _)| meet(first, service))
                && ![*first, service].iter().any(|one| told.contains(&one.meta.title()))
            {
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
            owners.push((service, host));
        }
    }
}

/// Whether some namespace sees both.
fn meet(one: &VirtualService, other: &VirtualService) -> bool {
    match (namespaces(one), namespaces(other)) {
        (Some(one), Some(other)) => !one.is_disjoint(&other),
        _ => true,
    }
}

/// Which namespaces see it; none: all.
fn namespaces(service: &VirtualService) -> Option<BTreeSet<&str>> {
    let names = &service.export_to;
    if names.is_empty() || names.iter().any(|name| name.value == "*") {
        return None;
    }
    let own = service.meta.namespace.as_str();
    Some(names.iter().map(|name| if name.value == "." { own } else { name.value.as_str() }).collect())
}
