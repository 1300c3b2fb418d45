//! Where a cluster leads (spec sections 1.3 and 1.4).

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::options::Profile;
use crate::plan::Input;
use crate::plan::clusters::is_dialled;
use crate::registry::{Origin, Service};
use crate::resource::ServiceEntry;
use crate::resource::service_entry::{Endpoint as Written, Port, Resolution};

/// A host and port to connect to, or a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where.
    pub address: Address,
    /// Share of the requests, in proportion to the others' (SE-31).
    pub weight: u32,
    /// Where it stands; all empty where nothing is said (SE-30).
    pub locality: Locality,
    /// Endpoints of 0 get all requests as long as enough of them are in (DR-LB-12).
    pub priority: u32,
    /// By which subsets choose it (DR-10).
    pub labels: BTreeMap<String, String>,
}

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A name or an IP address, and a port.
    Socket(String, u16),
    /// A unix domain socket; an abstract one begins with `@` (SE-29).
    Pipe(String),
}

/// `region/zone/subzone`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locality {
    /// The region.
    pub region: String,
    /// The zone.
    pub zone: String,
    /// The part of the zone.
    pub sub_zone: String,
}

impl Endpoint {
    /// With nothing said about weight and locality.
    pub fn new(address: Address) -> Self {
        Self { address, weight: 1, locality: Locality::default(), priority: 0, labels: BTreeMap::new() }
    }

    /// A name or IP address, and a port.
    pub fn socket(address: String, port: u16) -> Self {
        Self::new(Address::Socket(address, port))
    }

    /// A unix domain socket.
    pub fn pipe(path: String) -> Self {
        Self::new(Address::Pipe(path))
    }
}

impl Locality {
    fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self { region: next(), zone: next(), sub_zone: next() }
    }

    /// Whether `pattern` means it: `region/zone/subzone`, of which the end can be left out and a part
    /// be `*`.
    pub(super) fn is_in(&self, pattern: &str) -> bool {
        let pattern = Self::parse(pattern);
        let any = |part: &str| part.is_empty() || part == "*";
        (pattern.region == "*" || pattern.region == self.region)
            && (any(&pattern.zone) || pattern.zone == self.zone)
            && (any(&pattern.sub_zone) || pattern.sub_zone == self.sub_zone)
    }
}

impl FromStr for Locality {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.starts_with('/') {
            return Err(format!(
                "`{text}` is not of the form REGION/ZONE/SUBZONE, such as eu-west/eu-west-1"
            ));
        }
        Ok(Self::parse(text))
    }
}

/// The endpoints for a port of `service`: those of all entries that have the port (SE-C-02). Of a
/// subset those that carry its labels (DR-10).
pub(super) fn endpoints(
    input: &Input<'_>,
    service: &Service<'_>,
    number: u16,
    subset: &str,
) -> Vec<Endpoint> {
    if is_dialled(input, service, number, subset) && !service.host.starts_with('*') {
        let port = service.ports.get(&number).map_or(number, |port| registry_port(port));
        return vec![own_name(input, service, port)];
    }
    let labels = input.rules.subset(service, subset).map(|subset| &subset.labels);
    let mut endpoints: Vec<Endpoint> = Vec::new();
    match service.origin {
        Origin::Kubernetes(_) => {
            let port = service.ports.get(&number).map_or(number, |port| registry_port(port));
            endpoints.push(own_name(input, service, port));
        }
        Origin::Entry(_) => {
            for entry in &service.members {
                for endpoint in of_entry(input, service, entry, number, labels) {
                    if !endpoints.iter().any(|known| known.address == endpoint.address) {
                        endpoints.push(endpoint);
                    }
                }
            }
        }
    }
    if service.resolution() == Resolution::DnsRoundRobin {
        // Only the oldest's (SE-R-05, SE-C-06).
        endpoints.truncate(1);
    }
    endpoints
}

/// Without `labels`, all; an endpoint that isn't written has none.
fn of_entry(
    input: &Input<'_>,
    service: &Service<'_>,
    entry: &ServiceEntry,
    number: u16,
    labels: Option<&BTreeMap<String, String>>,
) -> Vec<Endpoint> {
    let Some(port) = entry.ports.iter().find(|port| port.number.value == number) else { return Vec::new() };
    let dialled = |number: u16| input.options.envoy.dialled_port(service.host, number);
    let carries = |own: &BTreeMap<String, String>| {
        labels.is_none_or(|labels| labels.iter().all(|(key, value)| own.get(key) == Some(value)))
    };
    if entry.endpoints.is_empty() && entry.workload_selector.is_none() {
        if !carries(&BTreeMap::new()) {
            return Vec::new();
        }
        return match entry.resolution() {
            Resolution::Dns | Resolution::DnsRoundRobin if !service.host.starts_with('*') => {
                vec![own_name(input, service, registry_port(port))]
            }
            Resolution::Static if input.options.profile == Profile::Standalone => {
                let addresses = entry.addresses.iter().filter_map(|address| address.ip());
                let port = dialled(registry_port(port));
                addresses.map(|address| Endpoint::socket(address.to_owned(), port)).collect()
            }
            _ => Vec::new(),
        };
    }
    let usable = input.registry.endpoints(entry).into_iter().filter(|endpoint| carries(&endpoint.labels));
    let endpoint = |endpoint: &Written| {
        let address = endpoint.address.as_ref()?;
        let address = match address.strip_prefix("unix://") {
            Some(path) => Address::Pipe(path.to_owned()),
            None => {
                // The endpoint's own port for the service port's name comes first (SE-25).
                let own = endpoint.ports.iter().find(|(name, _)| name.value == port.name.value);
                let number = own.map_or(registry_port(port), |(_, number)| number.value);
                Address::Socket(address.value.clone(), dialled(number))
            }
        };
        Some(Endpoint {
            address,
            weight: endpoint.weight.as_ref().map_or(1, |weight| weight.value.max(1)),
            locality: endpoint.locality().map_or_else(Locality::default, |text| Locality::parse(&text)),
            priority: 0,
            labels: endpoint.labels.clone(),
        })
    };
    usable.filter_map(endpoint).collect()
}

