//! Scratch space: a temporary directory, and loopback addresses.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// A temporary directory, removed when dropped.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Makes an empty directory.
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("portolan-e2e-").tempdir();
        Ok(Self(directory.context("make a temporary directory")?))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, with the directories above it, and returns its full path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path().join(name);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(self.path()))?;
            fs::write(&path, content)
        };
        write().with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Replaces a file in one step (write beside it, then rename), which is what
    /// Envoy's file watches notice.
    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let new = self.write(&format!("{name}.new"), content)?;
        let path = self.path().join(name);
        fs::rename(&new, &path).with_context(|| format!("replace {}", path.display()))?;
        Ok(path)
    }
}

/// An address in 127.0.0.0/8 that nothing else of this process was given, and
/// most likely no other process either: with it a server may have a port that
/// the configuration under test fixes (such as 443) and still be alone there.
#[must_use]
pub fn loopback_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // 127.64.0.0/10, starting at a place that depends on the process.
    let step = NEXT.fetch_add(1, Ordering::Relaxed);
    let offset = std::process::id().wrapping_mul(251).wrapping_add(step) & 0x003f_ffff;
    let [_, high, middle, low] = offset.to_be_bytes();
    Ipv4Addr::new(127, 64 | high, middle, low.max(1))
}
