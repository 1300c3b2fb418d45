//! The fixed settings of the generated Envoy (design, section 8), each seen in a running one.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::examples::{GITHUB, GITHUB_PATH, GITHUB_TEXT, StandIns};
use portolan_e2e::raw::{self, Head};
use portolan_e2e::upstream::echo;
use portolan_e2e::{DnsServer, Portolan, Setup, Upstream, each_version, places};
use serde_json::Value;

/// A registered plaintext host, `a.example.com`, whose upstream echoes.
struct Echo {
    portolan: Portolan,
    upstream: Upstream,
    _dns: DnsServer,
}

const ENTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
";

impl Echo {
    fn start(version: &str, change: impl Fn(Setup) -> Setup) -> Result<Self> {
        let upstream = Upstream::builder().name("a").handler(echo()).start()?;
        let dns = DnsServer::start(&[("a.example.com", Ipv4Addr::LOCALHOST)])?;
        let setup = Setup::with_listeners(version)?
            .yaml(ENTRY)?
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={}", upstream.addr().port()));
        Ok(Self { portolan: change(setup).start()?, upstream, _dns: dns })
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<raw::Response> {
        raw::get(self.portolan.http()?, "a.example.com", path, headers)
    }
}

#[test]
fn third_parties_learn_nothing_of_the_proxy() -> Result<()> {
    each_version(|version| {
        let echo = Echo::start(version, |setup| setup)?;
        let response = echo.get("/x", &[("proxy-authorization", "Basic eDp5"), ("x-request-id", "mine")])?;
        assert_eq!(response.status, 200);
        let seen = &echo.upstream.requests()[0];
        let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
        for name in names.iter().filter(|name| **name != "x-request-id" && **name != "x-forwarded-proto") {
            assert!(!name.starts_with("x-") && *name != "proxy-authorization", "{name} reaches the upstream");
        }
        assert_eq!(seen.header("x-request-id").as_deref(), Some("mine"), "a client's own stays");
        // And the client nothing of Envoy.
        assert!(response.headers.iter().all(|(name, _)| !name.starts_with(b"x-envoy")), "{response:?}");
        assert_ne!(response.header("server").as_deref(), Some("envoy"));

        let echo = Echo::start(version, |setup| setup.option("--request-id", "true"))?;
        echo.get("/x", &[])?;
        assert!(echo.upstream.requests()[0].header("x-request-id").is_some());
        Ok(())
    })
}

#[test]
fn upstreams_are_told_what_was_rewritten_where_that_is_asked_for() -> Result<()> {
    each_version(|version| {
        let standins = StandIns::start()?;
        for (options, told) in [
            (["--profile", "istio"], true),
            (["--envoy-headers", "true"], true),
            (["--profile", "standalone"], false),
        ] {
            let portolan = standins.setup(version)?.option(options[0], options[1]).start()?;
            standins.github.clear();
            let host = "webserver.default.svc.cluster.local";
            let headers = [("x-envoy-original-path", "/forged")];
            assert_eq!(raw::get(portolan.http()?, host, "/anything?x=1", &headers)?.text(), GITHUB_TEXT);
            let seen = &standins.github.requests()[0];
            let expected = |value: &str| told.then(|| value.to_owned());
            assert_eq!(seen.header("x-envoy-original-path"), expected("/anything?x=1"), "VS-RW-16");
            assert_eq!(seen.header("x-envoy-original-host"), expected(host), "VS-RW-16");
            assert_eq!(seen.header("x-envoy-attempt-count"), expected("1"), "VH-21");
        }
        Ok(())
    })
}

#[test]
fn paths_are_normalized_but_slashes_stay() -> Result<()> {
    each_version(|version| {
        let echo = Echo::start(version, |setup| setup)?;
        for (sent, seen) in
            [("/a/./c/../b", "/a/b"), ("/a//b", "/a//b"), ("/a%2Fb", "/a%2Fb"), ("/%41?x=../y", "/A?x=../y")]
        {
            echo.upstream.clear();
            echo.get(sent, &[])?;
            assert_eq!(echo.upstream.requests()[0].path, seen, "{sent} (LI-06)");
        }
        Ok(())
    })
}

#[test]
fn a_client_cannot_say_who_or_where_it_is() -> Result<()> {
    each_version(|version| {
        let echo = Echo::start(version, |setup| setup)?;
        let headers = [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-portolan-listener-port", "443"),
            ("x-envoy-upstream-rq-timeout-ms", "1"),
            ("x-envoy-fault-delay-request", "2000"),
            ("x-envoy-attempt-count", "9"),
            ("x-envoy-original-path", "/etc"),
        ];
        let response = echo.get("/x", &headers)?;
        assert_eq!(response.status, 200, "the port is the listener's, not the header's: {}", response.text());
        let seen = &echo.upstream.requests()[0];
        assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
        for name in ["x-envoy-attempt-count", "x-envoy-original-path", "x-envoy-fault-delay-request"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
        assert!(echo.portolan.counter("forbidden_headers")? >= 2);
        Ok(())
    })
}

#[test]
fn old_clients_and_upgrades_are_served() -> Result<()> {
    each_version(|version| {
        let echo = Echo::start(version, |setup| setup)?;
        let old = raw::request(echo.portolan.http()?, b"GET /old HTTP/1.0\r\nhost: a.example.com\r\n\r\n")?;
        assert_eq!(old.status, 200);
        let head = Head::new("GET", "/ws")
            .header("host", "a.example.com")
            .header("connection", "upgrade")
            .header("upgrade", "websocket");
        let _ = raw::exchange(echo.portolan.http()?, &head.finish());
        let seen = echo.upstream.requests();
        let upgrade = seen.iter().find(|seen| seen.path == "/ws").context("the upgrade did not arrive")?;
        assert_eq!(upgrade.header("upgrade").as_deref(), Some("websocket"));
        Ok(())
    })
}

#[test]
fn a_failed_connection_is_tried_three_times() -> Result<()> {
    each_version(|version| {
        let echo = Echo::start(version, |setup| {
            // Nobody listens on the port that comes first in the list.
            setup.option("--upstream-port", "a.example.com:80=1")
        })?;
        assert_eq!(echo.get("/", &[])?.status, 503);
        let cluster = "cluster.outbound|80||a_example_com";
        assert_eq!(echo.portolan.envoy.stat(&format!("{cluster}.upstream_rq_retry"))?, 2, "DEF-06");
        Ok(())
    })
}

#[test]
fn a_metric_has_the_whole_name_of_the_cluster() -> Result<()> {
    each_version(|version| {
        let echo = Echo::start(version, |setup| setup)?;
        echo.get("/", &[])?;
        raw::get_plain(echo.portolan.http()?, "b.example.com", "/")?;
        let prometheus = echo.portolan.envoy.admin_get("/stats/prometheus")?.text();
        let expected = "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"outbound|80||a_example_com\"} 1";
        assert!(prometheus.contains(expected), "{}", grep(&prometheus, "upstream_rq_total"));
        let refused = "portolan_requests_total{decision=\"refused\",reason=\"host_not_in_registry\"} 1";
        assert!(prometheus.contains(refused), "{}", grep(&prometheus, "portolan"));
        Ok(())
    })
}

fn grep(text: &str, word: &str) -> String {
    text.lines().filter(|line| line.contains(word)).collect::<Vec<_>>().join("\n")
}

#[test]
fn tls_upstreams_are_spoken_to_in_1_2_and_1_3() -> Result<()> {
    each_version(|version| {
        let standins = StandIns::start()?;
        let portolan = standins.setup(version)?.start()?;
        assert_eq!(raw::get_plain(portolan.http()?, "webserver", "/")?.text(), GITHUB_TEXT);
        let versions: Vec<String> = portolan
            .envoy
            .stats()?
            .keys()
            .filter(|name| name.contains(".ssl.versions.") && name.contains("outbound"))
            .cloned()
            .collect();
        assert!(versions.iter().any(|name| name.ends_with("TLSv1.3")), "{versions:?}");
        Ok(())
    })
}

#[test]
fn there_is_a_cap_on_connections() -> Result<()> {
    each_version(|version| {
        let echo = Echo::start(version, |setup| setup.option("--max-connections", "2"))?;
        let address = echo.portolan.http()?;
        let held: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(address)).collect();
        let refused = portolan_e2e::process::poll(Duration::from_secs(5), || {
            let stats = echo.portolan.envoy.stats().ok()?;
            let name = stats
                .iter()
                .find(|(name, value)| name.ends_with("downstream_global_cx_overflow") && **value > 0);
            name.map(|_| ())
        });
        ensure!(refused.is_some(), "no connection was refused");
        drop(held);
        Ok(())
    })
}

#[test]
fn nothing_deprecated_is_used() -> Result<()> {
    each_version(|version| {
        let standins = StandIns::start()?;
        for policy in ["registry-only", "allow-any"] {
            let portolan = standins.setup(version)?.option("--outbound-policy", policy).start()?;
            let log = portolan.envoy.log();
            // What Envoy 1.36 doesn't know and is told to go on without.
            let is_expected = |line: &str| {
                version.starts_with("1.36.")
                    && line.contains("optional http filter envoy.filters.http.upstream_rbac")
            };
            let is_complaint = |line: &&str| {
                (line.contains("eprecated") || line.contains("[warning]")) && !is_expected(line)
            };
            let complaints: Vec<&str> = log.lines().filter(is_complaint).collect();
            assert!(complaints.is_empty(), "{complaints:#?}");
        }
        Ok(())
    })
}

#[test]
fn without_admin_and_access_log() -> Result<()> {
    let standins = StandIns::start()?;
    let version = places::envoy_versions()?.pop().unwrap_or_default();
    let setup = standins.setup(&version)?;
    let finished = setup.generate()?;
    ensure!(finished.success(), "{finished}");
    let bootstrap = std::fs::read_to_string(setup.output().join("envoy.yaml"))?;
    assert!(bootstrap.contains("\nadmin:"));
    let off = portolan_e2e::config_gen::config_gen([
        "generate",
        "-f",
        "examples/webserver/istio",
        "--emit",
        "envoy",
        "--admin",
        "off",
        "--access-log",
        "off",
    ])?;
    ensure!(off.success(), "{off}");
    assert!(!off.stdout.contains("admin:") && !off.stdout.contains("access_loggers"));
    Ok(())
}

/// `ALLOW_ANY`: hosts outside the registry are resolved by their name.
mod allow_any {
    use super::*;

