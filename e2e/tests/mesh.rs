//! The filter in an Envoy that is set up as istiod sets up a sidecar (GAP-24, WP rows), with the plugin
//! config that `config-gen` writes for a mesh, passed through a protobuf Struct.

#[path = "mesh/sidecar.rs"]
mod sidecar;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::config_gen::config_gen;
use portolan_e2e::mesh::through_a_struct;
use portolan_e2e::raw::Response;
use portolan_e2e::upstream::{Handler, echo};
use portolan_e2e::{Reply, Scratch, SeenRequest, Upstream, places, raw};
use serde_json::Value;

use sidecar::{CatchAll, Service, Sidecar};

/// What the cluster has, as istiod knows it.
const SERVICES: &[Service] = &[
    Service {
        host: "reviews.default.svc.cluster.local",
        domains: &[
            "reviews.default.svc.cluster.local.",
            "reviews",
            "reviews.default.svc",
            "reviews.default",
            "10.96.0.10",
        ],
        ports: &[9080],
    },
    Service {
        host: "ratings.default.svc.cluster.local",
        domains: &["ratings", "ratings.default.svc", "ratings.default", "10.96.0.11"],
        ports: &[9080],
    },
    Service { host: "files.example.com", domains: &["files.example.com."], ports: &[80] },
];

const RULES: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: files}
spec:
  hosts: [files.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: webserver}
spec:
  hosts: [webserver]
  http:
  - match: [{uri: {prefix: /old}}]
    rewrite: {uri: /new, authority: files.example.com}
    route: [{destination: {host: files.example.com, port: {number: 80}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /twice}}]
    rewrite: {uri: /twice/once}
    route: [{destination: {host: reviews}}]
  - match: [{uri: {exact: /moved}}]
    redirect: {uri: /here, redirectCode: 308, port: 8443, scheme: https}
  - match: [{uri: {exact: /fixed}}]
    directResponse: {status: 418, body: {string: short and stout}}
  - match: [{uri: {exact: /broken}}]
    fault: {abort: {httpStatus: 555, percentage: {value: 100}}}
    route: [{destination: {host: reviews}}]
  - match: [{uri: {exact: /headers}}]
    timeout: 2s
    retries: {attempts: 7, retryOn: 5xx, perTryTimeout: 1s}
    headers:
      request: {set: {x-set: one}, add: {x-added: two}, remove: [x-removed]}
      response: {set: {x-answer: three}}
    route: [{destination: {host: reviews}}]
  - match: [{uri: {exact: /cors}}]
    corsPolicy: {allowOrigins: [{exact: 'https://shop.example'}], allowMethods: [GET], maxAge: 10m}
    route: [{destination: {host: reviews}}]
  - match: [{uri: {prefix: /plain}}]
    route: [{destination: {host: reviews}}]
";

/// The plugin config in the resource of that kind, as a sidecar gets it.
fn plugin_config(rules: &str, output: &str, pointer: &str) -> Result<String> {
    let scratch = Scratch::new()?;
    let rules = scratch.write("rules.yaml", rules)?;
    let finished = config_gen(["generate", "-f", &rules.to_string_lossy(), "--emit", output])?;
    ensure!(finished.success(), "{finished}");
    let resource: Value = serde_saphyr::from_str(&finished.stdout)?;
    through_a_struct(resource.pointer(pointer).with_context(|| format!("no {pointer}"))?)
}

fn each_version(
    rules: &str,
    catch_all: CatchAll,
    handler: &Handler,
    test: impl Fn(&Sidecar, &Upstream) -> Result<()>,
) -> Result<()> {
    let config = plugin_config(rules, "wasmplugin", "/spec/pluginConfig")?;
    for version in places::envoy_versions()? {
        println!("Envoy {version}");
        let application = {
            let handler = handler.clone();
            Upstream::builder().name("application").handler(move |request| handler(request)).start()?
        };
        let sidecar = Sidecar::start(&version, SERVICES, catch_all, &config, &application)?;
        test(&sidecar, &application)?;
        assert_eq!(sidecar.discovery(".config_fail")? + sidecar.discovery(".update_rejected")?, 0);
    }
    Ok(())
}

fn echoes() -> Handler {
    Arc::new(echo())
}

fn last(application: &Upstream) -> Result<SeenRequest> {
    application.requests().pop().context("nothing arrived")
}

