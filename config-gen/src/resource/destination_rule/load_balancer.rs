//! `loadBalancer` (spec 5.3).

use std::collections::BTreeMap;
use std::fmt;

use super::super::Spanned;
use super::super::read::{boolean, filled, int, milliseconds, number, string, strings};
use crate::input::node::Node;

/// Which endpoint gets a request.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancer {
    /// The algorithm; none: Istio's default (DR-LB-01).
    pub balancing: Option<Balancing>,
    /// What is said of localities (DR-LB-12).
    pub locality: Option<LocalitySetting>,
    /// Envoy's own preference for the client's zone.
    pub zone_aware: Option<ZoneAware>,
    /// How endpoints that come new are spared (DR-LB-11).
    pub warmup: Option<Warmup>,
}

/// An algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// `simple`
    Simple(Spanned<Simple>),
    /// `consistentHash`
    ConsistentHash(ConsistentHash),
}

/// Values of `simple`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simple {
    /// `LEAST_REQUEST`, and what means the same (DR-LB-02).
    LeastRequest,
    /// `ROUND_ROBIN`
    RoundRobin,
    /// `RANDOM`
    Random,
    /// `PASSTHROUGH`: the address that the client dialled (DR-LB-04).
    Passthrough,
}

/// Requests that are alike in something get the same endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistentHash {
    /// In what; none: nothing is hashed.
    pub key: Option<HashKey>,
    /// How a hash finds its endpoint.
    pub table: HashTable,
}

/// What is hashed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashKey {
    /// A header (DR-LB-05).
    Header(String),
    /// A cookie (DR-LB-06).
    Cookie(Cookie),
    /// The client's address (DR-LB-07).
    SourceIp,
    /// A query parameter (DR-LB-07).
    QueryParameter(String),
}

impl fmt::Display for HashKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(formatter, "header {name}"),
            Self::Cookie(cookie) => write!(formatter, "cookie {}", cookie.name),
            Self::SourceIp => formatter.write_str("source address"),
            Self::QueryParameter(name) => write!(formatter, "query parameter {name}"),
        }
    }
}

/// A cookie, which Envoy gives to clients that have none where there is a `ttl`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// For which paths.
    pub path: String,
    /// How long it is kept, in milliseconds; 0: as long as the client likes.
    pub ttl: Option<u64>,
    /// Further attributes, such as `SameSite`.
    pub attributes: Vec<(String, String)>,
}

/// How a hash finds its endpoint (DR-LB-08, DR-LB-09).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashTable {
    /// A ring of at least so many entries; none: Envoy's default.
    Ring(Option<u64>),
    /// Maglev's table of so many entries; none: Envoy's default.
    Maglev(Option<u64>),
}

/// What is said of localities (DR-LB-12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalitySetting {
    /// Whether localities count at all; default: the mesh's word, which is yes.
    pub enabled: Option<bool>,
    /// Shares of localities, by that of the client.
    pub distribute: Vec<(String, BTreeMap<String, u32>)>,
    /// Which region comes next, by that of the client.
    pub failover: Vec<(String, String)>,
    /// Labels that client and endpoint should share, the most important first.
    pub failover_priority: Vec<String>,
}

/// Envoy's own preference for the client's zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneAware {
    /// Whether there is one.
    pub enabled: Option<bool>,
    /// As of [`LocalitySetting`].
    pub failover: Vec<(String, String)>,
    /// As of [`LocalitySetting`].
    pub failover_priority: Vec<String>,
    /// With fewer endpoints there is none.
    pub min_cluster_size: Option<u64>,
}

/// How endpoints that come new are spared.
#[derive(Clone, Debug, PartialEq)]
pub struct Warmup {
    /// For how long, in milliseconds.
    pub duration: u64,
    /// With which share of the requests they begin, in percent.
    pub minimum_percent: Option<f64>,
    /// How the share grows.
    pub aggression: Option<f64>,
}

pub(super) fn read(node: &Node) -> LoadBalancer {
    let simple = node.get("simple").and_then(simple).map(Balancing::Simple);
    let hash = || node.get("consistentHash").map(|node| Balancing::ConsistentHash(consistent_hash(node)));
    LoadBalancer {
        balancing: simple.or_else(hash),
        locality: node.get("localityLbSetting").map(locality),
        zone_aware: node.get("zoneAwareLbSetting").map(zone_aware),
        warmup: warmup(node),
    }
}

