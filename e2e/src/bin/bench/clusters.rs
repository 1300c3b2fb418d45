//! The table `clusters`: what ten thousand HTTPS services cost with TLS originated by Envoy, on
//! shared clusters and, a tenth of them, on clusters of their own.
//!
//! - `config-gen`: from the YAML to all outputs; time and the most memory it had.
//! - `ready`: from the start of Envoy, on all cores, until its workers accept connections.
//! - `memory`: what Envoy has resident then, and after a request to each service, whose connections
//!   stay open.
//! - `first`: the time of the first request to each service, over one connection: its DNS question,
//!   connection and TLS handshake included. The upstream is this process, on another core.
//!
//! What ten thousand dedicated clusters would take is computed from one and a thousand of them.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use portolan_e2e::raw::Response;
use portolan_e2e::{Ca, DnsServer, Envoy, EnvoyOptions, Scratch, Upstream, places};

use crate::claims::{Claim, Outcome};
use crate::cores::Cores;
use crate::machine::Machine;
use crate::options::Options;
use crate::others::Reading;

/// Services on shared clusters.
const MANY: usize = 10_000;
/// Services on dedicated clusters.
const SOME: usize = 1_000;

/// The system's certificate authorities: each TLS context has a copy.
const CA_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// What may not be exceeded, with a unit.
const BUDGETS: [(&str, f64); 6] = [
    ("config-gen, s", 1.5),
    ("config-gen, MB", 300.0),
    ("ready, s", 0.6),
    ("memory, MB", 170.0),
    ("memory after requests, MB", 420.0),
    ("first request beyond DNS, ms", 5.0),
];

/// What was seen.
#[derive(Debug, Clone, Copy)]
struct Row {
    services: usize,
    /// Seconds and megabytes of `config-gen`.
    generated: (f64, f64),
    /// Seconds.
    ready: f64,
    /// Megabytes at the start, and after a request to each.
    memory: f64,
    used: f64,
    /// Milliseconds: median, and all but one of a hundred.
    first: (f64, f64),
    /// Of the next request to each.
    second: (f64, f64),
}

/// Measures it. Prints the table.
pub(crate) fn run(_: &Options, cores: &Cores, machine: &Machine) -> Result<Outcome> {
    let began = Reading::now([])?;
    let shared = measure("shared", MANY, cores, machine)?;
    eprintln!("bench: clusters, {shared:.1?}");
    let [one, some] = [1, SOME].map(|services| measure("dedicated", services, cores, machine));
    let (one, some) = (one?, some?);
    let others = Reading::now([])?.others_since(&began, machine.cores);
    let report = Report { shared, dedicated: some, extrapolated: extrapolated(&one, &some), machine };
    print!("{report}");
    let claims = report.measured().into_iter().zip(BUDGETS);
    let claims = claims
        .map(|(seen, (name, budget))| Claim::new(format!("{MANY} HTTPS services: {name}"), [seen], budget));
    Ok(Outcome { table: "clusters", others, claims: claims.collect::<Result<_>>()? })
}

/// What [`MANY`] dedicated clusters would be, if each costs what the others do.
fn extrapolated(one: &Row, some: &Row) -> Row {
    let line = |from: f64, to: f64| from + (to - from) * (MANY - 1) as f64 / (SOME - 1) as f64;
    Row {
        services: MANY,
        generated: (line(one.generated.0, some.generated.0), line(one.generated.1, some.generated.1)),
        ready: line(one.ready, some.ready),
        memory: line(one.memory, some.memory),
        used: line(one.used, some.used),
        ..*some
    }
}

