//! The registry: which services the client sees (spec sections 1.5, 1.7 and 2).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::options::{Cidr, Options, Profile};
use crate::resource::service_entry::{
    Address, Endpoint, Location, Port, Protocol, ProtocolClass, Resolution,
};
use crate::resource::{KubernetesService, Meta, Resources, ServiceEntry, Spanned, WorkloadEntry};
use crate::scope::Scope;
use crate::source::Span;

/// What a service was made from.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// A ServiceEntry.
    Entry(&'a ServiceEntry),
    /// A Kubernetes Service (KS rows).
    Kubernetes(&'a KubernetesService),
}

impl<'a> Origin<'a> {
    /// Name, namespace and so on.
    pub fn meta(self) -> &'a Meta {
        match self {
            Self::Entry(entry) => &entry.meta,
            Self::Kubernetes(service) => &service.meta,
        }
    }

    fn export_to(self) -> &'a [Spanned<String>] {
        match self {
            Self::Entry(entry) => &entry.export_to,
            Self::Kubernetes(service) => &service.export_to,
        }
    }

    fn ports(self) -> &'a [Port] {
        match self {
            Self::Entry(entry) => &entry.ports,
            Self::Kubernetes(service) => &service.ports,
        }
    }

    fn is_kubernetes(self) -> bool {
        matches!(self, Self::Kubernetes(_))
    }
}

/// A service: one host of a Kubernetes Service, or of one or more ServiceEntries.
#[derive(Debug)]
pub struct Service<'a> {
    /// Lower case; `*.x` is a wildcard.
    pub host: &'a str,
    /// What settles everything but further ports and endpoints (SE-C-01).
    pub origin: Origin<'a>,
    /// Ports by number.
    pub ports: BTreeMap<u16, &'a Port>,
    /// Ports for which virtual hosts are made and no cluster: their entry lost (SE-C-03, KS-08).
    /// That is an error which can be accepted; requests then get 503, as in Istio.
    pub without_cluster: BTreeSet<u16>,
    /// Ports that a younger entry defines with another protocol: clusters are the oldest's and
    /// virtual hosts the youngest's (SE-C-08). An error, too.
    pub redefined: BTreeMap<u16, &'a Port>,
    /// The ServiceEntries that give ports and endpoints, oldest first (SE-C-02, SE-C-03).
    pub members: Vec<&'a ServiceEntry>,
    /// Further hosts: Kubernetes Services of type `ExternalName` (KS-04).
    pub aliases: Vec<&'a str>,
}

