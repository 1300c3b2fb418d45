//! What a decision costs with many rules in one virtual host, against ten of the same kind.
//!
//! ```sh
//! cargo run --release -p portolan-engine --example rules [PART OF A NAME]...
//! ```
//!
//! `ROUNDS` is the number of rounds; few of them are enough under `valgrind --tool=callgrind`.
//!
//! Both sizes are measured in alternating rounds of one run; printed are the medians and the
//! quotient with its spread from the 10th to the 90th percentile of the rounds. `load` is the time
//! from JSON to an engine, `rss` what the process grew by meanwhile, `first` the slowest of the
//! first requests after loading. The time is that of the engine alone: a request through Envoy
//! takes some ten microseconds more, of which differences here are a small part.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use portolan_engine::config::{
    Config, HeaderMatch, Mode, OutboundTrafficPolicy, QueryParameterMatch, Route, RouteAction, RouteMatch,
    StringMatch, VERSION, VirtualHost,
};
use portolan_engine::{Engine, NoTrace, Request};

/// The rule and a request for it, of a number.
type Kind = (&'static str, usize, fn(usize) -> RouteMatch, fn(usize) -> Sent);

#[derive(Default)]
struct Sent {
    path: String,
    header: (String, String),
}

fn prefix(text: String) -> RouteMatch {
    RouteMatch { path: Some(StringMatch::Prefix(text)), ..RouteMatch::default() }
}

fn exact(text: String) -> RouteMatch {
    RouteMatch { path: Some(StringMatch::Exact(text)), ..RouteMatch::default() }
}

fn regex(text: String) -> RouteMatch {
    RouteMatch { path: Some(StringMatch::Regex(text)), ..RouteMatch::default() }
}

fn header(name: String, value: String, matcher: RouteMatch) -> RouteMatch {
    let value = StringMatch::Exact(value);
    RouteMatch { headers: vec![HeaderMatch { name, value, invert: false }], ..matcher }
}

fn query(name: String, value: String) -> RouteMatch {
    let value = StringMatch::Exact(value);
    RouteMatch { query_parameters: vec![QueryParameterMatch { name, value }], ..RouteMatch::default() }
}

fn path(path: String) -> Sent {
    Sent { path, ..Sent::default() }
}

const KINDS: &[Kind] = &[
    ("prefix", 10_000, |i| prefix(format!("/service{i:05}/")), |i| path(format!("/service{i:05}/x/y"))),
    (
        "prefix, any case",
        10_000,
        |i| RouteMatch { ignore_path_case: true, ..prefix(format!("/service{i:05}/")) },
        |i| path(format!("/Service{i:05}/x/y")),
    ),
    ("exact", 10_000, |i| exact(format!("/service{i:05}/x")), |i| path(format!("/service{i:05}/x"))),
    (
        "regex with literal start",
        10_000,
        |i| regex(format!("/service{i:05}/[0-9]+")),
        |i| path(format!("/service{i:05}/12")),
    ),
    (
        "regex with literal start, automaton",
        10_000,
        |i| regex(format!("/service{i:05}(/.*)?")),
        |i| path(format!("/service{i:05}/12")),
    ),
    (
        "regex with literal start, any case",
        10_000,
        |i| regex(format!("(?i)/service{i:05}/.*")),
        |i| path(format!("/SERVICE{i:05}/12")),
    ),
    (
        "one common prefix",
        10_000,
        |i| prefix(format!("/api/v1/service{i:05}")),
        |i| path(format!("/api/v1/service{i:05}/x")),
    ),
    (
        "one prefix, header decides",
        10_000,
        |i| header("x-user".into(), format!("u{i}"), prefix("/api/".into())),
        |i| Sent { path: "/api/x".into(), header: ("x-user".into(), format!("u{i}")) },
    ),
    (
        "nested prefixes",
        10_000,
        |i| if i < 8 { prefix("/a".repeat(8 - i)) } else { prefix(format!("/a/a/a/{i:05}")) },
        |i| path(format!("/a/a/a/{i:05}/x")),
    ),
    ("miss", 10_000, |i| prefix(format!("/service{i:05}/")), |i| path(format!("/nothing{i:05}/x"))),
    (
        "header value",
        10_000,
        |i| header("x-user".into(), format!("u{i}"), RouteMatch::default()),
        |i| Sent { path: "/x".into(), header: ("x-user".into(), format!("u{i}")) },
    ),
    (
        "header name",
        10_000,
        |i| header(format!("x-user-{i}"), "1".into(), RouteMatch::default()),
        |i| Sent { path: "/x".into(), header: (format!("x-user-{i}"), "1".into()) },
    ),
    ("query value", 10_000, |i| query("id".into(), format!("{i}")), |i| path(format!("/x?a=b&id={i}&c=d"))),
    (
        "regex without literal",
        1_000,
        |i| regex(format!("[a-z/]+/r{i:05}/.*")),
        |i| path(format!("/abc/def/r{i:05}/12")),
    ),
    (
        "regex without literal, end",
        1_000,
        |i| regex(format!(".*/r{i:05}")),
        |i| path(format!("/abc/def/r{i:05}")),
    ),
    (
        "regex without literal, middle",
        1_000,
        |i| regex(format!(".*/r{i:05}/.*")),
        |i| path(format!("/abc/def/r{i:05}/12")),
    ),
    (
        "regex without literal, miss",
        1_000,
        |i| regex(format!("[a-z/]+/r{i:05}/.*")),
        |i| path(format!("/abc/def/x{i:05}/12")),
    ),
    (
        "regex without literal",
        10_000,
        |i| regex(format!("[a-z/]+/r{i:05}/.*")),
        |i| path(format!("/abc/def/r{i:05}/12")),
    ),
    (
        "regex without literal, classes",
        1_000,
        |i| regex(format!(".*/[a-z]*{}", digits_as_classes(i))),
        |i| path(format!("/a/bc/de{}", digits(i))),
    ),
    (
        "regex without literal, many classes",
        10_000,
        |i| regex(format!(".*/[a-z]*{}", digits_as_classes(i))),
        |i| path(format!("/a/bc/de{}", digits(i))),
    ),
    (
        "regex and one of two methods",
        10_000,
        |i| RouteMatch {
            method: Some(StringMatch::Exact(if i % 2 == 0 { "GET" } else { "POST" }.into())),
            ..regex(format!(".*/r{i:05}"))
        },
        |i| path(format!("/a/b/r{:05}", i / 2 * 2)),
    ),
    (
        "regex with two gaps",
        10_000,
        |i| regex(format!("/service{i:05}/.*/orders/.*")),
        |i| path(format!("/service{i:05}/a/b/orders/12")),
    ),
    (
        "regex for an automaton",
        10_000,
        |i| regex(format!("/service{i:05}/([a-z]+/)*v[0-9]+(\\.[0-9]+)*")),
        |i| path(format!("/service{i:05}/a/b/v1.2.3")),
    ),
    (
        "regex for an automaton, no literal start",
        10_000,
        |i| regex(format!("/([a-z]+/)*v[0-9]+/r{i:05}(/.*)*x?")),
        |i| path(format!("/a/b/v1/r{i:05}/x")),
    ),
    (
        "regex with one literal start",
        10_000,
        |i| regex(format!("/api/[^/]+/r{i:05}")),
        |i| path(format!("/api/def/r{i:05}")),
    ),
];

/// Seven digits to the base 5.
fn digits(number: usize) -> String {
    (0..7).map(|place| (number / 5usize.pow(place) % 5 * 2).to_string()).collect()
}

/// The same in a regex, without any text that a path must have.
fn digits_as_classes(number: usize) -> String {
    let class = |place| number / 5usize.pow(place) % 5 * 2;
    (0..7).map(|place| format!("[{}{}]", class(place), class(place) + 1)).collect()
}

fn main() {
    println!("| rules | number | us with 10 | us with all | ratio | spread | load ms | rss MB | first us |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let rounds = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(41);
    for &(name, count, rule, sent) in KINDS {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let few = engine(&config(10, rule));
        let json = config(count, rule).to_json().expect("a config can be written");
        let before = rss();
        let started = Instant::now();
        let many = Engine::from_json(json.as_bytes()).expect("the config is right");
        let load = started.elapsed();
        let grown = rss().saturating_sub(before);
        // Numbers in an order without pattern, so that neither cache nor branches are warm.
        let requests = |count: usize| -> Vec<Sent> { (0..2000).map(|i| sent(i * 7919 % count)).collect() };
        let (to_few, to_many) = (requests(10), requests(count));
        let first = to_many.iter().take(500).map(|sent| round(&many, std::slice::from_ref(sent))).max();
        let mut rounds: Vec<(f64, f64)> = (0..rounds)
            .map(|_| (round(&few, &to_few).as_secs_f64(), round(&many, &to_many).as_secs_f64()))
            .collect();
        let each = |total: f64| total * 1e6 / 2000.0;
        let mut ratios: Vec<f64> = rounds.iter().map(|(few, many)| many / few).collect();
        ratios.sort_by(f64::total_cmp);
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let small = each(rounds[rounds.len() / 2].0);
        rounds.sort_by(|a, b| a.1.total_cmp(&b.1));
        let large = each(rounds[rounds.len() / 2].1);
        let at = |part: usize| ratios[ratios.len() * part / 100];
        println!(
            "| {name} | {count} | {small:.3} | {large:.3} | {:.2} | {:.2}-{:.2} | {:.0} | {:.1} | {:.0} |",
            at(50),
            at(10),
            at(90),
            load.as_secs_f64() * 1e3,
            grown as f64 / 1e6,
            first.unwrap_or_default().as_secs_f64() * 1e6,
        );
    }
}

fn config(count: usize, rule: fn(usize) -> RouteMatch) -> Config {
    let routes = (0..count).map(|i| Route {
        name: format!("http[{i}]"),
        matcher: rule(i),
        route: RouteAction {
            cluster: Some("c".into()),
            route_profile: "default".into(),
            ..RouteAction::default()
        },
    });
    Config {
        version: VERSION,
        mode: Mode::Proxy,
        original_headers: false,
        empty_refusals: true,
        outbound_traffic_policy: OutboundTrafficPolicy::RegistryOnly,
        original_destinations: Default::default(),
        shared_routes: Vec::new(),
        virtual_hosts: vec![VirtualHost {
            name: "VirtualService default/a".into(),
            domains: vec!["a".into()],
            ports: Vec::new(),
            routes: routes.collect(),
            refuse: None,
            unregistered: false,
        }],
        connect: None,
    }
}

fn engine(config: &Config) -> Engine {
    Engine::new(config.clone()).expect("the config is right")
}

fn round(engine: &Engine, requests: &[Sent]) -> Duration {
    let started = Instant::now();
    for Sent { path, header: (name, value) } in requests {
        let headers: [(&[u8], &[u8]); 12] = [
            (b":authority", b"a"),
            (b":path", path.as_bytes()),
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b"user-agent", b"curl/8.0"),
            (b"accept", b"*/*"),
            (b"x-forwarded-proto", b"http"),
            (b"x-request-id", b"0f0f0f"),
            (b"cookie", b"a=b"),
            (b"accept-encoding", b"gzip"),
            (b"content-type", b"text/plain"),
            (name.as_bytes(), value.as_bytes()),
        ];
        let request = Request {
            listener_port: 80,
            method: b"GET",
            scheme: b"http",
            authority: b"a",
            path: path.as_bytes(),
            headers: &headers,
            ..Request::default()
        };
        let _ = black_box(engine.decide(black_box(&request), &mut NoTrace));
    }
    started.elapsed()
}

/// The memory of this process, in bytes; 0 where the system doesn't tell.
fn rss() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0) << 10
}
