//! Connections that are passed through, in a real Envoy: to a real server, to one that speaks first,
//! beside HTTP, through a proxy, and to nobody.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::process::{self, poll};
use portolan_e2e::scratch::loopback_address;
use portolan_e2e::upstream::echo;
use portolan_e2e::{Portolan, Scratch, Setup, Upstream, each_version, raw, tls_client};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a listener waits for a client that may be the one to speak first.
const FIRST_BYTES: Duration = Duration::from_secs(5);

/// By so much Envoy's clock may be ahead.
const CLOCK: Duration = Duration::from_millis(100);

/// A server for one kind of talk, each connection on a thread of its own.
struct Server {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(talk: fn(TcpStream) -> std::io::Result<()>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        let serve = move || {
            for stream in listener.incoming().flatten() {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                let _ = stream.set_read_timeout(Some(PATIENCE));
                thread::spawn(move || talk(stream));
            }
        };
        Ok(Self { address, stopped, thread: Some(thread::spawn(serve)) })
    }

    fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Greets, and repeats a line.
fn greet(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"welcome\n")?;
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut line)?;
    stream.write_all(format!("again: {line}").as_bytes())
}

/// A proxy that is asked for a tunnel, and tells at its other end by which words.
fn tunnel(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut host = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if line.to_ascii_lowercase().starts_with("host:") {
            host = line.trim().to_owned();
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let mut line = String::new();
    // What comes in the body of a POST has the length of its chunk before it.
    while !line.contains("ping") {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
    }
    stream.write_all(format!("{} | {host} | {line}", first.trim()).as_bytes())
}

/// Sends a line, and reads to the end; with how long the first byte took.
fn talk(address: SocketAddr, line: &str) -> Result<(String, Duration)> {
    let start = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut first = [0; 1];
    if line.is_empty() {
        // The server speaks first.
        stream.read_exact(&mut first)?;
    } else {
        stream.write_all(line.as_bytes())?;
        stream.read_exact(&mut first)?;
    }
    let waited = start.elapsed();
    if line.is_empty() {
        stream.write_all(b"hello\n")?;
    }
    let mut rest = String::new();
    stream.read_to_string(&mut rest)?;
    Ok((format!("{}{rest}", char::from(first[0])), waited))
}

fn entry(host: &str, port: u16, protocol: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {}}}
spec:
  hosts: [{host}]
  location: MESH_EXTERNAL
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1}}]
  ports: [{{number: {port}, name: p, protocol: '{protocol}'}}]
",
        host.replace('.', "-")
    )
}

fn listen(setup: Setup, port: u16) -> Setup {
    setup.option("--listen", format!("{port}=127.0.0.1:0"))
}

fn lead(setup: Setup, host: &str, port: u16, to: u16) -> Setup {
    setup.option("--upstream-port", format!("{host}:{port}={to}"))
}

/// A Redis server.
struct Redis {
    child: Child,
    address: Ipv4Addr,
    _directory: Scratch,
}

impl Redis {
    const PORT: u16 = 6379;

