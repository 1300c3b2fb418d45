//! Egress gateways (spec section 4.11): TLS that ends there, and the way from a sidecar over the
//! gateway to the internet.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Result, ensure};
use portolan_e2e::{Ca, Curl, DnsServer, Reply, Scratch, Setup, Upstream, each_version, raw};

fn status(curl: &Curl) -> Option<u16> {
    curl.run().ok().map(|answer| answer.status).filter(|status| *status != 0)
}

/// GW-16, GW-22
#[test]
fn tls_of_clients_ends_at_a_gateway() -> Result<()> {
    each_version(|version| {
        let scratch = Scratch::new()?;
        let folder = scratch.path();
        let (servers, clients) = (Ca::new()?, Ca::new()?);
        servers.write_bundle(folder.join("servers.pem"))?;
        clients.write_bundle(folder.join("clients.pem"))?;
        let hosts = ["simple", "mutual", "optional", "named", "secret"];
        let hosts = hosts.map(|name| format!("{name}.example.com"));
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        servers.issue(&hosts)?.write(folder, "server")?;
        clients.issue(&["good.example.com"])?.write(folder, "good")?;
        clients.issue(&["other.example.com"])?.write(folder, "other")?;
        servers.issue(&["good.example.com"])?.write(folder, "stranger")?;
        let at = folder.display();
        let files = format!("serverCertificate: {at}/server.crt, privateKey: {at}/server.key");
        let gateway = format!(
            "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gw, namespace: egress}}
spec:
  servers:
  - port: {{number: 443, name: simple, protocol: HTTPS}}
    hosts: [simple.example.com]
    tls: {{mode: SIMPLE, {files}}}
  - port: {{number: 443, name: mutual, protocol: HTTPS}}
    hosts: [mutual.example.com]
    tls: {{mode: MUTUAL, {files}, caCertificates: {at}/clients.pem}}
  - port: {{number: 443, name: optional, protocol: HTTPS}}
    hosts: [optional.example.com]
    tls: {{mode: OPTIONAL_MUTUAL, {files}, caCertificates: {at}/clients.pem}}
  - port: {{number: 443, name: named, protocol: HTTPS}}
    hosts: [named.example.com]
    tls:
      mode: MUTUAL
      {}
      caCertificates: {at}/clients.pem
      subjectAltNames: [good.example.com]
      minProtocolVersion: TLSV1_3
  - port: {{number: 443, name: secret, protocol: HTTPS}}
    hosts: [secret.example.com]
    tls: {{mode: SIMPLE, credentialName: certificate}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: all, namespace: egress}}
spec:
  hosts: ['*.example.com']
  gateways: [gw]
  http: [{{match: [{{scheme: {{exact: https}}}}], directResponse: {{status: 200}}}}]
",
            files.replace(", ", "\n      ")
        );
        let portolan = Setup::new(version)?
            .option("--gateway", "egress/gw")
            .option("--credential", format!("certificate=cert={at}/server.crt,key={at}/server.key"))
            .option("--listen", "443=127.0.0.1:0")
            .yaml(&gateway)?
            .start()?;
        let address = portolan.listener(443)?;
        let get = |host: &str, with: Option<&str>, more: &[&str]| {
            let mut curl = Curl::new(&format!("https://{host}/"))
                .connect_to(&format!("{host}:443"), address)
                .cacert(folder.join("servers.pem"));
            for argument in more {
                curl = curl.arg(*argument);
            }
            if let Some(stem) = with {
                curl = curl
                    .arg("--cert")
                    .arg(folder.join(format!("{stem}.crt")))
                    .arg("--key")
                    .arg(folder.join(format!("{stem}.key")));
            }
            status(&curl)
        };
        for (host, with, more, expected) in [
            ("simple", None, &[][..], Some(200)),
            ("simple", None, &["--http1.1"], Some(200)),
            ("secret", None, &[], Some(200)),
            ("mutual", None, &[], None),
            ("mutual", Some("good"), &[], Some(200)),
            ("mutual", Some("other"), &[], Some(200)),
            ("mutual", Some("stranger"), &[], None),
            ("optional", None, &[], Some(200)),
            ("optional", Some("good"), &[], Some(200)),
            ("optional", Some("stranger"), &[], None),
            ("named", Some("good"), &[], Some(200)),
            ("named", Some("other"), &[], None),
            ("named", Some("good"), &["--tls-max", "1.2"], None),
            ("unknown", None, &[], None),
        ] {
            let seen = get(&format!("{host}.example.com"), with, more);
            ensure!(seen == expected, "{host} with {with:?} {more:?}: {seen:?} instead of {expected:?}");
        }
        Ok(())
    })
}

const EXTERNAL: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: https, protocol: HTTPS}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec:
  host: a.example.com
  trafficPolicy: {portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE}}]}
---
apiVersion: v1
kind: Service
metadata: {name: istio-egressgateway, namespace: istio-system}
spec: {ports: [{port: 80, name: http2}, {port: 443, name: https}]}
";

const SERVICE: &str = "istio-egressgateway.istio-system.svc.cluster.local";

/// The Gateway and the VirtualService of the usual pair, with the port at which they meet.
fn pair(server: &str, port: u16) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gw, namespace: egress}}
spec:
  selector: {{istio: egressgateway}}
  servers:
  - {server}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: a}}
spec:
  hosts: [a.example.com]
  gateways: [mesh, egress/gw]
  http:
  - match: [{{gateways: [mesh], port: 80}}]
    route: [{{destination: {{host: {SERVICE}, port: {{number: {port}}}}}}}]
  - match: [{{gateways: [egress/gw], port: {port}}}]
    route: [{{destination: {{host: a.example.com, port: {{number: 443}}}}}}]
---
"
    )
}

