//! `config-gen explain` says what a real Envoy does, request by request.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use config_gen::cases::Request;
use config_gen::connection_manager::METHODS;
use config_gen::diagnostic::Diagnostics;
use config_gen::explain::{Change, Explainer, Forwarded, Local, Outcome};
use config_gen::input::{self, ReadOptions};
use config_gen::options::{Options, OutboundPolicy};
use config_gen::plan::Plan;
use config_gen::source::Sources;
use portolan_e2e::raw::{self, Head, Response};
use portolan_e2e::upstream::{SeenRequest, echo};
use portolan_e2e::{DnsServer, Setup, Upstream, places};

const RULES: &str = r#"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com, b.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: b}
spec:
  hosts: [b.example.com]
  http:
  - match: [{uri: {prefix: /headers}}]
    headers:
      request: {set: {x-set: "1"}, add: {x-agent: "%REQ(user-agent)%"}, remove: [x-gone]}
      response: {set: {x-back: "2"}}
    timeout: 5s
    retries: {attempts: 1, retryOn: 5xx}
    route: [{destination: {host: a.example.com}}]
  - match: [{uri: {prefix: /old/}}]
    redirect: {uri: /new/, redirectCode: 302}
  - match: [{uri: {exact: /robots.txt}}]
    directResponse: {status: 200, body: {string: "User-agent: *"}}
    headers: {response: {set: {content-type: text/plain}}}
  - match: [{uri: {prefix: /teapot}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: a.example.com}}]
  - match: [{uri: {prefix: /https}, headers: {x-forwarded-proto: {exact: https}}}]
    directResponse: {status: 299}
  - match: [{uri: {prefix: /cors}}]
    corsPolicy: {allowOrigins: [{exact: "https://web.example"}], allowMethods: [GET], maxAge: 24h}
    route: [{destination: {host: a.example.com}}]
  - match: [{uri: {prefix: /a}}]
    rewrite: {uri: /v2, authority: a.example.com}
    route: [{destination: {host: a.example.com}}]
  - match: [{uri: {prefix: /only}}]
    route: [{destination: {host: missing.example.com}}]
"#;

type Sent = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const ORIGIN: (&str, &str) = ("origin", "https://web.example");

/// Method, authority, path and headers.
const REQUESTS: &[Sent] = &[
    ("GET", "a.example.com", "/x?y=1", &[]),
    (
        "GET",
        "b.example.com",
        "/headers",
        &[("user-agent", "me"), ("x-gone", "1"), ("x-envoy-max-retries", "9")],
    ),
    ("GET", "b.example.com", "/old/x?y=1", &[]),
    ("GET", "b.example.com", "/robots.txt", &[]),
    ("GET", "b.example.com", "/teapot", &[]),
    ("GET", "b.example.com", "/https", &[("x-forwarded-proto", "https")]),
    ("GET", "b.example.com", "/cors", &[ORIGIN]),
    ("OPTIONS", "b.example.com", "/cors", &[ORIGIN, ("access-control-request-method", "PUT")]),
    ("GET", "b.example.com", "/abc", &[]),
    ("GET", "b.example.com", "/only", &[]),
    ("GET", "b.example.com", "/nothing", &[]),
    // Before the filter.
    ("GET", "a.example.com", "/a%00", &[]),
    ("GET", "a.example.com", "/a#b", &[]),
    ("GET", "a.example.com", "a", &[]),
    ("GET", "a b", "/", &[]),
    ("GET", "a/b", "/", &[]),
    ("GET", "a{b", "/", &[]),
    ("get", "a.example.com", "/", &[]),
    ("sayHello", "a.example.com", "/", &[]),
    ("QUERY", "a.example.com", "/", &[]),
    ("M-SEARCH", "a.example.com", "/", &[]),
    ("OPTIONS", "a.example.com", "*", &[]),
    ("CONNECT", "a.example.com:443", "a.example.com:443", &[]),
    // Hosts outside the registry.
    ("GET", "a..b", "/", &[]),
    ("GET", "10.0.0.1", "/", &[]),
    ("GET", "10.0.0.1:8080", "/", &[]),
    ("GET", "169.254.169.254", "/", &[]),
    ("GET", "0.0.0.0", "/", &[]),
    ("GET", "[::1]", "/", &[]),
    ("GET", "[fd00::1]:80", "/", &[]),
];

