//! What is left of a plugin config that another has replaced.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::process::poll;
use portolan_e2e::{Portolan, Setup, places};
use serde_json::Value;

const FILE: &str = "envoy.d/ecds/portolan.json";
const WORKERS: u32 = 4;

/// Of a load Envoy itself keeps 1.7 kB in five VMs, also where a module does nothing. Every metric that each load
/// would define anew would be 0.2 kB more.
#[test]
fn loads_leave_nothing_behind() -> Result<()> {
    const MOST: u64 = 3000;
    let version = places::envoy_versions()?.pop().context("no Envoy")?;
    let portolan =
        Setup::with_listeners(&version)?.file("examples/webserver/istio").concurrency(WORKERS).start()?;
    let file = std::fs::read_to_string(portolan.output().join(FILE))?;
    let mut response: Value = serde_json::from_str(&file)?;
    let mut load = |number: u64| -> Result<()> {
        let config = response.pointer_mut("/resources/0/typed_config/config/configuration/value");
        let Some(Value::String(config)) = config else { anyhow::bail!("no plugin config: {file}") };
        *config = format!("{}{}", config.trim_end(), " ".repeat(number as usize % 9));
        response["version_info"] = number.to_string().into();
        let before = loads(&portolan)?;
        portolan.replace(FILE, response.to_string())?;
        let all = poll(Duration::from_secs(10), || {
            (loads(&portolan).ok()? > before + u64::from(WORKERS)).then_some(())
        });
        all.with_context(|| format!("load {number} isn't counted by every VM"))
    };
    let (warm, end) = (40, 200);
    (1..=warm).try_for_each(&mut load)?;
    let before = allocated(&portolan)?;
    (warm + 1..=end).try_for_each(&mut load)?;
    let each = allocated(&portolan)?.saturating_sub(before) / (end - warm);
    println!("{each} bytes are left of a load");
    ensure!(each < MOST, "{each} bytes are left of a load");
    Ok(())
}

/// How often a VM has loaded a config.
fn loads(portolan: &Portolan) -> Result<u64> {
    portolan.envoy.stat("wasmcustom.portolan.config_loads_total.accepted")
}

fn allocated(portolan: &Portolan) -> Result<u64> {
    // What was replaced is let go of by each worker when it comes to it.
    std::thread::sleep(Duration::from_secs(1));
    let memory: Value = portolan.envoy.admin_get("/memory")?.json()?;
    let allocated = memory["allocated"].as_str().context("no number")?;
    Ok(allocated.parse()?)
}
