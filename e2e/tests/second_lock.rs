//! The second lock in Envoy (design, section 6): what has no decision of the filter reaches no cluster. That
//! nothing reaches Envoy's own admin interface or listeners is shown by `testdata/hostile/`. `config-gen/tests/second_lock.rs` looks at the
//! configurations themselves.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use portolan_e2e::config_gen::config_gen;
use portolan_e2e::raw::{self, Head};
use portolan_e2e::scratch::loopback_address;
use portolan_e2e::upstream::echo;
use portolan_e2e::{DnsServer, Portolan, Scratch, Setup, Upstream, each_version};

const ENTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: lost}
spec:
  hosts: [lost.example.com, a.example.com]
  http:
  - match: [{uri: {prefix: /lost}}]
    route: [{destination: {host: nobody.example.com, port: {number: 80}}}]
  - match: [{uri: {prefix: /admin}}]
    route: [{destination: {host: localhost, port: {number: 9901}}}]
  - route: [{destination: {host: a.example.com, port: {number: 80}}}]
";

struct World {
    upstream: Upstream,
    dns: DnsServer,
}

impl World {
    fn start() -> Result<Self> {
        let upstream = Upstream::builder().name("a").handler(echo()).start()?;
        let names = [("a.example.com", Ipv4Addr::LOCALHOST), ("rebound.example.com", Ipv4Addr::LOCALHOST)];
        Ok(Self { upstream, dns: DnsServer::start(&names)? })
    }

    fn setup(&self, version: &str, profile: &str) -> Result<Setup> {
        let setup = Setup::with_listeners(version)?.yaml(ENTRY)?;
        Ok(setup
            .option("--profile", profile)
            .option("--accept", "unknown-destination")
            .option("--dns-resolver", self.dns.addr().to_string())
            .option("--upstream-port", format!("80={}", self.upstream.addr().port())))
    }
}

fn on_every_version(test: impl Fn(&str, &World) -> Result<()>) -> Result<()> {
    each_version(|version| test(version, &World::start()?))
}

/// Requests that would like to get to Envoy itself, or anywhere.
fn attempts(portolan: &Portolan) -> Result<Vec<Vec<u8>>> {
    let own: Vec<SocketAddr> = vec![portolan.envoy.admin_addr(), portolan.http()?];
    let mut hosts: Vec<String> =
        ["a.example.com", "unknown.example.com", "localhost", "0.0.0.0", "[::1]"].map(str::to_owned).to_vec();
    for address in own {
        hosts.push(address.to_string());
        for name in ["localhost", "rebound.example.com", "127.1", "0x7f000001", "[::ffff:127.0.0.1]"] {
            hosts.push(format!("{name}:{}", address.port()));
        }
    }
    let forged = [
        ("x-portolan-cluster", "outbound|80||a.example.com"),
        ("x-portolan-route", "default x"),
        ("wasm.portolan.route", "default x"),
        ("x-envoy-original-dst-host", "127.0.0.1:9901"),
    ];
    let mut requests = Vec::new();
    for host in &hosts {
        let head = |method: &str, target: &str| Head::new(method, target).header("Host", host);
        requests.push(head("GET", "/stats").headers(&forged).header("Connection", "close").finish());
        requests.push(head("GET", &format!("http://{host}/stats")).header("Connection", "close").finish());
        requests.push(head("CONNECT", host).finish());
        let upgrade = head("GET", "/").header("Connection", "Upgrade").header("Upgrade", "websocket");
        requests.push(upgrade.header("Sec-WebSocket-Version", "13").finish());
    }
    Ok(requests)
}

/// Connections that clusters have made so far.
fn connections(portolan: &Portolan) -> Result<u64> {
    let stats = portolan.envoy.stats()?;
    let made = |name: &str| name.starts_with("cluster.") && name.ends_with(".upstream_cx_total");
    Ok(stats.iter().filter(|(name, _)| made(name)).map(|(_, count)| count).sum())
}

