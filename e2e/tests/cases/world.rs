//! What stands for the internet: DNS, and an upstream for each port of each registered host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use config_gen::cases::{Expect, Group, Prepared, UpstreamReply};
use config_gen::explain::terminated;
use config_gen::options::EnvoyOptions;
use config_gen::plan::{Address, Discovery, Plan, SharedClusters};
use portolan_e2e::{Ca, DnsServer, Identity, Reply, Scratch, SeenRequest, Setup, Upstream};
use serde_json::Value;

pub(crate) struct World {
    dns: DnsServer,
    reply: Arc<Mutex<UpstreamReply>>,
    /// By `HOST:PORT`.
    registered: BTreeMap<String, Upstream>,
    /// Clusters, and which of [`Self::registered`] they lead to.
    clusters: BTreeMap<String, BTreeSet<String>>,
    /// Clusters that originate TLS.
    originating: BTreeSet<String>,
    /// Clusters that services share.
    shared: SharedClusters,
    /// For hosts outside the registry: one for each listener port.
    passthrough: BTreeMap<u16, Upstream>,
    /// Those of the tests, and those of a gateway's servers.
    listeners: BTreeSet<u16>,
    /// Server names and ports whose TLS ends at the gateway.
    terminated: BTreeSet<(String, u16)>,
    /// Hosts that come from the request have an address each, so that one can tell which was dialled.
    dialled: BTreeMap<IpAddr, String>,
    /// Requests may go to mirrors, which takes its time.
    pub(crate) mirrors: bool,
    scratch: Scratch,
}

impl World {
    pub(crate) fn start(group: &Group<'_>, prepared: &Prepared, plan: &Plan) -> Result<Self> {
        // Certificates for the registered hosts and no others.
        let secured =
            plan.clusters.iter().filter_map(|cluster| Some((host(&cluster.name), cluster.tls.as_ref()?)));
        let names = secured.flat_map(|(host, tls)| {
            let names = tls.subject_alt_names.iter().map(String::as_str);
            [host].into_iter().chain(tls.sni.as_deref()).chain(names)
        });
        let shared = plan.shared.iter().map(|(_, shared)| shared.host.as_str());
        let names: BTreeSet<&str> = names.chain(shared).chain(["nobody.invalid"]).collect();
        let ca = Ca::new()?;
        let identity = ca.issue(&Vec::from_iter(names))?;
        let scratch = Scratch::new()?;
        ca.write_bundle(scratch.path().join("ca.pem"))?;
        let reply = Arc::<Mutex<UpstreamReply>>::default();
        let mut world = Self {
            dns: DnsServer::start(&[])?,
            registered: BTreeMap::new(),
            clusters: BTreeMap::new(),
            originating: BTreeSet::new(),
            shared: plan.shared.clone(),
            passthrough: BTreeMap::new(),
            listeners: prepared.options.envoy.listeners.iter().map(|listener| listener.port).collect(),
            terminated: BTreeSet::new(),
            dialled: BTreeMap::new(),
            mirrors: plan.profiles.iter().any(|profile| !profile.mirrors.is_empty()),
            reply,
            scratch,
        };
        world.register(plan, &identity)?;
        for port in &group.setup.ports {
            world.passthrough.insert(*port, world.upstream(&identity)?);
        }
        for (test, _) in &group.tests {
            let Some((name, request)) = test.tls.as_ref().zip(test.request.as_ref()) else { continue };
            if terminated(plan, name, request.port).is_some() {
                world.terminated.insert((name.clone(), request.port));
            }
        }
        let tests = group.file.tests.iter();
        for expect in tests.flat_map(|test| [&test.expect.istio, &test.expect.standalone]) {
            let Some(Expect::Forward { dials: Some(dials), .. }) = expect else { continue };
            let (host, _) = dials.rsplit_once(':').with_context(|| format!("no port in `{dials}`"))?;
            if !world.dialled.values().any(|known| known == host) {
                let address = Ipv4Addr::new(127, 0, 1, u8::try_from(world.dialled.len() + 1)?);
                world.dns.set(host, address);
                world.dialled.insert(address.into(), host.to_owned());
            }
        }
        Ok(world)
    }

