//! HTTP servers on loopback: the services behind the proxy.

mod handlers;
mod server;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;

use crate::background::Task;
use crate::ca::{Ca, Identity};
use crate::tls::TlsSettings;

pub use handlers::{echo, virtual_hosts};
use server::Shared;

/// A request as the upstream saw it.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// The name given to the upstream.
    pub upstream: Arc<str>,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The `Host` header, or the authority of HTTP/2; empty if there was none.
    pub host: String,
    /// Names (in lower case) and values (any bytes), without the pseudo-headers
    /// of HTTP/2.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
    /// The server name of the TLS handshake.
    pub sni: Option<String>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The certificate that the client presented.
    pub client_certificate: Option<Vec<u8>>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
}

impl SeenRequest {
    /// The first header of this name, with invalid UTF-8 replaced.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.header_bytes(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The first header of this name.
    #[must_use]
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        let header = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_slice())
    }
}

/// What a handler answers.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names and values; `content-length` and `date` are added.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
    /// How long to wait before the answer.
    pub delay: Duration,
    /// Closes the connection instead of any answer.
    pub hang_up: bool,
}

impl Reply {
    /// A status with a body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), delay: Duration::ZERO, hang_up: false }
    }

    /// No answer: the connection is closed.
    #[must_use]
    pub fn hang_up() -> Self {
        Self { hang_up: true, ..Self::new(200, Bytes::new()) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Waits before the answer.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// A handler: what to answer to a request.
pub type Handler = Arc<dyn Fn(&SeenRequest) -> Reply + Send + Sync>;

/// A running upstream; it stops when dropped, and its connections with it.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: Task,
}

/// An upstream being put together.
#[must_use]
pub struct UpstreamBuilder {
    name: String,
    address: Ipv4Addr,
    port: u16,
    tls: TlsSettings,
    client_ca_error: Option<anyhow::Error>,
    handler: Option<Handler>,
    quiet: bool,
    plaintext_too: bool,
}

impl Upstream {
    /// An upstream named `upstream` at a free port of 127.0.0.1: plain, and with
    /// [`echo`] as its handler.
    pub fn builder() -> UpstreamBuilder {
        UpstreamBuilder {
            name: "upstream".to_owned(),
            address: Ipv4Addr::LOCALHOST,
            port: 0,
            tls: TlsSettings::default(),
            client_ca_error: None,
            handler: None,
            quiet: false,
            plaintext_too: false,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The requests seen since the start or the last [`Self::clear`].
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.shared.requests().clone()
    }

    /// How many connections were accepted since the start or the last
    /// [`Self::clear`], TLS handshakes that failed included.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The server name of every TLS handshake begun since the start or the last
    /// [`Self::clear`], also of those that failed.
    #[must_use]
    pub fn handshakes(&self) -> Vec<Option<String>> {
        self.shared.hellos.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what was seen so far.
    pub fn clear(&self) {
        self.shared.requests().clear();
        self.shared.connections.store(0, Ordering::Relaxed);
        self.shared.hellos.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl UpstreamBuilder {
    /// The name that [`SeenRequest::upstream`] and [`echo`] tell.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Listens on another loopback address.
    pub fn address(mut self, address: Ipv4Addr) -> Self {
        self.address = address;
        self
    }

    /// Listens on a fixed port. Together with
    /// [`loopback_address`](crate::scratch::loopback_address) this is for
    /// configurations whose ports are given.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Speaks TLS, with this identity for the names that it is for. May be
    /// called several times. A handshake for another name, or for none, fails.
    pub fn tls(mut self, identity: Identity) -> Self {
        self.tls.identities.push(identity);
        self
    }

    /// Speaks TLS, with this identity for every name that no other is for.
    pub fn tls_for_any_name(mut self, identity: Identity) -> Self {
        self.tls.fallback = Some(identity);
        self
    }

    /// Speaks TLS with clients that do, and else plaintext; [`SeenRequest::tls`] says which.
    pub fn plaintext_too(mut self) -> Self {
        self.plaintext_too = true;
        self
    }

    /// The protocols offered in TLS handshakes instead of `h2` and `http/1.1`.
    /// (HTTP/2 is recognised by how it begins, with or without TLS.)
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.tls.alpn = Some(protocols.iter().map(|name| name.as_bytes().to_vec()).collect());
        self
    }

    /// Speaks this version of TLS only: `1.2` or `1.3`.
    pub fn tls_version(mut self, version: &str) -> Self {
        self.tls.version = Some(version.to_owned());
        self
    }

    /// Demands client certificates of this authority.
    pub fn require_client_certificate(mut self, ca: &Ca) -> Self {
        if let Err(error) = self.tls.require_clients_of(ca) {
            self.client_ca_error = Some(error);
        }
        self
    }

    /// What to answer. It must not block: see [`Reply::after`].
    pub fn handler(mut self, handler: impl Fn(&SeenRequest) -> Reply + Send + Sync + 'static) -> Self {
        self.handler = Some(Arc::new(handler));
        self
    }

    /// Records nothing, for a benchmark. Without a handler of its own, the
    /// upstream then answers everything with 200 and `ok`, and does not look at
    /// the request at all.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Starts it.
    pub fn start(self) -> Result<Upstream> {
        if let Some(error) = self.client_ca_error {
            return Err(error);
        }
        let handler = match self.handler {
            None if !self.quiet => Some(Arc::new(echo()) as Handler),
            handler => handler,
        };
        let shared = Arc::new(Shared::new(&self.name, handler, self.quiet, self.plaintext_too));
        let (address, task) = server::start(Arc::clone(&shared), (self.address, self.port).into(), self.tls)?;
        Ok(Upstream { address, shared, _task: task })
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for UpstreamBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}
