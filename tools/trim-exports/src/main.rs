//! Removes the exports of the filter module that Envoy need not call.
//!
//! The SDK exports a function for every event there is, and Envoy enters the VM for each that
//! is exported: several times per request for events that the filter ignores, and once for
//! every piece of a body. An event without an export is skipped.
//!
//! ```sh
//! cargo run -p portolan-trim-exports -- IN.wasm OUT.wasm
//! ```

use anyhow::{Context, Result, bail};
use walrus::Module;

/// What stays. An event that the filter begins to handle has to be added.
const KEPT: [&str; 10] = [
    "memory",
    // WASI: runs the filter's set-up.
    "_initialize",
    // Tells Envoy which interface this is. With a newer one the filter has to ask for a new route
    // after its mutations: see `CLEARS_ROUTE_CACHE` in filter/src/host.rs.
    "proxy_abi_version_0_2_1",
    // Envoy allocates what it hands over.
    "proxy_on_memory_allocate",
    "proxy_on_vm_start",
    "proxy_on_configure",
    // The SDK keeps an object for each request, from the first of these to the last.
    "proxy_on_context_create",
    "proxy_on_request_headers",
    // Routes may change headers of the response.
    "proxy_on_response_headers",
    "proxy_on_delete",
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = arguments.as_slice() else { bail!("usage: trim-exports IN.wasm OUT.wasm") };
    let mut module = Module::from_file(input).with_context(|| format!("read {input}"))?;
    trim(&mut module)?;
    module.emit_wasm_file(output).with_context(|| format!("write {output}"))
}

fn trim(module: &mut Module) -> Result<()> {
    for name in KEPT {
        if !module.exports.iter().any(|export| export.name == name) {
            bail!("the module has no export `{name}`");
        }
    }
    let others: Vec<_> = module
        .exports
        .iter()
        .filter(|export| !KEPT.contains(&export.name.as_str()))
        .map(walrus::Export::id)
        .collect();
    for id in others {
        module.exports.delete(id);
    }
    // What nothing else calls goes with them.
    walrus::passes::gc::run(module);
    Ok(())
}
