//! Delegates: VS-DEL rows, TV-99 and TV-100. Decisions are the engine's, on the plugin config that
//! the plan comes to.

use config_gen::diagnostic::{Diagnostic, Diagnostics, Severity};
use config_gen::explain::Explainer;
use config_gen::input::{self, ReadOptions};
use config_gen::options::{Options, Profile};
use config_gen::plan::Plan;
use config_gen::source::Sources;
use portolan_engine::config::Route;
use portolan_engine::{Decision, Engine, NoTrace, Request};

/// A plan with what was said on the way.
struct Planned {
    plan: Plan,
    options: Options,
    found: Vec<Diagnostic>,
    sources: Sources,
    engine: Engine,
}

impl Planned {
    fn codes(&self) -> Vec<&str> {
        self.found.iter().map(|diagnostic| diagnostic.code).collect()
    }

    fn only_finding(&self) -> &Diagnostic {
        match self.found.as_slice() {
            [one] => one,
            _ => panic!("not one finding but {:?}", self.codes()),
        }
    }

    /// The routes of `a.example.com` on port 80.
    fn routes(&self) -> &[Route] {
        let hosts = &self.plan.virtual_hosts;
        let on_80 = |ports: &[u16]| ports.is_empty() || ports.contains(&80);
        let host = hosts.iter().find(|host| host.domains[0] == "a.example.com" && on_80(&host.ports));
        &host.expect("a virtual host").routes
    }

    fn route(&self) -> &Route {
        match self.routes() {
            [one] => one,
            several => panic!("not one route but {several:#?}"),
        }
    }

    /// The cluster's port that a request goes to, or the status that it gets.
    fn get(&self, path: &str, headers: &[(&[u8], &[u8])]) -> String {
        let request = Request {
            listener_port: 80,
            method: b"GET",
            scheme: b"http",
            authority: b"a.example.com",
            path: path.as_bytes(),
            headers,
            ..Request::default()
        };
        match self.engine.decide(&request, &mut NoTrace) {
            Decision::Forward(forward) => {
                let cluster = forward.cluster.unwrap_or("no cluster");
                cluster.split('|').nth(1).unwrap_or(cluster).to_owned()
            }
            Decision::Respond(reply) => reply.status.to_string(),
            Decision::Pass => "pass".to_owned(),
        }
    }
}

fn plan_with(yaml: &str, options: &Options) -> Planned {
    let mut sources = Sources::new();
    sources.add("in.yaml", yaml);
    let read = input::read(sources, &ReadOptions::default());
    assert!(!read.diagnostics.has_errors(), "{}", read.diagnostics.render(&read.sources));
    let mut found = Diagnostics::new();
    let plan = Plan::of(&read.resources(), options, &mut found);
    for diagnostic in &found {
        assert!(diagnostic.span.is_some() && diagnostic.resource.is_some(), "{diagnostic:?}");
    }
    let engine = Engine::new(plan.proxy_config(options)).unwrap();
    let found = found.into_iter().collect();
    Planned { plan, options: options.clone(), found, sources: read.sources, engine }
}

fn istio() -> Options {
    let mut options = Options { profile: Profile::Istio, ..Options::default() };
    options.envoy.listeners = vec!["80=127.0.0.1:0".parse().unwrap()];
    options
}

fn virtual_service(meta: &str, spec: &str) -> String {
    format!("---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {meta}\nspec: {spec}\n")
}

/// a.example.com with ports 80 and up, one for each destination of the tests.
fn registry() -> String {
    let ports: Vec<String> =
        (80..=84).map(|port| format!("{{number: {port}, name: http-{port}, protocol: HTTP}}")).collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: a}}\nspec: {{hosts: [a.example.com], ports: [{}], resolution: DNS, location: MESH_EXTERNAL}}\n",
        ports.join(", ")
    )
}

/// `route` to a port of a.example.com.
fn to(port: u16) -> String {
    format!("route: [{{destination: {{host: a.example.com, port: {{number: {port}}}}}}}]")
}

