//! The plugin config: the JSON contract between `config-gen` and the filter.
//!
//! The types here are the text as written. [`crate::Engine`] is the checked
//! form, built only from a [`Config`] without contradictions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::listing::{Listed, Listing};
use crate::whole;

/// The version of the contract that this engine reads and writes.
pub const VERSION: u32 = 1;

/// A plugin config as written.
///
/// Unknown fields and unknown versions are refused, with the path of the fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Always [`VERSION`].
    #[cfg_attr(feature = "schema", schemars(extend("const" = VERSION)))]
    #[serde(deserialize_with = "whole::deserialize")]
    pub version: u32,
    /// What the filter may rely on around it. Default: `proxy`.
    #[serde(default)]
    pub mode: Mode,
    /// Tell the upstream what was rewritten, as Envoy's router does: `x-envoy-original-path` and
    /// `x-envoy-original-host` (VS-RW-16, GAP-19). Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub original_headers: bool,
    /// Refuse without a body, as Istio does (OTP-03). Default: the body says which host was refused
    /// and why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_refusals: bool,
    /// What happens to a host that no virtual host names. Default: refuse.
    #[serde(default)]
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// Clusters by their names: what takes their place where the client has dialled one of their
    /// addresses, as the original destination tells (SE-R-01). Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub original_destinations: BTreeMap<String, OriginalDestination>,
    /// One entry for each host that a client may name.
    #[serde(default)]
    pub virtual_hosts: Vec<VirtualHost>,
    /// More of them, written shorter. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_routes: Vec<SharedRoutes>,
    /// Where tunnels lead that clients of an explicit proxy ask for by CONNECT (GAP-23). None: no
    /// listener takes CONNECT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
}

/// What surrounds the filter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Portolan's own Envoy configuration: the filter names cluster and route.
    #[default]
    Proxy,
    /// A mesh sidecar, which keeps its own routes: the filter rewrites or answers,
    /// and leaves a host that it has no rule for alone.
    Mesh,
}

/// `outboundTrafficPolicy` of Istio's mesh config and `Sidecar` (OTP-01).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "mode", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum OutboundTrafficPolicy {
    /// An unknown host is answered with 502 (OTP-03).
    #[default]
    #[serde(rename = "REGISTRY_ONLY")]
    RegistryOnly,
    /// An unknown host is forwarded as it is (OTP-05).
    #[serde(rename = "ALLOW_ANY")]
    AllowAny {
        /// The dynamic forward proxy cluster that takes such requests.
        cluster: String,
        /// Ports to dial in place of a listener's port, as pairs of listener port
        /// and dialled port. Default: none.
        #[serde(deserialize_with = "whole::deserialize", default, skip_serializing_if = "Vec::is_empty")]
        upstream_ports: Vec<(u16, u16)>,
        /// Say of each such request which host it is for and why the registry doesn't have it, in the filter
        /// state that access logs print, and count it: so one learns what the registry lacks before
        /// it is enforced. Default: no.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        report: bool,
    },
    /// A gateway has no such policy: an unknown host is answered with 404 (GW-11).
    #[serde(rename = "GATEWAY")]
    Gateway,
}

/// A cluster that dials what the client has dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OriginalDestination {
    /// Its name.
    pub cluster: String,
    /// IP addresses and ranges that it may dial.
    pub addresses: Vec<String>,
}

/// A set of domains that share their routes, as Envoy's virtual host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualHost {
    /// The resource it stems from, such as `VirtualService default/webserver`. Appears
    /// in access logs and explanations.
    pub name: String,
    /// Lower-case names without port: exact, `*` followed by a suffix (VH-01, VH-04), or `*` for
    /// all that no other virtual host has.
    pub domains: Vec<String>,
    /// Listener ports on which the domains are known, or the numbers that stand for them where
    /// servers of a gateway share a port. Empty: every port for which no other virtual host names
    /// the domain.
    #[serde(deserialize_with = "whole::deserialize", default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// The routes in order; the first that matches wins (VS-ORD-01).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Set where the host is known but must not be forwarded to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse: Option<Refuse>,
    /// A host that only a VirtualService names and the registry doesn't (GAP-01); such
    /// requests have a counter of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unregistered: bool,
}

