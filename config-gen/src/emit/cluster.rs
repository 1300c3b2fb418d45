//! Envoy clusters (spec sections 1.3, 3.1, 5.6).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::emit::{BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER, type_url};
use crate::options::{DnsFamily, EnvoyOptions};
use crate::plan::{Address, Ca, Cluster, Discovery, Endpoint, Locality, UpstreamTls};

/// No limit: Istio's default for all thresholds (DEF-11).
const UNLIMITED: u32 = u32::MAX;

/// Hosts of a DNS cache that are remembered at a time.
const MAX_HOSTS: u32 = 1024;

/// Name of the DNS cache for hosts outside the registry.
const PASSTHROUGH_DNS_CACHE: &str = "passthrough";

/// A cluster of the registry.
pub(super) fn cluster(cluster: &Cluster, options: &EnvoyOptions) -> Value {
    if let Discovery::Dynamic(_) = cluster.discovery {
        return dynamic(cluster, options);
    }
    let mut value = json!({
        "name": cluster.name,
        "alt_stat_name": stat_name(&cluster.name),
    });
    extend(
        &mut value,
        match cluster.discovery {
            Discovery::StrictDns => dns(false, dns_family(options), options),
            Discovery::LogicalDns => dns(true, dns_family(options), options),
            Discovery::RacingDns => dns(true, "ALL", options),
            Discovery::Static | Discovery::Dynamic(_) => json!({"type": "STATIC"}),
        },
    );
    extend(
        &mut value,
        json!({
            "connect_timeout": options.connect_timeout,
            "lb_policy": "LEAST_REQUEST",
            "circuit_breakers": circuit_breakers(),
            "load_assignment": {
                "cluster_name": cluster.name,
                "endpoints": localities(&cluster.endpoints),
            },
            "typed_extension_protocol_options": http_protocol_options(cluster),
        }),
    );
    mark_external(&mut value, cluster);
    if let Some(tls) = &cluster.tls {
        extend(&mut value, json!({"transport_socket": transport_socket(tls, cluster.http2, options)}));
    }
    value
}

/// As Istio does (SE-14).
fn mark_external(value: &mut Value, cluster: &Cluster) {
    if cluster.external {
        extend(value, json!({"metadata": {"filter_metadata": {"istio": {"external": true}}}}));
    }
}

/// Resolves the host of each request, or the server name of each connection (SE-R-07). The host is
/// the one that the filter has allowed, and so is the port.
fn dynamic(cluster: &Cluster, options: &EnvoyOptions) -> Value {
    let mut value = dynamic_forward_proxy(&cluster.name, &dns_cache(&cluster.name, options), options);
    extend(&mut value, json!({"typed_extension_protocol_options": http_protocol_options(cluster)}));
    mark_external(&mut value, cluster);
    if let Some(tls) = &cluster.tls {
        extend(&mut value, json!({"transport_socket": transport_socket(tls, cluster.http2, options)}));
        if tls.sni.is_some() || !tls.auto_san {
            // Names that are written take the place of the host's, as on any other cluster.
            value["cluster_type"]["typed_config"]["allow_insecure_cluster_options"] = json!(true);
        }
    }
    value
}

/// Adds the fields of `more` to an object.
fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}

/// A cluster name without dots, at which Envoy's tag extraction would cut it.
fn stat_name(name: &str) -> String {
    name.replace('.', "_")
}

/// Endpoints by their locality, whose weight is the sum of theirs (SE-30, SE-31). Without any
/// word on them all are alike.
fn localities(endpoints: &[Endpoint]) -> Vec<Value> {
    let nowhere = Locality::default();
    let weighted = endpoints.iter().any(|endpoint| endpoint.weight != 1 || endpoint.locality != nowhere);
    let mut groups: BTreeMap<&Locality, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        groups.entry(&endpoint.locality).or_default().push(endpoint);
    }
    if groups.is_empty() {
        groups.insert(&nowhere, Vec::new());
    }
    groups
        .into_iter()
        .map(|(locality, group)| {
            let endpoints: Vec<Value> = group.iter().map(|one| endpoint(one, weighted)).collect();
            let mut value = json!({"lb_endpoints": endpoints});
            if weighted {
                let sum = group.iter().fold(0_u32, |sum, one| sum.saturating_add(one.weight));
                extend(&mut value, json!({"load_balancing_weight": sum}));
            }
            if *locality != nowhere {
                let mut names = json!({});
                for (name, text) in
                    [("region", &locality.region), ("zone", &locality.zone), ("sub_zone", &locality.sub_zone)]
                {
                    if !text.is_empty() {
                        extend(&mut names, json!({name: text}));
                    }
                }
                extend(&mut value, json!({"locality": names}));
            }
            value
        })
        .collect()
}

fn endpoint(endpoint: &Endpoint, weighted: bool) -> Value {
    let address = match &endpoint.address {
        Address::Socket(address, port) => {
            json!({"socket_address": {"address": address, "port_value": port}})
        }
        Address::Pipe(path) => json!({"pipe": {"path": path}}),
    };
    let mut value = json!({"endpoint": {"address": address}});
    if weighted {
        extend(&mut value, json!({"load_balancing_weight": endpoint.weight}));
    }
    value
}

fn circuit_breakers() -> Value {
    json!({"thresholds": [{
        "max_connections": UNLIMITED,
        "max_pending_requests": UNLIMITED,
        "max_requests": UNLIMITED,
        "max_retries": UNLIMITED,
    }]})
}

