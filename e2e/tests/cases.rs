//! The cases of `testdata/` in Envoy with the built module.
//!
//! `CASES=hosts/` in the environment runs only the files whose path holds that text.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use config_gen::cases::{
    self, CaseFile, EngineKind, Expect, Mismatch, Prepared, Report, Request, Seen, Test,
};
use config_gen::input::files;
use config_gen::options::Profile;
use config_gen::plan::Address;
use portolan_e2e::raw::{self, Head, Response};
use portolan_e2e::{Ca, DnsServer, Portolan, Scratch, SeenRequest, Setup, Upstream, places};
use serde_json::Value;

#[test]
fn every_case_holds_in_the_newest_envoy() -> Result<()> {
    every_case_holds(places::envoy_versions()?.last().context("no Envoy")?)
}

#[test]
fn every_case_holds_in_the_oldest_envoy() -> Result<()> {
    let versions = places::envoy_versions()?;
    match versions.as_slice() {
        [oldest, _, ..] => every_case_holds(oldest),
        // The other test has had it.
        _ => Ok(()),
    }
}

fn every_case_holds(version: &str) -> Result<()> {
    let files = load()?;
    let mut report = Report::new(EngineKind::Envoy, &files);
    for file in &files {
        for &profile in &file.profiles {
            if file.selected(EngineKind::Envoy, profile).next().is_none() {
                continue;
            }
            if let Err(error) = run(version, file, profile, &mut report) {
                report.add_unusable(file, profile, &format!("{error:#}"));
            }
        }
    }
    println!("Envoy {version}: {report}");
    ensure!(report.failures.is_empty(), "{}\n\nEnvoy {version}: {report}", report.failures.join("\n\n"));
    // Nothing was left out on the way.
    let native = cases::run(&files);
    assert_eq!(report.runs() - report.only_here, native.runs() - native.only_here, "natively: {native}");
    Ok(())
}

fn load() -> Result<Vec<CaseFile>> {
    let sources = files::collect(&[places::root()?.join("testdata")])?;
    let (mut files, diagnostics) = cases::load(&sources);
    ensure!(!diagnostics.has_errors(), "{}", diagnostics.render(&sources));
    if let Ok(wanted) = std::env::var("CASES") {
        files.retain(|file| file.path.contains(&wanted));
    }
    Ok(files)
}

fn run(version: &str, file: &CaseFile, profile: Profile, report: &mut Report) -> Result<()> {
    let prepared = cases::prepare(file, profile).map_err(anyhow::Error::msg)?;
    let world = World::start(file, &prepared)?;
    let portolan = world.setup(version, file, profile)?.start()?;
    let mut log = Log::default();
    for (test, expect) in file.selected(EngineKind::Envoy, profile) {
        let (found, why) = match world.send(&portolan, test, expect, &mut log) {
            Ok((seen, why)) => (expect.compare(&test.request, &seen), why),
            Err(error) => {
                let got = format!("{error:#}");
                (
                    vec![Mismatch { field: "outcome".to_owned(), expected: expect.to_string(), got }],
                    String::new(),
                )
            }
        };
        report.add(file, profile, test, &found, &why);
    }
    Ok(())
}

/// What stands for the internet: it answers every request with what it saw.
struct World {
    dns: DnsServer,
    plain: Upstream,
    tls: Upstream,
    /// For hosts outside the registry: one for each listener port.
    passthrough: BTreeMap<u16, Upstream>,
    /// Hosts outside the registry have an address each, so that one can tell which was dialled.
    dialled: BTreeMap<IpAddr, String>,
    /// `HOST:PORT=PORT`
    upstream_ports: BTreeSet<String>,
    scratch: Scratch,
}

