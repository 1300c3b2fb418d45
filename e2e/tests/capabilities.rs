//! `--restrict-capabilities`: the module may do what it does, and nothing else. What becomes of a shorter list
//! is shown by `fail_closed.rs`.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::examples::{GITHUB_TEXT, StandIns};
use portolan_e2e::{each_version, places, raw};
use serde_json::Value;

/// Envoy allocates by it; no restriction can take it away.
const ALLOCATOR: &str = "proxy_on_memory_allocate";

/// What the module calls and is called by: all of WASI that it imports, all callbacks that it exports, and
/// of the host's functions those that the filter itself declares. The SDK imports many more.
fn needed() -> Result<BTreeSet<String>> {
    let module = walrus::Module::from_file(places::module()?)?;
    let source = fs::read_to_string(places::root()?.join("filter/src/host.rs"))?;
    let declared = |name: &str| source.contains(&format!("fn {name}("));
    let imports = module.imports.iter();
    let imports = imports.filter(|import| import.module.starts_with("wasi_") || declared(&import.name));
    let callbacks = module.exports.iter().map(|export| &export.name);
    let callbacks = callbacks.filter(|name| name.starts_with("proxy_on_") && *name != ALLOCATOR);
    Ok(imports.map(|import| &import.name).chain(callbacks).cloned().collect())
}

#[test]
fn the_list_is_what_the_module_needs() -> Result<()> {
    each_version(|version| {
        let standins = StandIns::start()?;
        let portolan = standins.setup(version)?.flag("--restrict-capabilities").start()?;
        let ecds = fs::read_to_string(portolan.output().join("envoy.d/ecds/portolan.json"))?;
        let ecds: Value = serde_json::from_str(&ecds)?;
        let config = &ecds["resources"][0]["typed_config"]["config"];
        let allowed = config["capability_restriction_config"]["allowed_capabilities"].as_object();
        let allowed: BTreeSet<String> = allowed.context("no list")?.keys().cloned().collect();
        let needed = needed()?;
        ensure!(
            allowed == needed,
            "correct CAPABILITIES in config-gen/src/emit/capabilities.rs: missing {:?}, too many {:?}",
            needed.difference(&allowed).collect::<Vec<_>>(),
            allowed.difference(&needed).collect::<Vec<_>>()
        );
        // Served, refused, counted, and a config that is loaded again.
        let http = portolan.http()?;
        ensure!(raw::get_plain(http, "webserver", "/")?.text() == GITHUB_TEXT);
        ensure!(raw::get_plain(http, "nobody.example.com", "/")?.status == 502);
        let log = portolan.envoy.log();
        ensure!(!log.contains("restricted proxy-wasm capability") && !log.contains("panicked"), "{log}");
        Ok(())
    })
}
