//! HTTP/1.1 byte by byte, for what no HTTP library would send.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;

/// How long one exchange may take in all, unless the caller says otherwise.
pub const LIMIT: Duration = Duration::from_secs(10);

/// More headers than this in a response are an error.
const MAX_HEADERS: usize = 256;

/// A final response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names as sent, and values.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body, without the chunked encoding.
    pub body: Vec<u8>,
}

impl Response {
    /// Reads the first response in `bytes`; `None` if it is not complete.
    ///
    /// A response whose end is the end of the connection is complete with
    /// `closed` only. With `head`, the request was a `HEAD`.
    pub fn parse(bytes: &[u8], closed: bool, head: bool) -> Result<Option<Self>> {
        Ok(Self::first(bytes, closed, head)?.map(|(response, _)| response))
    }

    /// The same, with what stands in `bytes` behind it.
    pub fn first(bytes: &[u8], closed: bool, head: bool) -> Result<Option<(Self, &[u8])>> {
        let mut rest = bytes;
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut parsed = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(length) =
                parsed.parse(rest).context("this is not an HTTP response")?
            else {
                return Ok(None);
            };
            let status = parsed.code.unwrap_or_default();
            rest = rest.get(length..).unwrap_or_default();
            // 100 Continue and its like come before the final response.
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let mut response = Self {
                status,
                headers: parsed
                    .headers
                    .iter()
                    .map(|header| (header.name.as_bytes().to_vec(), header.value.to_vec()))
                    .collect(),
                body: Vec::new(),
            };
            let Some((body, rest)) = response.take_body(rest, closed, head)? else { return Ok(None) };
            response.body = body;
            return Ok(Some((response, rest)));
        }
    }

    /// The first header of this name (in any case), with invalid UTF-8 replaced.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        value.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// The body as text, with invalid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("status {}, not the JSON expected: {}", self.status, self.text()))
    }

    fn take_body<'b>(&self, rest: &'b [u8], closed: bool, head: bool) -> Result<Option<(Vec<u8>, &'b [u8])>> {
        if head || matches!(self.status, 101 | 204 | 304) {
            return Ok(Some((Vec::new(), rest)));
        }
        if let Some(coding) = self.header("transfer-encoding")
            && coding.eq_ignore_ascii_case("chunked")
        {
            return unchunk(rest);
        }
        if let Some(length) = self.header("content-length") {
            let length: usize = length.parse().context("content-length")?;
            return Ok(rest.split_at_checked(length).map(|(body, rest)| (body.to_vec(), rest)));
        }
        Ok(closed.then(|| (rest.to_vec(), &[][..])))
    }
}

/// Sends bytes, and reads until one full response or the end of the connection.
/// Returns whatever came, which is nothing if the peer just closed.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>> {
    let head = is_head(request);
    transfer(address, request, LIMIT, |bytes| {
        // What is not HTTP is read to its end: the caller shall see all of it.
        matches!(Response::parse(bytes, false, head), Ok(Some(_)))
    })
}

/// The same in a connection that is there already.
pub fn exchange_on(stream: TcpStream, request: &[u8]) -> Result<Vec<u8>> {
    let head = is_head(request);
    transfer_on(stream, request, LIMIT, |bytes| matches!(Response::parse(bytes, false, head), Ok(Some(_))))
}

/// Asks a proxy for a tunnel; its answer, where there is none.
pub fn tunnel(address: SocketAddr, target: &[u8]) -> Result<Result<TcpStream, Response>> {
    let mut stream =
        TcpStream::connect_timeout(&address, LIMIT).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(&[b"CONNECT ", target, b" HTTP/1.1\r\nHost: elsewhere\r\n\r\n"].concat())?;
    let mut received = Vec::new();
    loop {
        // Byte by byte: what follows the head is for whoever has the tunnel.
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            bail!("{address} closed the connection after {}", received.escape_ascii());
        }
        received.extend_from_slice(&byte);
        if received.starts_with(b"HTTP/1.1 200 ") {
            if received.ends_with(b"\r\n\r\n") {
                return Ok(Ok(stream));
            }
        } else if let Some(response) = Response::parse(&received, false, false)? {
            return Ok(Err(response));
        }
    }
}

