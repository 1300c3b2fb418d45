//! What can be seen from outside: the Prometheus page, access logs, and what is made for them.

#[path = "observability/names.rs"]
mod names;
#[path = "observability/world.rs"]
mod world;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::raw::{self, Head};
use portolan_e2e::{Setup, each_version, tls_client};
use portolan_engine::Reason;
use world::World;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn the_page_counts_what_was_done() -> Result<()> {
    each_version(|version| {
        let world = World::start(version, |setup| setup)?;
        let sent = world.send_all()?;
        let page = world.page()?;
        for (labels, count) in sent {
            assert_eq!(page.value("portolan_requests_total", &labels), Some(count), "{labels:?}");
        }
        for (name, value) in [
            ("portolan_rewritten_total", 1.0),
            ("portolan_forbidden_headers_total", 1.0),
            ("portolan_reported_total", 0.0),
            ("portolan_unregistered_total", 0.0),
            ("portolan_delayed_total", 0.0),
        ] {
            assert_eq!(page.value(name, &[]), Some(value), "{name}");
        }
        // All reasons stand there from the start.
        for reason in Reason::ALL {
            let labels = [("decision", "refused"), ("reason", reason.as_str())];
            assert!(page.value("portolan_requests_total", &labels).is_some(), "{labels:?}");
        }
        // No host is a label, and none is cut at its dots.
        for name in page.names().filter(|name| name.starts_with("portolan_")) {
            let labels = page.labels(name).context("no labels")?;
            assert!(
                labels.is_subset(&BTreeSet::from(["decision", "reason", "result"])),
                "{name}: {labels:?}"
            );
        }
        let cluster = [("envoy_cluster_name", "outbound|80||a_example_com")];
        assert_eq!(page.value("envoy_cluster_upstream_rq_total", &cluster), Some(2.0));
        assert!(page.names().all(|name| !name.contains("example")), "a host is a metric's name");
        Ok(())
    })
}

#[test]
fn the_page_says_which_config_is_in_force() -> Result<()> {
    each_version(|version| {
        let world = World::start(version, |setup| setup)?;
        let value = |name: &str, labels: &[(&str, &str)]| -> Result<f64> {
            world.page()?.value(name, labels).with_context(|| format!("{name} {labels:?}"))
        };
        let loads = |result| value("portolan_config_loads_total", &[("result", result)]);
        assert!(loads("accepted")? >= 1.0);
        assert_eq!(loads("refused")?, 0.0);
        let before = value("portolan_config_crc32", &[])?;
        assert!(value("portolan_config_virtual_hosts", &[])? >= 3.0);
        let loaded = value("portolan_config_loaded_timestamp_seconds", &[])?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
        assert!((now - loaded).abs() < 600.0, "{loaded} at {now}");
        let log = world.portolan.envoy.log();
        let told = format!("crc32 {:08x}", before as u32);
        ensure!(log.contains(&told), "the log says something else than {told}");

        // One that is refused changes nothing but its count.
        let path = "envoy.d/ecds/portolan.json";
        let good = std::fs::read_to_string(world.portolan.output().join(path))?;
        world.portolan.replace(path, good.replace("a.example.com", "A.example.com"))?;
        portolan_e2e::process::poll(world::PATIENCE, || loads("refused").ok().filter(|count| *count > 0.0))
            .context("no config was refused")?;
        assert_eq!(value("portolan_config_crc32", &[])?, before);
        // Another one does.
        world.portolan.replace(path, good.replace("VirtualService default/a", "VirtualService default/b"))?;
        portolan_e2e::process::poll(world::PATIENCE, || {
            value("portolan_config_crc32", &[]).ok().filter(|crc32| *crc32 != before)
        })
        .context("the new config isn't in force")?;
        Ok(())
    })
}

#[test]
fn statistics_of_many_clusters_can_be_one() -> Result<()> {
    each_version(|version| {
        // Most statistics of a cluster are there when it has been used.
        let page_of_used = |change: fn(Setup) -> Setup| {
            let world = World::start(version, change)?;
            world.get("a.example.com", "/a", &[])?;
            world.get("elsewhere.example.com", "/", &[])?;
            world.get("dead.example.com", "/", &[])?;
            world.page()
        };
        let page = page_of_used(|setup| setup.option("--cluster-stats", "together"))?;
        let cluster = [("envoy_cluster_name", "outbound")];
        // Two tries more for a connection that fails (DEF-06).
        assert_eq!(page.value("envoy_cluster_upstream_cx_connect_fail", &cluster), Some(3.0));
        assert_eq!(page.value("envoy_cluster_upstream_rq_retry", &cluster), Some(2.0));
        assert_eq!(page.value("envoy_cluster_upstream_rq_total", &cluster), Some(2.0), "of two hosts");
        let separate = page_of_used(|setup| setup)?.series();
        ensure!(page.series() < separate, "{} series, and {separate} with each by itself", page.series());
        Ok(())
    })
}

