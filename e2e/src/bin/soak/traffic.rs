//! The sorts of traffic. Each is a client of its own, which knows what has to come back.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result, ensure};
use http::Request;
use portolan_e2e::mixed::Addresses;
use portolan_e2e::raw::{self, Connection, Head};
use portolan_e2e::{http2, tls_client, websocket};
use tokio::runtime::Runtime;

use crate::world::STATES;

/// More than fits into the buffers of a connection.
const BODY: usize = 300 * 1024;

const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

/// One sort of traffic.
pub(crate) struct Sort {
    pub(crate) name: &'static str,
    /// Its share of all requests.
    pub(crate) share: f64,
    /// Makes one request. After a failure it begins anew.
    pub(crate) step: Step,
}

type Step = Box<dyn FnMut() -> Result<()> + Send>;

/// All of them; their shares are 1 together.
pub(crate) fn sorts(to: Addresses) -> Result<Vec<Sort>> {
    let sort = |name, share, step| Sort { name, share, step };
    Ok(vec![
        sort("rewritten", 0.30, rewritten(to.http)),
        sort(
            "with TLS originated",
            0.20,
            kept_alive(to.http, get("webserver", "/secure"), b"/secure".to_vec()),
        ),
        sort("bodies", 0.05, bodies(to.http)),
        sort("refused", 0.10, Box::new(move || refused(to))),
        sort("aborted", 0.05, aborted(to)),
        sort("TLS by SNI", 0.05, Box::new(move || tls(TcpStream::connect(to.tls)?))),
        sort("tunnels with TLS", 0.05, Box::new(move || tls(tunnel(to.proxy, "passed.example.com:443")?))),
        sort("tunnels with TCP", 0.03, Box::new(move || short_tunnel(to.proxy))),
        sort("in a tunnel that stays", 0.05, long_tunnel(to.proxy)),
        sort(
            "websockets",
            0.03,
            Box::new(move || websocket::echo(&mut websocket::connect(to.http, "websocket.example.com")?)),
        ),
        sort("in a websocket that stays", 0.03, long_websocket(to.http)),
        sort("gRPC calls", 0.03, calls(to.http)?),
        sort("in a gRPC stream that stays", 0.03, long_call(to.http)?),
    ])
}

fn get(host: &str, path: &str) -> Vec<u8> {
    Head::new("GET", path).header("host", host).finish()
}

/// Keeps what a client holds from step to step, and makes it anew after a failure.
fn holding<T: Send + 'static>(
    open: impl Fn() -> Result<T> + Send + 'static,
    step: impl Fn(&mut T) -> Result<()> + Send + 'static,
) -> Step {
    let mut held = None;
    Box::new(move || {
        let mut it = match held.take() {
            Some(it) => it,
            None => open()?,
        };
        step(&mut it)?;
        held = Some(it);
        Ok(())
    })
}

/// Requests of one connection, which are all answered alike.
fn kept_alive(address: SocketAddr, request: Vec<u8>, body: Vec<u8>) -> Step {
    holding(
        move || Connection::open(address),
        move |connection| expect(&connection.request(&request)?, 200, |came| came == body),
    )
}

fn expect(response: &raw::Response, status: u16, body: impl Fn(&[u8]) -> bool) -> Result<()> {
    ensure!(response.status == status && body(&response.body), "{} {}", response.status, response.text());
    Ok(())
}

fn rewritten(address: SocketAddr) -> Step {
    let is_a_state =
        |came: &[u8]| STATES.iter().any(|state| came.strip_prefix(b"/") == Some(state.as_bytes()));
    let request = get("webserver", "/");
    holding(
        move || Connection::open(address),
        move |connection| expect(&connection.request(&request)?, 200, is_a_state),
    )
}

fn bodies(address: SocketAddr) -> Step {
    let body: Vec<u8> = (0..BODY).map(|at| b'a' + (at % 26) as u8).collect();
    let request = Head::new("POST", "/").header("host", "plain.example.com").body(&body);
    kept_alive(address, request, body)
}

