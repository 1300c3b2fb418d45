//! Where it was measured: without that, the numbers mean nothing.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use portolan_e2e::{envoy, places};
use serde::Serialize;

use crate::cores::Cores;

/// Facts for the head of the report.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// All cores.
    pub(crate) cores: usize,
    /// The core that Envoy has for itself, counted from 0; none: it shares the only one.
    pub(crate) envoys_core: Option<usize>,
    /// The processor's name, as far as the kernel tells it.
    pub(crate) cpu: String,
    /// The architecture.
    pub(crate) architecture: &'static str,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Envoy's version, as its binary tells it.
    pub(crate) envoy: String,
    /// Size of the module, in bytes.
    pub(crate) module_bytes: u64,
    /// Envoy's binary.
    #[serde(skip)]
    pub(crate) binary: PathBuf,
}

impl Machine {
    /// Looks at this machine, for this version of Envoy.
    pub(crate) fn look(version: &str, cores: &Cores) -> Result<Self> {
        let binary = places::envoy_binary(version)?;
        let module = places::module()?;
        let processors = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        Ok(Self {
            cores: processors.lines().filter(|line| line.starts_with("processor")).count().max(1),
            envoys_core: cores.envoys(),
            cpu: cpu_model(&processors).unwrap_or("unknown processor").to_owned(),
            architecture: std::env::consts::ARCH,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            envoy: envoy::version(&binary)?,
            module_bytes: fs::metadata(&module).context("the module")?.len(),
            binary,
        })
    }
}

/// On arm64 the kernel has no name for it.
fn cpu_model(processors: &str) -> Option<&str> {
    let line = processors.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}
