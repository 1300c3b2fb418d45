//! Listeners that clients connect to themselves: which port they mean is the listener's, wherever it
//! listens (GAP-01).

use std::net::Ipv4Addr;

use anyhow::Result;
use portolan_e2e::upstream::echo;
use portolan_e2e::{DnsServer, Setup, Upstream, places, raw};

const RULES: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 8080, name: http-other, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: b}
spec:
  hosts: [b.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.example.com]
  http:
  - match: [{port: 8080, uri: {prefix: /port}}]
    rewrite: {uri: /is-8080}
    route: [{destination: {host: a.example.com}}]
  - match: [{port: 80, uri: {prefix: /port}}]
    rewrite: {uri: /is-80}
    route: [{destination: {host: a.example.com}}]
  - match: [{uri: {prefix: /redirect}}]
    redirect: {uri: /there, derivePort: FROM_REQUEST_PORT}
  - route: [{destination: {host: a.example.com}}]
";

#[test]
fn the_port_is_the_listeners_wherever_it_listens() -> Result<()> {
    for version in places::envoy_versions()? {
        println!("Envoy {version}");
        let upstreams = [80, 8080].map(|port| (port, Upstream::builder().handler(echo()).start()));
        let dns = DnsServer::start(&[
            ("a.example.com", Ipv4Addr::LOCALHOST),
            ("b.example.com", Ipv4Addr::LOCALHOST),
        ])?;
        let mut setup = Setup::new(&version)?
            .yaml(RULES)?
            .option("--dns-resolver", dns.addr().to_string())
            .option("--listen", "80=127.0.0.1:0")
            .option("--listen", "8080=127.0.0.1:0")
            // Of one port, on the other family.
            .option("--listen", "8080=[::1]:0");
        let mut running = Vec::new();
        for (port, upstream) in upstreams {
            let upstream = upstream?;
            setup = setup.option("--upstream-port", format!("{port}={}", upstream.addr().port()));
            running.push((port, upstream));
        }
        let portolan = setup.start()?;
        for (port, upstream) in &running {
            let address = portolan.listener(*port)?;
            assert_ne!(address.port(), *port, "the kernel has chosen it");
            for host in ["a.example.com", "a.example.com:80", "a.example.com:8080", "a.example.com:1"] {
                upstream.clear();
                assert_eq!(raw::get_plain(address, host, "/port")?.status, 200);
                // VS-MATCH-30, CL-05: rules and destination go by the port that clients mean.
                assert_eq!(upstream.requests()[0].path, format!("/is-{port}"), "{host}");
            }
            let redirect = raw::get_plain(address, "a.example.com", "/redirect")?;
            assert_eq!(redirect.status, 301);
            let location = redirect.header("location").unwrap_or_default();
            // FROM_REQUEST_PORT
            let port = if *port == 80 { String::new() } else { format!(":{port}") };
            assert_eq!(location, format!("http://a.example.com{port}/there"));
        }
        // LI-08
        assert_eq!(raw::get_plain(portolan.listener(80)?, "b.example.com", "/")?.status, 200);
        let unknown = raw::get_plain(portolan.listener(8080)?, "b.example.com", "/")?;
        assert_eq!((unknown.status, portolan.counter("refused.port_not_in_registry")?), (502, 1));
        let dump = portolan.envoy.admin_get("/config_dump?resource=static_listeners")?.text();
        assert!(dump.contains("additional_addresses"), "{dump}");
    }
    Ok(())
}
