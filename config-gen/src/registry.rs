//! The registry: which services the client sees (spec sections 1.5 and 2).

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::options::{Options, Profile};
use crate::resource::service_entry::{Location, Port, ProtocolClass};
use crate::resource::{Meta, ServiceEntry, Spanned};

/// A service: one host of one or more ServiceEntries.
#[derive(Debug)]
pub struct Service<'a> {
    /// Lower case; `*.x` is a wildcard.
    pub host: &'a str,
    /// The entry that settles everything but further ports (SE-C-01).
    pub entry: &'a ServiceEntry,
    /// Ports by number.
    pub ports: BTreeMap<u16, &'a Port>,
}

impl Service<'_> {
    /// Whether plaintext HTTP is expected on `port` (SE-P rows).
    pub fn is_http_on(&self, port: u16) -> bool {
        self.ports
            .get(&port)
            .is_some_and(|port| matches!(port.protocol.class(), ProtocolClass::Http | ProtocolClass::Sniffed))
    }

    /// The TLS ports, where there is no other kind.
    pub fn only_tls_ports(&self) -> Option<Vec<u16>> {
        let tls = self.ports.iter().filter(|(_, port)| port.protocol.class() == ProtocolClass::Tls);
        let numbers: Vec<u16> = tls.map(|(number, _)| *number).collect();
        (!numbers.is_empty() && numbers.len() == self.ports.len()).then_some(numbers)
    }
}

/// The services that the client sees, one for each host.
#[derive(Debug, Default)]
pub struct Registry<'a> {
    services: BTreeMap<&'a str, Service<'a>>,
}

impl<'a> Registry<'a> {
    /// Settles visibility and conflicts; both are reported.
    pub fn build(entries: &'a [ServiceEntry], options: &Options, diagnostics: &mut Diagnostics) -> Self {
        let mut visible: Vec<&ServiceEntry> = Vec::new();
        for entry in entries {
            if is_exported_to(&entry.export_to, &entry.meta, &options.client_namespace) {
                visible.push(entry);
                warn_of_location(entry, options, diagnostics);
            } else {
                diagnostics.push(
                    Diagnostic::note(
                        "not-exported",
                        format!(
                            "`exportTo` hides it from the client's namespace `{}`",
                            options.client_namespace
                        ),
                    )
                    .resource(entry.meta.title())
                    .at(entry.meta.name.span)
                    .field("spec.exportTo")
                    .rule("VIS-01")
                    .help("choose another client with `--client-namespace`"),
                );
            }
        }
        // Oldest first; files seldom have a timestamp, then by name, then as given (SE-21).
        visible.sort_by_key(|entry| {
            (entry.meta.creation_timestamp, entry.meta.namespace.as_str(), entry.meta.name.value.as_str())
        });
        let mut by_host: BTreeMap<&str, Vec<(&Spanned<String>, &ServiceEntry)>> = BTreeMap::new();
        for entry in visible {
            for host in &entry.hosts {
                by_host.entry(host).or_default().push((host, entry));
            }
        }
        let services = by_host
            .into_iter()
            .filter_map(|(host, claims)| Some((host, settle(host, &claims, options, diagnostics)?)))
            .collect();
        Self { services }
    }

    /// All services, by host.
    pub fn services(&self) -> impl Iterator<Item = &Service<'a>> {
        self.services.values()
    }

    /// The service whose host is exactly `host`.
    pub fn get(&self, host: &str) -> Option<&Service<'a>> {
        self.services.get(host)
    }
}

