//! A DNS server that lies: names that resolve to private addresses are refused, whatever way leads there.
//!
//! Envoy may dial 127.0.0.2 here, which stands for the internet, and nothing else that is private.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::process::poll;
use portolan_e2e::upstream::echo;
use portolan_e2e::{Ca, DnsServer, Portolan, Scratch, Setup, Upstream, each_version, raw, tls_client};

const PUBLIC: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PRIVATE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// What is registered. Every name is one of `*.example.com`, so that one lie is for all.
const REGISTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: plain}
spec:
  hosts: [plain.example.com, policy.example.com, copied.example.com]
  location: MESH_EXTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: internal}
spec:
  hosts: [internal.example.com]
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS_ROUND_ROBIN
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dialled}
spec:
  hosts: [dialled.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: several}
spec:
  hosts: [several.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
  endpoints: [{address: one.example.com}, {address: two.example.com, weight: 3}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild}
spec:
  hosts: ['*.wild.example.com']
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DYNAMIC_DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: literal}
spec:
  hosts: [literal.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: secure}
spec:
  hosts: [secure.example.com]
  ports: [{number: 443, name: https, protocol: HTTPS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: sni}
spec:
  hosts: [sni.example.com, '*.sni.example.com']
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: tcp}
spec:
  hosts: [tcp.example.com]
  ports: [{number: 3306, name: tcp, protocol: TCP}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: policy}
spec:
  host: policy.example.com
  trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}, outlierDetection: {consecutive5xxErrors: 3}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: secure}
spec:
  host: secure.example.com
  trafficPolicy: {tls: {mode: SIMPLE}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: rules}
spec:
  hosts: [rules.example.com]
  http:
  - match: [{uri: {prefix: /secure}}]
    route: [{destination: {host: secure.example.com, port: {number: 443}}}]
    rewrite: {authority: secure.example.com}
  - match: [{uri: {prefix: /weighted}}]
    route:
    - {destination: {host: plain.example.com}, weight: 50}
    - {destination: {host: policy.example.com}, weight: 50}
  - match: [{uri: {prefix: /mirrored}}]
    route: [{destination: {host: literal.example.com}}]
    mirror: {host: copied.example.com}
";

struct World {
    dns: DnsServer,
    public: Upstream,
    private: Upstream,
    scratch: Scratch,
}

impl World {
    fn start() -> Result<Self> {
        let ca = Ca::new()?;
        let scratch = Scratch::new()?;
        ca.write_bundle(scratch.path().join("ca.pem"))?;
        let identity = ca.issue(&["*.example.com"])?;
        let upstream = |name: &str, address: Ipv4Addr, port: Option<u16>| {
            let echo = echo();
            let builder = Upstream::builder()
                .name(name)
                .address(address)
                .tls_for_any_name(identity.clone())
                .plaintext_too()
                .handler(move |seen| echo(seen).header("connection", "close"));
            port.into_iter().fold(builder, portolan_e2e::upstream::UpstreamBuilder::port).start()
        };
        let private = upstream("private", PRIVATE, None)?;
        let public = upstream("public", PUBLIC, Some(private.addr().port()))?;
        let dns = DnsServer::start(&[("*.example.com", PRIVATE), ("*.example.org", PRIVATE)])?;
        Ok(Self { dns, public, private, scratch })
    }

    fn setup(&self, version: &str) -> Result<Setup> {
        let port = self.private.addr().port();
        let ca = self.scratch.path().join("ca.pem");
        let mut setup = Setup::with_listeners(version)?
            .guarded()
            .yaml(REGISTRY)?
            .option("--allow-upstream", PUBLIC.to_string())
            .option("--listen", "3306=127.0.0.1:0")
            .option("--explicit-proxy", "127.0.0.1:0")
            .option("--ca-bundle", ca.to_string_lossy())
            .option("--dns-resolver", self.dns.addr().to_string());
        for number in [80, 443, 3306] {
            setup = setup.option("--upstream-port", format!("{number}={port}"));
        }
        Ok(setup)
    }

