//! The configurations of the rows of the table `hosts`, which differ in filter and routes and nothing else.
//!
//! Ours is what `config-gen` writes. The others are made from what the Envoy of ours says
//! that it runs (`/config_dump`), with these parts of its HTTP connection manager replaced:
//!
//! - `http_filters`: only the router is left, and the script of the row with Lua;
//! - `route_config`: the routes of the row. Their action keeps the time limit and the retries
//!   of the generated route. The removal of headers, which the generated virtual host does,
//!   is left out: it belongs to the filter, and its cost to ours.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::config_gen::config_gen;
use portolan_e2e::{Envoy, Scratch, places};
use portolan_engine::config::{Config, SharedRoutes};
use serde_json::{Value, json};

use crate::workload::{self, Workload};

/// What `config-gen` wrote.
#[derive(Debug)]
pub(crate) struct Configs<'a> {
    /// The bootstrap of ours.
    pub(crate) ours: PathBuf,
    /// Of the plugin config.
    virtual_hosts: Vec<Value>,
    scratch: &'a Scratch,
}

/// Bootstraps that are made from that of ours.
#[derive(Debug)]
pub(crate) struct Derived {
    pub(crate) no_filter: PathBuf,
    pub(crate) own_routes: PathBuf,
}

impl<'a> Configs<'a> {
    /// Runs `config-gen` in `scratch`, for an upstream at `port`.
    pub(crate) fn generate(scratch: &'a Scratch, workload: &Workload, port: u16) -> Result<Self> {
        let output = generate(scratch, "out", &workload.yaml, port)?;
        let virtual_hosts = virtual_hosts(&output)?;
        Ok(Self { ours: output.join("envoy.yaml"), virtual_hosts, scratch })
    }

    /// Makes the other two from what the Envoy of ours runs.
    pub(crate) fn derive(&self, ours: &Envoy) -> Result<Derived> {
        let bootstrap = bootstrap(ours)?;
        let action = route_action(&bootstrap)?;
        let write = |name: &str, virtual_hosts: &[Value]| {
            let bootstrap = with_routes(bootstrap.clone(), virtual_hosts)?;
            self.scratch.write(name, serde_json::to_vec(&bootstrap)?)
        };
        Ok(Derived {
            no_filter: write("no-filter.json", &[catch_all(&bootstrap, &action)?])?,
            own_routes: write("own-routes.json", &own_virtual_hosts(&self.virtual_hosts, &action)?)?,
        })
    }

    /// Makes the bootstrap of a script with the same rewrites. Its one route takes the cluster from a
    /// header, as ours does.
    pub(crate) fn lua(&self, ours: &Envoy, workload: &Workload) -> Result<PathBuf> {
        const CLUSTER: &str = "x-cluster";
        let bootstrap = bootstrap(ours)?;
        let mut action = route_action(&bootstrap)?;
        action["cluster_header"] = json!(CLUSTER);
        let mut table = String::new();
        for host in 0..workload.requests.len() {
            let [prefix, new_prefix, authority, cluster] = workload::rewrite(host);
            let name = workload::authority(host);
            writeln!(
                table,
                "  [\"{name}\"] = {{\"{prefix}\", \"{new_prefix}\", \"{authority}\", \"{cluster}\"}},"
            )?;
        }
        let script = format!(
            "local rules = {{\n{table}}}\nfunction envoy_on_request(handle)\n  local headers = handle:headers()\n  \
             local rule = rules[headers:get(\":authority\")]\n  if rule == nil then\n    \
             handle:respond({{[\":status\"] = \"502\"}}, \"\")\n    return\n  end\n  \
             local path = headers:get(\":path\")\n  if path:sub(1, #rule[1]) == rule[1] then\n    \
             headers:replace(\":path\", rule[2] .. path:sub(#rule[1] + 1))\n    \
             headers:replace(\":authority\", rule[3])\n  end\n  \
             headers:replace(\"{CLUSTER}\", rule[4])\nend\n"
        );
        let host = json!({
            "name": "all",
            "domains": ["*"],
            "request_headers_to_remove": [CLUSTER],
            "routes": [{"match": {"prefix": "/"}, "route": action}],
        });
        let mut bootstrap = with_routes(bootstrap, &[host])?;
        let filters = bootstrap.pointer_mut(&format!("{HTTP_CONNECTION_MANAGER}/http_filters"));
        filters.and_then(Value::as_array_mut).context("no filters")?.insert(
            0,
            json!({
                "name": "lua",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                    "default_source_code": {"inline_string": script},
                },
            }),
        );
        self.scratch.write("lua.json", serde_json::to_vec(&bootstrap)?)
    }
}

