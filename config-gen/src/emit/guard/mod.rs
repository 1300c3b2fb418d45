//! Addresses that a name must not resolve to: what is private to the machine or its network. Otherwise
//! whoever answers for a name could have the proxy dial Envoy's own admin interface, a metadata service,
//! or anything that trusts the proxy's address (DNS rebinding).
//!
//! By these means, since no single one is there in every version and for every cluster:
//!
//! - HTTP, Envoy 1.40: `upstream_rbac` among the router's upstream filters looks at the endpoint that was
//!   chosen, attempt by attempt, before it is dialled.
//! - HTTP, before that, and copies of requests: a condition on the endpoint's address, among the same
//!   filters. Envoy dials meanwhile, and sends nothing.
//! - Connections that are passed through: a condition on the address once it is connected, before any
//!   byte of the client goes there.
//! - Hosts outside the registry: `rbac` on the first address that the dynamic forward proxy filter has resolved, so
//!   that no version dials it; then the same as above on each, in a cluster that Envoy makes for the host.
//!
//! Endpoints that are written as addresses are not concerned.

mod address_text;

use std::collections::BTreeSet;
use std::net::IpAddr;

use portolan_engine::config::PASSTHROUGH_ROUTE_PROFILE;
use portolan_engine::headers::CLUSTER;
use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::emit::{PASSTHROUGH_CLUSTER, PASSTHROUGH_CLUSTER_BY_ADDRESS, ROUTE_FILTER_STATE, type_url};
use crate::options::{Cidr, EnvoyOptions, Options, Profile};
use crate::plan::{Address, Cluster, ConnectionRoute, Discovery, Plan};

/// Ranges that are not global: this network, private, shared, loopback, link-local, protocol
/// assignments, benchmarking, multicast, reserved (IANA special-purpose registries).
const NOT_GLOBAL: [&str; 18] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "::ffff:0:0/96",
    "64:ff9b:1::/48",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// The name of the guard's policy in access logs.
pub(crate) const POLICY: &str = "private_upstream_address";

/// What the guard's counters are called, within those of `rbac`.
const STATISTICS: &str = "portolan_guard";

/// Where a cluster says which HTTP its endpoints are spoken to.
const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

fn not_global() -> impl Iterator<Item = Cidr> {
    NOT_GLOBAL.iter().filter_map(|text| text.parse().ok())
}

/// Whether the guard lets nobody dial `address`, for all that is known without DNS.
pub(crate) fn refuses(address: IpAddr, options: &EnvoyOptions) -> bool {
    let private = not_global().any(|range| range.contains(address));
    private && !options.allow_upstream.iter().any(|range| range.contains(address))
}

/// Whether there is any address that isn't allowed.
pub(super) fn refuses_any(options: &EnvoyOptions) -> bool {
    not_global().any(|range| !options.allow_upstream.iter().any(|allowed| allowed.covers(range)))
}

/// Whether names of the registry are guarded. In Istio they aren't.
pub(crate) fn is_on(options: &Options) -> bool {
    options.profile == Profile::Standalone && refuses_any(&options.envoy)
}

/// Whether `cluster` dials what DNS says of a name.
pub(crate) fn is_resolved(cluster: &Cluster) -> bool {
    match cluster.discovery {
        Discovery::Dynamic(_) | Discovery::Shared { .. } => true,
        Discovery::StrictDns | Discovery::LogicalDns | Discovery::RacingDns => cluster
            .endpoints
            .iter()
            .any(|endpoint| matches!(&endpoint.address, Address::Socket(host, _) if host.parse::<IpAddr>().is_err())),
        Discovery::Static | Discovery::OriginalDestination(_) => false,
    }
}

/// The addresses that are written as endpoints of `cluster`.
fn literal(cluster: &Cluster) -> impl Iterator<Item = Cidr> {
    cluster.endpoints.iter().filter_map(|endpoint| match &endpoint.address {
        Address::Socket(host, _) => host.parse().ok().map(Cidr::of),
        Address::Pipe(_) => None,
    })
}