/// A root whose first route delegates to `d`, with `root` beside `delegate`, and whose second goes
/// to port 84; and `d` with these routes.
fn merged(root: &str, delegate: &[&str]) -> Planned {
    let root = format!(
        "{{hosts: [a.example.com], http: [{{delegate: {{name: d}}{}{root}}}, {{{}}}]}}",
        if root.is_empty() { "" } else { ", " },
        to(84)
    );
    let delegate: Vec<String> = delegate.iter().map(|route| format!("{{{route}}}")).collect();
    let delegate = format!("{{http: [{}]}}", delegate.join(", "));
    let yaml =
        registry() + &virtual_service("{name: root}", &root) + &virtual_service("{name: d}", &delegate);
    let mut planned = plan_with(&yaml, &istio());
    planned.found.retain(|diagnostic| diagnostic.code != "port-without-listener");
    planned
}

/// Whether the delegate's only entry can be merged with the root's.
fn agree(root: &str, leaf: &str) -> bool {
    let planned = merged(&format!("match: [{{{root}}}]"), &[&format!("match: [{{{leaf}}}], {}", to(81))]);
    let merged = planned.routes().len() == 2;
    assert_eq!(planned.codes(), if merged { &[][..] } else { &["delegate-conflict"] }, "{root} {leaf}");
    merged
}

#[test]
fn routes_take_the_place_of_the_one_that_delegates() {
    // TV-99, VS-DEL-04, VS-DEL-05, VS-DEL-06
    let planned = merged(
        "match: [{uri: {prefix: /a}}]",
        &[
            &format!("match: [{{uri: {{prefix: /a/b}}}}], {}", to(81)),
            &format!("match: [{{uri: {{prefix: /c}}}}], {}", to(82)),
            &format!("match: [{{uri: {{prefix: /a/d}}}}], {}", to(83)),
        ],
    );
    for (path, port) in [("/a/b/x", "81"), ("/a/d", "83"), ("/a", "84"), ("/c", "84"), ("/", "84")] {
        assert_eq!(planned.get(path, &[]), port, "{path}");
    }
    let names: Vec<&str> = planned.routes().iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["http[0]-http[0]", "http[0]-http[2]", "http[1]"]);
}

#[test]
fn a_conflict_is_a_warning_with_both_places() {
    // VS-DEL-05
    let planned = merged(
        "match: [{uri: {prefix: /a}}]",
        &[&format!("match: [{{uri: {{exact: /a/b}}}}, {{uri: {{exact: /b}}}}], {}", to(81))],
    );
    let warning = planned.only_finding();
    assert_eq!((warning.severity, warning.code), (Severity::Warning, "delegate-conflict"));
    assert_eq!(warning.rule, Some("VS-DEL-05"));
    assert_eq!(warning.resource.as_deref(), Some("VirtualService default/d"));
    assert_eq!(warning.field.as_deref(), Some("spec.http[0].match[1]"));
    assert!(warning.message.starts_with("`uri`"), "{}", warning.message);
    let text = |span| planned.sources.snippet(span);
    assert_eq!(warning.span.map(text), Some("{uri: {exact: /b}}"));
    let (words, place) = &warning.related[0];
    assert!(words.contains("VirtualService default/root"), "{words}");
    assert!(text(*place).contains("delegate: {name: d}"), "{}", text(*place));
    // The whole route is gone, with the entry that would have had a partner.
    assert_eq!(planned.get("/a/b", &[]), "84");
}