impl<'a> Service<'a> {
    /// The resource that settles it.
    pub fn meta(&self) -> &'a Meta {
        self.origin.meta()
    }

    /// How endpoints are found. A Kubernetes Service has none in a file: its name is resolved
    /// (KS-06).
    pub fn resolution(&self) -> Resolution {
        match self.origin {
            Origin::Entry(entry) => entry.resolution(),
            Origin::Kubernetes(_) => Resolution::Dns,
        }
    }

    /// Names that the certificate must carry (SE-20).
    pub fn subject_alt_names(&self) -> &'a [Spanned<String>] {
        match self.origin {
            Origin::Entry(entry) => &entry.subject_alt_names,
            Origin::Kubernetes(_) => &[],
        }
    }

    /// The IP addresses that clients may send as the host of a request to `port` (VH-01, KS-07).
    pub fn addresses(&self, port: u16, profile: Profile) -> Vec<String> {
        match (self.origin, profile) {
            (Origin::Kubernetes(service), _) => service.cluster_ips.iter().map(ToString::to_string).collect(),
            (Origin::Entry(_), Profile::Standalone) => self.ip_addresses().map(str::to_owned).collect(),
            // Only the last address of the youngest entry that has the port (SE-08, SE-C-08).
            (Origin::Entry(_), Profile::Istio) => {
                let with_port =
                    self.members.iter().rfind(|entry| entry.ports.iter().any(|own| own.number.value == port));
                let last = with_port.and_then(|entry| entry.addresses.last());
                last.and_then(|address| Some(address.ip()?.to_owned())).into_iter().collect()
            }
        }
    }

    /// The addresses and ranges that clients may dial for `port` (SE-06, SE-08, KS-07).
    pub(crate) fn ranges(&self, port: u16) -> Vec<Cidr> {
        let range = |address: &Address| match address {
            Address::Ip(text) => text.parse().ok().map(Cidr::of),
            Address::Range(range) => Some(*range),
        };
        match self.origin {
            Origin::Kubernetes(service) => service.cluster_ips.iter().copied().map(Cidr::of).collect(),
            Origin::Entry(_) => {
                let with_port = self
                    .members
                    .iter()
                    .filter(|entry| entry.ports.iter().any(|own| own.number.value == port));
                with_port.flat_map(|entry| &entry.addresses).filter_map(|address| range(address)).collect()
            }
        }
    }

    /// What `port` is: listeners are made from all entries (SE-C-08).
    pub(crate) fn definitions(&self, port: u16) -> impl Iterator<Item = &'a Port> {
        [self.ports.get(&port), self.redefined.get(&port)].into_iter().flatten().copied()
    }

    /// All IP addresses of the ServiceEntries.
    pub fn ip_addresses(&self) -> impl Iterator<Item = &'a str> {
        let addresses = self.members.iter().flat_map(|entry| &entry.addresses);
        addresses.filter_map(|address| address.ip())
    }

    /// Ports of an entry that lost (SE-C-03, KS-08).
    fn add_without_cluster(&mut self, loser: Origin<'a>) {
        for (number, port) in ports(loser) {
            if let Entry::Vacant(slot) = self.ports.entry(number) {
                slot.insert(port);
                self.without_cluster.insert(number);
            }
        }
    }

    /// Every pod has a name below the service's (KS-03).
    pub fn is_headless(&self) -> bool {
        matches!(self.origin, Origin::Kubernetes(service) if service.headless)
    }

    /// Whether plaintext HTTP is expected on `port` (SE-P rows).
    pub fn is_http_on(&self, port: u16) -> bool {
        let definition = self.redefined.get(&port).or_else(|| self.ports.get(&port));
        definition
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
    /// Kubernetes Services that are other names (KS-04), by their host.
    aliases: BTreeMap<&'a str, &'a KubernetesService>,
    /// In the order of namespace and name (SE-18).
    workloads: Vec<&'a WorkloadEntry>,
}

/// A resource that has a host.
#[derive(Clone, Copy)]
struct Claim<'a> {
    host: &'a str,
    place: Span,
    field: &'static str,
    origin: Origin<'a>,
}

impl<'a> Registry<'a> {
    /// Settles visibility and conflicts; both are reported.
    pub fn build(
        resources: &Resources<'a>,
        scope: &Scope<'_>,
        options: &Options,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut by_host: BTreeMap<&str, Vec<Claim<'a>>> = BTreeMap::new();
        for claim in visible(resources, options, diagnostics) {
            by_host.entry(claim.host).or_default().push(claim);
        }
        let mut workloads: Vec<&WorkloadEntry> = resources.workload_entries.iter().collect();
        workloads.sort_by_key(|entry| (entry.meta.namespace.as_str(), entry.meta.name.value.as_str()));
        let mut registry = Self { workloads, ..Self::default() };
        for (host, claims) in by_host {
            let claims = imported(&claims, scope, diagnostics);
            let mut settled = settle(host, &claims, options, diagnostics);
            if let Some(service) = &mut settled {
                let namespace = service.meta().namespace.as_str();
                service
                    .ports
                    .retain(|port, _| scope.lists(namespace, host, *port) || scope.leads_to(host, *port));
            }
            match settled {
                Some(Service { origin: Origin::Kubernetes(service), .. })
                    if service.external_name.is_some() =>
                {
                    registry.aliases.insert(host, service);
                }
                Some(service) => drop(registry.services.insert(host, service)),
                None => {}
            }
        }
        registry.attach_aliases(diagnostics);
        registry.check_workloads(resources.service_entries, diagnostics);
        approximated(&registry, diagnostics);
        addresses(&registry, options, diagnostics);
        registry
    }