#[test]
fn the_access_log_says_who_decided_what_and_why() -> Result<()> {
    each_version(|version| {
        let world = World::start(version, |setup| setup)?;
        let headers = [("traceparent", TRACE), ("x-request-id", "mine"), ("tracestate", "a=b")];
        let answer = world.get("a.example.com", "/old/x", &headers)?;
        assert_eq!(answer.status, 200);
        let seen = &world.upstream.requests()[0];
        // The trace goes on as the client began it.
        for (name, value) in headers {
            assert_eq!(seen.header(name).as_deref(), Some(value), "{name}");
        }
        let line = world.portolan.access_log_line(|line| line["request_id"] == "mine")?;
        assert_eq!(line["traceparent"], TRACE);
        let decision = line["decision"].as_str().unwrap_or_default();
        ensure!(decision.starts_with("default VirtualService default/a "), "{line}");
        assert_eq!(line["reason"], "via_upstream");
        assert_eq!(line["upstream_cluster"], "outbound|80||a.example.com");
        assert_eq!((&line["authority"], &line["path"]), (&"a.example.com".into(), &"/new/x".into()));
        assert_eq!((&line["response_code"], &line["upstream_attempts"]), (&200.into(), &1.into()));
        names::check_fields("HTTP", &line)?;

        // A refusal has its reason in place of a rule.
        for (request, status, reason) in world::refused() {
            let answer = raw::request(world.portolan.http()?, &request)?;
            assert_eq!(answer.status, status, "{reason}");
            let line = world.portolan.access_log_line(|line| {
                line["reason"].as_str().is_some_and(|text| text.starts_with(&format!("{reason}{{")))
            })?;
            assert_eq!(line["response_code"], status, "{line}");
            assert!(line["decision"].is_null() && line["upstream"].is_null(), "{line}");
        }

        // A tunnel, and the request in it.
        let proxy = world.portolan.envoy.listener_addr("explicit_proxy")?;
        let tunnel = raw::tunnel(proxy, b"a.example.com:80")?;
        let tunnel = tunnel.map_err(|answer| anyhow::anyhow!("no tunnel: {answer:?}"))?;
        let request =
            Head::new("GET", "/tunnelled").header("host", "a.example.com").header("traceparent", TRACE);
        raw::exchange_on(tunnel, &request.header("connection", "close").finish())?;
        let inside = world.portolan.access_log_line(|line| line["path"] == "/tunnelled")?;
        assert_eq!(inside["traceparent"], TRACE);
        let outside = world.portolan.access_log_line(|line| line["method"] == "CONNECT")?;
        assert_eq!(outside["authority"], "a.example.com:80");
        names::check_fields("CONNECT", &outside)?;

        // A connection that is closed for its server name.
        let closed = tls_client::request(world.portolan.tls()?, "nobody.example.com", b"x")?;
        ensure!(closed.is_none(), "{closed:?}");
        let line = world.portolan.access_log_line(|line| line["decision"] == "tls_refused")?;
        assert_eq!(
            (&line["reason"], &line["server_name"]),
            (&"server_name_not_in_registry".into(), &"nobody.example.com".into())
        );
        names::check_fields("TCP", &line)
    })
}

/// What the documentation, the dashboard and the alerts speak of is there, on the page of some Envoy of each
/// version.
#[test]
fn what_is_made_for_the_page_has_its_names() -> Result<()> {
    each_version(|version| {
        let world = World::start(version, |setup| setup.option("--outbound-policy", "report"))?;
        world.send_all().ok();
        world.get("dead.example.com", "/", &[])?;
        world.get("unknown.test", "/", &[])?;
        let _ = tls_client::request(world.portolan.tls()?, "nobody.example.com", b"x");
        let page = world.page()?;
        let refusing = World::start(version, |setup| setup)?;
        let _ = tls_client::request(refusing.portolan.tls()?, "nobody.example.com", b"x");
        let guarded =
            World::start(version, |setup| setup.guarded().option("--outbound-policy", "allow-any"))?;
        let pages = [page, refusing.page()?, guarded.page()?];
        names::check_dashboard("deploy/grafana/portolan.json", &pages)?;
        names::check_rules("deploy/prometheus/portolan.rules.yml", &pages)?;
        names::check_document("docs/observability.md", &pages)
    })
}
