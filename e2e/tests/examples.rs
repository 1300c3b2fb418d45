//! The two examples that the project was founded on, on every supported Envoy.

use std::time::Duration;

use anyhow::{Result, ensure};
use portolan_e2e::examples::{GITHUB, GITHUB_PATH, GITHUB_TEXT, StandIns, WEATHER, WEATHER_TEXT};
use portolan_e2e::{Curl, Portolan, each_version, places, raw};

/// A running example on each version of Envoy.
fn on_every_version(test: impl Fn(&StandIns, &Portolan) -> Result<()>) -> Result<()> {
    each_version(|version| {
        let standins = StandIns::start()?;
        let portolan = standins.setup(version)?.start()?;
        test(&standins, &portolan)
    })
}

#[test]
fn a_plain_request_for_webserver_gets_the_file_from_github() -> Result<()> {
    on_every_version(|standins, portolan| {
        let response = raw::get_plain(portolan.http()?, "webserver", "/anything?x=1")?;
        assert_eq!(response.status, 200);
        let seen = standins.github.requests();
        assert_eq!(seen[0].path, format!("{GITHUB_PATH}?x=1"), "the query stays (VS-RW-06)");
        standins.github.clear();
        let answer =
            Curl::new("http://webserver/anything").connect_to("webserver:80", portolan.http()?).run()?;
        assert_eq!((answer.status, answer.text().as_str()), (200, GITHUB_TEXT));

        let requests = standins.github.requests();
        ensure!(requests.len() == 1, "{requests:?}");
        let seen = &requests[0];
        assert_eq!(seen.path, GITHUB_PATH);
        assert_eq!(seen.host, GITHUB);
        assert_eq!(seen.sni.as_deref(), Some(GITHUB), "EX-B-07");
        let leaked: Vec<_> = seen
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-") && name != "x-forwarded-proto")
            .collect();
        assert!(leaked.is_empty(), "third parties see {leaked:?}");
        assert!(standins.dns.queries().iter().any(|name| name.contains(GITHUB)), "Envoy asked DNS");

        assert_eq!(portolan.counter("rewritten")?, 2);
        assert_eq!(portolan.counter("unregistered")?, 2, "GAP-01");
        let line = portolan.access_log_line(|line| line["response_code"] == 200)?;
        assert_eq!(line["decision"], "default VirtualService default/webserver http[0]");
        assert_eq!(line["upstream_cluster"], "outbound|443||raw.githubusercontent.com");
        Ok(())
    })
}

#[test]
fn tls_passes_through_and_the_client_verifies() -> Result<()> {
    on_every_version(|standins, portolan| {
        let curl = |host: &str, path: &str| {
            Curl::new(&format!("https://{host}{path}"))
                .connect_to(&format!("{host}:443"), portolan.tls()?)
                .cacert(standins.ca_bundle())
                .run()
        };
        let answer = curl(WEATHER, "/")?;
        assert_eq!(
            (answer.status, answer.verify_result, answer.text().as_str()),
            (200, 0, WEATHER_TEXT),
            "EX-A-04"
        );
        // Beside the origination of the same Envoy (design, section 3).
        let answer = curl(GITHUB, GITHUB_PATH)?;
        assert_eq!((answer.status, answer.verify_result, answer.text().as_str()), (200, 0, GITHUB_TEXT));

        // Not through Envoy's trust: a client with another CA sees that.
        let other = Curl::new(&format!("https://{WEATHER}/")).connect_to("", portolan.tls()?).run()?;
        assert_eq!(other.exit_code, 60, "{other:?}");

        let line = portolan.access_log_line(|line| line["server_name"] == GITHUB)?;
        assert_eq!(line["upstream_cluster"], "passthrough|443||raw.githubusercontent.com");
        Ok(())
    })
}

#[test]
fn tls_to_an_unknown_host_is_closed_counted_and_named() -> Result<()> {
    on_every_version(|standins, portolan| {
        let before = standins.weather.connections() + standins.github.connections();
        let answer =
            Curl::new("https://example.com/").connect_to("", portolan.tls()?).arg("--insecure").run()?;
        assert_ne!(answer.exit_code, 0, "EX-A-05: {answer:?}");
        portolan.envoy.wait_stat(
            "tcp.tls_refused.downstream_cx_total",
            |count| count == 1,
            Duration::from_secs(5),
        )?;
        let line = portolan.access_log_line(|line| line["server_name"] == "example.com")?;
        assert_eq!(line["decision"], "tls_refused");
        assert_eq!(standins.weather.connections() + standins.github.connections(), before);
        Ok(())
    })
}