    /// All services, by host.
    pub fn services(&self) -> impl Iterator<Item = &Service<'a>> + Clone {
        self.services.values()
    }

    /// The service whose own host this is.
    pub(crate) fn own(&self, host: &str) -> Option<&Service<'a>> {
        self.services.get(host)
    }

    /// The service that `host` means as a destination: the one of that host, or the one that an
    /// `ExternalName` service of that host names, one hop only (KS-04).
    pub fn get(&self, host: &str) -> Option<&Service<'a>> {
        self.services.get(host).or_else(|| {
            let target = self.aliases.get(host)?.external_name.as_ref()?;
            self.services.get(target.as_str())
        })
    }

    /// The endpoints of `entry`: those written in it, or those that its `workloadSelector`
    /// selects out of its namespace (SE-18). The unhealthy ones are left out (SE-35).
    pub(crate) fn endpoints(&self, entry: &'a ServiceEntry) -> Vec<&'a Endpoint> {
        let Some(selector) = &entry.workload_selector else { return entry.endpoints.iter().collect() };
        self.selected(entry, selector)
            .filter(|workload| !workload.unhealthy && is_eligible(workload, entry))
            .map(|workload| &workload.endpoint)
            .collect()
    }

    fn selected<'s>(
        &'s self,
        entry: &'s ServiceEntry,
        selector: &'s BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a WorkloadEntry> + 's {
        self.workloads.iter().copied().filter(move |workload| {
            workload.meta.namespace == entry.meta.namespace
                && selector.iter().all(|(key, value)| workload.endpoint.labels.get(key) == Some(value))
        })
    }

    /// WorkloadEntry objects that are selected and yet not used, and those that nothing selects.
    fn check_workloads(&self, entries: &[ServiceEntry], diagnostics: &mut Diagnostics) {
        let mut used = BTreeSet::new();
        for entry in entries {
            let Some(selector) = &entry.workload_selector else { continue };
            for workload in self.selected(entry, selector) {
                used.insert(workload.meta.name.span);
                let (why, rule) = match (workload.unhealthy, is_eligible(workload, entry)) {
                    (true, _) => ("it is not said to be healthy", "SE-35"),
                    (false, false) => ("its address is of another sort than the `resolution` takes", "SE-18"),
                    (false, true) => continue,
                };
                diagnostics.push(
                    Diagnostic::warning(
                        "workload-left-out",
                        format!("`{}` selects it, but {why}", entry.meta.title()),
                    )
                    .resource(workload.meta.title())
                    .at(workload.meta.name.span)
                    .rule(rule),
                );
            }
        }
        for workload in self.workloads.iter().filter(|workload| !used.contains(&workload.meta.name.span)) {
            diagnostics.push(
                Diagnostic::note("workload-unused", "no `workloadSelector` of its namespace selects it")
                    .resource(workload.meta.title())
                    .at(workload.meta.name.span)
                    .rule("SE-18"),
            );
        }
    }

    /// The `ExternalName` service of that host.
    pub(crate) fn alias(&self, host: &str) -> Option<&'a KubernetesService> {
        self.aliases.get(host).copied()
    }

    /// Gives each service its further names; chains are followed (KS-04).
    fn attach_aliases(&mut self, diagnostics: &mut Diagnostics) {
        for (host, alias) in &self.aliases {
            let mut seen = BTreeSet::from([*host]);
            let mut target = alias.external_name.as_ref();
            while let Some(next) = target.and_then(|name| self.aliases.get(name.as_str())) {
                if !seen.insert(&next.host) {
                    target = None;
                    break;
                }
                target = next.external_name.as_ref();
            }
            let Some(name) = &alias.external_name else { continue };
            if let Some(service) = target.and_then(|target| self.services.get_mut(target.as_str())) {
                service.aliases.push(host);
                continue;
            }
            let message = match target {
                Some(target) => {
                    format!("`{host}` stands for `{}`, which is not in the registry", target.value)
                }
                None => format!("`{host}` stands for itself in the end"),
            };
            diagnostics.push(
                Diagnostic::warning("unknown-external-name", message + "; requests for it are refused")
                    .resource(alias.meta.title())
                    .at(name.span)
                    .field("spec.externalName")
                    .rule("KS-04")
                    .help("add a ServiceEntry for the host that is meant"),
            );
        }
    }
}