fn measure(clusters: &str, services: usize, cores: &Cores, machine: &Machine) -> Result<Row> {
    let scratch = Scratch::new()?;
    let ca = Ca::new()?;
    let system = CA_BUNDLES.iter().find_map(|path| std::fs::read_to_string(path).ok());
    let bundle = scratch.write("ca.pem", system.unwrap_or_default() + &ca.bundle_pem())?;
    let upstream = Upstream::builder().tls(ca.issue(&["*.example.com"])?).quiet().start()?;
    let dns = DnsServer::start(&[("*.example.com", Ipv4Addr::LOCALHOST)])?;
    let output = scratch.path().join("out");
    let generated = config_gen(
        Command::new(places::config_gen()?)
            .args(["generate", "--clusters", clusters, "--listen", "80=127.0.0.1:0", "--listen"])
            .args(["443=127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-log", "off", "--filename"])
            .arg(scratch.write("services.yaml", yaml(services))?)
            .args(["--allow-upstream", "0.0.0.0/0", "--allow-upstream", "::/0"])
            .arg("--output")
            .arg(&output)
            .arg("--ca-bundle")
            .arg(bundle)
            .arg("--module")
            .arg(places::module()?)
            .args(["--dns-resolver", &dns.addr().to_string()])
            .args(["--upstream-port", &format!("443={}", upstream.addr().port())]),
    )?;
    let envoy = || Envoy::start(&EnvoyOptions::new(machine.binary.as_path(), output.join("envoy.yaml")));
    let start = Instant::now();
    let started = cores.on_all(envoy)?;
    let ready = start.elapsed().as_secs_f64();
    started.stop()?;
    let envoy = cores.on_envoys(envoy)?;
    let megabytes = || -> Result<f64> { Ok(envoy.rss()? as f64 / 1e6) };
    let memory = megabytes()?;
    let mut stream = TcpStream::connect(envoy.listener_addr("outbound_80")?)?;
    stream.set_nodelay(true)?;
    let mut latencies = || -> Result<(f64, f64)> {
        let mut all = Vec::with_capacity(services);
        for service in 0..services {
            all.push(request(&mut stream, service)?.as_secs_f64() * 1e3);
        }
        all.sort_by(f64::total_cmp);
        let at = |share: f64| all.get((all.len() as f64 * share) as usize).copied().context("no request");
        Ok((at(0.5)?, at(0.99)?))
    };
    let first = latencies()?;
    let used = megabytes()?;
    ensure!(upstream.connections() >= services as u64, "a connection to each");
    Ok(Row { services, generated, ready, memory, used, first, second: latencies()? })
}

/// HTTPS services, each in a document of its own, and TLS for all of them.
fn yaml(services: usize) -> String {
    let service = |number: usize| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: service-{number}\nspec:\n  \
             hosts:\n  - service-{number}.example.com\n  location: MESH_EXTERNAL\n  ports:\n  - number: 443\n    \
             name: https\n    protocol: HTTPS\n  resolution: DNS\n---\n"
        )
    };
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: all\nspec:\n  \
                host: '*.example.com'\n  trafficPolicy:\n    tls:\n      mode: SIMPLE\n";
    (0..services).map(service).chain([rule.to_owned()]).collect()
}

/// Seconds, and the most megabytes that were resident.
fn config_gen(command: &mut Command) -> Result<(f64, f64)> {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let path = format!("/proc/{}/status", child.id());
    let mut peak: f64 = 0.0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        peak = peak.max(kibibytes.unwrap_or_default() * 1024.0 / 1e6);
        std::thread::sleep(Duration::from_millis(2));
    };
    ensure!(status.success(), "config-gen failed: {status}");
    Ok((start.elapsed().as_secs_f64(), peak))
}

/// One request to that service over `stream`; how long it took.
fn request(stream: &mut TcpStream, service: usize) -> Result<Duration> {
    let start = Instant::now();
    let request = format!("GET / HTTP/1.1\r\nhost: service-{service}.example.com\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(response) = Response::parse(&received, false, false)? {
            ensure!(response.status == 200, "service {service}: {} {}", response.status, response.text());
            return Ok(start.elapsed());
        }
        match stream.read(&mut buffer)? {
            0 => bail!("service {service}: the connection was closed"),
            length => received.extend_from_slice(buffer.get(..length).unwrap_or_default()),
        }
    }
}

struct Report<'a> {
    shared: Row,
    dedicated: Row,
    extrapolated: Row,
    machine: &'a Machine,
}

impl Report<'_> {
    /// What the budgets are about, in their order. The answer of DNS, on loopback, is within the time
    /// of the request.
    fn measured(&self) -> [f64; 6] {
        let Row { generated, ready, memory, used, first, .. } = self.shared;
        [generated.0, generated.1, ready, memory, used, first.1]
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nclusters: HTTPS services with TLS originated by Envoy {}, 1 worker",
            self.machine.envoy
        )?;
        writeln!(
            f,
            "{:<32}{:>18}{:>9}{:>10}{:>10}{:>16}{:>16}",
            "", "config-gen", "ready", "memory", "used", "first request", "next request"
        )?;
        let rows = [
            ("shared", &self.shared),
            ("dedicated", &self.dedicated),
            ("dedicated, extrapolated", &self.extrapolated),
        ];
        for (name, row) in rows {
            let Row { services, generated: (seconds, peak), ready, memory, used, first, second } = row;
            writeln!(
                f,
                "{:<32}{:>18}{:>9}{:>10}{:>10}{:>16}{:>16}",
                format!("{services} {name}"),
                format!("{seconds:.2} s {peak:.0} MB"),
                format!("{ready:.2} s"),
                format!("{memory:.0} MB"),
                format!("{used:.0} MB"),
                format!("{:.1} {:.1} ms", first.0, first.1),
                format!("{:.1} {:.1} ms", second.0, second.1),
            )?;
        }
        writeln!(f, "\nrequests: median, and all but one of a hundred; DNS included\n")?;
        Ok(())
    }
}