/// Sends bytes, and reads to the end of the connection: for several requests in
/// one go, the last of which says `connection: close`.
pub fn exchange_to_end(address: SocketAddr, request: &[u8], limit: Duration) -> Result<Vec<u8>> {
    transfer(address, request, limit, |_| false)
}

/// Sends a request many times in one connection, each when the last one was answered.
pub fn repeat(address: SocketAddr, request: &[u8], times: usize) -> Result<()> {
    let mut connection = Connection::open(address)?;
    (0..times).try_for_each(|_| connection.request(request).map(drop))
}

/// A connection for several requests, one after the other.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect_timeout(&address, LIMIT).with_context(|| format!("connect to {address}"))?;
        Self::new(stream)
    }

    /// Takes a connection that is there already, such as a tunnel.
    pub fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self(stream))
    }

    /// Sends a request, and reads its response; fails if the connection ends before that.
    pub fn request(&mut self, request: &[u8]) -> Result<Response> {
        self.0.write_all(request)?;
        let mut received = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = self.0.read(&mut buffer).context("no response")?;
            if length == 0 {
                bail!("the connection was closed after {}", received.escape_ascii());
            }
            received.extend_from_slice(buffer.get(..length).unwrap_or_default());
            if let Some(response) = Response::parse(&received, false, is_head(request))? {
                return Ok(response);
            }
        }
    }
}

/// Sends bytes and reads one response; fails if there is none.
pub fn request(address: SocketAddr, request: &[u8]) -> Result<Response> {
    let bytes = exchange(address, request)?;
    Response::parse(&bytes, true, is_head(request))?
        .with_context(|| format!("no full response from {address}: {}", bytes.escape_ascii()))
}

/// Sends a `GET` with one `Host` line and these headers, which may hold any
/// bytes, and reads the response.
pub fn get<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    address: SocketAddr,
    host: impl AsRef<[u8]>,
    path: impl AsRef<[u8]>,
    headers: &[(N, V)],
) -> Result<Response> {
    request(address, &Head::new("GET", path).header("Host", host).headers(headers).finish())
}

/// [`get`] without further headers.
pub fn get_plain(address: SocketAddr, host: &str, path: &str) -> Result<Response> {
    request(address, &Head::new("GET", path).header("Host", host).finish())
}

/// The bytes of a request, line by line. Nothing is checked and nothing added:
/// no `Host`, two of them, or an empty one are all possible.
#[derive(Debug, Clone)]
pub struct Head(Vec<u8>);

impl Head {
    /// The request line, of HTTP/1.1.
    #[must_use]
    pub fn new(method: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self([method.as_ref(), b" ", target.as_ref(), b" HTTP/1.1\r\n"].concat())
    }

    /// A header line: `name: value`.
    #[must_use]
    pub fn header(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.line([name.as_ref(), b": ", value.as_ref()].concat())
    }

    /// Several header lines.
    #[must_use]
    pub fn headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(self, headers: &[(N, V)]) -> Self {
        headers.iter().fold(self, |head, (name, value)| head.header(name, value))
    }

    /// A line as it is, which need not be a header.
    #[must_use]
    pub fn line(mut self, line: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(line.as_ref());
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// The request without a body.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.line("").0
    }

    /// The request with a body, and its `content-length`.
    #[must_use]
    pub fn body(self, body: impl AsRef<[u8]>) -> Vec<u8> {
        let length = body.as_ref().len().to_string();
        [self.header("content-length", length).finish().as_slice(), body.as_ref()].concat()
    }
}

fn is_head(request: &[u8]) -> bool {
    request.starts_with(b"HEAD ")
}