    struct Open {
        portolan: Portolan,
        upstream: Upstream,
        dns: DnsServer,
    }

    fn open(version: &str, allow: Option<&str>) -> Result<Open> {
        let upstream = Upstream::builder().name("other").handler(echo()).start()?;
        let dns = DnsServer::start(&[("other.example.org", Ipv4Addr::LOCALHOST)])?;
        let mut setup = Setup::with_listeners(version)?
            .file("examples/weather/istio")
            .option("--outbound-policy", "allow-any")
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={}", upstream.addr().port()));
        setup = setup.guarded();
        if let Some(range) = allow {
            setup = setup.option("--allow-upstream", range);
        }
        Ok(Open { portolan: setup.start()?, upstream, dns })
    }

    #[test]
    fn an_unknown_host_is_passed_through_as_it_is() -> Result<()> {
        each_version(|version| {
            let open = open(version, Some("127.0.0.0/8"))?;
            let http = open.portolan.http()?;
            // The port of the Host header doesn't choose what is dialled.
            for host in ["other.example.org", "OTHER.example.org:9901"] {
                open.upstream.clear();
                let response = raw::get_plain(http, host, "/x?y=1")?;
                assert_eq!(response.status, 200, "{}", response.text());
                let seen = &open.upstream.requests()[0];
                assert_eq!((seen.host.as_str(), seen.path.as_str()), (host, "/x?y=1"), "OTP-05");
            }
            assert_eq!(open.portolan.counter("passed_through")?, 2);
            let line = open.portolan.access_log_line(|line| line["path"] == "/x?y=1")?;
            assert_eq!(line["upstream_cluster"], "strict_dns|PassthroughCluster");
            assert_eq!(line["decision"], "passthrough allow_any");
            // A name that doesn't resolve, and one that can't.
            assert_eq!(raw::get_plain(http, "nowhere.example.org", "/")?.status, 503);
            assert_eq!(raw::get_plain(http, "a..b", "/")?.status, 400);
            assert_eq!(raw::get_plain(http, "", "/")?.status, 400);
            // A registered host with only TLS ports gets no plaintext either.
            assert_eq!(raw::get_plain(http, "api.weather.com", "/")?.status, 502);
            Ok(())
        })
    }