    fn lie(&self, addresses: &[IpAddr]) {
        for name in ["*.example.com", "*.example.org"] {
            self.dns.set_addresses(name, addresses);
        }
    }
}

/// Whether this Envoy asks before it dials (`upstream_rbac`).
fn asks_first(version: &str) -> bool {
    !version.starts_with("1.36.")
}

/// Requests that lead to a name of the registry, by host and path.
const REQUESTS: [(&str, &str); 8] = [
    ("plain.example.com", "/"),
    ("policy.example.com", "/"),
    ("internal.example.com", "/"),
    ("dialled.example.com", "/"),
    ("several.example.com", "/"),
    ("any.wild.example.com", "/"),
    ("rules.example.com", "/secure"),
    ("rules.example.com", "/weighted"),
];

/// Sends a request on a connection on which a name was meant before. None: it was closed.
fn speak(mut stream: TcpStream) -> Result<Option<String>> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(0) | Err(_) => Ok(None),
        Ok(_) => Ok(Some(String::from_utf8_lossy(&answer).into_owned())),
    }
}

/// The ways besides requests of [`REQUESTS`], each with what it gets: None where it is refused.
fn other_ways(portolan: &Portolan) -> Result<Vec<(&'static str, Option<String>)>> {
    let tls = |name| {
        let stream = TcpStream::connect(portolan.tls()?)?;
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        // A connection that is closed in the handshake is an error of it.
        Ok::<_, anyhow::Error>(
            tls_client::request_on(stream, name, request).ok().flatten().map(|response| response.text()),
        )
    };
    let proxy: SocketAddr = portolan.envoy.listener_addr("explicit_proxy")?;
    let tunnel = |target: &str| match raw::tunnel(proxy, target.as_bytes())? {
        Ok(stream) => speak(stream),
        Err(_) => Ok(None),
    };
    let in_tunnel = |target: &str, name: &str| {
        let Ok(stream) = raw::tunnel(proxy, target.as_bytes())? else { return Ok(None) };
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        Ok::<_, anyhow::Error>(
            tls_client::request_on(stream, name, request).ok().flatten().map(|response| response.text()),
        )
    };
    Ok(vec![
        ("server name", tls("sni.example.com")?),
        ("server name below a wildcard", tls("any.sni.example.com")?),
        ("TCP port", speak(TcpStream::connect(portolan.listener(3306)?)?)?),
        ("CONNECT to a TCP service", tunnel("tcp.example.com:3306")?),
        ("CONNECT to a TLS service", in_tunnel("sni.example.com:443", "sni.example.com")?),
    ])
}

