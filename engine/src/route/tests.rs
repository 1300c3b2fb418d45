use super::*;
use crate::config::{HeaderMatch, QueryParameterMatch, RouteMatch, StringMatch};
use crate::trace::{Condition, NoTrace};

fn check(matcher: RouteMatch, request: &Request<'_>) -> Result<(), String> {
    let matcher = RouteMatcher::new(matcher, "match").unwrap();
    matcher.check(request).map_err(|condition| format!("{condition:?}"))
}

fn path(value: StringMatch) -> RouteMatch {
    RouteMatch { path: Some(value), ..RouteMatch::default() }
}

fn get(path: &str) -> Request<'_> {
    Request {
        method: b"GET",
        scheme: b"http",
        authority: b"a.example.com",
        path: path.as_bytes(),
        ..Request::default()
    }
}

fn rewritten(matcher: RouteMatch, rewrite: &str, path: &str) -> String {
    let route = config::Route {
        name: "r".into(),
        matcher,
        route: config::RouteAction {
            cluster: Some("c".into()),
            route_profile: "default".into(),
            rewrite: Some(config::Rewrite { path: Some(rewrite.into()), ..config::Rewrite::default() }),
            ..config::RouteAction::default()
        },
    };
    let table = RouteTable::new(vec![route], "h", Mode::Proxy, "").unwrap();
    let Some(Decision::Forward(forward)) = table.decide(Owner::default(), &get(path), &mut NoTrace) else {
        panic!("not forwarded");
    };
    String::from_utf8(forward.path.unwrap()).unwrap()
}

#[test]
fn paths_are_seen_without_query() {
    let exact = || path(StringMatch::Exact("/foo".into()));
    for (request, holds) in [("/foo", true), ("/foo?x=1", true), ("/foo/", false), ("/FOO", false)] {
        assert_eq!(check(exact(), &get(request)).is_ok(), holds, "TV-27 {request}");
    }
    let insensitive = RouteMatch { ignore_path_case: true, ..exact() };
    assert!(check(insensitive, &get("/FOO")).is_ok(), "TV-28");
    let prefix = || path(StringMatch::Prefix("/foo".into()));
    assert!(check(prefix(), &get("/foobar")).is_ok(), "TV-29");
    assert!(check(prefix(), &get("/Foo")).is_err(), "TV-29");
    assert!(check(prefix(), &get("/fo")).is_err());
    let regex = RouteMatch { ignore_path_case: true, ..path(StringMatch::Regex("/v[0-9]+".into())) };
    assert!(check(regex, &get("/V1")).is_err(), "TV-31");
}

#[test]
fn headers_hold_as_in_envoy() {
    let with = |value: StringMatch, invert: bool| RouteMatch {
        headers: vec![HeaderMatch { name: "X-U".into(), value, invert }],
        ..RouteMatch::default()
    };
    let exact = |text: &str| StringMatch::Exact(text.into());
    let regex = |text: &str| StringMatch::Regex(text.into());
    type Lines = &'static [(&'static [u8], &'static [u8])];
    const ALICE: Lines = &[(b"x-u", b"alice")];
    const BOTH: Lines = &[(b"x-u", b"alice"), (b"x-u", b"bob")];
    const EMPTY: Lines = &[(b"x-u", b"")];
    const ABSENT: Lines = &[];
    for (id, matcher, headers, holds) in [
        ("TV-36", with(exact("alice"), false), ALICE, true),
        ("TV-36", with(exact("Alice"), false), ALICE, false),
        ("TV-36", with(exact("alice"), false), BOTH, false),
        ("TV-36", with(exact("alice,bob"), false), BOTH, true),
        ("TV-37", with(regex(".*bob.*"), false), BOTH, true),
        ("TV-38", with(StringMatch::Present, false), EMPTY, true),
        ("TV-38", with(StringMatch::Present, false), ABSENT, false),
        ("TV-39", with(exact(""), false), ABSENT, false),
        ("TV-39", with(exact(""), false), EMPTY, true),
        ("TV-40", with(exact("alice"), true), ABSENT, true),
        ("TV-40", with(exact("alice"), true), ALICE, false),
        ("TV-40", with(exact("bob"), true), ALICE, true),
        ("TV-41", with(StringMatch::Present, true), ABSENT, true),
        ("TV-41", with(StringMatch::Present, true), EMPTY, false),
        ("TV-42", with(regex(".*"), true), ABSENT, false),
        ("TV-43", with(regex(".+"), true), ABSENT, true),
        ("TV-44", with(exact(""), true), ABSENT, false),
    ] {
        let request = Request { headers, ..get("/") };
        assert_eq!(check(matcher, &request).is_ok(), holds, "{id} {headers:?}");
    }
}