/// An HTTP filter that refuses such addresses with 403 before they are dialled, for hosts outside the
/// registry. It sees the first that the dynamic forward proxy filter before it has resolved.
pub(super) fn filter(options: &EnvoyOptions) -> Value {
    // Of the registry's hosts the upstream filters decide.
    let principal = json!({"filter_state": {
        "key": ROUTE_FILTER_STATE,
        "string_match": {"prefix": format!("{PASSTHROUGH_ROUTE_PROFILE} ")},
    }});
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": http_rbac(&options.allow_upstream, &principal),
    })
}

/// An HTTP filter behind it that has the request go on to the cluster whose endpoints are all addresses of the host.
pub(super) fn go_on_by_address() -> Value {
    // Envoy chooses the route anew when a header changes. What goes where the client wanted it has another cluster.
    let by_address = format!(
        "function envoy_on_request(request) local headers = request:headers() \
         if headers:get('{CLUSTER}') == '{PASSTHROUGH_CLUSTER}' then \
         headers:replace('{CLUSTER}', '{PASSTHROUGH_CLUSTER_BY_ADDRESS}') end end"
    );
    lua(&by_address)
}

fn lua(source: &str) -> Value {
    json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.http.lua.v3.Lua"),
            "default_source_code": {"inline_string": source},
        },
    })
}

/// The router's filters for requests that go to clusters without their own. They are there whether or not a
/// cluster needs them yet: a listener that changes loses its connections.
pub(super) fn of_router(options: &Options) -> Option<Vec<Value>> {
    is_on(options).then(|| all_filters(&options.envoy.allow_upstream))
}

fn all_filters(allowed: &[Cidr]) -> Vec<Value> {
    vec![before_dialling(allowed), before_sending(allowed), codec()]
}

/// Gives `value`, which is `cluster` for Envoy, filters of its own where those of the router don't do.
pub(super) fn set_filters(value: &mut Value, cluster: &Cluster, plan: &Plan, options: &Options) {
    if !is_on(options) {
        return;
    }
    if !is_resolved(cluster) {
        return exempt(value);
    }
    let is_mirror = mirrors(plan).any(|name| name == cluster.name);
    let allowed: Vec<Cidr> = options.envoy.allow_upstream.iter().copied().chain(literal(cluster)).collect();
    if !is_mirror && allowed.len() == options.envoy.allow_upstream.len() {
        return;
    }
    let mut filters = vec![before_sending(&allowed), codec()];
    // For a copy there is nothing that it could see.
    if !is_mirror || routed(plan).contains(cluster.name.as_str()) {
        filters.insert(0, before_dialling(&allowed));
    }
    *self::filters(value) = filters.into();
}

/// Gives `value`, the cluster for each address of hosts outside the registry, filters of its own where the router has none.
pub(super) fn set_filters_of_passthrough(value: &mut Value, options: &Options) {
    if !is_on(options) {
        *filters(value) = all_filters(&options.envoy.allow_upstream).into();
    }
}

/// Keeps the router's filters from what goes to the cluster `value`, which resolves nothing.
pub(super) fn exempt(value: &mut Value) {
    *filters(value) = json!([codec()]);
}

/// The filters that the cluster `value` has of its own.
fn filters(value: &mut Value) -> &mut Value {
    let options = &mut value["typed_extension_protocol_options"][HTTP_PROTOCOL_OPTIONS];
    if options.is_null() {
        // What a cluster has that says nothing.
        *options = json!({
            "@type": type_url(HTTP_PROTOCOL_OPTIONS),
            "explicit_http_config": {"http_protocol_options": {}},
        });
    }
    &mut options["http_filters"]
}

/// Clusters that get copies of requests. Envoy makes these without a router of ours.
fn mirrors(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.profiles.iter().flat_map(|profile| &profile.mirrors).map(|mirror| mirror.cluster.as_str())
}

/// Clusters that get requests.
fn routed(plan: &Plan) -> BTreeSet<&str> {
    let actions = plan.virtual_hosts.iter().flat_map(|host| &host.routes).map(|route| &route.route);
    actions
        .flat_map(|action| {
            let several = action.destinations.iter().map(|destination| destination.cluster.as_str());
            action.cluster.as_deref().into_iter().chain(several)
        })
        .collect()
}