    #[test]
    fn private_addresses_are_not_dialled() -> Result<()> {
        each_version(|version| {
            let open = open(version, None)?;
            let http = open.portolan.http()?;
            for host in ["other.example.org", "127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1", "0.0.0.0"]
            {
                let response = raw::get_plain(http, host, "/")?;
                assert!(
                    [403, 503].contains(&response.status),
                    "{host}: {} {}",
                    response.status,
                    response.text()
                );
            }
            // DNS that lies.
            open.dns.set("rebind.example.org", Ipv4Addr::new(192, 168, 0, 1));
            assert_eq!(raw::get_plain(http, "rebind.example.org", "/")?.status, 403);
            assert_eq!(open.upstream.connections(), 0);
            let line = open.portolan.access_log_line(|line| line["authority"] == "127.0.0.1")?;
            assert!(line["reason"].as_str().unwrap_or_default().contains("rbac"), "{line}");
            Ok(())
        })
    }

    #[test]
    fn a_client_cannot_name_the_cluster_or_the_address() -> Result<()> {
        each_version(|version| {
            let open = open(version, None)?;
            let headers = [
                ("x-portolan-cluster", "outbound|443||api.weather.com"),
                ("x-envoy-upstream-dynamic-host", "127.0.0.1"),
            ];
            let response = raw::get(open.portolan.http()?, "other.example.org", "/", &headers)?;
            assert_eq!(response.status, 403, "{}", response.text());
            Ok(())
        })
    }
}

#[test]
fn plain_text_goes_to_no_tls_port() -> Result<()> {
    // Without the DestinationRule nothing originates TLS: an error, not a plaintext request.
    let yaml = std::fs::read_to_string(places::root()?.join("examples/webserver/istio/webserver.yaml"))?;
    let rule = yaml.rfind("---").context("no rule")?;
    let version = places::envoy_versions()?.pop().unwrap_or_default();
    let setup = Setup::with_listeners(&version)?.yaml(&yaml[..rule])?;
    let finished = setup.generate()?;
    assert_eq!(finished.code(), Some(1));
    assert!(finished.stderr.contains("error[plaintext-to-tls-port]"), "{finished}");
    assert!(!setup.output().exists(), "nothing half-written stays behind");
    Ok(())
}

#[test]
fn originate_tls_by_option() -> Result<()> {
    let standins = StandIns::start()?;
    let version = places::envoy_versions()?.pop().unwrap_or_default();
    let yaml = std::fs::read_to_string(places::root()?.join("examples/webserver/istio/webserver.yaml"))?;
    let rule = yaml.rfind("---").context("no rule")?;
    let setup =
        standins.options(Setup::with_listeners(&version)?.yaml(&yaml[..rule])?).flag("--originate-tls");
    let portolan = setup.start()?;
    assert_eq!(raw::get_plain(portolan.http()?, "webserver", "/")?.text(), GITHUB_TEXT);
    assert_eq!(raw::get_plain(portolan.http()?, GITHUB, GITHUB_PATH)?.text(), GITHUB_TEXT);
    Ok(())
}

#[test]
fn the_plugin_config_is_a_string_in_the_discovery_file() -> Result<()> {
    let ecds = std::fs::read_to_string(places::root()?.join("envoy.d/ecds/portolan.json"))?;
    let ecds: Value = serde_json::from_str(&ecds)?;
    let config = &ecds["resources"][0]["typed_config"]["config"];
    assert_eq!(config["failure_policy"], "FAIL_RELOAD");
    assert_eq!(config["configuration"]["@type"], "type.googleapis.com/google.protobuf.StringValue");
    Ok(())
}