#[test]
fn no_way_leads_to_a_private_address() -> Result<()> {
    each_version(|version| {
        for clusters in ["dedicated", "shared"] {
            let world = World::start()?;
            let portolan = world.setup(version)?.option("--clusters", clusters).start()?;
            for (host, path) in REQUESTS {
                let response = raw::get_plain(portolan.http()?, host, path)?;
                ensure!(
                    response.status == 403,
                    "{clusters} {host}{path}: {} {}",
                    response.status,
                    response.text()
                );
                let line = portolan.access_log_line(|line| {
                    line["path"] == path && (path != "/" || line["authority"] == host)
                })?;
                let reason = if asks_first(version) {
                    "rbac_access_denied_matched_policy[private_upstream_address]"
                } else {
                    "lua_response"
                };
                ensure!(line["reason"] == reason, "{line}");
            }
            ensure!(world.private.requests().is_empty());
            let dialled = world.private.connections();
            ensure!(!asks_first(version) || dialled == 0, "{dialled}");
            for (way, answer) in other_ways(&portolan)? {
                ensure!(answer.is_none(), "{clusters} {way}: {answer:?}");
            }
            // Copies too, of requests that go elsewhere.
            let response = raw::get_plain(portolan.http()?, "rules.example.com", "/mirrored")?;
            ensure!(response.status == 200, "{}", response.text());
            std::thread::sleep(Duration::from_millis(200));
            let seen = world.private.requests();
            ensure!(seen.len() == 1, "{seen:?}");
            let line = portolan
                .access_log_line(|line| line["decision"] == "tcp_passthrough ServiceEntry default/tcp")?;
            ensure!(
                line["reason"] == "rbac_access_denied_matched_policy[private_upstream_address]",
                "{line}"
            );
            ensure!(portolan.envoy.stat("portolan_guard.rbac.denied")? >= 3);

            // DNS tells the truth again.
            world.lie(&[PUBLIC.into()]);
            for (host, path) in REQUESTS {
                let arrives =
                    || (raw::get_plain(portolan.http().ok()?, host, path).ok()?.status == 200).then_some(());
                poll(Duration::from_secs(15), arrives).with_context(|| format!("{clusters} {host}{path}"))?;
            }
            // Envoy asks again after 5 s at the latest, name by name.
            let refused = || -> Result<Vec<&str>> {
                let ways = other_ways(&portolan)?.into_iter();
                Ok(ways.filter(|(_, answer)| answer.is_none()).map(|(way, _)| way).collect())
            };
            let arrive = || refused().ok().filter(Vec::is_empty).map(drop);
            poll(Duration::from_secs(15), arrive).with_context(|| format!("{clusters}: {:?}", refused()))?;
            // And lies anew.
            world.lie(&[PRIVATE.into()]);
            for (host, path) in REQUESTS {
                let refused =
                    || (raw::get_plain(portolan.http().ok()?, host, path).ok()?.status == 403).then_some(());
                poll(Duration::from_secs(15), refused).with_context(|| format!("{clusters} {host}{path}"))?;
            }
            ensure!(world.private.requests().len() == 1, "the one that goes to an address");
            ensure!(!world.public.requests().is_empty());
        }
        Ok(())
    })
}

#[test]
fn hosts_outside_the_registry_are_no_way_either() -> Result<()> {
    each_version(|version| {
        let world = World::start()?;
        let portolan = world.setup(version)?.option("--outbound-policy", "allow-any").start()?;
        let response = raw::get_plain(portolan.http()?, "unknown.example.org", "/")?;
        ensure!(response.status == 403, "{}", response.text());
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let tls = |name| tls_client::request_on(TcpStream::connect(portolan.tls()?)?, name, request);
        ensure!(tls("unknown.example.org").ok().flatten().is_none());
        ensure!(world.private.requests().is_empty());
        world.lie(&[PUBLIC.into()]);
        let arrives = || tls("other.example.org").ok().flatten();
        poll(Duration::from_secs(15), arrives).context("not passed through")?;
        Ok(())
    })
}

#[test]
fn every_private_address_is_known_in_every_form() -> Result<()> {
    each_version(|version| {
        let world = World::start()?;
        let port = world.private.addr().port();
        let loopback = TcpListener::bind(("::1", port)).context("no IPv6 on this machine")?;
        loopback.set_nonblocking(true)?;
        let setup = world.setup(version)?.option("--dns-family", "all").option("--clusters", "dedicated");
        // Names that have never been asked for, so that each has its answer anew.
        let lies = [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
        ];
        let mut hosts = Vec::new();
        for (index, lie) in lies.iter().enumerate() {
            let host = format!("lie{index}.example.com");
            world.dns.set_addresses(&host, &[lie.parse()?]);
            hosts.push(host);
        }
        let entry = format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: lies}}, spec: {{hosts: [{}], \
             ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: DNS}}}}",
            hosts.join(", ")
        );
        let portolan = setup.yaml(&entry)?.start()?;
        for (host, lie) in hosts.iter().zip(lies) {
            let response = raw::get_plain(portolan.http()?, host, "/")?;
            ensure!(response.status == 403, "{lie}: {} {}", response.status, response.text());
        }
        ensure!(world.private.requests().is_empty());
        if asks_first(version) {
            ensure!(world.private.connections() == 0 && loopback.accept().is_err());
        }
        Ok(())
    })
}

