//! Without a decision of the filter no request reaches a cluster.

use std::time::Duration;

use anyhow::{Context, Result};
use portolan_e2e::config_gen::config_gen;
use portolan_e2e::examples::{GITHUB_TEXT, StandIns};
use portolan_e2e::{Portolan, Setup, each_version, places, raw};
use serde_json::Value;

const ECDS: &str = "envoy.d/ecds/portolan.json";

fn on_every_version(test: impl Fn(&StandIns, Setup) -> Result<()>) -> Result<()> {
    each_version(|version| {
        let standins = StandIns::start()?;
        let setup = standins.setup(version)?;
        test(&standins, setup)
    })
}

/// Requests that would like to get through: to hosts of the registry and with all that the
/// filter itself writes.
fn assert_nothing_gets_through(standins: &StandIns, portolan: &Portolan) -> Result<()> {
    let before = standins.github.connections() + standins.weather.connections();
    for host in ["webserver", "raw.githubusercontent.com", "api.weather.com"] {
        let forged = [
            ("x-portolan-cluster", "outbound|443||raw.githubusercontent.com"),
            ("x-portolan-route", "default x"),
            ("x-portolan-listener-port", "80"),
            ("wasm.portolan.route", "default x"),
        ];
        for headers in [&[][..], &forged[..]] {
            let response = raw::get(portolan.http()?, host, "/", headers)?;
            assert!((500..504).contains(&response.status), "{host}: {} {}", response.status, response.text());
        }
    }
    assert_eq!(standins.github.connections() + standins.weather.connections(), before);
    for (name, value) in portolan.envoy.stats()? {
        let upstream = name.starts_with("cluster.outbound") && name.ends_with("upstream_cx_total");
        assert!(!upstream || value == 0, "{name}: {value}");
    }
    Ok(())
}

/// Envoy itself is live, but nobody decides.
fn assert_not_ready(portolan: &Portolan) -> Result<()> {
    let live = portolan.envoy.admin_get("/ready")?;
    assert_eq!((live.status, live.text().trim()), (200, "LIVE"));
    let ready = config_gen(["ready", &portolan.http()?.to_string()])?;
    assert_eq!(ready.code(), Some(1), "{ready}");
    assert!(ready.stderr.contains("isn't ready: it answers 50"), "{ready}");
    Ok(())
}

/// Changes the plugin config text inside the discovery file.
fn with_config(ecds: &str, change: impl FnOnce(&str) -> String) -> Result<String> {
    let mut response: Value = serde_json::from_str(ecds)?;
    let value = response
        .pointer_mut("/resources/0/typed_config/config/configuration/value")
        .context("no plugin config in the discovery file")?;
    *value = Value::String(change(value.as_str().unwrap_or_default()));
    Ok(serde_json::to_string(&response)?)
}

fn with_plugin(ecds: &str, pointer: &str, value: Value) -> Result<String> {
    let mut response: Value = serde_json::from_str(ecds)?;
    let config = response.pointer_mut("/resources/0/typed_config/config").context("no plugin")?;
    *config.pointer_mut(pointer).context("no such field")? = value;
    Ok(serde_json::to_string(&response)?)
}

#[test]
fn without_the_filter() -> Result<()> {
    on_every_version(|standins, setup| {
        setup.generate_changed("envoy.yaml", |yaml| {
            // From the filter's entry to the router's.
            let filter = yaml.find("          - name: portolan\n").context("no filter")?;
            let router =
                yaml[filter..].find("          - name: envoy.filters.http.router").context("no router")?;
            let mut changed = yaml.to_owned();
            while let Some(start) = changed.find("          - name: portolan\n") {
                changed.replace_range(start..start + router, "");
            }
            Ok(changed)
        })?;
        let portolan = setup.start_as_generated()?;
        assert_nothing_gets_through(standins, &portolan)?;
        assert_not_ready(&portolan)?;
        let line = portolan.access_log_line(|line| line["response_code"] == 503)?;
        assert_eq!(line["reason"], "direct_response");
        Ok(())
    })
}

#[test]
fn with_a_filter_that_traps() -> Result<()> {
    on_every_version(|standins, setup| {
        let scratch = portolan_e2e::Scratch::new()?;
        let module = scratch.write("trap.wasm", wat::parse_str(TRAPS_ON_REQUESTS)?)?;
        let filename = Value::String(module.to_string_lossy().into_owned());
        setup.generate_changed(ECDS, |ecds| with_plugin(ecds, "/vm_config/code/local/filename", filename))?;
        let portolan = setup.start_as_generated()?;
        assert_nothing_gets_through(standins, &portolan)?;
        assert_not_ready(&portolan)
    })
}

#[test]
fn without_the_module() -> Result<()> {
    on_every_version(|standins, setup| {
        let filename = Value::String("missing.wasm".to_owned());
        setup.generate_changed(ECDS, |ecds| with_plugin(ecds, "/vm_config/code/local/filename", filename))?;
        let portolan = setup.start_as_generated()?;
        assert_nothing_gets_through(standins, &portolan)?;
        assert_not_ready(&portolan)
    })
}

/// A filter of the same interface whose request callback ends in a trap.
const TRAPS_ON_REQUESTS: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))"#;

