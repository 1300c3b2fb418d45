//! Which endpoint of a cluster gets a request (spec section 5.3).

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::options::{MeshDefaults, Options};
use crate::plan::Input;
use crate::plan::endpoints::{Endpoint, Locality};
use crate::resource::destination_rule::{
    Balancing, HashTable, LoadBalancer, LocalitySetting, Simple, Warmup,
};

/// The algorithm.
#[derive(Debug, Clone, PartialEq)]
pub enum LoadBalancing {
    /// Of two endpoints drawn, the one with fewer requests (DR-LB-01).
    LeastRequest(Option<Warmup>),
    /// One after the other.
    RoundRobin(Option<Warmup>),
    /// Drawn.
    Random,
    /// By the hash of something in the request.
    Hash(HashTable),
}

impl LoadBalancing {
    pub(super) fn of(settings: Option<&LoadBalancer>) -> Self {
        let Some(settings) = settings else { return Self::LeastRequest(None) };
        let warmup = settings.warmup.clone();
        match &settings.balancing {
            Some(Balancing::ConsistentHash(hash)) => Self::Hash(hash.table),
            Some(Balancing::Simple(simple)) if simple.value == Simple::RoundRobin => Self::RoundRobin(warmup),
            Some(Balancing::Simple(simple)) if simple.value == Simple::Random => Self::Random,
            _ => Self::LeastRequest(warmup),
        }
    }
}

/// Whether the address is wanted that the client dialled (DR-LB-04).
pub(super) fn is_passthrough(settings: Option<&LoadBalancer>) -> bool {
    let balancing = settings.and_then(|settings| settings.balancing.as_ref());
    matches!(balancing, Some(Balancing::Simple(simple)) if simple.value == Simple::Passthrough)
}

/// What is said of localities; the rule's word comes before the mesh's (DR-LB-12).
struct Setting<'s> {
    distribute: &'s [(String, BTreeMap<String, u32>)],
    failover: &'s [(String, String)],
    failover_priority: &'s [String],
}

fn setting<'s>(settings: Option<&'s LoadBalancer>, mesh: &'s MeshDefaults) -> Option<Setting<'s>> {
    if let Some(zones) = settings.and_then(|settings| settings.zone_aware.as_ref()) {
        return (zones.enabled != Some(false)).then_some(Setting {
            distribute: &[],
            failover: &zones.failover,
            failover_priority: &zones.failover_priority,
        });
    }
    let own = settings.and_then(|settings| settings.locality.as_ref());
    let setting = |setting: &'s LocalitySetting| {
        (setting.enabled != Some(false)).then_some(Setting {
            distribute: &setting.distribute,
            failover: &setting.failover,
            failover_priority: &setting.failover_priority,
        })
    };
    match own.or(mesh.locality.as_ref()) {
        Some(found) => setting(found),
        // Istio's default: enabled, and nothing more (DEF-15).
        None => Some(Setting { distribute: &[], failover: &[], failover_priority: &[] }),
    }
}

/// What rules say of localities where the client's isn't known (DR-LB-12).
pub(super) fn check(input: &Input<'_>, diagnostics: &mut Diagnostics) {
    if input.options.client_locality.is_some() {
        return;
    }
    let mut told = BTreeSet::new();
    for rule in
        input.registry.services().filter_map(|service| input.rules.of(service)).flat_map(|of| &of.rules)
    {
        let of_subsets = rule.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
        let policies = rule.traffic_policy.iter().chain(of_subsets);
        let settings = policies.flat_map(|policy| {
            let of_ports = policy.port_level_settings.iter().map(|entry| &entry.settings);
            std::iter::once(&policy.settings).chain(of_ports)
        });
        let says = |balancer: &LoadBalancer| {
            balancer.locality.as_ref().is_some_and(|locality| locality.enabled != Some(false))
        };
        let mut balancers = settings.filter_map(|settings| settings.load_balancer.as_ref());
        if balancers.any(says) && told.insert(rule.meta.name.span) {
            diagnostics.push(
                Diagnostic::warning(
                    "client-locality-unknown",
                    "`localityLbSetting` has no effect: where the client stands is not known",
                )
                .resource(rule.meta.title())
                .at(rule.meta.name.span)
                .field("spec.trafficPolicy.loadBalancer.localityLbSetting")
                .rule("DR-LB-12")
                .help("say it with `--client-locality REGION/ZONE/SUBZONE`"),
            );
        }
    }
}

