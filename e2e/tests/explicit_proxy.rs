//! The explicit proxy, which clients name in `HTTP_PROXY` and `HTTPS_PROXY` (GAP-01, GAP-23; design,
//! section 6).

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::process::{self, poll};
use portolan_e2e::upstream::{Reply, SeenRequest, echo};
use portolan_e2e::{
    Ca, DnsServer, Portolan, Scratch, Setup, Upstream, each_version, places, raw, tls_client,
};

/// Bytes of a large body.
const LARGE: usize = 8 << 20;

const LIMIT: Duration = Duration::from_secs(20);

const REGISTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web}
spec:
  hosts: [web.example.com]
  addresses: [192.0.2.1]
  location: MESH_EXTERNAL
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 443, name: tls, protocol: TLS}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: other}
spec:
  hosts: [other.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
  ports:
  - {number: 8080, name: http, protocol: HTTP}
  - {number: 443, name: tls, protocol: TLS}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db1}
spec:
  hosts: [db1.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 5432, name: tcp, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db2}
spec:
  hosts: [db2.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 5432, name: tcp, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shards}
spec:
  hosts: ['*.shards.example.com']
  location: MESH_EXTERNAL
  resolution: NONE
  ports: [{number: 5433, name: tcp, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web.example.com]
  http:
  - match: [{uri: {prefix: /secret}}]
    directResponse: {status: 403}
  - route: [{destination: {host: web.example.com, port: {number: 80}}}]
";

/// The registry's upstreams, and files for clients.
struct World {
    web: Upstream,
    secure: Upstream,
    other: Upstream,
    db1: Upstream,
    db2: Upstream,
    /// A server on loopback that isn't registered.
    private: Upstream,
    dns: DnsServer,
    files: Scratch,
}

impl World {
    fn start() -> Result<Self> {
        let handler = || {
            let echo = echo();
            move |request: &SeenRequest| match echo(request) {
                _ if request.path == "/large" => Reply::new(200, vec![b'x'; LARGE]),
                reply => reply,
            }
        };
        let plain = |name: &str| Upstream::builder().name(name).handler(handler()).start();
        let files = Scratch::new()?;
        let ca = Ca::new()?;
        ca.write_bundle(files.path().join("ca.pem"))?;
        let identity = ca.issue(&["web.example.com", "other.example.com"])?;
        let addresses = ["db1.example.com", "db2.example.com", "a.shards.example.com", "private.example.com"]
            .map(|name| (name, Ipv4Addr::LOCALHOST));
        Ok(Self {
            web: plain("web")?,
            secure: Upstream::builder()
                .name("secure")
                .tls_for_any_name(identity)
                .handler(handler())
                .start()?,
            other: plain("other")?,
            db1: plain("db1")?,
            db2: plain("db2")?,
            private: plain("private")?,
            dns: DnsServer::start(&addresses)?,
            files,
        })
    }

    fn setup(&self, version: &str) -> Result<Setup> {
        let mut setup = Setup::new(version)?
            .yaml(REGISTRY)?
            .option("--explicit-proxy", "127.0.0.1:0")
            .option("--dns-resolver", self.dns.addr().to_string());
        for (port, upstream) in [
            ("web.example.com:80", &self.web),
            ("web.example.com:443", &self.secure),
            ("other.example.com:443", &self.secure),
            ("other.example.com:8080", &self.other),
            ("db1.example.com:5432", &self.db1),
            ("db2.example.com:5432", &self.db2),
            ("*.shards.example.com:5433", &self.db2),
        ] {
            setup = setup.option("--upstream-port", format!("{port}={}", upstream.addr().port()));
        }
        Ok(setup)
    }

    fn bundle(&self) -> std::path::PathBuf {
        self.files.path().join("ca.pem")
    }
}

fn proxy(portolan: &Portolan) -> Result<SocketAddr> {
    portolan.envoy.listener_addr("explicit_proxy")
}

fn on_every_version(test: impl Fn(&World, &str) -> Result<()>) -> Result<()> {
    each_version(|version| test(&World::start()?, version))
}

/// Starts a tunnel, and gives the head of the answer.
fn connect(address: SocketAddr, target: &str) -> Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: elsewhere\r\n\r\n").as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        ensure!(stream.read(&mut byte)? == 1, "closed after {}", head.escape_ascii());
        head.extend_from_slice(&byte);
    }
    Ok((stream, String::from_utf8_lossy(&head).into_owned()))
}

