//! The supported versions of Envoy.

use anyhow::{Context as _, Result};

use crate::places;

/// Runs `test` with each version that is installed, the oldest first.
pub fn each_version(test: impl Fn(&str) -> Result<()>) -> Result<()> {
    for version in places::envoy_versions()? {
        println!("Envoy {version}");
        test(&version).with_context(|| format!("Envoy {version}"))?;
    }
    Ok(())
}
