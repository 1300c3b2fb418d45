//! `--clusters shared` in a real Envoy: what the cases can't say. That requests are decided alike is
//! shown by the cases, which run in this form too.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::process::{poll, stop};
use portolan_e2e::raw::Head;
use portolan_e2e::upstream::echo;
use portolan_e2e::{
    Ca, DnsServer, Portolan, Scratch, SeenRequest, Setup, Upstream, each_version, raw, tls_client,
};

const REGISTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: plain}
spec:
  hosts: [a.example.com, b.example.com, c.example.com]
  location: MESH_EXTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: secure}
spec:
  hosts: [s.tls.example.com, t.tls.example.com, u.tls.example.com]
  location: MESH_EXTERNAL
  ports: [{number: 443, name: https, protocol: HTTPS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: secure}
spec:
  host: '*.tls.example.com'
  trafficPolicy: {tls: {mode: SIMPLE}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild}
spec:
  hosts: ['*.wild.example.com']
  location: MESH_EXTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DYNAMIC_DNS
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: webserver}
spec:
  hosts: [webserver]
  http:
  - match: [{uri: {prefix: /s}}]
    route: [{destination: {host: s.tls.example.com, port: {number: 443}}}]
    rewrite: {authority: s.tls.example.com}
  - route: [{destination: {host: a.example.com, port: {number: 80}}}]
";

struct World {
    dns: DnsServer,
    /// One for each plain host.
    plain: [Upstream; 3],
    wild: Upstream,
    secure: Upstream,
    portolan: Portolan,
}

const PLAIN: [&str; 3] = ["a.example.com", "b.example.com", "c.example.com"];

impl World {
    fn start(version: &str, policy: &str) -> Result<Self> {
        // Open connections stay with an address that DNS has no longer.
        let upstream = |name: &str| {
            let echo = echo();
            let handler = move |seen: &SeenRequest| echo(seen).header("connection", "close");
            Upstream::builder().name(name).handler(handler).start()
        };
        let plain = [upstream("a")?, upstream("b")?, upstream("c")?];
        let wild = upstream("wild")?;
        let ca = Ca::new()?;
        let scratch = Scratch::new()?;
        ca.write_bundle(scratch.path().join("ca.pem"))?;
        // Not for `u`.
        let identity = ca.issue(&["s.tls.example.com", "t.tls.example.com"])?;
        let secure = Upstream::builder().name("secure").tls_for_any_name(identity).handler(echo()).start()?;
        let dns = DnsServer::start(&[
            ("*.example.com", Ipv4Addr::LOCALHOST),
            ("*.crowd.test", Ipv4Addr::LOCALHOST),
        ])?;
        let mut setup = Setup::with_listeners(version)?
            .yaml(REGISTRY)?
            .option("--clusters", "shared")
            .option("--outbound-policy", policy)
            .option("--dns-resolver", dns.addr().to_string())
            .option("--ca-bundle", scratch.path().join("ca.pem").to_string_lossy())
            .option("--upstream-port", format!("443={}", secure.addr().port()))
            .option("--upstream-port", format!("*.wild.example.com:80={}", wild.addr().port()));
        for (host, upstream) in PLAIN.iter().zip(&plain) {
            setup = setup.option("--upstream-port", format!("{host}:80={}", upstream.addr().port()));
        }
        let portolan = setup.start()?;
        Ok(Self { dns, plain, wild, secure, portolan })
    }

    fn get(&self, host: &str, path: &str) -> Result<raw::Response> {
        raw::get_plain(self.portolan.http()?, host, path)
    }

    fn reaches(&self, host: &str, path: &str, upstream: &str) -> Result<()> {
        let response = self.get(host, path)?;
        ensure!(response.status == 200, "{host}{path}: {} {}", response.status, response.text());
        let seen: serde_json::Value = response.json()?;
        ensure!(seen["upstream"] == upstream, "{host}{path} reached {}", seen["upstream"]);
        Ok(())
    }
}

