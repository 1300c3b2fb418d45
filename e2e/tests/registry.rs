//! Members of the registry in a real Envoy: what they are called, and where they are.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixListener;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::upstream::echo;
use portolan_e2e::{Ca, Curl, DnsServer, Portolan, Scratch, Setup, Upstream, each_version, places, raw};

const INPUT: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.7, ports: [{port: 80, name: http, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: ext}
spec: {type: ExternalName, externalName: none.example.com, ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: none}
spec:
  hosts: [none.example.com]
  location: MESH_EXTERNAL
  addresses: [192.0.2.1, '2001:db8::1']
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: static}
spec:
  hosts: [static.example.com]
  location: MESH_EXTERNAL
  addresses: [127.0.0.1]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: empty}
spec:
  hosts: [empty.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: workloads}
spec:
  hosts: [workloads.example.com]
  location: MESH_INTERNAL
  resolution: STATIC
  workloadSelector: {labels: {app: w}}
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: heavy}
spec: {address: 127.0.0.1, weight: 3, locality: eu/a, labels: {app: w}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: light}
spec: {address: 127.0.0.2, locality: us/b/c, labels: {app: w}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wildcard}
spec:
  hosts: ['*.wild.example.com']
  location: MESH_EXTERNAL
  ports: [{number: 443, name: tls, protocol: TLS}]
";

/// Upstreams that say who they are, and what leads Envoy to them.
struct Registry {
    portolan: Portolan,
    upstreams: Vec<(&'static str, Upstream)>,
    light: Upstream,
    tls: Upstream,
    bundle: Scratch,
    _dns: DnsServer,
}

const PLAIN: [&str; 5] = [
    "web.default.svc.cluster.local",
    "db.default.svc.cluster.local",
    "none.example.com",
    "static.example.com",
    "workloads.example.com",
];

impl Registry {
    fn start(version: &str) -> Result<Self> {
        let dns = DnsServer::start(&[("*.wild.example.com", Ipv4Addr::LOCALHOST)])?;
        let mut setup =
            Setup::with_listeners(version)?.yaml(INPUT)?.option("--dns-resolver", dns.addr().to_string());
        let mut upstreams = Vec::new();
        let mut heavy = 0;
        for host in PLAIN {
            let upstream = Upstream::builder().name(host).handler(echo()).start()?;
            if !host.starts_with("static") && !host.starts_with("workloads") {
                dns.set(host, Ipv4Addr::LOCALHOST);
            }
            heavy = upstream.addr().port();
            setup = setup.option("--upstream-port", format!("{host}:80={heavy}"));
            upstreams.push((host, upstream));
        }
        // The last one's port, on another address.
        let light =
            Upstream::builder().name("light").address(Ipv4Addr::new(127, 0, 0, 2)).port(heavy).start()?;
        let ca = Ca::new()?;
        let bundle = Scratch::new()?;
        ca.write_bundle(bundle.path().join("ca.pem"))?;
        let tls = Upstream::builder()
            .name("tls")
            .tls(ca.issue(&["a.wild.example.com", "b.wild.example.com"])?)
            .handler(echo())
            .start()?;
        let setup = setup.option("--upstream-port", format!("*.wild.example.com:443={}", tls.addr().port()));
        Ok(Self { portolan: setup.start()?, upstreams, light, tls, bundle, _dns: dns })
    }

