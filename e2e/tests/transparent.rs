//! The transparent way in, in networks of the test's own: a client whose connections the generated
//! rules redirect, Envoy beside it, and servers on the other end of a cable.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::network::{self, Namespace, ip, nft};
use portolan_e2e::upstream::echo;
use portolan_e2e::{Ca, Curl, DnsServer, Portolan, Scratch, Setup, Upstream, places, process, raw};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// What names resolve to.
const TWO: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// An address of the service of resolution NONE.
const THREE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 3);
/// An address of nothing that is registered.
const FOUR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 4);
/// Of a range that a service has.
const RANGE: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 5);
/// Elsewhere in the range.
const SUBNET: Ipv4Addr = Ipv4Addr::new(10, 98, 7, 1);
const SIX: &str = "fd99::2";

const PORT: u16 = 15001;

const REGISTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 8080, name: http-other, protocol: HTTP, targetPort: 80}
  - {number: 443, name: https, protocol: HTTPS}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: webserver}
spec:
  hosts: [webserver]
  http:
  - match: [{port: 8080}]
    directResponse: {status: 418}
  - rewrite: {uri: /rewritten, authority: a.example.com}
    route: [{destination: {host: a.example.com}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: none}
spec:
  hosts: [none.example.com]
  addresses: [10.99.0.3]
  location: MESH_EXTERNAL
  resolution: NONE
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 8081, name: http-other, protocol: HTTP, targetPort: 80}
  - {number: 443, name: https, protocol: HTTPS}
  - {number: 5432, name: tcp, protocol: TCP}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: tcp}
spec:
  hosts: [tcp.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 6379, name: tcp, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: passthrough}
spec:
  hosts: [passthrough.example.com]
  addresses: [10.99.0.3]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: passthrough}
spec:
  host: passthrough.example.com
  trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: range}
spec:
  hosts: [range.example.com]
  addresses: [10.98.0.0/16]
  location: MESH_EXTERNAL
  resolution: NONE
  ports: [{number: 7000, name: tcp, protocol: TCP}]
";

/// The two networks, and the servers.
struct World {
    client: Namespace,
    servers: Vec<Upstream>,
    _greeters: Vec<Greeter>,
    scratch: Scratch,
}

impl World {
    fn new() -> Result<Self> {
        let (client, server) = (Namespace::new()?, Namespace::new()?);
        network::connect(
            (&client, &["10.99.0.1/24", "fd99::1/64"]),
            (
                &server,
                &[
                    "10.99.0.2/24",
                    "10.99.0.3/24",
                    "10.99.0.4/24",
                    "10.98.0.5/32",
                    "10.98.7.1/32",
                    "fd99::2/64",
                ],
            ),
        )?;
        // What isn't on the cable is there all the same.
        client.enter(|| {
            ip(&["route", "add", "default", "via", &TWO.to_string()])?;
            ip(&["-6", "route", "add", "default", "via", SIX])
        })?;
        let ca = Ca::new()?;
        let scratch = Scratch::new()?;
        ca.write_bundle(scratch.path().join("ca.pem"))?;
        let (servers, greeters) = server.enter(|| {
            let mut servers = Vec::new();
            for (name, address) in [("two", TWO), ("three", THREE), ("four", FOUR)] {
                let identity = ca.issue(&["a.example.com", "none.example.com", "other.example.org"])?;
                let http =
                    Upstream::builder().name(name).address(address).port(80).handler(echo()).start()?;
                let tls = Upstream::builder().name(name).address(address).port(443);
                servers.extend([http, tls.tls_for_any_name(identity).handler(echo()).start()?]);
            }
            let greeters = [
                (IpAddr::V4(TWO), 6379),
                (IpAddr::V4(THREE), 5432),
                (IpAddr::V4(FOUR), 5432),
                (IpAddr::V4(FOUR), 9999),
                (IpAddr::V4(RANGE), 7000),
                (IpAddr::V4(SUBNET), 7000),
                (SIX.parse()?, 9999),
            ];
            let greeters = greeters.into_iter().map(|(ip, port)| Greeter::start(SocketAddr::new(ip, port)));
            Ok((servers, greeters.collect::<Result<Vec<_>>>()?))
        })?;
        Ok(Self { client, servers, _greeters: greeters, scratch })
    }

