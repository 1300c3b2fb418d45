//! The filter's VM dies while there is traffic.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use portolan_e2e::mixed::{Addresses, Mixed};
use portolan_e2e::process::poll;
use portolan_e2e::raw::{self, Connection, Head};
use portolan_e2e::{Portolan, Scratch, Setup, each_version, http2, places, tls_client, websocket};
use tokio::runtime::Runtime;
use walrus::ir::{BinaryOp, MemArg, StoreKind};
use walrus::{FunctionBuilder, FunctionId, Module, ValType};

/// How soon requests are served again.
const RECOVERY: Duration = Duration::from_secs(2);

/// A request with this header ends the VM.
const TRAP: &str = "trap";

/// The module that is shipped, with one change: requests with the header [`TRAP`] end in a trap, as a panic does.
fn trapping_module() -> Result<Vec<u8>> {
    let mut module = Module::from_file(places::module()?)?;
    let exported = |module: &Module, name: &str| -> Result<FunctionId> {
        module.exports.get_func(name).with_context(|| format!("the module doesn't export {name}"))
    };
    let handle = exported(&module, "proxy_on_request_headers")?;
    let allocate = exported(&module, "proxy_on_memory_allocate")?;
    let memory = module.memories.iter().next().context("the module has no memory")?.id();
    let kind = module.types.add(&[ValType::I32; 5], &[ValType::I32]);
    let (get_header, _) = module.add_import_func("env", "proxy_get_header_map_value", kind);
    let [context, headers, end, scratch] = [(); 4].map(|()| module.locals.add(ValType::I32));
    let mut wrapped = FunctionBuilder::new(&mut module.types, &[ValType::I32; 3], &[ValType::I32]);
    let word = MemArg { align: 4, offset: 0 };
    let name = i32::from_le_bytes(TRAP.as_bytes().try_into()?);
    let mut body = wrapped.func_body();
    // Its name, then where Envoy puts address and length of the value. Nobody frees them: it is a test.
    body.i32_const(12).call(allocate).local_tee(scratch).i32_const(name);
    body.store(memory, StoreKind::I32 { atomic: false }, word);
    body.i32_const(0).local_get(scratch).i32_const(4);
    body.local_get(scratch).i32_const(4).binop(BinaryOp::I32Add);
    body.local_get(scratch).i32_const(8).binop(BinaryOp::I32Add);
    // 0: the header is there.
    body.call(get_header).if_else(
        None,
        |_| {},
        |there| {
            there.unreachable();
        },
    );
    body.local_get(context).local_get(headers).local_get(end).call(handle);
    let wrapped = wrapped.finish(vec![context, headers, end], &mut module.funcs);
    module.exports.remove("proxy_on_request_headers")?;
    module.exports.add("proxy_on_request_headers", wrapped);
    Ok(module.emit_wasm())
}

/// An Envoy whose filter can be ended.
struct World {
    portolan: Portolan,
    to: Addresses,
    upstreams: Mixed,
    _module: Scratch,
}

impl World {
    fn start(version: &str, change: impl Fn(Setup) -> Setup) -> Result<Self> {
        let scratch = Scratch::new()?;
        let module = scratch.write("trapping.wasm", trapping_module()?)?;
        let upstreams = Mixed::start(false)?;
        let setup = change(upstreams.setup(version, "rewritten")?.module(&module));
        let portolan = setup.start()?;
        Ok(Self { to: Addresses::of(&portolan)?, portolan, upstreams, _module: scratch })
    }

    fn trap(&self) -> Result<raw::Response> {
        raw::get(self.to.http, "webserver", "/", &[(TRAP, "1")])
    }
}

/// When a request was answered, and how.
type Answers = Vec<(Instant, u16)>;

/// Sends a request again and again, until it is told to stop.
fn repeat(address: SocketAddr, request: &[u8], over: &AtomicBool) -> Result<Answers> {
    let mut answers = Answers::new();
    while !over.load(Ordering::Relaxed) {
        answers.push((Instant::now(), raw::request(address, request)?.status));
        thread::sleep(Duration::from_millis(5));
    }
    Ok(answers)
}