/// What the internet is: one host that speaks TLS, and the names that lead there.
struct Internet {
    upstream: Upstream,
    dns: DnsServer,
    scratch: Scratch,
}

impl Internet {
    fn start() -> Result<Self> {
        let ca = Ca::new()?;
        let scratch = Scratch::new()?;
        ca.write_bundle(scratch.path().join("ca.pem"))?;
        let upstream = Upstream::builder()
            .tls(ca.issue(&["a.example.com"])?)
            .handler(|_| Reply::new(200, "hello"))
            .start()?;
        let dns =
            DnsServer::start(&[("a.example.com", Ipv4Addr::LOCALHOST), (SERVICE, Ipv4Addr::LOCALHOST)])?;
        Ok(Self { upstream, dns, scratch })
    }

    fn folder(&self) -> &Path {
        self.scratch.path()
    }

    fn setup(&self, version: &str, yaml: &str) -> Result<Setup> {
        Setup::new(version)?
            .option("--dns-resolver", self.dns.addr().to_string())
            .option("--ca-bundle", self.folder().join("ca.pem").to_string_lossy())
            .option("--upstream-port", format!("a.example.com:443={}", self.upstream.addr().port()))
            .yaml(yaml)
    }

    /// A request of an application, and how the internet saw it.
    fn check(&self, sidecar: SocketAddr) -> Result<()> {
        self.upstream.clear();
        let response = raw::get_plain(sidecar, "a.example.com", "/x")?;
        ensure!(response.status == 200, "{} {}", response.status, response.text());
        let seen = self.upstream.requests();
        let [seen] = seen.as_slice() else { anyhow::bail!("{} requests arrived", seen.len()) };
        ensure!(seen.tls && seen.sni.as_deref() == Some("a.example.com"), "{seen:?}");
        ensure!(seen.host == "a.example.com" && seen.path == "/x", "{seen:?}");
        Ok(())
    }
}

/// GW-21: in plaintext to the gateway, and on with TLS.
#[test]
fn a_sidecar_reaches_the_internet_over_the_gateway() -> Result<()> {
    each_version(|version| {
        let internet = Internet::start()?;
        let server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}";
        let yaml = pair(server, 80) + EXTERNAL;
        let gateway = internet
            .setup(version, &yaml)?
            .option("--gateway", "egress/gw")
            .option("--listen", "80=127.0.0.1:0")
            .start()?;
        let sidecar = internet
            .setup(version, &yaml)?
            .option("--listen", "80=127.0.0.1:0")
            .option("--upstream-port", format!("{SERVICE}:80={}", gateway.http()?.port()))
            .start()?;
        internet.check(sidecar.http()?)?;
        // The gateway has no other host.
        let response = raw::get_plain(gateway.http()?, "b.example.com", "/")?;
        ensure!(response.status == 404, "{}", response.status);
        ensure!(gateway.counter("refused.host_not_on_gateway")? == 1);
        Ok(())
    })
}

/// GW-21, GAP-25: the same with mutual TLS in between, by certificates from files.
#[test]
fn the_way_to_the_gateway_has_mutual_tls() -> Result<()> {
    each_version(|version| {
        let internet = Internet::start()?;
        let mesh = Ca::new()?;
        let folder = internet.folder();
        mesh.write_bundle(folder.join("mesh.pem"))?;
        mesh.issue(&["a.example.com"])?.write(folder, "gateway")?;
        mesh.issue(&["sidecar.example.com"])?.write(folder, "sidecar")?;
        let at = folder.display();
        let credential = |name: &str| {
            format!("ISTIO_MUTUAL=cert={at}/{name}.crt,key={at}/{name}.key,cacert={at}/mesh.pem")
        };
        let server = "{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: ISTIO_MUTUAL}}";
        let rule = format!(
            "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: gateway}}
spec:
  host: {SERVICE}
  trafficPolicy:
    portLevelSettings:
    - port: {{number: 443}}
      tls: {{mode: ISTIO_MUTUAL, sni: a.example.com, subjectAltNames: [a.example.com]}}
---"
        );
        let yaml = pair(server, 443) + &rule + EXTERNAL;
        let gateway = internet
            .setup(version, &yaml)?
            .option("--gateway", "egress/gw")
            .option("--listen", "443=127.0.0.1:0")
            .option("--credential", credential("gateway"))
            .start()?;
        let sidecar = internet
            .setup(version, &yaml)?
            .option("--listen", "80=127.0.0.1:0")
            .option("--credential", credential("sidecar"))
            .option("--upstream-port", format!("{SERVICE}:443={}", gateway.tls()?.port()))
            .start()?;
        internet.check(sidecar.http()?)?;
        // Without a certificate nobody comes in.
        let curl = Curl::new("https://a.example.com/")
            .connect_to("a.example.com:443", gateway.tls()?)
            .cacert(folder.join("mesh.pem"));
        ensure!(status(&curl).is_none());
        Ok(())
    })
}

/// GW-21: without the gateway, what it would do is done in the sidecar.
#[test]
fn a_gateway_is_collapsed_into_the_sidecar() -> Result<()> {
    each_version(|version| {
        let internet = Internet::start()?;
        let server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}";
        let external = EXTERNAL.split("---\napiVersion: v1\n").next().unwrap_or_default();
        let yaml = pair(server, 80) + external;
        let without = internet.setup(version, &yaml)?.option("--listen", "80=127.0.0.1:0").generate()?;
        ensure!(!without.success() && without.stderr.contains("--collapse-egress-gateway"), "{without}");
        let sidecar = internet
            .setup(version, &yaml)?
            .option("--listen", "80=127.0.0.1:0")
            .flag("--collapse-egress-gateway")
            .start()?;
        internet.check(sidecar.http()?)
    })
}
