//! What a matched route does (spec sections 4.3 to 4.8), in a real Envoy.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::raw::{self, Head};
use portolan_e2e::upstream::{Reply, SeenRequest, echo};
use portolan_e2e::{DnsServer, Portolan, Scratch, Setup, Upstream, each_version};

/// Two plaintext upstreams that echo, `a.example.com` and `b.example.com`.
struct World {
    a: Upstream,
    b: Upstream,
    dns: DnsServer,
}

const HOSTS: [&str; 2] = ["a.example.com", "b.example.com"];

impl World {
    fn new() -> Result<Self> {
        let upstream = |name: &str| Upstream::builder().name(name).handler(answer()).start();
        Ok(Self {
            a: upstream("a")?,
            b: upstream("b")?,
            dns: DnsServer::start(&HOSTS.map(|host| (host, Ipv4Addr::LOCALHOST)))?,
        })
    }

    /// A set-up where the hosts `v0`, `v1`, ... have one of these `http` lists each.
    fn setup(&self, version: &str, http: &[&str]) -> Result<Setup> {
        let mut setup = Setup::with_listeners(version)?
            .option("--dns-resolver", self.dns.addr().to_string())
            .option("--upstream-port", format!("a.example.com:80={}", self.a.addr().port()))
            .option("--upstream-port", format!("b.example.com:80={}", self.b.addr().port()));
        for host in HOSTS {
            setup = setup.yaml(&format!(
                "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host}}}
spec: {{hosts: [{host}], location: MESH_EXTERNAL, resolution: DNS, ports: [{{number: 80, name: http, protocol: HTTP}}]}}
"
            ))?;
        }
        for (index, http) in http.iter().enumerate() {
            setup = setup.yaml(&format!(
                "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: v{index}}}
spec: {{hosts: [v{index}], http: {http}}}
"
            ))?;
        }
        Ok(setup)
    }

    fn start(&self, version: &str, http: &[&str]) -> Result<Portolan> {
        self.setup(version, http)?.start()
    }

    /// The only request that `a` has seen since it was asked last.
    fn seen_by_a(&self) -> Result<SeenRequest> {
        let mut seen = self.a.requests();
        self.a.clear();
        ensure!(seen.len() == 1, "{} requests", seen.len());
        seen.pop().context("none")
    }
}

/// Echoes; below `/slow` after 3 s, and below `/fail` with 503.
fn answer() -> impl Fn(&SeenRequest) -> Reply + Send + Sync + 'static {
    let echo = echo();
    move |request| match request.path.as_str() {
        path if path.starts_with("/slow") => echo(request).after(Duration::from_secs(3)),
        path if path.starts_with("/fail") => Reply::new(503, "fail"),
        _ => echo(request),
    }
}

const TO_A: &str = "route: [{destination: {host: a.example.com}}]";

