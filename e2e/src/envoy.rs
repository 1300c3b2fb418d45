//! Stock Envoy as a child process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process::{self, poll};
use crate::raw::{self, Head, Response};
use crate::scratch::Scratch;
use crate::usage;

/// How long Envoy may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lines of the log that go into an error.
const LAST_LINES: usize = 30;

/// Where the admin interface of an Envoy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// Envoy writes it to a file (`--admin-address-path`), so the configuration
    /// may say port 0.
    File,
    /// As the configuration says.
    Fixed(SocketAddr),
}

/// How to start Envoy. Make one with [`EnvoyOptions::new`] and change what
/// matters.
#[derive(Debug, Clone)]
pub struct EnvoyOptions {
    /// The binary; see [`places::envoy_binary`](crate::places::envoy_binary).
    pub binary: PathBuf,
    /// The bootstrap configuration. It must have an `admin` section.
    pub config: PathBuf,
    /// Where Envoy runs: relative paths in the configuration start here.
    pub working_directory: PathBuf,
    /// `--concurrency`: worker threads.
    pub concurrency: u32,
    /// `--log-level`.
    pub log_level: String,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Where the admin interface is.
    pub admin: AdminAddress,
    /// How long Envoy may take until it is ready.
    pub ready_within: Duration,
}

/// A running Envoy; it is stopped when this is dropped.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    scratch: Scratch,
    admin: SocketAddr,
}

impl EnvoyOptions {
    /// One worker, log level `info`, running in the directory of the
    /// configuration.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, config: impl Into<PathBuf>) -> Self {
        let config = config.into();
        Self {
            binary: binary.into(),
            working_directory: directory_of(&config),
            config,
            concurrency: 1,
            log_level: "info".to_owned(),
            arguments: Vec::new(),
            admin: AdminAddress::File,
            ready_within: Duration::from_secs(60),
        }
    }
}

impl Envoy {
    /// Starts Envoy and waits until it is ready and its workers have started.
    /// If it ends before that, the error has the end of its log.
    pub fn start(options: &EnvoyOptions) -> Result<Self> {
        let scratch = Scratch::new()?;
        let log = File::create(scratch.path().join("log"))?;
        let mut command =
            command(&options.binary, &options.config, &options.working_directory, &options.log_level)?;
        command
            .args(["--concurrency", &options.concurrency.to_string()])
            .arg("--admin-address-path")
            .arg(scratch.path().join("admin"))
            .args(&options.arguments)
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().with_context(|| format!("start {}", options.binary.display()))?;
        // From here on, dropping `envoy` ends the process.
        let mut envoy = Self { child, scratch, admin: (Ipv4Addr::LOCALHOST, 0).into() };
        envoy.wait_ready(options)?;
        Ok(envoy)
    }

    /// Where the admin interface is.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Gets a path of the admin interface, such as `/clusters`.
    pub fn admin_get(&self, path: &str) -> Result<Response> {
        self.admin_request(Head::new("GET", path))
    }

    /// Posts to a path of the admin interface, such as `/logging?wasm=debug`.
    pub fn admin_post(&self, path: &str) -> Result<Response> {
        self.admin_request(Head::new("POST", path))
    }

    /// All counters and gauges.
    pub fn stats(&self) -> Result<BTreeMap<String, u64>> {
        self.stats_at("/stats?format=json")
    }

