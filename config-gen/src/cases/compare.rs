//! What an engine saw, held against what is expected.

use std::fmt;

use super::effects::{Headers, compare_lines};
use super::{Effects, Expect, Request, Test};

/// What an engine did with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Sent on. What is none can't be told by this engine.
    Forwarded {
        /// The cluster.
        cluster: Option<String>,
        /// The authority behind the filter.
        authority: Vec<u8>,
        /// The path behind the filter.
        path: Vec<u8>,
        /// Host and port where they came from the request.
        dials: Option<String>,
        /// The status in the end.
        status: Option<u16>,
        /// The headers that the upstream saw.
        headers: Option<Headers>,
        /// What else.
        effects: Box<Effects>,
    },
    /// Answered.
    Answered {
        /// The status.
        status: u16,
        /// Why.
        reason: String,
        /// The whole body.
        body: String,
        /// What else.
        effects: Box<Effects>,
    },
    /// The connection was closed without an answer.
    Closed,
}

/// A part of an expectation that didn't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Which part, as the case file calls it.
    pub field: String,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl Mismatch {
    pub(super) fn new(field: &str, expected: &impl ToString, got: &impl ToString) -> Self {
        Self { field: field.to_owned(), expected: expected.to_string(), got: got.to_string() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.field, self.expected, self.got)
    }
}