/// The claims that the client imports: those that its Sidecar lists, else those that an imported
/// VirtualService leads to (VIS-06, VIS-07).
fn imported<'a>(claims: &[Claim<'a>], scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Vec<Claim<'a>> {
    let any = |claim: &Claim<'_>, test: &dyn Fn(u16) -> bool| {
        let ports = claim.origin.ports();
        ports.iter().any(|port| test(port.number.value)) || (ports.is_empty() && test(0))
    };
    let keep = |test: &dyn Fn(&Claim<'a>) -> bool| -> Vec<Claim<'a>> {
        claims.iter().copied().filter(|claim| test(claim)).collect()
    };
    let namespace = |claim: &Claim<'a>| claim.origin.meta().namespace.as_str();
    let listed = keep(&|claim| any(claim, &|port| scope.lists(namespace(claim), claim.host, port)));
    let kept = if listed.is_empty() {
        keep(&|claim| any(claim, &|port| scope.leads_to(claim.host, port)))
    } else {
        listed
    };
    if kept.is_empty()
        && let Some(claim) = claims.first()
    {
        diagnostics.push(
            Diagnostic::note("not-imported", format!("the client's Sidecar doesn't import `{}`", claim.host))
                .resource(claim.origin.meta().title())
                .at(claim.place)
                .field(claim.field)
                .rule("VIS-06"),
        );
    }
    kept
}

/// What the client's namespace may see, oldest first.
fn visible<'a>(
    resources: &Resources<'a>,
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Vec<Claim<'a>> {
    let entries = resources.service_entries.iter().map(Origin::Entry);
    let services = resources.kubernetes_services.iter().map(Origin::Kubernetes);
    let mut visible: Vec<Origin<'a>> = Vec::new();
    for origin in entries.chain(services) {
        let meta = origin.meta();
        if is_exported_to(origin.export_to(), meta, &options.client_namespace) {
            visible.push(origin);
            if let Origin::Entry(entry) = origin {
                warn_of_location(entry, options, diagnostics);
            }
            continue;
        }
        let (field, rule) = match origin {
            Origin::Entry(_) => ("spec.exportTo", "VIS-01"),
            Origin::Kubernetes(_) => ("metadata.annotations[networking.istio.io/exportTo]", "KS-05"),
        };
        diagnostics.push(
            Diagnostic::note(
                "not-exported",
                format!("`exportTo` hides it from the client's namespace `{}`", options.client_namespace),
            )
            .resource(meta.title())
            .at(meta.name.span)
            .field(field)
            .rule(rule)
            .help("choose another client with `--client-namespace`"),
        );
    }
    // Oldest first; files seldom have a timestamp, then by name, then as given (SE-21).
    visible.sort_by_key(|origin| {
        let meta = origin.meta();
        (meta.creation_timestamp, meta.namespace.as_str(), meta.name.value.as_str())
    });
    let mut claims = Vec::new();
    for origin in visible {
        match origin {
            Origin::Entry(entry) => claims.extend(entry.hosts.iter().map(|host| Claim {
                host,
                place: host.span,
                field: "spec.hosts",
                origin,
            })),
            Origin::Kubernetes(service) => claims.push(Claim {
                host: &service.host,
                place: service.meta.name.span,
                field: "metadata.name",
                origin,
            }),
        }
    }
    claims
}

/// The claim that gives the service: one of the client's own namespace, else a Kubernetes
/// Service, else the first exported by name to the client, else the first (SE-C-04). Within a
/// namespace a Kubernetes Service comes first (SE-C-05, KS-08).
fn winner<'c, 'a>(claims: &'c [Claim<'a>], client: &str) -> Option<&'c Claim<'a>> {
    claims.iter().min_by_key(|claim| {
        let meta = claim.origin.meta();
        (meta.namespace != client, !claim.origin.is_kubernetes(), is_public(claim.origin.export_to()))
    })
}