    /// The upstream that answers for `host`.
    fn who(&self, host: &str) -> Result<String> {
        for (_, upstream) in &self.upstreams {
            upstream.clear();
        }
        let response = raw::get_plain(self.portolan.http()?, host, "/")?;
        ensure!(response.status == 200, "{host}: {} {}", response.status, response.text());
        let asked: Vec<_> = self.upstreams.iter().filter(|(_, it)| !it.requests().is_empty()).collect();
        let [(name, upstream)] = asked.as_slice() else { anyhow::bail!("{host}: {} answered", asked.len()) };
        ensure!(upstream.requests()[0].host == host, "the Host header stays: {:?}", upstream.requests());
        Ok((*name).to_owned())
    }
}

fn on_every_version(test: impl Fn(&Registry) -> Result<()>) -> Result<()> {
    each_version(|version| test(&Registry::start(version)?))
}

#[test]
fn services_are_reached_by_all_their_names() -> Result<()> {
    on_every_version(|registry| {
        let [web, db, none, fixed, _] = PLAIN;
        for (host, upstream) in [
            // TV-103, KS-07
            ("web", web),
            ("web.default", web),
            ("web.default.svc", web),
            ("web.default.svc.cluster.local", web),
            ("web.default.svc.cluster.local.", web),
            ("10.96.0.7", web),
            // TV-106
            ("db", db),
            ("db-0.db", db),
            ("db-0.db.default.svc.cluster.local", db),
            // TV-107, TV-10, TV-11, SE-R-01
            ("none.example.com", none),
            ("ext.default", none),
            ("192.0.2.1", none),
            ("[2001:db8::1]:80", none),
            // SE-R-08 in profile standalone
            ("static.example.com", fixed),
        ] {
            assert_eq!(registry.who(host)?, upstream, "{host}");
        }
        // VH-07, TV-118
        for (host, status) in [("2001:db8::1", 502), ("empty.example.com", 503), ("nobody.example.com", 502)]
        {
            assert_eq!(raw::get_plain(registry.portolan.http()?, host, "/")?.status, status, "{host}");
        }
        Ok(())
    })
}

#[test]
fn a_port_without_a_protocol_speaks_as_the_client() -> Result<()> {
    // SE-P-07; `web` has a port of HTTP (SE-P-01).
    on_every_version(|registry| {
        let [web, db, ..] = PLAIN;
        for (host, option, version) in [
            (db, "--http2-prior-knowledge", "HTTP/2.0"),
            (db, "--http1.1", "HTTP/1.1"),
            (web, "--http2-prior-knowledge", "HTTP/1.1"),
        ] {
            let (_, upstream) = registry.upstreams.iter().find(|(name, _)| *name == host).context("known")?;
            upstream.clear();
            let client = Curl::new(&format!("http://{host}/")).arg(option);
            let answer = client.connect_to("", registry.portolan.http()?).run()?;
            assert_eq!(answer.status, 200, "{answer:?}");
            let seen: Vec<_> = upstream.requests().into_iter().map(|request| request.version).collect();
            assert_eq!(seen, [version], "{host} {option}");
        }
        Ok(())
    })
}

#[test]
fn endpoints_share_by_weight() -> Result<()> {
    // SE-18, SE-30, SE-31: three to one, whatever the locality.
    on_every_version(|registry| {
        for _ in 0..40 {
            let response = raw::get_plain(registry.portolan.http()?, "workloads.example.com", "/")?;
            assert_eq!(response.status, 200);
        }
        let light = registry.light.requests().len();
        ensure!((5..=15).contains(&light), "{light} of 40 went to the one of four");
        Ok(())
    })
}

#[test]
fn a_unix_socket_is_an_endpoint() -> Result<()> {
    // SE-29
    for version in places::envoy_versions()? {
        let folder = Scratch::new()?;
        let path = folder.path().join("upstream");
        answer_on(UnixListener::bind(&path)?);
        let entry = format!(
            "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: socket}}
spec:
  hosts: [socket.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 'unix://{}'}}]
",
            path.display()
        );
        let portolan = Setup::with_listeners(&version)?.yaml(&entry)?.start()?;
        let answer = raw::get_plain(portolan.http()?, "socket.example.com", "/")?;
        assert_eq!(answer.status, 204, "Envoy {version}: {answer:?}");
    }
    Ok(())
}

/// Has every request answered with 204.
fn answer_on(listener: UnixListener) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut bytes = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut bytes) {
                    Ok(length) if length > 0 => request.extend_from_slice(&bytes[..length]),
                    _ => break,
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        }
    });
}

#[test]
fn names_below_a_wildcard_are_dialled_by_sni() -> Result<()> {
    // SE-R-07
    on_every_version(|registry| {
        let get = |host: &str| {
            Curl::new(&format!("https://{host}/"))
                .connect_to(&format!("{host}:443"), registry.portolan.tls()?)
                .cacert(registry.bundle.path().join("ca.pem"))
                .run()
        };
        for host in ["a.wild.example.com", "b.wild.example.com"] {
            let answer = get(host)?;
            assert_eq!((answer.status, answer.verify_result), (200, 0), "{host}: {answer:?}");
        }
        let names: Vec<_> = registry.tls.handshakes().into_iter().flatten().collect();
        assert_eq!(names, ["a.wild.example.com", "b.wild.example.com"]);
        // The domain itself is no name below it (TV-98), and closed.
        ensure!(get("wild.example.com")?.status == 0);
        Ok(())
    })
}

const BELOW_WILDCARDS: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: plain}
spec:
  hosts: ['*.wild.example.com']
  location: MESH_EXTERNAL
  resolution: DYNAMIC_DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: secure}
spec:
  hosts: ['*.tls.example.com']
  location: MESH_EXTERNAL
  resolution: NONE
  ports: [{number: 443, name: https, protocol: HTTPS, targetPort: 8443}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: secure}
