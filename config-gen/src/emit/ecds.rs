//! The file from which Envoy discovers the filter and its config. A bad update of it leaves
//! Envoy with what it had, where a bad filter in the bootstrap would end it.

use portolan_engine::config::{Config, Listing};
use serde_json::{Value, json};

use crate::emit::{capabilities, discovery, type_url};
use crate::options::Options;

/// Name of the filter, and of its resource.
pub(crate) const FILTER_NAME: &str = "portolan";

/// A discovery response with the filter as its one resource.
pub(crate) fn response(config: &Config, options: &Options) -> anyhow::Result<String> {
    discovery::response(&[json!({
        "@type": type_url("envoy.config.core.v3.TypedExtensionConfig"),
        "name": FILTER_NAME,
        "typed_config": wasm(config, options)?,
    })])
}

fn wasm(config: &Config, options: &Options) -> anyhow::Result<Value> {
    let mut filter = json!({
        "@type": WASM_TYPE_URL,
        "config": {
            "name": FILTER_NAME,
            "root_id": FILTER_NAME,
            // A VM that died is started again; until then requests get 503.
            "failure_policy": "FAIL_RELOAD",
            "vm_config": {
                "vm_id": FILTER_NAME,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": options.envoy.module}},
            },
            // A string: of any other type the filter would get the protobuf encoding.
            "configuration": {
                "@type": type_url("google.protobuf.StringValue"),
                "value": text(config)?,
            },
        },
    });
    if options.envoy.restrict_capabilities {
        filter["config"]["capability_restriction_config"] = capabilities::restriction();
    }
    Ok(filter)
}

/// From how many bytes of virtual hosts without rules on these are compressed, about 20 000. Envoy keeps
/// three copies of the text, and has had others by the time it is ready. Fewer load sooner as they are.
const LONG: usize = 1024 * 1024;

/// The config as JSON.
fn text(config: &Config) -> anyhow::Result<String> {
    let listings = || config.shared_routes.iter().map(|shared| &shared.virtual_hosts);
    if listings().map(Listing::len).sum::<usize>() < LONG {
        return Ok(serde_json::to_string(config)?);
    }
    let mut json = serde_json::to_value(config)?;
    let groups = json.get_mut("sharedRoutes").and_then(Value::as_array_mut).into_iter().flatten();
    for (group, listing) in groups.zip(listings()) {
        group["virtualHosts"] = listing.compressed()?.into();
    }
    Ok(serde_json::to_string(&json)?)
}

/// Type of the filter's configuration.
pub(crate) const WASM_TYPE_URL: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
