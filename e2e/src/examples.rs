//! Stand-ins for the real hosts of the two examples: a DNS server, a CA and TLS upstreams. The
//! generator's options lead Envoy to them, and nothing else does.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Result;

use crate::portolan::Setup;
use crate::upstream::virtual_hosts;
use crate::{Ca, DnsServer, Scratch, Upstream};

/// The host that the webserver example fetches a file from.
pub const GITHUB: &str = "raw.githubusercontent.com";

/// The file's path.
pub const GITHUB_PATH: &str = "/mcasperson/NodejsProxy/master/externalservice1.txt";

/// The file's text.
pub const GITHUB_TEXT: &str = "External Service 1\n";

/// The host of the weather example.
pub const WEATHER: &str = "api.weather.com";

/// What the weather host answers.
pub const WEATHER_TEXT: &str = "{\"forecast\": \"fair winds\"}\n";

/// Everything that stands for the internet.
#[derive(Debug)]
pub struct StandIns {
    /// Knows both hosts.
    pub dns: DnsServer,
    /// Has signed both certificates.
    pub ca: Ca,
    /// Checks Host: another one gets its 404, as from the real one.
    pub github: Upstream,
    /// The weather host.
    pub weather: Upstream,
    scratch: Scratch,
}

impl StandIns {
    /// Starts them on ports of their own choosing.
    pub fn start() -> Result<Self> {
        let ca = Ca::new()?;
        let upstream = |host: &'static str, path: &'static str, text: &'static str| {
            Upstream::builder()
                .name(host)
                // As the real ones: whatever name a client asks for, this is the certificate.
                .tls_for_any_name(ca.issue(&[host])?)
                .handler(virtual_hosts(&[(host, &[(path, text)])]))
                .start()
        };
        let github = upstream(GITHUB, GITHUB_PATH, GITHUB_TEXT)?;
        let weather = upstream(WEATHER, "/", WEATHER_TEXT)?;
        let dns = DnsServer::start(&[(GITHUB, Ipv4Addr::LOCALHOST), (WEATHER, Ipv4Addr::LOCALHOST)])?;
        let scratch = Scratch::new()?;
        ca.write_bundle(scratch.path().join("ca.pem"))?;
        Ok(Self { dns, ca, github, weather, scratch })
    }

    /// The CA's certificate.
    #[must_use]
    pub fn ca_bundle(&self) -> PathBuf {
        self.scratch.path().join("ca.pem")
    }

    /// The options that lead Envoy here.
    #[must_use]
    pub fn options(&self, setup: Setup) -> Setup {
        setup
            .option("--dns-resolver", self.dns.addr().to_string())
            .option("--ca-bundle", self.ca_bundle().to_string_lossy())
            .option("--upstream-port", format!("{GITHUB}:443={}", self.github.addr().port()))
            .option("--upstream-port", format!("{WEATHER}:443={}", self.weather.addr().port()))
    }

    /// A set-up with both examples.
    pub fn setup(&self, version: &str) -> Result<Setup> {
        let setup =
            Setup::with_listeners(version)?.file("examples/webserver/istio").file("examples/weather/istio");
        Ok(self.options(setup))
    }
}