/// Looks at the endpoint that was chosen, before it is dialled. Envoy has it since 1.40.
fn before_dialling(allowed: &[Cidr]) -> Value {
    json!({
        "name": "envoy.filters.http.upstream_rbac",
        // An older Envoy goes on without it.
        "is_optional": true,
        "typed_config": http_rbac(allowed, &json!({"any": true})),
    })
}

fn http_rbac(allowed: &[Cidr], principal: &Value) -> Value {
    let ranges = |ranges: &mut dyn Iterator<Item = Cidr>| -> Value { ranges.map(permission).collect() };
    let mut rules = vec![json!({"or_rules": {"rules": ranges(&mut not_global())}})];
    if !allowed.is_empty() {
        rules.push(json!({"not_rule": {"or_rules": {"rules": ranges(&mut allowed.iter().copied())}}}));
    }
    json!({
        "@type": type_url("envoy.extensions.filters.http.rbac.v3.RBAC"),
        "rules_stat_prefix": STATISTICS,
        "rules": {
            "action": "DENY",
            "policies": {POLICY: {
                "permissions": [{"and_rules": {"rules": rules}}],
                "principals": [principal],
            }},
        },
    })
}

fn permission(range: Cidr) -> Value {
    json!({"matcher": {
        "name": "envoy.rbac.matchers.upstream_ip_port",
        "typed_config": {
            "@type": type_url("envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher"),
            "upstream_ip": {"address_prefix": range.address.to_string(), "prefix_len": range.length},
        },
    }})
}

/// Refuses what is dialled already, or about to be: the request isn't sent.
fn before_sending(allowed: &[Cidr]) -> Value {
    let refuse = format!(
        "function envoy_on_request(request) request:respond({{[':status'] = '403'}}, '{POLICY}') end"
    );
    json!({
        "name": POLICY,
        "typed_config": {
            "@type": type_url("envoy.extensions.common.matching.v3.ExtensionWithMatcher"),
            "extension_config": lua(&refuse),
            // Without an address there is no answer, and so no way past.
            "xds_matcher": {"matcher_list": {"matchers": [{
                "predicate": {"single_predicate": {
                    "input": {
                        "name": "envoy.matching.inputs.cel_data_input",
                        "typed_config": {"@type": type_url("xds.type.matcher.v3.HttpAttributesCelMatchInput")},
                    },
                    "custom_match": {
                        "name": "envoy.matching.matchers.cel_matcher",
                        "typed_config": {
                            "@type": type_url("xds.type.matcher.v3.CelMatcher"),
                            "expr_match": {"parsed_expr": {"expr": not(is_private(allowed))}},
                        },
                    },
                }},
                "on_match": {"action": {
                    "name": "skip",
                    "typed_config": {
                        "@type": type_url("envoy.extensions.filters.common.matcher.action.v3.SkipFilter"),
                    },
                }},
            }]}},
        },
    })
}

/// Ends the upstream filters.
fn codec() -> Value {
    json!({
        "name": "envoy.filters.http.upstream_codec",
        "typed_config": {"@type": type_url("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec")},
    })
}

/// A network filter that closes connections to such addresses, for those that lead to `clusters`. It
/// comes before the one that dials, and has its say once that has a connection.
pub(super) fn of_connections<'p>(
    clusters: impl Iterator<Item = &'p Cluster> + Clone,
    options: &Options,
) -> Option<Value> {
    if !is_on(options) || !clusters.clone().any(is_resolved) {
        return None;
    }
    let literal = clusters.flat_map(literal);
    Some(network_rbac(&options.envoy.allow_upstream.iter().copied().chain(literal).collect::<Vec<_>>()))
}

/// The same for server names that aren't in the registry.
pub(super) fn of_unknown_names(options: &Options) -> Option<Value> {
    is_on(options).then(|| network_rbac(&options.envoy.allow_upstream))
}