/// One request and its answer in a tunnel; none if that is closed.
fn inside(address: SocketAddr, target: &str, request: &str) -> Result<Option<raw::Response>> {
    let (mut stream, head) = connect(address, target)?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{target}: {head}");
    stream.write_all(request.as_bytes())?;
    let mut received = Vec::new();
    loop {
        if let Some(response) = raw::Response::parse(&received, false, false)? {
            return Ok(Some(response));
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) if received.is_empty() => return Ok(None),
            Ok(0) => return raw::Response::parse(&received, true, false),
            length => received.extend_from_slice(&buffer[..length?]),
        }
    }
}

/// A program that gets URLs through the proxy of its environment, and prints status and length of each.
struct Client {
    name: &'static str,
    /// Asks for a tunnel for plain HTTP, too.
    always_tunnels: bool,
    command: fn(&World) -> Result<Command>,
}

const CLIENTS: [Client; 4] = [
    Client {
        name: "curl",
        always_tunnels: false,
        command: |world| {
            // One call for all: `-w` speaks of each.
            let mut command = Command::new("curl");
            command.args(["-q", "--silent", "--max-time", "20", "-o", "/dev/null", "--cacert"]);
            command.arg(world.bundle()).args(["-w", "%{http_code} %{size_download}\n"]);
            Ok(command)
        },
    },
    Client {
        name: "Python",
        always_tunnels: false,
        command: |world| {
            let mut command = Command::new("python3");
            command.arg(script("fetch.py")?).arg(world.bundle());
            Ok(command)
        },
    },
    Client { name: "Node's https", always_tunnels: false, command: |world| node(world, "https") },
    Client { name: "Node's fetch", always_tunnels: true, command: |world| node(world, "fetch") },
];

fn script(name: &str) -> Result<std::path::PathBuf> {
    Ok(places::root()?.join("e2e/tests/clients").join(name))
}

fn node(world: &World, how: &str) -> Result<Command> {
    let mut command = Command::new(places::node()?);
    command.env("NODE_USE_ENV_PROXY", "1").env("NODE_EXTRA_CA_CERTS", world.bundle());
    command.arg(script("fetch.mjs")?).arg(how);
    Ok(command)
}

impl Client {
    fn get(&self, world: &World, address: SocketAddr, url: &str) -> Result<String> {
        let mut command = (self.command)(world)?;
        for name in ["no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env(name, format!("http://{address}"));
        }
        let finished = process::run(command.arg(url), LIMIT)?;
        Ok(finished.stdout.trim().to_owned())
    }
}

#[test]
fn ordinary_clients_get_what_is_registered() -> Result<()> {
    on_every_version(|world, version| {
        let portolan = world.setup(version)?.start()?;
        let address = proxy(&portolan)?;
        for client in &CLIENTS {
            let get = |url: &str| {
                client.get(world, address, url).with_context(|| format!("{}: {url}", client.name))
            };
            for upstream in [&world.web, &world.secure, &world.other] {
                upstream.clear();
            }
            for (url, upstream) in [
                ("http://web.example.com/", &world.web),
                ("https://web.example.com/", &world.secure),
                ("http://other.example.com:8080/x?y", &world.other),
            ] {
                let answer = get(url)?;
                ensure!(answer.starts_with("200 "), "{}: {url}: {answer}", client.name);
                let seen = upstream.requests();
                ensure!(seen.len() == 1, "{}: {url}: {seen:?}", client.name);
                // Meant for this proxy alone.
                for name in ["proxy-connection", "proxy-authorization"] {
                    ensure!(seen[0].header(name).is_none(), "{}: {url}: {seen:?}", client.name);
                }
            }
            ensure!(world.secure.handshakes() == [Some("web.example.com".to_owned())], "{}", client.name);
            for url in ["http://web.example.com/large", "https://web.example.com/large"] {
                let answer = get(url)?;
                ensure!(answer == format!("200 {LARGE}"), "{}: {url}: {answer}", client.name);
            }
            let answer = get("http://web.example.com/secret/x")?;
            ensure!(answer.starts_with("403 "), "{}: {answer}", client.name);
            // Hosts and ports that the registry doesn't have. Who asks for a tunnel has no answer then.
            for url in ["http://nobody.example.com/", "http://web.example.com:8080/", "http://192.0.2.2/"] {
                let answer = get(url)?;
                let refused = if client.always_tunnels { "error " } else { "502 " };
                ensure!(answer.starts_with(refused), "{}: {url}: {answer}", client.name);
            }
            for url in ["https://nobody.example.com/", "https://web.example.com:8443/"] {
                let answer = get(url)?;
                ensure!(
                    ["000 ", "error "].iter().any(|none| answer.starts_with(none)),
                    "{}: {url}: {answer}",
                    client.name
                );
            }
            let refused = portolan.counter("refused.host_not_in_registry")?;
            ensure!(refused > 0 && refused.is_multiple_of(3), "{}: {refused}", client.name);
        }
        Ok(())
    })
}