/// One service out of all claims on its host; who wins and who loses is reported.
fn settle<'a>(
    host: &'a str,
    claims: &[Claim<'a>],
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Option<Service<'a>> {
    let first = winner(claims, &options.client_namespace)?;
    let mut service = Service {
        host,
        origin: first.origin,
        ports: ports(first.origin),
        without_cluster: BTreeSet::new(),
        redefined: BTreeMap::new(),
        members: match first.origin {
            Origin::Entry(entry) => vec![entry],
            Origin::Kubernetes(_) => Vec::new(),
        },
        aliases: Vec::new(),
    };
    let winner = first.origin.meta();
    for claim in claims {
        let loser = claim.origin.meta();
        if std::ptr::eq(loser, winner) {
            continue;
        }
        let conflict = |diagnostic: Diagnostic| {
            diagnostic
                .resource(loser.title())
                .at(claim.place)
                .field(claim.field)
                .also(format!("`{}` has it", winner.title()), winner.name.span)
        };
        if loser.namespace != winner.namespace {
            let rule = if first.origin.is_kubernetes() { "SE-C-05" } else { "SE-C-04" };
            diagnostics.push(
                conflict(Diagnostic::warning(
                    "host-in-other-namespace",
                    format!("`{host}` is taken from namespace `{}`", winner.namespace),
                ))
                .rule(rule)
                .help("remove one of the two, or narrow its `exportTo`"),
            );
            continue;
        }
        match (first.origin, claim.origin) {
            (Origin::Entry(one), Origin::Entry(other)) => {
                diagnostics.extend(join(&mut service, one, other).map(conflict));
            }
            _ => diagnostics.push(conflict(beside_kubernetes(&mut service, claim.origin))),
        }
    }
    Some(service)
}

/// A ServiceEntry for the host of a Kubernetes Service: nothing is taken from it (KS-08).
fn beside_kubernetes<'a>(service: &mut Service<'a>, other: Origin<'a>) -> Diagnostic {
    let host = service.host;
    let differing = other.ports().iter().find(|port| {
        let known = service.ports.get(&port.number.value);
        known.is_none_or(|known| known.protocol.class() != port.protocol.class())
    });
    service.add_without_cluster(other);
    match differing {
        Some(port) => Diagnostic::error(
            "conflicting-service-entries",
            format!(
                "port {} of `{host}` is not as the Kubernetes Service of that name has it, which counts; a port of this alone gets 503",
                port.number.value
            ),
        )
        .rule("KS-08")
        .help("add the port to the Kubernetes Service, or take the ServiceEntry out"),
        None => Diagnostic::warning(
            "kubernetes-service-wins",
            format!("`{host}` is taken from the Kubernetes Service of that name, and nothing from this"),
        )
        .rule("KS-08"),
    }
}