/// What `config-gen` writes where the destinations, found by that DNS server, share a cluster; with these
/// addresses for the guard to let through, or else without a guard.
pub(crate) fn generate_shared(
    scratch: &Scratch,
    workload: &Workload,
    port: u16,
    dns: SocketAddr,
    guard: &[&str],
) -> Result<PathBuf> {
    let dns = dns.to_string();
    let options = [&["--clusters", "shared", "--dns-resolver", &dns], guard].concat();
    let name = if guard.is_empty() { "shared" } else { "guarded" };
    generate_with(scratch, name, &workload.yaml_shared, port, &options)
}

/// Runs `config-gen` on `yaml` in `scratch`, for an upstream at `port`. Returns the folder `name` with
/// what it wrote.
pub(crate) fn generate(scratch: &Scratch, name: &str, yaml: &str, port: u16) -> Result<PathBuf> {
    generate_with(scratch, name, yaml, port, &[])
}

pub(crate) fn generate_with(
    scratch: &Scratch,
    name: &str,
    yaml: &str,
    port: u16,
    options: &[&str],
) -> Result<PathBuf> {
    let input = scratch.write(&format!("{name}.yaml"), yaml)?;
    let output = scratch.path().join(name);
    let module = places::module()?;
    let upstream_port = format!("80={port}");
    let mut arguments = vec![
        "generate".as_ref(),
        "--filename".as_ref(),
        input.as_os_str(),
        "--output".as_ref(),
        output.as_os_str(),
        "--listen".as_ref(),
        "80=127.0.0.1:0".as_ref(),
        "--admin".as_ref(),
        "127.0.0.1:0".as_ref(),
        "--upstream-port".as_ref(),
        upstream_port.as_ref(),
        // All rows without: writing them would be much of what is measured.
        "--access-log".as_ref(),
        "off".as_ref(),
        "--module".as_ref(),
        module.as_os_str(),
    ];
    arguments.extend(options.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    if !options.contains(&"--allow-upstream") {
        // Nothing is private: the filters that look at addresses aren't measured.
        arguments
            .extend(["--allow-upstream", "0.0.0.0/0", "--allow-upstream", "::/0"].map(std::ffi::OsStr::new));
    }
    let finished = config_gen(arguments)?;
    ensure!(finished.success(), "config-gen generate failed: {finished}");
    Ok(output)
}

/// The bootstrap that an Envoy runs on.
pub(crate) fn bootstrap(envoy: &Envoy) -> Result<Value> {
    let mut dump: Value = envoy.admin_get("/config_dump")?.json()?;
    let mut dumps = dump["configs"].as_array_mut().into_iter().flatten();
    let mut bootstrap = dumps
        .find_map(|dump| dump.get_mut("bootstrap").map(Value::take))
        .context("no bootstrap in the config dump")?;
    // Here it has added what it is.
    bootstrap["node"] = json!({"id": bootstrap["node"]["id"], "cluster": bootstrap["node"]["cluster"]});
    Ok(bootstrap)
}

const HTTP_CONNECTION_MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// What the generated routes do, without the choice of a cluster.
pub(crate) fn route_action(bootstrap: &Value) -> Result<Value> {
    let path = format!("{HTTP_CONNECTION_MANAGER}/route_config/virtual_hosts/0/routes/0/route");
    let mut action = bootstrap.pointer(&path).cloned().context("no route in the bootstrap")?;
    let removed = action.as_object_mut().and_then(|action| action.remove("cluster_header"));
    ensure!(removed.is_some(), "the generated route does not choose the cluster by a header: {action}");
    Ok(action)
}

pub(crate) fn with_routes(mut bootstrap: Value, virtual_hosts: &[Value]) -> Result<Value> {
    let manager = bootstrap.pointer_mut(HTTP_CONNECTION_MANAGER).and_then(Value::as_object_mut);
    let manager = manager.context("no HTTP connection manager in the bootstrap")?;
    let filters = manager.get_mut("http_filters").and_then(Value::as_array_mut).context("no filters")?;
    ensure!(filters.len() == 2, "other filters than ours and the router: {filters:?}");
    filters.remove(0);
    manager.insert("route_config".to_owned(), json!({"name": "outbound", "virtual_hosts": virtual_hosts}));
    Ok(bootstrap)
}

/// Without a filter: all hosts are one, and go to all clusters in turn, so that as many connections to
/// the upstream are in use as with the others.
fn catch_all(bootstrap: &Value, action: &Value) -> Result<Value> {
    let clusters = bootstrap.pointer("/static_resources/clusters").and_then(Value::as_array);
    let names = clusters.into_iter().flatten().filter_map(|cluster| cluster["name"].as_str());
    let registered: Vec<Value> = names
        .filter(|name| name.starts_with("outbound|"))
        .map(|name| json!({"name": name, "weight": 1}))
        .collect();
    ensure!(!registered.is_empty(), "no cluster");
    let mut action = action.clone();
    action["weighted_clusters"] = json!({"clusters": registered});
    Ok(json!({
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": action}],
    }))
}

/// All virtual hosts of the plugin config that `config-gen` wrote there, each with its routes.
pub(crate) fn virtual_hosts(output: &Path) -> Result<Vec<Value>> {
    let json = std::fs::read(output.join("plugin-config.json")).context("plugin-config.json")?;
    let Config { virtual_hosts, shared_routes, .. } = Config::from_json(&json)?;
    let shared = shared_routes.iter().flat_map(SharedRoutes::virtual_hosts);
    virtual_hosts.into_iter().chain(shared).map(|host| Ok(serde_json::to_value(host)?)).collect()
}

/// The virtual hosts of the plugin config, with the same domains, as Envoy's own.
fn own_virtual_hosts(hosts: &[Value], action: &Value) -> Result<Vec<Value>> {
    let convert = |host: &Value| -> Result<Value> {
        let routes = host["routes"].as_array().context("no routes")?;
        Ok(json!({
            "name": host["name"],
            "domains": host["domains"],
            "routes": routes.iter().map(|route| own_route(route, action)).collect::<Result<Vec<_>>>()?,
        }))
    };
    // But for the one that says that the filter is ready.
    let hosts = hosts.iter().filter(|host| host["routes"][0]["route"].get("directResponse").is_none());
    hosts.map(|host| convert(host).with_context(|| format!("{host}"))).collect()
}

fn own_route(route: &Value, action: &Value) -> Result<Value> {
    let matcher = match route.get("match") {
        None => json!({"prefix": "/"}),
        Some(matcher) => {
            ensure!(matcher.as_object().is_some_and(|object| object.len() == 1), "not by path alone");
            json!({"prefix": matcher["path"].get("prefix").context("no match by prefix")?})
        }
    };
    let target = &route["route"];
    let cluster = target.get("cluster").context("no cluster")?;
    Ok(json!({"match": matcher, "route": action_to(action, cluster, target.get("rewrite"))}))
}

pub(crate) fn action_to(action: &Value, cluster: &Value, rewrite: Option<&Value>) -> Value {
    let mut action = action.clone();
    action["cluster"] = cluster.clone();
    if let Some(rewrite) = rewrite {
        action["prefix_rewrite"] = rewrite["path"].clone();
        action["host_rewrite_literal"] = rewrite["authority"].clone();
    }
    action
}
