//! Networks of a test's own: namespaces of the kernel, and cables between them.
//!
//! What is started by a thread in a namespace has that network: sockets, and other programs. When
//! the last of them has gone, the kernel removes it.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use crate::process::{self, Finished};

/// A network without any connection to others, but for those that [`connect`] makes.
#[derive(Debug)]
pub struct Namespace(File);

/// Why this process may make no namespaces; none: it may.
#[must_use]
pub fn why_not() -> Option<String> {
    let result = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join().unwrap_or(Err(Errno::EPERM));
    let refused = result == Err(Errno::EPERM);
    refused.then(|| "this process may make no network namespaces; root may".to_owned())
}

impl Namespace {
    /// With a loopback interface.
    pub fn new() -> Result<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("open the network namespace")
        });
        let file = match made.join() {
            Ok(file) => file?,
            Err(panic) => resume_unwind(panic),
        };
        let namespace = Self(file);
        namespace.enter(|| ip(&["link", "set", "lo", "up"]))?;
        Ok(namespace)
    }

    /// Does `work` in this network.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let work = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
            work()
        };
        match thread::scope(|scope| scope.spawn(work).join()) {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// How other programs find it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Joins two networks; each end has these addresses, such as `10.0.0.1/24`.
pub fn connect(one: (&Namespace, &[&str]), other: (&Namespace, &[&str])) -> Result<()> {
    const CABLE: &str = "cable0";
    let peer = other.0.path();
    one.0.enter(|| ip(&["link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", &peer]))?;
    for (namespace, addresses) in [one, other] {
        namespace.enter(|| {
            for address in addresses {
                // Without the check whether another one has it, which takes a second.
                let check: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
                ip(&[&["address", "add", address, "dev", CABLE], check].concat())?;
            }
            ip(&["link", "set", CABLE, "up"])
        })?;
    }
    Ok(())
}

/// Runs `ip`, which has to succeed.
pub fn ip(arguments: &[&str]) -> Result<()> {
    let finished = run("ip", arguments)?;
    ensure!(finished.success(), "ip {}: {finished}", arguments.join(" "));
    Ok(())
}

/// Runs `nft`.
pub fn nft(arguments: &[&str]) -> Result<Finished> {
    run("nft", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<Finished> {
    let path = std::env::var("PATH").unwrap_or_default();
    // Where Debian has them, and not all users look.
    let path = format!("{path}:/usr/sbin:/sbin");
    process::run(Command::new(program).args(arguments).env("PATH", path), Duration::from_secs(20))
        .with_context(|| format!("`make tools` brings {program}"))
}