/// Adds to `service`, made from `one`, what a younger entry of its namespace brings: ports
/// that it doesn't have, and endpoints (SE-C-02, SE-C-03). Returns what is wrong with that.
fn join<'a>(
    service: &mut Service<'a>,
    one: &'a ServiceEntry,
    other: &'a ServiceEntry,
) -> impl Iterator<Item = Diagnostic> + use<'a> {
    let host = service.host;
    let error = |message: String, rule, help: &str| {
        Diagnostic::error("conflicting-service-entries", message).rule(rule).help(help)
    };
    let mut found = Vec::new();
    let same_ports = same_ports(one, other);
    if one.resolution() != other.resolution() || (!same_ports && !same_settings(one, other)) {
        found.push(error(
            format!(
                "two entries of one namespace give `{host}` different resolution, `exportTo`, labels or selector"
            ),
            "SE-C-03",
            "put all ports of the host into one ServiceEntry; with `--accept conflicting-service-entries` the other one counts, and further ports of this get 503",
        ));
        service.add_without_cluster(Origin::Entry(other));
        return found.into_iter();
    }
    service.members.push(other);
    if same_ports {
        found.push(
            Diagnostic::warning(
                "duplicate-service-entry",
                format!(
                    "`{host}` has the same ports already; the settings there count, and the endpoints of both"
                ),
            )
            .rule("SE-C-02")
            .help("make one ServiceEntry of the two"),
        );
        return found.into_iter();
    }
    for (number, port) in ports(Origin::Entry(other)) {
        let Some(known) = service.ports.get(&number) else {
            service.ports.insert(number, port);
            continue;
        };
        if known.protocol.value != port.protocol.value {
            found.push(error(
                format!(
                    "port {number} of `{host}` is {} here and {} there",
                    port.protocol.value, known.protocol.value
                ),
                "SE-C-08",
                "give the port one protocol",
            ));
            service.redefined.insert(number, port);
        } else {
            found.push(
                Diagnostic::warning(
                    "conflicting-port",
                    format!(
                        "port {number} of `{host}` is defined a second time; the definition there counts"
                    ),
                )
                .rule("SE-C-08")
                .help("define it once"),
            );
        }
    }
    found.into_iter()
}

/// IP addresses for `STATIC`, names as well for DNS (SE-18); a socket is of no use to a DNS
/// cluster (SE-29), and Istio takes none for `STATIC`.
fn is_eligible(workload: &WorkloadEntry, entry: &ServiceEntry) -> bool {
    let Some(address) = &workload.endpoint.address else { return false };
    let by_name = matches!(entry.resolution(), Resolution::Dns | Resolution::DnsRoundRobin);
    address.parse::<IpAddr>().is_ok() || (by_name && !address.starts_with("unix://"))
}

/// Whether Istio takes the port lists for the same.
fn same_ports(one: &ServiceEntry, other: &ServiceEntry) -> bool {
    let list = |entry: &ServiceEntry| -> Vec<_> {
        let port = |port: &Port| (port.number.value, port.name.value.clone(), port.protocol.value);
        entry.ports.iter().map(port).collect()
    };
    list(one) == list(other)
}

/// What has to be equal for ports to be joined (SE-C-03).
fn same_settings(one: &ServiceEntry, other: &ServiceEntry) -> bool {
    let exports = |entry: &ServiceEntry| -> BTreeSet<String> {
        entry.export_to.iter().map(|name| name.value.clone()).collect()
    };
    let selector = |entry: &ServiceEntry| entry.workload_selector.as_ref().map(|labels| labels.value.clone());
    exports(one) == exports(other) && one.meta.labels == other.meta.labels && selector(one) == selector(other)
}

/// Ports by number; where a number serves UDP as well, the other one.
fn ports(origin: Origin<'_>) -> BTreeMap<u16, &Port> {
    let mut ports: BTreeMap<u16, &Port> = BTreeMap::new();
    for port in origin.ports() {
        let slot = ports.entry(port.number.value).or_insert(port);
        if slot.protocol.class() == ProtocolClass::Udp {
            *slot = port;
        }
    }
    ports
}

/// Says what is otherwise than in a cluster, once for all services of a sort.
fn approximated(registry: &Registry<'_>, diagnostics: &mut Diagnostics) {
    let kubernetes: Vec<&KubernetesService> = registry
        .services()
        .filter_map(|service| match service.origin {
            Origin::Kubernetes(kubernetes) => Some(kubernetes),
            Origin::Entry(_) => None,
        })
        .collect();
    let note = |services: &[&KubernetesService], what: &str| {
        let first = services.first()?;
        let count = match services.len() {
            1 => "a Kubernetes Service is".to_owned(),
            count => format!("{count} Kubernetes Services are"),
        };
        Some(
            Diagnostic::note("kubernetes-service-approximated", format!("{count} {what}"))
                .resource(first.meta.title())
                .at(first.meta.name.span)
                .field("spec"),
        )
    };
    let (headless, others): (Vec<_>, Vec<_>) = kubernetes.iter().partition(|service| service.headless);
    diagnostics.extend(
        note(&others, "reached by name, so that the cluster and not Envoy chooses the pod")
            .map(|note| note.rule("KS-06")),
    );
    diagnostics.extend(
        note(&headless, "headless: a request for a pod by its name goes to any pod of the service")
            .map(|note| note.rule("KS-03")),
    );
    for service in headless {
        for name in &service.named_target_ports {
            diagnostics.push(
                Diagnostic::warning(
                    "named-target-port",
                    format!(
                        "which port `{}` is, only the pods say; the service's own port is dialled",
                        name.value
                    ),
                )
                .resource(service.meta.title())
                .at(name.span)
                .rule("KS-06")
                .help("write the number as `targetPort`, or lead to it with `--upstream-port`"),
            );
        }
    }
}

