//! `config-gen generate --watch` beside a running Envoy.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::places;
use crate::process::{self, poll};
use crate::scratch::Scratch;

/// How long it may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running `config-gen`; it is stopped when this is dropped.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    lines: Receiver<String>,
    scratch: Scratch,
}

impl Watch {
    /// Starts `config-gen` with these arguments, in the root of the repository, and asks the Envoy with this
    /// admin interface.
    pub(crate) fn start(arguments: &[String], admin: SocketAddr) -> Result<Self> {
        let scratch = Scratch::new()?;
        let complaints = File::create(scratch.path().join("complaints"))?;
        let mut child = Command::new(places::config_gen()?)
            .args(arguments)
            .args(["--watch", "--watch-admin", &admin.to_string()])
            .current_dir(places::root()?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .context("start config-gen")?;
        let stdout = child.stdout.take();
        let (sender, lines) = channel();
        let watch = Self { child, lines, scratch };
        let stdout = BufReader::new(stdout.context("no standard output")?);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(watch)
    }

    /// The next line on its standard output: a change that is in force.
    pub fn line(&self, limit: Duration) -> Result<String> {
        let line = self.lines.recv_timeout(limit);
        line.with_context(|| format!("no line within {limit:?}; so far: {}", self.complaints()))
    }

    /// Whether there is no line that nobody has asked for.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.lines.try_recv().is_err()
    }

    /// Its standard error so far.
    #[must_use]
    pub fn complaints(&self) -> String {
        fs::read_to_string(self.scratch.path().join("complaints")).unwrap_or_default()
    }

    /// Waits until its standard error holds this text more than `times`.
    pub fn wait_for_complaint(&self, text: &str, times: usize) -> Result<String> {
        let found = poll(Duration::from_secs(20), || {
            let complaints = self.complaints();
            (complaints.matches(text).count() > times).then_some(complaints)
        });
        found.with_context(|| format!("no `{text}` in: {}", self.complaints()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = process::stop(&mut self.child, PATIENCE);
    }
}
