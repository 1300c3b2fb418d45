//! An Envoy of the table, and what is sent to it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::load::{Load, Outcome};
use portolan_e2e::{Envoy, EnvoyOptions};

use super::cases::Sent;
use crate::row::HEADERS;

/// A running Envoy; it is stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) envoy: Envoy,
    address: SocketAddr,
}

/// Requests that are the same but for their paths.
#[derive(Debug)]
pub(crate) struct Requests<'a> {
    pub(crate) authority: &'a str,
    /// Taken in turn.
    pub(crate) sent: &'a [Sent],
    /// Whether they are answered with 404 instead of 200.
    pub(crate) are_missing: bool,
    pub(crate) connections: usize,
    pub(crate) count: u64,
}

impl Server {
    pub(crate) fn start(binary: &Path, config: &Path, workers: u32) -> Result<Self> {
        let mut options = EnvoyOptions::new(binary, config);
        options.log_level = "warning".to_owned();
        // The filter tells of each config that it has loaded.
        options.arguments = ["--component-log-level", "wasm:info"].map(str::to_owned).to_vec();
        options.concurrency = workers;
        let envoy = Envoy::start(&options).with_context(|| format!("Envoy with {}", config.display()))?;
        Ok(Self { address: envoy.listener_addr("outbound_80")?, envoy })
    }

    /// Sends requests; all must be answered as they should.
    pub(crate) fn send(&self, requests: &Requests<'_>) -> Result<Outcome> {
        let targets: Vec<(&str, &str)> =
            requests.sent.iter().map(|sent| (requests.authority, &*sent.path)).collect();
        let mut load = Load::new(self.address, &targets, requests.count);
        load.connections = requests.connections;
        load.headers = HEADERS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        load.headers.extend(requests.sent.first().and_then(|sent| sent.header.clone()));
        let outcome = load.run()?;
        let not_2xx = if requests.are_missing { requests.count } else { 0 };
        ensure!(
            outcome.errors == 0 && outcome.not_2xx == not_2xx && outcome.responses == requests.count,
            "{}: of {} requests, {} were answered with an error and {} not at all{}",
            requests.authority,
            requests.count,
            outcome.not_2xx,
            outcome.errors,
            outcome.first_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
        );
        Ok(outcome)
    }

    /// The CPU time that requests take: that of all threads of Envoy, in the kernel too.
    pub(crate) fn cost(&self, requests: &Requests<'_>) -> Result<Duration> {
        let before = self.envoy.cpu_time()?;
        self.send(requests)?;
        Ok(self.envoy.cpu_time()?.saturating_sub(before))
    }

    /// How many requests the last rules of all virtual hosts have forwarded.
    pub(crate) fn last_rule_hits(&self) -> Result<u64> {
        let stats = self.envoy.stats()?;
        let of_last = |name: &str| name.contains("last") && name.ends_with(".upstream_rq_total");
        Ok(stats.iter().filter(|(name, _)| of_last(name)).map(|(_, value)| value).sum())
    }
}
