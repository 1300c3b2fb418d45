//! Sends what a case says, and reads what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use portolan_e2e::raw::Response;
use portolan_e2e::tls_client;
use rustls::{ClientConnection, StreamOwned};

use crate::catalogue::{Action, Case, Outcome, Wait};
use crate::http2::{self, Streams};

/// How long answers may take in all.
const LIMIT: Duration = Duration::from_secs(8);

/// How long it takes to be sure that nothing more comes.
const SETTLED: Duration = Duration::from_millis(10);

/// How long an answer may take where none is expected.
const GIVEN_UP: Duration = Duration::from_millis(100);

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Response(Response),
    /// The head of an answer that begins a tunnel.
    Tunnel,
    Closed,
}

/// Sends `case`, and reads as many answers as there are outcomes, and one more where there is one.
pub(crate) fn send(address: SocketAddr, case: &Case, outcomes: &[Outcome]) -> Result<Vec<Answer>> {
    let mut client = Client {
        stream: Some(Stream::Plain(TcpStream::connect(address)?)),
        received: Vec::new(),
        closed: false,
        deadline: Instant::now() + LIMIT,
        streams: None,
        answers: Vec::new(),
        is_head: false,
    };
    client.socket()?.set_nodelay(true)?;
    for action in case.actions()? {
        match action {
            Action::Send(bytes) => {
                client.is_head = bytes.starts_with(b"HEAD ");
                client.write(&bytes);
            }
            Action::Http2(frames) => {
                client.streams = Some(Streams::of(&frames));
                client.write(&http2::encode(&frames)?);
            }
            Action::Tls(name, protocol) => {
                let Some(Stream::Plain(socket)) = client.stream.take() else { anyhow::bail!("TLS in TLS") };
                let tls = tls_client::wrap(socket, &name, protocol.as_deref())?;
                client.stream = Some(Stream::Tls(Box::new(tls)));
            }
            Action::Wait(wait) => client.next(wait, false)?,
        }
    }
    client.finish(outcomes)
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

struct Client {
    stream: Option<Stream>,
    received: Vec<u8>,
    closed: bool,
    deadline: Instant,
    /// Those of HTTP/2.
    streams: Option<Streams>,
    answers: Vec<Answer>,
    /// The last request was a HEAD.
    is_head: bool,
}

impl Client {
    fn socket(&self) -> Result<&TcpStream> {
        match self.stream.as_ref().context("no connection")? {
            Stream::Plain(socket) => Ok(socket),
            Stream::Tls(tls) => Ok(&tls.sock),
        }
    }

    /// A peer may refuse a request before it has read all of it: what it answers counts.
    fn write(&mut self, bytes: &[u8]) {
        let _ = match &mut self.stream {
            Some(Stream::Plain(socket)) => socket.write_all(bytes),
            Some(Stream::Tls(tls)) => tls.write_all(bytes).and_then(|()| tls.flush()),
            None => Ok(()),
        };
    }

    /// Reads what there is until `deadline`; whether something came.
    fn read(&mut self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || self.closed {
            return Ok(false);
        }
        self.socket()?.set_read_timeout(Some(left))?;
        let mut buffer = [0; 64 * 1024];
        let result = match &mut self.stream {
            Some(Stream::Plain(socket)) => socket.read(&mut buffer),
            Some(Stream::Tls(tls)) => tls.read(&mut buffer),
            None => Ok(0),
        };
        match result {
            Ok(length @ 1..) => {
                self.received.extend_from_slice(&buffer[..length]);
                return Ok(true);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => self.closed = true,
        }
        Ok(false)
    }

    /// Waits for the next answer.
    fn next(&mut self, wait: Wait, closed: bool) -> Result<()> {
        loop {
            if let Some(answer) = self.take(wait)? {
                self.answers.push(answer);
                return Ok(());
            }
            if self.closed {
                self.answers.push(Answer::Closed);
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < self.deadline,
                "no answer, only: {}",
                self.received.escape_ascii()
            );
            let goes = closed.then(|| Instant::now() + GIVEN_UP);
            if !self.read(goes.unwrap_or(self.deadline))? && closed {
                self.leave()?;
            }
        }
    }

    /// Says that nothing more is sent. Envoy takes a second to close a connection that it has given up,
    /// but not if the client goes.
    fn leave(&self) -> Result<()> {
        let _ = self.socket()?.shutdown(Shutdown::Write);
        Ok(())
    }

    /// The answer at the beginning of what was received.
    fn take(&mut self, wait: Wait) -> Result<Option<Answer>> {
        let begins = |status: &[u8]| self.received.starts_with(status);
        if wait == Wait::Tunnel && (begins(b"HTTP/1.1 200 ") || begins(b"HTTP/1.1 101 ")) {
            let Some(end) = self.received.windows(4).position(|part| part == b"\r\n\r\n") else {
                return Ok(None);
            };
            self.received.drain(..end + 4);
            return Ok(Some(Answer::Tunnel));
        }
        if self.received.is_empty() {
            return Ok(None);
        }
        // An alert of TLS is no answer.
        if self.received.starts_with(&[0x15, 3]) {
            self.received.clear();
            return Ok(Some(Answer::Closed));
        }
        let Some((response, rest)) = Response::first(&self.received, self.closed, self.is_head)? else {
            return Ok(None);
        };
        let length = self.received.len() - rest.len();
        self.received.drain(..length);
        Ok(Some(Answer::Response(response)))
    }

    fn finish(mut self, outcomes: &[Outcome]) -> Result<Vec<Answer>> {
        if let Some(mut streams) = self.streams.take() {
            let closed = outcomes.iter().all(|outcome| outcome.closed);
            let mut replied = 0;
            loop {
                let reply = streams.read(&self.received);
                let new = reply.get(replied..).unwrap_or_default().to_vec();
                replied = reply.len();
                self.write(&new);
                if self.closed || streams.have_ended() {
                    break;
                }
                anyhow::ensure!(Instant::now() < self.deadline, "no end of the streams: {streams:?}");
                let goes = closed.then(|| Instant::now() + GIVEN_UP);
                if !self.read(goes.unwrap_or(self.deadline))? && closed {
                    self.leave()?;
                }
            }
            let answer = |status: Option<u16>| match status {
                Some(status) => Answer::Response(Response { status, headers: Vec::new(), body: Vec::new() }),
                None => Answer::Closed,
            };
            self.answers.extend(streams.statuses().into_iter().map(answer));
            return Ok(self.answers);
        }
        while let Some(outcome) = outcomes.get(self.answers.len()) {
            self.next(Wait::Answer, outcome.closed)?;
        }
        // One that nobody waits for.
        self.read(Instant::now() + SETTLED)?;
        if let Some(answer) = self.take(Wait::Answer)? {
            self.answers.push(answer);
        }
        if let Some(Stream::Tls(tls)) = &mut self.stream {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.socket()?.shutdown(Shutdown::Both);
        Ok(self.answers)
    }
}