/// Each is seen as Envoy makes it, or refused.
const PATHS: &[&str] = &[
    "/a/./c/../b",
    "/a//b",
    "/a%2Fb",
    "/a%5c..%5cb",
    "/%41?x=../y%41",
    "/..",
    "/../../a",
    "/a/.",
    "/a/b/..",
    "//..//a",
    "/a///../b",
    "/a/b/..//",
    "/a%2e%2E/b",
    "/a/.%2e/b",
    "/a/b/%2e",
    "/a/%2e%2e%2e/b",
    "/a\\..\\b",
    "/a?b\\c",
    "/a\\..;x\\b",
    "/a/%2e%2e;x/b",
    "/a;x=1/b",
    "/%7Euser%252e%zz%4",
    "/a\"b<c>d^e`f{g|h}i",
    "/a'()*!$&+,=:@~[]",
    "/",
    "//",
    "/a?%00",
    "/%0a%ff",
];

/// Dot segments with parameters, which Envoy 1.36 keeps.
const NEW_PATHS: &[&str] = &["/a/..;x/b", "/a/.;", "/..;/", "/a/b/..;x%2fb/c", "/a/..;x?/..;/y"];

#[test]
fn what_is_explained_is_what_happens() -> Result<()> {
    let mut sources = Sources::new();
    sources.add("rules.yaml", RULES);
    let read = input::read(sources, &ReadOptions::default());
    let options = Options {
        outbound_policy: Some(OutboundPolicy::AllowAny),
        accept: vec!["unknown-destination".to_owned()],
        ..Options::default()
    };
    let plan = Plan::of(&read.resources(), &options, &mut Diagnostics::new());
    let explainer = Explainer::new(plan.proxy_config(&options), Some((&plan, &options)), None)?;
    let versions = places::envoy_versions()?;
    let newest = versions.last().context("no Envoy")?;
    for version in &versions {
        println!("Envoy {version}");
        let upstream = Upstream::builder().name("a").handler(echo()).start()?;
        let dns = DnsServer::start(&[
            ("a.example.com", Ipv4Addr::LOCALHOST),
            ("b.example.com", Ipv4Addr::LOCALHOST),
        ])?;
        let portolan = Setup::with_listeners(version)?
            .yaml(RULES)?
            .option("--accept", "unknown-destination")
            .option("--outbound-policy", "allow-any")
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={}", upstream.addr().port()))
            .start()?;
        let paths = PATHS.iter().chain(if version == newest { NEW_PATHS } else { &[] });
        let paths = paths.map(|path| ("GET", "a.example.com", *path, &[][..]));
        let methods = METHODS.iter().filter(|method| **method != "CONNECT");
        let methods = methods.map(|method| (*method, "a.example.com", "/", &[][..]));
        for (method, host, path, headers) in REQUESTS.iter().copied().chain(paths).chain(methods) {
            let request = Request {
                port: 80,
                method: method.to_owned(),
                authority: host.into(),
                path: path.into(),
                headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
                by_tls: false,
                by_proxy: false,
                random: 0,
            };
            upstream.clear();
            let head = Head::new(method, path).header("Host", host).headers(headers);
            let response = raw::request(portolan.http()?, &head.header("connection", "close").finish())?;
            let at = format!("Envoy {version}: {method} {host}{path}: {}", response.status);
            match explainer.explain(&request)?.outcome {
                Outcome::Forwarded(forwarded) if forwarded.cluster_missing => {
                    assert_eq!(response.status, 503, "{at}");
                }
                Outcome::Forwarded(forwarded) => {
                    let seen = upstream.requests().first().cloned().with_context(|| at.clone())?;
                    was_forwarded(&forwarded, &seen, &response, &at);
                }
                Outcome::Answered(local) => was_answered(&local, &response, &at),
                other => panic!("{at}: {other:?}"),
            }
        }
    }
    Ok(())
}

fn was_forwarded(forwarded: &Forwarded, seen: &SeenRequest, response: &Response, at: &str) {
    assert_eq!(
        (seen.host.as_bytes(), seen.path.as_bytes()),
        (&*forwarded.authority, &*forwarded.path),
        "{at}"
    );
    assert_eq!(response.status, 200, "{at}");
    for change in &forwarded.request_headers {
        let (name, value) = expected(change);
        assert_eq!(seen.header(name), value, "{at}: {name}");
    }
    for change in &forwarded.response_headers {
        let (name, value) = expected(change);
        assert_eq!(response.header(name), value, "{at}: {name}");
    }
}

fn expected(change: &Change) -> (&str, Option<String>) {
    match change {
        Change::Remove(name) => (name, None),
        Change::Set(name, value) | Change::Add(name, value) => {
            (name, Some(String::from_utf8_lossy(value).into_owned()))
        }
    }
}

fn was_answered(local: &Local, response: &Response, at: &str) {
    assert_eq!(response.status, local.status, "{at}: {}", local.reason);
    for (name, value) in &local.headers {
        assert_eq!(response.header(name), Some(String::from_utf8_lossy(value).into_owned()), "{at}: {name}");
    }
    if !local.body.is_empty() {
        assert_eq!(response.text(), String::from_utf8_lossy(&local.body), "{at}");
    }
}