#[test]
fn every_tunnel_has_a_line_with_its_decision() -> Result<()> {
    on_every_version(|world, version| {
        let portolan = world.setup(version)?.start()?;
        let address = proxy(&portolan)?;
        let client = &CLIENTS[0];
        for url in ["https://web.example.com/", "https://nobody.example.com/"] {
            client.get(world, address, url)?;
        }
        let request = "GET /x HTTP/1.1\r\nHost: web.example.com\r\nConnection: close\r\n\r\n";
        inside(address, "web.example.com:80", request)?.context("no answer")?;
        inside(address, "db1.example.com:5432", request)?.context("no answer")?;
        let line = |authority: &str| {
            portolan.access_log_line(|line| line["method"] == "CONNECT" && line["authority"] == authority)
        };
        for (authority, decision, cluster) in [
            ("web.example.com:443", "tunnel ServiceEntry default/web", "tunnel_tls_443"),
            ("web.example.com:80", "tunnel http 80", "tunnel_http_80"),
            ("db1.example.com:5432", "tunnel ServiceEntry default/db1", "outbound|5432||db1.example.com"),
        ] {
            let line = line(authority)?;
            ensure!(line["decision"] == decision && line["upstream_cluster"] == cluster, "{line}");
            ensure!(line["bytes_sent"].as_u64().unwrap_or(0) > 0, "{line}");
        }
        let refused = line("nobody.example.com:443")?;
        ensure!(refused["reason"] == "host_not_in_registry{nobody.example.com:443}", "{refused}");
        ensure!(portolan.counter("refused.host_not_in_registry")? == 1);
        // What is inside has a line of its own, with the client that asked for the tunnel.
        let inner = portolan.access_log_line(|line| line["server_name"] == "web.example.com")?;
        ensure!(inner["decision"] == "tls_passthrough ServiceEntry default/web", "{inner}");
        ensure!(inner["downstream"] == line("web.example.com:443")?["downstream"], "{inner}");
        let inner = portolan.access_log_line(|line| line["path"] == "/x")?;
        ensure!(inner["decision"] == "default VirtualService default/web http[1]", "{inner}");
        ensure!(inner["downstream"] == line("web.example.com:80")?["downstream"], "{inner}");
        Ok(())
    })
}