#[test]
fn every_pair_without_conflict_is_merged() {
    // VS-DEL-05
    let planned = merged(
        "match: [{uri: {prefix: /a}}, {uri: {prefix: /b}, headers: {x: {exact: '1'}}}]",
        &[&format!("match: [{{uri: {{prefix: /a/1}}}}, {{method: {{exact: GET}}}}], {}", to(81))],
    );
    assert_eq!(planned.codes(), [""; 0]);
    // /a/1 with the first; GET with both.
    assert_eq!(planned.routes().len(), 4);
    let x: &[(&[u8], &[u8])] = &[(b"x", b"1")];
    assert_eq!(planned.get("/a", &[]), "81");
    assert_eq!(planned.get("/b", &[]), "84");
    assert_eq!(planned.get("/b", x), "81");
    // Without entries on one side those of the other count.
    let only_root = merged("match: [{uri: {prefix: /a}}]", &[&to(81)]);
    assert_eq!((only_root.get("/a", &[]), only_root.get("/b", &[])), ("81".into(), "84".into()));
    let only_leaf = merged("", &[&format!("match: [{{uri: {{prefix: /b}}}}], {}", to(81))]);
    assert_eq!((only_leaf.get("/a", &[]), only_leaf.get("/b", &[])), ("84".into(), "81".into()));
    let neither = merged("", &[&to(81)]);
    assert_eq!(neither.routes().len(), 1, "VS-ORD-02");
}

#[test]
fn a_delegate_can_only_narrow() {
    // VS-DEL-06
    for (root, leaf, expected) in [
        ("exact: /a", "exact: /a", true),
        ("exact: /a", "exact: /b", false),
        ("exact: /a", "prefix: /a", false),
        ("prefix: /a", "prefix: /a", true),
        ("prefix: /a", "prefix: /ab", true),
        ("prefix: /a", "exact: /a/b", true),
        ("prefix: /a", "prefix: /", false),
        ("prefix: /a", "exact: /", false),
        ("regex: /a.*", "exact: /a", false),
        ("regex: /a.*", "regex: /a.*", false),
        ("prefix: /a", "regex: /a.*", false),
        ("", "prefix: /a", false),
        ("prefix: /a", "", false),
    ] {
        let conditions = |leaf: &str| {
            [
                format!("uri: {{{leaf}}}"),
                format!("scheme: {{{leaf}}}"),
                format!("method: {{{leaf}}}"),
                format!("authority: {{{leaf}}}"),
                format!("headers: {{x: {{{leaf}}}}}"),
                format!("withoutHeaders: {{x: {{{leaf}}}}}"),
                format!("queryParams: {{x: {{{leaf}}}}}"),
            ]
        };
        for (root, leaf) in conditions(root).iter().zip(conditions(leaf)) {
            assert_eq!(agree(root, &leaf), expected, "{root} and {leaf}");
        }
    }
    // Of one side only, and of another name, there is nothing to compare.
    for (root, leaf) in [
        ("uri: {regex: '/a.*'}", "method: {exact: GET}"),
        ("headers: {x: {}}", "headers: {y: {regex: '.'}}"),
        ("headers: {x: {exact: '1'}}", "withoutHeaders: {x: {exact: '2'}}"),
    ] {
        assert!(agree(root, leaf), "{root} and {leaf}");
    }
}

#[test]
fn other_conditions_conflict_too() {
    // VS-DEL-07
    for (root, leaf, expected) in [
        ("uri: {prefix: /a}, ignoreUriCase: true", "method: {exact: GET}", false),
        ("uri: {prefix: /a}, ignoreUriCase: true", "ignoreUriCase: true", true),
        ("port: 80", "port: 81", false),
        ("port: 80", "port: 80, uri: {prefix: /a}", true),
        ("port: 80", "uri: {prefix: /a}", true),
        ("sourceNamespace: default", "uri: {prefix: /a}", false),
        ("sourceNamespace: default", "sourceNamespace: default", true),
        ("uri: {prefix: /a}", "sourceNamespace: default", true),
        ("sourceLabels: {v: '1'}", "sourceLabels: {v: '2'}", false),
        ("gateways: [mesh]", "gateways: [mesh, x/y]", false),
        ("gateways: [mesh, x/y]", "gateways: [mesh], uri: {prefix: /a}", true),
        ("gateways: [x/y, mesh]", "uri: {prefix: /a}", true),
    ] {
        if expected {
            let both = |text: &str| format!("{text}, queryParams: {{x: {{}}}}");
            assert!(agree(&both(root), leaf), "{root} and {leaf}");
        } else {
            assert!(!agree(root, leaf), "{root} and {leaf}");
        }
    }
}

