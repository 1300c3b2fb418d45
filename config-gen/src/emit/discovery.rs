//! Discovery responses in files, which Envoy reads again when they are replaced.
//!
//! Clusters, routes and listeners are in files of their own where Envoy is to take changes without a
//! restart ([`EnvoyOptions::dynamic_resources`]); the bootstrap then names these and holds none itself.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde_json::{Value, json};

use super::{File, Output, bootstrap, fingerprint, in_files_root, listener};
use crate::options::{EnvoyOptions, Options};
use crate::plan::Plan;

/// A response with these resources. Its version is told by what it holds, so that the same resources are the
/// same file, and Envoy's word for a version is one for these resources.
pub(crate) fn response(resources: &[Value]) -> anyhow::Result<String> {
    let version = format!("{:016x}", fingerprint(&serde_json::to_string(resources)?));
    let mut text = serde_json::to_string_pretty(&json!({"version_info": version, "resources": resources}))?;
    text.push('\n');
    Ok(text)
}

/// The file of all clusters.
pub(super) fn clusters(plan: &Plan, options: &Options) -> anyhow::Result<Vec<File>> {
    let clusters = bootstrap::clusters(plan, options).into_iter();
    let clusters: Vec<Value> = clusters.map(|it| typed("envoy.config.cluster.v3.Cluster", it)).collect();
    Ok(vec![File { path: Output::Cds.path().to_owned(), content: response(&clusters)? }])
}

/// The file of all listeners, whose routes are elsewhere.
pub(super) fn listeners(plan: &Plan, options: &Options) -> anyhow::Result<Vec<File>> {
    let (listeners, _) = apart(plan, options)?;
    let listeners: Vec<Value> =
        listeners.into_iter().map(|it| typed("envoy.config.listener.v3.Listener", it)).collect();
    Ok(vec![File { path: Output::Lds.path().to_owned(), content: response(&listeners)? }])
}

/// A file for each route configuration: Envoy takes no more than one from a file.
pub(super) fn routes(plan: &Plan, options: &Options) -> anyhow::Result<Vec<File>> {
    let (_, routes) = apart(plan, options)?;
    let file = |(name, routes): (String, Value)| {
        let routes = typed("envoy.config.route.v3.RouteConfiguration", routes);
        Ok(File { path: routes_path(&name), content: response(&[routes])? })
    };
    routes.into_iter().map(file).collect()
}

/// Where Envoy finds clusters and listeners. The directories are watched, not the files alone: Kubernetes
/// replaces the directory of a ConfigMap.
pub(super) fn dynamic_resources(options: &EnvoyOptions) -> Value {
    json!({
        "cds_config": watched(Output::Cds.path(), options),
        "lds_config": watched(Output::Lds.path(), options),
    })
}

/// Has Envoy read a file below the output directory, and watch its directory.
pub(crate) fn watched(path: &str, options: &EnvoyOptions) -> Value {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    json!({
        "resource_api_version": "V3",
        "path_config_source": {
            "path": in_files_root(options, path),
            "watched_directory": {"path": in_files_root(options, directory)},
        },
    })
}

/// In a directory of its own: what is replaced there concerns nothing else.
fn routes_path(name: &str) -> String {
    format!("{}/{name}/routes.json", Output::Rds.path())
}

/// The listeners with references to their routes, and the routes by their names.
fn apart(plan: &Plan, options: &Options) -> anyhow::Result<(Vec<Value>, BTreeMap<String, Value>)> {
    let mut listeners = listener::listeners(plan, options)?;
    let mut routes = BTreeMap::new();
    for listener in &mut listeners {
        take_routes(listener, &mut routes, &options.envoy)?;
    }
    Ok((listeners, routes))
}

/// Puts a reference in the place of each route configuration.
fn take_routes(
    value: &mut Value,
    found: &mut BTreeMap<String, Value>,
    options: &EnvoyOptions,
) -> anyhow::Result<()> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| take_routes(item, found, options)),
        Value::Object(fields) => {
            if let Some(routes) = fields.remove("route_config") {
                let name = routes["name"].as_str().unwrap_or_default().to_owned();
                fields.insert(
                    "rds".to_owned(),
                    json!({"route_config_name": name, "config_source": watched(&routes_path(&name), options)}),
                );
                let known = found.entry(name.clone()).or_insert_with(|| routes.clone());
                ensure!(*known == routes, "two route configurations are called `{name}`");
            }
            fields.values_mut().try_for_each(|field| take_routes(field, found, options))
        }
        _ => Ok(()),
    }
}

/// A resource as a response holds it.
fn typed(message: &str, resource: Value) -> Value {
    let mut typed = json!({"@type": super::type_url(message)});
    if let (Value::Object(typed), Value::Object(resource)) = (&mut typed, resource) {
        typed.extend(resource);
    }
    typed
}
