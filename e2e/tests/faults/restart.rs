//! Envoy itself dies.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::process::poll;
use portolan_e2e::scratch::loopback_address;
use portolan_e2e::{DnsServer, Setup, Upstream, each_version, raw};

const REGISTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: webserver}
spec:
  hosts: [webserver]
  http:
  - rewrite: {uri: /rewritten, authority: a.example.com}
    route: [{destination: {host: a.example.com, port: {number: 80}}}]
";

/// Requests of one client, until it is told to stop: how many got which status, and none.
#[derive(Debug, Default)]
struct Answers {
    ok: u64,
    /// No connection, or one that broke.
    none: u64,
    others: Vec<u16>,
}

fn requests(address: SocketAddr, over: &AtomicBool) -> Answers {
    let mut answers = Answers::default();
    while !over.load(Ordering::Relaxed) {
        match raw::get_plain(address, "webserver", "/") {
            Ok(response) if response.status == 200 => answers.ok += 1,
            Ok(response) => answers.others.push(response.status),
            Err(_) => answers.none += 1,
        }
        thread::sleep(Duration::from_millis(2));
    }
    answers
}

#[test]
fn a_killed_envoy_comes_back_with_the_same_files() -> Result<()> {
    each_version(|version| {
        let upstream = Upstream::builder().start()?;
        let dns = DnsServer::start(&[("a.example.com", Ipv4Addr::LOCALHOST)])?;
        // The same port before and after.
        let address = SocketAddr::from((loopback_address(), 8080));
        let portolan = Setup::new(version)?
            .yaml(REGISTRY)?
            .option("--listen", format!("80={address}"))
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={}", upstream.addr().port()))
            .start()?;
        let over = AtomicBool::new(false);
        let (portolan, down, answers) = thread::scope(|scope| {
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| requests(address, &over))).collect();
            thread::sleep(Duration::from_millis(300));
            let killed = Instant::now();
            let portolan = portolan.kill_and_restart();
            let served =
                || raw::get_plain(address, "webserver", "/").is_ok_and(|answer| answer.status == 200);
            let back = poll(Duration::from_secs(10), || served().then(|| killed.elapsed()));
            thread::sleep(Duration::from_millis(300));
            over.store(true, Ordering::Relaxed);
            let join =
                |client: thread::ScopedJoinHandle<'_, Answers>| client.join().expect("it doesn't panic");
            (portolan, back, clients.into_iter().map(join).collect::<Vec<_>>())
        });
        let (_portolan, down) = (portolan?, down.context("no request is served")?);
        for answers in &answers {
            ensure!(answers.ok > 0 && answers.none > 0, "{answers:?}");
            // What starts serves nothing that it hasn't loaded yet.
            ensure!(answers.others.iter().all(|status| (500..504).contains(status)), "{answers:?}");
        }
        let seen = upstream.requests();
        ensure!(seen.iter().all(|seen| seen.path == "/rewritten"), "a request passed unfiltered");
        let sum = |of: fn(&Answers) -> u64| answers.iter().map(of).sum::<u64>();
        println!(
            "served again after {down:?}: {} requests served, {} without an answer, {} refused, none passed unfiltered",
            sum(|answers| answers.ok),
            sum(|answers| answers.none),
            sum(|answers| answers.others.len() as u64)
        );
        Ok(())
    })
}
