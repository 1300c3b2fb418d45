//! A row of the table: an Envoy, checked and measured.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use portolan_e2e::load::Load;
use portolan_e2e::process::poll;
use portolan_e2e::{Envoy, EnvoyOptions, Upstream};

use crate::configs::Configs;
use crate::workload::{Target, Workload};

/// What a client sends besides `Host`: about what HTTP libraries and tracing add. The filter
/// looks at the name of every header, so their number counts.
pub(crate) const HEADERS: [(&str, &str); 5] = [
    ("user-agent", "portolan-bench/1.0"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate"),
    ("authorization", "Bearer 0123456789abcdef0123456789abcdef"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
];

/// Which row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    NoFilter,
    OwnRoutes,
    /// On clusters of their own.
    OurFilter,
    /// On a shared cluster.
    OursShared,
    /// The same with the guard of private addresses.
    OursGuarded,
    Lua,
}

/// A row's Envoy. It is stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Row {
    /// Which one.
    pub(crate) kind: Kind,
    /// The process.
    pub(crate) envoy: Envoy,
    pub(crate) address: SocketAddr,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoFilter => "no filter",
            Self::OwnRoutes => "Envoy's own routes",
            Self::OurFilter => "our filter",
            Self::OursShared => "our filter, shared cluster",
            Self::OursGuarded => "our filter, shared and guarded",
            Self::Lua => "Lua filter",
        })
    }
}

impl Row {
    /// Starts Envoy with this configuration and one worker.
    pub(crate) fn start(kind: Kind, binary: &Path, config: &Path) -> Result<Self> {
        let mut options = EnvoyOptions::new(binary, config);
        options.log_level = "warning".to_owned();
        options.concurrency = 1;
        let start = || -> Result<Self> {
            let envoy = Envoy::start(&options)?;
            Ok(Self { kind, address: envoy.listener_addr("outbound_80")?, envoy })
        };
        start().with_context(|| format!("row `{kind}`"))
    }

    /// No filter, and ours.
    pub(crate) fn without_and_with(binary: &Path, configs: &Configs<'_>) -> Result<[Self; 2]> {
        let ours = Self::start(Kind::OurFilter, binary, &configs.ours)?;
        let derived = configs.derive(&ours.envoy)?;
        Ok([Self::start(Kind::NoFilter, binary, &derived.no_filter)?, ours])
    }

    /// Sends a request for every host; `recorder` must have seen each of them once, with the
    /// authority and the path that this row claims.
    pub(crate) fn check(&self, workload: &Workload, recorder: &Upstream) -> Result<()> {
        recorder.clear();
        self.send(workload, 0..workload.requests.len() as u64)?;
        let seen = recorder.requests().into_iter();
        let mut seen: Vec<Target> =
            seen.map(|request| Target { authority: request.host, path: request.path }).collect();
        let mut missing = Vec::new();
        for request in &workload.requests {
            let expected = match self.kind {
                Kind::NoFilter => &request.sent,
                _ => &request.rewritten,
            };
            // Eight connections take turns: in which order requests come is not fixed.
            match seen.iter().position(|target| target == expected) {
                Some(index) => drop(seen.swap_remove(index)),
                None => missing.push(expected),
            }
        }
        match (missing.first(), seen.first()) {
            (None, None) => Ok(()),
            (missing, unexpected) => {
                let name = |target: Option<&Target>| target.map_or("nothing".to_owned(), Target::to_string);
                bail!(
                    "row `{}`: the upstream saw {}, not {}",
                    self.kind,
                    name(unexpected),
                    name(missing.copied())
                )
            }
        }
    }

    /// Waits until Envoy has noticed that the upstream is gone, as a connection to it could
    /// else be used once more.
    pub(crate) fn wait_disconnected(&self) -> Result<()> {
        let connections = || -> Result<u64> {
            let stats = self.envoy.stats()?;
            let active = stats
                .iter()
                .filter(|(name, _)| name.starts_with("cluster.") && name.ends_with(".upstream_cx_active"));
            Ok(active.map(|(_, value)| value).sum())
        };
        let limit = Duration::from_secs(5);
        poll(limit, || connections().ok().filter(|active| *active == 0))
            .with_context(|| format!("row `{}`: still connected to an upstream that is gone", self.kind))?;
        Ok(())
    }

    /// Sends the requests of these numbers. Returns the CPU time that they took: that of all
    /// threads of Envoy, in the kernel too.
    pub(crate) fn measure(&self, workload: &Workload, numbers: Range<u64>) -> Result<Duration> {
        let before = self.envoy.cpu_time()?;
        self.send(workload, numbers)?;
        Ok(self.envoy.cpu_time()?.saturating_sub(before))
    }

    /// Sends requests over eight connections that are kept, the hosts in turn; fails unless
    /// all succeed.
    fn send(&self, workload: &Workload, numbers: Range<u64>) -> Result<()> {
        let requests = numbers.end - numbers.start;
        if requests == 0 {
            return Ok(());
        }
        let mut targets: Vec<(&str, &str)> =
            workload.requests.iter().map(|request| (&*request.sent.authority, &*request.sent.path)).collect();
        let first = numbers.start % targets.len() as u64;
        targets.rotate_left(usize::try_from(first)?);
        let mut load = Load::new(self.address, &targets, requests);
        load.headers = HEADERS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let outcome = load.run().with_context(|| format!("row `{}`", self.kind))?;
        ensure!(
            outcome.errors == 0 && outcome.not_2xx == 0 && outcome.responses == requests,
            "row `{}`: of {requests} requests, {} were answered with an error and {} not at all{}",
            self.kind,
            outcome.not_2xx,
            outcome.errors,
            outcome.first_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
        );
        Ok(())
    }
}
