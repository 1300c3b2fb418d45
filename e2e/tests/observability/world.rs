//! An Envoy with a rule of each sort, and requests that meet them.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use portolan_e2e::prometheus::Page;
use portolan_e2e::raw::{self, Head, Response};
use portolan_e2e::upstream::echo;
use portolan_e2e::{DnsServer, Portolan, Setup, Upstream};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

const RESOURCES: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: elsewhere}
spec:
  hosts: [dead.example.com, elsewhere.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: port}
spec:
  hosts: [port.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
  ports: [{number: 8080, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: tls}
spec:
  hosts: [tls.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
  ports: [{number: 443, name: tls, protocol: TLS}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.example.com]
  http:
  - {name: moved, match: [{uri: {exact: /moved}}], redirect: {uri: /there}}
  - {name: fixed, match: [{uri: {exact: /fixed}}], directResponse: {status: 204}}
  - name: broken
    match: [{uri: {exact: /broken}}]
    fault: {abort: {httpStatus: 500, percentage: {value: 100}}}
    route: [{destination: {host: a.example.com}}]
  - name: shared
    match: [{uri: {exact: /shared}}]
    corsPolicy: {allowOrigins: [{exact: 'http://b.example.com'}], allowMethods: [GET]}
    route: [{destination: {host: a.example.com}}]
  - name: rewritten
    match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/}
    route: [{destination: {host: a.example.com}}]
  - name: plain
    match: [{uri: {prefix: /a}}, {uri: {prefix: /tunnelled}}]
    route: [{destination: {host: a.example.com}}]
";

pub(super) struct World {
    pub(super) portolan: Portolan,
    pub(super) upstream: Upstream,
    _dns: DnsServer,
}

impl World {
    pub(super) fn start(version: &str, change: impl Fn(Setup) -> Setup) -> Result<Self> {
        let upstream = Upstream::builder().name("a").handler(echo()).start()?;
        let dns = DnsServer::start(&[("unknown.test", Ipv4Addr::LOCALHOST)])?;
        let setup = Setup::with_listeners(version)?
            .yaml(RESOURCES)?
            .option("--explicit-proxy", "127.0.0.1:0")
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={}", upstream.addr().port()))
            // Nobody listens there.
            .option("--upstream-port", "dead.example.com:80=1");
        Ok(Self { portolan: change(setup).start()?, upstream, _dns: dns })
    }

    pub(super) fn get(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        raw::get(self.portolan.http()?, host, path, headers)
    }

    /// The Prometheus page.
    pub(super) fn page(&self) -> Result<Page> {
        let answer = self.portolan.envoy.admin_get("/stats/prometheus")?;
        Page::parse(&answer.text())
    }

    /// A request of each sort; what the page has to count.
    #[expect(clippy::type_complexity, reason = "labels with their values, and a count")]
    pub(super) fn send_all(&self) -> Result<Vec<(Vec<(&'static str, &'static str)>, f64)>> {
        self.get("a.example.com", "/a", &[("x-portolan-cluster", "forged")])?;
        self.get("a.example.com", "/old/x", &[])?;
        for path in ["/moved", "/moved", "/fixed", "/broken"] {
            self.get("a.example.com", path, &[])?;
        }
        let preflight = Head::new("OPTIONS", "/shared")
            .header("host", "a.example.com")
            .header("origin", "http://b.example.com")
            .header("access-control-request-method", "GET");
        raw::request(self.portolan.http()?, &preflight.finish())?;
        let mut sent = vec![
            (vec![("decision", "allowed")], 2.0),
            (vec![("decision", "passed_through")], 0.0),
            (vec![("decision", "redirected")], 2.0),
            (vec![("decision", "direct_response")], 1.0),
            (vec![("decision", "fault_abort")], 1.0),
            (vec![("decision", "cors_preflight")], 1.0),
            (vec![("decision", "failed")], 0.0),
        ];
        for (request, _, reason) in refused() {
            raw::request(self.portolan.http()?, &request)?;
            sent.push((vec![("decision", "refused"), ("reason", reason)], 1.0));
        }
        Ok(sent)
    }
}

/// Requests that are refused, with the status and the reason. The other two reasons need a gateway, or a wildcard host:
/// `gateway.rs` and `registry.rs` have them.
pub(super) fn refused() -> Vec<(Vec<u8>, u16, &'static str)> {
    let to = |host: &str, path: &str| Head::new("GET", path).header("host", host).finish();
    let twice =
        Head::new("GET", "/").header("host", "a.example.com").header("host", "b.example.com").finish();
    vec![
        (to("nobody.example.com", "/"), 502, "host_not_in_registry"),
        (to("port.example.com", "/"), 502, "port_not_in_registry"),
        (to("tls.example.com", "/"), 502, "only_tls_ports"),
        (to("a.example.com", "/nowhere"), 404, "no_route"),
        (twice, 400, "invalid_authority"),
    ]
}