#[test]
fn an_unknown_host_is_refused_with_its_reason() -> Result<()> {
    on_every_version(|_, portolan| {
        let response = raw::get_plain(portolan.http()?, "example.com", "/")?;
        assert_eq!(response.status, 502);
        assert_eq!(response.text(), "example.com is not in the registry; a ServiceEntry would allow it\n");
        let line = portolan.access_log_line(|line| line["authority"] == "example.com")?;
        assert_eq!(line["reason"], "host_not_in_registry{example.com}");
        // A host with only TLS ports gets no plaintext, and says so.
        let response = raw::get_plain(portolan.http()?, WEATHER, "/")?;
        assert_eq!(response.status, 502);
        assert!(response.text().starts_with("api.weather.com has only TLS ports"), "{}", response.text());
        assert_eq!(portolan.counter("refused.host_not_in_registry")?, 1);
        assert_eq!(portolan.counter("refused.only_tls_ports")?, 1);
        Ok(())
    })
}

#[test]
fn a_trailing_dot_stays_out_of_sni_and_certificate_check() -> Result<()> {
    on_every_version(|standins, portolan| {
        let response = raw::get_plain(portolan.http()?, "raw.githubusercontent.com.:80", GITHUB_PATH)?;
        // The Host header keeps it (VH-03), which this upstream doesn't know.
        assert_eq!(response.status, 404, "{}", response.text());
        let seen = standins.github.requests();
        assert_eq!(seen.last().map(|seen| seen.host.as_str()), Some("raw.githubusercontent.com.:80"));
        assert_eq!(seen.last().and_then(|seen| seen.sni.as_deref()), Some(GITHUB));
        Ok(())
    })
}

/// The webserver example with one thing changed.
fn changed(change: impl Fn(&str) -> String) -> Result<(StandIns, Portolan)> {
    let yaml = std::fs::read_to_string(places::root()?.join("examples/webserver/istio/webserver.yaml"))?;
    let changed = change(&yaml);
    ensure!(changed != yaml, "nothing was changed");
    let standins = StandIns::start()?;
    let version = places::envoy_versions()?.pop().unwrap_or_default();
    let setup = portolan_e2e::Setup::with_listeners(&version)?.yaml(&changed)?;
    let portolan = standins.options(setup).start()?;
    Ok((standins, portolan))
}

const AUTHORITY_REWRITE: &str = "      authority: raw.githubusercontent.com\n";

#[test]
fn without_the_authority_rewrite_the_certificate_check_fails() -> Result<()> {
    let (standins, portolan) = changed(|yaml| yaml.replace(AUTHORITY_REWRITE, ""))?;
    let response = raw::get_plain(portolan.http()?, "webserver", "/")?;
    assert_eq!(response.status, 503, "EX-B-09: {}", response.text());
    let line = portolan.access_log_line(|line| line["authority"] == "webserver")?;
    let failure = line["upstream_failure"].as_str().unwrap_or_default();
    assert!(failure.contains("CERTIFICATE_VERIFY_FAILED"), "{line}");
    assert!(standins.github.requests().is_empty());
    Ok(())
}

#[test]
fn with_a_fixed_sni_instead_the_upstream_answers_its_404() -> Result<()> {
    let (standins, portolan) = changed(|yaml| {
        yaml.replace(AUTHORITY_REWRITE, "")
            .replace("mode: SIMPLE\n", "mode: SIMPLE\n      sni: raw.githubusercontent.com\n")
    })?;
    let response = raw::get_plain(portolan.http()?, "webserver", "/")?;
    assert_eq!(response.status, 404, "{}", response.text());
    let seen = standins.github.requests();
    assert_eq!(seen.last().map(|seen| seen.host.as_str()), Some("webserver"));
    assert_eq!(seen.last().and_then(|seen| seen.sni.as_deref()), Some(GITHUB), "DR-TLS-07");
    Ok(())
}

#[test]
fn an_upstream_whose_certificate_does_not_verify_is_not_reached() -> Result<()> {
    let standins = StandIns::start()?;
    let version = places::envoy_versions()?.pop().unwrap_or_default();
    // Another CA than the one that signed.
    let other = portolan_e2e::Ca::new()?;
    let scratch = portolan_e2e::Scratch::new()?;
    other.write_bundle(scratch.path().join("other.pem"))?;
    let setup = portolan_e2e::Setup::with_listeners(&version)?
        .file("examples/webserver/istio")
        .option("--dns-resolver", standins.dns.addr().to_string())
        .option("--ca-bundle", scratch.path().join("other.pem").to_string_lossy())
        .option("--upstream-port", format!("443={}", standins.github.addr().port()));
    let portolan = setup.start()?;
    assert_eq!(raw::get_plain(portolan.http()?, "webserver", "/")?.status, 503);
    assert!(standins.github.requests().is_empty());
    let line = portolan.access_log_line(|line| line["response_code"] == 503)?;
    assert!(
        line["upstream_failure"].as_str().unwrap_or_default().contains("CERTIFICATE_VERIFY_FAILED"),
        "{line}"
    );
    Ok(())
}
