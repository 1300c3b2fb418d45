//! `connectionPool` (spec 5.4).

use super::super::read::{boolean, int, milliseconds};
use crate::input::node::Node;

/// Limits and timeouts of connections. Of time spans, the value is in milliseconds; of limits, none
/// is the default (DR-CP-01, DR-CP-06).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionPool {
    /// Of connections.
    pub tcp: Tcp,
    /// Of requests.
    pub http: Http,
}

/// `tcp`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Most connections.
    pub max_connections: Option<u32>,
    /// Longest time that one may take to be made; none: the mesh's (DR-CP-02).
    pub connect_timeout: Option<u64>,
    /// Probes of connections without traffic.
    pub keepalive: Option<Keepalive>,
    /// A connection is closed after so long (DR-CP-04).
    pub max_connection_duration: Option<u64>,
    /// A connection without traffic is closed after so long; 0: never (DR-CP-05).
    pub idle_timeout: Option<u64>,
}

/// `tcpKeepalive`; what is none is the mesh's (DR-CP-03), else the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Lost probes after which a connection is closed.
    pub probes: Option<u32>,
    /// From the last traffic to the first probe.
    pub time: Option<u64>,
    /// From probe to probe.
    pub interval: Option<u64>,
}

/// `http`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Most requests that wait for a connection.
    pub max_pending_requests: Option<u32>,
    /// Most requests at a time, of HTTP/1.1 as well (DR-CP-06).
    pub max_requests: Option<u32>,
    /// Most requests on one connection (DR-CP-07).
    pub max_requests_per_connection: Option<u32>,
    /// Most retries at a time.
    pub max_retries: Option<u32>,
    /// A connection without requests is closed after so long (DR-CP-05).
    pub idle_timeout: Option<u64>,
    /// Whether HTTP/2 is spoken (DR-CP-09).
    pub h2_upgrade: H2Upgrade,
    /// The client's version of HTTP is spoken (DR-CP-10).
    pub use_client_protocol: bool,
    /// Most requests at a time on one HTTP/2 connection (DR-CP-08).
    pub max_concurrent_streams: Option<u32>,
    /// Pings on HTTP/2 connections (DR-CP-08).
    pub http2_keepalive: Option<Http2KeepAlive>,
}

/// Whether HTTP/2 is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum H2Upgrade {
    /// As the mesh says.
    #[default]
    Default,
    /// As the port's protocol says.
    DoNotUpgrade,
    /// Whatever the port's protocol says.
    Upgrade,
}

/// Pings on HTTP/2 connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2KeepAlive {
    /// From ping to ping.
    pub interval: Option<u64>,
    /// For the answer.
    pub timeout: Option<u64>,
}

pub(crate) fn read(node: &Node) -> ConnectionPool {
    ConnectionPool {
        tcp: node.get("tcp").map(tcp).unwrap_or_default(),
        http: node.get("http").map(http).unwrap_or_default(),
    }
}

/// 0 is the default.
fn limit(node: Option<&Node>) -> Option<u32> {
    int(node).map(|limit| limit.value).filter(|limit| *limit > 0)
}

fn span(node: Option<&Node>) -> Option<u64> {
    milliseconds(node).map(|span| span.value)
}

fn tcp(node: &Node) -> Tcp {
    Tcp {
        max_connections: limit(node.get("maxConnections")),
        connect_timeout: span(node.get("connectTimeout")),
        keepalive: node.get("tcpKeepalive").map(keepalive),
        max_connection_duration: span(node.get("maxConnectionDuration")),
        idle_timeout: span(node.get("idleTimeout")),
    }
}

pub(crate) fn keepalive(node: &Node) -> Keepalive {
    Keepalive {
        probes: limit(node.get("probes")),
        time: span(node.get("time")),
        interval: span(node.get("interval")),
    }
}

fn http(node: &Node) -> Http {
    Http {
        max_pending_requests: limit(node.get("http1MaxPendingRequests")),
        max_requests: limit(node.get("http2MaxRequests")),
        max_requests_per_connection: limit(node.get("maxRequestsPerConnection")),
        max_retries: limit(node.get("maxRetries")),
        idle_timeout: span(node.get("idleTimeout")),
        h2_upgrade: match node.get("h2UpgradePolicy").and_then(Node::as_str) {
            Some("UPGRADE") => H2Upgrade::Upgrade,
            Some("DO_NOT_UPGRADE") => H2Upgrade::DoNotUpgrade,
            _ => H2Upgrade::Default,
        },
        use_client_protocol: boolean(node.get("useClientProtocol")).is_some_and(|flag| flag.value),
        max_concurrent_streams: limit(node.get("maxConcurrentStreams")),
        http2_keepalive: node.get("http2KeepAlive").map(|node| Http2KeepAlive {
            interval: span(node.get("interval")),
            timeout: span(node.get("timeout")),
        }),
    }
}
