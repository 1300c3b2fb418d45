//! Clusters that services share (design, section 7). A cluster of its own costs Envoy up to 300 KB
//! for each service, most of it the TLS context; on a shared one a host that nobody calls is free.
//!
//! The plan is made with a cluster for each service first. What of these differ in nothing but the
//! host that is dialled is joined here; what is left is dedicated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use portolan_engine::config::{self, Dial};
use portolan_engine::host::is_dialable;

use crate::diagnostic::Diagnostic;
use crate::options::Clusters;
use crate::plan::{
    Address, Ca, Cluster, ConnectionRoute, Discovery, Endpoint, HttpVersion, LoadBalancing, Locality,
    RouteProfile, Share, UpstreamTls,
};
use crate::resource::destination_rule::ConnectionPool;

/// From how many alike on `--clusters auto` has clusters shared. 100 with TLS cost 30 MB. Fewer keep
/// their names and Istio's balancing over all addresses of a host.
const MANY: usize = 100;

/// How many hosts a shared cluster has, at most about. Envoy copies its table of hosts for each one that
/// is called for the first time.
const MOST: usize = 1024;

/// What stands for clusters that were joined.
#[derive(Debug, Clone, Default)]
pub struct SharedClusters {
    /// By the name that the dedicated cluster would have.
    hosts: BTreeMap<String, SharedHost>,
}

/// A host on a shared cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedHost {
    /// The shared cluster.
    pub cluster: String,
    /// The service's host, which is dialled.
    pub host: String,
    /// At this port.
    pub port: u16,
}

impl SharedClusters {
    /// Where what would go to `dedicated` goes.
    pub fn get(&self, dedicated: &str) -> Option<&SharedHost> {
        self.hosts.get(dedicated)
    }

    /// All, with the names that their dedicated clusters would have.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SharedHost)> {
        self.hosts.iter().map(|(name, host)| (name.as_str(), host))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The dedicated cluster that a host on `cluster` stands for; the first, where a service has
    /// several ports that lead to one.
    pub fn dedicated(&self, cluster: &str, host: &str, port: u16) -> Option<&str> {
        let is_it = |shared: &SharedHost| {
            (shared.cluster.as_str(), shared.host.as_str(), shared.port) == (cluster, host, port)
        };
        self.hosts.iter().find(|(_, shared)| is_it(shared)).map(|(name, _)| name.as_str())
    }
}

/// Joins clusters, and has virtual hosts lead to what they became.
///
/// `own` are those that are [`needed`].
pub(super) fn share(
    choice: Clusters,
    clusters: &mut Vec<Cluster>,
    virtual_hosts: &mut [config::VirtualHost],
    own: &BTreeSet<&str>,
) -> (SharedClusters, Option<Diagnostic>) {
    let least = match choice {
        Clusters::Dedicated => return Default::default(),
        Clusters::Auto => MANY,
        Clusters::Shared => 1,
    };
    let mut groups: BTreeMap<String, Vec<(&Cluster, &str, u16)>> = BTreeMap::new();
    for cluster in clusters.iter().filter(|cluster| !own.contains(cluster.name.as_str())) {
        if let Some((host, port)) = only_host(cluster) {
            groups.entry(shared_name(cluster)).or_default().push((cluster, host, port));
        }
    }
    groups.retain(|_, members| members.len() >= least);
    let groups = divided(groups);
    let mut shared = SharedClusters::default();
    let mut joined = Vec::new();
    let mut approximated: BTreeSet<&str> = BTreeSet::new();
    for (name, members) in &groups {
        let hosts: BTreeSet<(&str, u16)> = members.iter().map(|(_, host, port)| (*host, *port)).collect();
        let Some((any, ..)) = members.first() else { continue };
        joined.push(Cluster {
            name: name.clone(),
            discovery: Discovery::Shared { hosts: hosts.len() },
            endpoints: Vec::new(),
            ..(*any).clone()
        });
        for (cluster, host, port) in members {
            if cluster.discovery == Discovery::StrictDns {
                approximated.insert(host);
            }
            let host = SharedHost { cluster: name.clone(), host: (*host).to_owned(), port: *port };
            shared.hosts.insert(cluster.name.clone(), host);
        }
    }
    let note = (!approximated.is_empty()).then(|| one_address_at_a_time(&approximated, joined.len()));
    clusters.retain(|cluster| !shared.hosts.contains_key(&cluster.name));
    clusters.extend(joined);
    clusters.sort_by(|one, other| one.name.cmp(&other.name));
    for host in virtual_hosts {
        redirect(host, &shared);
    }
    (shared, note)
}