#[test]
fn a_merged_entry_has_the_conditions_of_both() {
    // VS-DEL-08
    let planned = merged(
        "name: first, match: [{name: k, uri: {prefix: /a}, headers: {x: {prefix: v}, z: {}}, queryParams: {q: {exact: '1'}}, port: 80}]",
        &[&format!(
            "name: second, match: [{{name: l, uri: {{prefix: /a/b}}, headers: {{x: {{exact: v1}}}}, method: {{exact: GET}}}}], {}",
            to(81)
        )],
    );
    let z = (b"z".as_slice(), b"".as_slice());
    let x = |value: &'static [u8]| (b"x".as_slice(), value);
    assert_eq!(planned.get("/a/b?q=1", &[x(b"v1"), z]), "81");
    for (path, headers) in [
        ("/a?q=1", &[x(b"v1"), z][..]),
        ("/a/b", &[x(b"v1"), z]),
        ("/a/b?q=1", &[x(b"v1")]),
        ("/a/b?q=1", &[x(b"v2"), z]),
    ] {
        assert_eq!(planned.get(path, headers), "84", "{path}");
    }
    assert_eq!(planned.routes()[0].name, "first-second.k-l");
    // Labels of both must hold.
    let labels = merged(
        "match: [{sourceLabels: {v: '1'}}]",
        &[&format!("match: [{{sourceLabels: {{w: '2'}}}}], {}", to(81))],
    );
    assert_eq!(labels.get("/", &[]), "84", "the client has neither");
}

#[test]
fn what_the_delegate_sets_counts_else_the_root() {
    // TV-100, VS-DEL-09
    let planned = merged(
        "timeout: 5s, headers: {request: {set: {x: root}}}",
        &[&format!("headers: {{response: {{set: {{z: leaf}}}}}}, {}", to(81))],
    );
    let action = &planned.route().route;
    assert_eq!(action.timeout_ms, Some(5000));
    assert!(action.request_headers.is_empty(), "the delegate's headers only");
    assert_eq!(action.response_headers.set, [("z".to_owned(), "leaf".to_owned())]);

    let root = "timeout: 5s, rewrite: {uri: /root}, retries: {attempts: 0}, fault: {abort: {httpStatus: 500, percentage: {value: 1}}}, corsPolicy: {allowOrigins: [{exact: 'http://r'}]}, mirror: {host: a.example.com, port: {number: 82}}, mirrorPercentage: {value: 50}, headers: {request: {set: {x: root}}}";
    let inherited = merged(root, &[&to(81)]);
    let action = &inherited.route().route;
    assert_eq!(action.timeout_ms, Some(5000));
    assert_eq!(action.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_deref()), Some("/root"));
    assert_eq!(action.route_profile, "no-retries+mirror=outbound|82||a.example.com@500000/M");
    assert_eq!(action.fault.as_ref().and_then(|fault| fault.abort.as_ref()).map(|it| it.status), Some(500));
    assert!(action.cors.is_some());
    assert_eq!(action.request_headers.set, [("x".to_owned(), "root".to_owned())]);

    let leaf = format!(
        "timeout: 1s, rewrite: {{uri: /leaf}}, retries: {{attempts: 3}}, fault: {{abort: {{httpStatus: 501, percentage: {{value: 1}}}}}}, corsPolicy: {{allowOrigins: [{{exact: 'http://l'}}], maxAge: 1s}}, mirror: {{host: a.example.com, port: {{number: 83}}}}, headers: {{}}, {}",
        to(81)
    );
    let own = merged(root, &[&leaf]);
    let action = &own.route().route;
    assert_eq!(action.timeout_ms, Some(1000));
    assert_eq!(action.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_deref()), Some("/leaf"));
    // Percentages are a field of their own.
    assert_eq!(action.route_profile, "retries+mirror=outbound|83||a.example.com@500000/M");
    assert_eq!(action.fault.as_ref().and_then(|fault| fault.abort.as_ref()).map(|it| it.status), Some(501));
    assert_eq!(action.cors.as_ref().and_then(|cors| cors.max_age.as_deref()), Some("1"));
    assert!(action.request_headers.is_empty(), "`headers: {{}}` are headers, too");
}

