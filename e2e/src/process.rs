//! Running other programs, for a bounded time.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What a program left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output, with invalid UTF-8 replaced.
    pub stdout: String,
    /// What it wrote to its standard error, with invalid UTF-8 replaced.
    pub stderr: String,
}

impl Finished {
    /// Whether it ended with status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// The exit code; `None` if a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.status)?;
        write!(f, "{}{}", self.stdout, self.stderr)
    }
}

/// Waits for Ctrl-C or SIGTERM, which then don't end this process by themselves: what it has
/// started can be dropped.
pub fn wait_for_interrupt() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupt = tokio::signal::ctrl_c() => interrupt?,
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

/// Runs a program to its end; kills it and fails when `limit` is over.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    // Files and not pipes: nobody has to read them while the program runs, and
    // a grandchild that keeps them open delays nothing.
    let mut stdout = tempfile::tempfile().context("make a temporary file")?;
    let mut stderr = tempfile::tempfile().context("make a temporary file")?;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let status = wait(&mut child, limit)?;
    let stdout = read_all(&mut stdout)?;
    let stderr = read_all(&mut stderr)?;
    match status {
        Some(status) => Ok(Finished { status, stdout, stderr }),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{program} still ran after {limit:?}:\n{stdout}{stderr}")
        }
    }
}

/// Waits for a child, at most `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Ends a child politely, and for certain after `patience`; reaps it.
///
/// Only this one process is signalled, and only while it is not reaped, so the
/// number cannot have become that of another process.
pub fn stop(child: &mut Child, patience: Duration) -> Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    kill(Pid::from_raw(child.id().try_into()?), Signal::SIGTERM)?;
    if let Some(status) = wait(child, patience)? {
        return Ok(status);
    }
    child.kill()?;
    Ok(child.wait()?)
}

/// Calls `attempt` until it gives something, at most for `limit`.
pub fn poll<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = attempt() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn read_all(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
