//! Which host a request for a name below a wildcard is sent to (design, section 6).

use crate::config::{self, ConfigError};
use crate::host;

/// The checked form of a [`config::Dial`].
#[derive(Debug)]
pub(crate) struct Dial {
    /// What follows the `*`.
    suffix: String,
    port: u16,
}

impl Dial {
    /// Checks `dial`, which stands at `path`.
    pub(crate) fn new(dial: Option<config::Dial>, path: &str) -> Result<Option<Self>, ConfigError> {
        let Some(config::Dial { host, port }) = dial else { return Ok(None) };
        let suffix = host.strip_prefix('*').unwrap_or_default();
        if suffix.is_empty() || suffix.contains('*') || suffix.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ConfigError::new(format!("{path}.host"), "must be `*` and a lower-case suffix"));
        }
        if port == 0 {
            return Err(ConfigError::new(format!("{path}.port"), "must not be 0"));
        }
        Ok(Some(Self { suffix: suffix.to_owned(), port }))
    }

    /// Host and port to dial for a request with this authority; none where its host isn't below
    /// the wildcard. The port of the authority has no say.
    pub(crate) fn apply(&self, authority: &[u8]) -> Option<(Vec<u8>, u16)> {
        let host = host::without_port(authority);
        // A name and the same with a dot are one host to dial (VH-01).
        let name = host.strip_suffix(b".").unwrap_or(host).to_ascii_lowercase();
        let below = name.len() > self.suffix.len() && name.ends_with(self.suffix.as_bytes());
        (below && host::is_dialable(&name)).then_some((name, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial(host: &str, port: u16) -> Result<Dial, String> {
        let dial = Dial::new(Some(config::Dial { host: host.to_owned(), port }), "dial");
        dial.map(Option::unwrap).map_err(|error| error.to_string())
    }

    #[test]
    fn the_port_is_never_the_requests() {
        let rule = dial("*.example.com", 8080).unwrap();
        for authority in [
            "a.example.com",
            "a.example.com:80",
            "A.Example.com:22",
            "a.example.com.",
            "a.example.com.:1",
            "a.example.com:x",
        ] {
            assert_eq!(
                rule.apply(authority.as_bytes()),
                Some((b"a.example.com".to_vec(), 8080)),
                "{authority}"
            );
        }
        assert_eq!(rule.apply(b"a.b.example.com"), Some((b"a.b.example.com".to_vec(), 8080)));
    }

    #[test]
    fn only_names_below_the_wildcard_are_dialled() {
        let rule = dial("*.example.com", 80).unwrap();
        for authority in [
            "example.com",
            ".example.com",
            "a.example.org",
            "a.example.com.evil.test",
            "a.example.com..",
            "evil.test:.example.com",
            "[::1].example.com",
            "127.0.0.1:80@a.example.com",
            "user@a.example.com",
            "a b.example.com",
            "a..example.com",
            "*.example.com",
            "",
            &format!("{}.example.com", "a".repeat(64)),
        ] {
            assert_eq!(rule.apply(authority.as_bytes()), None, "{authority}");
        }
        let partial = dial("*-a.example.com", 80).unwrap();
        assert!(partial.apply(b"x-a.example.com").is_some() && partial.apply(b"-a.example.com").is_none());
    }

    #[test]
    fn faults_are_named() {
        for bad in ["", "*", "a.example.com", "*.A", "**.a"] {
            assert_eq!(dial(bad, 80).unwrap_err(), "dial.host: must be `*` and a lower-case suffix", "{bad}");
        }
        assert_eq!(dial("*.a", 0).unwrap_err(), "dial.port: must not be 0");
    }
}