spec: {host: '*.tls.example.com', trafficPolicy: {tls: {mode: SIMPLE}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pinned}
spec:
  hosts: ['*.pinned.example.com']
  location: MESH_EXTERNAL
  resolution: DYNAMIC_DNS
  ports: [{number: 443, name: tls, protocol: TLS}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: pinned}
spec:
  host: '*.pinned.example.com'
  trafficPolicy: {tls: {mode: SIMPLE, sni: a.tls.example.com, subjectAltNames: [a.tls.example.com]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [webserver]
  http:
  - match: [{uri: {prefix: /lost}}]
    route: [{destination: {host: '*.wild.example.com'}}]
  - route: [{destination: {host: '*.wild.example.com'}}]
    rewrite: {authority: b.wild.example.com}
";

#[test]
fn names_below_a_wildcard_are_dialled_by_host() -> Result<()> {
    // SE-R-07, SE-R-01, GAP-02, under both policies for hosts outside the registry.
    for version in places::envoy_versions()? {
        for policy in ["registry-only", "allow-any"] {
            println!("Envoy {version}, {policy}");
            dial_names_below_wildcards(&version, policy)?;
        }
    }
    Ok(())
}

fn dial_names_below_wildcards(version: &str, policy: &str) -> Result<()> {
    let dns = DnsServer::start(&[
        ("*.wild.example.com", Ipv4Addr::LOCALHOST),
        ("*.tls.example.com", Ipv4Addr::LOCALHOST),
        ("*.pinned.example.com", Ipv4Addr::LOCALHOST),
        ("webserver", Ipv4Addr::LOCALHOST),
    ])?;
    let plain = Upstream::builder().name("plain").handler(echo()).start()?;
    // What a client names in the Host header, and must not reach.
    let other = Upstream::builder().name("other").handler(echo()).start()?;
    let ca = Ca::new()?;
    let bundle = Scratch::new()?;
    ca.write_bundle(bundle.path().join("ca.pem"))?;
    let secure = Upstream::builder()
        .name("secure")
        .tls_for_any_name(ca.issue(&["a.tls.example.com"])?)
        .handler(echo())
        .start()?;
    let portolan = Setup::with_listeners(version)?
        .yaml(BELOW_WILDCARDS)?
        .option("--dns-resolver", dns.addr().to_string())
        .option("--outbound-policy", policy)
        .option("--ca-bundle", bundle.path().join("ca.pem").display().to_string())
        .option("--upstream-port", format!("*.wild.example.com:80={}", plain.addr().port()))
        .option("--upstream-port", format!("*.tls.example.com:8443={}", secure.addr().port()))
        .option("--upstream-port", format!("*.pinned.example.com:443={}", secure.addr().port()))
        .start()?;
    let get = |host: &str, path: &str| raw::get_plain(portolan.http()?, host, path);

    let elsewhere = format!("c.wild.example.com:{}", other.addr().port());
    for host in ["a.wild.example.com", "B.wild.example.com:80", "a.b.wild.example.com.", &elsewhere] {
        plain.clear();
        let response = get(host, "/")?;
        ensure!(response.status == 200, "{host}: {} {}", response.status, response.text());
        ensure!(plain.requests()[0].host == host, "the Host header stays: {:?}", plain.requests());
    }
    let asked = dns.queries();
    ensure!(asked.iter().any(|name| name.starts_with("a.b.wild.example.com")), "{asked:?}");

    plain.clear();
    ensure!(get("webserver", "/")?.status == 200, "rewritten");
    ensure!(plain.requests()[0].host == "b.wild.example.com", "{:?}", plain.requests());
    ensure!(get("webserver", "/lost")?.status == 502, "not below the wildcard");
    ensure!(portolan.counter("refused.host_not_below_wildcard")? == 1);
    ensure!(portolan.counter("passed_through")? == 0);

    // The name that is dialled is in the SNI, and must be in the certificate.
    for host in ["a.tls.example.com", "a.tls.example.com:80", "a.tls.example.com."] {
        let response = get(host, "/")?;
        ensure!(response.status == 200, "{host}: {} {}", response.status, response.text());
    }
    let refused = get("b.tls.example.com", "/")?;
    ensure!(refused.status == 503, "{} {}", refused.status, refused.text());
    let names: Vec<_> = secure.handshakes().into_iter().flatten().collect();
    ensure!(names.first().is_some_and(|name| name == "a.tls.example.com"), "{names:?}");
    ensure!(names.last().is_some_and(|name| name == "b.tls.example.com"), "{names:?}");
    // Unless the DestinationRule names another one.
    let pinned = get("x.pinned.example.com", "/")?;
    ensure!(pinned.status == 200, "{} {}", pinned.status, pinned.text());

    ensure!(get("nobody.example.com", "/")?.status != 200);
    ensure!(other.connections() == 0, "the port of a Host header is never dialled");
    Ok(())
}
