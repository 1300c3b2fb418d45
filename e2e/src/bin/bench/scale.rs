//! The table `scale`: many plain services (one host, one port) on shared clusters.
//!
//! - `plugin config`: what the filter is told of ten thousand, as it stands in its file.
//! - `on_configure`: the CPU time of a worker from the replacement of the config by one of a single
//!   service, until it has loaded the one of ten thousand.
//! - `memory of a VM`: from what Envoys with one and with three workers have resident, as a worker
//!   more is a VM more; less the same with a single service. After many reloads: with no deduction.
//! - a hundred thousand: from the start of Envoy on all cores until it accepts connections, and what is
//!   resident, relative to Envoy with as many virtual hosts of its own, which lead to one dynamic
//!   forward proxy cluster.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use portolan_e2e::{Envoy, EnvoyOptions, Scratch};
use serde_json::{Value, json};

use crate::claims::{Claim, Outcome};
use crate::configs;
use crate::cores::Cores;
use crate::machine::Machine;
use crate::options::Options;
use crate::others::Reading;
use crate::rules::reload::{WATCHED, loads, wait_loaded, worker_time};
use crate::rules::server::Server;

const PLAIN: usize = 10_000;
const MANY: usize = 100_000;
/// How often the config is replaced before memory is looked at again.
const RELOADS: usize = 100;
const MODULE: f64 = 1.1e6;

pub(crate) fn run(options: &Options, cores: &Cores, machine: &Machine) -> Result<Outcome> {
    let began = Reading::now([])?;
    let scratch = Scratch::new()?;
    let mut claims = vec![Claim::new("module, bytes", [machine.module_bytes as f64], MODULE)?];
    claims.extend(plain(options, cores, machine, &scratch)?);
    claims.extend(many(cores, machine, &scratch)?);
    let others = Reading::now([])?.others_since(&began, machine.cores);
    Ok(Outcome { table: "scale", others, claims })
}

/// Ten thousand, and what a VM takes of them.
fn plain(options: &Options, cores: &Cores, machine: &Machine, scratch: &Scratch) -> Result<Vec<Claim>> {
    eprintln!("bench: {PLAIN} plain services: configs, memory");
    let single = generate(scratch, 1)?;
    let full = generate(scratch, PLAIN)?;
    let bytes = plugin_config_bytes(&full)?;
    let start = |folder: &Path, workers| {
        cores.on_envoys(|| Server::start(&machine.binary, &folder.join("envoy.yaml"), workers))
    };
    // What Envoy gives back to the system, and when, differs from start to start.
    let of_vm = |folder: &Path| -> Result<f64> {
        let mut differences = Vec::new();
        for _ in 0..3 {
            let (one, three) = (start(folder, 1)?, start(folder, 3)?);
            differences.push((three.envoy.rss()? as f64 - one.envoy.rss()? as f64) / 2.0);
        }
        differences.sort_by(f64::total_cmp);
        Ok(differences[1])
    };
    let base = of_vm(&single)?;
    let loaded = of_vm(&full)?;

    eprintln!("bench: {PLAIN} plain services: reloads");
    let (one, three) = (start(&single, 1)?, start(&single, 3)?);
    let files = [single.join(WATCHED), full.join(WATCHED)];
    let [to_single, to_full] = files.each_ref().map(std::fs::read_to_string);
    let (to_single, to_full) = (to_single?, to_full?);
    let folder = single.file_name().and_then(|name| name.to_str()).context("a folder")?;
    let file = format!("{folder}/{WATCHED}");
    let mut on_configure = Vec::new();
    for number in 0..RELOADS {
        let content = if number % 2 == 0 { &to_full } else { &to_single };
        let before = (worker_time(&one.envoy)?, loads(&one.envoy)?, loads(&three.envoy)?);
        scratch.replace(&file, content)?;
        wait_loaded(&one.envoy, before.1)?;
        wait_loaded(&three.envoy, before.2)?;
        // Main thread and other workers load it, too; a replacement meanwhile may pass unseen.
        std::thread::sleep(Duration::from_millis(100));
        if number % 2 == 0 && on_configure.len() <= options.rounds {
            on_configure.push((worker_time(&one.envoy)?.saturating_sub(before.0)).as_secs_f64() * 1e3);
        }
    }
    scratch.replace(&file, &to_full)?;
    std::thread::sleep(Duration::from_millis(500));
    let reloaded = (three.envoy.rss()? as f64 - one.envoy.rss()? as f64) / 2.0;
    eprintln!(
        "bench: a VM: {:.2} MB with a service, {:.2} MB with {PLAIN}, {:.2} MB after {RELOADS} reloads",
        base / 1e6,
        loaded / 1e6,
        reloaded / 1e6
    );
    // The first also compiles what the others find compiled.
    let on_configure = on_configure.into_iter().skip(1);
    Ok(vec![
        Claim::new(format!("{PLAIN} plain services: plugin config, MiB"), [bytes as f64 / 1048576.0], 1.0)?,
        Claim::new(format!("{PLAIN} plain services: on_configure, ms a VM"), on_configure, 5.0)?,
        Claim::new("memory of a VM, B a service", [(loaded - base) / PLAIN as f64], 600.0)?,
        Claim::new(format!("memory of a VM, {RELOADS} reloads / first load"), [reloaded / loaded], 2.0)?,
    ])
}

