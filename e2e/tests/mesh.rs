//! The `WasmPlugin` in an Envoy that is set up as a sidecar: virtual hosts per service, no
//! cluster header, and a plugin config that came as JSON text out of a protobuf Struct.

use anyhow::{Context, Result, ensure};
use portolan_e2e::config_gen::config_gen;
use portolan_e2e::upstream::echo;
use portolan_e2e::{Envoy, EnvoyOptions, Scratch, Upstream, places, raw};
use serde_json::{Value, json};

/// The plugin config of the webserver example, as the agent hands it to Envoy: keys in another
/// order and numbers as doubles.
fn plugin_config() -> Result<String> {
    let finished = config_gen(["generate", "-f", "examples/webserver/istio", "--emit", "wasmplugin"])?;
    ensure!(finished.success(), "{finished}");
    let plugin: Value = serde_saphyr::from_str(&finished.stdout)?;
    let config = plugin.pointer("/spec/pluginConfig").context("no pluginConfig")?;
    Ok(shuffled(config).to_string())
}

/// As protobuf's JSON printer leaves it.
fn shuffled(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort_by_key(|key| std::cmp::Reverse(*key));
            keys.into_iter()
                .map(|key| (key.clone(), shuffled(&object[key])))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.iter().map(shuffled).collect(),
        other => other.clone(),
    }
}

/// A sidecar's outbound listener with a service `reviews` and the entry `raw.githubusercontent.com`.
fn sidecar(version: &str, upstream: &Upstream, scratch: &Scratch) -> Result<Envoy> {
    let port = upstream.addr().port();
    let cluster = |name: &str| {
        json!({
            "name": name,
            "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address":
                {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}]}]},
        })
    };
    let virtual_host = |host: &str| {
        json!({
            "name": format!("{host}:80"),
            "domains": [host],
            "routes": [{
                "name": "default",
                "match": {"prefix": "/"},
                "route": {"cluster": format!("outbound|80||{host}"), "timeout": "0s"},
                "response_headers_to_add": [{"header": {"key": "x-virtual-host", "value": host}}],
            }],
        })
    };
    let hosts = ["raw.githubusercontent.com", "reviews"];
    let wasm = json!({
        "name": "extensions.istio.io/wasmplugin/default.portolan",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "default.portolan",
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": places::module()?}}},
                "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": plugin_config()?},
            },
        },
    });
    let bootstrap = json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [{
                "name": "outbound_80",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "outbound_80",
                        "normalize_path": true,
                        "http_filters": [wasm, {
                            "name": "envoy.filters.http.router",
                            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                        }],
                        "route_config": {
                            "name": "80",
                            "ignore_port_in_host_matching": true,
                            "virtual_hosts": hosts.map(virtual_host).into_iter().chain([json!({
                                "name": "block_all",
                                "domains": ["*"],
                                "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 502}}],
                            })]).collect::<Vec<_>>(),
                        },
                    },
                }]}],
            }],
            "clusters": hosts.map(|host| cluster(&format!("outbound|80||{host}"))),
        },
    });
    let config = scratch.write("envoy.json", bootstrap.to_string())?;
    Envoy::start(&EnvoyOptions::new(places::envoy_binary(version)?, config))
}

#[test]
fn rules_apply_and_everything_else_is_left_alone() -> Result<()> {
    for version in places::envoy_versions()? {
        println!("Envoy {version}");
        let upstream = Upstream::builder().name("any").handler(echo()).start()?;
        let scratch = Scratch::new()?;
        let envoy = sidecar(&version, &upstream, &scratch)?;
        let address = envoy.listener_addr("outbound_80")?;

        // Rewritten once, and routed anew by the sidecar's own routes.
        let response = raw::get_plain(address, "webserver", "/anything?x=1")?;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("x-virtual-host").as_deref(), Some("raw.githubusercontent.com"));
        let seen = upstream.requests();
        assert_eq!(seen[0].host, "raw.githubusercontent.com");
        assert_eq!(seen[0].path, "/mcasperson/NodejsProxy/master/externalservice1.txt?x=1");
        assert!(seen[0].headers.iter().all(|(name, _)| !name.starts_with("x-portolan")));

        // A service that no rule of ours names, with a header of the sidecar's other filters.
        let headers = [("x-envoy-peer-metadata", "kept"), ("x-portolan-cluster", "forged")];
        let response = raw::get(address, "reviews", "/a", &headers)?;
        assert_eq!(response.header("x-virtual-host").as_deref(), Some("reviews"));
        let seen = upstream.requests();
        assert_eq!((seen[1].host.as_str(), seen[1].path.as_str()), ("reviews", "/a"));
        assert_eq!(seen[1].header("x-envoy-peer-metadata").as_deref(), Some("kept"));
        assert_eq!(seen[1].header("x-portolan-cluster"), None);

        // Unknown hosts are Istio's to refuse.
        let response = raw::get_plain(address, "example.com", "/")?;
        assert_eq!((response.status, response.text().as_str()), (502, ""));
        assert_eq!(envoy.stat("wasmcustom.portolan.rewritten")?, 1);
    }
    Ok(())
}
