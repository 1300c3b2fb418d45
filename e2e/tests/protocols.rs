//! The forms of HTTP, from the client through the filter to the upstream.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{HeaderMap, HeaderValue, Request};
use portolan_e2e::http2::{Client, Echo};
use portolan_e2e::raw::{self, Head};
use portolan_e2e::{DnsServer, Portolan, Reply, Setup, Upstream, each_version, websocket};
use tokio::runtime::Runtime;

const LIMIT: Duration = Duration::from_secs(10);

/// `a.example.com` on port 80 with this protocol, at `upstream`.
struct World {
    portolan: Portolan,
    _dns: DnsServer,
}

impl World {
    fn start(version: &str, protocol: &str, upstream: SocketAddr) -> Result<Self> {
        let dns = DnsServer::start(&[("a.example.com", Ipv4Addr::LOCALHOST)])?;
        let yaml = format!(
            "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: a}}
spec:
  hosts: [a.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{{number: 80, name: p, protocol: {protocol}}}]
"
        );
        let portolan = Setup::with_listeners(version)?
            .yaml(&yaml)?
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={}", upstream.port()))
            .start()?;
        Ok(Self { portolan, _dns: dns })
    }
}

fn call(host: &str, path: &str) -> Result<Request<()>> {
    let request = Request::post(format!("http://{host}{path}"));
    Ok(request.header("content-type", "application/grpc").header("te", "trailers").body(())?)
}

#[test]
fn grpc_passes_both_ways() -> Result<()> {
    each_version(|version| {
        let runtime = Runtime::new()?;
        let echo = Echo::start(&runtime)?;
        let world = World::start(version, "GRPC", echo.address)?;
        let front = world.portolan.http()?;
        runtime.block_on(async {
            let mut client = Client::connect(front).await?;
            // A message goes out, comes back, and only then the next one goes out.
            let mut chat = client.send(call("a.example.com", "/echo.Echo/Chat")?).await?;
            assert_eq!(chat.response.headers()["content-type"], "application/grpc");
            for message in [&b"\0\0\0\0\x01a"[..], b"\0\0\0\0\x02bb", b"\0\0\0\0\x00"] {
                chat.echo(message).await?;
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("x-told", HeaderValue::from_static("last"));
            let trailers = chat.finish(trailers).await?;
            assert_eq!((&trailers["grpc-status"], &trailers["x-told"]), (&"0".parse()?, &"last".parse()?));
            // An answer that is nothing but a status.
            let mut failed = client.send(call("a.example.com", "/echo.Echo/Fail")?).await?;
            assert_eq!(failed.response.headers()["grpc-status"], "5");
            failed.trailers().await?;
            anyhow::Ok(())
        })?;
        let seen = echo.seen();
        assert_eq!(seen[0].uri().path(), "/echo.Echo/Chat");
        assert_eq!(seen[0].uri().authority().map(http::uri::Authority::as_str), Some("a.example.com"));
        Ok(())
    })
}

#[test]
fn refusals_have_the_form_of_grpc() -> Result<()> {
    each_version(|version| {
        let runtime = Runtime::new()?;
        let echo = Echo::start(&runtime)?;
        let world = World::start(version, "GRPC", echo.address)?;
        let front = world.portolan.http()?;
        runtime.block_on(async {
            let mut client = Client::connect(front).await?;
            let refused = client.send(call("b.example.com", "/echo.Echo/Chat")?).await?;
            assert_eq!(refused.response.status(), 200);
            assert_eq!(refused.response.headers()["grpc-status"], "14", "as Envoy translates a 502");
            let message = refused.response.headers()["grpc-message"].to_str()?;
            assert!(message.contains("b.example.com"), "{message}");
            anyhow::Ok(())
        })?;
        assert!(echo.seen().is_empty());
        Ok(())
    })
}

#[test]
fn clients_may_begin_with_http2() -> Result<()> {
    each_version(|version| {
        let runtime = Runtime::new()?;
        let upstream = Upstream::builder().start()?;
        let world = World::start(version, "HTTP", upstream.addr())?;
        let front = world.portolan.http()?;
        runtime.block_on(async {
            let mut client = Client::connect(front).await?;
            let request = Request::get("http://a.example.com/x?y=1").body(())?;
            let mut answer = client.send(request).await?;
            assert_eq!(answer.response.status(), 200);
            answer.trailers().await?;
            anyhow::Ok(())
        })?;
        let seen = &upstream.requests()[0];
        assert_eq!((seen.version.as_str(), seen.path.as_str()), ("HTTP/1.1", "/x?y=1"));
        assert_eq!(seen.host, "a.example.com");
        // Asked for by a header, HTTP/2 isn't spoken, and the request is answered.
        let upgrade = Head::new("GET", "/upgrade")
            .header("host", "a.example.com")
            .header("connection", "upgrade, http2-settings")
            .header("upgrade", "h2c")
            .header("http2-settings", "AAMAAABkAAQAAP__");
        assert_eq!(raw::request(front, &upgrade.finish())?.status, 200);
        Ok(())
    })
}

#[test]
fn websockets_echo() -> Result<()> {
    each_version(|version| {
        let world = World::start(version, "HTTP", websocket::server()?)?;
        let mut socket = websocket::connect(world.portolan.http()?, "a.example.com")?;
        for _ in 0..3 {
            websocket::echo(&mut socket)?;
        }
        // Nobody is upgraded on the way to nowhere.
        assert_eq!(raw::request(world.portolan.http()?, &websocket::upgrade("b.example.com"))?.status, 502);
        Ok(())
    })
}

#[test]
fn websockets_echo_over_http2() -> Result<()> {
    each_version(|version| {
        let runtime = Runtime::new()?;
        let echo = Echo::start(&runtime)?;
        for (protocol, upstream) in [("HTTP", websocket::server()?), ("HTTP2", echo.address)] {
            let world = World::start(version, protocol, upstream)?;
            let front = world.portolan.http()?;
            runtime.block_on(async {
                let mut client = Client::connect(front).await?;
                // The settings come with the first answer at the latest.
                let _ = client.send(Request::get("http://b.example.com/").body(())?).await?;
                ensure!(client.takes_extended_connect(), "{protocol}: RFC 8441 isn't offered");
                let mut request = Request::connect("http://a.example.com/chat")
                    .header("sec-websocket-version", "13")
                    .body(())?;
                request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
                let mut socket = client.send(request).await?;
                assert_eq!(socket.response.status(), 200, "{protocol}");
                for _ in 0..3 {
                    socket.echo(websocket::FRAME).await?;
                }
                anyhow::Ok(())
            })?;
        }
        let seen = echo.seen().pop().context("nothing came over HTTP/2")?;
        assert_eq!((seen.method().as_str(), seen.uri().path()), ("CONNECT", "/chat"));
        assert_eq!(seen.headers()["protocol"], "websocket");
        Ok(())
    })
}

/// Reads until the peer is silent for a moment.
fn read_some(stream: &mut TcpStream) -> Result<String> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
}

