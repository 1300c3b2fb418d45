//! Rules for names that several kinds share (spec 6.1).

use std::net::IpAddr;

/// VAL-00a.
pub(crate) fn fqdn(text: &str) -> Result<(), String> {
    length(text)?;
    labels(text)
}

/// VAL-00b: like a name, but the first label may be `*`, `*label` or
/// `*-label`.
pub(super) fn wildcard_domain(text: &str) -> Result<(), String> {
    length(text)?;
    let Some(rest) = text.strip_prefix('*') else { return labels(text) };
    match rest.strip_prefix('.') {
        None if rest.is_empty() => Ok(()),
        Some(rest) => labels(rest),
        None => labels(rest.strip_prefix('-').unwrap_or(rest)),
    }
}

fn length(text: &str) -> Result<(), String> {
    match text.len() {
        0 => Err("it is empty".to_owned()),
        1..=255 => Ok(()),
        _ => Err("it is longer than 255 characters".to_owned()),
    }
}

fn labels(text: &str) -> Result<(), String> {
    let text = text.strip_suffix('.').filter(|rest| !rest.is_empty()).unwrap_or(text);
    for part in text.split('.') {
        if part.is_empty() {
            return Err("two dots follow each other, or it begins with one".to_owned());
        }
        if part.contains('*') {
            return Err("`*` may only stand at the beginning".to_owned());
        }
        if !is_label(part) {
            return Err(format!("`{part}` is no label: at most 63 letters, digits and inner `-`"));
        }
    }
    let last = text.rsplit('.').next().unwrap_or("");
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the last label has no letter".to_owned());
    }
    Ok(())
}

/// A DNS label of either case.
pub(super) fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && outer(bytes.first())
        && outer(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// An IP address as Istio reads it: no brackets, no zone.
pub(super) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Whether one host covers the other, or they are equal: `*.a` covers `x.a`
/// and `*.x.a`, but not `a`.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (None, None) => a == b,
        (Some(suffix), None) => b.len() >= suffix.len() && b.ends_with(suffix),
        (None, Some(suffix)) => a.len() >= suffix.len() && a.ends_with(suffix),
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
    }
}

/// Whether all names that `b` stands for are names of `a`.
pub(super) fn covers(a: &str, b: &str) -> bool {
    match a.strip_prefix('*') {
        Some(suffix) => b.strip_prefix('*').unwrap_or(b).ends_with(suffix),
        None => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for text in
            ["a", "webserver", "api.example.com", "API.example.com", "a.com.", "1.a", "x-y.z", "localhost"]
        {
            assert_eq!(fqdn(text), Ok(()), "{text}");
        }
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "-a.b",
            "a-.b",
            "a_b.c",
            "10.0.0.1",
            "123",
            "*.a",
            "a.*",
            "ä.b",
            "a b",
            "a:80",
            "::1",
            &"a".repeat(64),
        ] {
            assert!(fqdn(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wildcards() {
        for text in ["*", "*.a.com", "*-b.com", "*b.com", "*.com", "a.com"] {
            assert_eq!(wildcard_domain(text), Ok(()), "{text}");
        }
        for text in ["**", "*.", "*-", "a.*.com", "a*.com", "*.*.com", "*a*.com", "*.1"] {
            assert!(wildcard_domain(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wildcards_cover_hosts() {
        for (a, b, expected) in [
            ("a.com", "a.com", true),
            ("a.com", "*.a.com", false),
            ("*.a.com", "*.a.com", true),
            ("*.a.com", "*.b.a.com", true),
            ("*.a.com", "b.a.com", true),
            ("*.a.com", "a.com", false),
            ("*.b.a.com", "*.a.com", false),
            ("*", "a", true),
        ] {
            assert_eq!(covers(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn hosts_overlap() {
        for (a, b, expected) in [
            ("a.com", "a.com", true),
            ("*.foo.com", "a.foo.com", true),
            ("*.foo.com", "foo.com", false),
            ("*.foo.com", "*.b.foo.com", true),
            ("*.foo.com", "*.bar.com", false),
            ("*", "a", true),
            ("a.com", "b.com", false),
        ] {
            assert_eq!(overlap(a, b), expected, "{a} {b}");
            assert_eq!(overlap(b, a), expected, "{b} {a}");
        }
    }
}