#[test]
fn a_tunnel_is_for_one_service() -> Result<()> {
    on_every_version(|world, version| {
        let portolan = world.setup(version)?.start()?;
        let address = proxy(&portolan)?;
        // Two TCP services of one port, and one below a wildcard, are told apart by name.
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: any\r\n\r\n");
        for (target, upstream) in [
            ("db1.example.com:5432", "db1"),
            ("DB2.example.com.:5432", "db2"),
            ("a.shards.example.com:5433", "db2"),
        ] {
            let response = inside(address, target, &request("/secret"))?.context("closed")?;
            ensure!(response.json::<serde_json::Value>()?["upstream"] == upstream, "{target}");
        }
        // Requests in a tunnel are decided by the filter: by their own Host header.
        for (target, host, path, status) in [
            ("web.example.com:80", "web.example.com", "/", 200),
            ("web.example.com:80", "web.example.com:22", "/", 200),
            ("192.0.2.1:80", "web.example.com", "/", 200),
            ("web.example.com:80", "web.example.com", "/secret", 403),
            ("web.example.com:80", "nobody.example.com", "/", 502),
            ("web.example.com:80", "other.example.com", "/", 502),
        ] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let response = inside(address, target, &request)?.context("closed")?;
            ensure!(response.status == status, "{target} {host} {path}: {}", response.status);
        }
        // No tunnel in a tunnel.
        let nested =
            inside(address, "web.example.com:80", "CONNECT web.example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n")?;
        ensure!(nested.is_none_or(|response| response.status >= 400));
        // The server name has to be the host of the CONNECT, in TLS.
        let before = world.secure.handshakes().len();
        for (target, server_name, passes) in [
            ("web.example.com:443", "web.example.com", true),
            ("WEB.example.com.:443", "web.example.com", true),
            ("192.0.2.1:443", "web.example.com", true),
            ("web.example.com:443", "other.example.com", false),
            ("192.0.2.1:443", "other.example.com", false),
            ("web.example.com:443", "nobody.example.com", false),
        ] {
            let (stream, head) = connect(address, target)?;
            ensure!(head.starts_with("HTTP/1.1 200"), "{target}: {head}");
            let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
            let response = tls_client::request_on(stream, server_name, request.as_bytes())?;
            ensure!(response.is_some() == passes, "{target} {server_name}");
        }
        ensure!(world.secure.handshakes().len() == before + 3);
        ensure!(inside(address, "web.example.com:443", &request("/"))?.is_none(), "plaintext to a TLS port");
        ensure!(portolan.envoy.stat("tunnel_tls.rbac.denied")? == 2);
        Ok(())
    })
}

#[test]
fn tunnels_to_elsewhere_are_refused() -> Result<()> {
    on_every_version(|world, version| {
        let portolan = world.setup(version)?.start()?;
        let address = proxy(&portolan)?;
        let private = world.private.addr().port();
        for (target, status) in [
            ("nobody.example.com:443", 502),
            ("web.example.com:22", 502),
            ("db1.example.com:443", 502),
            ("shards.example.com:5433", 502),
            ("192.0.2.2:443", 502),
            ("192.0.2.1:22", 502),
            ("localhost:9901", 502),
            (&*format!("127.0.0.1:{}", portolan.envoy.admin_addr().port()), 502),
            (&*format!("127.0.0.1:{private}"), 502),
            (&*format!("127.0.0.1:{}", address.port()), 502),
            // Envoy itself refuses these.
            ("tunnel_tls_443:443", 400),
            ("web.example.com", 400),
            ("user@web.example.com:443", 400),
            ("web.example.com:443/path", 400),
            ("http://web.example.com:443/", 400),
            ("web.example.com:99999", 400),
        ] {
            let (_, head) = connect(address, target)?;
            ensure!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {head}");
        }
        // Headers that would name a cluster, and a forged decision.
        let forged = "CONNECT nobody.example.com:443 HTTP/1.1\r\nHost: x\r\n\
            x-portolan-cluster: outbound|5432||db1.example.com\r\nwasm.portolan.route: tunnel x\r\n\r\n";
        ensure!(raw::request(address, forged.as_bytes())?.status == 502);
        ensure!(world.private.connections() == 0 && world.db1.connections() == 0);
        Ok(())
    })
}

#[test]
fn unknown_tunnels_pass_through_with_their_guard() -> Result<()> {
    // OTP-05
    on_every_version(|world, version| {
        let private = world.private.addr().port();
        let target = format!("private.example.com:{private}");
        let address_target = format!("127.0.0.1:{private}");
        let setup = || Ok::<_, anyhow::Error>(world.setup(version)?.option("--outbound-policy", "allow-any"));
        let portolan = setup()?.guarded().start()?;
        for target in [&target, &address_target, "localhost:9901"] {
            let (_, head) = connect(proxy(&portolan)?, target)?;
            ensure!(!head.starts_with("HTTP/1.1 200"), "{target}: {head}");
        }
        let line = portolan.access_log_line(|line| line["authority"] == *target)?;
        ensure!(line["response_code"] == 403 && line["decision"] == "passthrough allow_any", "{line}");
        ensure!(world.private.connections() == 0);

        let portolan = setup()?.option("--allow-upstream", "127.0.0.1/32").start()?;
        let request = "GET / HTTP/1.1\r\nHost: any\r\n\r\n";
        for target in [&target, &address_target] {
            let response = inside(proxy(&portolan)?, target, request)?.context("closed")?;
            ensure!(response.json::<serde_json::Value>()?["upstream"] == "private", "{target}");
        }
        ensure!(portolan.counter("passed_through")? == 2);
        // What is registered is still looked into.
        let (stream, _) = connect(proxy(&portolan)?, "web.example.com:443")?;
        ensure!(tls_client::request_on(stream, "private.example.com", request.as_bytes())?.is_none());
        Ok(())
    })
}