/// Gives `endpoints` their priorities, and returns the weights of their localities where these are
/// chosen by weight before an endpoint is: none, where all endpoints are alike (DR-LB-12).
pub(super) fn apply_localities(
    endpoints: &mut Vec<Endpoint>,
    settings: Option<&LoadBalancer>,
    fails_over: bool,
    options: &Options,
) -> Option<BTreeMap<Locality, u32>> {
    let setting = setting(settings, &options.mesh)?;
    let client = options.client_locality.as_ref()?;
    if !setting.distribute.is_empty() {
        let mut weights = BTreeMap::new();
        if let Some((_, shares)) = setting.distribute.iter().find(|(from, _)| client.is_in(from)) {
            weights = distributed(endpoints, shares);
            endpoints.retain(|endpoint| weights.contains_key(&endpoint.locality));
        }
        return Some(weights);
    }
    // Without ejections nobody ever fails over.
    if !fails_over {
        return None;
    }
    let labels = client_labels(client, options);
    for endpoint in endpoints.iter_mut() {
        let by_labels = by_labels(&labels, endpoint, setting.failover_priority);
        let by_locality = by_locality(client, &endpoint.locality, setting.failover);
        endpoint.priority = match (setting.failover_priority.is_empty(), setting.failover.is_empty()) {
            (true, _) => by_locality,
            (false, true) => by_labels,
            (false, false) => by_labels * 5 + by_locality,
        };
    }
    // Envoy wants all priorities from 0 on.
    let known: BTreeSet<u32> = endpoints.iter().map(|endpoint| endpoint.priority).collect();
    for endpoint in endpoints.iter_mut() {
        endpoint.priority = known.iter().take_while(|known| **known < endpoint.priority).count() as u32;
    }
    let explicit = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
    explicit.then(BTreeMap::new)
}

/// A share is divided among the localities that it is for, in proportion to their endpoints.
fn distributed(endpoints: &[Endpoint], shares: &BTreeMap<String, u32>) -> BTreeMap<Locality, u32> {
    let mut sums: BTreeMap<&Locality, u64> = BTreeMap::new();
    for endpoint in endpoints {
        *sums.entry(&endpoint.locality).or_default() += u64::from(endpoint.weight);
    }
    let mut weights = BTreeMap::new();
    for (to, share) in shares {
        let meant: Vec<(&Locality, u64)> = sums
            .iter()
            .map(|(locality, sum)| (*locality, *sum))
            .filter(|(locality, _)| locality.is_in(to) && !weights.contains_key(*locality))
            .collect();
        let total: u64 = meant.iter().map(|(_, sum)| sum).sum();
        for (locality, sum) in meant {
            let weight = (sum * u64::from(*share)).div_ceil(total.max(1));
            if weight > 0 {
                weights.insert(locality.clone(), u32::try_from(weight).unwrap_or(u32::MAX));
            }
        }
    }
    weights
}

/// 0 where all is shared, then zone, region and nothing. With a region that comes next to the
/// client's, all others come after it.
fn by_locality(client: &Locality, other: &Locality, failover: &[(String, String)]) -> u32 {
    if client.region != other.region {
        let next = failover.iter().find(|(from, _)| *from == client.region);
        return if next.is_some_and(|(_, to)| *to != other.region) { 4 } else { 3 };
    }
    match (client.zone == other.zone, client.sub_zone == other.sub_zone) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    }
}

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUB_ZONE: &str = "topology.istio.io/subzone";

/// Labels with those that say the locality.
fn with_topology<'l>(
    labels: &'l BTreeMap<String, String>,
    locality: &'l Locality,
) -> BTreeMap<&'l str, &'l str> {
    let mut all: BTreeMap<&str, &str> = [
        (REGION, locality.region.as_str()),
        (ZONE, locality.zone.as_str()),
        (SUB_ZONE, locality.sub_zone.as_str()),
    ]
    .into();
    all.extend(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    all
}

fn client_labels<'l>(client: &'l Locality, options: &'l Options) -> BTreeMap<&'l str, &'l str> {
    with_topology(&options.client_labels, client)
}

/// The more labels are shared, from the first on, the better. `label=value` takes that value for
/// the client's.
fn by_labels(client: &BTreeMap<&str, &str>, endpoint: &Endpoint, labels: &[String]) -> u32 {
    let own = with_topology(&endpoint.labels, &endpoint.locality);
    let shared = labels.iter().take_while(|label| {
        let (label, wanted) = match label.split_once('=') {
            Some((label, value)) => (label, value),
            None => (label.as_str(), client.get(label.as_str()).copied().unwrap_or_default()),
        };
        own.get(label).copied().unwrap_or_default() == wanted
    });
    (labels.len() - shared.count()) as u32
}