#[test]
fn with_a_first_config_that_is_refused() -> Result<()> {
    on_every_version(|standins, setup| {
        for (bad, complaint) in [
            ("", "the plugin config is empty"),
            ("{", "EOF while parsing"),
            (r#"{"version":2}"#, "version: version 2 is unknown"),
            (r#"{"version":1,"virtualHost":[]}"#, "unknown field `virtualHost`"),
        ] {
            setup.generate_changed(ECDS, |ecds| with_config(ecds, |_| bad.to_owned()))?;
            let portolan = setup.try_clone()?.start_as_generated()?;
            assert_nothing_gets_through(standins, &portolan)?;
            assert_not_ready(&portolan)?;
            let log = portolan.envoy.log();
            assert!(
                log.contains("portolan: plugin config refused: ") && log.contains(complaint),
                "{bad}: {log}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_later_config_that_is_refused_leaves_the_old_one() -> Result<()> {
    on_every_version(|_, setup| {
        let portolan = setup.start()?;
        let good = std::fs::read_to_string(portolan.output().join(ECDS))?;
        let serves = || -> Result<()> {
            assert_eq!(raw::get_plain(portolan.http()?, "webserver", "/")?.text(), GITHUB_TEXT);
            Ok(())
        };
        let rejected = "extension_config_discovery.http_filter.portolan.update_rejected";
        let rejected = portolan
            .envoy
            .stats()?
            .keys()
            .find(|name| name.contains("portolan") && name.ends_with("update_rejected"))
            .cloned()
            .unwrap_or_else(|| rejected.to_owned());
        serves()?;
        let bad: [&dyn Fn(&str) -> String; 5] = [
            &|_| String::new(),
            &|_| "{".to_owned(),
            &|config| config.replace("\"version\":1", "\"version\":2"),
            &|config| config.replace("\"virtualHosts\"", "\"virtualHosst\""),
            &|config| config.replace("\"autoSni\":true", "\"autoSni\":true,\"rewriteX\":{}"),
        ];
        for (index, change) in bad.into_iter().enumerate() {
            let before = portolan.envoy.stat(&rejected)?;
            portolan.replace(ECDS, with_config(&good, change)?)?;
            portolan.envoy.wait_stat(&rejected, |count| count > before, Duration::from_secs(5))?;
            serves().with_context(|| format!("after bad config {index}"))?;
        }
        assert!(
            portolan.envoy.log().contains("unknown field `rewriteX`"),
            "the fault is named: {}",
            portolan.envoy.log()
        );
        // A good one is taken at once.
        portolan.replace(ECDS, with_config(&good, |config| config.replace("\"webserver\"", "\"other\""))?)?;
        let switched = portolan_e2e::process::poll(Duration::from_secs(5), || {
            let response = raw::get_plain(portolan.http().ok()?, "other", "/").ok()?;
            (response.text() == GITHUB_TEXT).then_some(())
        });
        assert!(switched.is_some(), "the good config is not in force");
        assert_eq!(raw::get_plain(portolan.http()?, "webserver", "/")?.status, 502);
        Ok(())
    })
}

/// Every host call may be refused. The filter answers 503 then, and its VM lives.
#[test]
fn with_host_calls_that_fail() -> Result<()> {
    const ALLOWED: &str =
        "/resources/0/typed_config/config/capability_restriction_config/allowed_capabilities";
    let version = places::envoy_versions()?.pop().unwrap_or_default();
    let standins = StandIns::start()?;
    let setup = standins.setup(&version)?.flag("--restrict-capabilities");
    let without = |missing: &str| {
        setup.generate_changed(ECDS, |ecds| {
            let mut response: Value = serde_json::from_str(ecds)?;
            let allowed = response.pointer_mut(ALLOWED).and_then(Value::as_object_mut).context("no list")?;
            allowed.remove(missing).with_context(|| format!("{missing} isn't in the list"))?;
            Ok(serde_json::to_string(&response)?)
        })?;
        setup.try_clone()?.start_as_generated()
    };
    for missing in [
        "proxy_get_buffer_bytes",
        "proxy_get_header_map_pairs",
        "proxy_replace_header_map_value",
        "proxy_set_property",
        "proxy_define_metric",
        "proxy_on_configure",
        "proxy_on_request_headers",
    ] {
        println!("without {missing}");
        let portolan = without(missing)?;
        assert_nothing_gets_through(&standins, &portolan).with_context(|| format!("without {missing}"))?;
        assert!(!portolan.envoy.log().contains("panicked"), "without {missing}: {}", portolan.envoy.log());
    }
    // A local reply that can't be sent: held or refused, but not let through.
    let portolan = without("proxy_send_local_response")?;
    let refused = raw::exchange_to_end(
        portolan.http()?,
        b"GET / HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n",
        Duration::from_secs(2),
    );
    assert!(refused.map_or(true, |bytes| !bytes.starts_with(b"HTTP/1.1 200")));
    Ok(())
}

/// The route that Envoy has chosen before the filter runs is the last one, since nothing has
/// written the filter state yet. That a request is served proves that it was chosen anew.
#[test]
fn the_route_is_chosen_anew_after_the_decision() -> Result<()> {
    on_every_version(|_, setup| {
        let portolan = setup.start()?;
        for _ in 0..20 {
            assert_eq!(raw::get_plain(portolan.http()?, "webserver", "/")?.status, 200);
        }
        let stats = portolan.envoy.stats()?;
        let clears: u64 = stats
            .iter()
            .filter(|(name, _)| name.ends_with("no_route") || name.ends_with("rq_direct_response"))
            .map(|(_, value)| value)
            .sum();
        assert_eq!(clears, 0, "a request met the route for undecided ones");
        Ok(())
    })
}