/// Nothing of what the filter tells its own Envoy configuration gets out.
fn assert_no_internal_headers(seen: &SeenRequest, response: &Response) {
    for (name, _) in &seen.headers {
        assert!(!name.starts_with("x-portolan"), "{name} at the upstream");
        let allowed = ["x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms", "x-envoy-peer-metadata"];
        assert!(!name.starts_with("x-envoy-") || allowed.contains(&&**name), "{name} at the upstream");
    }
    for (name, _) in &response.headers {
        assert!(!name.starts_with(b"x-portolan"), "{} at the client", String::from_utf8_lossy(name));
    }
}

#[test]
fn the_rewritten_request_meets_the_sidecars_own_routes() -> Result<()> {
    each_version(RULES, CatchAll::BlockAll, &echoes(), |sidecar, application| {
        let http = sidecar.listener(80)?;
        let response = raw::get_plain(http, "webserver", "/old/a?x=1")?;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("x-cluster").as_deref(), Some("outbound|80||files.example.com"));
        let seen = last(application)?;
        assert_eq!((seen.host.as_str(), seen.path.as_str()), ("files.example.com", "/new/a?x=1"));
        assert_no_internal_headers(&seen, &response);
        // A host of ours without a matching route (VH-11), and one that nobody knows (OTP-03).
        assert_eq!(raw::get_plain(http, "webserver", "/other")?.status, 404);
        let unknown = raw::get_plain(http, "example.com", "/old")?;
        assert_eq!((unknown.status, unknown.text().as_str()), (502, ""));
        assert_eq!(application.requests().len(), 1);
        let counter = |name: &str| sidecar.envoy.stat(&format!("wasmcustom.portolan.{name}"));
        let counted =
            ["rewritten_total", "requests_total.allowed", "requests_total.refused.no_route"].map(counter);
        assert_eq!(counted.into_iter().collect::<Result<Vec<u64>>>()?, [1, 1, 1]);
        Ok(())
    })
}

#[test]
fn every_name_of_a_service_meets_its_rules() -> Result<()> {
    each_version(RULES, CatchAll::BlockAll, &echoes(), |sidecar, application| {
        let http = sidecar.listener(9080)?;
        let names = ["reviews", "reviews.default", "Reviews.default.svc:9080", "10.96.0.10:9080"];
        for host in names.into_iter().chain([SERVICES[0].host]) {
            let response = raw::get_plain(http, host, "/twice/x")?;
            assert_eq!(
                response.header("x-cluster").as_deref(),
                Some("outbound|9080||reviews.default.svc.cluster.local")
            );
            let seen = last(application)?;
            assert_eq!((seen.host.as_str(), seen.path.as_str()), (host, "/twice/once/x"));
        }
        Ok(())
    })
}

#[test]
fn requests_are_answered_and_changed() -> Result<()> {
    each_version(RULES, CatchAll::BlockAll, &echoes(), |sidecar, application| {
        let http = sidecar.listener(9080)?;
        let get = |path: &str, headers: &[(&str, &str)]| raw::get(http, "reviews", path, headers);
        let moved = get("/moved", &[])?;
        assert_eq!(moved.status, 308);
        assert_eq!(moved.header("location").as_deref(), Some("https://reviews:8443/here"));
        let fixed = get("/fixed", &[])?;
        assert_eq!((fixed.status, fixed.text().as_str()), (418, "short and stout"));
        assert_eq!(get("/broken", &[])?.status, 555);
        assert_eq!(application.requests().len(), 0);

        let changed =
            get("/headers", &[("x-removed", "a"), ("x-added", "b"), ("x-envoy-peer-metadata", "kept")])?;
        assert_eq!(changed.header("x-answer").as_deref(), Some("three"));
        let seen = last(application)?;
        assert_eq!(seen.header("x-set").as_deref(), Some("one"));
        assert_eq!(seen.header("x-removed"), None);
        let added: Vec<_> = seen.headers.iter().filter(|(name, _)| name == "x-added").collect();
        assert_eq!(added.len(), 2, "{added:?}");
        // Of the sidecar's other filters, and the rule's timeout and retries are not told to its router.
        assert_eq!(seen.header("x-envoy-peer-metadata").as_deref(), Some("kept"));
        assert_eq!(seen.header("x-envoy-expected-rq-timeout-ms"), None);
        assert_no_internal_headers(&seen, &changed);

        let origin = ("origin", "https://shop.example");
        let cors = get("/cors", &[origin])?;
        assert_eq!(cors.header("access-control-allow-origin").as_deref(), Some(origin.1));
        let preflight = raw::Head::new("OPTIONS", "/cors")
            .header("Host", "reviews")
            .header(origin.0, origin.1)
            .header("access-control-request-method", "GET")
            .header("Connection", "close")
            .body("");
        let before = application.requests().len();
        let preflight = raw::request(http, &preflight)?;
        assert_eq!(preflight.status, 200);
        assert_eq!(preflight.header("access-control-max-age").as_deref(), Some("600"));
        assert_eq!(application.requests().len(), before);
        Ok(())
    })
}

