//! The real module, given all plugin configs in turn.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::mesh::through_a_struct;
use portolan_e2e::process::poll;
use portolan_e2e::{Envoy, EnvoyOptions, places};
use serde_json::Value;

use crate::generated::Generated;
use crate::{ECDS, Run};

const CONFIGURATION: &str = "/resources/0/typed_config/config/configuration/value";

/// What stands in the discovery file, with the module that is shipped.
pub(crate) fn with_real_module(ecds: &str) -> Result<String> {
    let mut response: Value = serde_json::from_str(ecds)?;
    let module = response
        .pointer_mut("/resources/0/typed_config/config/vm_config/code/local/filename")
        .context("no module")?;
    *module = places::module()?.to_string_lossy().into();
    Ok(response.to_string())
}

/// The plugin configs that the module refuses, each with what Envoy says of it.
pub(crate) fn refused(version: &str, generated: &[(&Run, &Generated)]) -> Result<Vec<String>> {
    let Some((_, first)) = generated.first() else { return Ok(Vec::new()) };
    // The same one for several ways in needs to be read once.
    let mut configs: BTreeMap<String, String> = BTreeMap::new();
    for (run, generated) in generated {
        let ecds = with_real_module(&std::fs::read_to_string(generated.directory.join(ECDS))?)?;
        if let Some(in_mesh) = in_mesh(&ecds, generated)? {
            configs.entry(in_mesh).or_insert_with(|| format!("{}, in a mesh", run.name));
        }
        configs.entry(ecds).or_insert_with(|| format!("{}, {}", run.name, run.way));
    }
    let path = first.directory.join(ECDS);
    let envoy =
        Envoy::start(&EnvoyOptions::new(places::envoy_binary(version)?, first.directory.join("envoy.yaml")))?;
    let stats = envoy.stats()?;
    let counter = |end: &str| {
        let name = stats.keys().find(|name| name.contains(".portolan.") && name.ends_with(end));
        name.cloned().with_context(|| format!("no counter {end}"))
    };
    let (success, rejected) = (counter(".update_success")?, counter(".update_rejected")?);
    let mut refused = Vec::new();
    for (number, (config, name)) in configs.iter().enumerate() {
        let before = (envoy.stat(&success)?, envoy.stat(&rejected)?);
        let mut response: Value = serde_json::from_str(config)?;
        response["version_info"] = number.to_string().into();
        let aside = path.with_extension("new");
        std::fs::write(&aside, response.to_string())?;
        std::fs::rename(&aside, &path)?;
        let now = || Some((envoy.stat(&success).ok()?, envoy.stat(&rejected).ok()?));
        let after = poll(Duration::from_secs(20), || now().filter(|now| *now != before));
        let after = after.with_context(|| format!("{name}: Envoy doesn't say what it makes of it"))?;
        if after.1 > before.1 {
            refused.push(format!("{name}: {}", envoy.log().lines().last().unwrap_or_default()));
        }
    }
    println!("{} different plugin configs loaded by the module, {} refused", configs.len(), refused.len());
    ensure!(envoy.stop()?.contains("plugin config loaded"), "the module isn't the one that is shipped");
    Ok(refused)
}

/// The same with the plugin config of the `WasmPlugin`, as a sidecar gets it; a gateway has none.
fn in_mesh(ecds: &str, generated: &Generated) -> Result<Option<String>> {
    let Ok(plugin) = std::fs::read_to_string(generated.directory.join("wasm-plugin.yaml")) else {
        return Ok(None);
    };
    let plugin: Value = serde_saphyr::from_str(&plugin)?;
    let config = plugin.pointer("/spec/pluginConfig").context("no pluginConfig")?;
    let mut response: Value = serde_json::from_str(ecds)?;
    *response.pointer_mut(CONFIGURATION).context("no plugin config")? = through_a_struct(config)?.into();
    Ok(Some(response.to_string()))
}
