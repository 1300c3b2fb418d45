//! The second lock (design, section 6): whatever the filter does, Envoy's own configuration leads nowhere but
//! to registered services that the client sees, and without the filter's word to none of these.
//!
//! Looked at in what is generated for all of `testdata/`, and for the folder that `PORTOLAN_CORPUS` names, if
//! it does. What is visible and registered is told from the resources here, not asked of the generator.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use config_gen::cases::{CaseFile, load};
use config_gen::diagnostic::Diagnostics;
use config_gen::emit::{MeshOptions, Output};
use config_gen::input::{Read, ReadOptions, files, read};
use config_gen::mesh_config::{self, MeshConfig};
use config_gen::options::{Clusters, Options, Profile};
use config_gen::plan::{ACCEPTABLE, Plan};
use config_gen::registry::is_exported_to;
use config_gen::source::Sources;
use serde_json::{Value, json};

/// The filter's word, which nothing else can write.
const ROUTE_STATE: &str = "wasm.portolan.route";

#[test]
fn every_case_is_locked() {
    // Files that a case names stand relative to it.
    let sources = files::collect(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")]).unwrap();
    let (cases, wrong) = load(&sources);
    assert!(!wrong.has_errors(), "{}", wrong.render(&sources));
    assert!(cases.len() > 50, "{}", cases.len());
    let (mut count, mut faults) = (0, Vec::new());
    for case in &cases {
        for &profile in &case.profiles {
            count += of_case(case, profile, &case.path, &mut faults);
        }
    }
    println!("{count} configurations");
    assert!(count > 500, "{count}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn everything_from_elsewhere_is_locked() {
    let folder = std::env::var_os("PORTOLAN_CORPUS").map(PathBuf::from).filter(|path| path.is_dir());
    let Some(folder) = folder else {
        return println!("skipped: PORTOLAN_CORPUS does not name a folder of Istio configuration");
    };
    let mut paths = Vec::new();
    yaml_files(&folder, &mut paths);
    let (mut count, mut faults) = (0, Vec::new());
    for path in &paths {
        let mut sources = Sources::new();
        sources.add("a.yaml", std::fs::read_to_string(path).unwrap());
        let refused = config_gen::schema::kinds::KINDS.iter().map(|kind| kind.name.to_owned());
        let read =
            read(sources, &ReadOptions { accept_ignored: refused.collect(), ..ReadOptions::default() });
        for profile in [Profile::Standalone, Profile::Istio] {
            let accept = ACCEPTABLE.iter().map(|code| (*code).to_owned()).collect();
            let options = Options { profile, accept, ..Options::default() };
            count += usize::from(check(&path.display().to_string(), &read, &options, &mut faults));
        }
    }
    println!("{} files: {count} configurations", paths.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
}

/// All set-ups of a case file, with clusters of their own and with shared ones; returns how many came to
/// something.
fn of_case(case: &CaseFile, profile: Profile, name: &str, faults: &mut Vec<String>) -> usize {
    let mut count = 0;
    for setup in &case.setups {
        let mut sources = files::collect(&setup.files).unwrap();
        for resources in &setup.resources {
            sources.add(&case.path, resources.clone());
        }
        let mut read = read(sources, &setup.read_options());
        let mesh = match &setup.mesh_config {
            Some(text) => mesh_config::read(&case.path, text, &mut read),
            None => MeshConfig::default(),
        };
        mesh.apply(&mut read);
        let mut options = mesh.options(setup.options(profile), &read);
        // What is an error has to be locked once it is accepted.
        options.accept.extend(ACCEPTABLE.iter().map(|code| (*code).to_owned()));
        // In the other profile they are shared in the same way.
        let shared = (profile == Profile::Standalone).then_some(Clusters::Shared);
        for clusters in [Clusters::Dedicated].into_iter().chain(shared) {
            options.clusters = clusters;
            count += usize::from(check(name, &read, &options, faults));
        }
    }
    count
}

/// Looks at what is generated, if anything is.
fn check(name: &str, read: &Read, options: &Options, faults: &mut Vec<String>) -> bool {
    if read.diagnostics.has_errors() {
        return false;
    }
    let mut found = Diagnostics::new();
    let plan = Plan::of(&read.resources(), options, &mut found);
    if found.has_errors() {
        return false;
    }
    let files = Output::Envoy.render(&plan, options, &MeshOptions::default()).unwrap();
    let bootstrap: Value = serde_saphyr::from_str(&files[0].content).unwrap();
    let mut lock = Lock { read, options, clusters: BTreeSet::new(), faults: Vec::new(), looked_at: 0 };
    let clusters = bootstrap["static_resources"]["clusters"].as_array().unwrap();
    lock.clusters = clusters.iter().filter_map(|cluster| cluster["name"].as_str()).collect();
    let shared: BTreeSet<&str> = plan.shared.iter().map(|(_, host)| host.cluster.as_str()).collect();
    for (dedicated, _) in plan.shared.iter() {
        lock.cluster(dedicated, &BTreeSet::new());
    }
    let listeners = bootstrap["static_resources"]["listeners"].as_array().unwrap();
    for cluster in clusters {
        // Tunnels lead to a listener that is looked at as well.
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
        let inside = endpoint["envoy_internal_address"]["server_listener_name"].as_str();
        if inside.is_none_or(|inside| listeners.iter().all(|listener| listener["name"] != inside)) {
            lock.cluster(cluster["name"].as_str().unwrap(), &shared);
        }
    }
    lock.visit(&bootstrap["static_resources"]["listeners"]);
    if lock.looked_at == 0 {
        lock.fault("nothing was looked at");
    }
    let profile = options.profile;
    faults.extend(lock.faults.iter().map(|fault| format!("{name}, profile {profile}: {fault}")));
    true
}

struct Lock<'a> {
    read: &'a Read,
    options: &'a Options,
    clusters: BTreeSet<&'a str>,
    faults: Vec<String>,
    /// Virtual hosts and chains.
    looked_at: usize,
}

impl<'a> Lock<'a> {
    fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    fn allows_any(&self) -> bool {
        self.options.outbound_policy().passes()
    }

    /// A cluster belongs to a service that is registered and visible.
    fn cluster(&mut self, name: &str, shared: &BTreeSet<&str>) {
        let parts: Vec<&str> = name.splitn(4, '|').collect();
        match parts.as_slice() {
            ["BlackHoleCluster"] => {}
            ["PassthroughCluster"] | ["strict_dns", "PassthroughCluster"] if self.allows_any() => {}
            _ if shared.contains(name) => {}
            [_, port, _, host] if port.parse().is_ok_and(|port| self.is_registered(host, port)) => {}
            _ => self.fault(format!("the cluster `{name}` belongs to no registered service")),
        }
    }

    fn is_registered(&self, host: &str, port: u16) -> bool {
        let client = &self.options.client_namespace;
        let entries = self.read.service_entries.iter().any(|entry| {
            is_exported_to(&entry.export_to, &entry.meta, client)
                && entry.hosts.iter().any(|own| own.value == host)
                && entry.ports.iter().any(|own| own.number.value == port)
        });
        let services = self.read.kubernetes_services.iter().any(|service| {
            is_exported_to(&service.export_to, &service.meta, client)
                && service.host == host
                && service.ports.iter().any(|own| own.number.value == port)
        });
        entries || services
    }

    /// Routes and chains, wherever they stand.
    fn visit(&mut self, value: &'a Value) {
        if let Some(hosts) = value.get("virtual_hosts").and_then(Value::as_array) {
            hosts.iter().for_each(|host| self.virtual_host(host));
        }
        let kind = value.get("@type").and_then(Value::as_str).unwrap_or_default();
        if kind.ends_with(".TcpProxy") {
            self.tcp_proxy(value);
        }
        match value {
            Value::Object(object) => object.values().for_each(|value| self.visit(value)),
            Value::Array(items) => items.iter().for_each(|value| self.visit(value)),
            _ => {}
        }
    }

    /// Each route wants the filter's word and takes the cluster from it; the last one answers 503, and so
    /// does the last one for CONNECT, which no prefix matches.
    fn virtual_host(&mut self, host: &Value) {
        self.looked_at += 1;
        let routes = host["routes"].as_array().cloned().unwrap_or_default();
        let (connect, plain): (Vec<&Value>, Vec<&Value>) =
            routes.iter().partition(|route| route["match"].get("connect_matcher").is_some());
        if plain.is_empty() {
            self.fault("a virtual host without routes");
        }
        let ends = [(plain, json!({"prefix": "/"})), (connect, json!({"connect_matcher": {}}))];
        for (last, all) in ends.iter().filter_map(|(routes, all)| Some((routes.last()?, all))) {
            if last["direct_response"]["status"] != 503 || last["match"] != *all {
                self.fault(format!("the last route doesn't answer 503 to all: {last}"));
            }
        }
        for route in &routes {
            if route.get("direct_response").is_some() {
                continue;
            }
            let states = route["match"]["filter_state"].as_array().cloned().unwrap_or_default();
            let wants_word = states.iter().any(|state| {
                let prefix = state["string_match"]["prefix"].as_str().unwrap_or_default();
                state["key"] == ROUTE_STATE && prefix.ends_with(' ') && prefix.len() > 1
            });
            if !wants_word {
                self.fault(format!("a route without the filter's word: {route}"));
            }
            if route["route"]["cluster_header"] != "x-portolan-cluster" {
                self.fault(format!("a route with a cluster of its own: {route}"));
            }
            for mirror in route["route"]["request_mirror_policies"].as_array().into_iter().flatten() {
                self.leads_to(mirror["cluster"].as_str().unwrap_or_default());
            }
        }
    }

    /// Connections lead to clusters that are there; the unknown ones to none under `REGISTRY_ONLY`.
    fn tcp_proxy(&mut self, proxy: &Value) {
        self.looked_at += 1;
        let weighted = proxy["weighted_clusters"]["clusters"].as_array();
        let weighted = weighted.into_iter().flatten().filter_map(|cluster| cluster["name"].as_str());
        let clusters: Vec<&str> = proxy["cluster"].as_str().into_iter().chain(weighted).collect();
        if clusters.is_empty() {
            self.fault(format!("connections that lead nowhere: {proxy}"));
        }
        for cluster in clusters {
            self.leads_to(cluster);
        }
    }

    fn leads_to(&mut self, cluster: &str) {
        if !self.clusters.contains(cluster) {
            self.fault(format!("there is no cluster `{cluster}`"));
        }
    }
}