#[test]
fn nothing_is_applied_twice() -> Result<()> {
    let tries = Arc::new(AtomicUsize::new(0));
    let flaky: Handler = {
        let tries = tries.clone();
        Arc::new(move |request: &SeenRequest| match tries.fetch_add(1, Ordering::SeqCst) % 3 {
            2 => echo()(request),
            _ => Reply::new(503, ""),
        })
    };
    each_version(RULES, CatchAll::BlockAll, &flaky, |sidecar, application| {
        tries.store(0, Ordering::SeqCst);
        // By the outbound listener, two retries of the sidecar's own route, and the inbound listener.
        let response = raw::get_plain(sidecar.listener(9080)?, "reviews", "/twice/x")?;
        assert_eq!(response.status, 200, "{}", response.text());
        let seen: Vec<String> = application.requests().into_iter().map(|request| request.path).collect();
        assert_eq!(seen, ["/twice/once/x"; 3]);
        assert_eq!(sidecar.envoy.stat("wasmcustom.portolan.rewritten_total")?, 1);
        assert!(sidecar.envoy.stat("http.inbound_0.0.0.0_9080.downstream_rq_total")? >= 3);
        Ok(())
    })
}

#[test]
fn what_no_rule_names_is_left_alone() -> Result<()> {
    for catch_all in [CatchAll::BlockAll, CatchAll::AllowAny] {
        each_version(RULES, catch_all, &echoes(), |sidecar, application| {
            let headers = [
                ("x-envoy-peer-metadata", "kept"),
                ("x-envoy-fault-delay-request", "1"),
                ("x-portolan-cluster", "forged"),
            ];
            for path in ["/twice/x", "/old", "/a%2Fb;c?d=%20"] {
                let response = raw::get(sidecar.listener(9080)?, "ratings", path, &headers)?;
                assert_eq!(response.status, 200);
                let seen = last(application)?;
                assert_eq!((seen.host.as_str(), seen.path.as_str()), ("ratings", path));
                assert_eq!(seen.header("x-envoy-peer-metadata").as_deref(), Some("kept"));
                assert_eq!(seen.header("x-portolan-cluster"), None);
            }
            // A service's host on a port that it doesn't have is the mesh's to judge (LI-08).
            for (host, path) in [("unknown.example.com", "/x"), ("ratings", "/x")] {
                let response = raw::get_plain(sidecar.listener(80)?, host, path)?;
                let expected = if catch_all == CatchAll::AllowAny { 200 } else { 502 };
                assert_eq!(response.status, expected, "{host}");
            }
            assert_eq!(sidecar.envoy.stat("wasmcustom.portolan.rewritten_total")?, 0);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn both_resources_hold_the_same_and_a_new_one_is_taken_at_once() -> Result<()> {
    let plugin = plugin_config(RULES, "wasmplugin", "/spec/pluginConfig")?;
    assert_eq!(plugin_config(RULES, "trafficextension", "/spec/wasm/pluginConfig")?, plugin);
    let other = RULES.replace("uri: /new,", "uri: /newer,");
    let other = plugin_config(&other, "trafficextension", "/spec/wasm/pluginConfig")?;
    each_version(RULES, CatchAll::BlockAll, &echoes(), |sidecar, application| {
        let http = sidecar.listener(80)?;
        sidecar.push(&other)?;
        let newer = portolan_e2e::process::poll(Duration::from_secs(10), || {
            raw::get_plain(http, "webserver", "/old").ok()?;
            (last(application).ok()?.path == "/newer").then_some(())
        });
        newer.context("the new config isn't in force")
    })
}
