//! Envoy with the filter, as `config-gen` sets it up.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::config_gen::config_gen;
use crate::envoy::{Envoy, EnvoyOptions};
use crate::places;
use crate::process::{Finished, poll};
use crate::scratch::Scratch;
use crate::watch::Watch;

/// What Envoy reads of what `config-gen` writes.
const NEEDED_FILES: [&str; 2] = ["envoy.yaml", "envoy.d/ecds/portolan.json"];

/// Input and options of `config-gen generate`, and the Envoy to start with what it writes.
#[derive(Debug)]
pub struct Setup {
    version: String,
    log_level: String,
    concurrency: u32,
    drain_seconds: u32,
    arguments: Vec<String>,
    guarded: bool,
    scratch: Scratch,
    inputs: usize,
}

/// Where the tests' upstreams are.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

impl Setup {
    /// For an Envoy of this version, with free ports for the listeners `80` and `443` and for
    /// the admin interface.
    pub fn new(version: &str) -> Result<Self> {
        let scratch = Scratch::new()?;
        let module = places::module()?;
        let setup = Self {
            version: version.to_owned(),
            log_level: "info".to_owned(),
            concurrency: 1,
            drain_seconds: 600,
            arguments: Vec::new(),
            guarded: false,
            scratch,
            inputs: 0,
        };
        let access_log = setup.access_log();
        Ok(setup
            .option("--module", module.to_string_lossy())
            .option("--admin", "127.0.0.1:0")
            .option("--access-log", access_log.to_string_lossy()))
    }

    /// With listeners for `80` and `443`.
    pub fn with_listeners(version: &str) -> Result<Self> {
        let setup = Self::new(version)?;
        Ok(setup.option("--listen", "80=127.0.0.1:0").option("--listen", "443=127.0.0.1:0"))
    }

    /// Has loopback refused like all private addresses. Without this a name may lead there, as names of
    /// tests do.
    #[must_use]
    pub fn guarded(mut self) -> Self {
        self.guarded = true;
        self
    }

    /// Adds a file or folder of the repository as input.
    #[must_use]
    pub fn file(self, path: &str) -> Self {
        self.option("--filename", path)
    }

    /// Adds this text as input.
    pub fn yaml(mut self, text: &str) -> Result<Self> {
        self.inputs += 1;
        let path = self.scratch.write(&format!("input/{}.yaml", self.inputs), text)?;
        Ok(self.file(&path.to_string_lossy()))
    }

    /// Adds an option with its value.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.arguments.extend([name.to_owned(), value.as_ref().to_owned()]);
        self
    }

    /// Adds an option without a value.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.arguments.push(name.to_owned());
        self
    }

    /// Another module than the one that is shipped.
    #[must_use]
    pub fn module(mut self, path: &Path) -> Self {
        if let Some(at) = self.arguments.iter().position(|argument| argument == "--module") {
            self.arguments[at + 1] = path.to_string_lossy().into_owned();
        }
        self
    }

    /// Worker threads; 1 unless set.
    #[must_use]
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// How long Envoy keeps what a changed listener has no more; 600 seconds unless set, as in Envoy.
    #[must_use]
    pub fn drain_seconds(mut self, seconds: u32) -> Self {
        self.drain_seconds = seconds;
        self
    }

    /// Envoy's log level; `info` unless set.
    #[must_use]
    pub fn log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.log_level);
        self
    }

    /// The command line, as a user would type it.
    #[must_use]
    pub fn command_line(&self) -> String {
        let arguments = self.arguments();
        let arguments = arguments.chunks(2).map(|pair| pair.join(" "));
        let lines: Vec<String> = arguments.chain([format!("-o {}", self.output().display())]).collect();
        format!("config-gen generate {}", lines.join(" \\\n    "))
    }

    /// Runs `config-gen generate`; the files land in [`Self::output`].
    pub fn generate(&self) -> Result<Finished> {
        config_gen(self.generating())
    }

    /// Its arguments.
    fn generating(&self) -> Vec<String> {
        let output = self.output();
        let fixed = ["generate".to_owned(), "-o".to_owned(), output.to_string_lossy().into_owned()];
        fixed.into_iter().chain(self.arguments()).collect()
    }

    fn arguments(&self) -> Vec<String> {
        let exceptions: &[&str] = if self.guarded { &[] } else { &LOOPBACK };
        let exceptions = exceptions.iter().flat_map(|range| ["--allow-upstream", range]).map(str::to_owned);
        self.arguments.iter().cloned().chain(exceptions).collect()
    }

    /// The same set-up with the files that stand in [`Self::output`] now.
    pub fn try_clone(&self) -> Result<Self> {
        let mut copy = Self::new(&self.version)?;
        for output in NEEDED_FILES {
            copy.scratch.write(&format!("out/{output}"), fs::read(self.output().join(output))?)?;
        }
        copy.log_level.clone_from(&self.log_level);
        copy.concurrency = self.concurrency;
        Ok(copy)
    }

    /// Generates, and has `change` rewrite one of the files before Envoy starts: for what the
    /// generator itself never writes.
    pub fn generate_changed(&self, name: &str, change: impl FnOnce(&str) -> Result<String>) -> Result<()> {
        let finished = self.generate()?;
        ensure!(finished.success(), "config-gen generate failed: {finished}");
        let path = self.output().join(name);
        let changed = change(&fs::read_to_string(&path)?)?;
        fs::write(&path, changed).with_context(|| format!("write {}", path.display()))
    }

    /// Where the files land.
    #[must_use]
    pub fn output(&self) -> std::path::PathBuf {
        self.scratch.path().join("out")
    }

    fn access_log(&self) -> std::path::PathBuf {
        self.scratch.path().join("access.log")
    }

    /// Generates and starts.
    pub fn start(self) -> Result<Portolan> {
        let finished = self.generate()?;
        ensure!(finished.success(), "config-gen generate failed: {finished}");
        self.start_as_generated()
    }

    /// Starts with the files as they stand in [`Self::output`].
    pub fn start_as_generated(self) -> Result<Portolan> {
        let mut options =
            EnvoyOptions::new(places::envoy_binary(&self.version)?, self.output().join("envoy.yaml"));
        options.log_level.clone_from(&self.log_level);
        options.concurrency = self.concurrency;
        // The access log is on disk the moment a request ends.
        options.arguments = vec!["--file-flush-interval-msec".to_owned(), "10".to_owned()];
        options.arguments.extend(["--drain-time-s".to_owned(), self.drain_seconds.to_string()]);
        Ok(Portolan { envoy: Envoy::start(&options)?, setup: self })
    }
}