    /// Envoy in the client's network, whose rules are loaded. To be called there.
    fn start(&self, version: &str, change: impl Fn(Setup) -> Setup) -> Result<Running> {
        let dns = DnsServer::start(&[
            ("a.example.com", TWO),
            ("none.example.com", TWO),
            ("passthrough.example.com", TWO),
            ("tcp.example.com", TWO),
            ("other.example.org", TWO),
        ])?;
        let setup = Setup::new(version)?
            .yaml(REGISTRY)?
            .option("--allow-upstream", "10.98.0.0/15")
            .option("--transparent", format!("127.0.0.1:{PORT}"))
            .option("--dns-resolver", dns.addr().to_string());
        let portolan = change(setup).start()?;
        let rules = portolan.output().join("portolan.nft");
        // Twice: the second time it takes its own place.
        for _ in 0..2 {
            let loaded = nft(&["-f", &rules.to_string_lossy()])?;
            ensure!(loaded.success(), "{loaded}");
        }
        Ok(Running { portolan, _dns: dns })
    }

    fn requests(&self, server: &str) -> usize {
        let seen = self.servers.iter().flat_map(Upstream::requests);
        seen.filter(|request| &*request.upstream == server).count()
    }

    /// A `GET`, as whoever resolves the name to `address` sends it.
    fn get(&self, url: &str, address: Ipv4Addr) -> Result<String> {
        let (scheme, rest) = url.split_once("://").context("no URL")?;
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) =
            authority.split_once(':').unwrap_or((authority, if scheme == "https" { "443" } else { "80" }));
        let answer = Curl::new(url)
            .cacert(self.scratch.path().join("ca.pem"))
            .arg("--resolve")
            .arg(format!("{host}:{port}:{address}"))
            .run()?;
        if answer.exit_code != 0 {
            return Ok(format!("curl {}", answer.exit_code));
        }
        let body = answer.text();
        let upstream =
            ["two", "three", "four"].into_iter().find(|name| body.contains(&format!("\"{name}\"")));
        Ok(match upstream {
            Some(name) => format!("{} {name}", answer.status),
            None => answer.status.to_string(),
        })
    }
}

struct Running {
    portolan: Portolan,
    _dns: DnsServer,
}

/// A TCP server that speaks first.
struct Greeter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Greeter {
    fn start(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((mut stream, _)) => drop(stream.write_all(format!("{address}\n").as_bytes())),
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// What a server says that speaks first; nothing where the connection is closed.
fn greeting(address: impl Into<SocketAddr>) -> Result<String> {
    let address = address.into();
    let mut stream = match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok("refused".to_owned()),
        stream => stream?,
    };
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            Err(error).with_context(|| format!("{address} says only {text:?}"))
        }
        _ => Ok(text.trim().to_owned()),
    }
}

/// Runs a test in the client's network with each version of Envoy; without the right to make
/// networks it says so.
fn each_version(test: impl Fn(&World, &str) -> Result<()> + Sync) -> Result<()> {
    if let Some(reason) = network::why_not() {
        println!("SKIPPED: {reason}");
        return Ok(());
    }
    let world = World::new()?;
    for version in places::envoy_versions()? {
        println!("Envoy {version}");
        world.servers.iter().for_each(Upstream::clear);
        world.client.enter(|| test(&world, &version))?;
    }
    Ok(())
}