    /// One counter or gauge; 0 if there is none of this name, as Envoy makes
    /// many of them when they first count.
    pub fn stat(&self, name: &str) -> Result<u64> {
        // `filter` is a regular expression; it only makes the answer shorter.
        let filter: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '.' }).collect();
        let stats = self.stats_at(&format!("/stats?format=json&filter=^{filter}$"))?;
        Ok(stats.get(name).copied().unwrap_or(0))
    }

    /// Waits until a stat is as wanted; returns its value. Fails when `limit` is
    /// over.
    pub fn wait_stat(&self, name: &str, wanted: impl Fn(u64) -> bool, limit: Duration) -> Result<u64> {
        let found = poll(limit, || self.stat(name).ok().filter(|value| wanted(*value)));
        match found {
            Some(value) => Ok(value),
            None => bail!("{name} is {:?} after {limit:?}", self.stat(name)),
        }
    }

    /// The address of a listener. Listeners from files may come a little after
    /// the start, so this waits for up to five seconds.
    pub fn listener_addr(&self, name: &str) -> Result<SocketAddr> {
        let found = poll(Duration::from_secs(5), || self.listeners().ok()?.remove(name));
        found.with_context(|| format!("no listener {name}, only: {:?}", self.listeners()))
    }

    /// All listeners on TCP and UDP addresses. One on every address (0.0.0.0) is
    /// told as 127.0.0.1.
    pub fn listeners(&self) -> Result<BTreeMap<String, SocketAddr>> {
        let answer: Value = self.admin_get("/listeners?format=json")?.json()?;
        let mut listeners = BTreeMap::new();
        for status in answer["listener_statuses"].as_array().into_iter().flatten() {
            let socket = &status["local_address"]["socket_address"];
            if let (Some(name), Some(address), Some(port)) =
                (status["name"].as_str(), socket["address"].as_str(), socket["port_value"].as_u64())
            {
                let mut address = SocketAddr::new(address.parse()?, port.try_into()?);
                if address.ip().is_unspecified() {
                    address.set_ip(Ipv4Addr::LOCALHOST.into());
                }
                listeners.insert(name.to_owned(), address);
            }
        }
        Ok(listeners)
    }

    /// What Envoy logged so far, access logs to its standard output included.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.scratch.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of the process so far; see [`usage::cpu_time`].
    pub fn cpu_time(&self) -> Result<Duration> {
        usage::cpu_time(self.pid())
    }

    /// Resident memory of the process, in bytes.
    pub fn rss(&self) -> Result<u64> {
        usage::rss(self.pid())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops it and returns its whole log.
    pub fn stop(mut self) -> Result<String> {
        process::stop(&mut self.child, PATIENCE)?;
        Ok(self.log())
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn wait_ready(&mut self, options: &EnvoyOptions) -> Result<()> {
        let ready = poll(options.ready_within, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(status));
            }
            self.admin = match &options.admin {
                AdminAddress::Fixed(address) => *address,
                AdminAddress::File => {
                    fs::read_to_string(self.scratch.path().join("admin")).ok()?.trim().parse().ok()?
                }
            };
            let live = self.admin_get("/ready").is_ok_and(|response| response.status == 200);
            // Envoy is ready a moment before its workers accept connections.
            let working =
                live && self.stat("listener_manager.workers_started").is_ok_and(|started| started == 1);
            working.then_some(Ok(()))
        });
        match ready {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => {
                bail!("Envoy ended before it was ready ({status}):\n{}", last_lines(&self.log()))
            }
            None => {
                bail!("Envoy was not ready after {:?}:\n{}", options.ready_within, last_lines(&self.log()))
            }
        }
    }

    fn admin_request(&self, head: Head) -> Result<Response> {
        // Read to the end and parsed once: a dump may have many megabytes.
        let request = head.header("Host", "admin").header("Connection", "close").body("");
        let bytes = raw::exchange_to_end(self.admin, &request, raw::LIMIT)?;
        Response::parse(&bytes, true, false)?.context("no full response from the admin interface")
    }

    fn stats_at(&self, path: &str) -> Result<BTreeMap<String, u64>> {
        let answer: Value = self.admin_get(path)?.json()?;
        let stats = answer["stats"].as_array().into_iter().flatten();
        // The entry without a name holds the histograms; a value that is no
        // number is a text.
        let entry = |stat: &Value| Some((stat["name"].as_str()?.to_owned(), stat["value"].as_u64()?));
        Ok(stats.filter_map(entry).collect())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if process::stop(&mut self.child, PATIENCE).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Has Envoy check a configuration (`--mode validate`); what it says is the
/// error.
pub fn validate(binary: &Path, config: &Path, working_directory: &Path) -> Result<()> {
    let mut command = command(binary, config, working_directory, "warning")?;
    command.args(["--mode", "validate"]);
    let finished = process::run(&mut command, Duration::from_secs(60))?;
    if !finished.success() {
        bail!("Envoy does not accept {}: {finished}", config.display());
    }
    Ok(())
}

/// The version that a binary tells of itself, such as `1.40.0`.
pub fn version(binary: &Path) -> Result<String> {
    let finished = process::run(Command::new(binary).arg("--version"), Duration::from_secs(20))?;
    // "... version: <commit>/1.40.0/Clean/RELEASE/BoringSSL"
    let version = finished.stdout.split('/').find(|part| part.split('.').count() == 3);
    version.map(str::to_owned).with_context(|| format!("no version: {finished}"))
}

/// The arguments that every Envoy of ours gets, the one of the docker image included.
/// Without hot restart: it needs shared memory whose name is the same for all Envoys of a
/// machine.
#[must_use]
pub fn base_arguments(config: &str, log_level: &str) -> Vec<String> {
    ["-c", config, "--disable-hot-restart", "--log-level", log_level].map(str::to_owned).to_vec()
}

fn command(binary: &Path, config: &Path, working_directory: &Path, log_level: &str) -> Result<Command> {
    let config = config.canonicalize().with_context(|| format!("the configuration {}", config.display()))?;
    let working_directory = working_directory.canonicalize()?;
    // By its bare name where it can be, as in the documentation.
    let config = config.strip_prefix(&working_directory).unwrap_or(&config);
    let mut command = Command::new(binary);
    command.current_dir(&working_directory).args(base_arguments(&config.to_string_lossy(), log_level));
    Ok(command)
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_path_buf(),
        None => PathBuf::from("/"),
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
