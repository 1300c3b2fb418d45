//! DNS doesn't answer.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::process::poll;
use portolan_e2e::{DnsServer, Portolan, Setup, Upstream, raw};

use crate::newest;

const HOST: &str = "a.example.com";

const REGISTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com, b.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
";

/// How soon after DNS answers again a request is served.
const RECOVERY: Duration = Duration::from_secs(12);

/// How soon Envoy is ready where DNS is silent about a name.
const START: Duration = Duration::from_secs(20);

struct World {
    dns: DnsServer,
    portolan: Portolan,
    _upstream: Upstream,
}

impl World {
    /// `before` has its say before Envoy starts.
    fn start(clusters: &str, before: impl Fn(&DnsServer)) -> Result<Self> {
        let upstream = Upstream::builder().start()?;
        let dns = DnsServer::start(&[(HOST, Ipv4Addr::LOCALHOST), ("b.example.com", Ipv4Addr::LOCALHOST)])?;
        before(&dns);
        let portolan = Setup::with_listeners(&newest()?)?
            .yaml(REGISTRY)?
            .option("--clusters", clusters)
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={}", upstream.addr().port()))
            .start()?;
        Ok(Self { dns, portolan, _upstream: upstream })
    }

    fn status(&self, host: &str) -> Result<u16> {
        Ok(raw::get_plain(self.portolan.http()?, host, "/")?.status)
    }

    /// DNS has the answer again.
    fn recovers(&self, how: &str) -> Result<()> {
        let began = Instant::now();
        poll(RECOVERY, || (self.status(HOST).ok()? == 200).then_some(()))
            .with_context(|| format!("{how}: not served {RECOVERY:?} after DNS is back"))?;
        println!("{how}: served {:?} after DNS is back", began.elapsed());
        Ok(())
    }
}

/// Both sorts of clusters: of the service alone (STRICT_DNS), and shared with others (dynamic forward proxy).
fn for_both_sorts(test: impl Fn(&str) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let tests = ["dedicated", "shared"].map(|clusters| {
            let test = &test;
            scope.spawn(move || test(clusters).with_context(|| format!("--clusters {clusters}")))
        });
        tests.into_iter().try_for_each(|test| test.join().expect("it doesn't panic"))
    })
}

#[test]
fn names_that_dns_is_silent_about_at_the_start() -> Result<()> {
    for_both_sorts(|clusters| {
        let began = Instant::now();
        let world = World::start(clusters, |dns| dns.silent(HOST, true))?;
        println!("{clusters}: ready after {:?}", began.elapsed());
        // Envoy serves nothing before it has an answer for each name, or none in time.
        ensure!(began.elapsed() < START, "{clusters}: ready after {:?}", began.elapsed());
        ensure!(world.status(HOST)? == 503);
        ensure!(world.status("b.example.com")? == 200, "another name suffers");
        world.dns.silent(HOST, false);
        world.recovers(clusters)
    })
}

#[test]
fn names_that_do_not_exist_at_the_start() -> Result<()> {
    for_both_sorts(|clusters| {
        let world = World::start(clusters, |dns| dns.remove(HOST))?;
        ensure!(world.status(HOST)? == 503);
        world.dns.set(HOST, Ipv4Addr::LOCALHOST);
        world.recovers(clusters)
    })
}

/// What is known stays in use while DNS is silent, for longer than it is valid (a second).
#[test]
fn names_that_dns_forgets_later() -> Result<()> {
    for_both_sorts(|clusters| {
        let world = World::start(clusters, |_| {})?;
        ensure!(world.status(HOST)? == 200);
        world.dns.silent(HOST, true);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(8) {
            let status = world.status(HOST)?;
            ensure!(status == 200, "{status} after {:?} of silence", began.elapsed());
            thread::sleep(Duration::from_millis(200));
        }
        world.dns.silent(HOST, false);
        world.recovers(clusters)
    })
}
