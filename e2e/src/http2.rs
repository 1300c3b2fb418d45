//! HTTP/2 frame by frame, as client and as upstream: streams whose ends move by themselves.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use h2::{RecvStream, SendStream, client, server};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(10);

/// An upstream that echoes each stream as it comes, and its trailers; it ends with its runtime.
#[derive(Debug, Clone)]
pub struct Echo {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request<()>>>>,
}

impl Echo {
    /// Starts it in a runtime.
    pub fn start(runtime: &Runtime) -> Result<Self> {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let echo = Self { address: listener.local_addr()?, seen: Arc::default() };
        runtime.spawn(echo.clone().accept(listener));
        Ok(echo)
    }

    /// The heads of the requests so far.
    pub fn seen(&self) -> Vec<Request<()>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn accept(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let echo = self.clone();
            connections.spawn(async move {
                let mut builder = server::Builder::new();
                builder.enable_connect_protocol();
                let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(echo.clone().answer(request, respond));
                }
            });
        }
    }

    /// A stream that fails is the affair of its client.
    async fn answer(
        self,
        request: Request<RecvStream>,
        mut respond: server::SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let (head, mut body) = request.into_parts();
        let grpc = head.headers.contains_key("te");
        let fails = head.uri.path().ends_with("/Fail");
        let mut seen = Request::from_parts(head, ());
        if let Some(protocol) = seen.extensions().get::<h2::ext::Protocol>() {
            let protocol = HeaderValue::from_str(protocol.as_str()).unwrap_or(HeaderValue::from_static("?"));
            seen.headers_mut().insert("protocol", protocol);
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        let mut response = Response::new(());
        if grpc {
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        }
        if fails {
            // Trailers only: an answer without a message.
            response.headers_mut().insert("grpc-status", HeaderValue::from_static("5"));
            return respond.send_response(response, true).map(drop);
        }
        let mut send = respond.send_response(response, false)?;
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            send_data(&mut send, data).await?;
        }
        let mut trailers = body.trailers().await?.unwrap_or_default();
        if grpc {
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
        }
        send.send_trailers(trailers)
    }
}

/// Sends as much at a time as the other side takes.
async fn send_data(send: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let Some(capacity) = std::future::poll_fn(|context| send.poll_capacity(context)).await else { break };
        send.send_data(data.split_to(capacity?.min(data.len())), false)?;
    }
    Ok(())
}

/// A connection without TLS that begins with HTTP/2.
#[derive(Debug)]
pub struct Client(client::SendRequest<Bytes>);

/// A request under way.
#[derive(Debug)]
pub struct Exchange {
    send: SendStream<Bytes>,
    /// The head of the answer, and its body as it comes.
    pub response: Response<RecvStream>,
}

impl Client {
    /// Connects; the connection lives in the runtime that this runs in.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let (client, connection) = client::handshake(TcpStream::connect(address).await?).await?;
        tokio::spawn(connection);
        // The settings of the other side come before it answers anything.
        Ok(Self(client.ready().await?))
    }

    /// Sends a head, which is all of a GET, and waits for that of the answer.
    pub async fn send(&mut self, request: Request<()>) -> Result<Exchange> {
        let is_whole = request.method() == http::Method::GET;
        let (response, send) = self.0.send_request(request, is_whole)?;
        let response = timeout(LIMIT, response).await.context("no answer")??;
        Ok(Exchange { send, response })
    }

    /// Whether the other side takes extended CONNECT (RFC 8441).
    pub fn takes_extended_connect(&self) -> bool {
        self.0.is_extended_connect_protocol_enabled()
    }
}

impl Exchange {
    /// Sends a part of the body, and waits until the same comes back.
    pub async fn echo(&mut self, data: &'static [u8]) -> Result<()> {
        send_data(&mut self.send, Bytes::from_static(data)).await?;
        let mut came = Vec::new();
        while came.len() < data.len() {
            let next = timeout(LIMIT, self.response.body_mut().data()).await.context("nothing comes back")?;
            let next = next.context("the body has ended")??;
            self.response.body_mut().flow_control().release_capacity(next.len())?;
            came.extend_from_slice(&next);
        }
        ensure!(came == data, "{} came back", came.escape_ascii());
        Ok(())
    }

    /// Sends trailers, and waits for those of the answer.
    pub async fn finish(mut self, trailers: HeaderMap) -> Result<HeaderMap> {
        self.send.send_trailers(trailers)?;
        self.trailers().await
    }

    /// The trailers of the answer.
    pub async fn trailers(&mut self) -> Result<HeaderMap> {
        let body = self.response.body_mut();
        while let Some(data) = timeout(LIMIT, body.data()).await.context("the body doesn't end")? {
            body.flow_control().release_capacity(data?.len())?;
        }
        let trailers = timeout(LIMIT, body.trailers()).await.context("no trailers")??;
        Ok(trailers.unwrap_or_default())
    }
}
