//! Whether the filter decides, asked on the listener. That it is not ready where the filter doesn't, is in
//! `fail_closed.rs`.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use portolan_e2e::config_gen::config_gen;
use portolan_e2e::{Setup, each_version, places, raw};

fn assert_ready(address: SocketAddr) -> Result<()> {
    let ready = config_gen(["ready", "--within", "10", &address.to_string()])?;
    assert!(ready.success(), "{ready}");
    Ok(())
}

/// Under every policy and on every listener for HTTP.
#[test]
fn the_filter_answers_by_itself() -> Result<()> {
    each_version(|version| {
        for policy in ["registry-only", "allow-any", "report"] {
            let envoy = Setup::with_listeners(version)?
                .file("examples/webserver/istio")
                .option("--outbound-policy", policy)
                .option("--explicit-proxy", "127.0.0.1:0")
                .start()?;
            for address in [envoy.http()?, envoy.tls()?, envoy.envoy.listener_addr("explicit_proxy")?] {
                assert_ready(address).with_context(|| policy.to_owned())?;
            }
            let line = envoy.access_log_line(|line| line["authority"] == "ready.portolan.invalid")?;
            assert_eq!(line["reason"], "direct_response{readiness_probe}");
        }
        Ok(())
    })
}

#[test]
fn a_gateway_is_ready_too() -> Result<()> {
    let version = places::envoy_versions()?.pop().unwrap_or_default();
    let setup = Setup::new(&version)?.yaml(GATEWAY)?.option("--gateway", "default/web");
    let envoy = setup.option("--listen", "8080=127.0.0.1:0").start()?;
    let http = envoy.listener(8080)?;
    assert_ready(http)?;
    assert_eq!(raw::get_plain(http, "unknown.example.com", "/")?.status, 404);
    Ok(())
}

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}]
";

#[test]
fn nobody_there_is_not_ready() -> Result<()> {
    let ready = config_gen(["ready", "127.0.0.1:1"])?;
    assert_eq!(ready.code(), Some(1), "{ready}");
    assert!(ready.stderr.starts_with("error: 127.0.0.1:1 isn't ready: "), "{ready}");
    Ok(())
}
