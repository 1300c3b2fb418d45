//! What stands for the internet: an upstream for each port of each registered host, and one that
//! nobody may reach.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use config_gen::plan::{Address, Discovery, Plan};
use portolan_e2e::{Ca, DnsServer, Identity, Scratch, Setup};

use crate::upstream::{Book, Upstream};

pub(crate) struct World {
    dns: DnsServer,
    pub(crate) book: Arc<Book>,
    /// By `HOST:PORT`.
    registered: BTreeMap<String, Upstream>,
    /// Where all other names lead.
    pub(crate) trap: Upstream,
    /// Names that may be asked for.
    names: BTreeSet<String>,
    scratch: Scratch,
}

/// Where registered names lead, by which they are told from all else that is loopback.
const REGISTERED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// All names below these that aren't registered lead to the trap.
const ELSEWHERE: [&str; 6] = ["*.com", "*.org", "*.net", "*.test", "*.local", "*.internal"];

impl World {
    pub(crate) fn start(plan: Option<&Plan>) -> Result<Self> {
        let ca = Ca::new()?;
        let identity = ca.issue(&["trap.test"])?;
        let book = Arc::new(Book::default());
        let trap = Upstream::start("TRAP", &book, &identity)?;
        let scratch = Scratch::new()?;
        let dns = DnsServer::start(&ELSEWHERE.map(|name| (name, Ipv4Addr::LOCALHOST)))?;
        let mut world =
            Self { dns, book, registered: BTreeMap::new(), trap, names: BTreeSet::new(), scratch };
        let clusters = plan.map(|plan| plan.clusters.as_slice()).unwrap_or_default();
        let shared: Vec<_> = plan.iter().flat_map(|plan| plan.shared.iter()).collect();
        let hosts = clusters.iter().map(|cluster| host(&cluster.name));
        let hosts: Vec<&str> = hosts.chain(shared.iter().map(|(_, at)| at.host.as_str())).collect();
        let identity = if hosts.is_empty() { identity } else { ca.issue(&hosts)? };
        ca.write_bundle(world.scratch.path().join("ca.pem"))?;
        for cluster in clusters {
            let host = host(&cluster.name);
            if let Discovery::Dynamic(port) = cluster.discovery {
                world.add(host, port, &identity)?;
                world.name(host);
            }
            for endpoint in &cluster.endpoints {
                let Address::Socket(address, port) = &endpoint.address else { continue };
                world.add(host, *port, &identity)?;
                if address.parse::<IpAddr>().is_err() {
                    world.name(address);
                }
            }
        }
        for (_, shared) in shared {
            world.add(&shared.host, shared.port, &identity)?;
            world.name(&shared.host);
        }
        Ok(world)
    }

    fn add(&mut self, host: &str, port: u16, identity: &Identity) -> Result<()> {
        let name = format!("{host}:{port}");
        if !self.registered.contains_key(&name) {
            let upstream = Upstream::start(&name, &self.book, identity)?;
            self.registered.insert(name, upstream);
        }
        Ok(())
    }

    fn name(&mut self, name: &str) {
        self.dns.set(name, REGISTERED);
        self.names.insert(name.to_owned());
    }

    /// Has Envoy find this world. What isn't registered leads to the trap, on every port that is asked for.
    pub(crate) fn add_to(&self, setup: Setup, guarded: bool) -> Setup {
        let mut setup = setup
            .option("--dns-resolver", self.dns.addr().to_string())
            .option("--ca-bundle", self.scratch.path().join("ca.pem").to_string_lossy())
            .option("--upstream-port", format!("80={}", self.trap.address.port()))
            .option("--upstream-port", format!("443={}", self.trap.address.port()));
        if guarded {
            setup = setup.guarded().option("--allow-upstream", REGISTERED.to_string());
        }
        for (name, upstream) in &self.registered {
            setup = setup.option("--upstream-port", format!("{name}={}", upstream.address.port()));
        }
        setup
    }

    /// Certificates for the servers of a gateway, where its resource says.
    pub(crate) fn write_certificates(&self, plan: Option<&Plan>, folder: &Path) -> Result<()> {
        for tls in plan.iter().flat_map(|plan| plan.downstream_tls()) {
            let identity = Ca::new()?.issue(&["nobody.invalid"])?;
            fs::write(folder.join(&tls.identity.certificate), identity.certificate_pem())?;
            fs::write(folder.join(&tls.identity.key), identity.key_pem())?;
        }
        Ok(())
    }

    /// Names that were asked for, and aren't registered.
    pub(crate) fn strange_questions(&self) -> BTreeSet<String> {
        let below = |name: &str, wildcard: &str| {
            wildcard.strip_prefix('*').is_some_and(|suffix| name.ends_with(suffix))
        };
        let known = |name: &String| self.names.iter().any(|known| known == name || below(name, known));
        self.dns.queries().into_iter().filter(|name| !known(name)).collect()
    }

    /// The name of the upstream at `address`; none where nothing registered is there.
    pub(crate) fn at(&self, address: &str) -> Option<&str> {
        let (ip, port) = address.rsplit_once(':')?;
        ip.parse::<Ipv4Addr>().ok().filter(Ipv4Addr::is_loopback)?;
        let port: u16 = port.parse().ok()?;
        let mut all = self.registered.iter();
        all.find(|(_, upstream)| upstream.address.port() == port).map(|(name, _)| name.as_str())
    }

    pub(crate) fn check_name(&self, name: &str) -> Result<()> {
        let known = || self.registered.keys().cloned().collect::<Vec<_>>().join(", ");
        self.registered.get(name).map(drop).with_context(|| format!("no upstream `{name}`, only {}", known()))
    }
}

/// The host in `outbound|443||example.com`.
fn host(cluster: &str) -> &str {
    cluster.rsplit_once('|').map_or(cluster, |(_, host)| host)
}