#[test]
fn only_the_route_says_what_is_dialled() -> Result<()> {
    each_version(|version| {
        let world = World::start(version, "registry-only")?;
        let [a, b, _] = &world.plain;
        // On one cluster, each host at its own port, whatever port the Host header names.
        world.reaches("a.example.com", "/", "a")?;
        world.reaches("b.example.com", "/", "b")?;
        world.reaches(&format!("a.example.com:{}", b.addr().port()), "/", "a")?;
        world.reaches(&format!("B.Example.com.:{}", a.addr().port()), "/", "b")?;
        // Neither is it the Host header's name, which stays as it is.
        world.reaches("webserver", "/", "a")?;
        ensure!(a.requests().last().is_some_and(|seen| seen.host == "webserver"), "{:?}", a.requests());
        ensure!(!world.dns.queries().iter().any(|name| name.contains("webserver")));
        // What a client could write of what the filter writes.
        let forged = [
            ("x-portolan-cluster", "shared|http1|plain|external"),
            ("envoy.upstream.dynamic_host", "b.example.com"),
            ("x-envoy-upstream-dynamic-port", "1"),
        ];
        let response = raw::get(world.portolan.http()?, "a.example.com", "/", &forged)?;
        let seen: serde_json::Value = response.json()?;
        ensure!(seen["upstream"] == "a", "{seen}");
        ensure!(raw::get(world.portolan.http()?, "nobody.example.com", "/", &forged)?.status == 502);

        // SNI and certificate check follow the host.
        for (host, path) in [
            ("s.tls.example.com", "/"),
            ("S.TLS.example.com.:80", "/"),
            ("t.tls.example.com", "/"),
            ("webserver", "/s"),
        ] {
            world.reaches(host, path, "secure")?;
        }
        let refused = world.get("u.tls.example.com", "/")?;
        ensure!(refused.status == 503, "{} {}", refused.status, refused.text());
        let names: Vec<_> = world.secure.handshakes().into_iter().flatten().collect();
        ensure!(names.iter().all(|name| name.ends_with(".tls.example.com")), "{names:?}");
        ensure!(names.last().is_some_and(|name| name == "u.tls.example.com"), "{names:?}");

        // TLS of the client's own goes to the host of its server name.
        let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let answer = tls_client::request(world.portolan.tls()?, "t.tls.example.com", request)?;
        ensure!(answer.is_some_and(|answer| answer.status == 200));
        let line = world.portolan.access_log_line(|line| line["server_name"] == "t.tls.example.com")?;
        ensure!(line["upstream_cluster"] == "shared|http1|plain|external", "{line}");
        let answer = tls_client::request(world.portolan.tls()?, "nobody.example.com", request);
        ensure!(!matches!(answer, Ok(Some(_))), "{answer:?}");
        Ok(())
    })
}

/// Connections are for a host, whatever authorities its requests are given.
#[test]
fn rewritten_authorities_share_connections() -> Result<()> {
    each_version(|version| {
        let upstream = Upstream::builder().name("a").handler(echo()).start()?;
        let dns = DnsServer::start(&[("*.example.com", Ipv4Addr::LOCALHOST)])?;
        let rules = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: names}
spec:
  hosts: [webserver]
  http:
  - match: [{uri: {prefix: /one}}]
    rewrite: {authority: one.example.net}
    route: [{destination: {host: a.example.com, port: {number: 80}}}]
  - rewrite: {authority: other.example.net}
    route: [{destination: {host: a.example.com, port: {number: 80}}}]
";
        let (registry, _) = REGISTRY.split_once("---").context("no first document")?;
        let portolan = Setup::with_listeners(version)?
            .yaml(&format!("{registry}---{rules}"))?
            .option("--clusters", "shared")
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={}", upstream.addr().port()))
            .concurrency(1)
            .start()?;
        for (path, authority) in [("/one", "one.example.net"), ("/two", "other.example.net")].repeat(3) {
            let response = raw::get_plain(portolan.http()?, "webserver", path)?;
            ensure!(response.status == 200, "{path}: {} {}", response.status, response.text());
            assert_eq!(response.json::<serde_json::Value>()?["host"], authority);
        }
        assert_eq!(upstream.connections(), 1);
        Ok(())
    })
}

