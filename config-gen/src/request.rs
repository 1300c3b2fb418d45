//! What a client sends.

/// Header lines: names in lower case, and values.
pub type Lines = Vec<(String, Vec<u8>)>;

/// A request, byte by byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The port of the listener.
    pub port: u16,
    /// The method.
    pub method: String,
    /// The Host header.
    pub authority: Vec<u8>,
    /// The path with its query.
    pub path: Vec<u8>,
    /// Further header lines; names in lower case.
    pub headers: Lines,
    /// It came in TLS that ended at a gateway.
    pub by_tls: bool,
    /// It came to the explicit proxy, whose listener takes HTTP for every port.
    pub by_proxy: bool,
    /// What is left to chance is drawn from it; only natively.
    pub random: u64,
}

impl Request {
    /// `GET /` of this host.
    pub(crate) fn to(host: &str, port: u16) -> Self {
        Self {
            port,
            method: "GET".to_owned(),
            authority: host.as_bytes().to_vec(),
            path: b"/".to_vec(),
            headers: Vec::new(),
            by_tls: false,
            by_proxy: false,
            random: 0,
        }
    }
}