    fn register(&mut self, plan: &Plan, identity: &Identity) -> Result<()> {
        for cluster in &plan.clusters {
            let host = host(&cluster.name);
            let mut ports = Vec::new();
            if let Discovery::Dynamic(port) = cluster.discovery {
                ports.push(port);
                self.dns.set(host, Ipv4Addr::LOCALHOST);
            }
            for endpoint in &cluster.endpoints {
                let Address::Socket(address, port) = &endpoint.address else { continue };
                ports.push(*port);
                if address.parse::<IpAddr>().is_err() {
                    self.dns.set(address, Ipv4Addr::LOCALHOST);
                }
            }
            for port in ports {
                self.add(&cluster.name, host, port, identity)?;
            }
            if cluster.tls.is_some() {
                self.originating.insert(cluster.name.clone());
            }
        }
        for (dedicated, shared) in plan.shared.iter() {
            self.dns.set(&shared.host, Ipv4Addr::LOCALHOST);
            self.add(dedicated, &shared.host, shared.port, identity)?;
            if self.originating.contains(&shared.cluster) {
                self.originating.insert(dedicated.to_owned());
            }
        }
        Ok(())
    }

    fn add(&mut self, cluster: &str, host: &str, port: u16, identity: &Identity) -> Result<()> {
        let name = format!("{host}:{port}");
        if !self.registered.contains_key(&name) {
            self.registered.insert(name.clone(), self.upstream(identity)?);
        }
        self.clusters.entry(cluster.to_owned()).or_default().insert(name);
        Ok(())
    }

    fn upstream(&self, identity: &Identity) -> Result<Upstream> {
        let reply = Arc::clone(&self.reply);
        Upstream::builder()
            .address(Ipv4Addr::UNSPECIFIED)
            .tls_for_any_name(identity.clone())
            .plaintext_too()
            .handler(move |_| {
                let UpstreamReply { status, headers, delay } =
                    reply.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let reply = Reply::new(status, "").after(delay);
                headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
            })
            .start()
    }

    /// Has Envoy find this world.
    pub(crate) fn add_to(&self, setup: Setup) -> Setup {
        let mut setup = setup
            .option("--dns-resolver", self.dns.addr().to_string())
            .option("--ca-bundle", self.ca_bundle())
            .option("--allow-upstream", "127.0.0.0/8");
        for port in &self.listeners {
            setup = setup.option("--listen", format!("{port}=127.0.0.1:0"));
        }
        for (port, upstream) in &self.passthrough {
            setup = setup.option("--upstream-port", format!("{port}={}", upstream.addr().port()));
        }
        for (name, upstream) in &self.registered {
            setup = setup.option("--upstream-port", format!("{name}={}", upstream.addr().port()));
        }
        setup
    }

    fn ca_bundle(&self) -> String {
        self.scratch.path().join("ca.pem").to_string_lossy().into_owned()
    }