/// So many services that the plugin config has them compressed.
#[test]
fn many_services_are_decided_as_few_are() -> Result<()> {
    const MANY: usize = 9000;
    let name = |number: usize| format!("one-of-many-plain-services-with-a-name-of-some-length-{number}");
    let host = |number: usize| format!("{}.example.com", name(number));
    each_version(|version| {
        let upstream = Upstream::builder().name("a").handler(echo()).start()?;
        let dns = DnsServer::start(&[("*.example.com", Ipv4Addr::LOCALHOST)])?;
        let (service, _) = REGISTRY.split_once("---").context("no first document")?;
        let service = |number: usize| {
            let hosts = format!("[{}]", host(number));
            let service = service.replace("[a.example.com, b.example.com, c.example.com]", &hosts);
            service.replace("name: plain", &format!("name: {}", name(number)))
        };
        let yaml: Vec<String> = (0..MANY).map(service).collect();
        let portolan = Setup::with_listeners(version)?
            .yaml(&yaml.join("---"))?
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={}", upstream.addr().port()))
            .start()?;
        let file = std::fs::read_to_string(portolan.output().join("envoy.d/ecds/portolan.json"))?;
        ensure!(file.contains("gzip:") && !file.contains(&name(1)), "{file:.1000}");
        for number in [0, 1, MANY / 2, MANY - 1] {
            for host in [host(number), format!("{}.:80", host(number).to_uppercase())] {
                let response = raw::get_plain(portolan.http()?, &host, "/")?;
                ensure!(response.status == 200, "{host}: {} {}", response.status, response.text());
                let line = portolan.access_log_line(|line| line["authority"] == host.as_str())?;
                assert_eq!(
                    line["decision"],
                    format!("default ServiceEntry default/{} default", name(number))
                );
            }
        }
        for host in [host(MANY), "example.com".to_owned(), "gzip".to_owned()] {
            assert_eq!(raw::get_plain(portolan.http()?, &host, "/")?.status, 502, "{host}");
        }
        Ok(())
    })
}

#[test]
fn dns_is_followed() -> Result<()> {
    each_version(|version| {
        let world = World::start(version, "registry-only")?;
        ensure!(world.dns.queries().is_empty(), "nothing is resolved that nobody calls");
        let start = Instant::now();
        world.reaches("a.example.com", "/", "a")?;
        println!("the first request took {:?}", start.elapsed());
        // Another address, at which nothing listens; and back.
        let becomes = |status: u16| {
            let arrived = poll(Duration::from_secs(20), || {
                (world.get("a.example.com", "/").ok()?.status == status).then_some(())
            });
            arrived.with_context(|| format!("no answer {status}"))
        };
        world.dns.set("a.example.com", Ipv4Addr::new(127, 99, 0, 1));
        becomes(503)?;
        world.dns.set("a.example.com", Ipv4Addr::LOCALHOST);
        becomes(200)?;
        // A name without an address, and one that isn't there, are answered at once; and no longer when
        // that changes.
        world.dns.set_all("b.example.com", &[]);
        let response = world.get("b.example.com", "/")?;
        ensure!(response.status == 503, "{}", response.status);
        let line = world.portolan.access_log_line(|line| line["authority"] == "b.example.com")?;
        ensure!(line["reason"].as_str().unwrap_or_default().contains("dns_resolution_failure"), "{line}");
        world.dns.set("b.example.com", Ipv4Addr::LOCALHOST);
        let arrived = poll(Duration::from_secs(20), || world.reaches("b.example.com", "/", "b").ok());
        arrived.context("b.example.com stays lost")?;
        world.dns.remove("*.example.com");
        ensure!(world.get("c.example.com", "/")?.status == 503);
        world.dns.set("*.example.com", Ipv4Addr::LOCALHOST);
        let arrived = poll(Duration::from_secs(20), || world.reaches("c.example.com", "/", "c").ok());
        arrived.context("c.example.com stays lost")?;
        // Below a wildcard.
        world.reaches("x.wild.example.com", "/", "wild")
    })
}

/// More than a cache for clients' names takes.
const CROWD: usize = 1100;