/// One service out of all entries that claim its host.
fn settle<'a>(
    host: &'a str,
    claims: &[(&'a Spanned<String>, &'a ServiceEntry)],
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Option<Service<'a>> {
    // The client's own namespace, else the first (SE-C-04).
    let (_, first) = claims
        .iter()
        .find(|(_, entry)| entry.meta.namespace == options.client_namespace)
        .or_else(|| claims.first())?;
    let mut service = Service { host, entry: first, ports: ports(first) };
    for (place, other) in claims {
        if std::ptr::eq(*other, *first) {
            continue;
        }
        let conflict = |diagnostic: Diagnostic| {
            diagnostic
                .resource(other.meta.title())
                .at(place.span)
                .field("spec.hosts")
                .also(format!("`{}` has it", first.meta.title()), first.meta.name.span)
        };
        if other.meta.namespace != first.meta.namespace {
            diagnostics.push(
                conflict(Diagnostic::warning(
                    "host-in-other-namespace",
                    format!("`{host}` is taken from namespace `{}`", first.meta.namespace),
                ))
                .rule("SE-C-04")
                .help("remove one of the two, or narrow its `exportTo`"),
            );
        } else if same_settings(first, other) {
            merge_ports(&mut service, other, &conflict, diagnostics);
        } else {
            diagnostics.push(
                conflict(Diagnostic::error(
                    "conflicting-service-entries",
                    format!("two entries of one namespace give `{host}` different resolution or `exportTo`"),
                ))
                .rule("SE-C-03")
                .help("put all ports of the host into one ServiceEntry"),
            );
        }
    }
    Some(service)
}

/// Adds the ports that the service doesn't have yet (SE-C-03).
fn merge_ports<'a>(
    service: &mut Service<'a>,
    other: &'a ServiceEntry,
    conflict: &dyn Fn(Diagnostic) -> Diagnostic,
    diagnostics: &mut Diagnostics,
) {
    for (number, port) in ports(other) {
        let known = service.ports.entry(number).or_insert(port);
        if known.protocol.value == port.protocol.value {
            continue;
        }
        diagnostics.push(
            conflict(Diagnostic::error(
                "conflicting-service-entries",
                format!(
                    "port {number} of `{}` is {} here and {} there",
                    service.host, port.protocol.value, known.protocol.value
                ),
            ))
            .rule("SE-C-08")
            .help("give the port one protocol"),
        );
    }
}

fn same_settings(one: &ServiceEntry, other: &ServiceEntry) -> bool {
    let exports = |entry: &ServiceEntry| {
        let mut names: Vec<String> = entry.export_to.iter().map(|name| name.value.clone()).collect();
        names.sort_unstable();
        names
    };
    let endpoints = |entry: &ServiceEntry| -> Vec<_> {
        entry
            .endpoints
            .iter()
            .map(|endpoint| endpoint.address.as_ref().map(|text| text.value.clone()))
            .collect()
    };
    one.resolution() == other.resolution()
        && exports(one) == exports(other)
        // Istio gathers the endpoints of all entries (SE-C-02).
        && endpoints(one) == endpoints(other)
}

fn ports(entry: &ServiceEntry) -> BTreeMap<u16, &Port> {
    entry.ports.iter().map(|port| (port.number.value, port)).collect()
}

/// Says how a missing `location` is read, where that isn't settled by an option.
fn warn_of_location(entry: &ServiceEntry, options: &Options, diagnostics: &mut Diagnostics) {
    if entry.location.is_none()
        && options.default_location.is_none()
        && options.profile == Profile::Standalone
    {
        diagnostics.push(
            Diagnostic::warning(
                "location-omitted",
                "`location` is missing, which profile standalone reads as `MESH_INTERNAL` and Istio as `MESH_EXTERNAL`",
            )
            .resource(entry.meta.title())
            .at(entry.meta.name.span)
            .field("spec.location")
            .rule("SE-13")
            .help("write it, or choose with `--default-location`; routing is the same either way"),
        );
    }
}

/// The location in force. It never changes routing (SE-14).
pub fn location(entry: &ServiceEntry, options: &Options) -> Location {
    let written = entry.location.as_ref().map(|location| location.value);
    written.or(options.default_location).unwrap_or(match options.profile {
        Profile::Standalone => Location::MeshInternal,
        Profile::Istio => Location::MeshExternal,
    })
}

/// Whether a resource's `exportTo` lets `namespace` see it (VIS-01, VIS-03).
pub fn is_exported_to(export_to: &[Spanned<String>], meta: &Meta, namespace: &str) -> bool {
    export_to.is_empty()
        || export_to.iter().any(|entry| match entry.as_str() {
            "*" => true,
            "." => meta.namespace == namespace,
            name => name == namespace,
        })
}