fn http_protocol_options(cluster: &Cluster) -> Value {
    let explicit = if cluster.http2 { "http2_protocol_options" } else { "http_protocol_options" };
    let mut options = json!({
        "@type": type_url("envoy.extensions.upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": {explicit: {}},
    });
    let (auto_sni, auto_san) = match &cluster.tls {
        Some(tls) => (tls.sni.is_none(), tls.auto_san),
        // Without TLS they do nothing, but Envoy asks for them here.
        None => [matches!(cluster.discovery, Discovery::Dynamic(_)); 2].into(),
    };
    if auto_sni || auto_san {
        extend(&mut options, json!({"upstream_http_protocol_options": auto_names(auto_sni, auto_san)}));
    }
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options})
}

fn auto_names(sni: bool, san: bool) -> Value {
    let mut names = json!({});
    for (name, on) in [("auto_sni", sni), ("auto_san_validation", san)] {
        if on {
            extend(&mut names, json!({name: true}));
        }
    }
    names
}

/// How names are resolved (SE-R-06): all addresses of an answer (STRICT_DNS), or one at a
/// time (LOGICAL_DNS).
fn dns(one_at_a_time: bool, family: &str, options: &EnvoyOptions) -> Value {
    json!({"cluster_type": {
        "name": "envoy.cluster.dns",
        "typed_config": {
            "@type": type_url("envoy.extensions.clusters.dns.v3.DnsCluster"),
            "dns_lookup_family": family,
            "dns_refresh_rate": options.dns_refresh_rate,
            "dns_jitter": "0.1s",
            "respect_dns_ttl": true,
            "all_addresses_in_single_endpoint": one_at_a_time,
            "typed_dns_resolver_config": dns_resolver(options),
        },
    }})
}

fn dns_family(options: &EnvoyOptions) -> &'static str {
    match options.dns_family {
        DnsFamily::V4Only => "V4_ONLY",
        DnsFamily::V6Only => "V6_ONLY",
        DnsFamily::All => "ALL",
    }
}

fn dns_resolver(options: &EnvoyOptions) -> Value {
    let mut config = json!({
        "@type": type_url("envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"),
        "udp_max_queries": 100,
    });
    if !options.dns_resolvers.is_empty() {
        let resolvers: Vec<Value> = options.dns_resolvers.iter().map(socket_address).collect();
        extend(
            &mut config,
            json!({
                "resolvers": resolvers,
                "dns_resolver_options": {"no_default_search_domain": true},
            }),
        );
    }
    json!({"name": "envoy.network.dns_resolver.cares", "typed_config": config})
}

/// `{"socket_address": …}`.
pub(super) fn socket_address(address: &std::net::SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// TLS towards the endpoints. Without a validation context Envoy would verify nothing
/// (DR-TLS-21), so there is always one unless that was asked for.
fn transport_socket(tls: &UpstreamTls, http2: bool, options: &EnvoyOptions) -> Value {
    let mut common = json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
    });
    if http2 {
        // DR-TLS-18
        extend(&mut common, json!({"alpn_protocols": ["h2"]}));
    }
    let ca = match &tls.ca {
        Ca::System => Some(options.ca_bundle.as_str()),
        Ca::File(path) => Some(path.as_str()),
        Ca::Unverified => None,
    };
    if let Some(ca) = ca {
        let mut validation = json!({"trusted_ca": {"filename": ca}});
        if !tls.subject_alt_names.is_empty() {
            let names = |kind: &str| -> Vec<Value> {
                let name = |name: &String| json!({"san_type": kind, "matcher": {"exact": name}});
                tls.subject_alt_names.iter().map(name).collect()
            };
            // Any of them, whatever kind of name the certificate has it as.
            let all = [names("DNS"), names("URI")].concat();
            extend(&mut validation, json!({"match_typed_subject_alt_names": all}));
        }
        extend(&mut common, json!({"validation_context": validation}));
    }
    let mut context = json!({
        "@type": type_url("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
        "common_tls_context": common,
    });
    if let Some(sni) = &tls.sni {
        extend(&mut context, json!({"sni": sni}));
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}

/// Without endpoints: a connection that is sent here is closed (CL-11).
pub(super) fn black_hole(options: &EnvoyOptions) -> Value {
    json!({
        "name": BLACK_HOLE_CLUSTER,
        "type": "STATIC",
        "connect_timeout": options.connect_timeout,
    })
}

/// Resolves the host of each request (OTP-07, GAP-02).
pub(super) fn passthrough(options: &EnvoyOptions) -> Value {
    dynamic_forward_proxy(PASSTHROUGH_CLUSTER, &passthrough_dns_cache(options), options)
}

/// A cluster that resolves what each connection is for.
fn dynamic_forward_proxy(name: &str, dns_cache: &Value, options: &EnvoyOptions) -> Value {
    json!({
        "name": name,
        "alt_stat_name": stat_name(name),
        "connect_timeout": options.connect_timeout,
        "lb_policy": "CLUSTER_PROVIDED",
        "circuit_breakers": circuit_breakers(),
        "cluster_type": {
            "name": "envoy.clusters.dynamic_forward_proxy",
            "typed_config": {
                "@type": type_url("envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig"),
                "dns_cache_config": dns_cache,
            },
        },
    })
}

/// The DNS cache for hosts outside the registry; Envoy requires the same settings wherever
/// it is named.
pub(super) fn passthrough_dns_cache(options: &EnvoyOptions) -> Value {
    dns_cache(PASSTHROUGH_DNS_CACHE, options)
}

/// A DNS cache of its own for each cluster that shares its hosts with no other: whoever fills
/// one up doesn't touch the others.
pub(super) fn dns_cache(name: &str, options: &EnvoyOptions) -> Value {
    json!({
        "name": name,
        "dns_lookup_family": dns_family(options),
        "max_hosts": MAX_HOSTS,
        "typed_dns_resolver_config": dns_resolver(options),
    })
}