#[test]
fn the_original_destination_has_the_port_and_the_registry_the_address() -> Result<()> {
    each_version(|world, version| {
        let _running = world.start(version, |setup| setup)?;
        // GAP-01: the port is that of the original destination.
        assert_eq!(world.get("http://a.example.com/", TWO)?, "200 two");
        assert_eq!(world.get("http://a.example.com:8080/", TWO)?, "200 two");
        assert_eq!(world.get("http://webserver/", TWO)?, "200 two", "whatever address a name has");
        assert_eq!(world.get("http://webserver:8080/", TWO)?, "418", "VS-MATCH-30");
        let misled = raw::get_plain((TWO, 80).into(), "webserver:8080", "/")?;
        assert_eq!(misled.status, 200, "the Host header doesn't tell the port");
        // The Host header chooses, the registry has the address.
        assert_eq!(world.get("http://a.example.com/", FOUR)?, "200 two");
        assert_eq!(world.get("http://other.example.org/", FOUR)?, "502", "OTP-03");
        // TLS passes by its server name (GAP-12).
        assert_eq!(world.get("https://a.example.com/", TWO)?, "200 two");
        assert_eq!(world.get("https://a.example.com/", FOUR)?, "200 two");
        // TCP by its port; the server speaks first.
        let asked = Instant::now();
        assert_eq!(greeting((FOUR, 6379))?, format!("{TWO}:6379"));
        assert!(asked.elapsed() < Duration::from_secs(2), "nobody waits for the client's first bytes");
        assert_eq!(world.requests("four"), 0);
        Ok(())
    })
}

#[test]
fn what_is_unknown_is_closed_and_counted() -> Result<()> {
    each_version(|world, version| {
        let running = world.start(version, |setup| setup)?;
        let envoy = &running.portolan.envoy;
        assert_eq!(world.get("https://other.example.org/", FOUR)?, "curl 35");
        assert_eq!(greeting((FOUR, 9999))?, "", "no such port (LI-05)");
        assert_eq!(greeting((FOUR, 5432))?, "", "the port, at another address (LI-04)");
        assert_eq!(greeting((FOUR, 22))?, "", "nobody listens there");
        envoy.wait_stat("tcp.tcp_refused.downstream_cx_total", |count| count == 4, Duration::from_secs(5))?;
        for (destination, name) in
            [("10.99.0.4:443", Some("other.example.org")), ("10.99.0.4:9999", None), ("10.99.0.4:5432", None)]
        {
            let line = running.portolan.access_log_line(|line| line["destination"] == destination)?;
            assert_eq!(line["decision"], "tcp_refused", "{line}");
            assert_eq!(line["server_name"].as_str(), name, "{line}");
        }
        // What doesn't leave the machine doesn't come to Envoy.
        let local = Greeter::start((Ipv4Addr::LOCALHOST, 9999).into())?;
        assert_eq!(greeting((Ipv4Addr::LOCALHOST, 9999))?, "127.0.0.1:9999");
        drop(local);
        // The other family has no listener here, and doesn't get past it.
        assert_eq!(greeting(SocketAddr::new(SIX.parse()?, 9999))?, "refused");
        // Without the rules everybody is on their own again.
        assert!(nft(&["delete", "table", "inet", "portolan"])?.success());
        assert_eq!(greeting((FOUR, 9999))?, "10.99.0.4:9999");
        assert_eq!(greeting(SocketAddr::new(SIX.parse()?, 9999))?, "[fd99::2]:9999");
        assert_eq!(world.requests("four"), 0);
        Ok(())
    })
}

#[test]
fn resolution_none_is_what_the_client_dialled() -> Result<()> {
    each_version(|world, version| {
        let running = world.start(version, |setup| setup)?;
        assert_eq!(world.get("http://none.example.com/", THREE)?, "200 three", "SE-R-01");
        assert_eq!(world.get("http://none.example.com:8081/", THREE)?, "200 three", "its targetPort");
        // Only an address of its own: a Host header leads nowhere else.
        assert_eq!(world.get("http://none.example.com/", FOUR)?, "200 two");
        assert_eq!(world.get("http://passthrough.example.com/", THREE)?, "200 three", "DR-LB-04");
        assert_eq!(world.get("http://passthrough.example.com/", FOUR)?, "200 two");
        assert_eq!(world.get("https://none.example.com/", THREE)?, "200 three");
        assert_eq!(greeting((THREE, 5432))?, format!("{THREE}:5432"));
        assert_eq!(greeting((RANGE, 7000))?, format!("{RANGE}:7000"), "a range");
        assert_eq!(greeting((SUBNET, 7000))?, format!("{SUBNET}:7000"));
        assert_eq!(greeting((FOUR, 7000))?, "");
        // Another service at that address is what it is.
        assert_eq!(world.get("http://a.example.com/", THREE)?, "200 two");
        assert_eq!(world.requests("four"), 0);
        let line = running.portolan.access_log_line(|line| line["upstream"] == "10.99.0.3:5432")?;
        assert_eq!(line["upstream_cluster"], "original_dst|outbound|5432||none.example.com");
        Ok(())
    })
}