#[test]
fn query_parameters_are_raw_and_the_first_counts() {
    let with = |value: StringMatch| RouteMatch {
        query_parameters: vec![QueryParameterMatch { name: "k".into(), value }],
        ..RouteMatch::default()
    };
    let exact = |text: &str| StringMatch::Exact(text.into());
    for (id, value, path, holds) in [
        ("TV-45", exact("v"), "/?k=v&k=w", true),
        ("TV-45", exact("v"), "/?k=w&k=v", false),
        ("TV-45", exact("v"), "/?K=v", false),
        ("TV-45", exact("v"), "/?k=%76", false),
        ("TV-46", exact(""), "/?k", true),
        ("TV-46", exact(""), "/?k=", true),
        ("TV-46", exact(""), "/", false),
        ("TV-46", exact(""), "/?k=1", false),
        ("TV-47", StringMatch::Regex(r"\d+".into()), "/?k=12", true),
        ("TV-47", StringMatch::Regex(r"\d+".into()), "/?k=12a", false),
        ("VS-MATCH-27", StringMatch::Present, "/?k", true),
        ("VS-MATCH-27", StringMatch::Present, "/?kk=1", false),
    ] {
        assert_eq!(check(with(value), &get(path)).is_ok(), holds, "{id} {path}");
    }
}

#[test]
fn method_and_authority_are_compared_as_sent() {
    let method =
        |text: &str| RouteMatch { method: Some(StringMatch::Exact(text.into())), ..RouteMatch::default() };
    assert!(check(method("GET"), &get("/")).is_ok());
    assert!(check(method("get"), &get("/")).is_err(), "TV-35");
    for sent in ["a.example.com:80", "A.example.com"] {
        let matcher = RouteMatch {
            authority: Some(StringMatch::Exact("a.example.com".into())),
            ..RouteMatch::default()
        };
        let request = Request { authority: sent.as_bytes(), ..get("/") };
        assert_eq!(check(matcher, &request), Err(format!("{:?}", Condition::Authority)), "TV-34 {sent}");
    }
}

#[test]
fn a_rewrite_replaces_what_matched() {
    let prefix = |text: &str| path(StringMatch::Prefix(text.into()));
    for (id, matcher, rewrite, request, expected) in [
        ("TV-52", prefix("/foo"), "/bar", "/foo/x?q=1", "/bar/x?q=1"),
        ("TV-52", prefix("/foo"), "/bar", "/foobar", "/barbar"),
        ("TV-52", prefix("/foo"), "/bar", "/foo", "/bar"),
        ("TV-53", prefix("/foo"), "/", "/foo/x", "//x"),
        ("TV-54", prefix("/foo/"), "/", "/foo/x", "/x"),
        ("TV-55", path(StringMatch::Exact("/foo".into())), "/bar", "/foo?q=1", "/bar?q=1"),
        ("TV-56", path(StringMatch::Regex("/a/.*".into())), "/b", "/a/x/y?q=1", "/b?q=1"),
        ("TV-57", RouteMatch::default(), "/bar", "/x?q=1", "/barx?q=1"),
        ("TV-57", RouteMatch::default(), "/bar", "/", "/bar"),
        ("TV-58", RouteMatch { ignore_path_case: true, ..prefix("/Foo") }, "/bar", "/fOO/x", "/bar/x"),
        ("VS-RW-08", prefix(""), "/bar", "/x", "/bar/x"),
        ("VS-RW-10", prefix("/foo"), "/bar?a=1", "/foo?b=2", "/bar?a=1?b=2"),
    ] {
        assert_eq!(rewritten(matcher, rewrite, request), expected, "{id}");
    }
}