/// A hundred thousand, against Envoy's own virtual hosts.
fn many(cores: &Cores, machine: &Machine, scratch: &Scratch) -> Result<Vec<Claim>> {
    eprintln!("bench: {MANY} plain services");
    let ours = generate(scratch, MANY)?.join("envoy.yaml");
    let envoy = |config: &Path, workers: u32| {
        let mut options = EnvoyOptions::new(machine.binary.as_path(), config);
        options.concurrency = workers;
        options.log_level = "warning".to_owned();
        options.ready_within = Duration::from_secs(60);
        Envoy::start(&options)
    };
    let workers = u32::try_from(machine.cores)?;
    let mut ready = Vec::new();
    let mut own = None;
    for _ in 0..3 {
        let start = Instant::now();
        let started = cores.on_all(|| envoy(&ours, workers))?;
        ready.push(start.elapsed().as_secs_f64());
        own = Some(own_virtual_hosts(&configs::bootstrap(&started)?)?);
        started.stop()?;
    }
    let own = scratch.write("own.json", serde_json::to_vec(&own)?)?;
    let mut claims = vec![Claim::new(format!("{MANY} services: ready, s"), ready, 1.0)?];
    for workers in [1, 4] {
        let rss =
            |config: &Path| -> Result<f64> { Ok(cores.on_all(|| envoy(config, workers))?.rss()? as f64) };
        let (ours, own) = (rss(&ours)?, rss(&own)?);
        eprintln!("bench: {workers} worker(s): ours {:.0} MB, Envoy's own {:.0} MB", ours / 1e6, own / 1e6);
        let name = format!("{MANY} services, {workers} worker(s): RSS, ours / Envoy's own");
        claims.push(Claim::new(name, [ours / own], 0.28)?);
    }
    Ok(claims)
}

fn generate(scratch: &Scratch, services: usize) -> Result<PathBuf> {
    let service = |number: usize| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: service-{number}\nspec:\n  \
             hosts:\n  - service-{number}.example.com\n  location: MESH_EXTERNAL\n  ports:\n  - number: 80\n    \
             name: http\n    protocol: HTTP\n  resolution: DNS\n---\n"
        )
    };
    let yaml: String = (0..services).map(service).collect();
    configs::generate_with(scratch, &format!("plain-{services}"), &yaml, 80, &["--clusters", "shared"])
}

/// Length of the plugin config as it stands in the file that Envoy watches.
fn plugin_config_bytes(folder: &Path) -> Result<usize> {
    let response: Value = serde_json::from_slice(&std::fs::read(folder.join(WATCHED))?)?;
    let text = response.pointer("/resources/0/typed_config/config/configuration/value");
    Ok(text.and_then(Value::as_str).context("no plugin config")?.len())
}

/// The same services as Envoy's own virtual hosts.
fn own_virtual_hosts(bootstrap: &Value) -> Result<Value> {
    const CLUSTER: &str = "dynamic_forward_proxy";
    let cache = json!({"name": CLUSTER, "dns_lookup_family": "V4_ONLY", "max_hosts": MANY + 1024});
    let host = |number: usize| {
        let name = format!("service-{number}.example.com");
        json!({
            "name": name,
            "domains": [name],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": CLUSTER}}],
        })
    };
    let hosts: Vec<Value> = (0..MANY).map(host).collect();
    let mut bootstrap = configs::with_routes(bootstrap.clone(), &hosts)?;
    bootstrap["static_resources"]["clusters"] = json!([{
        "name": CLUSTER,
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.dynamic_forward_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
                "dns_cache_config": cache,
            },
        },
    }]);
    Ok(bootstrap)
}
