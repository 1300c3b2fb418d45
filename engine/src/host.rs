//! The host part of an authority, in the form in which virtual hosts are looked up.

use std::borrow::Cow;

/// Longest host name that can match a domain. A DNS name has at most 253 characters, and
/// one more for a trailing dot; a longer host is unknown without being looked at.
const MAX_HOST_LENGTH: usize = 254;

/// The host of an authority: without port, in lower case (VH-02, VH-03).
///
/// A trailing dot stays: whether it is known is for the domains to say (VH-01).
///
/// ```
/// use portolan_engine::host::Host;
///
/// assert_eq!(Host::from_authority(b"A.Example.COM:80").unwrap().as_bytes(), b"a.example.com");
/// assert_eq!(Host::from_authority(b"[2001:DB8::1]:80").unwrap().as_bytes(), b"[2001:db8::1]");
/// assert_eq!(Host::from_authority(b"a.example.com.").unwrap().as_bytes(), b"a.example.com.");
/// assert!(Host::from_authority(&[b'a'; 300]).is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'a>(Cow<'a, [u8]>);

impl<'a> Host<'a> {
    /// The host of `authority`, or none where it is too long to be any.
    pub fn from_authority(authority: &'a [u8]) -> Option<Self> {
        let host = without_port(authority);
        if host.len() > MAX_HOST_LENGTH {
            return None;
        }
        // Nearly all are in lower case already, and need no copy.
        Some(Self(if host.iter().any(u8::is_ascii_uppercase) {
            host.to_ascii_lowercase().into()
        } else {
            host.into()
        }))
    }

    /// The lower-case host.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `authority` up to its port: the text before the last `:` that doesn't stand inside
/// brackets (VH-02). What follows the `:` is not looked at, as in Envoy; so an IPv6
/// address without brackets loses its last group (VH-07).
pub fn without_port(authority: &[u8]) -> &[u8] {
    // From the end, where a port is short: whichever of the two comes first.
    match memchr::memrchr2(b':', b']', authority) {
        Some(last) if authority.get(last) == Some(&b':') => authority.get(..last).unwrap_or(authority),
        _ => authority,
    }
}

/// The port that a request to an explicit proxy is for: that of its authority, else that of its scheme
/// (GAP-01). None where there is no such port; CONNECT has to name one.
pub fn addressed_port(method: &[u8], scheme: &[u8], authority: &[u8]) -> Option<u16> {
    let port = authority.get(without_port(authority).len()..).and_then(|rest| rest.strip_prefix(b":"));
    match port {
        Some(digits @ [_, ..]) => {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            digits.parse().ok().filter(|port| *port != 0)
        }
        _ if method == b"CONNECT" => None,
        _ if scheme.eq_ignore_ascii_case(b"https") => Some(443),
        _ => Some(80),
    }
}

/// Whether `host` can be dialled: a DNS name, an IPv4 address, or a bracketed IPv6 address.
///
/// Asked only where a request's own host is dialled (`ALLOW_ANY`); a registered host is
/// never taken from the request.
pub fn is_dialable(host: &[u8]) -> bool {
    if let Some(address) = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        return std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let name = host.strip_suffix(b".").unwrap_or(host);
    let mut label = 0;
    for byte in name {
        label = match byte {
            b'.' if label > 0 => 0,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' if label < 63 => label + 1,
            _ => return false,
        };
    }
    label > 0 && name.len() <= 253
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_cut_at_the_last_colon_outside_brackets() {
        for (authority, host) in [
            ("a.example.com", "a.example.com"),
            ("a.example.com:80", "a.example.com"),
            ("a.example.com:", "a.example.com"),
            ("a.example.com:abc", "a.example.com"),
            ("[::1]", "[::1]"),
            ("[::1]:8080", "[::1]"),
            ("2001:db8::1", "2001:db8:"), // VH-07
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(without_port(authority.as_bytes()), host.as_bytes(), "{authority}");
        }
    }

    #[test]
    fn a_proxy_is_told_the_port_by_authority_or_scheme() {
        // GAP-01
        for (authority, scheme, port) in [
            ("a.example.com:8080", "http", Some(8080)),
            ("a.example.com", "http", Some(80)),
            ("a.example.com", "HTTPS", Some(443)),
            ("a.example.com:", "http", Some(80)),
            ("a.example.com:80", "https", Some(80)),
            ("[::1]:81", "http", Some(81)),
            ("[::1]", "http", Some(80)),
            ("", "", Some(80)),
            ("a:0", "http", None),
            ("a:65536", "http", None),
            ("a:+80", "http", None),
            ("a:8O", "http", None),
            ("a:80 ", "http", None),
        ] {
            let found = addressed_port(b"GET", scheme.as_bytes(), authority.as_bytes());
            assert_eq!(found, port, "{scheme} {authority}");
        }
        assert_eq!(addressed_port(b"CONNECT", b"http", b"a:443"), Some(443));
        for bad in ["a", "a:", "[::1]", "a:x"] {
            assert_eq!(addressed_port(b"CONNECT", b"http", bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn long_hosts_are_none_and_odd_bytes_survive() {
        assert!(Host::from_authority(&[b'a'; 254]).is_some());
        assert!(Host::from_authority(&[b'a'; 255]).is_none());
        assert_eq!(Host::from_authority(b"\xff\x80A").unwrap().as_bytes(), b"\xff\x80a");
    }

    #[test]
    fn only_names_and_addresses_can_be_dialled() {
        for good in ["a", "a.example.com", "a.example.com.", "10.0.0.1", "[::1]", "a_b.test"] {
            assert!(is_dialable(good.as_bytes()), "{good}");
        }
        for bad in ["", ".", "a..b", "a b", "[::1", "[x]", "user@a", "a%2e", "*.a", &"a".repeat(64)] {
            assert!(!is_dialable(bad.as_bytes()), "{bad}");
        }
    }
}