#[test]
fn requests_are_refused_until_the_vm_is_back() -> Result<()> {
    each_version(|version| {
        let world = World::start(version, |setup| setup)?;
        let registered = get("webserver", "/");
        // They would like to get through without the filter.
        let forged = Head::new("GET", "/forged")
            .header("host", "nobody.example.com")
            .header("x-portolan-cluster", "outbound|80||plain.example.com")
            .header("x-portolan-route", "default x")
            .finish();
        let tunnel = b"CONNECT nobody.example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n";
        let over = AtomicBool::new(false);
        let (trapped, registered, others) = thread::scope(|scope| {
            let registered = scope.spawn(|| repeat(world.to.http, &registered, &over));
            let forged = scope.spawn(|| repeat(world.to.http, &forged, &over));
            let tunnel = scope.spawn(|| repeat(world.to.proxy, tunnel, &over));
            thread::sleep(Duration::from_millis(300));
            let trapped = Instant::now();
            let status = world.trap().map(|response| response.status);
            thread::sleep(RECOVERY + Duration::from_millis(500));
            over.store(true, Ordering::Relaxed);
            let [registered, forged, tunnel] =
                [registered, forged, tunnel].map(|answers| answers.join().expect("it doesn't panic"));
            ensure!(status? == 503, "the request that ends the VM");
            Ok((trapped, registered?, [forged?, tunnel?]))
        })?;
        ensure!(registered.first().is_some_and(|(_, status)| *status == 200), "{registered:?}");
        let refused: Vec<Instant> =
            registered.iter().filter(|(_, status)| *status == 503).map(|(at, _)| *at).collect();
        let served = registered.iter().filter(|(_, status)| *status == 200).count();
        ensure!(served + refused.len() == registered.len(), "{registered:?}");
        let (first, last) = (*refused.first().context("none")?, *refused.last().context("none")?);
        let outage = last.duration_since(trapped);
        ensure!(outage < RECOVERY, "requests are refused for {outage:?}");
        // In between nothing is served, and nothing gets through another way.
        ensure!(!registered.iter().any(|(at, status)| *status == 200 && *at > first && *at < last));
        ensure!(others.iter().flatten().all(|(_, status)| [502, 503].contains(status)), "{others:?}");
        let seen = world.upstreams.plain.requests();
        let unfiltered: Vec<_> = seen
            .iter()
            .filter(|seen| (&*seen.host, &*seen.path) != ("plain.example.com", "/rewritten"))
            .collect();
        ensure!(unfiltered.is_empty(), "{unfiltered:?}");
        println!(
            "back after {outage:?}: {served} requests served, {} refused meanwhile, {} not registered refused, \
             none passed unfiltered",
            refused.len(),
            others.iter().map(Vec::len).sum::<usize>()
        );
        let counted = world.portolan.envoy.stat("wasm.portolan.vm_reload_success")?;
        ensure!(counted > 0, "wasm.portolan.vm_reload_success: {counted}");
        Ok(())
    })
}

/// What has become of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    /// Its client is told.
    Ended,
    /// Its client waits for ever.
    Hangs,
}

impl Fate {
    fn of<T>(result: Result<T>) -> Self {
        let Err(error) = result else { return Self::Lives };
        let silent = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        match silent || error.downcast_ref::<tokio::time::error::Elapsed>().is_some() {
            true => Self::Hangs,
            false => Self::Ended,
        }
    }
}

const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

/// How many of each there are.
const STREAMS: usize = 5;

/// Opens streams of a sort, and gives what looks at each of them later.
fn several<T>(open: impl Fn() -> Result<T>) -> Result<Vec<T>> {
    (0..STREAMS).map(|_| open()).collect()
}

fn tunnel(to: Addresses, target: &str) -> Result<TcpStream> {
    raw::tunnel(to.proxy, target.as_bytes())?.map_err(|response| anyhow!("no tunnel: {}", response.status))
}

fn get(host: &str, path: &str) -> Vec<u8> {
    Head::new("GET", path).header("host", host).finish()
}

/// A request in a connection that is there already.
fn ask(connection: &mut Connection, request: &[u8]) -> Result<()> {
    let response = connection.request(request)?;
    ensure!(response.status == 200, "{}", response.status);
    Ok(())
}

/// All streams of a sort have this fate.
fn all<T: Send>(
    sort: &str,
    streams: &mut [T],
    fate: Fate,
    look: impl Fn(&mut T) -> Result<()> + Sync,
) -> Result<()> {
    let fates: Vec<Fate> = thread::scope(|scope| {
        let looks: Vec<_> = streams.iter_mut().map(|stream| scope.spawn(|| Fate::of(look(stream)))).collect();
        looks.into_iter().map(|look| look.join().expect("it doesn't panic")).collect()
    });
    ensure!(fates.iter().all(|one| *one == fate), "{sort}: {fates:?} and not {fate:?}");
    Ok(())
}

