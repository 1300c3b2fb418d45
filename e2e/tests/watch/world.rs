//! An Envoy with files that it watches, upstreams, and input that can be changed.

use std::convert::identity;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail, ensure};
use portolan_e2e::raw::{self, Head, Response};
use portolan_e2e::upstream::echo;
use portolan_e2e::{Ca, DnsServer, Portolan, Scratch, Setup, Upstream, places, tls_client};
use serde_json::Value;

/// How long a change may take on a machine that does other things as well.
pub(crate) const LINE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) envoy: Portolan,
    pub(crate) dns: DnsServer,
    _upstreams: [Upstream; 2],
    input: Scratch,
}

impl World {
    /// With the newest Envoy.
    pub(crate) fn newest() -> Result<Self> {
        Self::start(&places::envoy_versions()?.pop().unwrap_or_default(), identity)
    }

    pub(crate) fn start(version: &str, more: impl FnOnce(Setup) -> Setup) -> Result<Self> {
        let upstream = Upstream::builder().handler(echo()).quiet().start()?;
        let secure = Upstream::builder().tls_for_any_name(Ca::new()?.issue(&["tls.example.com"])?).start()?;
        let dns = DnsServer::start(&[("*.example.com", Ipv4Addr::LOCALHOST)])?;
        let input = Scratch::new()?;
        input.write("rules/services.yaml", services())?;
        input.write("rules/rules.yaml", rewrite("a.example.com", "/1", ""))?;
        let port = upstream.addr().port();
        let setup = Setup::with_listeners(version)?
            .file(&input.path().join("rules").to_string_lossy())
            .flag("--dynamic-resources")
            .option("--explicit-proxy", "127.0.0.1:0")
            .option("--dns-resolver", dns.addr().to_string())
            .option("--allow-upstream", "127.0.0.0/8")
            .option("--upstream-port", format!("80={port}"))
            .option("--upstream-port", format!("5432={port}"))
            .option("--upstream-port", format!("443={}", secure.addr().port()));
        Ok(Self { envoy: more(setup).concurrency(2).start()?, dns, _upstreams: [upstream, secure], input })
    }

    /// Where plain HTTP clients connect to.
    pub(crate) fn http(&self) -> Result<SocketAddr> {
        self.envoy.http()
    }

    pub(crate) fn input(&self, name: &str) -> PathBuf {
        self.input.path().join("rules").join(name)
    }

    /// As editors do that are careful: aside, and renamed.
    pub(crate) fn save(&self, name: &str, text: &str) -> Result<()> {
        self.input.replace(&format!("rules/{name}"), text).map(drop)
    }

    pub(crate) fn save_services(&self) -> Result<()> {
        self.save("services.yaml", &services())
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.input(name))?)
    }

    /// The generated files, with the times at which they were written.
    pub(crate) fn files(&self) -> Result<Vec<(String, SystemTime, String)>> {
        let mut found = Vec::new();
        walk(&self.envoy.output(), &mut found)?;
        found.sort();
        Ok(found)
    }

    pub(crate) fn contents(&self) -> Result<Vec<(String, String)>> {
        Ok(self.files()?.into_iter().map(|(name, _, content)| (name, content)).collect())
    }

    /// A TLS connection by this server name, over which a request was answered.
    pub(crate) fn tls(&self, name: &str) -> Result<KeepAlive> {
        let stream = TcpStream::connect(self.envoy.tls()?)?;
        let mut open = KeepAlive(Box::new(tls_client::wrap(stream, name, None)?));
        ensure!(open.get(name)?.status == 200);
        Ok(open)
    }

    /// A tunnel through the explicit proxy.
    pub(crate) fn tunnel(&self, target: &str) -> Result<KeepAlive> {
        let proxy = self.envoy.envoy.listener_addr("explicit_proxy")?;
        match raw::tunnel(proxy, target.as_bytes())? {
            Ok(stream) => Ok(KeepAlive(Box::new(stream))),
            Err(response) => bail!("{target}: {} {}", response.status, response.text()),
        }
    }
}

/// A connection for one request after the other. It is never made anew.
pub(crate) struct KeepAlive(Box<dyn ReadAndWrite>);

trait ReadAndWrite: Read + Write + Send {}

impl<T: Read + Write + Send> ReadAndWrite for T {}

impl KeepAlive {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(raw::LIMIT))?;
        Ok(Self(Box::new(stream)))
    }

    pub(crate) fn get(&mut self, host: &str) -> Result<Response> {
        self.0.write_all(&Head::new("GET", "/").header("Host", host).finish())?;
        let mut received = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            let length = self.0.read(&mut buffer)?;
            ensure!(length > 0, "{host}: closed after {}", received.escape_ascii());
            received.extend_from_slice(&buffer[..length]);
            if let Some(response) = Response::parse(&received, false, false)? {
                return Ok(response);
            }
        }
    }

    /// The path that the upstream has seen.
    pub(crate) fn path(&mut self, host: &str) -> Result<String> {
        let response = self.get(host)?;
        ensure!(response.status == 200, "{host}: {} {}", response.status, response.text());
        let seen: Value = response.json()?;
        Ok(seen["path"].as_str().unwrap_or_default().to_owned())
    }
}

/// What is registered from the start: HTTP, and TCP for tunnels.
fn services() -> String {
    let http = service("a.example.com", "{number: 80, name: http, protocol: HTTP}");
    let tcp = service("db.example.com", "{number: 5432, name: tcp, protocol: TCP}");
    // With an address of its own: of a name there would be something to note.
    http + &tcp.replace("resolution: DNS", "resolution: STATIC\n  endpoints: [{address: 127.0.0.1}]")
}

/// A service with a port.
pub(crate) fn service(host: &str, port: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host}}}
spec:
  hosts: [{host}]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{port}]
---
"
    )
}

/// A rule by which the upstream sees this path; `more` stands beside its destination.
pub(crate) fn rewrite(host: &str, path: &str, more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {host}}}
spec:
  hosts: [{host}]
  http:
  - {{{more} rewrite: {{uri: {path}}}, route: [{{destination: {{host: {host}}}}}]}}
"
    )
}

fn walk(directory: &Path, found: &mut Vec<(String, SystemTime, String)>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, found)?;
        } else {
            found.push((
                path.display().to_string(),
                path.metadata()?.modified()?,
                fs::read_to_string(&path)?,
            ));
        }
    }
    Ok(())
}