/// A running Envoy with the filter.
#[derive(Debug)]
pub struct Portolan {
    /// The process.
    pub envoy: Envoy,
    setup: Setup,
}

impl Portolan {
    /// Where the listener for `port` listens.
    pub fn listener(&self, port: u16) -> Result<SocketAddr> {
        self.envoy.listener_addr(&format!("outbound_{port}"))
    }

    /// Where plain HTTP clients connect to.
    pub fn http(&self) -> Result<SocketAddr> {
        self.listener(80)
    }

    /// Where TLS clients connect to.
    pub fn tls(&self) -> Result<SocketAddr> {
        self.listener(443)
    }

    /// Runs `config-gen generate --watch` on the same input, for this Envoy. It has to be set up with
    /// `--dynamic-resources`.
    pub fn watch(&self) -> Result<Watch> {
        self.watch_at(self.envoy.admin_addr())
    }

    /// The same with another address for the admin interface.
    pub fn watch_at(&self, admin: SocketAddr) -> Result<Watch> {
        Watch::start(&self.setup.generating(), admin)
    }

    /// The folder with the generated files.
    #[must_use]
    pub fn output(&self) -> std::path::PathBuf {
        self.setup.output()
    }

    /// Replaces one of the generated files as `config-gen` does: aside, then renamed.
    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        self.setup.scratch.replace(&format!("out/{name}"), content).map(drop)
    }

    /// Ends Envoy as the kernel ends a process (SIGKILL), and starts it again with the same files.
    pub fn kill_and_restart(self) -> Result<Self> {
        self.envoy.kill()?;
        self.setup.start_as_generated()
    }

    /// A counter of the filter: what became of requests, such as `allowed` or `refused.no_route`, or another one without its `_total`,
    /// such as `rewritten`.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let stats = self.envoy.stats()?;
        let names = [
            format!("wasmcustom.portolan.requests_total.{name}"),
            format!("wasmcustom.portolan.{name}_total"),
        ];
        let found = names.iter().find_map(|name| stats.get(name));
        found.copied().with_context(|| format!("the filter has no counter {name}"))
    }

    /// All lines of the access log so far.
    pub fn access_log(&self) -> Vec<Value> {
        lines(&self.setup.access_log()).unwrap_or_default()
    }

    /// The lines of the access log from a byte of the file on, and where those end.
    pub fn access_log_from(&self, start: usize) -> (Vec<Value>, usize) {
        let read = || -> Result<Vec<u8>> {
            let mut file = fs::File::open(self.setup.access_log())?;
            file.seek(SeekFrom::Start(start as u64))?;
            let mut new = Vec::new();
            file.read_to_end(&mut new)?;
            Ok(new)
        };
        let new = read().unwrap_or_default();
        let end = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = new.get(..end).unwrap_or_default().split(|byte| *byte == b'\n');
        (lines.filter_map(|line| serde_json::from_slice(line).ok()).collect(), start + end)
    }

    /// The first line of the access log for which `wanted` holds.
    pub fn access_log_line(&self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let path = self.setup.access_log();
        let found = poll(std::time::Duration::from_secs(5), || {
            lines(&path).ok()?.into_iter().find(|line| wanted(line))
        });
        found.with_context(|| format!("no such line in the access log: {:?}", fs::read_to_string(&path)))
    }
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
