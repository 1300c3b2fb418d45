//! Which host is dialled where a cluster leads to many (design, section 6).

use std::borrow::Cow;

use crate::config::{self, ConfigError};
use crate::host;
use crate::pieces::Pieces;

/// The checked form of a [`config::Dial`].
#[derive(Debug)]
pub(crate) struct Dial {
    /// Always this one; or where it begins with `*`, that of the request, where it ends in the rest.
    /// None: the same with the virtual host's domain.
    host: Option<String>,
    port: u16,
}

/// What a dial without a host is refused for, where the virtual host has none that can be dialled.
pub(crate) const NOT_DIALABLE: &str = "must be a lower-case name, or `*` and a lower-case suffix";

impl Dial {
    /// Checks `dial`, which stands at `path`.
    pub(crate) fn new(dial: Option<config::Dial>, path: &str) -> Result<Option<Self>, ConfigError> {
        let Some(config::Dial { host, port }) = dial else { return Ok(None) };
        if host.as_deref().is_some_and(|host| !can_be_dialled(host)) {
            return Err(ConfigError::new(format!("{path}.host"), NOT_DIALABLE));
        }
        if port == 0 {
            return Err(ConfigError::new(format!("{path}.port"), "must not be 0"));
        }
        Ok(Some(Self { host, port }))
    }

    /// Whether it takes the host from the virtual host.
    pub(crate) fn is_own(&self) -> bool {
        self.host.is_none()
    }

    /// Host and port to dial for a request with this authority to the virtual host of the domain `own`;
    /// none where its host isn't below the wildcard. The port of the authority has no say.
    pub(crate) fn apply<'t>(&'t self, authority: &[u8], own: Pieces<'t>) -> Option<(Cow<'t, [u8]>, u16)> {
        let rule = self.host.as_deref().map_or_else(|| own.text(), Cow::Borrowed);
        let Some(suffix) = rule.strip_prefix('*') else { return Some((bytes(rule), self.port)) };
        let host = host::without_port(authority);
        // A name and the same with a dot are one host to dial (VH-01).
        let name = host.strip_suffix(b".").unwrap_or(host).to_ascii_lowercase();
        let below = name.len() > suffix.len() && name.ends_with(suffix.as_bytes());
        (below && host::is_dialable(&name)).then_some((name.into(), self.port))
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

/// Whether `host` is a lower-case name, or `*` and a lower-case suffix.
pub(crate) fn can_be_dialled(host: &str) -> bool {
    let usable = match host.strip_prefix('*') {
        Some(suffix) => !suffix.is_empty() && !suffix.contains('*'),
        None => host::is_dialable(host.as_bytes()),
    };
    usable && !host.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial(host: &str, port: u16) -> Result<Dial, String> {
        let dial = Dial::new(Some(config::Dial { host: Some(host.to_owned()), port }), "dial");
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
                rule.apply(authority.as_bytes(), "own.example.com".into()),
                Some((b"a.example.com".into(), 8080)),
                "{authority}"
            );
        }
        assert_eq!(rule.apply(b"a.b.example.com", "".into()), Some((b"a.b.example.com".into(), 8080)));
    }

    #[test]
    fn a_name_is_dialled_whatever_the_request_says() {
        let rule = dial("a.example.com", 8443).unwrap();
        for authority in ["a.example.com", "b.example.com:22", "127.0.0.1", "", "a b"] {
            assert_eq!(
                rule.apply(authority.as_bytes(), "own.example.com".into()),
                Some((b"a.example.com".into(), 8443)),
                "{authority}"
            );
        }
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
            assert_eq!(rule.apply(authority.as_bytes(), "own.example.com".into()), None, "{authority}");
        }
        let partial = dial("*-a.example.com", 80).unwrap();
        assert!(
            partial.apply(b"x-a.example.com", "".into()).is_some()
                && partial.apply(b"-a.example.com", "".into()).is_none()
        );
    }

    #[test]
    fn faults_are_named() {
        for bad in ["", "*", "A.example.com", "a b", "a:80", "*.A", "**.a"] {
            assert_eq!(dial(bad, 80).unwrap_err(), format!("dial.host: {NOT_DIALABLE}"), "{bad}");
        }
        assert_eq!(dial("*.a", 0).unwrap_err(), "dial.port: must not be 0");
    }
}