/// `UNSPECIFIED` is the same as nothing (DR-LB-01).
fn simple(node: &Node) -> Option<Spanned<Simple>> {
    let simple = match node.as_str()? {
        "LEAST_REQUEST" | "LEAST_CONN" => Simple::LeastRequest,
        "ROUND_ROBIN" => Simple::RoundRobin,
        "RANDOM" => Simple::Random,
        "PASSTHROUGH" => Simple::Passthrough,
        _ => return None,
    };
    Some(Spanned::new(simple, node.span))
}

fn consistent_hash(node: &Node) -> ConsistentHash {
    let size = |node: Option<&Node>| int::<u64>(node).map(|size| size.value).filter(|size| *size > 0);
    let text = |name: &str| filled(node.get(name)).map(|text| text.value);
    let key = text("httpHeaderName")
        .map(HashKey::Header)
        .or_else(|| node.get("httpCookie").and_then(cookie).map(HashKey::Cookie))
        .or_else(|| boolean(node.get("useSourceIp")).filter(|flag| flag.value).map(|_| HashKey::SourceIp))
        .or_else(|| text("httpQueryParameterName").map(HashKey::QueryParameter));
    let table = match (node.get("maglev"), node.get("ringHash")) {
        (Some(maglev), _) => HashTable::Maglev(size(maglev.get("tableSize"))),
        (None, Some(ring)) => HashTable::Ring(size(ring.get("minimumRingSize"))),
        (None, None) => HashTable::Ring(size(node.get("minimumRingSize")).or(Some(DEFAULT_RING_SIZE))),
    };
    ConsistentHash { key, table }
}

/// Where no algorithm is named (DR-LB-08).
const DEFAULT_RING_SIZE: u64 = 1024;

fn cookie(node: &Node) -> Option<Cookie> {
    let text = |node: &Node, name: &str| string(node.get(name)).map(|text| text.value).unwrap_or_default();
    let attributes = node.get("attributes").map(Node::items).unwrap_or_default();
    Some(Cookie {
        name: filled(node.get("name"))?.value,
        path: text(node, "path"),
        ttl: milliseconds(node.get("ttl")).map(|ttl| ttl.value),
        attributes: attributes.iter().map(|one| (text(one, "name"), text(one, "value"))).collect(),
    })
}

fn failover(node: &Node) -> Vec<(String, String)> {
    let text = |node: &Node, name: &str| string(node.get(name)).map(|text| text.value).unwrap_or_default();
    let items = node.get("failover").map(Node::items).unwrap_or_default();
    items.iter().map(|item| (text(item, "from"), text(item, "to"))).collect()
}

fn texts(node: Option<&Node>) -> Vec<String> {
    strings(node).into_iter().map(|text| text.value).collect()
}

pub(crate) fn locality(node: &Node) -> LocalitySetting {
    let share =
        |entry: &crate::input::node::Entry| Some((entry.key.clone(), int::<u32>(Some(&entry.node))?.value));
    let distribute = node.get("distribute").map(Node::items).unwrap_or_default().iter().map(|item| {
        let from = string(item.get("from")).map(|from| from.value).unwrap_or_default();
        let to = item.get("to").map(Node::entries).unwrap_or_default();
        (from, to.iter().filter_map(share).collect())
    });
    LocalitySetting {
        enabled: boolean(node.get("enabled")).map(|flag| flag.value),
        distribute: distribute.collect(),
        failover: failover(node),
        failover_priority: texts(node.get("failoverPriority")),
    }
}

fn zone_aware(node: &Node) -> ZoneAware {
    ZoneAware {
        enabled: boolean(node.get("enabled")).map(|flag| flag.value),
        failover: failover(node),
        failover_priority: texts(node.get("failoverPriority")),
        min_cluster_size: int(node.get("minClusterSize")).map(|size| size.value),
    }
}

/// `warmup`, or the outdated `warmupDurationSecs`.
fn warmup(node: &Node) -> Option<Warmup> {
    let Some(warmup) = node.get("warmup") else {
        let duration = milliseconds(node.get("warmupDurationSecs"))?.value;
        return Some(Warmup { duration, minimum_percent: None, aggression: None });
    };
    Some(Warmup {
        duration: milliseconds(warmup.get("duration"))?.value,
        minimum_percent: number(warmup.get("minimumPercent")),
        aggression: number(warmup.get("aggression")),
    })
}
