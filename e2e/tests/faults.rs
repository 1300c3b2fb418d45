//! What becomes of requests and connections when something breaks. What the tests show is told in
//! `docs/faults.md`.

#[path = "faults/connections.rs"]
mod connections;
#[path = "faults/dns.rs"]
mod dns;
#[path = "faults/files.rs"]
mod files;
#[path = "faults/restart.rs"]
mod restart;
#[path = "faults/trap.rs"]
mod trap;
#[path = "faults/upstream.rs"]
mod upstream;

use anyhow::{Context as _, Result};
use portolan_e2e::places;

/// Where the version of Envoy doesn't matter.
fn newest() -> Result<String> {
    places::envoy_versions()?.pop().context("no Envoy")
}
