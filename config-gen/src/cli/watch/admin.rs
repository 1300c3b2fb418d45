//! What Envoy says of the files that it reads.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::transition::Step;
use crate::emit::Output;

/// How long Envoy may take to read a file. It does nothing else meanwhile, so that an answer of the admin
/// interface may take as long.
const READING: Duration = Duration::from_secs(15);

/// How long what it has read may take to be ready.
const WARMING: Duration = Duration::from_secs(5);

/// Between two questions; more where an answer takes long, since Envoy does nothing else meanwhile.
const INTERVAL: Duration = Duration::from_millis(5);

/// When it is first asked whether a file was refused.
const SUSPICION: Duration = Duration::from_millis(200);

/// The admin interface of an Envoy.
pub(super) struct Admin {
    address: SocketAddr,
    agent: ureq::Agent,
    /// How many files were refused before this change.
    refused: u64,
}

/// What became of a step.
pub(super) enum Answer {
    /// Envoy works with the file.
    InForce,
    /// It doesn't yet, as far as can be told: why, in words.
    Late(String),
    /// It goes on with what it had.
    Refused,
}

impl Admin {
    pub(super) fn new(address: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(READING)).proxy(None).build();
        Self { address, agent: config.into(), refused: 0 }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// To be called before a change, to see later what was refused since.
    pub(super) fn begin(&mut self) -> Result<(), ureq::Error> {
        self.refused = self.refused()?;
        Ok(())
    }

    /// Waits until Envoy works with the file of this step, for a bounded time.
    pub(super) fn wait_for(&self, step: &Step) -> Answer {
        self.try_wait_for(step).unwrap_or_else(|error| {
            Answer::Late(format!("Envoy's admin interface at {} doesn't answer ({error})", self.address))
        })
    }

    fn try_wait_for(&self, step: &Step) -> Result<Answer, ureq::Error> {
        let (Some(output), Some(version), true) = (step.output(), step.version(), step.is_watched()) else {
            return Ok(Answer::InForce);
        };
        let name = step.name().unwrap_or_default();
        let is_of_step = |stat: &str| match output {
            Output::Cds => stat == "cluster_manager.cds.version_text",
            Output::Lds => stat == "listener_manager.lds.version_text",
            Output::Ecds => stat.ends_with(&format!("http_filter.{name}.version_text")),
            _ => stat.ends_with(&format!(".rds.{name}.version_text")),
        };
        let began = Instant::now();
        let mut suspicion = SUSPICION;
        let has_read = wait(READING, || {
            let stats = self.stats("type=TextReadouts")?;
            let mut versions = stats.iter().filter(|(name, _)| is_of_step(name)).peekable();
            if versions.peek().is_some() && versions.all(|(_, value)| *value == version) {
                return Ok(Some(true));
            }
            // All counters are many with thousands of clusters, so this isn't asked each time.
            if began.elapsed() > suspicion {
                suspicion *= 2;
                if self.refused()? > self.refused {
                    return Ok(Some(false));
                }
            }
            Ok(None)
        })?;
        match has_read {
            Some(false) => return Ok(Answer::Refused),
            Some(true) => {}
            None => {
                return Ok(Answer::Late(format!("Envoy hasn't read `{}` within {READING:?}", step.path)));
            }
        }
        match output {
            Output::Cds => self.wait_for_clusters(step),
            Output::Lds => self.wait_for_listeners(),
            _ => Ok(Answer::InForce),
        }
    }

