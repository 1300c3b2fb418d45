//! Clients that connect and leave it at that.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use portolan_e2e::mixed::{Addresses, Mixed};
use portolan_e2e::process::poll;
use portolan_e2e::{Envoy, raw, usage};

use crate::newest;

/// What is opened, where the system lets a process have so many.
const WANTED: usize = 10_000;

/// The cap, as a share of these.
const CAP: f64 = 0.6;

/// `request_headers_timeout` of the listeners, and somewhat more.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10 + 5);

/// As many as wanted, or as file descriptors allow in this process and in Envoy.
fn how_many() -> Result<usize> {
    // For all else that is open.
    const REST: u64 = 1000;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let allowed = usize::try_from(most.saturating_sub(REST))?;
    if allowed < WANTED {
        println!("{allowed} connections and not {WANTED}: there are {most} file descriptors");
    }
    Ok(allowed.min(WANTED))
}

fn open(address: SocketAddr, how_many: usize, first_bytes: &[u8]) -> Result<Vec<TcpStream>> {
    let one = |_| -> Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&address, raw::LIMIT)?;
        // Refused ones may be closed already.
        let _ = stream.write_all(first_bytes);
        Ok(stream)
    };
    (0..how_many).map(one).collect()
}

fn active(envoy: &Envoy) -> Result<u64> {
    let stats = envoy.stats()?;
    let is_active = |name: &str| {
        // Those whose first bytes are waited for are counted apart. Each listener counts for all
        // workers, and for each of them.
        ["downstream_cx_active", "downstream_pre_cx_active"].iter().any(|end| name.ends_with(end))
            && name.starts_with("listener.")
            && !["admin", "worker_"].iter().any(|other| name.contains(other))
    };
    Ok(stats.into_iter().filter(|(name, _)| is_active(name)).map(|(_, value)| value).sum())
}

#[test]
fn thousands_of_connections_are_opened_and_left() -> Result<()> {
    let count = how_many()?;
    let cap = (count as f64 * CAP) as usize;
    let upstreams = Mixed::start(true)?;
    let setup = upstreams.setup(&newest()?, "x")?.option("--max-connections", cap.to_string());
    let portolan = setup.start()?;
    let (envoy, to) = (&portolan.envoy, Addresses::of(&portolan)?);
    let serves = || raw::get_plain(to.http, "webserver", "/").is_ok_and(|response| response.status == 200);
    ensure!(serves());
    let descriptors = || usage::file_descriptors(envoy.pid());
    let (before, began) = (descriptors()?, Instant::now());
    let mut peaks = Vec::new();
    for round in 0..2 {
        let third = cap / 3;
        let idle = open(to.http, third, b"")?;
        let half_heads = open(to.http, third, b"GET / HTTP/1.1\r\nhost: webserver\r\nx: ")?;
        let half_hellos = open(to.tls, third, b"\x16\x03\x01")?;
        let refused = open(to.http, count - 3 * third, b"")?;
        poll(raw::LIMIT, || (active(envoy).ok()? >= 3 * third as u64).then_some(()))
            .with_context(|| format!("only {:?} connections are open", active(envoy)))?;
        let held = active(envoy)?;
        ensure!(held <= cap as u64, "{held} connections are open, and {cap} allowed");
        ensure!(!serves(), "round {round}: there is a connection more than allowed");
        peaks.push(envoy.rss()?);
        println!(
            "round {round}: {held} of {count} connections are open, {} file descriptors, {} MiB",
            descriptors()?,
            envoy.rss()? >> 20
        );
        drop(refused);
        if round == 0 {
            // Heads that don't come are given up, and then there is room.
            poll(HEAD_TIMEOUT, || serves().then_some(())).context("no room again")?;
            println!("room again {:?} after the first one", began.elapsed());
        }
        drop((idle, half_heads, half_hellos));
        let few = before + 5;
        poll(raw::LIMIT, || (descriptors().ok()? <= few).then_some(()))
            .with_context(|| format!("{:?} file descriptors, and {before} before", descriptors()))?;
        ensure!(serves());
    }
    let (first, second) = (peaks[0] as f64, peaks[1] as f64);
    ensure!(second <= 1.1 * first, "memory grows: {first}, then {second}");
    Ok(())
}