/// What addresses can't do here, and addresses of several services.
fn addresses(registry: &Registry<'_>, options: &Options, diagnostics: &mut Diagnostics) {
    let mut told = BTreeSet::new();
    let mut owners: BTreeMap<(u16, String), &Service<'_>> = BTreeMap::new();
    for service in registry.services() {
        for (&number, port) in &service.ports {
            let entry =
                service.members.iter().find(|entry| entry.ports.iter().any(|own| own.number.value == number));
            if let (ProtocolClass::Tls, Some(entry)) = (port.protocol.class(), entry)
                && !options.envoy.knows_original_destinations()
                && let Some(address) = entry.addresses.first()
                && told.insert(address.span)
            {
                let message = match address.value {
                    Address::Ip(_) => "Istio goes by the address and not by SNI",
                    Address::Range(_) => "Istio looks at the address as well",
                };
                diagnostics.push(
                    Diagnostic::note(
                        "addresses-approximated",
                        format!("connections to TLS port {number} are told apart by SNI alone; {message}"),
                    )
                    .resource(entry.meta.title())
                    .at(address.span)
                    .field("spec.addresses")
                    .rule("SE-03"),
                );
            }
            if !service.is_http_on(number) {
                continue;
            }
            let addresses = service.addresses(number, options.profile);
            if port.protocol.value == Protocol::Unspecified && !addresses.is_empty() {
                diagnostics.push(
                    Diagnostic::note(
                        "any-host-approximated",
                        format!("port {number} has no protocol: Istio takes any Host header at its address, here it has to be one of the service's"),
                    )
                    .resource(service.meta().title())
                    .at(port.span)
                    .field("spec.ports")
                    .rule("LI-03")
                    .help("name the protocol"),
                );
            }
            for address in addresses {
                let owner = *owners.entry((number, address.clone())).or_insert(service);
                let (meta, other) = (service.meta(), owner.meta());
                if !std::ptr::eq(meta, other) && told.insert(meta.name.span) {
                    diagnostics.push(
                        Diagnostic::warning(
                            "address-in-use",
                            format!(
                                "`{address}` is an address of `{}` too; one of the two gets its requests",
                                owner.host
                            ),
                        )
                        .resource(meta.title())
                        .at(meta.name.span)
                        .field("spec.addresses")
                        .also(format!("`{}` has it", other.title()), other.name.span)
                        .rule("VH-10"),
                    );
                }
            }
        }
    }
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
pub fn location(origin: Origin<'_>, options: &Options) -> Location {
    let Origin::Entry(entry) = origin else { return Location::MeshInternal };
    let written = entry.location.as_ref().map(|location| location.value);
    written.or(options.default_location).unwrap_or(match options.profile {
        Profile::Standalone => Location::MeshInternal,
        Profile::Istio => Location::MeshExternal,
    })
}

/// Whether a resource's `exportTo` lets `namespace` see it (VIS-01, VIS-03).
pub fn is_exported_to(export_to: &[Spanned<String>], meta: &Meta, namespace: &str) -> bool {
    is_public(export_to)
        || export_to.iter().any(|entry| match entry.as_str() {
            "." => meta.namespace == namespace,
            name => name == namespace,
        })
}

fn is_public(export_to: &[Spanned<String>]) -> bool {
    export_to.is_empty() || export_to.iter().any(|entry| entry.value == "*")
}