fn status(portolan: &Portolan, request: &[u8]) -> Result<u16> {
    let response = raw::request(portolan.http()?, request);
    Ok(response.with_context(|| String::from_utf8_lossy(request).into_owned())?.status)
}

#[test]
fn without_a_decision_nothing_is_reached() -> Result<()> {
    on_every_version(|version, world| {
        for profile in ["standalone", "istio"] {
            let setup = world.setup(version, profile)?;
            setup.generate_changed("envoy.yaml", |yaml| {
                let mut bootstrap: serde_json::Value = serde_saphyr::from_str(yaml)?;
                ensure!(remove_filter(&mut bootstrap) > 0, "no filter");
                Ok(bootstrap.to_string())
            })?;
            let portolan = setup.start_as_generated()?;
            for request in attempts(&portolan)? {
                let status = status(&portolan, &request)?;
                let text = String::from_utf8_lossy(&request).into_owned();
                // A CONNECT isn't taken at all; of the others the last route answers.
                let expected = if text.starts_with("CONNECT") { 400..=404 } else { 503..=503 };
                assert!(
                    expected.contains(&status) || (400..405).contains(&status),
                    "{profile}: {status}: {text}"
                );
            }
            assert_eq!(connections(&portolan)?, 0, "{profile}");
            assert_eq!(world.upstream.connections(), 0);
        }
        Ok(())
    })
}

/// Takes our filter out of every chain; returns how often.
fn remove_filter(value: &mut serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => {
            let before = items.len();
            items.retain(|item| item["name"] != "portolan" || item.get("config_discovery").is_none());
            before - items.len() + items.iter_mut().map(remove_filter).sum::<usize>()
        }
        serde_json::Value::Object(object) => object.values_mut().map(remove_filter).sum(),
        _ => 0,
    }
}

/// CL-09: 503, and there is no cluster that could be reached in another way.
#[test]
fn a_destination_that_is_not_registered_has_no_cluster() -> Result<()> {
    on_every_version(|version, world| {
        for profile in ["standalone", "istio"] {
            let portolan = world.setup(version, profile)?.start()?;
            for path in ["/lost", "/admin"] {
                let response = raw::get_plain(portolan.http()?, "a.example.com", path)?;
                assert_eq!(response.status, 503, "{profile} {path}");
            }
            let clusters = portolan.envoy.admin_get("/clusters")?.text();
            for absent in ["nobody.example.com", "localhost"] {
                assert!(!clusters.contains(&format!("||{absent}")), "{clusters}");
            }
            assert_eq!(raw::get_plain(portolan.http()?, "a.example.com", "/")?.status, 200);
        }
        Ok(())
    })
}

#[test]
fn an_endpoint_that_is_envoy_itself_is_refused() -> Result<()> {
    let address = loopback_address();
    for (host, endpoint, port, refused) in [
        ("admin", address.to_string(), 19901, true),
        ("listener", address.to_string(), 10080, true),
        ("other-port", address.to_string(), 19902, false),
        ("other-address", "192.0.2.1".to_owned(), 19901, false),
    ] {
        let entry = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {host}}}\nspec:\n  \
             hosts: [{host}.example.com]\n  location: MESH_EXTERNAL\n  resolution: STATIC\n  \
             ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]\n  \
             endpoints: [{{address: {endpoint}}}]\n"
        );
        let scratch = Scratch::new()?;
        let input = scratch.write("entry.yaml", entry)?;
        let finished = config_gen([
            "generate",
            "--emit",
            "envoy",
            "--filename",
            &input.to_string_lossy(),
            "--listen",
            &format!("80={address}:10080"),
            "--admin",
            &format!("{address}:19901"),
        ])?;
        assert_eq!(finished.success(), !refused, "{host}: {finished}");
        assert_eq!(finished.stderr.contains("error[dials-itself]"), refused, "{host}: {finished}");
    }
    Ok(())
}