/// Virtual hosts that differ in nothing but name and domains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedRoutes {
    /// Begins the names of all. Default: nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_prefix: String,
    /// [`VirtualHost::name`] and [`VirtualHost::domains`] of each, as `NAME: DOMAIN DOMAIN`. A domain that ends
    /// in a dot stands for the one without it, too.
    /// Many are one text, instead: [`Listing::compressed`].
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Listing"))]
    pub virtual_hosts: Listing,
    /// As [`VirtualHost::ports`].
    #[serde(deserialize_with = "whole::deserialize", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// As [`VirtualHost::routes`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// As [`VirtualHost::refuse`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refuse: Option<Refuse>,
    /// As [`VirtualHost::unregistered`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unregistered: bool,
}

impl SharedRoutes {
    /// The same at full length.
    pub fn virtual_hosts(&self) -> impl Iterator<Item = VirtualHost> {
        self.virtual_hosts.iter().map(|listed| VirtualHost {
            name: format!("{}{}", self.name_prefix, listed.name()),
            domains: listed.domains().map(|domain| domain.to_string()).collect(),
            ports: self.ports.clone(),
            routes: self.routes.clone(),
            refuse: self.refuse,
            unregistered: self.unregistered,
        })
    }
}

/// Where tunnels lead. A host and port that neither a tunnel nor a virtual host has are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Connect {
    /// Hosts and ports whose connections are passed through. They come before virtual hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tunnels: Vec<Tunnel>,
    /// By port, the cluster of the listener that takes the requests in tunnels to virtual hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<(u16, String)>,
}

/// Hosts and ports to which clients may have tunnels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tunnel {
    /// The resource it stems from, such as `ServiceEntry default/a`. Appears in access logs and
    /// explanations.
    pub name: String,
    /// As those of a virtual host.
    pub domains: Vec<String>,
    /// Ports of the CONNECT; at least one.
    pub ports: Vec<u16>,
    /// Where the bytes go: clusters with their weights.
    pub clusters: Vec<(String, u32)>,
    /// The cluster leads to many hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dial: Option<Dial>,
    /// The cluster is a listener that expects TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TunnelTls>,
}

/// What TLS in a tunnel has to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TunnelTls {
    /// The server name that it asks for. Default: the host of the CONNECT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// Why a known host is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Refuse {
    /// The host has only ports that expect TLS and nothing originates it: a plaintext
    /// request must not reach them.
    OnlyTlsPorts,
}

/// One route: conditions and what happens when all of them hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// Name inside the virtual host, such as `http[0]`.
    pub name: String,
    /// Default: everything matches.
    #[serde(default, rename = "match", skip_serializing_if = "RouteMatch::is_any")]
    pub matcher: RouteMatch,
    /// Forward to a cluster.
    pub route: RouteAction,
}

/// The conditions of a route; all must hold (VS-ORD-03).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteMatch {
    /// On the path without query and fragment (VS-MATCH-03). No condition counts as the
    /// prefix `/` for rewriting (VS-RW-07).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<StringMatch>,
    /// `exact` and `prefix` of the path ignore ASCII case (VS-MATCH-09).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore_path_case: bool,
    /// On `:method` (VS-MATCH-11).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<StringMatch>,
    /// On `:scheme` (VS-MATCH-10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<StringMatch>,
    /// On `:authority` as sent, port and case included (VS-MATCH-12).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<StringMatch>,
    /// All must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// All must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query_parameters: Vec<QueryParameterMatch>,
}

impl RouteMatch {
    /// Whether there is no condition at all.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }
}

/// How a string is compared. Case-sensitive, byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum StringMatch {
    /// Equality.
    Exact(String),
    /// Plain string prefix, not aware of path segments (VS-MATCH-05).
    Prefix(String),
    /// RE2 syntax, always over the whole string (VS-MATCH-07).
    Regex(String),
    /// Any value, the empty one included (VS-MATCH-18, VS-MATCH-27).
    Present,
}

