//! Websockets: an upstream that echoes, and a client of it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, Result, ensure};

use crate::raw::{Head, LIMIT};

/// A text frame from a client, `hi`, masked as it has to be.
pub const FRAME: &[u8] = b"\x81\x82\x01\x02\x03\x04ik";

/// Starts an upstream that takes every upgrade to a websocket, and sends back what comes then. It
/// lives as long as the process.
pub fn server() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that fails is the affair of its client.
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream) -> Result<()> {
    let head = read_head(&mut stream)?.to_ascii_lowercase();
    if !head.contains("upgrade: websocket") {
        return Ok(stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")?);
    }
    stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    )?;
    let mut back = stream.try_clone()?;
    std::io::copy(&mut stream, &mut back)?;
    Ok(())
}

/// The request for a websocket of this host.
#[must_use]
pub fn upgrade(host: &str) -> Vec<u8> {
    Head::new("GET", "/chat")
        .header("host", host)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13")
        .finish()
}

/// Opens a websocket of this host.
pub fn connect(address: SocketAddr, host: &str) -> Result<TcpStream> {
    let mut stream =
        TcpStream::connect_timeout(&address, LIMIT).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(&upgrade(host))?;
    let head = read_head(&mut stream)?;
    ensure!(head.starts_with("HTTP/1.1 101"), "no websocket: {head}");
    Ok(stream)
}

/// Sends a frame, and waits until it comes back.
pub fn echo(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(FRAME)?;
    let mut echoed = [0; FRAME.len()];
    stream.read_exact(&mut echoed).context("the frame doesn't come back")?;
    ensure!(echoed == FRAME, "{} came back", echoed.escape_ascii());
    Ok(())
}

/// Byte by byte, as what follows the head is for whoever has the stream.
fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).with_context(|| format!("only {}", head.escape_ascii()))?;
        head.extend_from_slice(&byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
