//! What there is to see of a decision besides where the request goes.

use std::fmt;
use std::time::Duration;

use portolan_engine::config::PASSTHROUGH_ROUTE_PROFILE;
use portolan_engine::{Forward, HeaderChange};

use super::Mismatch;
use crate::plan::{Plan, RetryProfile};
use crate::request::Lines;

/// Names in lower case, and the values of all their lines; none: there is no such header.
pub type WantedLines = Vec<(String, Option<Vec<Vec<u8>>>)>;

/// Headers that were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// In order.
    pub lines: Lines,
    /// There are no others; else Envoy may add its own.
    pub all: bool,
}

/// What is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retries {
    /// What Istio does where nothing is said (DEF-06).
    Default,
    /// Nothing.
    Off,
    /// As said.
    These(RetryPolicy),
}

/// What is said of retries, in headers and in the route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries after the first.
    pub attempts: u64,
    /// Conditions, joined by commas.
    pub on: String,
    /// Joined by commas.
    pub status_codes: String,
    /// What each try has.
    pub per_try_timeout: Option<Duration>,
    /// Hosts that failed already may be tried again.
    pub previous_hosts: bool,
    /// Other localities too.
    pub remote_localities: bool,
    /// The base interval.
    pub backoff: Option<Duration>,
}

/// What was seen. What is none can't be told by the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// The headers that the client got.
    pub response_headers: Option<Headers>,
    /// The status of gRPC, if there is one.
    pub grpc_status: Option<Option<u8>>,
    /// How long the request is held back on purpose.
    pub delay: Option<Option<Duration>>,
    /// What the upstream has for its answer.
    pub timeout: Option<Option<Duration>>,
    /// The route profile.
    pub route_profile: Option<String>,
    /// What is tried again.
    pub retries: Option<Retries>,
    /// How often it arrived.
    pub attempts: Option<usize>,
    /// Clusters that got a copy.
    pub mirrors: Option<Vec<String>>,
    /// What load balancers hash.
    pub hash: Option<Vec<String>>,
    /// Why it would be refused if the registry were enforced.
    pub reported: Option<Option<String>>,
    /// How long the answer took.
    pub elapsed: Option<Duration>,
}

/// What is expected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedEffects {
    /// Headers that the client gets, or doesn't.
    pub response_headers: WantedLines,
    /// None: not looked at.
    pub grpc_status: Option<u8>,
    /// None: not held back.
    pub delay: Option<Duration>,
    /// None: no limit.
    pub timeout: Option<Duration>,
    /// None: not looked at.
    pub retries: Option<Retries>,
    /// None: once at most.
    pub attempts: Option<usize>,
    /// In any order.
    pub mirrors: Vec<String>,
    /// None: not looked at.
    pub hash: Option<Vec<String>>,
    /// None: it isn't.
    pub reported: Option<String>,
}

/// How much earlier than asked for a timer may seem to end.
const EARLY: Duration = Duration::from_millis(50);

/// How much later than a timeout an answer may come.
const LATE: Duration = Duration::from_millis(1500);

impl WantedEffects {
    /// What of it doesn't hold. The upstream answers after `answers_after`.
    pub(super) fn compare(&self, seen: &Effects, answers_after: Duration, out: &mut Vec<Mismatch>) {
        if let Some(lines) = &seen.response_headers {
            compare_lines("response_headers", &self.response_headers, lines, out);
        }
        let mut check = |field: &str, wanted: String, got: String| {
            if wanted != got {
                out.push(Mismatch::new(field, &wanted, &got));
            }
        };
        if let (Some(wanted), Some(got)) = (self.grpc_status, seen.grpc_status) {
            check(
                "grpc_status",
                wanted.to_string(),
                got.map_or_else(|| "none".to_owned(), |got| got.to_string()),
            );
        }
        for (field, wanted, got) in
            [("delay", self.delay, seen.delay), ("timeout", self.timeout, seen.timeout)]
        {
            if let Some(got) = got {
                check(field, time(wanted), time(got));
            }
        }
        if let (Some(wanted), Some(got)) = (&self.retries, &seen.retries) {
            check("retries", wanted.to_string(), got.to_string());
        }
        if let Some(got) = seen.attempts {
            check("attempts", self.attempts.unwrap_or(got.min(1)).to_string(), got.to_string());
        }
        if let Some(got) = &seen.mirrors {
            let sorted = |list: &[String]| {
                let mut list = list.to_vec();
                list.sort();
                if list.is_empty() { "none".to_owned() } else { list.join(", ") }
            };
            check("mirrors", sorted(&self.mirrors), sorted(got));
        }
        if let (Some(wanted), Some(got)) = (&self.hash, &seen.hash) {
            check("hash", wanted.join(", "), got.join(", "));
        }
        if let Some(got) = &seen.reported {
            let text = |reason: &Option<String>| reason.clone().unwrap_or_else(|| "no".to_owned());
            check("reported", text(&self.reported), text(got));
        }
        if let Some(elapsed) = seen.elapsed {
            if self.delay.is_some_and(|delay| elapsed + EARLY < delay) {
                check("delay", time(self.delay), format!("an answer after {}", time(Some(elapsed))));
            }
            let limit = self.timeout.filter(|timeout| *timeout < answers_after);
            let within =
                |limit: Duration| limit <= elapsed + EARLY && elapsed < answers_after.min(limit + LATE);
            if limit.is_some_and(|limit| !within(limit)) {
                check("timeout", time(limit), format!("an answer after {}", time(Some(elapsed))));
            }
        }
    }
}

