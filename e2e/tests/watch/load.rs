//! Many changes while clients ask on: nothing is lost, and nobody is told what was.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::world::{KeepAlive, LINE, World, rewrite, service};

/// Connections that ask without an end.
const CLIENTS: usize = 4;

/// Between two requests of one: what is looked for is lost requests, not speed.
const BREAK: Duration = Duration::from_millis(2);

/// After a change is acknowledged, no new stream meets a rule of before.
const SETTLED: Duration = Duration::from_millis(100);

/// Changes after which memory stays what it is.
const WARM: usize = 50;

pub(crate) fn changes_under_load(world: &World, changes: usize) -> Result<()> {
    let (stop, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    let http = world.http()?;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut open = KeepAlive::connect(http)?;
                    while !stop.load(Ordering::Relaxed) {
                        open.path("a.example.com")?;
                        requests.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(BREAK);
                    }
                    Ok(())
                })
            })
            .collect();
        let changed = change(world, changes);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("a client has nothing that panics").context("a request was lost")?;
        }
        let seen = changed?;
        println!(
            "{changes} changes under {} requests, none lost; from the save until it is in force: median {} ms, longest {} ms; \
             memory after {WARM} changes {:.1} MB, in the end {:.1} MB",
            requests.load(Ordering::Relaxed),
            seen.median.as_millis(),
            seen.longest.as_millis(),
            seen.warm as f64 / 1e6,
            seen.end as f64 / 1e6,
        );
        // Half of them, since others may use the machine as well.
        ensure!(seen.median < Duration::from_secs(1), "{:?}", seen.median);
        ensure!(seen.end as f64 <= seen.warm as f64 * 1.05, "memory grows");
        Ok(())
    })
}

const POLICY: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec:
  host: a.example.com
  trafficPolicy: {connectionPool: {tcp: {connectTimeout: 3s}}}
";

struct Seen {
    median: Duration,
    longest: Duration,
    warm: u64,
    end: u64,
}

/// Each change has the upstream see another path. Beside that, clusters, routes and filter chains come and go.
fn change(world: &World, changes: usize) -> Result<Seen> {
    let watch = world.envoy.watch()?;
    watch.line(LINE)?;
    let mut open = KeepAlive::connect(world.http()?)?;
    let mut tunnel = world.tunnel("db.example.com:5432")?;
    let mut http_tunnel = world.tunnel("a.example.com:80")?;
    let (mut times, mut warm) = (Vec::new(), 0);
    for number in 2..changes + 2 {
        let path = format!("/{number}");
        let toggled = |every: usize| (number / every) % 2 == 1;
        let keep = |name: &str, text: &str, there: bool| match (there, world.input(name).exists()) {
            (true, _) => world.save(name, text),
            (false, true) => world.remove(name),
            (false, false) => Ok(()),
        };
        let http = service("b.example.com", "{number: 80, name: http, protocol: HTTP}");
        keep("b.yaml", &http, toggled(3))?;
        let tls = service("tls.example.com", "{number: 443, name: tls, protocol: TLS}");
        keep("tls.yaml", &tls, toggled(7))?;
        // The cluster that is asked all the time.
        keep("policy.yaml", POLICY, toggled(4))?;
        let retries = if toggled(5) { "retries: {attempts: 1, backoff: 0.1s}," } else { "" };
        let began = Instant::now();
        world.save("rules.yaml", &rewrite("a.example.com", &path, retries))?;
        let line = watch.line(LINE).with_context(|| format!("change {number}"))?;
        times.push(began.elapsed());
        thread::sleep(SETTLED);
        ensure!(open.path("a.example.com")? == path, "{number}: a new stream meets an old rule; {line}");
        ensure!(http_tunnel.path("a.example.com")? == path, "{number}: in a tunnel; {line}");
        for _ in 0..3 {
            let seen = KeepAlive::connect(world.http()?)?.path("a.example.com")?;
            ensure!(seen == path, "{number}: a new connection meets {seen}; {line}");
        }
        let expected = if toggled(3) { 200 } else { 502 };
        ensure!(open.get("b.example.com")?.status == expected, "{number}: b.example.com; {line}");
        ensure!(world.tls("tls.example.com").is_ok() == toggled(7), "{number}: tls.example.com; {line}");
        tunnel.get("db.example.com").context("the tunnel is gone")?;
        if times.len() == WARM {
            warm = world.envoy.envoy.rss()?;
        }
    }
    let end = world.envoy.envoy.rss()?;
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    ensure!(watch.complaints().lines().count() == 1, "{}", watch.complaints());
    Ok(Seen { median, longest, warm: if warm == 0 { end } else { warm }, end })
}