#[test]
fn faults_of_routes_are_named_by_path() {
    let error = |route: config::Route, mode| {
        RouteTable::new(vec![route], "h", mode, "virtualHosts[0]").unwrap_err().to_string()
    };
    let route = |cluster: Option<&str>| config::Route {
        name: "r".into(),
        matcher: RouteMatch::default(),
        route: config::RouteAction {
            cluster: cluster.map(Into::into),
            route_profile: "default".into(),
            ..config::RouteAction::default()
        },
    };
    assert!(error(route(None), Mode::Proxy).starts_with("virtualHosts[0].routes[0].route.cluster: missing"));
    assert!(
        error(route(Some("c")), Mode::Mesh)
            .starts_with("virtualHosts[0].routes[0].route.cluster: not allowed")
    );
    let bad_regex = config::Route { matcher: path(StringMatch::Regex("(".into())), ..route(Some("c")) };
    assert_eq!(
        error(bad_regex, Mode::Proxy),
        "virtualHosts[0].routes[0].match.path.regex: invalid regex: unclosed group"
    );
    let mut split = route(Some("c"));
    split.route.rewrite =
        Some(config::Rewrite { authority: Some("a\r\nb".into()), ..config::Rewrite::default() });
    assert!(
        error(split, Mode::Proxy).starts_with("virtualHosts[0].routes[0].route.rewrite.authority: must not")
    );
}

/// How many of `matchers` the index has looked at when it knows the first that `request` matches.
fn asked(matchers: Vec<RouteMatch>, request: &Request<'_>) -> (usize, Option<usize>) {
    let mut matchers: Vec<RouteMatcher> =
        matchers.into_iter().map(|matcher| RouteMatcher::new(matcher, "match").unwrap()).collect();
    let index = Index::new(matchers.iter_mut());
    let mut asked = 0;
    let found = index.first(request, |route, _| {
        asked += 1;
        matchers[route].check(request).is_ok()
    });
    (asked, found)
}

#[test]
fn the_index_passes_over_what_cannot_match() {
    let many = |of: fn(String) -> RouteMatch| (0..500).map(|number| of(format!("/r{number:03}"))).collect();
    let header = |name: &str, value| {
        let value = StringMatch::Exact(value);
        RouteMatch {
            headers: vec![HeaderMatch { name: name.into(), value, invert: false }],
            ..RouteMatch::default()
        }
    };
    let headers: &[(&[u8], &[u8])] = &[(b"x", b"/r499"), (b"h499", b"1")];
    let request = Request { headers, authority: b"/r499", ..get("/r499?q=/r499&q499=1") };
    let of_kind: [(&str, Vec<RouteMatch>); 9] = [
        ("exact", many(|text| path(StringMatch::Exact(text)))),
        ("prefix", many(|text| path(StringMatch::Prefix(text)))),
        ("regex", many(|text| path(StringMatch::Regex(text + ".*")))),
        (
            "authority",
            many(|text| RouteMatch { authority: Some(StringMatch::Exact(text)), ..RouteMatch::default() }),
        ),
        (
            "method",
            many(|text| RouteMatch { method: Some(StringMatch::Exact(text)), ..RouteMatch::default() }),
        ),
        ("header's value", (0..500).map(|number| header("x", format!("/r{number:03}"))).collect()),
        ("header's name", (0..500).map(|number| header(&format!("h{number}"), "1".into())).collect()),
        (
            "query parameter",
            many(|text| RouteMatch {
                query_parameters: vec![QueryParameterMatch {
                    name: "q".into(),
                    value: StringMatch::Exact(text),
                }],
                ..RouteMatch::default()
            }),
        ),
        (
            "query parameter's name",
            (0..500)
                .map(|number| RouteMatch {
                    query_parameters: vec![QueryParameterMatch {
                        name: format!("q{number}"),
                        value: StringMatch::Exact("1".into()),
                    }],
                    ..RouteMatch::default()
                })
                .collect(),
        ),
    ];
    for (kind, matchers) in of_kind {
        let expected = (kind != "method").then_some(499);
        let (asked, found) = asked(matchers, &request);
        assert_eq!(found, expected, "{kind}");
        assert!(asked <= 1, "{kind}: {asked} routes asked");
    }
}

#[test]
fn the_index_finds_the_other_cases_beyond_ascii() {
    // `(?i)k` takes the Kelvin sign in RE2, and `(?i)s` the long s.
    for (pattern, text) in
        [("(?i)/kilo.*", "/\u{212a}ilo"), ("(?i).*/miss", "/mi\u{17f}s"), ("(?i)/ska", "/s\u{212a}A")]
    {
        let matchers =
            vec![path(StringMatch::Exact("/none".into())), path(StringMatch::Regex(pattern.into()))];
        assert_eq!(asked(matchers, &get(text)).1, Some(1), "{pattern}");
    }
}