#[test]
fn profile_istio_has_the_same_way_in() -> Result<()> {
    each_version(|world, version| {
        let running = world.start(version, |setup| {
            setup.option("--profile", "istio").option("--outbound-policy", "registry-only")
        })?;
        assert_eq!(world.get("http://a.example.com/", FOUR)?, "200 two");
        // VH-15: a host that only a VirtualService has, on port 80 and by its full name.
        assert_eq!(world.get("http://webserver.default.svc.cluster.local/", FOUR)?, "200 two");
        assert_eq!(world.get("http://webserver/", FOUR)?, "502");
        assert_eq!(world.get("http://none.example.com/", THREE)?, "200 three");
        assert_eq!(greeting((FOUR, 6379))?, format!("{TWO}:6379"));
        // LI-02, LI-05: not HTTP on a port of HTTP, and HTTP on a port of nothing.
        assert_eq!(raw::exchange((FOUR, 80).into(), b"not HTTP\r\n\r\n")?, b"");
        // 52: an empty answer; 56: a reset.
        let nothing = world.get("http://a.example.com:9999/", FOUR)?;
        assert!(["curl 52", "curl 56"].contains(&nothing.as_str()), "{nothing}");
        let closed = running.portolan.envoy.stat("tcp.tcp_refused.downstream_cx_total")?;
        assert_eq!((closed, world.requests("four")), (2, 0));
        Ok(())
    })
}

#[test]
fn allow_any_passes_to_where_the_client_wanted() -> Result<()> {
    each_version(|world, version| {
        let running = world.start(version, |setup| {
            setup.option("--outbound-policy", "allow-any").option("--transparent", format!("[::1]:{PORT}"))
        })?;
        // OTP-05: by its address, not by its name.
        assert_eq!(world.get("http://other.example.org/", FOUR)?, "200 four");
        assert_eq!(world.get("https://other.example.org/", FOUR)?, "200 four");
        assert_eq!(greeting((FOUR, 9999))?, "10.99.0.4:9999");
        assert_eq!(greeting(SocketAddr::new(SIX.parse()?, 9999))?, "[fd99::2]:9999");
        // A Host header leads to Envoy's admin interface as little as to loopback.
        let admin = running.portolan.envoy.admin_addr().to_string();
        for host in [admin.as_str(), "127.0.0.1", "a..b"] {
            let response = raw::get_plain((FOUR, 80).into(), host, "/")?;
            assert!(response.text().contains("\"four\""), "{host}: {}", response.text());
        }
        // What is registered stays where the registry has it.
        assert_eq!(world.get("http://a.example.com/", FOUR)?, "200 two");
        assert_eq!(greeting((FOUR, 6379))?, format!("{TWO}:6379"));
        Ok(())
    })
}