    /// New clusters serve, and changed ones in their new form, once they are resolved for the first time. Envoy
    /// also goes on with them when DNS says that there is no such name, or nothing at all.
    fn wait_for_clusters(&self, step: &Step) -> Result<Answer, ureq::Error> {
        let awaited = step.changed();
        if awaited.is_empty() {
            return Ok(Answer::InForce);
        }
        let mut missing = Vec::new();
        let done = wait(WARMING, || {
            missing = self.warming_clusters()?;
            missing.retain(|name| awaited.contains(name));
            Ok(missing.is_empty().then_some(()))
        })?;
        if done.is_some() {
            missing = self.without_address(step.changed_where(is_resolved_by_dns))?;
        }
        Ok(match missing.split_first() {
            None => Answer::InForce,
            Some((first, more)) => {
                let more = match more.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                Answer::Late(format!(
                    "cluster `{first}`{more} has no address yet, since DNS has none or doesn't answer: until it does, a new one answers 503, and a changed one may stay what it was"
                ))
            }
        })
    }

    /// Those of these clusters that have no host.
    fn without_address(&self, mut clusters: HashSet<String>) -> Result<Vec<String>, ureq::Error> {
        if clusters.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.get("/clusters?format=json")?;
        for cluster in answer["cluster_statuses"].as_array().into_iter().flatten() {
            if let (Some(name), Some(_)) = (cluster["name"].as_str(), cluster.get("host_statuses")) {
                clusters.remove(name);
            }
        }
        let mut clusters: Vec<String> = clusters.into_iter().collect();
        clusters.sort_unstable();
        Ok(clusters)
    }

    /// The names of clusters that aren't ready.
    fn warming_clusters(&self) -> Result<Vec<String>, ureq::Error> {
        // Their names cost Envoy more.
        if self.gauge("cluster_manager.warming_clusters")? == 0 {
            return Ok(Vec::new());
        }
        let dump = self.get("/config_dump?resource=dynamic_warming_clusters")?;
        let configs = dump["configs"].as_array().into_iter().flatten();
        Ok(configs.filter_map(|one| Some(one.pointer("/cluster/name")?.as_str()?.to_owned())).collect())
    }

    fn wait_for_listeners(&self) -> Result<Answer, ureq::Error> {
        let done = wait(WARMING, || {
            Ok((self.gauge("listener_manager.total_listeners_warming")? == 0).then_some(()))
        })?;
        Ok(match done {
            Some(()) => Answer::InForce,
            None => Answer::Late(format!("listeners aren't ready within {WARMING:?}")),
        })
    }

    fn gauge(&self, name: &str) -> Result<u64, ureq::Error> {
        let stats = self.stats(&format!("type=Gauges&filter={name}"))?;
        Ok(stats.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_u64()).unwrap_or(0))
    }

    /// How many files Envoy has refused since its start.
    fn refused(&self) -> Result<u64, ureq::Error> {
        let stats = self.stats("type=Counters&filter=update_rejected")?;
        let of_secrets = |name: &str| name.contains(".sds.");
        Ok(stats.iter().filter(|(name, _)| !of_secrets(name)).filter_map(|(_, value)| value.as_u64()).sum())
    }

    /// Names and values.
    fn stats(&self, query: &str) -> Result<Vec<(String, Value)>, ureq::Error> {
        let mut answer = self.get(&format!("/stats?format=json&{query}"))?;
        let stats = answer["stats"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let stat = |mut stat: Value| Some((stat["name"].as_str()?.to_owned(), stat["value"].take()));
        Ok(stats.into_iter().filter_map(stat).collect())
    }

    fn get(&self, path: &str) -> Result<Value, ureq::Error> {
        let mut answer = self.agent.get(format!("http://{}{path}", self.address)).call()?;
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string()?;
        serde_json::from_str(&text).map_err(|error| ureq::Error::Io(error.into()))
    }
}

fn is_resolved_by_dns(cluster: &Value) -> bool {
    cluster["cluster_type"]["name"] == "envoy.cluster.dns"
}

/// Asks until there is an answer, at most for `limit`.
fn wait<T>(
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, ureq::Error>,
) -> Result<Option<T>, ureq::Error> {
    let until = Instant::now() + limit;
    loop {
        let began = Instant::now();
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        thread::sleep(INTERVAL.max(began.elapsed()));
    }
}
