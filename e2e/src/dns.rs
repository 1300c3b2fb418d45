//! A DNS server on loopback, for Envoy's c-ares resolver.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use hickory_proto::op::{Message, Metadata, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::background::{Task, runtime};

/// Short, so that a change with [`DnsServer::set`] is seen soon by a cluster
/// that respects it.
const TTL: u32 = 1;

/// A running DNS server: UDP and TCP on one port of 127.0.0.1.
///
/// Known names have `A` records and, where it is told to, `AAAA`; other names do not exist. `*.example.com` stands for every name below
/// `example.com` that has no record of its own.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _udp: Task,
    _tcp: Task,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<String, Vec<IpAddr>>,
    silent: BTreeSet<String>,
    queries: Vec<String>,
}

impl DnsServer {
    /// Starts a server. A name given twice has both addresses.
    pub fn start(records: &[(&str, Ipv4Addr)]) -> Result<Self> {
        let mut state = State::default();
        for (name, address) in records {
            state.records.entry(canonical(name)).or_default().push((*address).into());
        }
        let state = Arc::new(Mutex::new(state));
        let (udp, tcp, address) = runtime().block_on(bind())?;
        Ok(Self {
            address,
            _udp: Task::spawn(serve_udp(udp, Arc::clone(&state))),
            _tcp: Task::spawn(serve_tcp(tcp, Arc::clone(&state))),
            state,
        })
    }

    /// Where the server listens, with both UDP and TCP.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The names asked so far, in order, in lower case without a final dot. A
    /// resolver that asks for `A` and for `AAAA` appears twice.
    #[must_use]
    pub fn queries(&self) -> Vec<String> {
        lock(&self.state).queries.clone()
    }

    /// Gives a name one address, in place of those that it had.
    pub fn set(&self, name: &str, address: Ipv4Addr) {
        self.set_all(name, &[address]);
    }

    /// Gives a name these addresses, in place of those that it had.
    pub fn set_all(&self, name: &str, addresses: &[Ipv4Addr]) {
        let addresses: Vec<IpAddr> = addresses.iter().copied().map(IpAddr::from).collect();
        self.set_addresses(name, &addresses);
    }

    /// The same for addresses of either family.
    pub fn set_addresses(&self, name: &str, addresses: &[IpAddr]) {
        lock(&self.state).records.insert(canonical(name), addresses.to_vec());
    }

    /// Removes a name: from now on it does not exist.
    pub fn remove(&self, name: &str) {
        lock(&self.state).records.remove(&canonical(name));
    }

    /// From now on, leaves questions for this name without any answer (`true`),
    /// or answers them again (`false`). `*.example.com` stands for all names below `example.com`.
    pub fn silent(&self, name: &str, silent: bool) {
        let mut state = lock(&self.state);
        if silent {
            state.silent.insert(canonical(name));
        } else {
            state.silent.remove(&canonical(name));
        }
    }
}

impl State {
    fn addresses(&self, name: &str) -> Option<&[IpAddr]> {
        names_for(name).find_map(|name| self.records.get(&name)).map(Vec::as_slice)
    }

    fn is_silent(&self, name: &str) -> bool {
        names_for(name).any(|name| self.silent.contains(&name))
    }

    /// The answer to one message, or nothing if none shall be sent.
    fn answer(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let request = Message::from_vec(bytes).ok()?;
        let query = request.queries.first()?;
        let name = canonical(&query.name().to_ascii());
        self.queries.push(name.clone());
        if self.is_silent(&name) {
            return None;
        }
        let mut response = Message::response(request.metadata.id, request.metadata.op_code);
        response.metadata = Metadata::response_from_request(&request.metadata);
        response.metadata.authoritative = true;
        response.metadata.recursion_available = true;
        response.add_query(query.clone());
        match self.addresses(&name) {
            None => response.metadata.response_code = ResponseCode::NXDomain,
            Some(addresses) => {
                let records = addresses.iter().filter_map(|address| match (query.query_type(), address) {
                    (RecordType::A, IpAddr::V4(address)) => Some(RData::A(A(*address))),
                    (RecordType::AAAA, IpAddr::V6(address)) => Some(RData::AAAA(AAAA(*address))),
                    _ => None,
                });
                response.add_answers(records.map(|data| Record::from_rdata(query.name().clone(), TTL, data)));
            }
        }
        response.to_vec().ok()
    }
}

/// The name itself, and the wildcards above it, the nearest first.
fn names_for(name: &str) -> impl Iterator<Item = String> {
    let wildcards = name.match_indices('.').map(|(at, _)| format!("*{}", &name[at..]));
    std::iter::once(name.to_owned()).chain(wildcards)
}

/// Both sockets must have the same port, so the port of the first may be taken
/// for the second: then another is tried.
async fn bind() -> Result<(UdpSocket, TcpListener, SocketAddr)> {
    for _ in 0..50 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no UDP port")?;
        let address = udp.local_addr()?;
        if let Ok(tcp) = TcpListener::bind(address).await {
            return Ok((udp, tcp, address));
        }
    }
    bail!("no port of 127.0.0.1 is free for both UDP and TCP")
}

async fn serve_udp(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut buffer = vec![0; 4096];
    loop {
        // An error here is that of an earlier answer (its port was closed).
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let answer = lock(&state).answer(&buffer[..length]);
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve_stream(stream, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

/// Ends at the first error, which closes the connection.
async fn serve_stream(mut stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    loop {
        let mut message = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut message).await?;
        let answer = lock(&state).answer(&message);
        if let Some(answer) = answer {
            let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
            stream.write_u16(length).await?;
            stream.write_all(&answer).await?;
        }
    }
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