/// A condition on a request header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderMatch {
    /// Compared without regard to case (VS-MATCH-13).
    pub name: String,
    /// On the values of all lines of that name, joined by `,` (VS-MATCH-16).
    pub value: StringMatch,
    /// `withoutHeaders`: the condition must not hold. An absent header counts as the
    /// empty string then (VS-MATCH-23), except for `present` (VS-MATCH-24).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
}

/// A condition on the first query parameter of a name, compared without percent
/// decoding (VS-MATCH-26).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryParameterMatch {
    /// Case-sensitive.
    pub name: String,
    /// On the raw value.
    pub value: StringMatch,
}

/// What happens to a request: it is sent somewhere, redirected, or answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteAction {
    /// Envoy cluster, such as `outbound|443||example.com` (CL-01). Mode `proxy` needs it or
    /// [`Self::destinations`] to forward, mode `mesh` allows neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// In place of `cluster`: several, of which each request takes one by chance
    /// (VS-ROUTE-02).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Destination>,
    /// The combination of static route settings (retry policy, ...) to use. Default:
    /// [`DEFAULT_ROUTE_PROFILE`].
    #[serde(default = "default_route_profile", skip_serializing_if = "is_default_route_profile")]
    pub route_profile: String,
    /// The cluster takes SNI and SAN from `:authority`; a trailing dot there has to be kept
    /// from both.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_sni: bool,
    /// The cluster leads to many hosts, and this is the one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dial: Option<Dial>,
    /// What is replaced on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// How long a request may take with all its retries, in milliseconds (VS-TO-02). For gRPC
    /// it is the cap of what the client asks for (VS-TO-06).
    #[serde(deserialize_with = "whole::deserialize", default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Retries, on a route profile without any of its own (GAP-03).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Answers to browsers that ask for another origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Faults on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Changes of the request's headers. With several destinations theirs come first
    /// (VS-HDR-04).
    #[serde(default, skip_serializing_if = "HeaderOperations::is_empty")]
    pub request_headers: HeaderOperations,
    /// Changes of the response's headers, those of local replies included (VS-HDR-12).
    #[serde(default, skip_serializing_if = "HeaderOperations::is_empty")]
    pub response_headers: HeaderOperations,
    /// In place of forwarding: send the client elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// In place of forwarding: a fixed answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_response: Option<DirectResponse>,
}

impl Default for RouteAction {
    fn default() -> Self {
        Self {
            cluster: None,
            destinations: Vec::new(),
            route_profile: default_route_profile(),
            auto_sni: false,
            dial: None,
            rewrite: None,
            timeout_ms: None,
            retries: None,
            cors: None,
            fault: None,
            request_headers: HeaderOperations::default(),
            response_headers: HeaderOperations::default(),
            redirect: None,
            direct_response: None,
        }
    }
}

/// One of several destinations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// Envoy cluster.
    pub cluster: String,
    /// Its share is this, divided by the sum of all (VS-ROUTE-02).
    #[serde(deserialize_with = "whole::deserialize")]
    pub weight: u32,
    /// As [`RouteAction::auto_sni`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_sni: bool,
    /// As [`RouteAction::dial`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dial: Option<Dial>,
    /// New Host header, unless the route itself sets one (VS-RW-14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// As [`RouteAction::request_headers`].
    #[serde(default, skip_serializing_if = "HeaderOperations::is_empty")]
    pub request_headers: HeaderOperations,
    /// As [`RouteAction::response_headers`].
    #[serde(default, skip_serializing_if = "HeaderOperations::is_empty")]
    pub response_headers: HeaderOperations,
}

/// What is dialled where a cluster leads to many hosts; the port is never the request's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dial {
    /// A name, whatever host the request has; or `*` and a suffix: the host of the request's
    /// authority, as rewritten, where it is below that. Default: the first domain of the virtual
    /// host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port.
    #[serde(deserialize_with = "whole::deserialize")]
    pub port: u16,
}