fn own_name(input: &Input<'_>, service: &Service<'_>, port: u16) -> Endpoint {
    Endpoint::socket(service.host.to_owned(), input.options.envoy.dialled_port(service.host, port))
}

pub(super) fn registry_port(port: &Port) -> u16 {
    port.target_port.as_ref().unwrap_or(&port.number).value
}

/// Entries without endpoints, and what takes their place (SE-R-08, design section 3).
pub(super) fn check(input: &Input<'_>, diagnostics: &mut Diagnostics) {
    let mut told = BTreeSet::new();
    for service in input.registry.services() {
        for entry in &service.members {
            if !told.insert(entry.meta.name.span) || entry.ports.is_empty() {
                continue;
            }
            let about = |diagnostic: Diagnostic| {
                diagnostic.resource(entry.meta.title()).at(entry.meta.name.span).rule("SE-R-08")
            };
            let is_dialled = input.options.envoy.knows_original_destinations() && !entry.addresses.is_empty();
            if entry.resolution() == Resolution::None && !is_dialled {
                note_dialled_host(entry, diagnostics);
            }
            if matches!(entry.resolution(), Resolution::None | Resolution::DynamicDns) {
                continue;
            }
            if entry.races_addresses() && entry.resolution() == Resolution::Dns && entry.endpoints.len() > 1 {
                diagnostics.push(
                    Diagnostic::warning(
                        "connect-strategy-ignored",
                        "the addresses of several `endpoints` can't be raced for; they share the requests",
                    )
                    .resource(entry.meta.title())
                    .at(entry.meta.name.span)
                    .field("metadata.annotations[istio.io/connect-strategy]")
                    .rule("SE-22"),
                );
            }
            let ips: Vec<&str> = entry.addresses.iter().filter_map(|address| address.ip()).collect();
            if entry.workload_selector.is_some() {
                if input.registry.endpoints(entry).is_empty() {
                    diagnostics.push(
                        about(Diagnostic::warning(
                            "no-endpoints",
                            "its `workloadSelector` selects no WorkloadEntry of the input; requests get 503",
                        ))
                        .field("spec.workloadSelector")
                        .help("add the WorkloadEntry objects; pods are not known here"),
                    );
                }
            } else if entry.resolution() != Resolution::Static || !entry.endpoints.is_empty() {
            } else if input.options.profile == Profile::Standalone && !ips.is_empty() {
                diagnostics.push(
                    about(Diagnostic::warning(
                        "addresses-as-endpoints",
                        format!("without `endpoints` its addresses serve: {}", ips.join(", ")),
                    ))
                    .field("spec.addresses")
                    .help("list them under `endpoints`; in Istio requests get 503"),
                );
            } else {
                diagnostics.push(
                    about(Diagnostic::warning(
                        "no-endpoints",
                        "`resolution` is `STATIC` and there are no `endpoints`; requests get 503",
                    ))
                    .field("spec.endpoints")
                    .help("list IP addresses under `endpoints`, or set `resolution: DNS`"),
                );
            }
        }
    }
}

/// `NONE` means the address that the client dialled, which an Envoy that is addressed itself
/// doesn't learn: the host is dialled instead, below a wildcard that of each request (SE-R-01,
/// GAP-02).
fn note_dialled_host(entry: &ServiceEntry, diagnostics: &mut Diagnostics) {
    let wildcard = entry.hosts.iter().any(|host| host.starts_with('*'));
    let resolution = if wildcard { "DYNAMIC_DNS" } else { "DNS" };
    let place = entry.resolution.as_ref().map_or(entry.meta.name.span, |resolution| resolution.span);
    diagnostics.push(
        Diagnostic::note(
            "resolution-none-approximated",
            "the address that a client dials is not known here, so the host is resolved and dialled",
        )
        .resource(entry.meta.title())
        .at(place)
        .field("spec.resolution")
        .rule("SE-R-01")
        .help(format!("`resolution: {resolution}` says so")),
    );
}