#[test]
fn without_a_decision_there_is_no_tunnel() -> Result<()> {
    on_every_version(|world, version| {
        let setup = world.setup(version)?;
        setup.generate_changed("envoy.yaml", |yaml| {
            let mut bootstrap: serde_json::Value = serde_saphyr::from_str(yaml)?;
            let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().context("listeners")?;
            for listener in listeners {
                let filters = listener.pointer_mut("/filter_chains/0/filters/0/typed_config/http_filters");
                if let Some(filters) = filters.and_then(serde_json::Value::as_array_mut) {
                    filters.retain(|filter| filter["name"] != "portolan");
                }
            }
            Ok(bootstrap.to_string())
        })?;
        let portolan = setup.start_as_generated()?;
        for target in ["web.example.com:443", "web.example.com:80", "db1.example.com:5432"] {
            let (_, head) = connect(proxy(&portolan)?, target)?;
            ensure!(head.starts_with("HTTP/1.1 503 "), "{target}: {head}");
        }
        ensure!(world.db1.connections() + world.secure.connections() == 0);
        Ok(())
    })
}

#[test]
fn http2_can_ask_for_tunnels() -> Result<()> {
    on_every_version(|world, version| {
        let portolan = world.setup(version)?.start()?;
        let mut stream = TcpStream::connect(proxy(&portolan)?)?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        sent.extend(frame(4, 0, 0, b""));
        let headers = [literal(":method", "CONNECT"), literal(":authority", "db1.example.com:5432")].concat();
        sent.extend(frame(1, 4, 1, &headers));
        sent.extend(frame(0, 0, 1, b"GET / HTTP/1.1\r\nHost: any\r\n\r\n"));
        stream.write_all(&sent)?;
        let mut received = Vec::new();
        let found = poll(LIMIT, || {
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).unwrap_or(0);
            received.extend_from_slice(&buffer[..length]);
            received.windows(15).any(|part| part == b"HTTP/1.1 200 OK").then_some(())
        });
        ensure!(found.is_some() && world.db1.connections() == 1, "{}", received.escape_ascii());
        Ok(())
    })
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header without indexing (RFC 7541, 6.2.2), of short texts.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap_or_default()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

#[test]
fn listeners_by_port_can_stand_beside_it() -> Result<()> {
    on_every_version(|world, version| {
        let portolan = world.setup(version)?.option("--listen", "80=127.0.0.1:0").start()?;
        let request = "CONNECT web.example.com:443 HTTP/1.1\r\nHost: web.example.com:443\r\n\r\n";
        ensure!(raw::request(portolan.http()?, request.as_bytes())?.status >= 400, "no tunnels there");
        // There the port of a Host header has no say (VH-02); here it does.
        for (address, host, status) in [
            (portolan.http()?, "web.example.com:8080", 200),
            (proxy(&portolan)?, "web.example.com:8080", 502),
            (proxy(&portolan)?, "web.example.com", 200),
            (proxy(&portolan)?, "other.example.com:8080", 200),
            (proxy(&portolan)?, "other.example.com", 502),
            (proxy(&portolan)?, "web.example.com:http", 400),
        ] {
            let response = raw::get_plain(address, host, "/")?;
            ensure!(response.status == status, "{host}: {}", response.status);
        }
        // The target wins over the Host header.
        let mut request = String::new();
        write!(request, "GET http://web.example.com/ HTTP/1.1\r\nHost: other.example.com:8080\r\n\r\n")?;
        let response = raw::request(proxy(&portolan)?, request.as_bytes())?;
        ensure!(response.json::<serde_json::Value>()?["host"] == "web.example.com");
        Ok(())
    })
}