impl Expect {
    /// What of it doesn't hold for `seen`, which came of `request`, the request of `test`.
    pub fn compare(&self, test: &Test, request: &Request, seen: &Seen) -> Vec<Mismatch> {
        let mut found = Vec::new();
        let mut check = |field: &str, expected: String, got: String| {
            if expected != got {
                found.push(Mismatch { field: field.to_owned(), expected, got });
            }
        };
        let bytes = |bytes: &[u8]| bytes.escape_ascii().to_string();
        match (self, seen) {
            (
                Self::Forward { cluster, authority, path, dials, status, headers, effects },
                Seen::Forwarded {
                    cluster: seen_cluster,
                    authority: seen_authority,
                    path: seen_path,
                    dials: seen_dials,
                    status: seen_status,
                    headers: seen_headers,
                    effects: seen_effects,
                },
            ) => {
                if let Some(seen) = seen_cluster {
                    check("cluster", cluster.clone(), seen.clone());
                }
                check(
                    "authority",
                    bytes(authority.as_ref().unwrap_or(&request.authority)),
                    bytes(seen_authority),
                );
                check("path", bytes(path.as_ref().unwrap_or(&request.path)), bytes(seen_path));
                if dials.is_some() {
                    let text = |dials: &Option<String>| dials.clone().unwrap_or_else(|| "nothing".to_owned());
                    check("dials", text(dials), text(seen_dials));
                }
                if let Some(seen) = seen_status {
                    check("status", status.unwrap_or(test.upstream.status).to_string(), seen.to_string());
                }
                match seen_headers {
                    Some(seen) => compare_lines("headers", headers, seen, &mut found),
                    None if headers.is_empty() => {}
                    None => check("headers", "a request upstream".to_owned(), "none".to_owned()),
                }
                effects.compare(seen_effects, test.upstream.delay, &mut found);
            }
            (
                Self::Respond { status, reason, body, effects },
                Seen::Answered {
                    status: seen_status,
                    reason: seen_reason,
                    body: seen_body,
                    effects: seen_effects,
                },
            ) => {
                check("status", status.to_string(), seen_status.to_string());
                if let Some(reason) = reason {
                    check("reason", reason.clone(), seen_reason.clone());
                }
                if let Some(body) = body {
                    check("body", format!("{body:?}"), format!("{seen_body:?}"));
                }
                effects.compare(seen_effects, test.upstream.delay, &mut found);
            }
            (Self::Closed, Seen::Closed) => {}
            _ => check("outcome", self.to_string(), seen.to_string()),
        }
        found
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward { cluster, .. } => write!(f, "forwarded to {cluster}"),
            Self::Respond { status, reason: Some(reason), .. } => write!(f, "answered {status} ({reason})"),
            Self::Respond { status, .. } => write!(f, "answered {status}"),
            Self::Closed => f.write_str("closed"),
            Self::Shares(_) => f.write_str("shares"),
            Self::Generated(output) => output.fmt(f),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded { cluster, .. } => {
                write!(f, "forwarded to {}", cluster.as_deref().unwrap_or("a cluster that isn't there"))
            }
            Self::Answered { status, reason, .. } => write!(f, "answered {status} ({reason})"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Expectations, Lines, Retries, load};
    use super::*;
    use crate::source::Sources;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn lines(list: &[(&str, &str)]) -> Lines {
        list.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    /// What doesn't hold of `expect` for a request that was sent on with `effects`, where the
    /// upstream got `headers`.
    fn found(expect: &str, effects: Effects, headers: Headers) -> Vec<String> {
        let case = format!(
            "name: one\nresources: r\ntests:\n- name: t\n  upstream: {{delay: 2s}}\n  request: {{url: http://a/}}\n  expect: {{cluster: c, {expect}}}\n"
        );
        let mut sources = Sources::new();
        sources.add("a.yaml", case);
        let (files, wrong) = load(&sources);
        assert!(wrong.is_empty(), "{}", wrong.render(&sources));
        let test = &files[0].tests[0];
        let seen = Seen::Forwarded {
            cluster: Some("c".to_owned()),
            authority: b"a".to_vec(),
            path: b"/".to_vec(),
            dials: None,
            status: None,
            headers: Some(headers),
            effects: Box::new(effects),
        };
        let Expectations { istio: Some(expect), .. } = &test.expect else { panic!("{test:?}") };
        let found = expect.compare(test, test.request.as_ref().unwrap(), &seen);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn headers_are_compared_line_by_line() {
        let seen = |all| Headers { lines: lines(&[("x", "1"), ("x", "2"), ("y1", "3")]), all };
        for (expect, all, mismatches) in [
            ("headers: {X: ['1', '2'], y1: '3', z: null}", true, vec![]),
            ("headers: {x: '1,2'}", true, vec!["headers.x: expected 1,2, got 1 | 2"]),
            ("headers: {x: null}", true, vec!["headers.x: expected (none), got 1 | 2"]),
            ("headers: {z: '1'}", false, vec!["headers.z: expected 1, got (none)"]),
            // Whether Envoy adds it only Envoy knows.
            ("headers: {x-envoy-z: '1'}", false, vec![]),
            ("headers: {x-envoy-z: '1'}", true, vec!["headers.x-envoy-z: expected 1, got (none)"]),
        ] {
            assert_eq!(found(expect, Effects::default(), seen(all)), mismatches, "{expect}");
        }
        let effects = Effects { response_headers: Some(seen(true)), ..Effects::default() };
        assert_eq!(
            found("response_headers: {y1: null}", effects, Headers::default()),
            ["response_headers.y1: expected (none), got 3"]
        );
    }

    #[test]
    fn what_is_not_expected_is_told() {
        let decided = Effects {
            delay: Some(Some(ms(1))),
            timeout: Some(Some(ms(2))),
            retries: Some(Retries::Off),
            mirrors: Some(vec!["m".to_owned()]),
            attempts: Some(2),
            grpc_status: Some(None),
            ..Effects::default()
        };
        assert_eq!(
            found("retries: default, grpc_status: 14", decided.clone(), Headers::default()),
            [
                "grpc_status: expected 14, got none",
                "delay: expected none, got 1ms",
                "timeout: expected none, got 2ms",
                "retries: expected default, got none",
                "attempts: expected 1, got 2",
                "mirrors: expected none, got m",
            ]
        );
        let expect = "delay: 1ms, timeout: 2ms, retries: none, attempts: 2, mirrors: [m]";
        assert_eq!(found(expect, decided, Headers::default()), [""; 0]);
    }

    #[test]
    fn answers_come_in_time() {
        // The upstream takes two seconds.
        for (expect, elapsed, mismatches) in [
            ("timeout: 300ms", 310, vec![]),
            ("timeout: 300ms", 200, vec!["timeout: expected 300ms, got an answer after 200ms"]),
            ("timeout: 300ms", 1900, vec!["timeout: expected 300ms, got an answer after 1900ms"]),
            ("timeout: 3s", 2010, vec![]),
            ("delay: 300ms", 310, vec![]),
            ("delay: 300ms", 200, vec!["delay: expected 300ms, got an answer after 200ms"]),
        ] {
            let effects = Effects { elapsed: Some(ms(elapsed)), ..Effects::default() };
            assert_eq!(found(expect, effects, Headers::default()), mismatches, "{expect} {elapsed}");
        }
    }
}
