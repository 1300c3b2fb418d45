//! Upstreams that write down every byte that they get, and at which of them it was.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portolan_e2e::Identity;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// No connection lasts longer.
const LIMIT: Duration = Duration::from_secs(20);

/// What arrived somewhere.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// The upstream's name.
    pub(crate) upstream: String,
    /// The server name, in TLS.
    pub(crate) sni: Option<String>,
    /// Whether it is a whole request.
    pub(crate) whole: bool,
    pub(crate) method: String,
    pub(crate) path: Vec<u8>,
    /// Header lines; names in lower case.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// Without the chunked encoding; behind an upgrade all that came.
    pub(crate) body: Vec<u8>,
    /// All of it.
    pub(crate) bytes: Vec<u8>,
}

impl Arrival {
    pub(crate) fn lines(&self, name: &str) -> Vec<Vec<u8>> {
        let lines = self.headers.iter().filter(|(known, _)| known == name);
        lines.map(|(_, value)| value.clone()).collect()
    }
}

/// What all upstreams share.
#[derive(Debug, Default)]
pub(crate) struct Book {
    arrivals: Mutex<Vec<Arrival>>,
    /// What to answer in place of 200.
    answer: Mutex<Option<Vec<u8>>>,
}

impl Book {
    pub(crate) fn arrivals(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_answer(&self, answer: Option<Vec<u8>>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    fn answer(&self) -> Option<Vec<u8>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Speaks TLS with those who do.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Upstream {
    pub(crate) fn start(name: &str, book: &Arc<Book>, identity: &Identity) -> Result<Self> {
        let certificate = CertificateDer::from(identity.certificate_der().to_vec());
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).context("the key")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()));
        let connections = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let started = Self { address, connections: Arc::clone(&connections), stopped: Arc::clone(&stopped) };
        let (name, book) = (name.to_owned(), Arc::clone(book));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                connections.fetch_add(1, Ordering::Relaxed);
                let (name, book, config) = (name.clone(), Arc::clone(&book), Arc::clone(&config));
                // One that fails is the affair of its client.
                thread::spawn(move || connection(stream, &name, &book, config));
            }
        });
        Ok(started)
    }

    /// How many there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn connection(stream: TcpStream, name: &str, book: &Book, config: Arc<ServerConfig>) -> Result<()> {
    const HANDSHAKE: u8 = 0x16;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    let mut first = [0];
    if stream.peek(&mut first)? == 0 {
        return Ok(());
    }
    if first != [HANDSHAKE] {
        return serve(stream, name, None, book);
    }
    let mut tls = StreamOwned::new(ServerConnection::new(config)?, stream);
    while tls.conn.is_handshaking() {
        if tls.conn.complete_io(&mut tls.sock).is_err() {
            // What wanted to be a handshake has arrived, too.
            let sni = tls.conn.server_name().map(str::to_owned);
            let bytes = b"(a TLS handshake that failed)".to_vec();
            book.arrivals().push(Arrival { bytes, ..Arrival::of(name, sni) });
            return Ok(());
        }
    }
    let sni = tls.conn.server_name().unwrap_or_default().to_owned();
    serve(tls, name, Some(sni), book)
}

impl Arrival {
    fn of(upstream: &str, sni: Option<String>) -> Self {
        Self {
            upstream: upstream.to_owned(),
            sni,
            whole: false,
            method: String::new(),
            path: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            bytes: Vec::new(),
        }
    }
}

fn serve(mut stream: impl Read + Write, name: &str, sni: Option<String>, book: &Book) -> Result<()> {
    let mut received = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let more = stream.read(&mut buffer).unwrap_or(0);
        received.extend_from_slice(&buffer[..more]);
        if more == 0 {
            if !received.is_empty() {
                let mut arrival = Arrival::of(name, sni);
                let _ = head(&received, &mut arrival);
                book.arrivals().push(Arrival { bytes: received, ..arrival });
            }
            return Ok(());
        }
        let mut arrival = Arrival::of(name, sni.clone());
        let Some(length) = request(&received, &mut arrival) else { continue };
        arrival.bytes = received.drain(..length).collect();
        arrival.whole = true;
        let upgrades = !arrival.lines("upgrade").is_empty();
        let is_head = arrival.method == "HEAD";
        if upgrades {
            let accepted =
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(accepted)?;
            arrival.body = std::mem::take(&mut received);
            book.arrivals().push(arrival);
            // Whatever follows belongs to it.
            while let Ok(more @ 1..) = stream.read(&mut buffer) {
                if let Some(last) = book.arrivals().last_mut() {
                    last.body.extend_from_slice(&buffer[..more]);
                }
            }
            return Ok(());
        }
        book.arrivals().push(arrival);
        match book.answer() {
            Some(answer) => {
                stream.write_all(&answer)?;
                // The end of the answer, where nothing else says so.
                return Ok(());
            }
            None if is_head => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")?,
            None => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?,
        }
        stream.flush()?;
    }
}

/// Reads the head at the beginning of `bytes`; its length.
fn head(bytes: &[u8], arrival: &mut Arrival) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = parsed.parse(bytes) else { return None };
    arrival.method = parsed.method.unwrap_or_default().to_owned();
    arrival.path = parsed.path.unwrap_or_default().as_bytes().to_vec();
    let lines = parsed.headers.iter();
    arrival.headers = lines.map(|line| (line.name.to_ascii_lowercase(), line.value.to_vec())).collect();
    Some(length)
}

/// Reads a whole request at the beginning of `bytes`; its length.
fn request(bytes: &[u8], arrival: &mut Arrival) -> Option<usize> {
    let start = head(bytes, arrival)?;
    let rest = bytes.get(start..)?;
    // What follows belongs to the new protocol.
    if !arrival.lines("upgrade").is_empty() {
        return Some(start);
    }
    let first =
        |name: &str| arrival.lines(name).first().map(|value| String::from_utf8_lossy(value).into_owned());
    if first("transfer-encoding").is_some() {
        let mut at = 0;
        loop {
            let httparse::Status::Complete((start, size)) =
                httparse::parse_chunk_size(rest.get(at..)?).ok()?
            else {
                return None;
            };
            at += start;
            let size = usize::try_from(size).ok()?;
            if size == 0 {
                let end = rest.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
                return Some(bytes.len() - rest.len() + at + end + 2);
            }
            arrival.body.extend_from_slice(rest.get(at..at + size)?);
            at += size + 2;
        }
    }
    let length = first("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    arrival.body = rest.get(..length)?.to_vec();
    Some(start + length)
}
