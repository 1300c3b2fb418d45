//! What is left to chance (VS-ROUTE-02, VS-ROUTE-04, VS-FAULT-04): the shares that real requests
//! get from several workers, each of which has a VM with a generator of its own.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::load::Load;
use portolan_e2e::raw::{self, Head, Response};
use portolan_e2e::{DnsServer, Portolan, Setup, Upstream, places};

/// A right implementation fails a test once in ten thousand runs.
const P_VALUE: f64 = 1e-4;

/// Where the chi-square distribution with so many degrees of freedom leaves [`P_VALUE`] above it.
fn critical(degrees: usize) -> f64 {
    match degrees {
        1 => 15.137,
        3 => 21.108,
        other => panic!("no value for {other} degrees of freedom at {P_VALUE}"),
    }
}

/// How far `counts` are from `shares` of their sum, by Pearson.
fn chi_square(counts: &[u64], shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let total = counts.iter().sum::<u64>() as f64;
    let pairs = counts.iter().zip(shares);
    pairs
        .map(|(&count, share)| {
            let expected = total * share / sum;
            (count as f64 - expected).powi(2) / expected
        })
        .sum()
}

fn assert_fits(what: &str, counts: &[u64], shares: &[f64]) {
    let distance = chi_square(counts, shares);
    println!("{what}: {counts:?}, chi-square {distance:.2}");
    assert!(distance < critical(counts.len() - 1), "{what}: {counts:?} for {shares:?}: {distance}");
}

const WORKERS: u32 = 4;
const REQUESTS: u64 = 100_000;

/// Clusters by weight, and the share of requests that are aborted.
const WEIGHTS: [u32; 4] = [1, 3, 6, 30];
const ABORTED: f64 = 12.5;

/// All lead to one upstream: what counts is which cluster a request takes.
fn start(version: &str, dns: &DnsServer, upstream: &Upstream) -> Result<Portolan> {
    let mut setup =
        Setup::with_listeners(version)?.concurrency(WORKERS).option("--dns-resolver", dns.addr().to_string());
    let mut destinations = Vec::new();
    for (index, weight) in WEIGHTS.iter().enumerate() {
        let host = format!("c{index}.example.com");
        destinations.push(format!("{{destination: {{host: {host}}}, weight: {weight}}}"));
        setup = setup
            .option("--upstream-port", format!("{host}:80={}", upstream.addr().port()))
            .yaml(&format!(
                "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: c{index}}}
spec: {{hosts: [{host}], location: MESH_EXTERNAL, resolution: DNS, ports: [{{number: 80, name: http, protocol: HTTP}}]}}
"
            ))?;
    }
    let route = destinations.join(", ");
    setup
        .yaml(&format!(
            "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: v}}
spec:
  hosts: [v]
  http:
  - match: [{{uri: {{prefix: /coin}}}}]
    fault: {{abort: {{httpStatus: 418, percentage: {{value: 50}}}}}}
    route: [{{destination: {{host: c0.example.com}}}}]
  - fault: {{abort: {{httpStatus: 503, percentage: {{value: {ABORTED}}}}}}}
    route: [{route}]
"
        ))?
        .start()
}

/// How many requests each cluster got.
fn taken(portolan: &Portolan) -> Result<Vec<u64>> {
    let stats = portolan.envoy.stats()?;
    let of = |index: usize| {
        let name = format!("cluster.outbound|80||c{index}_example_com.upstream_rq_total");
        stats.get(&name).copied().unwrap_or(0)
    };
    Ok((0..WEIGHTS.len()).map(of).collect())
}

/// How many connections each worker has had, in any order.
fn connections(portolan: &Portolan) -> Result<Vec<u64>> {
    let stats = portolan.envoy.stats()?;
    let of_workers =
        stats.iter().filter(|(name, _)| name.contains(".worker_") && name.ends_with(".downstream_cx_total"));
    Ok(of_workers.map(|(_, count)| *count).collect())
}

/// What 64 requests of one connection draw, one after the other: heads or tails. They don't come
/// all at once, since Envoy stops reading such a connection after an answer of its own.
fn tossed(portolan: &Portolan) -> Result<Vec<bool>> {
    let request = Head::new("GET", "/coin").header("host", "v").finish();
    let mut connection = TcpStream::connect(portolan.http()?)?;
    connection.set_read_timeout(Some(raw::LIMIT))?;
    let mut toss = || -> Result<bool> {
        connection.write_all(&request)?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let length = connection.read(&mut buffer)?;
            ensure!(length > 0, "the connection was closed");
            bytes.extend_from_slice(&buffer[..length]);
            if let Some(response) = Response::parse(&bytes, false, false)? {
                return Ok(response.status == 418);
            }
        }
    };
    (0..64).map(|_| toss()).collect()
}

#[test]
fn a_hundred_thousand_requests_over_four_workers() -> Result<()> {
    let version = places::envoy_versions()?.pop().context("no Envoy")?;
    let hosts: Vec<String> = (0..WEIGHTS.len()).map(|index| format!("c{index}.example.com")).collect();
    let names: Vec<(&str, Ipv4Addr)> =
        hosts.iter().map(|host| (host.as_str(), Ipv4Addr::LOCALHOST)).collect();
    let dns = DnsServer::start(&names)?;
    let upstream = Upstream::builder().quiet().start()?;
    let portolan = start(&version, &dns, &upstream)?;

    // Workers with the same seed would begin with the same draws.
    let mut sequences = HashSet::new();
    for _ in 0..16 {
        let sequence = tossed(&portolan)?;
        assert!(sequences.insert(sequence), "two workers draw the same");
    }
    let used = connections(&portolan)?;
    println!("connections of the workers: {used:?}");
    // All 16 on one worker: once in 4^15 runs.
    assert!(used.iter().filter(|count| **count > 0).count() > 1, "only one worker was asked: {used:?}");

    let (clusters_before, aborted_before) = (taken(&portolan)?, portolan.counter("fault_abort")?);
    let began = Instant::now();
    // So many that no worker is left without one: once in 4 * 10^7 runs.
    let load = Load { connections: 64, ..Load::new(portolan.http()?, &[("v", "/")], REQUESTS) };
    let outcome = load.run()?;
    println!("{REQUESTS} requests in {:?}", began.elapsed());
    ensure!(outcome.errors == 0, "{:?}", outcome.first_error);
    assert_eq!(outcome.responses, REQUESTS);
    let used = connections(&portolan)?;
    println!("connections of the workers: {used:?}");
    assert_eq!(used.iter().filter(|count| **count > 0).count(), WORKERS as usize, "{used:?}");

    let clusters = taken(&portolan)?.into_iter().zip(clusters_before);
    let clusters: Vec<u64> = clusters.map(|(after, before)| after - before).collect();
    let aborted = portolan.counter("fault_abort")? - aborted_before;
    assert_eq!((outcome.not_2xx, clusters.iter().sum::<u64>() + aborted), (aborted, REQUESTS));
    assert_fits("VS-ROUTE-02, VS-ROUTE-04", &clusters, &WEIGHTS.map(f64::from));
    assert_fits("VS-FAULT-04", &[aborted, REQUESTS - aborted], &[ABORTED, 100.0 - ABORTED]);
    Ok(())
}