    /// Writes into a part of a cluster of `host` what [`Self::add_to`] makes of it.
    pub(crate) fn translate(&self, host: &str, part: &mut Value) {
        match part {
            Value::Array(items) => items.iter_mut().for_each(|item| self.translate(host, item)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    let upstream = self.registered.get(&format!("{host}:{value}"));
                    match (name.as_str(), upstream) {
                        ("port_value", Some(upstream)) => *value = upstream.addr().port().into(),
                        ("filename", _) if *value == *EnvoyOptions::default().ca_bundle => {
                            *value = self.ca_bundle().into();
                        }
                        _ => self.translate(host, value),
                    }
                }
            }
            _ => {}
        }
    }

    /// Forgets all requests so far, and answers the next ones with `reply`.
    pub(crate) fn begin(&self, reply: &UpstreamReply) {
        reply.clone_into(&mut self.reply.lock().unwrap_or_else(PoisonError::into_inner));
        self.registered.values().chain(self.passthrough.values()).for_each(Upstream::clear);
    }

    /// What has arrived at `cluster`; and the clusters of what has arrived elsewhere.
    pub(crate) fn arrived(&self, cluster: Option<&str>) -> (Vec<SeenRequest>, Vec<String>) {
        let mut here: Vec<SeenRequest> = self.passthrough.values().flat_map(Upstream::requests).collect();
        let mut elsewhere = Vec::new();
        let own = cluster.and_then(|cluster| self.clusters.get(cluster));
        for (name, upstream) in &self.registered {
            if own.is_some_and(|own| own.contains(name)) {
                here.extend(upstream.requests());
            } else {
                let cluster = self.clusters.iter().find(|(_, upstreams)| upstreams.contains(name));
                let cluster = cluster.map(|(cluster, _)| cluster.clone()).unwrap_or_default();
                elsewhere.extend(upstream.requests().iter().map(|_| cluster.clone()));
            }
        }
        (here, elsewhere)
    }

    /// The cluster that a line of the access log names; where services share it, the one that the
    /// service at `upstream` would have of its own. That of hosts outside the registry is one for cases.
    pub(crate) fn dedicated(&self, cluster: String, upstream: Option<SocketAddr>) -> String {
        if let Some(passthrough) = cluster.strip_prefix("strict_dns|") {
            return passthrough.to_owned();
        }
        let at =
            |(_, known): &(&String, &Upstream)| Some(known.addr().port()) == upstream.map(|it| it.port());
        let name = self.registered.iter().find(at).and_then(|(name, _)| name.rsplit_once(':'));
        let dedicated =
            name.and_then(|(host, port)| self.shared.dedicated(&cluster, host, port.parse().ok()?));
        dedicated.map_or(cluster, str::to_owned)
    }

    /// Whether TLS with this server name ends at the gateway.
    pub(crate) fn terminates(&self, name: &str, port: u16) -> bool {
        self.terminated.contains(&(name.to_owned(), port))
    }

    /// Certificates for the servers of a gateway, where its resource says, from the folder of the
    /// generated files.
    pub(crate) fn write_certificates(plan: &Plan, folder: &Path) -> Result<()> {
        for tls in plan.downstream_tls() {
            let identity = Ca::new()?.issue(&["nobody.invalid"])?;
            fs::write(folder.join(&tls.identity.certificate), identity.certificate_pem())?;
            fs::write(folder.join(&tls.identity.key), identity.key_pem())?;
        }
        Ok(())
    }

    /// Whether Envoy speaks TLS to `cluster` by itself.
    pub(crate) fn originates_tls(&self, cluster: &str) -> bool {
        self.originating.contains(cluster)
    }

    /// Host and port of a request that went to `upstream`, where they came from the request.
    pub(crate) fn dialled(&self, cluster: &str, upstream: SocketAddr) -> Option<String> {
        let known = self.dialled.get(&upstream.ip()).cloned();
        let here = |candidate: &Upstream| candidate.addr().port() == upstream.port();
        if cluster == "PassthroughCluster" {
            let port = self.passthrough.iter().find(|(_, upstream)| here(upstream)).map(|(port, _)| *port);
            let host = known.unwrap_or_else(|| upstream.ip().to_string());
            return Some(format!("{host}:{}", port.unwrap_or(upstream.port())));
        }
        let name = self.registered.iter().find(|(_, upstream)| here(upstream)).map(|(name, _)| name)?;
        let (_, port) = name.rsplit_once(':')?;
        Some(format!("{}:{port}", known?))
    }
}

/// The host in `outbound|443||example.com`.
pub(crate) fn host(cluster: &str) -> &str {
    cluster.rsplit_once('|').map_or(cluster, |(_, host)| host)
}