/// Clusters that can't be on a shared one, whatever their settings: a mirror would dial the host of
/// the request that it is a copy of, and a connection that is passed through the server name of the
/// client, which has to be the host then. A tunnel has neither.
pub(super) fn needed<'p>(
    connections: impl Iterator<Item = &'p ConnectionRoute>,
    tunnels: impl Iterator<Item = &'p config::Tunnel>,
    profiles: &'p [RouteProfile],
) -> BTreeSet<&'p str> {
    let mirrors = profiles.iter().flat_map(|profile| &profile.mirrors).map(|mirror| mirror.cluster.as_str());
    let mut names: BTreeSet<&str> = mirrors.collect();
    names.extend(tunnels.flat_map(|tunnel| tunnel.clusters.iter().map(|(cluster, _)| cluster.as_str())));
    for route in connections {
        let by_its_name = match (route.destinations.as_slice(), &route.server_name) {
            ([Share { cluster, .. }], Some(name)) => {
                route.addresses.is_empty() && cluster.rsplit_once('|').is_some_and(|(_, host)| host == name)
            }
            _ => false,
        };
        if !by_its_name {
            names.extend(route.destinations.iter().map(|share| share.cluster.as_str()));
        }
    }
    names
}

/// The host and port that `cluster` leads to, if that is its service's own host, and if nothing but
/// the host tells it from others: no subset, no policy, no endpoints, no names in TLS of its own.
fn only_host(cluster: &Cluster) -> Option<(&str, u16)> {
    // All fields: whoever adds one has to say whether it can be shared.
    let Cluster {
        name,
        discovery,
        endpoints,
        load_balancing,
        locality_weights,
        connection_pool,
        retry_budget,
        outlier_detection,
        proxy_protocol,
        http: _,
        tls,
        original_destination,
        external: _,
    } = cluster;
    let has_policy = *load_balancing != LoadBalancing::LeastRequest(None)
        || locality_weights.is_some()
        || *connection_pool != ConnectionPool::default()
        || retry_budget.is_some()
        || outlier_detection.is_some()
        || proxy_protocol.is_some();
    if has_policy {
        return None;
    }
    let by_name = matches!(discovery, Discovery::StrictDns | Discovery::LogicalDns);
    let [Endpoint { address: Address::Socket(host, port), weight: 1, locality, priority: _, labels: _ }] =
        endpoints.as_slice()
    else {
        return None;
    };
    let has_plain_tls = tls.as_ref().is_none_or(|tls| {
        let UpstreamTls { sni, subject_alt_names, auto_san, ca, identity, mesh } = tls;
        let names = sni.is_none() && subject_alt_names.is_empty() && *auto_san;
        names && matches!(ca, Ca::Bundle { crl: None, .. }) && identity.is_none() && !mesh
    });
    // Without a subset.
    let is_own = name.ends_with(&format!("||{host}"));
    let is_name = is_dialable(host.as_bytes()) && host.parse::<IpAddr>().is_err();
    let is_lower_case = !host.bytes().any(|byte| byte.is_ascii_uppercase());
    let has_one_place = original_destination.is_none();
    (by_name
        && has_plain_tls
        && has_one_place
        && is_own
        && is_name
        && is_lower_case
        && *locality == Locality::default())
    .then_some((host.as_str(), *port))
}