#[test]
fn a_client_may_wait_until_its_body_is_wanted() -> Result<()> {
    each_version(|version| {
        let upstream = Upstream::builder().start()?;
        let world = World::start(version, "HTTP", upstream.addr())?;
        let ask = |host: &str| {
            Head::new("PUT", "/file")
                .header("host", host)
                .header("expect", "100-continue")
                .header("content-length", "5")
                .finish()
        };
        let mut stream = TcpStream::connect(world.portolan.http()?)?;
        stream.write_all(&ask("a.example.com"))?;
        let first = read_some(&mut stream)?;
        assert!(first.starts_with("HTTP/1.1 100 Continue\r\n\r\n"), "{first}");
        stream.write_all(b"hello")?;
        assert!(read_some(&mut stream)?.starts_with("HTTP/1.1 200"));
        let seen = &upstream.requests()[0];
        assert_eq!((&*seen.body, seen.header("expect").as_deref()), (&b"hello"[..], Some("100-continue")));
        // Who is refused needn't send it.
        let mut stream = TcpStream::connect(world.portolan.http()?)?;
        stream.write_all(&ask("b.example.com"))?;
        let first = read_some(&mut stream)?;
        assert!(first.starts_with("HTTP/1.1 502"), "{first}");
        Ok(())
    })
}

#[test]
fn large_bodies_pass_both_ways() -> Result<()> {
    each_version(|version| {
        let upstream = Upstream::builder()
            .handler(|request| Reply::new(200, request.body.clone()).header("connection", "close"))
            .start()?;
        let world = World::start(version, "HTTP", upstream.addr())?;
        let body: Vec<u8> = (0..20_000_000_u32).map(|n| n.to_le_bytes()[usize::from(n % 3 == 0)]).collect();
        let request = Head::new("POST", "/upload").header("host", "a.example.com").body(&body);
        // Written by another thread: the answer may come before all is sent.
        let mut stream = TcpStream::connect(world.portolan.http()?)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut writer = stream.try_clone()?;
        let sender = thread::spawn(move || writer.write_all(&request));
        let mut received = Vec::new();
        let mut buffer = vec![0; 1 << 20];
        let answer = loop {
            let length = stream.read(&mut buffer)?;
            received.extend_from_slice(buffer.get(..length).unwrap_or_default());
            // Looked at when it may be whole.
            if received.len() > body.len()
                && let Some(answer) = raw::Response::parse(&received, length == 0, false)?
            {
                break answer;
            }
            ensure!(length > 0, "closed after {} bytes", received.len());
        };
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "{} of {} bytes came back", answer.body.len(), body.len());
        sender.join().ok().context("the writer panicked")??;
        Ok(())
    })
}

#[test]
fn http2_is_spoken_over_tls_where_the_port_says_so() -> Result<()> {
    each_version(|version| {
        let ca = portolan_e2e::Ca::new()?;
        let scratch = portolan_e2e::Scratch::new()?;
        ca.write_bundle(scratch.path().join("ca.pem"))?;
        let upstream = Upstream::builder().tls(ca.issue(&["a.example.com"])?).start()?;
        let dns = DnsServer::start(&[("a.example.com", Ipv4Addr::LOCALHOST)])?;
        let yaml = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http2, protocol: HTTP2}, {number: 81, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec: {host: a.example.com, trafficPolicy: {tls: {mode: SIMPLE}}}
";
        let port = upstream.addr().port();
        let portolan = Setup::with_listeners(version)?
            .yaml(yaml)?
            .option("--listen", "81=127.0.0.1:0")
            .option("--ca-bundle", scratch.path().join("ca.pem").to_string_lossy())
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={port}"))
            .option("--upstream-port", format!("81={port}"))
            .start()?;
        for (port, spoken) in [(80, "HTTP/2.0"), (81, "HTTP/1.1")] {
            upstream.clear();
            assert_eq!(raw::get_plain(portolan.listener(port)?, "a.example.com", "/")?.status, 200);
            assert_eq!(upstream.requests()[0].version, spoken, "DR-TLS-18");
        }
        Ok(())
    })
}
