//! The server behind an upstream.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Handler, Reply, SeenRequest};
use crate::background::{Task, runtime};
use crate::tls::{Hellos, TlsSettings};

/// What all connections of an upstream share.
pub(super) struct Shared {
    name: Arc<str>,
    /// `None` answers 200 without a look at the request.
    handler: Option<Handler>,
    quiet: bool,
    plaintext_too: bool,
    requests: Mutex<Vec<SeenRequest>>,
    pub(super) connections: AtomicU64,
    pub(super) hellos: Arc<Hellos>,
}

/// What is known of a connection.
struct Peer {
    tls: bool,
    sni: Option<String>,
    client_certificate: Option<Vec<u8>>,
}

impl Shared {
    pub(super) fn new(name: &str, handler: Option<Handler>, quiet: bool, plaintext_too: bool) -> Self {
        Self {
            name: name.into(),
            handler,
            quiet,
            plaintext_too,
            requests: Mutex::default(),
            connections: AtomicU64::new(0),
            hellos: Arc::new(Hellos { quiet, ..Hellos::default() }),
        }
    }

    pub(super) fn requests(&self) -> MutexGuard<'_, Vec<SeenRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn start(
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: TlsSettings,
) -> Result<(SocketAddr, Task)> {
    let acceptor = if tls.enabled() {
        Some(TlsAcceptor::from(Arc::new(tls.build(Arc::clone(&shared.hellos))?)))
    } else {
        None
    };
    let listener =
        runtime().block_on(TcpListener::bind(address)).with_context(|| format!("listen on {address}"))?;
    let address = listener.local_addr()?;
    Ok((address, Task::spawn(accept(listener, acceptor, shared))))
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        shared.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// A connection that fails is the affair of its client.
async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let acceptor = match acceptor {
        Some(_) if shared.plaintext_too && !begins_with_tls(&stream).await => None,
        acceptor => acceptor,
    };
    let Some(acceptor) = acceptor else {
        let peer = Peer { tls: false, sni: None, client_certificate: None };
        return serve(stream, peer, shared).await;
    };
    if let Ok(stream) = acceptor.accept(stream).await {
        let (_, session) = stream.get_ref();
        let presented = session.peer_certificates().and_then(<[_]>::first);
        let peer = Peer {
            tls: true,
            sni: session.server_name().map(str::to_owned),
            client_certificate: presented.map(|certificate| certificate.to_vec()),
        };
        serve(stream, peer, shared).await;
    }
}

/// Whether the client's first byte is that of a TLS handshake.
async fn begins_with_tls(stream: &TcpStream) -> bool {
    const HANDSHAKE: u8 = 0x16;
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first == [HANDSHAKE]
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    shared: Arc<Shared>,
) {
    let peer = Arc::new(peer);
    let service = service_fn(move |request| answer(request, Arc::clone(&peer), Arc::clone(&shared)));
    let builder = auto::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// An error makes hyper close the connection (or reset the stream of HTTP/2).
async fn answer(
    request: Request<Incoming>,
    peer: Arc<Peer>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>> {
    let Some(handler) = &shared.handler else {
        return Ok(Response::new(Full::new(Bytes::from_static(b"ok"))));
    };
    let seen = see(request, &peer, &shared.name).await?;
    let reply = handler(&seen);
    if !shared.quiet {
        shared.requests().push(seen);
    }
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    if reply.hang_up {
        return Err(anyhow!("the handler hangs up"));
    }
    respond(reply)
}

async fn see(request: Request<Incoming>, peer: &Peer, name: &Arc<str>) -> Result<SeenRequest> {
    let (head, body) = request.into_parts();
    let host = match head.headers.get(HOST) {
        Some(host) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
        None => head.uri.authority().map(ToString::to_string).unwrap_or_default(),
    };
    Ok(SeenRequest {
        upstream: Arc::clone(name),
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        host,
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
        body: body.collect().await?.to_bytes(),
        sni: peer.sni.clone(),
        tls: peer.tls,
        client_certificate: peer.client_certificate.clone(),
        version: format!("{:?}", head.version),
    })
}

fn respond(reply: Reply) -> Result<Response<Full<Bytes>>> {
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status)?;
    for (name, value) in reply.headers {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        response.headers_mut().append(name, HeaderValue::from_bytes(&value)?);
    }
    Ok(response)
}
