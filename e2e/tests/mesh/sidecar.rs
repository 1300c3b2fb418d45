//! An Envoy in the shape that istiod gives a sidecar: shared listeners by port, virtual hosts by service
//! with their short names and addresses, each route with a cluster of its own, a catch-all, and the filter
//! discovered by its name. The server's side is a listener as well, which the plugin's `match` leaves out.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use portolan_e2e::scratch::loopback_address;
use portolan_e2e::{Envoy, EnvoyOptions, Scratch, Upstream, places};
use serde_json::{Value, json};

/// A service of the mesh: its host, its further domains, and its ports.
pub(crate) struct Service {
    pub(crate) host: &'static str,
    pub(crate) domains: &'static [&'static str],
    pub(crate) ports: &'static [u16],
}

/// What becomes of hosts that no service has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CatchAll {
    BlockAll,
    AllowAny,
}

/// A sidecar, and the application behind another one.
pub(crate) struct Sidecar {
    pub(crate) envoy: Envoy,
    directory: PathBuf,
    _scratch: Scratch,
}

const PORTS: [u16; 2] = [80, 9080];

impl Sidecar {
    /// With `plugin_config` as text, for what the control plane made of the resource.
    pub(crate) fn start(
        version: &str,
        services: &[Service],
        catch_all: CatchAll,
        plugin_config: &str,
        application: &Upstream,
    ) -> Result<Self> {
        let scratch = Scratch::new()?;
        // The listeners' ports are those that clients mean, as behind a redirection.
        let address = loopback_address();
        let inbound = SocketAddr::from((address, 15006));
        let cluster = |name: String, address: SocketAddr| {
            json!({
                "name": name,
                "type": "STATIC",
                "connect_timeout": "10s",
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": socket_address(&address)}}]}]},
            })
        };
        let mut clusters = vec![
            json!({"name": "BlackHoleCluster", "type": "STATIC", "connect_timeout": "10s"}),
            // Where the client dialled, which in this test is the application.
            cluster("PassthroughCluster".to_owned(), application.addr()),
            cluster("inbound|9080||".to_owned(), application.addr()),
        ];
        for service in services {
            for port in service.ports {
                clusters.push(cluster(format!("outbound|{port}||{}", service.host), inbound));
            }
        }
        let mut listeners = vec![json!({
            "name": "virtualInbound",
            "traffic_direction": "INBOUND",
            "address": socket_address(&inbound),
            "filter_chains": [{"filters": [http_connection_manager("inbound_0.0.0.0_9080", &[], &json!({
                "name": "inbound|9080||",
                "validate_clusters": false,
                "virtual_hosts": [{
                    "name": "inbound|http|9080",
                    "domains": ["*"],
                    "routes": [{"name": "default", "match": {"prefix": "/"}, "route": {
                        "cluster": "inbound|9080||", "timeout": "0s", "max_stream_duration": {
                            "max_stream_duration": "0s", "grpc_timeout_header_max": "0s"}}}],
                }],
            }))]}],
        })];
        let filter = json!([{
            "name": FILTER,
            "config_discovery": {
                "config_source": {"resource_api_version": "V3", "path_config_source": {
                    "path": scratch.path().join("ecds/filter.json"),
                    "watched_directory": {"path": scratch.path().join("ecds")},
                }},
                "type_urls": [WASM, "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"],
            },
        }]);
        for port in PORTS {
            listeners.push(json!({
                "name": format!("0.0.0.0_{port}"),
                "traffic_direction": "OUTBOUND",
                "address": socket_address(&(address, port).into()),
                "listener_filters": [{"name": "envoy.filters.listener.http_inspector", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"}}],
                "listener_filters_timeout": "0s",
                "continue_on_listener_filters_timeout": true,
                "filter_chains": [{
                    "filter_chain_match": {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.1", "h2c"]},
                    "filters": [http_connection_manager(
                        &format!("outbound_0.0.0.0_{port}"),
                        filter.as_array().context("a list")?,
                        &routes(port, services, catch_all),
                    )],
                }],
                "default_filter_chain": {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "stat_prefix": "BlackHoleCluster", "cluster": "BlackHoleCluster"}}]},
            }));
        }
        scratch.write("ecds/filter.json", discovered(plugin_config)?)?;
        let bootstrap = json!({
            "node": {"id": "sidecar~10.0.0.1~client.default~default.svc.cluster.local", "cluster": "client.default"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        });
        let config = scratch.write("envoy.json", bootstrap.to_string())?;
        let directory = scratch.path().to_owned();
        let envoy = Envoy::start(&EnvoyOptions::new(places::envoy_binary(version)?, config))?;
        Ok(Self { envoy, directory, _scratch: scratch })
    }

    /// Where requests for `port` arrive.
    pub(crate) fn listener(&self, port: u16) -> Result<SocketAddr> {
        self.envoy.listener_addr(&format!("0.0.0.0_{port}"))
    }

    /// Another plugin config, as istiod would push it.
    pub(crate) fn push(&self, plugin_config: &str) -> Result<()> {
        let new = self.directory.join("ecds/filter.json.new");
        std::fs::write(&new, discovered(plugin_config)?)?;
        Ok(std::fs::rename(&new, self.directory.join("ecds/filter.json"))?)
    }

    /// A counter of the filter's discovery.
    pub(crate) fn discovery(&self, name: &str) -> Result<u64> {
        let stats = self.envoy.stats()?;
        let of_filter = |key: &String| key.contains("extension_config_discovery") && key.ends_with(name);
        Ok(stats.iter().filter(|(key, _)| of_filter(key)).map(|(_, count)| count).sum())
    }
}

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// WP-19
const FILTER: &str = "extensions.istio.io/trafficextension/default.portolan";

/// WP-07, WP-08, WP-19, WP-20
fn discovered(plugin_config: &str) -> Result<String> {
    let response = json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": FILTER,
        "typed_config": {
            "@type": WASM,
            "config": {
                "name": "default.portolan",
                "root_id": "",
                "failure_policy": "FAIL_RELOAD",
                "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": plugin_config},
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": places::module()?}},
                    "environment_variables": {"key_values": {"ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "1"}},
                },
            },
        },
    }]});
    Ok(response.to_string())
}

