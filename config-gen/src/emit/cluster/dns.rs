//! How names are resolved (SE-R-06).

use serde_json::{Value, json};

use super::connection_pool::UNLIMITED;
use super::{extend, socket_address};
use crate::emit::type_url;
use crate::options::{DnsFamily, EnvoyOptions, Options, Profile};

/// Hosts that are remembered at a time, where clients choose them.
pub(super) const MAX_HOSTS: usize = 1024;

/// How names are resolved (SE-R-06): all addresses of an answer (STRICT_DNS), or one at a
/// time (LOGICAL_DNS).
pub(super) fn dns(one_at_a_time: bool, family: &str, options: &Options) -> Value {
    let envoy = &options.envoy;
    let standalone = options.profile == Profile::Standalone;
    // Of answers without a time to live: that there is no such name. Istio takes a minute, also after a
    // failure (DEF-09), in which requests get 503 though DNS is well again.
    let refresh_rate = if standalone { "5s" } else { "60s" };
    let mut config = json!({
        "@type": type_url("envoy.extensions.clusters.dns.v3.DnsCluster"),
        "dns_lookup_family": family,
        "dns_refresh_rate": envoy.dns_refresh_rate.as_deref().unwrap_or(refresh_rate),
        "dns_jitter": "0.1s",
        "respect_dns_ttl": true,
        "all_addresses_in_single_endpoint": one_at_a_time,
        "typed_dns_resolver_config": dns_resolver(envoy),
    });
    if standalone {
        config["dns_failure_refresh_rate"] = failure_refresh_rate();
        // At the start Envoy waits for every name, and serves nothing meanwhile: for silence 6 s at most (2 and
        // 4) in place of more than a minute.
        extend(
            &mut config["typed_dns_resolver_config"]["typed_config"],
            json!({"query_timeout_seconds": 2, "query_tries": 2}),
        );
    }
    json!({"cluster_type": {"name": "envoy.cluster.dns", "typed_config": config}})
}

/// The same for clusters that Envoy makes for the hosts of one: all addresses of an answer, and names are asked for
/// again every 5 s.
pub(super) fn sub_cluster_dns(options: &EnvoyOptions) -> Value {
    json!({"dns_lookup_family": dns_family(options), "typed_dns_resolver_config": dns_resolver(options)})
}

/// How soon a name is asked for again that has no answer yet, or no longer.
fn failure_refresh_rate() -> Value {
    json!({"base_interval": "1s", "max_interval": "5s"})
}

pub(super) fn dns_family(options: &EnvoyOptions) -> &'static str {
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

/// A DNS cache of its own for each cluster that shares its hosts with no other: whoever fills
/// one up doesn't touch the others.
pub(in crate::emit) fn dns_cache(name: &str, options: &EnvoyOptions) -> Value {
    cache(name, MAX_HOSTS, options)
}

/// A DNS cache for `hosts` that are all of the registry, so that there is room for every one, and
/// none has to wait for others: clients can't choose any (DEF-11).
pub(super) fn registry_dns_cache(name: &str, hosts: usize, options: &EnvoyOptions) -> Value {
    // Room for the hosts of the configuration before, too; and in steps, since Envoy has settings
    // changed only for another cache.
    let max_hosts = (hosts + hosts / 2).next_power_of_two().max(MAX_HOSTS);
    let mut cache = cache(&format!("{name}|{max_hosts}"), max_hosts, options);
    extend(
        &mut cache,
        json!({
            // Of a name without addresses, or without an answer; those that it has are kept for their
            // time to live.
            "dns_refresh_rate": options.dns_refresh_rate.as_deref().unwrap_or("5s"),
            "dns_failure_refresh_rate": failure_refresh_rate(),
            "dns_min_refresh_rate": "1s",
            "dns_cache_circuit_breaker": {"max_pending_requests": UNLIMITED},
        }),
    );
    cache
}

fn cache(name: &str, max_hosts: usize, options: &EnvoyOptions) -> Value {
    json!({
        "name": name,
        "dns_lookup_family": dns_family(options),
        "max_hosts": max_hosts,
        "typed_dns_resolver_config": dns_resolver(options),
    })
}