#[test]
fn redirects_and_answers() {
    // VS-DEL-09
    let redirect = merged("match: [{uri: {prefix: /a}}]", &["redirect: {uri: /b}"]);
    assert_eq!(redirect.get("/a", &[]), "301");
    let answer = merged("match: [{uri: {prefix: /a}}]", &["directResponse: {status: 418}"]);
    assert_eq!(answer.get("/a", &[]), "418");
    // What one VirtualService can't have either.
    for (root, leaf) in [
        ("fault: {abort: {httpStatus: 500, percentage: {value: 1}}}", "redirect: {uri: /b}"),
        ("corsPolicy: {allowOrigins: [{exact: 'http://r'}]}", "directResponse: {status: 418}"),
        ("directResponse: {status: 418}", to(81).as_str()),
    ] {
        let planned = merged(root, &[leaf]);
        let error = planned.only_finding();
        assert_eq!((error.severity, error.code), (Severity::Error, "not-supported"), "{root}");
    }
}

#[test]
fn a_route_to_no_delegate_is_dropped() {
    // VS-DEL-01, VS-DEL-02
    let root = |delegate: &str| {
        virtual_service(
            "{name: root}",
            &format!("{{hosts: [a.example.com], http: [{{delegate: {delegate}}}, {{{}}}]}}", to(84)),
        )
    };
    let delegate =
        |meta: &str, rest: &str| virtual_service(meta, &format!("{{{rest}http: [{{{}}}]}}", to(81)));
    for (reference, delegate, goes_to, codes) in [
        ("{name: d}", delegate("{name: d}", ""), "81", &[][..]),
        (
            "{name: d}",
            delegate("{name: d, namespace: other}", ""),
            "84",
            &["unknown-delegate", "delegate-unused"],
        ),
        ("{name: d, namespace: other}", delegate("{name: d, namespace: other}", ""), "81", &[]),
        ("{name: e}", delegate("{name: d}", ""), "84", &["unknown-delegate", "delegate-unused"]),
        ("{}", delegate("{name: d}", ""), "84", &["unknown-delegate", "delegate-unused"]),
        ("{name: d}", delegate("{name: d}", "hosts: [b.example.com], "), "84", &["unknown-delegate"]),
        (
            "{name: d, namespace: other}",
            delegate("{name: d, namespace: other}", "exportTo: [.], "),
            "84",
            &["delegate-not-exported"],
        ),
        (
            "{name: d, namespace: other}",
            delegate("{name: d, namespace: other}", "exportTo: [default], "),
            "81",
            &[],
        ),
    ] {
        let planned = plan_with(&(registry() + &root(reference) + &delegate), &istio());
        let codes: Vec<&str> = codes.iter().copied().chain(["port-without-listener"; 4]).collect();
        assert_eq!(planned.codes(), codes, "{reference}");
        assert_eq!(planned.get("/", &[]), goes_to, "{reference}");
        let warnings = planned.found.iter().filter(|diagnostic| diagnostic.code.contains("delegate"));
        for warning in warnings {
            assert_eq!(warning.severity, Severity::Warning);
            let rule = warning.rule.unwrap_or_default();
            assert!(rule.starts_with("VS-DEL") || rule == "VS-HOST-04", "{rule}");
        }
    }
}

#[test]
fn a_delegate_alone_has_no_effect() {
    // VS-HOST-04
    let alone = virtual_service("{name: d}", &format!("{{http: [{{{}}}]}}", to(81)));
    let planned = plan_with(&(registry() + &alone), &istio());
    assert!(planned.codes().contains(&"delegate-unused"));
    assert_eq!(planned.get("/", &[]), "80", "VH-12");
    // One is used as often as one likes.
    let twice = virtual_service(
        "{name: root}",
        "{hosts: [a.example.com], http: [{delegate: {name: d}, match: [{uri: {prefix: /a}}]}, {delegate: {name: d}, match: [{uri: {prefix: /b}}]}]}",
    );
    let planned = plan_with(&(registry() + &alone + &twice), &istio());
    assert!(!planned.codes().contains(&"delegate-unused"));
    assert_eq!(planned.get("/a", &[]), "81");
    assert_eq!(planned.get("/b", &[]), "81");
    assert_eq!(planned.get("/c", &[]), "404");
}

