//! Timeouts and retries, told to Envoy's router by headers (GAP-03, GAP-04).

use std::borrow::Cow;

use crate::config::{self, ConfigError};
use crate::decision::HeaderChange;
use crate::request::Request;

const TIMEOUT: &str = "x-envoy-upstream-rq-timeout-ms";

/// What Envoy's router is told of each request.
#[derive(Debug)]
pub(crate) struct Router {
    /// The same for every request.
    fixed: Vec<(&'static str, String)>,
    /// Milliseconds, and as text.
    timeout: Option<(u64, String)>,
}

impl Router {
    #[inline(never)]
    pub(crate) fn new(
        timeout: Option<u64>,
        retries: Option<config::Retries>,
        path: &str,
    ) -> Result<Self, ConfigError> {
        let mut fixed = Vec::new();
        // Envoy takes 0 for no timeout.
        if timeout == Some(0) {
            return Err(ConfigError::new(format!("{path}.timeoutMs"), "must be 1 or more"));
        }
        if let Some(retries) = retries {
            let token = |word: &String| {
                !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            if !retries.retry_on.iter().chain(&retries.retry_grpc_on).all(token) {
                return Err(ConfigError::new(format!("{path}.retries"), "has a condition that is no word"));
            }
            fixed.push(("x-envoy-max-retries", retries.attempts.to_string()));
            if !retries.retry_on.is_empty() {
                fixed.push(("x-envoy-retry-on", retries.retry_on.join(",")));
            }
            if !retries.retry_grpc_on.is_empty() {
                fixed.push(("x-envoy-retry-grpc-on", retries.retry_grpc_on.join(",")));
            }
            if !retries.status_codes.is_empty() {
                let codes: Vec<String> = retries.status_codes.iter().map(u16::to_string).collect();
                fixed.push(("x-envoy-retriable-status-codes", codes.join(",")));
            }
            if let Some(limit) = retries.per_try_timeout_ms {
                fixed.push(("x-envoy-upstream-rq-per-try-timeout-ms", limit.to_string()));
            }
        }
        Ok(Self { fixed, timeout: timeout.map(|timeout| (timeout, timeout.to_string())) })
    }

    pub(crate) fn apply<'t>(&'t self, request: &Request<'_>, changes: &mut Vec<HeaderChange<'t>>) {
        for (name, value) in &self.fixed {
            changes.push(set(name, Cow::Borrowed(value.as_bytes())));
        }
        let timeout = match (grpc_timeout(request), &self.timeout) {
            // The header overrides what the client of gRPC asks for, so it has to be the
            // lesser of both (VS-TO-06).
            (Some(asked), Some((cap, _))) if asked < *cap => asked.to_string().into_bytes().into(),
            (_, Some((_, text))) => Cow::Borrowed(text.as_bytes()),
            (Some(asked), None) => asked.to_string().into_bytes().into(),
            (None, None) => return,
        };
        changes.push(set(TIMEOUT, timeout));
    }
}

fn set<'t>(name: &'static str, value: Cow<'t, [u8]>) -> HeaderChange<'t> {
    HeaderChange::Set(name, value)
}

/// How long the client of gRPC would wait, in milliseconds; none for other requests, and where
/// it doesn't say, or says 0, which is no limit to Envoy.
fn grpc_timeout(request: &Request<'_>) -> Option<u64> {
    let header =
        |name: &[u8]| request.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let (unit, digits) = header(b"grpc-timeout")?.split_last()?;
    let rest = header(b"content-type")?.strip_prefix(b"application/grpc")?;
    if !(rest.is_empty() || rest.starts_with(b"+")) || digits.len() > 8 {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    let number: u64 = digits.parse().ok()?;
    let milliseconds = match unit {
        b'H' => number * 3_600_000,
        b'M' => number * 60_000,
        b'S' => number * 1000,
        b'm' => number,
        b'u' => number.div_ceil(1000),
        b'n' => number.div_ceil(1_000_000),
        _ => return None,
    };
    (milliseconds > 0).then_some(milliseconds)
}
