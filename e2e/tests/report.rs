//! The outbound policy `report`: unknown hosts pass, and are counted and named; and what `config-gen
//! suggest` makes of the access log allows them where the registry is enforced.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use portolan_e2e::config_gen::config_gen;
use portolan_e2e::raw;
use portolan_e2e::upstream::echo;
use portolan_e2e::{Ca, Curl, DnsServer, Portolan, Scratch, Setup, Upstream, places};

const PLAIN: &str = "plain.example.org";
const SECURE: &str = "secure.example.org";

/// Two hosts that no registry knows.
struct World {
    plain: Upstream,
    secure: Upstream,
    dns: DnsServer,
    scratch: Scratch,
}

impl World {
    fn start() -> Result<Self> {
        let ca = Ca::new()?;
        let scratch = Scratch::new()?;
        ca.write_bundle(scratch.path().join("ca.pem"))?;
        Ok(Self {
            plain: Upstream::builder().name(PLAIN).handler(echo()).start()?,
            secure: Upstream::builder().name(SECURE).tls(ca.issue(&[SECURE])?).handler(echo()).start()?,
            dns: DnsServer::start(&[(PLAIN, Ipv4Addr::LOCALHOST), (SECURE, Ipv4Addr::LOCALHOST)])?,
            scratch,
        })
    }

    fn setup(&self, version: &str, policy: &str) -> Result<Setup> {
        Ok(Setup::with_listeners(version)?
            .option("--outbound-policy", policy)
            .option("--dns-resolver", self.dns.addr().to_string())
            .option("--upstream-port", format!("80={}", self.plain.addr().port()))
            .option("--upstream-port", format!("443={}", self.secure.addr().port())))
    }

    /// The status of a request in TLS that passes through, or of curl where there is no answer.
    fn https(&self, portolan: &Portolan, host: &str) -> Result<String> {
        let answer = Curl::new(&format!("https://{host}/"))
            .connect_to("", portolan.tls()?)
            .cacert(self.scratch.path().join("ca.pem"))
            .run()?;
        Ok(if answer.exit_code == 0 {
            answer.status.to_string()
        } else {
            format!("curl {}", answer.exit_code)
        })
    }
}

fn each_version(test: impl Fn(&str) -> Result<()>) -> Result<()> {
    for version in places::envoy_versions()? {
        println!("Envoy {version}");
        test(&version)?;
    }
    Ok(())
}

/// A registry as it is in the beginning.
const NOTHING: &str = "apiVersion: v1\nkind: List\nitems: []\n";

#[test]
fn what_is_reported_can_be_registered() -> Result<()> {
    each_version(|version| {
        let world = World::start()?;
        let loopback = "127.0.0.0/8";
        let portolan = world.setup(version, "report")?.yaml(NOTHING)?.start()?;
        let get = |portolan: &Portolan, host: &str| -> Result<u16> {
            Ok(raw::get_plain(portolan.http()?, host, "/x")?.status)
        };
        // OTP-05: they pass, and are named.
        assert_eq!(get(&portolan, PLAIN)?, 200);
        assert_eq!(get(&portolan, "Plain.Example.ORG:8080")?, 200);
        assert_eq!(world.https(&portolan, SECURE)?, "200");
        assert_eq!((portolan.counter("reported")?, portolan.counter("passed_through")?), (2, 2));
        let line = portolan.access_log_line(|line| line["authority"] == PLAIN)?;
        assert_eq!(line["decision"], format!("passthrough host_not_in_registry{{{PLAIN}:80}}"));
        assert_eq!(line["upstream_cluster"], "strict_dns|PassthroughCluster");
        let line = portolan.access_log_line(|line| line["server_name"] == SECURE)?;
        assert_eq!(line["decision"], format!("tls_reported server_name_not_in_registry{{{SECURE}:443}}"));
        let tls = "tcp.tls_reported.downstream_cx_total";
        portolan.envoy.wait_stat(tls, |count| count == 1, Duration::from_secs(5))?;
        // What no registry would allow isn't.
        assert_eq!(get(&portolan, "a..b")?, 400);
        assert_eq!(get(&portolan, "nowhere.example.org")?, 503);
        let hostile = raw::get_plain(portolan.http()?, "x\"{}: [y]#.example.org", "/")?;
        assert!([400, 503].contains(&hostile.status), "{}", hostile.text());
        portolan.access_log_line(|line| line["authority"] == "nowhere.example.org")?;

        let log = portolan.access_log().iter().map(|line| format!("{line}\n")).collect::<String>();
        let log = world.scratch.write("access.log", log)?;
        let suggested = config_gen(["suggest", &log.to_string_lossy(), "--allow-upstream", loopback])?;
        ensure!(suggested.success(), "{suggested}");
        assert!(suggested.stdout.contains("# 2 HTTP"), "{suggested}");
        assert!(suggested.stdout.contains("nowhere.example.org:80 (HTTP): it wasn't reached"), "{suggested}");
        // The addresses are private, which takes the option.
        let cautious = config_gen(["suggest", &log.to_string_lossy()])?;
        assert!(!cautious.stdout.contains("kind:"), "{cautious}");

        let portolan = world.setup(version, "registry-only")?.yaml(&suggested.stdout)?.start()?;
        assert_eq!(get(&portolan, PLAIN)?, 200);
        assert_eq!(get(&portolan, "Plain.Example.ORG:8080")?, 200);
        assert_eq!(world.https(&portolan, SECURE)?, "200");
        // And nothing else.
        assert_eq!(get(&portolan, "nowhere.example.org")?, 502);
        assert_eq!(world.https(&portolan, "other.example.org")?, "curl 35");
        assert_eq!((portolan.counter("reported")?, portolan.counter("allowed")?), (0, 2));
        Ok(())
    })
}

#[test]
fn private_addresses_are_not_dialled() -> Result<()> {
    each_version(|version| {
        let world = World::start()?;
        let portolan = world.setup(version, "report")?.yaml(NOTHING)?.guarded().start()?;
        let http: SocketAddr = portolan.http()?;
        for host in [PLAIN, "127.0.0.1", "169.254.169.254", "10.0.0.1"] {
            let response = raw::get_plain(http, host, "/")?;
            assert_eq!(response.status, 403, "{host}: {}", response.text());
        }
        assert_eq!(world.plain.connections(), 0);
        // They are reported, but nothing is suggested.
        assert_eq!(portolan.counter("reported")?, 4);
        portolan.access_log_line(|line| line["authority"] == "10.0.0.1")?;
        let log = portolan.access_log().iter().map(|line| format!("{line}\n")).collect::<String>();
        let log = world.scratch.write("access.log", log)?;
        let suggested = config_gen(["suggest", &log.to_string_lossy()])?;
        assert!(!suggested.stdout.contains("kind:"), "{suggested}");
        assert!(suggested.stdout.contains("its address is private"), "{suggested}");
        Ok(())
    })
}