/// A name that says all that the services on the cluster have in common, so that it stays when
/// services come and go: `shared|http1|tls|external`.
fn shared_name(cluster: &Cluster) -> String {
    let http = match cluster.http {
        HttpVersion::One => "http1",
        HttpVersion::Two => "http2",
        HttpVersion::AsClient => "http",
    };
    let tls = match cluster.tls.as_ref().map(|tls| &tls.ca) {
        None => "plain".to_owned(),
        Some(Ca::Bundle { file: None, .. }) => "tls".to_owned(),
        Some(Ca::Bundle { file: Some(path), .. }) => format!("tls:{path}"),
        Some(Ca::Unverified) => "tls:unverified".to_owned(),
    };
    let location = if cluster.external { "external" } else { "internal" };
    format!("shared|{http}|{tls}|{location}")
}

/// The groups, those with more than [`MOST`] members in equal parts. Which part a host is in depends on
/// nothing but its name and how many parts there are, which is a power of two: few hosts change their
/// cluster when others come.
fn divided<M>(groups: BTreeMap<String, Vec<(M, &str, u16)>>) -> BTreeMap<String, Vec<(M, &str, u16)>> {
    let mut parts: BTreeMap<String, Vec<(M, &str, u16)>> = BTreeMap::new();
    for (name, members) in groups {
        let count = members.len().div_ceil(MOST).next_power_of_two();
        for member in members {
            let part = match count {
                1 => name.clone(),
                _ => format!("{name}|{}", digest(member.1) % count as u64),
            };
            parts.entry(part).or_default().push(member);
        }
    }
    parts
}

/// FNV-1a of `text`: the same in every release, which the standard library's hash isn't.
fn digest(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Has the routes of `host` lead to shared clusters, and say what is dialled there.
fn redirect(host: &mut config::VirtualHost, shared: &SharedClusters) {
    let first = host.domains.first();
    let dial = |target: &SharedHost| Dial {
        // What it is without a word (config::Dial::host).
        host: (first != Some(&target.host)).then(|| target.host.clone()),
        port: target.port,
    };
    for action in host.routes.iter_mut().map(|route| &mut route.route) {
        if let Some(target) = action.cluster.as_deref().and_then(|name| shared.get(name)) {
            action.dial = Some(dial(target));
            action.cluster = Some(target.cluster.clone());
        }
        for destination in &mut action.destinations {
            if let Some(target) = shared.get(&destination.cluster) {
                destination.dial = Some(dial(target));
                destination.cluster.clone_from(&target.cluster);
            }
        }
    }
}

fn one_address_at_a_time(hosts: &BTreeSet<&str>, clusters: usize) -> Diagnostic {
    let some: Vec<String> = hosts.iter().take(3).map(|host| format!("`{host}`")).collect();
    let more = if hosts.len() > some.len() { ", ..." } else { "" };
    Diagnostic::note(
        "one-address-at-a-time",
        format!(
            "hosts that differ in nothing but their name share a cluster, of which there are {clusters}; one address \
             of each is taken at a time, where Istio balances over all: {} ({} in all){more}",
            some.join(", "),
            hosts.len(),
        ),
    )
    .rule("SE-R-03")
    .help("`--clusters dedicated` gives each service its own cluster, at 50 to 300 KB of memory each")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_groups_are_divided_by_name() {
        let hosts: Vec<String> = (0..3000).map(|number| format!("h{number}.example.com")).collect();
        let group = |hosts: &'static [String]| {
            BTreeMap::from([(
                "shared".to_owned(),
                hosts.iter().map(|host| ((), host.as_str(), 80)).collect(),
            )])
        };
        let hosts: &'static [String] = hosts.leak();
        let few = divided(group(&hosts[..MOST]));
        assert_eq!(few.keys().collect::<Vec<_>>(), ["shared"]);
        let many = divided(group(hosts));
        assert_eq!(many.keys().collect::<Vec<_>>(), ["shared|0", "shared|1", "shared|2", "shared|3"]);
        assert!(many.values().all(|members| members.len() < MOST), "{:?}", many.values().map(Vec::len).max());
        // Those that are left stay where they are.
        for (part, members) in divided(group(&hosts[..2500])) {
            assert!(members.iter().all(|member| many[&part].contains(member)), "{part}");
        }
    }
}