/// As under `ALLOW_ANY`, and named, so that it can be registered.
#[test]
fn what_passes_to_where_the_client_wanted_is_reported() -> Result<()> {
    each_version(|world, version| {
        let running = world.start(version, |setup| setup.option("--outbound-policy", "report"))?;
        let log = |decision: &str| running.portolan.access_log_line(|line| line["decision"] == decision);
        assert_eq!(world.get("http://other.example.org/", FOUR)?, "200 four");
        log("passthrough host_not_in_registry{other.example.org:80}")?;
        assert_eq!(world.get("https://other.example.org/", FOUR)?, "200 four");
        let line = log("tcp_reported destination_not_in_registry{10.99.0.4:443}")?;
        assert_eq!(line["server_name"], "other.example.org");
        assert_eq!(greeting((FOUR, 9999))?, "10.99.0.4:9999");
        log("tcp_reported destination_not_in_registry{10.99.0.4:9999}")?;
        assert_eq!(running.portolan.counter("reported")?, 1);
        let reported = "tcp.tcp_reported.downstream_cx_total";
        running.portolan.envoy.wait_stat(reported, |count| count == 2, Duration::from_secs(5))?;
        // What is registered isn't.
        assert_eq!(world.get("http://a.example.com/", FOUR)?, "200 two");
        assert_eq!(running.portolan.counter("reported")?, 1);
        Ok(())
    })
}

#[test]
fn envoy_never_dials_itself() -> Result<()> {
    each_version(|world, version| {
        let running = world.start(version, |setup| {
            setup.option("--outbound-policy", "allow-any").option("--listen", format!("80={CLIENT}:10080"))
        })?;
        let envoy = &running.portolan.envoy;
        let name = "listener.127.0.0.1_15001.downstream_cx_total";
        // Who connects to the listener itself has it for original destination.
        assert_eq!(greeting((Ipv4Addr::LOCALHOST, PORT))?, "");
        let answer = raw::exchange(
            (Ipv4Addr::LOCALHOST, PORT).into(),
            b"GET / HTTP/1.1\r\nhost: a.example.com\r\n\r\n",
        )?;
        assert!(answer.is_empty(), "{}", answer.escape_ascii());
        envoy.wait_stat(name, |count| count == 2, Duration::from_secs(5))?;
        // Rules of others may lead its own listener's connections to it.
        let others = "table ip others { chain c { type nat hook output priority -150; ip daddr 10.99.0.1 tcp dport 10080 redirect to :15001; }; }";
        let loaded = nft(&[others])?;
        ensure!(loaded.success(), "{loaded}");
        let answer = raw::exchange((CLIENT, 10080).into(), b"GET / HTTP/1.1\r\nhost: a.example.com\r\n\r\n")?;
        assert!(answer.is_empty(), "{}", answer.escape_ascii());
        envoy.wait_stat(name, |count| count == 3, Duration::from_secs(5))?;
        assert!(nft(&["delete", "table", "ip", "others"])?.success());
        assert_eq!(envoy.stat("tcp.tcp_refused.downstream_cx_total")?, 3);
        assert_eq!(raw::get_plain((CLIENT, 10080).into(), "a.example.com", "/")?.status, 200);
        Ok(())
    })
}

#[test]
fn a_user_is_left_alone_in_place_of_a_mark() -> Result<()> {
    each_version(|world, version| {
        // This process and its Envoy are root's.
        let running = world.start(version, |setup| setup.option("--proxy-uid", "0"))?;
        assert_eq!(greeting((FOUR, 9999))?, "10.99.0.4:9999", "root's own connections pass");
        let mut curl = Command::new("setpriv");
        curl.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "curl",
            "-q",
            "--silent",
            "--noproxy",
            "*",
        ]);
        curl.args(["--write-out", "%{http_code}", "--output", "/dev/null", "--max-time", "10"]);
        curl.args(["--resolve", "other.example.org:80:10.99.0.4", "http://other.example.org/"]);
        let finished = process::run(&mut curl, Duration::from_secs(20))?;
        assert_eq!(finished.stdout, "502", "{finished}");
        curl.args([
            "--resolve",
            "a.example.com:80:10.99.0.4",
            "http://a.example.com/",
            "--output",
            "/dev/null",
        ]);
        let finished = process::run(&mut curl, Duration::from_secs(20))?;
        assert_eq!(finished.stdout, "502200", "{finished}");
        let bootstrap = std::fs::read_to_string(running.portolan.output().join("envoy.yaml"))?;
        assert!(!bootstrap.contains("SO_MARK"));
        Ok(())
    })
}
