//! What the client imports, as its Sidecar says (VIS-06, VIS-07, VIS-11, VIS-12).

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::{covers, expand, overlaps};
use crate::options::Options;
use crate::registry::is_exported_to;
use crate::resource::sidecar::{Egress, Sidecar};
use crate::resource::virtual_service::HttpRoute;
use crate::resource::{Resources, VirtualService};

/// The imports of the client.
#[derive(Debug)]
pub struct Scope<'a> {
    sidecar: Option<&'a Sidecar>,
    /// The namespace that `.` stands for: the client's, also where the Sidecar is the root
    /// namespace's.
    namespace: String,
    /// Hosts that imported VirtualServices lead to, each with the port of its egress listener.
    destinations: BTreeSet<(Option<u16>, String)>,
}

/// The one Sidecar that applies to the client, if there is any (VIS-11).
pub fn sidecar<'a>(sidecars: &'a [Sidecar], options: &Options) -> Option<&'a Sidecar> {
    if options.gateway.is_some() {
        // GW-14
        return None;
    }
    let client = options.client_namespace.as_str();
    // Oldest first, then by name and namespace (GAP-16).
    let mut ordered: Vec<&Sidecar> = sidecars.iter().collect();
    ordered.sort_by_key(|sidecar| {
        (sidecar.meta.creation_timestamp, sidecar.meta.name.value.as_str(), sidecar.meta.namespace.as_str())
    });
    let carries = |sidecar: &&&Sidecar| {
        sidecar.workload_selector.as_ref().is_some_and(|labels| {
            labels.value.iter().all(|(key, value)| options.client_labels.get(key) == Some(value))
        })
    };
    let own = || ordered.iter().filter(|sidecar| sidecar.meta.namespace == client);
    let plain = |sidecar: &&&Sidecar| sidecar.workload_selector.is_none();
    let root = || ordered.iter().filter(|sidecar| sidecar.meta.namespace == options.root_namespace);
    own().find(carries).or_else(|| own().find(plain)).or_else(|| root().find(plain)).copied()
}

impl<'a> Scope<'a> {
    /// Finds the Sidecar and what it imports; those that don't apply are reported.
    pub(crate) fn new(resources: &Resources<'a>, options: &Options, diagnostics: &mut Diagnostics) -> Self {
        let chosen = sidecar(resources.sidecars, options);
        for other in resources.sidecars {
            if !chosen.is_some_and(|chosen| std::ptr::eq(chosen, other)) {
                let message = "it doesn't apply to the client";
                // A Sidecar narrows what is reachable: one that is left out by oversight matters.
                let by_oversight = !options.client_namespace_given && chosen.is_none();
                let mut note = if by_oversight {
                    Diagnostic::warning("sidecar-unused", message)
                } else {
                    Diagnostic::note("sidecar-unused", message)
                };
                note = note
                    .resource(other.meta.title())
                    .at(other.meta.name.span)
                    .field("metadata.namespace")
                    .rule("VIS-11")
                    .help("choose the client with `--client-namespace` and `--client-labels`");
                if let Some(chosen) = chosen {
                    note = note.also(format!("`{}` does", chosen.meta.title()), chosen.meta.name.span);
                }
                diagnostics.push(note);
            }
        }
        let mut scope = Self {
            sidecar: chosen,
            namespace: options.client_namespace.clone(),
            destinations: BTreeSet::new(),
        };
        for service in resources.virtual_services {
            let exported = is_exported_to(&service.export_to, &service.meta, &options.client_namespace);
            for egress in chosen.map(|sidecar| sidecar.egress.as_slice()).unwrap_or_default() {
                if exported && scope.lists_virtual_service(egress, service) {
                    let connections = service.tls.iter().chain(&service.tcp).flat_map(|rule| &rule.route);
                    let routes = service.http.iter().flat_map(|http| &http.route).chain(connections);
                    let routes = routes.map(|route| route.destination.host.value.clone());
                    let mirrors = service.http.iter().flat_map(HttpRoute::all_mirrors);
                    let mirrors = mirrors.map(|mirror| mirror.destination.host.value);
                    let hosts = routes.chain(mirrors).map(|host| expand(&host, &service.meta.namespace));
                    let port = egress.port.as_ref().map(|port| port.value);
                    scope.destinations.extend(hosts.map(|host| (port, host)));
                }
            }
        }
        scope
    }

    /// The egress listener for a port: its own, else the one without a port (VIS-12).
    fn egress(&self, port: u16) -> Imports<'a> {
        let Some(sidecar) = self.sidecar.filter(|sidecar| !sidecar.egress.is_empty()) else {
            return Imports::Everything;
        };
        let with = |wanted: Option<u16>| {
            let number = |egress: &&Egress| egress.port.as_ref().map(|port| port.value) == wanted;
            sidecar.egress.iter().find(number)
        };
        with(Some(port)).or_else(|| with(None)).map_or(Imports::Nothing, Imports::Listed)
    }

    /// Whether `port` of the service `host` of `namespace` is listed.
    pub(crate) fn lists(&self, namespace: &str, host: &str, port: u16) -> bool {
        match self.egress(port) {
            Imports::Everything => true,
            Imports::Nothing => false,
            Imports::Listed(egress) => self.listed(egress, namespace, |pattern| covers(pattern, host)),
        }
    }

    /// Whether an imported VirtualService leads to `port` of `host` (VIS-07).
    pub(crate) fn leads_to(&self, host: &str, port: u16) -> bool {
        match self.egress(port) {
            Imports::Listed(egress) => {
                let port = egress.port.as_ref().map(|port| port.value);
                self.destinations.contains(&(port, host.to_owned()))
            }
            Imports::Everything | Imports::Nothing => false,
        }
    }

    /// Whether `service` is imported on listener port `port`.
    pub(crate) fn imports(&self, service: &VirtualService, port: u16) -> bool {
        match self.egress(port) {
            Imports::Everything => true,
            Imports::Nothing => false,
            Imports::Listed(egress) => self.lists_virtual_service(egress, service),
        }
    }

    fn lists_virtual_service(&self, egress: &Egress, service: &VirtualService) -> bool {
        let hosts = service.hosts.iter().map(|host| expand(host, &service.meta.namespace));
        let hosts: Vec<String> = hosts.collect();
        self.listed(egress, &service.meta.namespace, |pattern| {
            hosts.iter().any(|host| overlaps(pattern, host))
        })
    }

    /// Whether an entry for `namespace` matches and no `~` entry excludes it (VIS-06).
    fn listed(&self, egress: &Egress, namespace: &str, matches: impl Fn(&str) -> bool) -> bool {
        let (mut listed, mut excluded) = (false, false);
        for entry in &egress.hosts {
            let Some((wanted, host)) = entry.split_once('/') else { continue };
            let (excludes, wanted) = match wanted.strip_prefix('~') {
                Some("") => continue,
                Some(rest) => (true, rest),
                None => (false, wanted),
            };
            let here = wanted == "*" || wanted == namespace || (wanted == "." && self.namespace == namespace);
            if here && (host == "*" || matches(host)) {
                if excludes { excluded = true } else { listed = true }
            }
        }
        listed && !excluded
    }
}

/// What an egress listener lets through.
enum Imports<'a> {
    Everything,
    Listed(&'a Egress),
    Nothing,
}