/// By the listener for HTTP, by that for TLS, and a tunnel.
fn refused(to: Addresses) -> Result<()> {
    expect(&raw::request(to.http, &get("nobody.example.com", "/"))?, 502, |_| true)?;
    let hello = tls_client::request(to.tls, "nobody.example.com", &get("nobody.example.com", "/"))?;
    ensure!(hello.is_none(), "TLS to a host that isn't registered");
    let tunnel = raw::tunnel(to.proxy, b"nobody.example.com:443")?;
    let response = tunnel.err().context("a tunnel to a host that isn't registered")?;
    expect(&response, 502, |_| true)
}

/// Clients that go without waiting for an answer, each time at another point.
fn aborted(to: Addresses) -> Step {
    let slow = get("plain.example.com", "/slow");
    let upload = Head::new("POST", "/").header("host", "plain.example.com").body(vec![b'x'; BODY]);
    let connect = b"CONNECT passed.example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec();
    let [slow_end, upload_end] = [slow.len(), upload.len() / 2];
    let ends = [(to.http, slow.clone(), 10), (to.http, slow, slow_end), (to.http, upload, upload_end)];
    let mut turns = ends.into_iter().chain([(to.proxy, connect.clone(), connect.len())]).cycle();
    Box::new(move || {
        let Some((address, request, end)) = turns.next() else { return Ok(()) };
        let mut stream = TcpStream::connect(address)?;
        // The rest of a body may meet a connection that is closed.
        let _ = stream.write_all(request.get(..end).unwrap_or(&request));
        Ok(())
    })
}

fn tls(stream: TcpStream) -> Result<()> {
    let request = Head::new("GET", "/x").header("host", "passed.example.com").header("connection", "close");
    let response = tls_client::request_on(stream, "passed.example.com", &request.finish())?;
    expect(&response.context("the connection was closed")?, 200, |came| came == b"/x")
}

fn tunnel(proxy: SocketAddr, target: &str) -> Result<TcpStream> {
    raw::tunnel(proxy, target.as_bytes())?
        .map_err(|response| anyhow::anyhow!("no tunnel: {}", response.status))
}

fn in_tunnel(connection: &mut Connection) -> Result<()> {
    expect(&connection.request(&get("any", "/tcp"))?, 200, |came| came == b"/tcp")
}

fn short_tunnel(proxy: SocketAddr) -> Result<()> {
    in_tunnel(&mut Connection::new(tunnel(proxy, "passed.example.com:5432")?)?)
}

fn long_tunnel(proxy: SocketAddr) -> Step {
    holding(move || Connection::new(tunnel(proxy, "passed.example.com:5432")?), in_tunnel)
}

fn long_websocket(address: SocketAddr) -> Step {
    holding(move || websocket::connect(address, "websocket.example.com"), websocket::echo)
}

fn call() -> Result<Request<()>> {
    let request = Request::post("http://grpc.example.com/echo.Echo/Chat");
    Ok(request.header("content-type", "application/grpc").header("te", "trailers").body(())?)
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn calls(address: SocketAddr) -> Result<Step> {
    let runtime = std::sync::Arc::new(runtime()?);
    let connecting = std::sync::Arc::clone(&runtime);
    Ok(holding(
        move || connecting.block_on(http2::Client::connect(address)),
        move |client| {
            runtime.block_on(async {
                let mut chat = client.send(call()?).await?;
                chat.echo(MESSAGE).await?;
                let trailers = chat.finish(http::HeaderMap::new()).await?;
                ensure!(trailers.get("grpc-status").is_some_and(|status| status == "0"), "{trailers:?}");
                Ok(())
            })
        },
    ))
}

fn long_call(address: SocketAddr) -> Result<Step> {
    let runtime = std::sync::Arc::new(runtime()?);
    let connecting = std::sync::Arc::clone(&runtime);
    Ok(holding(
        move || {
            connecting.block_on(async {
                let mut client = http2::Client::connect(address).await?;
                let chat = client.send(call()?).await?;
                Ok((client, chat))
            })
        },
        move |(_, chat)| runtime.block_on(chat.echo(MESSAGE)),
    ))
}
