//! A URL, and what else is typed beside it, as what is asked about.

use super::{Asked, curl};
use crate::request::Request;

/// What was typed, unread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed {
    /// `http://host:port/path`, also without its scheme; `https://`, `tcp://` and `connect://`.
    pub url: Option<String>,
    /// Default: `GET`.
    pub method: Option<String>,
    /// Each as `name: value`; that of `host` takes the place of the URL's host.
    pub headers: Vec<String>,
    /// The port of the listener; default: that of the URL.
    pub port: Option<u16>,
}

impl Typed {
    /// A URL, or a curl command.
    ///
    /// # Errors
    ///
    /// The command isn't understood.
    pub fn from_line(line: &str) -> Result<Self, String> {
        if line.starts_with("curl ") {
            return curl::read(line);
        }
        Ok(Self { url: Some(line.to_owned()), ..Self::default() })
    }

    /// What a curl command sends; what was typed besides comes before it.
    ///
    /// # Errors
    ///
    /// The command isn't understood.
    pub fn with_curl(mut self, command: &str) -> Result<Self, String> {
        let curl = curl::read(command)?;
        self.url = self.url.or(curl.url);
        self.method = self.method.or(curl.method);
        self.headers.splice(0..0, curl.headers);
        Ok(self)
    }

    /// What is asked.
    ///
    /// # Errors
    ///
    /// It is no request: what is wrong, in one sentence.
    pub fn asked(self) -> Result<Asked, String> {
        let url = self.url.ok_or("a URL is missing, such as http://example.com/")?;
        if url.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
            return Err("the URL must not hold blanks or control characters".to_owned());
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", &url));
        let scheme = scheme.to_ascii_lowercase();
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() || authority.contains('@') {
            return Err(format!("`{url}` must have a host, and no user name"));
        }
        let (host, own_port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse::<u16>().ok().filter(|port| *port != 0);
                (host, Some(port.ok_or_else(|| format!("`{authority}` has no valid port"))?))
            }
            _ => (authority, None),
        };
        let default = match scheme.as_str() {
            "http" | "connect" => 80,
            "https" => 443,
            "tcp" => own_port.ok_or_else(|| format!("`{url}` must have a port"))?,
            _ => return Err(format!("`{url}` is no http, https, tcp or connect URL")),
        };
        let port = self.port.or(own_port).unwrap_or(default);
        if scheme == "tcp" {
            return Ok(Asked::Tcp { target: authority.to_owned(), port });
        }
        // Clients leave the scheme's own port out.
        let mut sent = if own_port == Some(default) { host } else { authority }.as_bytes().to_vec();
        let mut headers = Vec::new();
        for line in &self.headers {
            let form = || format!("`{line}` is not of the form `name: value`");
            let (name, value) = line.split_once(':').ok_or_else(form)?;
            let name = name.trim().to_ascii_lowercase();
            if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_whitespace()) {
                return Err(form());
            }
            let value = value.trim().as_bytes().to_vec();
            if name == "host" { sent = value } else { headers.push((name, value)) }
        }
        let method = self.method.unwrap_or_else(|| "GET".to_owned());
        if scheme == "connect" || (scheme != "https" && method == "CONNECT") {
            // To an explicit proxy, for which the port is that of the target; and there is no path.
            let port = own_port.ok_or_else(|| format!("`{url}` must have a port"))?;
            return Ok(Asked::Http(Request {
                port,
                method: "CONNECT".to_owned(),
                authority: authority.as_bytes().to_vec(),
                path: Vec::new(),
                headers,
                by_tls: false,
                by_proxy: false,
                random: 0,
            }));
        }
        let path = path.split('#').next().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        let path = format!("{slash}{path}").into_bytes();
        let request = Request {
            port,
            method,
            authority: sent,
            path,
            headers,
            by_tls: false,
            by_proxy: false,
            random: 0,
        };
        Ok(match scheme.as_str() {
            "https" => Asked::Tls { host: host.to_owned(), port, request: Box::new(request) },
            _ => Asked::Http(request),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(url: &str) -> Result<Asked, String> {
        Typed::from_line(url)?.asked()
    }

    fn request(url: &str) -> Request {
        match asked(url) {
            Ok(Asked::Http(request)) => request,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn urls_are_read() {
        assert_eq!(request("a").path, b"/");
        assert_eq!(request("http://a:80?x#y").path, b"/?x");
        assert_eq!(request("http://a:80/").authority, b"a");
        assert_eq!(
            (request("http://[::1]/").authority, request("http://a:81/").port),
            (b"[::1]".to_vec(), 81)
        );
        let Ok(Asked::Tls { host, port: 443, request: inside }) = asked("https://a:443/x") else {
            panic!("no TLS")
        };
        assert_eq!((host.as_str(), inside.authority.as_slice()), ("a", &b"a"[..]));
        let target = "10.0.0.1:3306".to_owned();
        assert_eq!(asked("tcp://10.0.0.1:3306"), Ok(Asked::Tcp { target, port: 3306 }));
        for connect in ["connect://a:443", "curl -X CONNECT http://a:443/"] {
            let request = request(connect);
            assert_eq!((request.port, request.method.as_str()), (443, "CONNECT"), "{connect}");
            assert_eq!((request.authority.as_slice(), request.path.as_slice()), (&b"a:443"[..], &b""[..]));
        }
        for wrong in [
            "ftp://a",
            "http://a:x/",
            "http://a:0",
            "http:///x",
            "http://me@a/",
            "http://a/ b",
            "tcp://a",
            "connect://a",
        ] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }
}