#[test]
fn short_names_are_of_the_namespace_they_stand_in() {
    // VIS-09
    let service = |name: &str, namespace: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{ports: [{{port: 80, name: http}}]}}\n"
        )
    };
    let yaml = registry()
        + &service("web", "other")
        + &service("shadow", "default")
        + &virtual_service(
            "{name: root}",
            "{hosts: [a.example.com], http: [{delegate: {name: d, namespace: other}, mirror: {host: shadow}}]}",
        )
        + &virtual_service("{name: d, namespace: other}", "{http: [{route: [{destination: {host: web}}]}]}");
    let action = &plan_with(&yaml, &istio()).route().route.clone();
    assert_eq!(action.cluster.as_deref(), Some("outbound|80||web.other.svc.cluster.local"));
    assert_eq!(action.route_profile, "default+mirror=outbound|80||shadow.default.svc.cluster.local");
}

#[test]
fn what_is_wrong_in_a_delegate_is_said_once_and_there() {
    let yaml = registry()
        + &virtual_service(
            "{name: root}",
            "{hosts: [a.example.com], http: [{delegate: {name: d}, match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}]}, {delegate: {name: d}}]}",
        )
        + &virtual_service(
            "{name: d}",
            "{http: [{match: [{headers: {x: {regex: '('}}}], route: [{destination: {host: gone.example.com}}]}]}",
        );
    let mut sources = Sources::new();
    sources.add("in.yaml", &*yaml);
    let read = input::read(sources, &ReadOptions::default());
    let mut found = Diagnostics::new();
    Plan::of(&read.resources(), &istio(), &mut found);
    let errors: Vec<_> = found.iter().filter(|one| one.severity == Severity::Error).collect();
    let told: Vec<_> =
        errors.iter().map(|one| (one.code, one.field.as_deref().unwrap_or_default())).collect();
    assert_eq!(
        told,
        [
            ("invalid-regex", "spec.http[0].match[0].headers.x.regex"),
            ("unknown-destination", "spec.http[0].route[0].destination"),
        ]
    );
    assert!(errors.iter().all(|one| one.resource.as_deref() == Some("VirtualService default/d")));
}

#[test]
fn explain_names_the_delegate_and_its_place() {
    let planned = merged(
        "match: [{uri: {prefix: /a}}]",
        &[&format!("match: [{{uri: {{prefix: /a/b}}}}], {}", to(81)), &to(82)],
    );
    let config = planned.plan.proxy_config(&planned.options);
    let request = config_gen::cases::Request {
        port: 80,
        method: "GET".to_owned(),
        authority: b"a.example.com".to_vec(),
        path: b"/a".to_vec(),
        headers: Vec::new(),
        by_tls: false,
        by_proxy: false,
        random: 0,
    };
    let explainer = Explainer::new(config, Some((&planned.plan, &planned.options)), None).unwrap();
    let explained = explainer.explain(&request).unwrap();
    let route = explained.route.unwrap();
    assert_eq!(route.name, "http[0]-http[1] of VirtualService default/d");
    let text = planned.sources.snippet(route.span.unwrap());
    assert!(text.contains("number: 82") && !text.contains("delegate"), "{text}");
    assert_eq!(explained.lost[0].route.name, "http[0]-http[0] of VirtualService default/d");
}

#[test]
fn delegates_that_are_none_are_refused_when_read() {
    // VS-DEL-03, VS-DEL-10, VAL-VS-04, VAL-VS-29: rows of unit tests, and here the text of one.
    let mut sources = Sources::new();
    sources.add("in.yaml", virtual_service("{name: d}", "{http: [{delegate: {name: e}}]}"));
    let read = input::read(sources, &ReadOptions::default());
    let text = read.diagnostics.render(&read.sources);
    assert!(text.starts_with("error[nested-delegate]: a route of a delegate can't delegate\n"), "{text}");
}