    fn start() -> Result<Self> {
        let directory = Scratch::new()?;
        let address = loopback_address();
        // Of Debian's redis-tools: by this name the program is the server.
        let child = Command::new("redis-check-rdb")
            .arg0("redis-server")
            .args(["--bind", &address.to_string(), "--port", &Self::PORT.to_string(), "--save", ""])
            .arg("--dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("start Redis of Debian's package redis-tools, which `make tools` installs")?;
        let redis = Self { child, address, _directory: directory };
        let answers = || redis.ask(address, Self::PORT, &["PING"]).ok().filter(|answer| answer == "PONG");
        poll(PATIENCE, answers).context("Redis doesn't answer")?;
        Ok(redis)
    }

    fn ask(&self, host: Ipv4Addr, port: u16, question: &[&str]) -> Result<String> {
        let mut command = Command::new("redis-cli");
        command.args(["-h", &host.to_string(), "-p", &port.to_string()]).args(question);
        let finished = process::run(&mut command, PATIENCE)?;
        ensure!(finished.success(), "{finished}");
        Ok(finished.stdout.trim().to_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = process::stop(&mut self.child, PATIENCE);
    }
}

/// SE-P-05, SE-07, VS-TCP-04.
#[test]
fn a_real_server_is_reached_by_its_port() -> Result<()> {
    let redis = Redis::start()?;
    each_version(|version| {
        let yaml = entry("redis.example.com", Redis::PORT, "Redis");
        let yaml = yaml.replace("127.0.0.1", &redis.address.to_string());
        let portolan = listen(Setup::new(version)?, Redis::PORT).yaml(&yaml)?.start()?;
        let port = portolan.listener(Redis::PORT)?.port();
        let ask = |question: &[&str]| redis.ask(Ipv4Addr::LOCALHOST, port, question);
        assert_eq!(ask(&["SET", "ship", version])?, "OK");
        assert_eq!(ask(&["GET", "ship"])?, version);
        assert_eq!(redis.ask(redis.address, Redis::PORT, &["GET", "ship"])?, version);
        // One word for all ports, whatever is registered.
        portolan.envoy.wait_stat("tcp.tcp_passthrough.downstream_cx_total", |count| count == 2, PATIENCE)?;
        let line = portolan.access_log_line(|line| line["upstream_cluster"].is_string())?;
        assert_eq!(line["decision"], "tcp_passthrough ServiceEntry default/redis-example-com");
        assert_eq!(line["upstream_cluster"], "outbound|6379||redis.example.com");
        Ok(())
    })
}

/// SE-P-05, SE-P-07, SE-P-08: MySQL and its like.
#[test]
fn a_server_may_speak_first() -> Result<()> {
    each_version(|version| {
        let server = Server::start(greet)?;
        let mut setup = Setup::new(version)?.yaml(&entry("db.example.com", 3306, "MySQL"))?;
        setup = setup.yaml(&entry("any.example.com", 2525, ""))?;
        setup =
            lead(lead(setup, "db.example.com", 3306, server.port()), "any.example.com", 2525, server.port());
        let portolan = listen(listen(setup, 3306), 2525).start()?;
        let (said, waited) = talk(portolan.listener(3306)?, "")?;
        assert_eq!(said, "welcome\nagain: hello\n");
        ensure!(waited < FIRST_BYTES, "nobody had to wait for the client: {waited:?}");
        // Without a protocol the client's first bytes are waited for.
        let (said, waited) = talk(portolan.listener(2525)?, "")?;
        assert_eq!(said, "welcome\nagain: hello\n");
        ensure!(waited >= FIRST_BYTES - CLOCK, "it might have been HTTP: {waited:?}");
        let (said, waited) = talk(portolan.listener(2525)?, "ahoy\n")?;
        assert_eq!(said, "welcome\nagain: ahoy\n");
        ensure!(waited < FIRST_BYTES, "the client has spoken: {waited:?}");
        Ok(())
    })
}

/// SE-P-09, LI-02.
#[test]
fn one_port_has_http_and_tcp() -> Result<()> {
    each_version(|version| {
        let server = Server::start(greet)?;
        let upstream = Upstream::builder().handler(echo()).start()?;
        let mut setup = Setup::new(version)?.yaml(&entry("web.example.com", 8080, "HTTP"))?;
        setup = setup.yaml(&entry("db.example.com", 8080, "TCP"))?;
        setup = lead(setup, "web.example.com", 8080, upstream.addr().port());
        let portolan = listen(lead(setup, "db.example.com", 8080, server.port()), 8080).start()?;
        let address = portolan.listener(8080)?;
        let response = raw::get_plain(address, "web.example.com", "/")?;
        assert_eq!(response.status, 200);
        assert_eq!(upstream.requests().len(), 1);
        assert_eq!(raw::get_plain(address, "db.example.com", "/")?.status, 502, "SE-04");
        assert_eq!(talk(address, "ahoy\n")?.0, "welcome\nagain: ahoy\n");
        Ok(())
    })
}

/// TCP-02, DR-TUN-01.
#[test]
fn connections_go_through_a_proxy_by_connect_or_post() -> Result<()> {
    const RULES: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: target}
spec:
  hosts: [target.example.com]
  tcp:
  - match: [{port: 5432}]
    route: [{destination: {host: connect.example.com}}]
  - match: [{port: 5433}]
    route: [{destination: {host: post.example.com}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: connect}
spec:
  host: connect.example.com
  trafficPolicy: {tunnel: {targetHost: target.example.com, targetPort: 5432}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: post}
spec:
  host: post.example.com
  trafficPolicy: {tunnel: {protocol: POST, targetHost: '2001:db8::1', targetPort: 5433}}
";
    each_version(|version| {
        let proxy = Server::start(tunnel)?;
        let target = entry("target.example.com", 5432, "TCP")
            .replace("ports: [", "ports: [{number: 5433, name: q, protocol: TCP}, ");
        let mut setup = Setup::new(version)?.yaml(RULES)?.yaml(&target)?;
        for host in ["connect.example.com", "post.example.com"] {
            setup = lead(setup.yaml(&entry(host, 3128, "TCP"))?, host, 3128, proxy.port());
        }
        let portolan = listen(listen(setup, 5432), 5433).start()?;
        let (said, _) = talk(portolan.listener(5432)?, "ping\n")?;
        assert_eq!(said, "CONNECT target.example.com:5432 HTTP/1.1 | host: target.example.com:5432 | ping\n");
        let (said, _) = talk(portolan.listener(5433)?, "ping\n")?;
        ensure!(said.starts_with("POST / HTTP/1.1 | host: [2001:db8::1]:5433 | ping\n"), "{said}");
        Ok(())
    })
}

/// TCP-01.
#[test]
fn connections_have_their_time() -> Result<()> {
    each_version(|version| {
        let server = Server::start(greet)?;
        let mut setup = Setup::new(version)?;
        for (host, port, limit) in [
            ("idle.example.com", 3306, "idleTimeout: 500ms"),
            ("short.example.com", 3307, "maxConnectionDuration: 500ms"),
            ("any.example.com", 3308, "maxConnections: 10"),
        ] {
            let rule = format!(
                "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: p{port}}}
spec: {{host: {host}, trafficPolicy: {{connectionPool: {{tcp: {{{limit}}}}}}}}}
"
            );
            setup = setup.yaml(&entry(host, port, "MySQL"))?.yaml(&rule)?;
            setup = listen(lead(setup, host, port, server.port()), port);
        }
        let portolan = setup.start()?;
        // How long a client that says nothing is kept.
        let kept = |port: u16, limit: Duration| -> Result<Duration> {
            let begin = Instant::now();
            let mut stream = TcpStream::connect_timeout(&portolan.listener(port)?, PATIENCE)?;
            stream.set_read_timeout(Some(limit))?;
            let mut said = String::new();
            let _ = stream.read_to_string(&mut said);
            assert_eq!(said, "welcome\n");
            Ok(begin.elapsed())
        };
        for port in [3306, 3307] {
            let time = kept(port, PATIENCE)?;
            ensure!((Duration::from_millis(400)..Duration::from_secs(3)).contains(&time), "{port}: {time:?}");
        }
        let limit = Duration::from_secs(2);
        ensure!(kept(3308, limit)? >= limit, "nothing limits it");
        Ok(())
    })
}

/// DR-LB-07.
#[test]
fn the_address_of_a_client_chooses_the_endpoint() -> Result<()> {
    each_version(|version| {
        let servers = [
            Server::start(|mut stream| stream.write_all(b"one"))?,
            Server::start(|mut stream| stream.write_all(b"two"))?,
        ];
        let entry = |host: &str, port: u16| {
            let [one, two] = &servers;
            let endpoints = format!(
                "[{{address: 127.0.0.1, ports: {{p: {}}}}}, {{address: 127.0.0.1, ports: {{p: {}}}}}]",
                one.port(),
                two.port()
            );
            entry(host, port, "MySQL").replace("[{address: 127.0.0.1}]", &endpoints)
        };
        let rule = |host: &str, balancer: &str| {
            format!(
                "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {}}}
spec: {{host: {host}, trafficPolicy: {{loadBalancer: {{{balancer}}}}}}}
",
                host.replace('.', "-")
            )
        };
        let setup = Setup::new(version)?
            .yaml(&entry("hash.example.com", 3306))?
            .yaml(&rule("hash.example.com", "consistentHash: {useSourceIp: true}"))?
            .yaml(&entry("turn.example.com", 3307))?
            .yaml(&rule("turn.example.com", "simple: ROUND_ROBIN"))?;
        let portolan = listen(listen(setup, 3306), 3307).start()?;
        let answers = |port: u16| -> Result<BTreeSet<String>> {
            let ask = |_| {
                let mut stream = TcpStream::connect_timeout(&portolan.listener(port)?, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let mut said = String::new();
                stream.read_to_string(&mut said)?;
                Ok(said)
            };
            (0..12).map(ask).collect()
        };
        assert_eq!(answers(3306)?.len(), 1, "always the same one");
        assert_eq!(answers(3307)?.len(), 2, "one after the other");
        Ok(())
    })
}

/// OTP-04: closed, counted and named.
#[test]
fn what_nobody_has_is_closed_and_counted() -> Result<()> {
    each_version(|version| {
        let setup = Setup::new(version)?.yaml(&entry("a.example.com", 443, "TLS"))?;
        let setup = setup.option("--profile", "istio").option("--outbound-policy", "registry-only");
        let portolan = listen(listen(setup, 443), 5432).start()?;
        let closed = tls_client::request(portolan.tls()?, "nobody.example.com", b"GET / HTTP/1.1\r\n\r\n")?;
        ensure!(closed.is_none(), "{closed:?}");
        let refused = talk(portolan.listener(5432)?, "ahoy\n");
        ensure!(refused.is_err(), "{refused:?}");
        for (counter, reason) in
            [("tls_refused", "server_name_not_in_registry"), ("tcp_refused", "port_not_in_registry")]
        {
            let total = format!("tcp.{counter}.downstream_cx_total");
            portolan.envoy.wait_stat(&total, |count| count == 1, PATIENCE)?;
            let line = portolan.access_log_line(|line| line["decision"] == counter)?;
            assert_eq!(line["reason"], reason);
        }
        bounded(&portolan)
    })
}

/// Counters of connections are of a few sorts, however many services there are.
fn bounded(portolan: &Portolan) -> Result<()> {
    let known = ["tls_passthrough", "tcp_passthrough", "tls_refused", "tcp_refused"];
    for name in portolan.envoy.stats()?.into_keys().filter(|name| name.starts_with("tcp.")) {
        let sort = name.split('.').nth(1).unwrap_or_default();
        ensure!(known.contains(&sort), "{name}");
    }
    Ok(())
}