/// Changes of headers: all removals first, then all that is set, then all that is added
/// (VS-HDR-02). Values may hold `%%` and some of Envoy's operators (GAP-07).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderOperations {
    /// Names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Names and values, each in place of what is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(String, String)>,
    /// Names and values, each a line of its own (VS-HDR-13).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<(String, String)>,
}

impl HeaderOperations {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// When and how often a request is tried again (spec section 4.7).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retries {
    /// Tries after the first (VS-RETRY-03).
    #[serde(deserialize_with = "whole::deserialize")]
    pub attempts: u32,
    /// Envoy's names for what is tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry_on: Vec<String>,
    /// The same for statuses of gRPC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry_grpc_on: Vec<String>,
    /// For `retriable-status-codes` (VS-RETRY-05).
    #[serde(deserialize_with = "whole::deserialize", default, skip_serializing_if = "Vec::is_empty")]
    pub status_codes: Vec<u16>,
    /// How long one try may take, in milliseconds (VS-RETRY-08).
    #[serde(deserialize_with = "whole::deserialize", default, skip_serializing_if = "Option::is_none")]
    pub per_try_timeout_ms: Option<u64>,
}

/// A CORS policy (spec section 4.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Cors {
    /// Conditions on the `origin` header, of which one must hold (VS-CORS-01).
    pub allow_origins: Vec<StringMatch>,
    /// Value of `access-control-allow-methods` (VS-CORS-02).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_methods: Option<String>,
    /// Value of `access-control-allow-headers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_headers: Option<String>,
    /// Value of `access-control-expose-headers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expose_headers: Option<String>,
    /// Value of `access-control-max-age`, in seconds (VS-CORS-03).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// VS-CORS-04
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_credentials: bool,
    /// Preflight requests from other origins don't go upstream (VS-CORS-05).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore_unmatched_preflights: bool,
}

/// Faults on purpose; what is none doesn't happen (spec section 4.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Requests wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<DelayFault>,
    /// Requests are answered with an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<AbortFault>,
}

/// A delay, by Envoy's fault filter (VS-FAULT-01).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DelayFault {
    /// Milliseconds.
    #[serde(deserialize_with = "whole::deserialize")]
    pub ms: u64,
    /// How many of a million requests (VS-FAULT-04).
    #[serde(deserialize_with = "whole::deserialize")]
    pub per_million: u32,
}

/// An error in place of an answer (VS-FAULT-05).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AbortFault {
    /// HTTP status; 200 beside a status of gRPC.
    #[serde(deserialize_with = "whole::deserialize")]
    pub status: u16,
    /// Status of gRPC.
    #[serde(deserialize_with = "whole::deserialize", default, skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u8>,
    /// How many of a million requests (VS-FAULT-04).
    #[serde(deserialize_with = "whole::deserialize")]
    pub per_million: u32,
}

/// Where a client is sent instead (spec section 4.6). What is none stays as requested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308 (VS-RD-01).
    #[serde(deserialize_with = "whole::deserialize")]
    pub code: u16,
    /// `http` or `https` (VS-RD-06).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Host, may have a port (VS-RD-05).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Written behind the host; one that is to be left out isn't given (VS-RD-07).
    #[serde(deserialize_with = "whole::deserialize", default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The whole path; the query stays unless this has one (VS-RD-02).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What replaces the matched part of the path (VS-RD-04).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// A fixed answer (spec section 4.7).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectResponse {
    /// 200 to 599: Envoy closes the connection without an answer on others.
    #[serde(deserialize_with = "whole::deserialize")]
    pub status: u16,
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
}

/// The body of a [`DirectResponse`] (VS-DR-02).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Body {
    /// As it is.
    Text(String),
    /// Bytes in base64.
    Base64(String),
}

/// Replacements in a forwarded request (spec section 4.4).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Rewrite {
    /// Replaces what the path condition matched: the prefix, or the whole path; the query
    /// stays (VS-RW-01, VS-RW-05, VS-RW-06).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// In place of `path`: replaces every match in the path without query (VS-RW-11).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_regex: Option<PathRegex>,
    /// Replaces the Host header (VS-RW-12).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