#[test]
fn clients_cannot_crowd_out_registered_hosts() -> Result<()> {
    each_version(|version| {
        let world = World::start(version, "allow-any")?;
        world.reaches("a.example.com", "/", "a")?;
        let mut refused = [0; 2];
        for number in 0..CROWD {
            let unknown = world.get(&format!("n{number}.crowd.test"), "/")?;
            refused[0] += usize::from(unknown.status == 503);
            let below = world.get(&format!("n{number}.wild.example.com"), "/")?;
            refused[1] += usize::from(below.status == 503);
        }
        ensure!(refused.iter().all(|count| *count > 0), "their caches aren't full: {refused:?}");
        ensure!(world.wild.connections() >= 1000, "{}", world.wild.connections());
        // One that was called before, and some that weren't.
        world.reaches("a.example.com", "/", "a")?;
        world.reaches("b.example.com", "/", "b")?;
        world.reaches("s.tls.example.com", "/", "secure")?;
        world.reaches("t.tls.example.com", "/", "secure")
    })
}

#[test]
fn clients_cannot_starve_registered_hosts() -> Result<()> {
    each_version(|version| {
        let world = World::start(version, "allow-any")?;
        // Names that DNS never answers for.
        world.dns.silent("*.crowd.test", true);
        let mut waiting = Vec::new();
        for number in 0..400 {
            let mut stream = TcpStream::connect(world.portolan.http()?)?;
            stream
                .write_all(&Head::new("GET", "/").header("Host", format!("n{number}.crowd.test")).finish())?;
            waiting.push(stream);
        }
        let pending = |count: &usize| *count >= waiting.len();
        let asked = || world.dns.queries().iter().filter(|name| name.ends_with(".crowd.test")).count();
        poll(Duration::from_secs(5), || Some(asked()).filter(pending)).context("they aren't asked for")?;
        for (host, upstream) in [("a.example.com", "a"), ("s.tls.example.com", "secure")] {
            let begin = Instant::now();
            world.reaches(host, "/", upstream)?;
            ensure!(begin.elapsed() < Duration::from_secs(2), "{host} took {:?}", begin.elapsed());
        }
        Ok(())
    })
}

/// A server whose certificate has one name, and which goes on with any session that it has begun,
/// whatever name the client wants then: OpenSSL without a look at the name.
const RESUMING_SERVER: &str = r#"
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
context.maximum_version = getattr(ssl.TLSVersion, sys.argv[3])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    try:
        with context.wrap_socket(connection, server_side=True) as stream:
            stream.recv(65536)
            body = b"resumed" if stream.session_reused else b"new"
            head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            stream.sendall(head + body)
            stream.unwrap()
    except OSError:
        pass
"#;

struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        let _ = stop(&mut self.0, Duration::ZERO);
    }
}

#[test]
fn a_session_of_one_host_opens_no_other() -> Result<()> {
    let ca = Ca::new()?;
    let scratch = Scratch::new()?;
    ca.write_bundle(scratch.path().join("ca.pem"))?;
    let (certificate, key) = ca.issue(&["s.tls.example.com"])?.write(scratch.path(), "server")?;
    for tls in ["TLSv1_2", "TLSv1_3"] {
        let server = Command::new("python3")
            .args(["-c", RESUMING_SERVER])
            .args([certificate.as_os_str(), key.as_os_str(), tls.as_ref()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut server = Python(server);
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().context("no output")?).read_line(&mut line)?;
        let port = line.trim();
        each_version(|version| {
            let dns = DnsServer::start(&[("*.example.com", Ipv4Addr::LOCALHOST)])?;
            let portolan = Setup::with_listeners(version)?
                .yaml(REGISTRY)?
                .option("--clusters", "shared")
                .option("--dns-resolver", dns.addr().to_string())
                .option("--ca-bundle", scratch.path().join("ca.pem").to_string_lossy())
                .option("--upstream-port", format!("443={port}"))
                .start()?;
            let get = |host: &str| raw::get_plain(portolan.http()?, host, "/");
            // A session is there to be resumed, and the certificate isn't one for `t`: it is checked again.
            for _ in 0..3 {
                let response = get("s.tls.example.com")?;
                ensure!(response.status == 200, "{tls}: {} {}", response.status, response.text());
                let response = get("t.tls.example.com")?;
                ensure!(response.status == 503, "{tls}: {} {}", response.status, response.text());
            }
            Ok(())
        })?;
    }
    Ok(())
}
