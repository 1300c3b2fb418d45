//! A TLS client that sends what it is given, and asks for no certificate in particular.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

use crate::raw::{LIMIT, Response};

/// How long the other side may take to end a connection.
const GOODBYE: Duration = Duration::from_millis(500);

/// Sends a request with this server name, and reads one response; none if the connection was
/// closed before, or the other side speaks no TLS.
pub fn request(address: SocketAddr, server_name: &str, request: &[u8]) -> Result<Option<Response>> {
    let stream =
        TcpStream::connect_timeout(&address, LIMIT).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    request_on(stream, server_name, request)
}

/// The same in a connection that is there already.
pub fn request_on(stream: TcpStream, server_name: &str, request: &[u8]) -> Result<Option<Response>> {
    let mut stream = wrap(stream, server_name, None)?;
    let mut received = Vec::new();
    let mut closed = stream.write_all(request).is_err();
    while !closed && Response::parse(&received, false, false)?.is_none() {
        let mut buffer = [0; 16 * 1024];
        match stream.read(&mut buffer) {
            Ok(0) => closed = true,
            Ok(length) => received.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("{LIMIT:?} were over, and there was only: {}", received.escape_ascii())
            }
            Err(_) => closed = true,
        }
    }
    // The other side ends first. Tunnels whose client is gone when the last bytes come stay open in
    // Envoy 1.36 (envoyproxy/envoy#43976).
    stream.conn.send_close_notify();
    stream.sock.set_read_timeout(Some(GOODBYE))?;
    while !closed && stream.flush().is_ok() && matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
    if received.is_empty() { Ok(None) } else { Response::parse(&received, closed, false) }
}

/// TLS over a connection, for what is to be sent in it, with one protocol or no word about them. The
/// handshake comes with the first byte. An address is sent as no server name.
pub fn wrap(
    stream: TcpStream,
    server_name: &str,
    protocol: Option<&str>,
) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = protocol.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(server_name.to_owned())?;
    let connection = ClientConnection::new(Arc::new(config), name)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(StreamOwned::new(connection, stream))
}

/// Takes every certificate.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
