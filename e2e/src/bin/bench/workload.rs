//! The registry that is measured, and the requests that are sent.

use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;

/// All hosts together are forwarded to so many destinations: enough to be a registry, and few
/// enough that their connections to the upstream stay in use. What many clusters cost is the
/// same for all rows and not the question here.
pub(crate) const DESTINATIONS: usize = 10;

/// The order of the requests is the same in every run.
const SEED: u64 = 0x706f_7274_6f6c_616e;

/// Hosts with their rewrites.
#[derive(Debug)]
pub(crate) struct Workload {
    /// The registry: a VirtualService for each host, and ServiceEntries for the destinations.
    pub(crate) yaml: String,
    /// The same with destinations that DNS finds, as those of a shared cluster are.
    pub(crate) yaml_shared: String,
    /// A request for each host, in pseudo-random order, so that a lookup is not helped by the
    /// one before it.
    pub(crate) requests: Vec<Request>,
}

/// A request, and what shall become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// As sent.
    pub(crate) sent: Target,
    /// As rewritten.
    pub(crate) rewritten: Target,
}

/// What a rewrite changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) authority: String,
    pub(crate) path: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` with authority `{}`", self.path, self.authority)
    }
}

impl Workload {
    /// `hosts` hosts with `rules` rules each, whose destinations are all at `address`.
    pub(crate) fn new(hosts: usize, rules: usize, address: Ipv4Addr) -> Self {
        let of = |resolution: &str| {
            let entries = (0..DESTINATIONS.min(hosts)).map(|number| service_entry(number, resolution));
            entries.chain((0..hosts).map(|host| virtual_service(host, rules))).collect()
        };
        // For DNS would be asked again and again during the measurement.
        let fixed = format!("STATIC\n  endpoints: [{{address: {address}}}]");
        let mut random = Random(SEED);
        // The order first: it then does not depend on the number of rules.
        let order = random.permutation(hosts);
        let requests = order.into_iter().map(|host| request(host, random.below(rules))).collect();
        Self { yaml: of(&fixed), yaml_shared: of("DNS"), requests }
    }
}

fn service_entry(number: usize, resolution: &str) -> String {
    format!(
        "\
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: destination-{number}}}
spec:
  hosts: [{}]
  location: MESH_EXTERNAL
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: {resolution}
",
        destination(number)
    )
}

fn virtual_service(host: usize, rules: usize) -> String {
    let mut yaml = format!(
        "\
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: service-{host}}}
spec:
  hosts: [{}]
  http:
",
        authority(host)
    );
    for rule in 0..rules {
        let _ = write!(
            yaml,
            "  - match: [{{uri: {{prefix: {}}}}}]
    rewrite: {{uri: {}, authority: {}}}
    route: [{{destination: {{host: {}, port: {{number: 80}}}}}}]
",
            prefix(rule),
            new_prefix(host, rule),
            new_authority(host),
            destination(host % DESTINATIONS),
        );
    }
    yaml
}

fn request(host: usize, rule: usize) -> Request {
    let path = |prefix: String| format!("{prefix}items/{host}?page=2&sort=name");
    Request {
        sent: Target { authority: authority(host), path: path(prefix(rule)) },
        rewritten: Target { authority: new_authority(host), path: path(new_prefix(host, rule)) },
    }
}

pub(crate) fn destination(number: usize) -> String {
    format!("destination-{number}.example.org")
}

pub(crate) fn authority(host: usize) -> String {
    format!("service-{host}.shop.example.com")
}

fn new_authority(host: usize) -> String {
    format!("origin-{host}.example.net")
}

/// Of the first rule of a host: the start of the path and what replaces it, the new authority, and
/// the cluster.
pub(crate) fn rewrite(host: usize) -> [String; 4] {
    let cluster = format!("outbound|80||{}", destination(host % DESTINATIONS));
    [prefix(0), new_prefix(host, 0), new_authority(host), cluster]
}

fn prefix(rule: usize) -> String {
    format!("/api/v{}/", rule + 1)
}

fn new_prefix(host: usize, rule: usize) -> String {
    format!("/backend/{host}/v{}/", rule + 1)
}

/// SplitMix64: small, and even enough for a shuffle.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, or 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or_default()
    }

    /// The numbers below `length`, shuffled (Fisher-Yates).
    fn permutation(&mut self, length: usize) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..length).collect();
        for last in (1..length).rev() {
            let other = self.below(last + 1);
            numbers.swap(last, other);
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn requests(hosts: usize, rules: usize) -> Vec<Request> {
        Workload::new(hosts, rules, Ipv4Addr::LOCALHOST).requests
    }

    #[test]
    fn every_host_has_one_request_in_a_fixed_order() {
        let hosts: Vec<Target> = requests(100, 1).into_iter().map(|request| request.sent).collect();
        let again: Vec<Target> = requests(100, 1).into_iter().map(|request| request.sent).collect();
        assert_eq!(hosts, again);
        let different: BTreeSet<&str> = hosts.iter().map(|target| &*target.authority).collect();
        assert_eq!(different.len(), 100);
        assert!(hosts.iter().enumerate().any(|(place, target)| target.authority != authority(place)));
    }

    #[test]
    fn every_rule_is_asked_for() {
        let requests = requests(100, 3);
        for rule in 0..3 {
            assert!(requests.iter().any(|request| request.sent.path.starts_with(&prefix(rule))), "{rule}");
        }
        for request in requests {
            assert_ne!(request.sent.authority, request.rewritten.authority);
            assert_ne!(request.sent.path, request.rewritten.path);
        }
    }
}