fn time(time: Option<Duration>) -> String {
    time.map_or_else(|| "none".to_owned(), |time| format!("{}ms", time.as_millis()))
}

/// Headers that Envoy writes by itself: without a line of that name, an engine that isn't Envoy
/// can't tell.
fn is_envoys_own(name: &str) -> bool {
    const NAMES: [&str; 6] =
        ["content-length", "content-type", "date", "proxy-authorization", "server", "x-request-id"];
    name.starts_with("x-envoy-") || name.starts_with("x-forwarded-") || NAMES.contains(&name)
}

/// Compares the lines of the names that are wanted.
pub(super) fn compare_lines(field: &str, wanted: &WantedLines, seen: &Headers, out: &mut Vec<Mismatch>) {
    for (name, wanted) in wanted {
        let of_name = seen.lines.iter().filter(|(known, _)| known == name);
        let got: Vec<Vec<u8>> = of_name.map(|(_, value)| value.clone()).collect();
        if got.is_empty() && !seen.all && is_envoys_own(name) {
            continue;
        }
        let text = |values: Option<&[Vec<u8>]>| match values {
            None | Some([]) => "(none)".to_owned(),
            Some(values) => {
                let values: Vec<String> =
                    values.iter().map(|value| value.escape_ascii().to_string()).collect();
                values.join(" | ")
            }
        };
        if wanted.as_deref().unwrap_or_default() != got {
            out.push(Mismatch::new(&format!("{field}.{name}"), &text(wanted.as_deref()), &text(Some(&got))));
        }
    }
}

impl fmt::Display for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = match self {
            Self::Default => return f.write_str("default"),
            Self::Off => return f.write_str("none"),
            Self::These(policy) => policy,
        };
        write!(f, "{} on {}", policy.attempts, policy.on)?;
        if !policy.status_codes.is_empty() {
            write!(f, ", status codes {}", policy.status_codes)?;
        }
        if policy.per_try_timeout.is_some() {
            write!(f, ", {} for each", time(policy.per_try_timeout))?;
        }
        if policy.previous_hosts {
            f.write_str(", previous hosts too")?;
        }
        if policy.remote_localities {
            f.write_str(", remote localities too")?;
        }
        if policy.backoff.is_some() {
            write!(f, ", {} between", time(policy.backoff))?;
        }
        Ok(())
    }
}

/// What Envoy is told of a request that is sent on.
pub(super) fn of_forward(forward: &Forward<'_>) -> Effects {
    let on = ["x-envoy-retry-on", "x-envoy-retry-grpc-on"].map(|name| told(forward, name));
    let attempts = told(forward, "x-envoy-max-retries").and_then(|text| text.parse().ok());
    Effects {
        delay: Some(told(forward, "x-envoy-fault-delay-request").as_deref().map(milliseconds)),
        timeout: Some(told(forward, "x-envoy-upstream-rq-timeout-ms").as_deref().map(milliseconds)),
        reported: Some(forward.reported.map(|reason| reason.as_str().to_owned())),
        route_profile: Some(forward.route.split(' ').next().unwrap_or_default().to_owned()),
        retries: Some(Retries::These(RetryPolicy {
            attempts: attempts.unwrap_or(0),
            on: on.into_iter().flatten().collect::<Vec<_>>().join(","),
            status_codes: told(forward, "x-envoy-retriable-status-codes").unwrap_or_default(),
            per_try_timeout: told(forward, "x-envoy-upstream-rq-per-try-timeout-ms")
                .as_deref()
                .map(milliseconds),
            ..RetryPolicy::default()
        })),
        ..Effects::default()
    }
}

/// Adds what the route profile says.
pub(super) fn add_profile(effects: &mut Effects, plan: &Plan) {
    let Some(name) = &effects.route_profile else { return };
    let profile = plan.profiles.iter().find(|profile| profile.name() == *name);
    let mirrors =
        profile.map(|profile| profile.mirrors.iter().map(|mirror| mirror.cluster.clone()).collect());
    effects.mirrors = Some(mirrors.unwrap_or_default());
    let hash = profile.map(|profile| profile.hash.iter().map(ToString::to_string).collect());
    effects.hash = Some(hash.unwrap_or_default());
    match profile.map(|profile| &profile.retries) {
        None if name == PASSTHROUGH_ROUTE_PROFILE => effects.retries = Some(Retries::Off),
        None | Some(RetryProfile::Default) => effects.retries = Some(Retries::Default),
        Some(RetryProfile::Off) => effects.retries = Some(Retries::Off),
        Some(RetryProfile::ByHeader(hosts)) => {
            if let Some(Retries::These(policy)) = &mut effects.retries {
                policy.previous_hosts = !hosts.ignore_previous;
                policy.remote_localities = hosts.remote_localities;
                policy.backoff = hosts.backoff.map(Duration::from_millis);
            }
        }
    }
}

/// The value of a header that only Envoy reads.
pub(super) fn told(forward: &Forward<'_>, wanted: &str) -> Option<String> {
    let mut values = forward.headers.iter().filter_map(|change| match change {
        HeaderChange::Set(name, value) if *name == wanted => {
            Some(String::from_utf8_lossy(value).into_owned())
        }
        _ => None,
    });
    values.next()
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap_or(u64::MAX))
}