#[test]
fn of_several_addresses_each_is_looked_at() -> Result<()> {
    each_version(|version| {
        let world = World::start()?;
        world.lie(&[PUBLIC.into(), PRIVATE.into()]);
        let portolan = world.setup(version)?.option("--clusters", "dedicated").start()?;
        let mut statuses = std::collections::BTreeSet::new();
        for _ in 0..10 {
            for host in
                ["plain.example.com", "internal.example.com", "dialled.example.com", "several.example.com"]
            {
                statuses.insert(raw::get_plain(portolan.http()?, host, "/")?.status);
            }
        }
        ensure!(statuses == [200, 403].into(), "{statuses:?}");
        ensure!(world.private.requests().is_empty() && !world.public.requests().is_empty());
        Ok(())
    })
}

/// Also of hosts outside the registry, where a client can choose any name. 127.0.0.4 is allowed, and nobody is there.
#[test]
fn of_several_addresses_of_any_host_each_is_looked_at() -> Result<()> {
    const DEAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
    each_version(|version| {
        for (profile, family) in [("standalone", "v4"), ("istio", "v4"), ("standalone", "all")] {
            let world = World::start()?;
            let portolan = world
                .setup(version)?
                .option("--profile", profile)
                .option("--dns-family", family)
                .option("--allow-upstream", DEAD.to_string())
                .option("--outbound-policy", "allow-any")
                .start()?;
            let proxy: SocketAddr = portolan.envoy.listener_addr("explicit_proxy")?;
            let statuses = |host: &str| -> Result<std::collections::BTreeSet<u16>> {
                let one = |_| Ok(raw::get_plain(portolan.http()?, host, "/")?.status);
                (0..10).map(one).collect()
            };
            for (name, addresses, expected) in [
                ("dead-and-private", &[DEAD, PRIVATE][..], &[403][..]),
                ("private-and-dead", &[PRIVATE, DEAD], &[403]),
                ("public-and-private", &[PUBLIC, PRIVATE], &[200, 403]),
                ("dead-and-public", &[DEAD, PUBLIC], &[200]),
                ("public", &[PUBLIC], &[200]),
                ("dead", &[DEAD], &[503]),
            ] {
                let host = format!("{name}.example.org");
                let addresses: Vec<IpAddr> = addresses.iter().copied().map(IpAddr::V4).collect();
                world.dns.set_addresses(&host, &addresses);
                let found = statuses(&host)?;
                ensure!(found.iter().eq(expected), "{profile} {host}: {found:?}");
                let tunnel = raw::tunnel(proxy, format!("{host}:3307").as_bytes())?;
                ensure!(tunnel.is_err(), "{profile} {host}: nobody is at that port");
                ensure!(
                    world.private.requests().is_empty(),
                    "{profile} {host}: {:?}",
                    world.private.requests()
                );
                ensure!(!asks_first(version) || world.private.connections() == 0, "{profile} {host}");
            }
            // Addresses are no names: they mean themselves.
            ensure!(statuses("127.0.0.2")? == [200].into() && statuses("127.0.0.1")? == [403].into());
            for address in ["[::1]", "[::ffff:127.0.0.1]"] {
                let found = statuses(address)?;
                ensure!(found == [503].into() || found == [403].into(), "{profile} {address}: {found:?}");
            }
            ensure!(world.private.connections() == 0 || !asks_first(version));
        }
        Ok(())
    })
}

#[test]
fn where_all_is_allowed_nothing_looks() -> Result<()> {
    each_version(|version| {
        let world = World::start()?;
        let all =
            |setup: Setup| setup.option("--allow-upstream", "0.0.0.0/0").option("--allow-upstream", "::/0");
        let portolan = all(world.setup(version)?).start()?;
        ensure!(raw::get_plain(portolan.http()?, "plain.example.com", "/")?.status == 200);
        let bootstrap = std::fs::read_to_string(portolan.output().join("envoy.yaml"))?;
        ensure!(!bootstrap.contains("private_upstream_address"));
        Ok(())
    })
}