/// Requests in one connection: the bodies of the answers, one after the other.
fn many(portolan: &Portolan, host: &str, count: usize) -> Result<String> {
    let mut requests = Vec::new();
    for index in 0..count {
        let mut head = Head::new("GET", "/").header("host", host);
        if index + 1 == count {
            head = head.header("connection", "close");
        }
        requests.extend(head.finish());
    }
    let bytes = raw::exchange_to_end(portolan.http()?, &requests, raw::LIMIT)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn requests_are_divided_by_weight() -> Result<()> {
    each_version(|version| {
        let world = World::new()?;
        let weighted = |a: u32, b: u32| {
            format!(
                "[{{route: [{{destination: {{host: a.example.com}}, weight: {a}}}, {{destination: {{host: b.example.com}}, weight: {b}}}]}}]"
            )
        };
        let portolan = world.start(version, &[&weighted(1, 3), &weighted(0, 5)])?;
        let draw = |host: &str, count: usize| -> Result<(f64, f64)> {
            world.a.clear();
            world.b.clear();
            let answers = many(&portolan, host, count)?;
            assert_eq!(answers.matches("200 OK").count(), count);
            Ok((world.a.requests().len() as f64, world.b.requests().len() as f64))
        };
        let (a, b) = draw("v0", 1000)?;
        let chi_square = (a - 250.0).powi(2) / 250.0 + (b - 750.0).powi(2) / 750.0;
        // One degree of freedom, 0.01 %.
        assert!(chi_square < 15.14, "VS-ROUTE-02: {a} and {b}");
        assert_eq!(draw("v1", 50)?, (0.0, 50.0), "TV-65");
        Ok(())
    })
}

#[test]
fn parts_of_a_path_are_replaced_by_pattern() -> Result<()> {
    each_version(|version| {
        let world = World::new()?;
        let rewrite = format!(
            "[{{rewrite: {{uriRegexRewrite: {{match: '/user/([0-9]+)', rewrite: '/u/\\1'}}}}, {TO_A}}}]"
        );
        let portolan = world.start(version, &[&rewrite])?;
        raw::get_plain(portolan.http()?, "v0", "/api/user/42/x?q=/user/1")?;
        assert_eq!(world.seen_by_a()?.path, "/api/u/42/x?q=/user/1", "TV-59");
        Ok(())
    })
}

#[test]
fn redirects_and_direct_responses_are_answered_here() -> Result<()> {
    each_version(|version| {
        let world = World::new()?;
        let portolan = world.start(
            version,
            &[
                "[{match: [{uri: {prefix: /foo}}], redirect: {prefixRewrite: /bar, redirectCode: 308}}, {match: [{uri: {exact: /port}}], redirect: {derivePort: FROM_REQUEST_PORT, scheme: https}}, {redirect: {authority: n.example.com}}]",
                "[{match: [{uri: {prefix: /bytes}}], directResponse: {status: 200, body: {bytes: AP8=}}}, {directResponse: {status: 503, body: {string: down}}}]",
            ],
        )?;
        let http = portolan.http()?;
        for (id, path, status, location) in [
            ("TV-73", "/p?q", 301, "http://n.example.com/p?q"),
            ("TV-77", "/foo/x?q", 308, "http://v0/bar/x?q"),
            ("VS-RD-09", "/port", 301, "https://v0:80/port"),
        ] {
            let response = raw::get_plain(http, "v0", path)?;
            assert_eq!(
                (response.status, response.header("location").as_deref()),
                (status, Some(location)),
                "{id}"
            );
            assert!(response.body.is_empty());
        }
        let down = raw::get_plain(http, "v1", "/")?;
        assert_eq!((down.status, down.text().as_str()), (503, "down"), "TV-79");
        assert_eq!(down.header("content-type").as_deref(), Some("text/plain"), "VS-DR-04");
        assert_eq!(raw::get_plain(http, "v1", "/bytes")?.body, b"\0\xff");
        let head = raw::request(http, &Head::new("HEAD", "/").header("host", "v1").finish())?;
        assert_eq!((head.status, head.body.len()), (503, 0));
        assert_eq!(world.a.requests().len(), 0);
        assert_eq!((portolan.counter("redirected")?, portolan.counter("direct_response")?), (3, 3));
        assert_eq!(portolan.counter("refused.no_route")?, 0, "they are no refusals");
        let line = portolan.access_log_line(|line| line["authority"] == "v1")?;
        assert_eq!(line["reason"], "direct_response{VirtualService_default/v1_http[1]}");
        Ok(())
    })
}

#[test]
fn headers_are_changed_both_ways() -> Result<()> {
    each_version(|version| {
        let world = World::new()?;
        let portolan = world
            .setup(
                version,
                &[
                    "[{headers: {request: {set: {x: r}, remove: [gone]}, response: {set: {x-r: '100%%'}, remove: [content-type]}}, route: [{destination: {host: a.example.com}, headers: {request: {set: {x: d}, add: {x: '%REQ(y)%/%REQ(:path)%'}}}}]}]",
                    "[{headers: {request: {set: {x: r}}}, route: [{destination: {host: a.example.com}, weight: 1, headers: {request: {set: {x: d, host: up.example.com}}}}, {destination: {host: b.example.com}, weight: 0}]}]",
                    "[{match: [{uri: {exact: /r}}], redirect: {uri: /x}, headers: {response: {add: {x-r: a}}}}, {directResponse: {status: 418, body: {string: tea}}, headers: {response: {set: {content-type: text/tea}}}}]",
                    "[{headers: {response: {set: {x-r: a}}}, route: [{destination: {host: nowhere.example.com}}]}]",
                ],
            )?
            .option("--accept", "unknown-destination")
            .start()?;
        let http = portolan.http()?;
        let response = raw::get(http, "v0", "/p", &[("x", "0"), ("gone", "1"), ("y", "why")])?;
        assert_eq!(response.header("x-r").as_deref(), Some("100%"), "VS-HDR-09");
        assert_eq!(response.header("content-type"), None, "VS-HDR-12");
        let seen = world.seen_by_a()?;
        let lines = |seen: &SeenRequest| -> Vec<String> {
            let lines = seen.headers.iter().filter(|(name, _)| name == "x");
            lines.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
        };
        assert_eq!(lines(&seen), ["d", "why//p"], "TV-68, VS-HDR-13");
        assert_eq!(seen.header("gone"), None);
        raw::get_plain(http, "v1", "/")?;
        let seen = world.seen_by_a()?;
        assert_eq!(lines(&seen), ["r"], "TV-69");
        assert_eq!(seen.host, "up.example.com", "VS-HDR-06, VS-RW-14");
        let redirect = raw::get_plain(http, "v2", "/r")?;
        assert_eq!((redirect.status, redirect.header("x-r").as_deref()), (301, Some("a")), "VS-HDR-12");
        let tea = raw::get_plain(http, "v2", "/")?;
        assert_eq!((tea.status, tea.header("content-type").as_deref()), (418, Some("text/tea")), "VS-DR-04");
        let lost = raw::get_plain(http, "v3", "/")?;
        assert_eq!(
            (lost.status, lost.header("x-r").as_deref()),
            (503, Some("a")),
            "VS-HDR-12: Envoy's own answers"
        );
        // A stream without operations beside those with them.
        assert_eq!(raw::get_plain(http, "a.example.com", "/")?.header("x-r"), None);
        Ok(())
    })
}

#[test]
fn a_request_has_its_time() -> Result<()> {
    each_version(|version| {
        let world = World::new()?;
        let portolan =
            world.start(version, &[&format!("[{{timeout: 600ms, {TO_A}}}]"), &format!("[{{{TO_A}}}]")])?;
        let http = portolan.http()?;
        let timed = |host: &str, headers: &[(&str, &str)]| -> Result<(raw::Response, u128)> {
            let start = Instant::now();
            let response = raw::get(http, host, "/slow", headers)?;
            Ok((response, start.elapsed().as_millis()))
        };
        let (response, took) = timed("v0", &[])?;
        assert_eq!(response.status, 504, "VS-TO-02");
        assert!((550..2500).contains(&took), "{took}");
        assert_eq!(timed("v1", &[])?.0.status, 200, "VS-TO-01: no timeout");
        const GRPC: (&str, &str) = ("content-type", "application/grpc");
        for (id, host, headers, expected) in [
            ("TV-121", "v1", &[GRPC, ("grpc-timeout", "400m")][..], 400),
            ("TV-122", "v0", &[GRPC, ("grpc-timeout", "1200m")], 600),
            ("TV-122", "v0", &[GRPC, ("grpc-timeout", "200m")], 200),
            ("TV-122", "v0", &[GRPC], 600),
        ] {
            let (response, took) = timed(host, headers)?;
            assert_eq!(response.header("grpc-status").as_deref(), Some("14"), "{id}: {response:?}");
            assert!((expected - 50..expected + 500).contains(&took), "{id}: {took}");
        }
        // A client's own limit is no way around it (VS-TO-04).
        let (response, _) = timed("v0", &[("x-envoy-upstream-rq-timeout-ms", "60000")])?;
        assert_eq!(response.status, 504);
        Ok(())
    })
}

#[test]
fn failures_are_tried_again() -> Result<()> {
    each_version(|version| {
        let world = World::new()?;
        let retries = |retries: &str| format!("[{{retries: {{{retries}}}, {TO_A}}}]");
        let portolan = world.start(
            version,
            &[
                &format!("[{{{TO_A}}}]"),
                &retries("attempts: 0"),
                &retries("attempts: 3, retryOn: '503,reset'"),
                &retries("attempts: 1, retryOn: 5xx, perTryTimeout: 300ms"),
                &retries("attempts: 2, retryOn: 5xx, backoff: 10ms, retryRemoteLocalities: true, retryIgnorePreviousHosts: false"),
                &retries("attempts: 2"),
            ],
        )?;
        let http = portolan.http()?;
        for (id, host, path, status, tries) in [
            ("VS-RETRY-07", "v0", "/fail", 503, 1),
            ("VS-RETRY-02", "v1", "/fail", 503, 1),
            ("TV-81", "v2", "/fail", 503, 4),
            ("VS-RETRY-08", "v3", "/slow", 504, 2),
            ("VS-RETRY-11", "v4", "/fail", 503, 3),
            ("VS-RETRY-04", "v5", "/fail", 503, 1),
        ] {
            world.a.clear();
            assert_eq!(raw::get_plain(http, host, path)?.status, status, "{id}");
            assert_eq!(world.a.requests().len(), tries, "{id}");
        }
        // Nothing of it goes to the upstream.
        let seen = world.a.requests();
        assert!(
            seen.iter().all(|seen| seen.headers.iter().all(|(name, _)| !name.contains("retr"))),
            "{seen:?}"
        );
        let line = portolan.access_log_line(|line| line["authority"] == "v4")?;
        assert_eq!(
            line["decision"],
            "retries+same-host+remote+backoff=10ms VirtualService default/v4 http[0]"
        );
        Ok(())
    })
}

#[test]
fn a_mesh_has_retries_of_its_own() -> Result<()> {
    // VS-RETRY-01
    each_version(|version| {
        let world = World::new()?;
        let scratch = Scratch::new()?;
        let mesh = scratch.write("mesh.yaml", "defaultHttpRetryPolicy: {attempts: 1, retryOn: '503'}")?;
        let setup = world.setup(
            version,
            &[&format!("[{{{TO_A}}}]"), &format!("[{{retries: {{attempts: 0}}, {TO_A}}}]")],
        )?;
        let portolan = setup.option("--mesh-config", mesh.to_string_lossy()).start()?;
        for (host, tries) in [("v0", 2), ("a.example.com", 2), ("v1", 1)] {
            world.a.clear();
            assert_eq!(raw::get_plain(portolan.http()?, host, "/fail")?.status, 503, "{host}");
            assert_eq!(world.a.requests().len(), tries, "{host}");
        }
        Ok(())
    })
}

#[test]
fn faults_are_injected() -> Result<()> {
    each_version(|version| {
        let world = World::new()?;
        let fault = |fault: &str| format!("[{{fault: {{{fault}}}, {TO_A}}}]");
        const ALL: &str = "percentage: {value: 100}";
        let portolan = world.start(
            version,
            &[
                &fault(&format!("abort: {{httpStatus: 500, {ALL}}}")),
                &fault(&format!("delay: {{fixedDelay: 300ms, {ALL}}}")),
                &fault(&format!("delay: {{fixedDelay: 300ms, {ALL}}}, abort: {{httpStatus: 418, {ALL}}}")),
                &fault("delay: {fixedDelay: 2s}"),
                &fault(&format!("abort: {{grpcStatus: UNAVAILABLE, {ALL}}}")),
                &fault("abort: {httpStatus: 500, percentage: {value: 50}}"),
            ],
        )?;
        let http = portolan.http()?;
        for (id, host, status, delayed) in [
            ("TV-83", "v0", 500, false),
            ("VS-FAULT-01", "v1", 200, true),
            ("VS-FAULT-06", "v2", 418, true),
            ("TV-82", "v3", 200, false),
        ] {
            let start = Instant::now();
            let response = raw::get_plain(http, host, "/")?;
            assert_eq!(response.status, status, "{id}");
            assert_eq!(start.elapsed() > Duration::from_millis(290), delayed, "{id}");
            if status == 500 || status == 418 {
                assert_eq!(response.text(), "fault filter abort");
            }
        }
        let seen = world.a.requests();
        assert_eq!(seen.len(), 2, "what is aborted doesn't arrive");
        assert!(seen.iter().all(|seen| seen.header("x-envoy-fault-delay-request").is_none()), "GAP-08");
        let grpc = raw::get(http, "v4", "/", &[("content-type", "application/grpc")])?;
        assert_eq!((grpc.status, grpc.header("grpc-status").as_deref()), (200, Some("14")), "VS-FAULT-05");
        let mut aborted = 0;
        for _ in 0..200 {
            aborted += usize::from(raw::get_plain(http, "v5", "/")?.status == 500);
        }
        // Five standard deviations.
        assert!((65..=135).contains(&aborted), "VS-FAULT-04: {aborted}");
        assert_eq!(portolan.counter("delayed")?, 2);
        assert_eq!(portolan.counter("fault_abort")?, 2 + aborted as u64, "the one with a delay is Envoy's");
        Ok(())
    })
}

#[test]
fn copies_go_to_mirrors() -> Result<()> {
    each_version(|version| {
        let world = World::new()?;
        let portolan = world.start(
            version,
            &[
                &format!("[{{mirror: {{host: b.example.com}}, rewrite: {{authority: a.example.com}}, {TO_A}}}]"),
                &format!("[{{mirror: {{host: b.example.com}}, mirrorPercentage: {{value: 0}}, {TO_A}}}]"),
                &format!("[{{mirrors: [{{destination: {{host: b.example.com}}, percentage: {{value: 50}}}}], retries: {{attempts: 1, retryOn: 5xx}}, {TO_A}}}]"),
            ],
        )?;
        let copies = |host: &str, count: usize, at_least: usize| -> Result<usize> {
            world.a.clear();
            world.b.clear();
            many(&portolan, host, count)?;
            assert_eq!(world.a.requests().len(), count);
            // A copy is on its own way.
            portolan_e2e::process::poll(Duration::from_secs(2), || {
                (world.b.requests().len() >= at_least).then_some(())
            });
            Ok(world.b.requests().len())
        };
        assert_eq!(copies("v0", 20, 20)?, 20, "TV-84, VS-MIR-01");
        assert!(world.b.requests().iter().all(|seen| seen.host == "a.example.com"), "VS-MIR-03");
        assert_eq!(copies("v1", 20, 1)?, 0, "TV-84");
        let half = copies("v2", 200, 60)?;
        assert!((60..=140).contains(&half), "VS-MIR-02: {half}");
        Ok(())
    })
}

#[test]
fn browsers_are_answered() -> Result<()> {
    each_version(|version| {
        let world = World::new()?;
        let cors = "corsPolicy: {allowOrigins: [{exact: 'http://app'}], allowMethods: [GET, PUT], allowHeaders: [x-a, x-b], exposeHeaders: [x-c], maxAge: 24h, allowCredentials: true";
        let portolan = world.start(
            version,
            &[
                &format!("[{{{cors}}}, {TO_A}}}]"),
                &format!("[{{{cors}, unmatchedPreflights: IGNORE}}, {TO_A}}}]"),
                &format!("[{{{cors}}}, fault: {{abort: {{httpStatus: 500, percentage: {{value: 100}}}}}}, {TO_A}}}]"),
                &format!("[{{{cors}}}, fault: {{delay: {{fixedDelay: 300ms, percentage: {{value: 100}}}}}}, headers: {{response: {{set: {{x-r: a}}}}}}, {TO_A}}}]"),
                &format!("[{{{cors}}}, fault: {{delay: {{fixedDelay: 300ms, percentage: {{value: 100}}}}, abort: {{httpStatus: 418, percentage: {{value: 100}}}}}}, {TO_A}}}]"),
                &format!("[{{match: [{{uri: {{prefix: /r}}}}], {cors}}}, redirect: {{uri: /x}}}}, {{{cors}}}, directResponse: {{status: 418}}}}]"),
            ],
        )?;
        let http = portolan.http()?;
        let ask = |host: &str, method: &str, origin: &str| {
            let head = Head::new(method, "/").header("host", host).header("origin", origin);
            raw::request(http, &head.header("access-control-request-method", "PUT").finish())
        };
        let preflight = ask("v0", "OPTIONS", "http://app")?;
        assert_eq!(preflight.status, 200, "VS-CORS-06");
        for (name, value) in [
            ("access-control-allow-origin", "http://app"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET,PUT"),
            ("access-control-allow-headers", "x-a,x-b"),
            ("access-control-max-age", "86400"),
        ] {
            assert_eq!(preflight.header(name).as_deref(), Some(value), "VS-CORS-02 to VS-CORS-04");
        }
        assert_eq!(ask("v1", "OPTIONS", "http://other")?.header("access-control-allow-origin"), None);
        assert_eq!(ask("v2", "OPTIONS", "http://app")?.status, 500, "TV-127");
        assert_eq!(world.a.requests().len(), 0, "VS-CORS-05, VS-CORS-06");
        ask("v0", "OPTIONS", "http://other")?;
        assert_eq!(world.seen_by_a()?.method, "OPTIONS", "VS-CORS-05");
        let get = ask("v0", "GET", "http://app")?;
        assert_eq!(get.header("access-control-allow-origin").as_deref(), Some("http://app"));
        assert_eq!(get.header("access-control-expose-headers").as_deref(), Some("x-c"));
        assert_eq!(ask("v0", "GET", "http://other")?.header("access-control-allow-origin"), None);
        assert_eq!(portolan.counter("cors_preflight")?, 2);
        // The fault filter stands before CORS (VS-FAULT-06, GAP-10).
        world.a.clear();
        let start = Instant::now();
        let delayed = ask("v3", "OPTIONS", "http://app")?;
        assert!(start.elapsed() > Duration::from_millis(290), "VS-FAULT-06");
        let sorted = |response: &raw::Response| {
            let names = response.headers.iter().filter(|(name, _)| name != b"date");
            let mut names: Vec<_> = names.cloned().collect();
            names.sort();
            names
        };
        assert_eq!((delayed.status, sorted(&delayed)), (200, sorted(&preflight)), "as without a delay");
        assert!(delayed.body.is_empty());
        assert_eq!((portolan.counter("cors_preflight")?, portolan.counter("delayed")?), (3, 1));
        for method in ["OPTIONS", "GET"] {
            let aborted = ask("v4", method, "http://app")?;
            assert_eq!(
                (aborted.status, aborted.header("access-control-allow-origin")),
                (418, None),
                "TV-127"
            );
        }
        assert_eq!(world.a.requests().len(), 0, "none of them goes on");
        let get = ask("v3", "GET", "http://app")?;
        assert_eq!(get.header("access-control-allow-origin").as_deref(), Some("http://app"));
        assert_eq!(get.header("x-r").as_deref(), Some("a"));
        assert_eq!(delayed.header("x-r"), None, "VS-CORS-06: not a response of the route");
        // Envoy's CORS filter leaves requests alone that aren't forwarded.
        for method in ["OPTIONS", "GET"] {
            let direct = ask("v5", method, "http://app")?;
            assert_eq!((direct.status, direct.header("access-control-allow-origin")), (418, None));
        }
        Ok(())
    })
}

#[test]
fn grpc_clients_get_a_status() -> Result<()> {
    each_version(|version| {
        let world = World::new()?;
        const ALL: &str = "percentage: {value: 100}";
        let fault = |path: &str, fault: &str| {
            format!("{{match: [{{uri: {{prefix: {path}}}}}], fault: {{{fault}}}, {TO_A}}}")
        };
        let delay = format!("delay: {{fixedDelay: 300ms, {ALL}}}");
        let routes = [
            "{match: [{uri: {prefix: /direct}}], directResponse: {status: 429, body: {string: 'later, 50%'}}}".to_owned(),
            "{match: [{uri: {prefix: /redirect}}], redirect: {uri: /x}}".to_owned(),
            fault("/abort", &format!("abort: {{httpStatus: 503, {ALL}}}")),
            fault("/status", &format!("abort: {{grpcStatus: NOT_FOUND, {ALL}}}")),
            fault("/late", &format!("{delay}, abort: {{httpStatus: 401, {ALL}}}")),
            fault("/late-status", &format!("{delay}, abort: {{grpcStatus: DATA_LOSS, {ALL}}}")),
        ];
        // The longer path first.
        let routes = [&routes[5], &routes[0], &routes[1], &routes[2], &routes[3], &routes[4]];
        let portolan = world.start(version, &[&format!("[{}]", routes.map(String::as_str).join(", "))])?;
        for (host, path, status, message, delayed) in [
            ("v0", "/direct", "14", Some("later, 50%25"), false),
            ("v0", "/redirect", "2", None, false),
            ("v0", "/abort", "14", Some("fault filter abort"), false),
            ("v0", "/status", "5", Some("fault filter abort"), false),
            ("v0", "/late", "16", Some("fault filter abort"), true),
            ("v0", "/late-status", "15", Some("fault filter abort"), true),
            ("v0", "/nowhere", "12", Some("v0 has no route for this request%0A"), false),
            ("unknown", "/", "14", None, false),
        ] {
            let start = Instant::now();
            let response =
                raw::get(portolan.http()?, host, path, &[("content-type", "application/grpc+proto")])?;
            assert_eq!((response.status, response.body.len()), (200, 0), "{path}: trailers only");
            assert_eq!(response.header("content-type").as_deref(), Some("application/grpc"), "{path}");
            assert_eq!(response.header("grpc-status").as_deref(), Some(status), "{path}");
            if message.is_some() {
                assert_eq!(response.header("grpc-message").as_deref(), message, "{path}");
            }
            assert_eq!(start.elapsed() > Duration::from_millis(290), delayed, "{path}");
        }
        // A status of gRPC for a client that doesn't speak it (VS-FAULT-05).
        let plain = raw::get_plain(portolan.http()?, "v0", "/status")?;
        assert_eq!((plain.status, plain.text().as_str()), (200, "fault filter abort"));
        assert_eq!(world.a.requests().len(), 0);
        Ok(())
    })
}

#[test]
fn the_old_host_is_told_as_envoy_tells_it() -> Result<()> {
    each_version(|version| {
        let world = World::new()?;
        let host = |host: &str| format!("headers: {{request: {{set: {{host: {host}}}}}}}");
        let to = |weight: &str| {
            format!("route: [{{destination: {{host: a.example.com}}, weight: {weight}, {}}}", host("chosen"))
        };
        let one = format!("{}]", to("0"));
        let several = format!("{}, {{destination: {{host: b.example.com}}, weight: 0}}]", to("1"));
        let portolan = world
            .setup(
                version,
                &[
                    &format!("[{{{one}}}]"),
                    &format!("[{{{several}}}]"),
                    &format!("[{{rewrite: {{authority: route}}, {one}}}]"),
                    &format!("[{{rewrite: {{authority: route}}, {several}}}]"),
                ],
            )?
            .option("--envoy-headers", "true")
            .start()?;
        for (service, host, told) in [
            ("v0", "chosen", Some("v0")),
            ("v1", "chosen", None),
            ("v2", "route", Some("v2")),
            ("v3", "route", Some("chosen")),
        ] {
            raw::get_plain(portolan.http()?, service, "/")?;
            let seen = world.seen_by_a()?;
            assert_eq!(seen.host, host, "VS-RW-14");
            assert_eq!(seen.header("x-envoy-original-host").as_deref(), told, "VS-RW-16: {service}");
        }
        Ok(())
    })
}
