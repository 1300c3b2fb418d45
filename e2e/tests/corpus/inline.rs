//! A bootstrap with everything in it that Envoy would discover from files, for `--mode validate`,
//! which doesn't look there.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::at;

/// The bootstrap in `directory`, with its filter and secrets in place.
pub(crate) fn inlined(directory: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(directory.join("envoy.yaml"))?;
    let mut bootstrap: Value = serde_saphyr::from_str(&text)?;
    visit(&mut bootstrap, directory)?;
    Ok(bootstrap)
}

fn visit(value: &mut Value, directory: &Path) -> Result<()> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| visit(item, directory)),
        Value::Object(object) => {
            filter(object, directory)?;
            secrets(object, directory)?;
            object.values_mut().try_for_each(|value| visit(value, directory))
        }
        _ => Ok(()),
    }
}

/// A filter with `config_discovery` gets its `typed_config`.
fn filter(object: &mut Map<String, Value>, directory: &Path) -> Result<()> {
    if let Some(discovery) = object.remove("config_discovery") {
        let resource = resource(&discovery["config_source"], object.get("name"), directory)?;
        object.insert("typed_config".to_owned(), at(&resource, "/typed_config")?.clone());
    }
    Ok(())
}

/// TLS contexts get the certificates themselves in place of their names.
fn secrets(object: &mut Map<String, Value>, directory: &Path) -> Result<()> {
    let secret = |config: &Value, field: &str| -> Result<Value> {
        let resource = resource(&config["sds_config"], config.get("name"), directory)?;
        Ok(at(&resource, field)?.clone())
    };
    if let Some(Value::Array(configs)) = object.remove("tls_certificate_sds_secret_configs") {
        let certificates = configs.iter().map(|config| secret(config, "/tls_certificate"));
        object.insert("tls_certificates".to_owned(), certificates.collect::<Result<Vec<_>>>()?.into());
    }
    if let Some(config) = object.remove("validation_context_sds_secret_config") {
        object.insert("validation_context".to_owned(), secret(&config, "/validation_context")?);
    }
    if let Some(Value::Object(mut combined)) = object.remove("combined_validation_context") {
        let mut context = combined.remove("default_validation_context").unwrap_or_default();
        let config = combined.remove("validation_context_sds_secret_config").context("no secret")?;
        let found = secret(&config, "/validation_context")?;
        if let (Value::Object(context), Value::Object(found)) = (&mut context, found) {
            context.extend(found);
        }
        object.insert("validation_context".to_owned(), context);
    }
    Ok(())
}

/// The resource of that name in the file that `source` names.
fn resource(source: &Value, name: Option<&Value>, directory: &Path) -> Result<Value> {
    let path = at(source, "/path_config_source/path")?.as_str().context("a path is a string")?;
    let text = std::fs::read_to_string(directory.join(path)).with_context(|| format!("read {path}"))?;
    let response: Value = serde_saphyr::from_str(&text)?;
    let resources = at(&response, "/resources")?.as_array().context("resources are a list")?;
    let found = resources.iter().find(|resource| resource.get("name") == name);
    found.cloned().with_context(|| format!("no {name:?} in {path}"))
}