fn network_rbac(allowed: &[Cidr]) -> Value {
    json!({
        "name": "envoy.filters.network.rbac",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.network.rbac.v3.RBAC"),
            "stat_prefix": format!("{STATISTICS}."),
            "rules": {
                "action": "DENY",
                "policies": {POLICY: {
                    "permissions": [{"any": true}],
                    "principals": [{"any": true}],
                    "condition": is_private(allowed),
                }},
            },
        },
    })
}

/// A condition on the address of the endpoint, as CEL's parser would give it.
fn is_private(allowed: &[Cidr]) -> Value {
    let address =
        json!({"select_expr": {"operand": {"ident_expr": {"name": "upstream"}}, "field": "address"}});
    let matches = |pattern: String| {
        call("matches", &[address.clone(), json!({"const_expr": {"string_value": pattern}})])
    };
    let is_in = |ranges: &[Cidr]| {
        let patterns = address_text::patterns(ranges).into_iter().map(matches);
        patterns.reduce(|one, other| call("_||_", &[one, other]))
    };
    let private = is_in(&not_global().collect::<Vec<_>>()).unwrap_or(Value::Null);
    match is_in(allowed) {
        Some(allowed) => call("_&&_", &[private, not(allowed)]),
        None => private,
    }
}

fn not(condition: Value) -> Value {
    call("!_", &[condition])
}

fn call(function: &str, arguments: &[Value]) -> Value {
    json!({"call_expr": {"function": function, "args": arguments}})
}

/// Says where the guard sees less than all, or what it changes.
pub(crate) fn check(plan: &Plan, options: &Options, diagnostics: &mut Diagnostics) {
    if !is_on(options) {
        return;
    }
    let about = |note: Diagnostic, resource: &str| {
        Diagnostic { span: plan.places.resource(resource), ..note }.resource(resource)
    };
    let of_cluster = |note: Diagnostic, cluster: &Cluster| {
        let dedicated = plan.shared.iter().find(|(_, shared)| shared.cluster == cluster.name);
        let name = dedicated.map_or(cluster.name.as_str(), |(name, _)| name);
        about(note, plan.places.service_of_cluster(name).unwrap_or_default())
    };
    let resolved = || plan.clusters.iter().filter(|cluster| is_resolved(cluster));
    let by_first =
        |cluster: &&Cluster| matches!(cluster.discovery, Discovery::Dynamic(_) | Discovery::Shared { .. });
    if let Some(cluster) = resolved().find(by_first) {
        let note = Diagnostic::note(
            "first-address-guarded",
            format!(
                "where names are resolved as they are called, such as on `{}`, the first address of an answer decides \
                 whether it is private; Envoy may go on to the others",
                cluster.name
            ),
        )
        .help("`--clusters dedicated` looks at each, but below wildcards; let no network route lead to private addresses");
        diagnostics.push(of_cluster(note, cluster));
    }
    let by_turns =
        |cluster: &&Cluster| matches!(cluster.discovery, Discovery::LogicalDns | Discovery::RacingDns);
    if let Some(cluster) = resolved().find(by_turns) {
        let note = Diagnostic::note(
            "all-addresses-balanced",
            format!(
                "so that each address can be looked at, those of a name share the requests, where one would be taken at \
                 a time: `{}` is such a cluster",
                cluster.name
            ),
        )
        .rule("SE-R-05")
        .help("`--allow-upstream 0.0.0.0/0 --allow-upstream ::/0` takes the guard out");
        diagnostics.push(of_cluster(note, cluster));
    }
    let mut connections = plan.connections.iter().chain(&plan.redirected);
    let is_guarded = |route: &&ConnectionRoute| {
        let mut clusters = route.destinations.iter().filter_map(|share| plan.cluster(&share.cluster));
        route.server_name.is_none() && clusters.any(is_resolved)
    };
    if let Some(route) = connections.find(is_guarded) {
        let note = Diagnostic::note(
            "server-speaks-first-unguarded",
            format!(
                "where a name of a TCP port turns out to be a private address, what its server says before the \
                 client does is passed on; port {} is one",
                route.port
            ),
        )
        .help("give `endpoints` with addresses, or let no network route lead to private addresses");
        diagnostics.push(about(note, &route.resource));
    }
}
