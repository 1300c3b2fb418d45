//! Route profiles: what is static in Envoy's routes, and so can't be said request by request
//! (GAP-03, GAP-09).

use portolan_engine::config::DEFAULT_ROUTE_PROFILE;

use crate::resource::destination_rule::{Cookie, HashKey};

/// What is tried again where nothing is said (DEF-06).
pub(crate) const DEFAULT_RETRY_ON: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

/// A combination of static settings. Envoy gets one route for each that is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteProfile {
    /// Retries.
    pub retries: RetryProfile,
    /// Clusters that get a copy of requests (VS-MIR-01).
    pub mirrors: Vec<Mirror>,
    /// What is hashed for clusters that choose endpoints by hash; others don't look at it (GAP-11).
    pub hash: Vec<HashKey>,
}

/// What of the retries is static.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetryProfile {
    /// Those where nothing is said: the mesh's, else Istio's (DEF-06, VS-RETRY-01).
    #[default]
    Default,
    /// None (VS-RETRY-02).
    Off,
    /// As the filter says, by headers (GAP-03).
    ByHeader(RetryHosts),
}

/// Which hosts are tried, and how soon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryHosts {
    /// Not the hosts that failed already (VS-RETRY-10).
    pub ignore_previous: bool,
    /// Other localities too (VS-RETRY-09).
    pub remote_localities: bool,
    /// Base interval in milliseconds (VS-RETRY-11).
    pub backoff: Option<u64>,
}

impl Default for RetryHosts {
    fn default() -> Self {
        Self { ignore_previous: true, remote_localities: false, backoff: None }
    }
}

/// A cluster that gets a copy of requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mirror {
    /// Its name.
    pub cluster: String,
    /// How many of a million requests.
    pub per_million: u32,
}

impl RouteProfile {
    /// A name without blanks that says what it is, so that it stays when others come and go.
    pub fn name(&self) -> String {
        let mut name = match &self.retries {
            RetryProfile::Default => DEFAULT_ROUTE_PROFILE.to_owned(),
            RetryProfile::Off => "no-retries".to_owned(),
            RetryProfile::ByHeader(hosts) => {
                let mut name = "retries".to_owned();
                if !hosts.ignore_previous {
                    name.push_str("+same-host");
                }
                if hosts.remote_localities {
                    name.push_str("+remote");
                }
                if let Some(backoff) = hosts.backoff {
                    name.push_str(&format!("+backoff={backoff}ms"));
                }
                name
            }
        };
        for Mirror { cluster, per_million } in &self.mirrors {
            name.push_str(&format!("+mirror={cluster}"));
            if *per_million != 1_000_000 {
                name.push_str(&format!("@{per_million}/M"));
            }
        }
        for key in &self.hash {
            name.push_str(&match key {
                HashKey::Header(header) => format!("+hash=header:{header}"),
                HashKey::Cookie(cookie) => cookie_name(cookie),
                HashKey::SourceIp => "+hash=source-ip".to_owned(),
                HashKey::QueryParameter(parameter) => format!("+hash=query:{parameter}"),
            });
        }
        // A blank ends the name in the filter state.
        name.replace(char::is_whitespace, "_")
    }
}

fn cookie_name(cookie: &Cookie) -> String {
    let Cookie { name, path, ttl, attributes } = cookie;
    let mut text = format!("+hash=cookie:{name}");
    if !path.is_empty() {
        text.push_str(&format!("@{path}"));
    }
    if let Some(ttl) = ttl {
        text.push_str(&format!(",{ttl}ms"));
    }
    for (name, value) in attributes {
        text.push_str(&format!(",{name}={value}"));
    }
    text
}