async fn start_call(client: &mut http2::Client) -> Result<http2::Exchange> {
    let request = http::Request::post("http://grpc.example.com/echo.Echo/Chat");
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let mut chat = client.send(request.body(())?).await?;
    chat.echo(MESSAGE).await?;
    Ok(chat)
}

/// TLS begins now.
fn say_hello(stream: &mut TcpStream) -> Result<()> {
    let stream = stream.try_clone()?;
    let request = Head::new("GET", "/").header("host", "passed.example.com").header("connection", "close");
    tls_client::request_on(stream, "passed.example.com", &request.finish())?.context("closed").map(drop)
}

#[test]
fn streams_of_the_vm_end_with_it() -> Result<()> {
    each_version(|version| {
        let world = World::start(version, |setup| setup)?;
        let to = world.to;
        let runtime = Runtime::new()?;
        let mut tcp = several(|| Connection::new(tunnel(to, "passed.example.com:5432")?))?;
        let mut http = several(|| Connection::new(tunnel(to, "plain.example.com:80")?))?;
        for connection in tcp.iter_mut().chain(&mut http) {
            ask(connection, &get("plain.example.com", "/"))?;
        }
        let mut tls = several(|| tunnel(to, "passed.example.com:443"))?;
        let mut passed = several(|| Ok(TcpStream::connect(to.tls)?))?;
        let mut idle = several(|| Connection::open(to.http))?;
        for connection in &mut idle {
            ask(connection, &get("webserver", "/"))?;
        }
        let mut websockets = several(|| websocket::connect(to.http, "websocket.example.com"))?;
        for socket in &mut websockets {
            websocket::echo(socket)?;
        }
        let mut calls = several(|| {
            runtime.block_on(async {
                let mut client = http2::Client::connect(to.http).await?;
                let chat = start_call(&mut client).await?;
                Ok((client, chat))
            })
        })?;
        let waiting: Vec<_> = (0..STREAMS)
            .map(|_| thread::spawn(move || raw::request(to.http, &get("plain.example.com", "/slow"))))
            .collect();
        let arrived = || world.upstreams.plain.requests().iter().filter(|seen| seen.path == "/slow").count();
        poll(Duration::from_secs(5), || (arrived() == STREAMS).then_some(())).context("they don't arrive")?;
        ensure!(world.trap()?.status == 503);

        for answer in waiting {
            let answer = answer.join().map_err(|_| anyhow!("a client panicked"))??;
            ensure!(answer.status == 503, "a request that waits for its upstream: {}", answer.status);
        }
        let (speaking, silent) = websockets.split_at_mut(STREAMS / 2);
        all("websockets", speaking, Fate::Ended, websocket::echo)?;
        all("gRPC streams", &mut calls, Fate::Ended, |(_, chat)| runtime.block_on(chat.echo(MESSAGE)))?;
        all("tunnels with TCP", &mut tcp, Fate::Ended, |tunnel| ask(tunnel, &get("any", "/")))?;
        all("tunnels with HTTP", &mut http, Fate::Ended, |tunnel| {
            ask(tunnel, &get("plain.example.com", "/"))
        })?;
        all("tunnels with TLS", &mut tls, Fate::Ended, say_hello)?;
        all("TLS by SNI", &mut passed, Fate::Lives, say_hello)?;
        // Connections without a stream stay, and serve when the VM is back.
        poll(RECOVERY, || (raw::get_plain(to.http, "webserver", "/").ok()?.status == 200).then_some(()))
            .context("it isn't back")?;
        all("idle connections", &mut idle, Fate::Lives, |connection| {
            ask(connection, &get("webserver", "/"))
        })?;
        all("connections with gRPC", &mut calls, Fate::Lives, |(client, _)| {
            runtime.block_on(start_call(client)).map(drop)
        })?;
        // Streams of the VM that died in which nothing moves are ended by their next byte, not before.
        for socket in silent.iter() {
            socket.set_nonblocking(true)?;
            let still_open = socket.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            ensure!(still_open, "a silent websocket has ended");
            socket.set_nonblocking(false)?;
        }
        all("silent websockets", silent, Fate::Ended, websocket::echo)?;
        Ok(())
    })
}