fn transfer(
    address: SocketAddr,
    request: &[u8],
    limit: Duration,
    enough: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>> {
    let stream =
        TcpStream::connect_timeout(&address, limit).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    transfer_on(stream, request, limit, enough)
}

fn transfer_on(
    mut stream: TcpStream,
    request: &[u8],
    limit: Duration,
    enough: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>> {
    let address = stream.peer_addr()?;
    let deadline = Instant::now() + limit;
    stream.set_write_timeout(Some(limit))?;
    // A peer may refuse a request before it has read all of it: what it answers
    // counts, not that the rest could not be written.
    let written = stream.write_all(request);
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("{address} had {limit:?} and sent only: {}", received.escape_ascii());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => received.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error).context(format!("read from {address}")),
        }
        if enough(&received) {
            break;
        }
    }
    if received.is_empty() {
        written.with_context(|| format!("write to {address}"))?;
    }
    let _ = stream.shutdown(Shutdown::Both);
    Ok(received)
}

fn unchunk(mut rest: &[u8]) -> Result<Option<(Vec<u8>, &[u8])>> {
    let mut body = Vec::new();
    loop {
        let parsed = httparse::parse_chunk_size(rest).ok().context("a bad chunk size")?;
        let httparse::Status::Complete((start, size)) = parsed else { return Ok(None) };
        let size = usize::try_from(size)?;
        let after = rest.get(start..).unwrap_or_default();
        if size == 0 {
            // Trailers, if any, end with an empty line too.
            let end = if after.starts_with(b"\r\n") {
                Some(2)
            } else {
                after.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
            };
            return Ok(end.and_then(|end| Some((body, after.get(end..)?))));
        }
        let Some(chunk) = after.get(..size) else { return Ok(None) };
        body.extend_from_slice(chunk);
        let Some(next) = after.get(size + 2..) else { return Ok(None) };
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(bytes: &[u8], closed: bool) -> Option<Vec<u8>> {
        Response::parse(bytes, closed, false).unwrap().map(|response| response.body)
    }

    #[test]
    fn a_response_ends_where_its_length_says() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        for cut in 0..whole.len() {
            assert_eq!(body_of(&whole[..cut], false), None, "{cut}");
        }
        assert_eq!(body_of(whole, false).unwrap(), b"ok");
        assert_eq!(body_of(&[whole.as_slice(), b"HTTP"].concat(), false).unwrap(), b"ok");
    }

    #[test]
    fn a_response_ends_with_its_last_chunk() {
        let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n\
                      0123456789\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(body_of(&whole[..cut], true), None, "{cut}");
        }
        assert_eq!(body_of(whole, false).unwrap(), b"abc0123456789");
    }

    #[test]
    fn a_response_ends_with_the_connection() {
        let whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 Bad\r\nX: \xff\r\n\r\nhalf";
        assert_eq!(body_of(whole, false), None);
        let response = Response::parse(whole, true, false).unwrap().unwrap();
        assert_eq!((response.status, response.text().as_str()), (502, "half"));
        assert_eq!(response.headers, [(b"X".to_vec(), b"\xff".to_vec())]);
    }

    #[test]
    fn a_response_without_a_body() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        assert!(Response::parse(head, false, true).unwrap().is_some());
        assert!(Response::parse(b"HTTP/1.1 204 No\r\n\r\n", false, false).unwrap().is_some());
        assert!(Response::parse(b"SSH-2.0-x\r\n", true, false).is_err());
    }

    #[test]
    fn a_head_is_what_was_written() {
        let head = Head::new("GET", "/\u{fc}").header("Host", "").header("Host", b"\xff").line("x");
        assert_eq!(head.finish(), b"GET /\xc3\xbc HTTP/1.1\r\nHost: \r\nHost: \xff\r\nx\r\n\r\n");
        let request = Head::new("POST", "/").body("abc");
        assert_eq!(request, b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc");
    }
}
