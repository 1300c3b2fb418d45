//! A small HTTP/1.1 load generator for the benchmark.
//!
//! It uses little CPU, as the proxy under test has to share the machine with
//! it: one blocking thread per keep-alive connection, requests prepared as
//! bytes, of a response only the status and the `content-length` looked at.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// What to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub address: SocketAddr,
    /// How many connections at once.
    pub connections: usize,
    /// How many requests, all connections together.
    pub requests: u64,
    /// Host and path of each request; taken in turn.
    pub targets: Vec<(String, String)>,
    /// Further headers of every request.
    pub headers: Vec<(String, String)>,
    /// Bytes of a body; with one, the requests are `POST`.
    pub body: usize,
    /// How many requests begin in a second, evenly; none: each connection sends the next one as soon as
    /// it has a response.
    pub rate: Option<f64>,
    /// How long one read or write may take.
    pub timeout: Duration,
}

/// How it went.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Full responses received.
    pub responses: u64,
    /// Those of them whose status was not 2xx.
    pub not_2xx: u64,
    /// Requests without a full response.
    pub errors: u64,
    /// The first such error, in words.
    pub first_error: Option<String>,
    /// From the first request to the last response, connecting left out.
    pub wall: Duration,
    /// Microseconds of every response, in order of length.
    latencies: Vec<u32>,
}

impl Load {
    /// A `GET` load of 8 connections.
    #[must_use]
    pub fn new(address: SocketAddr, targets: &[(&str, &str)], requests: u64) -> Self {
        let own = |(host, path): &(&str, &str)| ((*host).to_owned(), (*path).to_owned());
        Self {
            address,
            connections: 8,
            requests,
            targets: targets.iter().map(own).collect(),
            headers: Vec::new(),
            body: 0,
            rate: None,
            timeout: Duration::from_secs(10),
        }
    }

    /// Runs it to the end. It fails only if it cannot begin.
    pub fn run(&self) -> Result<Outcome> {
        ensure!(!self.targets.is_empty(), "a load needs at least one target");
        let prepared: Vec<Vec<u8>> = self.targets.iter().map(|target| self.prepare(target)).collect();
        let streams = (0..self.connections).map(|_| self.connect()).collect::<Result<Vec<_>>>()?;
        let next = AtomicU64::new(0);
        let began = Instant::now();
        let mut total = Outcome::default();
        thread::scope(|scope| {
            let workers: Vec<_> = streams
                .into_iter()
                .map(|stream| scope.spawn(|| self.work(stream, &prepared, &next, began)))
                .collect();
            for worker in workers {
                total.add(worker.join().expect("a worker has nothing that panics"));
            }
        });
        total.wall = began.elapsed();
        total.latencies.sort_unstable();
        Ok(total)
    }

    fn prepare(&self, (host, path): &(String, String)) -> Vec<u8> {
        let method = if self.body > 0 { "POST" } else { "GET" };
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
        if self.body > 0 {
            request += &format!("content-length: {}\r\n", self.body);
        }
        for (name, value) in &self.headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        let mut request = request.into_bytes();
        request.resize(request.len() + self.body, b'x');
        request
    }

    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, self.timeout)
            .with_context(|| format!("connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(stream)
    }

    /// One connection: takes requests until there are none left. A broken
    /// connection is made anew.
    fn work(&self, stream: TcpStream, prepared: &[Vec<u8>], next: &AtomicU64, start: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        let mut buffer = vec![0; 64 * 1024];
        let mut connection = Some(stream);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.requests {
                return outcome;
            }
            if let Some(rate) = self.rate {
                let due = start + Duration::from_secs_f64(number as f64 / rate);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let turn = usize::try_from(number).unwrap_or_default() % prepared.len();
            let began = Instant::now();
            let result = match connection.take().map_or_else(|| self.connect(), Ok) {
                Ok(mut stream) => {
                    let result = round_trip(&mut stream, &prepared[turn], &mut buffer);
                    connection = matches!(result, Ok((_, true))).then_some(stream);
                    result
                }
                Err(error) => Err(error),
            };
            match result {
                Ok((status, _)) => {
                    outcome.responses += 1;
                    outcome.not_2xx += u64::from(!(200..300).contains(&status));
                    let micros = began.elapsed().as_micros();
                    outcome.latencies.push(micros.try_into().unwrap_or(u32::MAX));
                }
                Err(error) => {
                    outcome.errors += 1;
                    outcome.first_error.get_or_insert(format!("{error:#}"));
                }
            }
        }
    }
}

impl Outcome {
    /// Responses per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.responses as f64 / self.wall.as_secs_f64().max(f64::EPSILON)
    }

    /// The time within which this share of the responses came: 0.5 is the
    /// median.
    #[must_use]
    pub fn latency(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let index = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        Duration::from_micros(self.latencies.get(index).copied().unwrap_or(0).into())
    }

    /// Microseconds of every response, the shortest first.
    #[must_use]
    pub fn latencies(&self) -> &[u32] {
        &self.latencies
    }

    fn add(&mut self, other: Self) {
        self.responses += other.responses;
        self.not_2xx += other.not_2xx;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latencies.extend(other.latencies);
    }
}

/// One request and its response: the status, and whether the connection may be
/// used again.
fn round_trip(stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) -> Result<(u16, bool)> {
    stream.write_all(request)?;
    let mut filled = 0;
    let (status, whole, reusable) = loop {
        filled += read(stream, &mut buffer[filled..])?;
        if let Some(head) = parse_head(&buffer[..filled])? {
            break head;
        }
        ensure!(filled < buffer.len(), "the head of the response is too long");
    };
    ensure!(filled <= whole, "more came than the response");
    // The body is of no interest: it may overwrite itself.
    let mut left = whole - filled;
    while left > 0 {
        let length = left.min(buffer.len());
        left -= read(stream, &mut buffer[..length])?;
    }
    Ok((status, reusable))
}

/// Status, length of head and body together, and whether to keep the connection.
fn parse_head(bytes: &[u8]) -> Result<Option<(u16, usize, bool)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    let (mut body, mut keep) = (None, true);
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            body = Some(std::str::from_utf8(header.value)?.parse::<usize>()?);
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep = !header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let status = response.code.unwrap_or_default();
    let body = body.or(matches!(status, 204 | 304).then_some(0));
    let body = body.context("a response without content-length")?;
    Ok(Some((status, head + body, keep)))
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match stream.read(buffer) {
            Ok(0) => bail!("the connection was closed"),
            Ok(length) => return Ok(length),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