/// LI-06, LI-07, without the filters that only Istio's build of Envoy has.
fn http_connection_manager(stat_prefix: &str, filters: &[Value], routes: &Value) -> Value {
    let mut http_filters = vec![json!({"name": "envoy.filters.http.grpc_stats", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        "emit_filter_state": true, "stats_for_all_methods": false}})];
    http_filters.extend(filters.iter().cloned());
    for (name, message) in
        [("fault", "fault.v3.HTTPFault"), ("cors", "cors.v3.Cors"), ("router", "router.v3.Router")]
    {
        http_filters.push(json!({"name": format!("envoy.filters.http.{name}"), "typed_config": {
            "@type": format!("type.googleapis.com/envoy.extensions.filters.http.{message}")}}));
    }
    json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": stat_prefix,
        "route_config": routes,
        "http_filters": http_filters,
        "use_remote_address": false,
        "normalize_path": true,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "stream_idle_timeout": "0s",
        "generate_request_id": true,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "request_id_extension": {"typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
            "use_request_id_for_trace_sampling": true}},
    }})
}

/// VH-01, VH-12, OTP-03, OTP-05
fn routes(port: u16, services: &[Service], catch_all: CatchAll) -> Value {
    let on_port = services.iter().filter(|service| service.ports.contains(&port));
    let mut virtual_hosts: Vec<Value> = on_port
        .map(|service| {
            let domains = [service.host].into_iter().chain(service.domains.iter().copied());
            json!({
                "name": format!("{}:{port}", service.host),
                "domains": domains.collect::<Vec<_>>(),
                "include_request_attempt_count": true,
                "routes": [{
                    "name": "default",
                    "match": {"prefix": "/"},
                    "decorator": {"operation": format!("{}:{port}/*", service.host)},
                    "route": {
                        "cluster": format!("outbound|{port}||{}", service.host),
                        "timeout": "0s",
                        "max_grpc_timeout": "0s",
                        "retry_policy": {
                            "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                            "num_retries": 2,
                            "retriable_status_codes": [503],
                            "retry_host_predicate": [{
                                "name": "envoy.retry_host_predicates.previous_hosts",
                                "typed_config": {"@type":
                                    "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
                            }],
                            "host_selection_retry_max_attempts": "5",
                        },
                    },
                    // Tells the test which virtual host was taken.
                    "response_headers_to_add": [{"header": {"key": "x-cluster", "value": "%UPSTREAM_CLUSTER_RAW%"}}],
                }],
            })
        })
        .collect();
    virtual_hosts.push(match catch_all {
        CatchAll::BlockAll => json!({
            "name": "block_all",
            "domains": ["*"],
            "include_request_attempt_count": true,
            "routes": [{"name": "block_all", "match": {"prefix": "/"}, "direct_response": {"status": 502}}],
        }),
        CatchAll::AllowAny => json!({
            "name": "allow_any",
            "domains": ["*"],
            "include_request_attempt_count": true,
            "routes": [{"name": "allow_any", "match": {"prefix": "/"}, "route": {
                "cluster": "PassthroughCluster", "timeout": "0s", "max_grpc_timeout": "0s"}}],
        }),
    });
    json!({
        "name": port.to_string(),
        "virtual_hosts": virtual_hosts,
        "validate_clusters": false,
        "max_direct_response_body_size_bytes": 1_048_576,
        "ignore_port_in_host_matching": true,
    })
}

fn socket_address(address: &SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