/// Parts of a path that are replaced by pattern (VS-RW-11).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathRegex {
    /// RE2 syntax; it need not match the whole path.
    pub pattern: String,
    /// `\0` stands for the match and `\1` to `\9` for its groups.
    pub replacement: String,
}

/// The route profile with Istio's default retries (DEF-06).
pub const DEFAULT_ROUTE_PROFILE: &str = "default";

/// The route profile without retries, for passed-through requests (VS-RETRY-12).
pub const PASSTHROUGH_ROUTE_PROFILE: &str = "passthrough";

/// The route profile of tunnels that clients ask for by CONNECT.
pub const TUNNEL_ROUTE_PROFILE: &str = "tunnel";

fn default_route_profile() -> String {
    DEFAULT_ROUTE_PROFILE.to_owned()
}

fn is_default_route_profile(name: &str) -> bool {
    name == DEFAULT_ROUTE_PROFILE
}

/// A plugin config that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ConfigError {
    /// Where the fault stands, such as `virtualHosts[3].routes[0].match.path`; `.` is the
    /// whole document.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl ConfigError {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl Config {
    /// Reads a plugin config. An empty text is an error: a filter without registry must
    /// not start.
    #[inline(never)]
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        if json.iter().all(u8::is_ascii_whitespace) {
            return Err(ConfigError::new(
                ".",
                "the plugin config is empty; generate one with `config-gen generate`",
            ));
        }
        #[derive(Deserialize)]
        struct Version {
            #[serde(deserialize_with = "whole::deserialize", default)]
            version: Option<u32>,
        }
        let config = read(json);
        match &config {
            Ok(config) => check_version(Some(config.version))?,
            // A newer document may have fields that this one doesn't know, and "unknown field" would name
            // the wrong fault.
            Err(_) => {
                if let Ok(Version { version }) = serde_json::from_slice(json) {
                    check_version(version)?;
                }
            }
        }
        config
    }

    /// Whether any decision depends on the port that the client addressed. Where none does, it
    /// need not be found out.
    pub fn uses_listener_port(&self) -> bool {
        matches!(self.outbound_traffic_policy, OutboundTrafficPolicy::AllowAny { .. })
            || self.virtual_hosts.iter().any(|host| !host.ports.is_empty())
            || self.shared_routes.iter().any(|shared| !shared.ports.is_empty())
            || self.connect.is_some()
    }

    /// Writes the plugin config as it is stored: readable, the same bytes for the same
    /// config.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        Ok(json)
    }
}

/// Names the field of a fault.
#[cfg(feature = "fault-paths")]
fn read(json: &[u8]) -> Result<Config, ConfigError> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let config = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // `?` stands for a place that the text broke off before naming.
        let path = error.path().to_string();
        ConfigError::new(if path == "?" { "." } else { &path }, error.inner().to_string())
    })?;
    deserializer.end().map_err(|error| ConfigError::new(".", error.to_string()))?;
    Ok(config)
}

/// Names the line and column of a fault.
#[cfg(not(feature = "fault-paths"))]
fn read(json: &[u8]) -> Result<Config, ConfigError> {
    serde_json::from_slice(json).map_err(|error| ConfigError::new(".", error.to_string()))
}

