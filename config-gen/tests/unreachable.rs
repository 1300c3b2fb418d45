//! What is said to be never reached, the engine never reaches.
//!
//! Rules with conditions out of few values, and all requests that can tell these values apart: a route
//! that the analysis calls unreachable must take none of them, whatever the rules.

use std::collections::BTreeSet;

use config_gen::analysis::analyze;
use config_gen::input::{ReadOptions, read};
use config_gen::options::Options;
use config_gen::plan::Plan;
use config_gen::source::Sources;
use portolan_engine::{Decision, Engine, NoTrace, Request};

const RULES: usize = 400;

/// Of conditions on one thing each; `""` is none.
const URIS: [&str; 10] = [
    "",
    "uri: {}",
    "uri: {prefix: /}",
    "uri: {prefix: /a}",
    "uri: {prefix: /A}, ignoreUriCase: true",
    "uri: {prefix: /a/b}",
    "uri: {exact: /a/b}",
    "uri: {exact: /A/B}, ignoreUriCase: true",
    "uri: {regex: '/a/.'}",
    "uri: {regex: '.*'}",
];
const METHODS: [&str; 4] = ["", "", "method: {exact: GET}", "method: {prefix: G}"];
const HEADERS: [&str; 7] = [
    "",
    "",
    "headers: {x: {}}",
    "headers: {x: {exact: ab}}",
    "headers: {X: {prefix: a}}",
    "withoutHeaders: {x: {}}",
    "withoutHeaders: {x: {exact: ab}}",
];
const QUERIES: [&str; 4] = ["", "", "queryParams: {q: {exact: '1'}}", "queryParams: {q: {}}"];

/// The numbers are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Rules, each with what its conditions are.
fn rules(numbers: &mut Numbers) -> String {
    let mut yaml = String::from(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec: {hosts: [a.example.com], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.example.com]
  http:
",
    );
    for index in 0..2 + numbers.below(4) {
        let entry = |numbers: &mut Numbers| {
            let parts = [numbers.of(&URIS), numbers.of(&METHODS), numbers.of(&HEADERS), numbers.of(&QUERIES)];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            format!("{{{}}}", parts.join(", "))
        };
        let entries: Vec<String> = (0..1 + numbers.below(2)).map(|_| entry(numbers)).collect();
        yaml += &format!(
            "  - name: r{index}\n    match: [{}]\n    route: [{{destination: {{host: a.example.com}}}}]\n",
            entries.join(", ")
        );
    }
    yaml
}

/// The routes that some request comes to.
fn reached(engine: &Engine) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    for path in ["/", "/a", "/A", "/a/b", "/A/B", "/a/c", "/a/b/c", "/z"] {
        for query in ["", "?q=1", "?q=2"] {
            for method in ["GET", "G", "POST"] {
                for header in [None, Some("ab"), Some("abc"), Some("z")] {
                    let path = format!("{path}{query}");
                    let headers: Vec<(&[u8], &[u8])> =
                        header.iter().map(|value| (b"x".as_slice(), value.as_bytes())).collect();
                    let request = Request {
                        listener_port: 80,
                        method: method.as_bytes(),
                        scheme: b"http",
                        authority: b"a.example.com",
                        path: path.as_bytes(),
                        headers: &headers,
                        ..Request::default()
                    };
                    if let Decision::Forward(forward) = engine.decide(&request, &mut NoTrace) {
                        reached.insert(forward.route.into_owned());
                    }
                }
            }
        }
    }
    reached
}

#[test]
fn what_is_unreachable_no_request_reaches() {
    let mut numbers = Numbers(0x706f_7274_6f6c_616e);
    let (mut unreachable, mut ineffective) = (0, 0);
    for _ in 0..RULES {
        let yaml = rules(&mut numbers);
        let mut sources = Sources::new();
        sources.add("rules.yaml", yaml.as_str());
        let read = read(sources, &ReadOptions::default());
        let options = Options::default();
        let findings = analyze(&read, &options);
        assert!(!findings.has_errors(), "{}", findings.render(&read.sources));
        let mut ignored = config_gen::diagnostic::Diagnostics::new();
        let plan = Plan::of(&read.resources(), &options, &mut ignored);
        let engine = Engine::new(plan.proxy_config(&options)).unwrap();
        let reached = reached(&engine);
        ineffective += findings.iter().filter(|finding| finding.code == "ineffective-match").count();
        for finding in findings.iter().filter(|finding| finding.code == "unreachable-route") {
            unreachable += 1;
            let field = finding.field.as_deref().unwrap();
            let index = field.trim_start_matches("spec.http[").trim_end_matches(']');
            let wrong = reached.iter().find(|route| {
                route.contains(&format!(" r{index}.")) || route.ends_with(&format!(" r{index}"))
            });
            assert_eq!(wrong, None, "{}\n{yaml}", finding.message);
        }
    }
    println!(
        "{unreachable} unreachable routes and {ineffective} conditions without effect in {RULES} sets of rules"
    );
    assert!(unreachable > 100 && ineffective > 100);
}
