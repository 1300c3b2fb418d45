//! `make soak` for half a minute: all sorts of traffic, and changes of the plugin config.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::process;

#[test]
fn half_a_minute() -> Result<()> {
    let mut soak = Command::new(env!("CARGO_BIN_EXE_soak"));
    let finished = process::run(soak.args(["--duration", "30s"]), Duration::from_secs(120))?;
    println!("{finished}");
    ensure!(finished.success(), "{finished}");
    let counts = finished.stdout.lines().last().context("no counts")?;
    for part in [" 0 failed; ", " 0 not in force in time; ", "left open 0"] {
        ensure!(counts.contains(part), "{counts}");
    }
    Ok(())
}
