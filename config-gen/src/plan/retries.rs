//! When a request is tried again (VS-RETRY rows).

use portolan_engine::config::Retries;

use crate::plan::profiles::{DEFAULT_RETRY_ON, RetryHosts, RetryProfile};
use crate::resource::{Spanned, action};

/// What of retries is static in Envoy (GAP-03).
pub(crate) fn profile(retries: Option<&action::Retries>) -> RetryProfile {
    let flag = |flag: &Option<Spanned<bool>>| flag.as_ref().map(|flag| flag.value);
    match retries {
        None => RetryProfile::Default,
        Some(retries) if attempts(retries) == 0 => RetryProfile::Off,
        Some(retries) => RetryProfile::ByHeader(RetryHosts {
            ignore_previous: flag(&retries.ignore_previous_hosts).unwrap_or(true),
            remote_localities: flag(&retries.remote_localities).unwrap_or(false),
            backoff: retries.backoff.as_ref().map(|backoff| backoff.value),
        }),
    }
}

fn attempts(retries: &action::Retries) -> u32 {
    retries.attempts.as_ref().and_then(|attempts| u32::try_from(attempts.value).ok()).unwrap_or_default()
}

/// When it is tried again; none where it isn't.
pub(crate) fn conditions(retries: &action::Retries) -> Option<Retries> {
    /// What `retry-grpc-on` takes; the rest is `retry-on`'s.
    const GRPC: [&str; 5] =
        ["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"];
    let attempts = attempts(retries);
    if attempts == 0 {
        return None;
    }
    let mut result = Retries {
        attempts,
        per_try_timeout_ms: retries.per_try_timeout.as_ref().map(|limit| limit.value),
        ..Retries::default()
    };
    let conditions = retries.retry_on.as_ref().map_or(DEFAULT_RETRY_ON, |conditions| conditions.as_str());
    for word in conditions.split(',').map(str::trim) {
        if let Ok(status) = word.parse() {
            result.status_codes.push(status);
        } else if GRPC.contains(&word) {
            result.retry_grpc_on.push(word.to_owned());
        } else {
            result.retry_on.push(word.to_owned());
        }
    }
    // VS-RETRY-05
    let by_status = "retriable-status-codes";
    if !result.status_codes.is_empty() && !result.retry_on.iter().any(|word| word == by_status) {
        result.retry_on.push(by_status.to_owned());
    }
    Some(result)
}
