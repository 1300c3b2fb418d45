//! One upstream of each sort, with the registry that leads there: what the soak and the tests of
//! faults send their traffic through.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::{Ca, DnsServer, Portolan, Reply, Scratch, SeenRequest, Setup, Upstream, http2, websocket};

/// How long an answer to a path with `slow` in it takes.
pub const SLOW: Duration = Duration::from_millis(300);

/// The hosts below `example.com`. `webserver` is rewritten, by default to `plain.example.com` and the path
/// `/STATE`, below `/secure` to `secure.example.com`, for which TLS is originated. `passed` is left as it is:
/// TLS on port 443, TCP on 5432.
pub const REGISTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: plain}
spec:
  hosts: [plain.example.com, websocket.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: secure}
spec:
  hosts: [secure.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 443, name: https, protocol: HTTPS}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: secure}
spec: {host: secure.example.com, trafficPolicy: {tls: {mode: SIMPLE}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: passed}
spec:
  hosts: [passed.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 443, name: tls, protocol: TLS}, {number: 5432, name: tcp, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: grpc}
spec:
  hosts: [grpc.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: grpc, protocol: GRPC}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: webserver}
spec:
  hosts: [webserver]
  http:
  - match: [{uri: {prefix: /secure}}]
    rewrite: {authority: secure.example.com}
    route: [{destination: {host: secure.example.com, port: {number: 443}}}]
  - rewrite: {uri: /STATE, authority: plain.example.com}
    route: [{destination: {host: plain.example.com, port: {number: 80}}}]
";

const NAMES: [&str; 5] = [
    "plain.example.com",
    "secure.example.com",
    "passed.example.com",
    "websocket.example.com",
    "grpc.example.com",
];

/// The upstreams. Plain and secure ones answer with the body of the request, or its path if there is none.
#[derive(Debug)]
pub struct Mixed {
    /// Behind `plain`, and `passed` on port 5432.
    pub plain: Upstream,
    /// Behind `secure`, and `passed` on port 443.
    pub secure: Upstream,
    /// Has all names.
    pub dns: DnsServer,
    websocket: SocketAddr,
    grpc: http2::Echo,
    files: Scratch,
    // Lives as long as the gRPC upstream.
    _runtime: Runtime,
}

/// Where clients connect to.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The listener for port 80.
    pub http: SocketAddr,
    /// The listener for port 443.
    pub tls: SocketAddr,
    /// The explicit proxy.
    pub proxy: SocketAddr,
}

impl Mixed {
    /// Starts the upstreams. `quiet` ones don't keep what they see.
    pub fn start(quiet: bool) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let files = Scratch::new()?;
        let ca = Ca::new()?;
        ca.write_bundle(files.path().join("ca.pem"))?;
        let identity = ca.issue(&["secure.example.com", "passed.example.com"])?;
        let upstream = || {
            let builder = Upstream::builder().handler(answer);
            if quiet { builder.quiet() } else { builder }
        };
        Ok(Self {
            plain: upstream().name("plain").start()?,
            secure: upstream().name("secure").tls(identity).start()?,
            dns: DnsServer::start(&NAMES.map(|name| (name, Ipv4Addr::LOCALHOST)))?,
            websocket: websocket::server()?,
            grpc: http2::Echo::start(&runtime)?,
            files,
            _runtime: runtime,
        })
    }

    /// An Envoy with [`REGISTRY`], whose rewrite leads to this path, and all sorts of listeners.
    pub fn setup(&self, version: &str, state: &str) -> Result<Setup> {
        let setup = Setup::with_listeners(version)?
            .yaml(&REGISTRY.replace("STATE", state))?
            .option("--explicit-proxy", "127.0.0.1:0")
            .option("--dns-resolver", self.dns.addr().to_string())
            .option("--ca-bundle", self.files.path().join("ca.pem").to_string_lossy());
        let ports = [
            ("plain.example.com:80", self.plain.addr()),
            ("secure.example.com:443", self.secure.addr()),
            ("passed.example.com:443", self.secure.addr()),
            ("passed.example.com:5432", self.plain.addr()),
            ("websocket.example.com:80", self.websocket),
            ("grpc.example.com:80", self.grpc.address),
        ];
        Ok(ports.into_iter().fold(setup, |setup, (port, upstream)| {
            setup.option("--upstream-port", format!("{port}={}", upstream.port()))
        }))
    }
}

impl Addresses {
    /// Those of an Envoy that [`Mixed::setup`] has set up.
    pub fn of(portolan: &Portolan) -> Result<Self> {
        Ok(Self {
            http: portolan.http()?,
            tls: portolan.tls()?,
            proxy: portolan.envoy.listener_addr("explicit_proxy")?,
        })
    }
}

fn answer(request: &SeenRequest) -> Reply {
    let body = if request.body.is_empty() { request.path.clone().into() } else { request.body.clone() };
    Reply::new(200, body).after(if request.path.contains("slow") { SLOW } else { Duration::ZERO })
}