impl World {
    fn start(file: &CaseFile, prepared: &Prepared) -> Result<Self> {
        let plain = Upstream::builder().name("plain").start()?;
        // Certificates for the registered hosts and no others.
        let secured = prepared
            .plan
            .clusters
            .iter()
            .filter_map(|cluster| Some((host(&cluster.name), cluster.tls.as_ref()?)));
        let names: BTreeSet<&str> = secured
            .flat_map(|(host, tls)| {
                [host]
                    .into_iter()
                    .chain(tls.sni.as_deref())
                    .chain(tls.subject_alt_names.iter().map(String::as_str))
            })
            .chain(["nobody.invalid"])
            .collect();
        let ca = Ca::new()?;
        let identity = ca.issue(&Vec::from_iter(names))?;
        let tls = Upstream::builder().name("tls").tls_for_any_name(identity).start()?;
        let passthrough = file
            .ports()
            .into_iter()
            .map(|port| {
                let any = Upstream::builder().name("passthrough").address(Ipv4Addr::UNSPECIFIED);
                Ok((port, any.start()?))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        let dns = DnsServer::start(&[])?;
        let mut upstream_ports = BTreeSet::new();
        for cluster in prepared.plan.clusters.iter().filter(|cluster| cluster.name.starts_with("outbound|")) {
            let upstream = if cluster.tls.is_some() { &tls } else { &plain };
            for endpoint in &cluster.endpoints {
                let Address::Socket(address, port) = &endpoint.address else { continue };
                upstream_ports.insert(format!("{}:{port}={}", host(&cluster.name), upstream.addr().port()));
                if address.parse::<IpAddr>().is_err() {
                    dns.set(address, Ipv4Addr::LOCALHOST);
                }
            }
        }
        let mut dialled = BTreeMap::new();
        for expect in file.tests.iter().flat_map(|test| [&test.expect.istio, &test.expect.standalone]) {
            let Some(Expect::Forward { dials: Some(dials), .. }) = expect else { continue };
            let (host, _) = dials.rsplit_once(':').with_context(|| format!("no port in `{dials}`"))?;
            if !dialled.values().any(|known| known == host) {
                let address = Ipv4Addr::new(127, 0, 1, u8::try_from(dialled.len() + 1)?);
                dns.set(host, address);
                dialled.insert(address.into(), host.to_owned());
            }
        }
        let scratch = Scratch::new()?;
        ca.write_bundle(scratch.path().join("ca.pem"))?;
        Ok(Self { dns, plain, tls, passthrough, dialled, upstream_ports, scratch })
    }

    fn setup(&self, version: &str, file: &CaseFile, profile: Profile) -> Result<Setup> {
        let mut setup = Setup::new(version)?
            .log_level("warning")
            .option("--profile", profile.to_string())
            .option("--dns-resolver", self.dns.addr().to_string())
            .option("--ca-bundle", self.scratch.path().join("ca.pem").to_string_lossy())
            .option("--allow-upstream", "127.0.0.0/8");
        for option in &file.options {
            setup = setup.flag(option);
        }
        for (port, upstream) in &self.passthrough {
            setup = setup
                .option("--listen", format!("{port}=127.0.0.1:0"))
                .option("--upstream-port", format!("{port}={}", upstream.addr().port()));
        }
        for mapping in &self.upstream_ports {
            setup = setup.option("--upstream-port", mapping);
        }
        for path in &file.files {
            setup = setup.file(&path.to_string_lossy());
        }
        match &file.resources {
            Some(resources) => setup.yaml(resources),
            None => Ok(setup),
        }
    }

    fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        [&self.plain, &self.tls].into_iter().chain(self.passthrough.values())
    }

    /// Sends the request of `test`; what came of it, and Envoy's own words.
    fn send(
        &self,
        portolan: &Portolan,
        test: &Test,
        expect: &Expect,
        log: &mut Log,
    ) -> Result<(Seen, String)> {
        self.upstreams().for_each(Upstream::clear);
        let address = portolan.listener(test.request.port)?;
        let Some(response) = exchange(address, &test.request)? else {
            return Ok((Seen::Closed, String::new()));
        };
        // Without the filter there is no line.
        if matches!(expect, Expect::Closed) {
            let body = response.text();
            return Ok((
                Seen::Answered { status: response.status, reason: String::new(), body },
                String::new(),
            ));
        }
        let line = log.next(portolan)?;
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let arrived: Vec<SeenRequest> = self.upstreams().flat_map(Upstream::requests).collect();
        let seen = if text("decision").is_some() {
            let cluster = match text("upstream_cluster") {
                // Envoy doesn't tell the name of a cluster that isn't there.
                None if text("response_flags").as_deref() == Some("NC") => None,
                cluster => Some(cluster.unwrap_or_else(|| "(none)".to_owned())),
            };
            let (authority, path, headers) = match arrived.as_slice() {
                [] => (text("authority").unwrap_or_default(), text("path").unwrap_or_default(), None),
                [seen] => (seen.host.clone(), seen.path.clone(), Some(seen.headers.clone())),
                several => anyhow::bail!("it arrived {} times", several.len()),
            };
            Seen::Forwarded {
                dials: self.dialled(text("upstream").as_deref(), cluster.as_deref()),
                cluster,
                authority: authority.into_bytes(),
                path: path.into_bytes(),
                status: Some(response.status),
                headers,
            }
        } else {
            ensure!(arrived.is_empty(), "it was refused, and arrived all the same");
            let details = text("reason").unwrap_or_default();
            let reason = details.split('{').next().unwrap_or_default().to_owned();
            Seen::Answered { status: response.status, reason, body: response.text() }
        };
        Ok((seen, format!("access log: {line}")))
    }

    /// Host and port of a request to a host outside the registry.
    fn dialled(&self, upstream: Option<&str>, cluster: Option<&str>) -> Option<String> {
        let upstream: SocketAddr =
            upstream.filter(|_| cluster == Some("PassthroughCluster"))?.parse().ok()?;
        let known = self.dialled.get(&upstream.ip());
        let host = known.map_or_else(|| upstream.ip().to_string(), String::clone);
        let port =
            self.passthrough.iter().find(|(_, passthrough)| passthrough.addr().port() == upstream.port());
        Some(format!("{host}:{}", port.map_or(upstream.port(), |(port, _)| *port)))
    }
}

/// The host in `outbound|443||example.com`.
fn host(cluster: &str) -> &str {
    cluster.rsplit_once('|').map_or(cluster, |(_, host)| host)
}

/// One request on a connection of its own; none if it was closed without an answer.
fn exchange(address: SocketAddr, request: &Request) -> Result<Option<Response>> {
    let head = Head::new(&request.method, &request.path)
        .header("Host", &request.authority)
        .headers(&request.headers)
        .finish();
    let bytes = match raw::exchange(address, &head) {
        Ok(bytes) => bytes,
        Err(error) => {
            let kind = error.root_cause().downcast_ref().map(std::io::Error::kind);
            if matches!(kind, Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)) {
                return Ok(None);
            }
            return Err(error);
        }
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let response = Response::parse(&bytes, true, request.method == "HEAD")?;
    Ok(Some(response.with_context(|| format!("no full response: {}", bytes.escape_ascii()))?))
}

/// The access log, read line by line. One request is under way at a time, so the new line is
/// its line.
#[derive(Default)]
struct Log {
    read: HashSet<String>,
}

impl Log {
    fn next(&mut self, portolan: &Portolan) -> Result<Value> {
        let is_new = |line: &Value| line.get("method").is_some() && !self.read.contains(&line.to_string());
        let line = portolan.access_log_line(is_new)?;
        self.read.insert(line.to_string());
        Ok(line)
    }
}