fn check_version(version: Option<u32>) -> Result<(), ConfigError> {
    match version {
        Some(VERSION) => Ok(()),
        Some(other) => Err(ConfigError::new(
            "version",
            format!(
                "version {other} is unknown, this filter reads version {VERSION}; use a filter and a config-gen of one release"
            ),
        )),
        None => Err(ConfigError::new("version", format!("missing, must be {VERSION}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        Config::from_json(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn faults_are_named_by_path() {
        assert!(error("").starts_with(".: the plugin config is empty"));
        assert!(error(" \n").starts_with(".: the plugin config is empty"));
        assert!(error("{").starts_with(".: EOF while parsing"), "{}", error("{"));
        assert_eq!(error("{}"), "version: missing, must be 1");
        assert!(error(r#"{"version":2,"new":1}"#).starts_with("version: version 2 is unknown"));
        assert!(error(r#"{"version":1,"virtualHost":[]}"#).contains("unknown field `virtualHost`"));
        let deep = r#"{"version":1,"virtualHosts":[{"name":"a","domains":["a"],"routes":[
            {"name":"r","route":{"cluster":"c","rewrites":{}}}]}]}"#;
        assert!(
            error(deep).starts_with("virtualHosts[0].routes[0].route.rewrites: unknown field"),
            "{}",
            error(deep)
        );
        let trailing = r#"{"version":1} x"#;
        assert!(error(trailing).contains("trailing characters"), "{}", error(trailing));
    }

    #[test]
    fn numbers_may_be_written_as_doubles() {
        let config = r#"{"version":1,"virtualHosts":[{"name":"a","domains":["a"],"ports":[80],"routes":[
            {"name":"r","route":{"cluster":"c","timeoutMs":1500,"redirect":{"code":301,"port":443},
             "fault":{"abort":{"status":503,"perMillion":1000000}}}}]}]}"#;
        let doubles = config
            .replace(":1,", ":1.0,")
            .replace("[80]", "[8e1]")
            .replace("1500", "1.5e3")
            .replace("301", "301.0")
            .replace("443", "4.43e2")
            .replace("503", "503.0")
            .replace("1000000", "1e+06");
        assert_eq!(Config::from_json(doubles.as_bytes()), Config::from_json(config.as_bytes()));
        assert!(Config::from_json(config.as_bytes()).is_ok());
        let half = config.replace("[80]", "[80.5]");
        assert!(
            error(&half).starts_with("virtualHosts[0].ports[0]: invalid value: floating point `80.5`"),
            "{}",
            error(&half)
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = Config {
            version: VERSION,
            mode: Mode::Proxy,
            original_headers: true,
            empty_refusals: true,
            outbound_traffic_policy: OutboundTrafficPolicy::AllowAny {
                cluster: "PassthroughCluster".into(),
                upstream_ports: vec![(80, 8080)],
                report: true,
            },
            original_destinations: BTreeMap::from([(
                "c".into(),
                OriginalDestination { cluster: "d".into(), addresses: vec!["10.0.0.0/8".into()] },
            )]),
            virtual_hosts: vec![VirtualHost {
                name: "VirtualService default/a".into(),
                domains: vec!["a".into()],
                ports: vec![80],
                routes: vec![Route {
                    name: "http[0]".into(),
                    matcher: RouteMatch {
                        path: Some(StringMatch::Regex(".*".into())),
                        headers: vec![HeaderMatch {
                            name: "x".into(),
                            value: StringMatch::Present,
                            invert: true,
                        }],
                        ..RouteMatch::default()
                    },
                    route: RouteAction {
                        cluster: Some("c".into()),
                        route_profile: DEFAULT_ROUTE_PROFILE.into(),
                        auto_sni: true,
                        rewrite: Some(Rewrite { path: Some("/x".into()), ..Rewrite::default() }),
                        ..RouteAction::default()
                    },
                }],
                refuse: None,
                unregistered: true,
            }],
            shared_routes: vec![SharedRoutes {
                name_prefix: "ServiceEntry default/".into(),
                virtual_hosts: {
                    let mut listing = Listing::default();
                    assert!(listing.push("b", &["b".into()]));
                    listing
                },
                ports: vec![80],
                refuse: Some(Refuse::OnlyTlsPorts),
                ..SharedRoutes::default()
            }],
            connect: Some(Connect {
                tunnels: vec![Tunnel {
                    name: "ServiceEntry default/a".into(),
                    domains: vec!["a".into()],
                    ports: vec![443],
                    clusters: vec![("tunnel_tls_443".into(), 1)],
                    dial: None,
                    tls: Some(TunnelTls { server_name: Some("a.example.com".into()) }),
                }],
                http: vec![(80, "tunnel_http_80".into())],
            }),
        };
        assert_eq!(Config::from_json(config.to_json().unwrap().as_bytes()), Ok(config));
    }
}
