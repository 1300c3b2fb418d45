//! What a matched route does (spec sections 4.3 to 4.8), through the plugin config.
// `json!` reads best as an argument.
#![allow(clippy::needless_pass_by_value)]

use std::borrow::Cow;

use portolan_engine::{
    Cause, Decision, Engine, Forward, LocalReply, Message, NoTrace, Properties, Property, Request,
};
use serde_json::{Value, json};

/// An engine with one route to whatever `a.example.com` is.
fn engine_with(matcher: Value, action: Value) -> Engine {
    load(matcher, action).unwrap_or_else(|error| panic!("{error}"))
}

fn load(matcher: Value, action: Value) -> Result<Engine, String> {
    let config = json!({
        "version": 1,
        "virtualHosts": [{
            "name": "VirtualService default/a",
            "domains": ["a.example.com"],
            "routes": [{"name": "http[0]", "match": matcher, "route": action}],
        }],
    });
    Engine::from_json(config.to_string().as_bytes()).map_err(|error| error.to_string())
}

fn engine(action: Value) -> Engine {
    engine_with(json!({}), action)
}

fn refusal(action: Value) -> String {
    load(json!({}), action).map(drop).expect_err("the config is refused")
}

fn get(path: &str) -> Request<'_> {
    Request {
        listener_port: 80,
        method: b"GET",
        scheme: b"http",
        authority: b"a.example.com",
        path: path.as_bytes(),
        ..Request::default()
    }
}

fn forward<'e>(engine: &'e Engine, request: &Request<'_>) -> Forward<'e> {
    match engine.decide(request, &mut NoTrace) {
        Decision::Forward(forward) => forward,
        other => panic!("not forwarded: {other:?}"),
    }
}

fn reply<'e>(engine: &'e Engine, request: &Request<'_>) -> LocalReply<'e> {
    match engine.decide(request, &mut NoTrace) {
        Decision::Respond(reply) => reply,
        other => panic!("not answered: {other:?}"),
    }
}

/// A request or a response for which every property is known.
#[derive(Debug)]
struct Known;

impl Properties for Known {
    fn text(&self, property: Property) -> Option<Vec<u8>> {
        Some(match property {
            Property::Protocol => b"HTTP/2".to_vec(),
            Property::DownstreamRemoteAddress => b"192.0.2.1:5000".to_vec(),
            Property::DownstreamLocalAddress => b"[2001:db8::1]:80".to_vec(),
            Property::UpstreamHost => b"192.0.2.2:443".to_vec(),
            Property::UpstreamCluster => b"outbound|443||a".to_vec(),
            Property::StartTime | Property::ResponseCode => return None,
        })
    }

    fn number(&self, property: Property) -> Option<i64> {
        match property {
            Property::StartTime => Some(1_785_542_400_123_999_999),
            Property::ResponseCode => Some(200),
            _ => None,
        }
    }
}

impl Message for Known {
    fn request_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == "q").then_some(Cow::Borrowed(b"asked"))
    }

    fn response_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == "r").then_some(Cow::Borrowed(b"answered"))
    }
}

/// An answer that isn't an upstream's.
#[derive(Debug)]
struct OfEnvoy;

impl Properties for OfEnvoy {
    fn text(&self, _: Property) -> Option<Vec<u8>> {
        None
    }

    fn number(&self, _: Property) -> Option<i64> {
        None
    }
}

impl Message for OfEnvoy {
    fn request_header(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn response_header(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        None
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

mod weights {
    use super::*;

    fn weighted(weights: &[u32]) -> Engine {
        let destinations: Vec<Value> = weights
            .iter()
            .enumerate()
            .map(|(index, weight)| json!({"cluster": format!("c{index}"), "weight": weight}))
            .collect();
        engine(json!({"destinations": destinations}))
    }

    fn drawn(engine: &Engine, random: u64) -> String {
        forward(engine, &Request { random, ..get("/") }).cluster.unwrap().to_owned()
    }

    #[test]
    fn intervals_are_in_the_order_of_the_list() {
        // TV-64, VS-ROUTE-04
        let engine = weighted(&[1, 3]);
        for (random, cluster) in [(0, "c0"), (1, "c1"), (3, "c1"), (4, "c0")] {
            assert_eq!(drawn(&engine, random), cluster, "{random}");
        }
    }

    #[test]
    fn a_weight_of_zero_is_never_drawn() {
        // TV-65, VS-ROUTE-02
        let engine = weighted(&[0, 5, 0]);
        for random in [0, 1, 4, 5, u64::MAX] {
            assert_eq!(drawn(&engine, random), "c1");
        }
        assert!(refusal(json!({"destinations": [{"cluster": "a", "weight": 0}]})).contains("add up to 0"));
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        let engine = weighted(&[u32::MAX, u32::MAX]);
        assert_eq!(drawn(&engine, u64::from(u32::MAX) - 1), "c0");
        assert_eq!(drawn(&engine, u64::from(u32::MAX)), "c1");
    }

    #[test]
    fn shares_are_those_of_the_weights() {
        // VS-ROUTE-02, VS-ROUTE-03: the sum need not be 100.
        const DRAWS: u32 = 100_000;
        let weights = [1, 3, 6, 17];
        let engine = weighted(&weights);
        let mut counts = [0_u32; 4];
        let mut state = 1_u64;
        for _ in 0..DRAWS {
            // Knuth's MMIX generator; its upper bits are good.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let cluster = drawn(&engine, state >> 16);
            counts[cluster[1..].parse::<usize>().unwrap()] += 1;
        }
        let sum = f64::from(weights.iter().sum::<u32>());
        let chi_square: f64 = weights
            .iter()
            .zip(counts)
            .map(|(&weight, count)| {
                let expected = f64::from(DRAWS) * f64::from(weight) / sum;
                (f64::from(count) - expected).powi(2) / expected
            })
            .sum();
        // 3 degrees of freedom, 0.1 %.
        assert!(chi_square < 16.27, "{counts:?}: {chi_square}");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let both = json!({"cluster": "a", "destinations": [{"cluster": "b", "weight": 1}]});
        assert!(refusal(both).contains("not allowed beside `cluster`"));
        let negative = json!({"destinations": [{"cluster": "b", "weight": -1}]});
        assert!(refusal(negative).contains("destinations[0].weight"), "VS-ROUTE-05");
    }
}

mod regex_rewrites {
    use super::*;

    fn rewritten(pattern: &str, replacement: &str, path: &str) -> String {
        let rewrite = json!({"pathRegex": {"pattern": pattern, "replacement": replacement}});
        let engine = engine(json!({"cluster": "c", "rewrite": rewrite}));
        String::from_utf8(forward(&engine, &get(path)).path.unwrap()).unwrap()
    }

    #[test]
    fn every_match_is_replaced() {
        for (id, pattern, replacement, path, expected) in [
            ("TV-59", "/user/([0-9]+)", r"/u/\1", "/api/user/42/x?q=/user/1", "/api/u/42/x?q=/user/1"),
            ("TV-60", "/a", "/b", "/a/a", "/b/b"),
            ("VS-RW-11", "/x", "/y", "/a?b=/x", "/a?b=/x"),
            ("VS-RW-11", "(/)(a)", r"\2\1\0\\", "/a", r"a//a\"),
            ("VS-RW-11", "(b)?a", r"[\1]", "/a/ba", "/[]/[b]"),
            ("VS-RW-11", "x*", "-", "/axb", "-/-a-b-"),
            ("VS-RW-11", "^/a", "/b", "/a/a", "/b/a"),
        ] {
            assert_eq!(rewritten(pattern, replacement, path), expected, "{id} {pattern}");
        }
    }

    #[test]
    fn faults_are_named() {
        for (pattern, replacement, expected) in [
            ("(", "a", "unclosed group"),
            ("", "a", "the regex is empty"),
            ("a", r"\1", "group 1, and the regex has 0"),
            ("a", r"\x", "a backslash must be followed"),
            ("a", r"\", "a backslash must be followed"),
            ("a", "a\r\nb", "blanks or control characters"),
        ] {
            let rewrite = json!({"pathRegex": {"pattern": pattern, "replacement": replacement}});
            let error = refusal(json!({"cluster": "c", "rewrite": rewrite}));
            assert!(error.contains(expected), "{error}");
        }
        let both = json!({"path": "/", "pathRegex": {"pattern": "a", "replacement": "b"}});
        assert!(refusal(json!({"cluster": "c", "rewrite": both})).contains("both `path` and `pathRegex`"));
    }
}

mod redirects {
    use super::*;

    fn location(redirect: Value, authority: &str, path: &str) -> (u16, String) {
        let engine =
            engine_with(json!({"path": {"prefix": if path.starts_with("/foo") { "/foo" } else { "/" }}}), {
                let mut redirect = redirect;
                if redirect["code"].is_null() {
                    redirect["code"] = json!(301);
                }
                json!({"redirect": redirect})
            });
        let request = Request { authority: authority.as_bytes(), ..get(path) };
        let reply = reply(&engine, &request);
        assert_eq!(reply.cause, Cause::Redirected);
        assert_eq!(reply.details, "redirected{VirtualService default/a http[0]}");
        assert_eq!((reply.headers.len(), reply.headers[0].0), (1, "location"));
        (reply.status, text(&reply.headers[0].1).to_owned())
    }

    #[test]
    fn the_old_schemes_own_port_goes() {
        // VS-RD-10, for a request that came over TLS.
        let engine = engine(json!({"redirect": {"code": 301, "scheme": "http"}}));
        for (authority, expected) in [
            (b"a.example.com:443".as_slice(), "http://a.example.com/"),
            (b"a.example.com:80", "http://a.example.com:80/"),
        ] {
            let request = Request { scheme: b"https", authority, ..get("/") };
            let reply = reply(&engine, &request);
            let location = reply.headers.iter().find(|(name, _)| *name == "location");
            assert_eq!(location.map(|(_, value)| text(value)), Some(expected));
        }
    }

    #[test]
    fn locations() {
        const A: &str = "a.example.com";
        for (id, redirect, authority, path, expected) in [
            ("TV-73", json!({"authority": "n.example.com"}), A, "/p?q", "http://n.example.com/p?q"),
            ("TV-74", json!({"path": "/x"}), A, "/p?q=2", "http://a.example.com/x?q=2"),
            ("TV-74", json!({"path": "/x?y=1"}), A, "/p?q=2", "http://a.example.com/x?y=1"),
            ("VS-RD-02", json!({"path": "x"}), A, "/p", "http://a.example.com/x"),
            ("TV-75", json!({"scheme": "https"}), "a.example.com:80", "/", "https://a.example.com/"),
            ("TV-75", json!({"scheme": "https"}), "a.example.com:8080", "/", "https://a.example.com:8080/"),
            ("VS-RD-10", json!({"path": "/x"}), "a.example.com:80", "/", "http://a.example.com:80/x"),
            ("TV-76", json!({"scheme": "https"}), A, "/", "https://a.example.com/"),
            ("TV-76", json!({"scheme": "https", "port": 8443}), A, "/", "https://a.example.com:8443/"),
            ("VS-RD-10", json!({"port": 8443}), "a.example.com:81", "/", "http://a.example.com:8443/"),
            ("VS-RD-05", json!({"authority": "n:81", "path": "/"}), A, "/", "http://n:81/"),
            ("VS-RD-04", json!({"prefix": "/bar"}), A, "/foo/x?q", "http://a.example.com/bar/x?q"),
            // What ends a header or starts another never gets into one.
            ("", json!({"authority": "n"}), A, "/a\r\nx: y", "http://n/a%0D%0Ax:%20y"),
        ] {
            assert_eq!(location(redirect, authority, path), (301, expected.to_owned()), "{id}");
        }
        let prefix = json!({"prefix": "/bar", "code": 308});
        assert_eq!(location(prefix, A, "/foo/x?q"), (308, "http://a.example.com/bar/x?q".into()), "TV-77");
    }

    #[test]
    fn what_would_split_a_response_is_refused() {
        for (field, value) in [
            ("path", json!("/a\r\nb")),
            ("authority", json!("a b")),
            ("prefix", json!("\n")),
            ("scheme", json!("ftp")),
            ("code", json!(304)),
        ] {
            let mut redirect = json!({"code": 301});
            redirect[field] = value;
            let error = refusal(json!({"redirect": redirect}));
            assert!(
                error.starts_with(&format!("virtualHosts[0].routes[0].route.redirect.{field}: ")),
                "{error}"
            );
        }
        let both = json!({"cluster": "c", "redirect": {"code": 301, "path": "/"}});
        assert!(refusal(both).contains("can only forward, redirect or answer"), "VS-RD-12");
    }
}

mod direct_responses {
    use super::*;

    #[test]
    fn they_have_a_status_and_a_body() {
        // TV-79, VS-DR-02
        for (response, status, body) in [
            (json!({"status": 503, "body": {"text": "down"}}), 503, &b"down"[..]),
            (json!({"status": 200, "body": {"base64": "AP8="}}), 200, b"\0\xff"),
            (json!({"status": 200}), 200, b""),
            (json!({"status": 204, "body": {"text": "x"}}), 204, b""),
        ] {
            let engine = engine(json!({"directResponse": response}));
            let reply = reply(&engine, &get("/"));
            assert_eq!((reply.status, &*reply.body, reply.cause), (status, body, Cause::DirectResponse));
            assert_eq!(reply.details, "direct_response{VirtualService default/a http[0]}");
        }
    }

    #[test]
    fn those_that_lead_elsewhere_say_where_they_stand() {
        // As Envoy's; what the route sets comes after.
        for (status, location) in [(201, true), (302, true), (304, true), (200, false), (400, false)] {
            let mut action = json!({"directResponse": {"status": status}});
            let plain = engine(action.clone());
            let expected: Vec<(&str, Cow<'_, [u8]>)> =
                vec![("location", b"http://a.example.com/x?y"[..].into())];
            assert_eq!(reply(&plain, &get("/x?y")).headers, if location { expected } else { vec![] });
            action["responseHeaders"] = json!({"set": [["location", "/n"]]});
            let set = engine(action);
            assert_eq!(reply(&set, &get("/")).headers, [("location", b"/n"[..].into())]);
        }
    }

    #[test]
    fn the_status_is_one_that_envoy_sends() {
        for status in [0, 199, 600] {
            let error = refusal(json!({"directResponse": {"status": status}}));
            assert!(error.ends_with("route.directResponse.status: must be between 200 and 599"), "{error}");
        }
        assert!(
            refusal(json!({"directResponse": {"status": 200, "body": {"base64": "?"}}})).contains("base64")
        );
    }
}

mod header_operations {
    use super::*;
    use portolan_engine::{HeaderChange, OriginalHost};

    /// The lines of header `x` as the upstream sees them.
    fn x(action: Value, headers: &[(&[u8], &[u8])], random: u64) -> Vec<String> {
        let engine = engine(action);
        let forward = forward(&engine, &Request { headers, random, ..get("/") });
        let mut lines: Vec<String> = headers
            .iter()
            .filter(|(name, _)| *name == b"x")
            .map(|(_, value)| text(value).to_owned())
            .collect();
        for change in &forward.headers {
            match change {
                HeaderChange::Remove("x") => lines.clear(),
                HeaderChange::Set("x", value) => lines = vec![text(value).to_owned()],
                HeaderChange::Add("x", value) => lines.push(text(value).to_owned()),
                _ => {}
            }
        }
        lines
    }

    const X0: &[(&[u8], &[u8])] = &[(b":path", b"/p"), (b"x", b"0"), (b"y", b"1"), (b"y", b"2")];

    #[test]
    fn removed_then_set_then_added() {
        for (id, operations, expected) in [
            ("TV-70", json!({"remove": ["x"], "set": [["x", "1"]]}), vec!["1"]),
            ("TV-71", json!({"add": [["x", "2"]], "set": [["x", "1"]]}), vec!["1", "2"]),
            ("TV-72", json!({"set": [["x", ""]]}), vec!["0"]),
            ("VS-HDR-13", json!({"add": [["X", "1"]]}), vec!["0", "1"]),
            ("VS-HDR-09", json!({"set": [["x", "100%%"]]}), vec!["100%"]),
            ("GAP-07", json!({"set": [["x", "a%REQ(Y)%b%REQ(:path)%"]]}), vec!["a1b/p"]),
            ("GAP-07", json!({"set": [["x", "%REQ(z?y)%"]]}), vec!["1"]),
            ("GAP-07", json!({"set": [["x", "%REQ(z?:path):1%%REQ(y):5%"]]}), vec!["/1"]),
            // Nothing comes of it: the value is empty.
            ("VS-HDR-08", json!({"set": [["x", "%REQ(z)%"]]}), vec!["0"]),
            // Values see the headers after removal, before what is set.
            ("VS-HDR-10", json!({"remove": ["y"], "set": [["x", "%REQ(y)%!"]]}), vec!["!"]),
            ("VS-HDR-10", json!({"set": [["x", "1"]], "add": [["x", "%REQ(x)%"]]}), vec!["1", "0"]),
        ] {
            assert_eq!(x(json!({"cluster": "c", "requestHeaders": operations}), X0, 0), expected, "{id}");
        }
    }

    #[test]
    fn with_several_destinations_the_route_comes_last() {
        let action = |route: Value| {
            json!({
                "destinations": [
                    {"cluster": "a", "weight": 1, "requestHeaders": {"set": [["x", "d"]]}},
                    {"cluster": "b", "weight": 1, "authority": "b"},
                ],
                "requestHeaders": route,
            })
        };
        assert_eq!(x(action(json!({"set": [["x", "r"]]})), X0, 0), ["r"], "TV-69");
        assert_eq!(x(action(json!({"remove": ["x"]})), X0, 0), [""; 0], "VS-HDR-04");
        assert_eq!(x(action(json!({})), X0, 0), ["d"]);
        assert_eq!(x(action(json!({"add": [["x", "%REQ(x)%"]]})), X0, 0), ["d", "d"], "VS-HDR-10");
        assert_eq!(x(action(json!({})), X0, 1), ["0"]);
        let engine = engine(action(json!({})));
        let authority = |random| forward(&engine, &Request { random, ..get("/") }).authority;
        assert_eq!((authority(0), authority(1)), (None, Some("b")), "VS-RW-14");
        let told = |action: &Value, random| {
            let engine = crate::engine(action.clone());
            match forward(&engine, &Request { random, ..get("/") }).original_host {
                OriginalHost::Chosen(host) => host.to_owned(),
                other => format!("{other:?}"),
            }
        };
        // VS-RW-16, as measured.
        let mut action = action(json!({}));
        assert_eq!((told(&action, 0), told(&action, 1)), ("Requested".into(), "Untold".into()));
        action["rewrite"] = json!({"authority": "r"});
        assert_eq!((told(&action, 0), told(&action, 1)), ("Requested".into(), "b".into()));
    }

    #[test]
    fn responses_say_which_headers_of_the_request_they_need() {
        let set = json!({"set": [["a", "%REQ(x?y)%"], ["b", "%RESP(z)%"]], "add": [["c", "%REQ(w)%"]]});
        let engine = engine(json!({"cluster": "c", "responseHeaders": set}));
        let response = forward(&engine, &get("/")).response.unwrap();
        assert_eq!(response.request_headers(), ["x", "y", "w"]);
    }

    #[test]
    fn responses_of_all_sorts_are_changed() {
        let operations = json!({"remove": ["X"], "set": [["y", "1%%"]], "add": [["z", "2"]]});
        let expected = [
            HeaderChange::Remove("x"),
            HeaderChange::Set("y", b"1%"[..].into()),
            HeaderChange::Add("z", b"2"[..].into()),
        ];
        let with = |action: Value| {
            let mut action = action;
            action["responseHeaders"] = operations.clone();
            engine(action)
        };
        let forwarding = with(json!({"cluster": "c"}));
        assert_eq!(forward(&forwarding, &get("/")).response.unwrap().changes(&Known), expected);
        // VS-HDR-12
        for action in
            [json!({"redirect": {"code": 301, "path": "/"}}), json!({"directResponse": {"status": 200}})]
        {
            let engine = with(action);
            let headers = reply(&engine, &get("/")).headers;
            let own: Vec<_> = headers.iter().filter(|(name, _)| *name != "location").collect();
            assert_eq!(own, [&("y", b"1%"[..].into()), &("z", b"2"[..].into())]);
        }
        let none = engine(json!({"cluster": "c"}));
        assert!(forward(&none, &get("/")).response.is_none());
    }

    /// What a route makes of the value `format` in a response that passes, and in its own answer.
    fn composed(format: &str) -> [Option<String>; 2] {
        let set = json!({"set": [["x", format]]});
        let forwarding = engine(json!({"cluster": "c", "responseHeaders": set}));
        let forward = forward(&forwarding, &get("/"));
        let passing = match forward.response.unwrap().changes(&Known).as_slice() {
            [] => None,
            [HeaderChange::Set("x", value)] => Some(text(value).to_owned()),
            other => panic!("{other:?}"),
        };
        let redirecting = json!({"redirect": {"code": 308, "path": "/n"}, "responseHeaders": set});
        let redirecting = engine(redirecting);
        let request = Request { properties: Some(&Known), headers: &[(b"q", b"own")], ..get("/") };
        let reply = reply(&redirecting, &request);
        let own = reply.headers.iter().find(|(name, _)| *name == "x");
        [passing, own.map(|(_, value)| text(value).to_owned())]
    }

    #[test]
    fn operators_stand_for_what_envoy_knows() {
        // GAP-07
        for (format, passing, own) in [
            ("%REQ(Q)%", Some("asked"), Some("own")),
            ("%RESP(z?R):3%", Some("ans"), None),
            ("%RESP(location)%", None, Some("http://a.example.com/n")),
            ("%RESP(:status)%", None, Some("308")),
            ("%RESPONSE_CODE%", Some("200"), Some("0")),
            ("%UPSTREAM_HOST%", Some("192.0.2.2:443"), None),
            ("%UPSTREAM_CLUSTER%", Some("outbound|443||a"), None),
            ("%PROTOCOL%", Some("HTTP/2"), Some("HTTP/2")),
            ("%DOWNSTREAM_REMOTE_ADDRESS%", Some("192.0.2.1:5000"), Some("192.0.2.1:5000")),
            ("%START_TIME%", Some("2026-08-01T00:00:00.123Z"), Some("2026-08-01T00:00:00.123Z")),
        ] {
            assert_eq!(composed(format), [passing, own].map(|value| value.map(str::to_owned)), "{format}");
        }
        let request = Request { properties: Some(&Known), ..get("/") };
        for (format, expected) in [
            ("%PROTOCOL% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "HTTP/2 192.0.2.1"),
            ("%DOWNSTREAM_REMOTE_PORT%", "5000"),
            ("%DOWNSTREAM_LOCAL_ADDRESS%", "[2001:db8::1]:80"),
            ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "2001:db8::1"),
            ("%DOWNSTREAM_LOCAL_PORT%", "80"),
        ] {
            let engine = engine(json!({"cluster": "c", "requestHeaders": {"set": [["x", format]]}}));
            let expected = [HeaderChange::Set("x", expected.as_bytes().into())];
            assert_eq!(forward(&engine, &request).headers, expected);
        }
    }

    #[test]
    fn responses_are_changed_level_by_level() {
        let engine = engine(json!({
            "destinations": [{"cluster": "a", "weight": 1, "responseHeaders": {"set": [["d", "%RESP(r)%"]]}}],
            "responseHeaders": {"remove": ["r"], "set": [["x", "%RESP(d)%%RESP(r)%"], ["y", "%RESP(x)%"]]},
        }));
        let forward = forward(&engine, &get("/"));
        // VS-HDR-04, VS-HDR-10
        let expected = [
            HeaderChange::Set("d", b"answered"[..].into()),
            HeaderChange::Remove("r"),
            HeaderChange::Set("x", b"answered"[..].into()),
        ];
        assert_eq!(forward.response.unwrap().changes(&Known), expected);
    }

    #[test]
    fn envoys_own_answers_keep_the_headers_of_their_body() {
        // Envoy sets them after the route's changes; those of an upstream are removed.
        let remove = json!({"remove": ["content-type", "content-length", "y"]});
        let engine = engine(json!({"cluster": "c", "responseHeaders": remove}));
        let forward = forward(&engine, &get("/"));
        let headers = forward.response.unwrap();
        assert_eq!(headers.changes(&Known).len(), 3);
        assert_eq!(headers.changes(&OfEnvoy), [HeaderChange::Remove("y")]);
    }

    #[test]
    fn the_routes_level_sees_the_destinations_host() {
        // VS-HDR-10, VS-RW-14
        let host: &[(&[u8], &[u8])] = &[(b":authority", b"a.example.com")];
        let action = json!({
            "destinations": [{
                "cluster": "a", "weight": 1, "authority": "d",
                "requestHeaders": {"add": [["x", "%REQ(host)%"]]},
            }],
            "requestHeaders": {"add": [["x", "%REQ(:authority)%"]]},
        });
        assert_eq!(x(action, host, 0), ["a.example.com", "d"]);
    }

    #[test]
    fn nothing_internal_is_read_or_written() {
        let request: &[(&[u8], &[u8])] =
            &[(b"x-portolan-listener-port", b"80"), (b"x-envoy-retry-on", b"5xx")];
        let operations = json!({"set": [["x", "%REQ(x-portolan-listener-port)%%REQ(x-envoy-retry-on)%."]]});
        assert_eq!(x(json!({"cluster": "c", "requestHeaders": operations}), request, 0), ["."]);
        for (field, operations, expected) in [
            ("requestHeaders", json!({"set": [["x-envoy-retry-on", "5xx"]]}), "would steer Envoy"),
            ("requestHeaders", json!({"add": [["X-Portolan-Cluster", "c"]]}), "would steer Envoy"),
            ("requestHeaders", json!({"set": [["host", "a"]]}), "can't be changed"),
            ("requestHeaders", json!({"set": [[":path", "/"]]}), "can't be changed"),
            ("requestHeaders", json!({"set": [["a b", "c"]]}), "can't be changed"),
            ("requestHeaders", json!({"set": [["x", "%"]]}), "must be written as `%%`"),
            ("requestHeaders", json!({"set": [["x", "%RESP(y)%"]]}), "`%RESP(y)%` is not supported"),
            ("responseHeaders", json!({"set": [["x", "%HOSTNAME%"]]}), "`%HOSTNAME%` is not supported"),
            ("responseHeaders", json!({"set": [["x", "a\r\nb: c"]]}), "control characters"),
            ("responseHeaders", json!({"remove": [":status"]}), "can't be removed"),
        ] {
            let mut action = json!({"cluster": "c"});
            action[field] = operations;
            let error = refusal(action);
            assert!(error.contains(field) && error.contains(expected), "{error}");
        }
    }
}

mod timeouts_and_retries {
    use super::*;
    use portolan_engine::HeaderChange;

    fn told(action: Value, headers: &[(&[u8], &[u8])]) -> Vec<(String, String)> {
        let engine = engine(action);
        let forward = forward(&engine, &Request { headers, ..get("/") });
        let set = |change: &HeaderChange<'_>| match change {
            HeaderChange::Set(name, value) => (name.to_string(), text(value).to_owned()),
            other => panic!("{other:?}"),
        };
        forward.headers.iter().map(set).collect()
    }

    fn timeout(vs: Option<u64>, headers: &[(&[u8], &[u8])]) -> Option<String> {
        let mut action = json!({"cluster": "c"});
        if let Some(vs) = vs {
            action["timeoutMs"] = json!(vs);
        }
        let mut told = told(action, headers);
        assert!(told.len() <= 1);
        let (name, value) = told.pop()?;
        assert_eq!(name, "x-envoy-upstream-rq-timeout-ms");
        Some(value)
    }

    #[test]
    fn grpc_gets_the_lesser_timeout() {
        const GRPC: (&[u8], &[u8]) = (b"content-type", b"application/grpc");
        let grpc = |value: &'static [u8]| [GRPC, (&b"grpc-timeout"[..], value)];
        for (id, vs, headers, expected) in [
            ("TV-80", None, &[][..], None),
            ("VS-TO-02", Some(300), &[], Some("300")),
            ("TV-121", None, &grpc(b"500m"), Some("500")),
            ("TV-121", None, &[GRPC], None),
            ("TV-122", Some(300), &grpc(b"500m"), Some("300")),
            ("TV-122", Some(300), &grpc(b"100m"), Some("100")),
            ("TV-122", Some(300), &[GRPC], Some("300")),
            ("VS-TO-06", None, &grpc(b"1H"), Some("3600000")),
            ("VS-TO-06", None, &grpc(b"2M"), Some("120000")),
            ("VS-TO-06", None, &grpc(b"99999999S"), Some("99999999000")),
            ("VS-TO-06", None, &grpc(b"1500u"), Some("2")),
            ("VS-TO-06", None, &grpc(b"1n"), Some("1")),
            ("VS-TO-06", Some(300), &grpc(b"0m"), Some("300")),
            ("VS-TO-06", None, &grpc(b"m"), None),
            ("VS-TO-06", None, &grpc(b"+1m"), None),
            ("VS-TO-06", None, &grpc(b"123456789m"), None),
            ("VS-TO-06", None, &grpc(b"1x"), None),
            (
                "VS-TO-06",
                Some(300),
                &[(b"grpc-timeout", b"1m"), (b"content-type", b"text/plain")],
                Some("300"),
            ),
            ("VS-TO-06", None, &[(b"grpc-timeout", b"1m"), (b"content-type", b"application/grpcx")], None),
            (
                "VS-TO-06",
                None,
                &[(b"grpc-timeout", b"1m"), (b"content-type", b"application/grpc+proto")],
                Some("1"),
            ),
        ] {
            assert_eq!(timeout(vs, headers).as_deref(), expected, "{id} {vs:?} {headers:?}");
        }
        assert!(refusal(json!({"cluster": "c", "timeoutMs": 0})).contains("timeoutMs"));
    }

    #[test]
    fn retries_are_told_by_headers() {
        // TV-81
        let retries = json!({
            "attempts": 3, "retryOn": ["reset", "retriable-status-codes"], "retryGrpcOn": ["internal"],
            "statusCodes": [503, 429], "perTryTimeoutMs": 250,
        });
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            told(json!({"cluster": "c", "retries": retries, "timeoutMs": 1000}), &[]),
            [
                pair("x-envoy-max-retries", "3"),
                pair("x-envoy-retry-on", "reset,retriable-status-codes"),
                pair("x-envoy-retry-grpc-on", "internal"),
                pair("x-envoy-retriable-status-codes", "503,429"),
                pair("x-envoy-upstream-rq-per-try-timeout-ms", "250"),
                pair("x-envoy-upstream-rq-timeout-ms", "1000"),
            ]
        );
        let split = json!({"attempts": 1, "retryOn": ["5xx\r\nx: y"]});
        assert!(refusal(json!({"cluster": "c", "retries": split})).contains("no word"));
    }
}

mod faults {
    use super::*;
    use portolan_engine::HeaderChange;

    fn fault(delay: Value, abort: Value) -> Engine {
        let mut fault = json!({});
        if !delay.is_null() {
            fault["delay"] = json!({"ms": 2000, "perMillion": delay});
        }
        if !abort.is_null() {
            fault["abort"] = json!({"status": 500, "perMillion": abort});
        }
        engine(json!({"cluster": "c", "fault": fault}))
    }

    #[test]
    fn an_abort_is_answered_here() {
        // TV-83, VS-FAULT-05
        let always = fault(Value::Null, json!(1_000_000));
        let answer = reply(&always, &get("/"));
        assert_eq!(
            (answer.status, &*answer.body, answer.cause),
            (500, &b"fault filter abort"[..], Cause::Aborted)
        );
        assert_eq!(answer.details, "fault_abort{VirtualService default/a http[0]}");
        let grpc = json!({"abort": {"status": 200, "grpcStatus": 14, "perMillion": 1_000_000}});
        let grpc = engine(json!({"cluster": "c", "fault": grpc}));
        assert_eq!(reply(&grpc, &get("/")).grpc_status, Some(14));
    }

    #[test]
    fn a_delay_comes_before_an_abort() {
        // VS-FAULT-06, GAP-08
        let both = fault(json!(1_000_000), json!(1_000_000));
        let forward = forward(&both, &get("/"));
        assert!(forward.delayed);
        let set = |name: &'static str, value: &'static [u8]| HeaderChange::Set(name, value.into());
        assert_eq!(
            forward.headers,
            [set("x-envoy-fault-delay-request", b"2000"), set("x-envoy-fault-abort-request", b"500")]
        );
    }

    #[test]
    fn each_is_drawn_by_itself() {
        // VS-FAULT-04, VS-FAULT-06, TV-82
        let engine = fault(json!(250_000), json!(500_000));
        let mut counts = [0_u32; 4];
        for random in 0..100_000 {
            let request = Request { random, ..get("/") };
            let drawn = match engine.decide(&request, &mut NoTrace) {
                Decision::Respond(_) => 1,
                Decision::Forward(forward) if forward.headers.len() == 2 => 3,
                Decision::Forward(forward) if forward.delayed => 2,
                _ => 0,
            };
            counts[drawn] += 1;
        }
        for (count, expected) in counts.into_iter().zip([37_500.0, 37_500.0, 12_500.0, 12_500.0]) {
            // Five standard deviations.
            assert!((f64::from(count) - expected).abs() < 800.0, "{counts:?}");
        }
        let never = fault(json!(0), json!(0));
        assert!((0..1000).all(|random| forward(&never, &Request { random, ..get("/") }).headers.is_empty()));
        let much = json!({"cluster": "c", "fault": {"delay": {"ms": 1, "perMillion": 1_000_001}}});
        assert!(refusal(much).contains("fault.delay.perMillion"));
        let status = json!({"cluster": "c", "fault": {"abort": {"status": 600, "perMillion": 1}}});
        assert!(refusal(status).contains("fault.abort"));
    }
}

mod cors {
    use super::*;
    use portolan_engine::HeaderChange;

    fn ask<'e>(engine: &'e Engine, method: &'static str, origin: &'static str, ask: bool) -> Decision<'e> {
        let headers: [(&[u8], &[u8]); 2] = [
            (b"origin", origin.as_bytes()),
            (b"access-control-request-method", if ask { b"PUT" } else { b"" }),
        ];
        let request = Request { headers: &headers, method: method.as_bytes(), ..get("/") };
        engine.decide(&request, &mut NoTrace)
    }

    #[test]
    fn preflights_are_answered_and_origins_named() {
        let policy = |origin: Value, ignore: bool| {
            engine(json!({"cluster": "c", "cors": {
                "allowOrigins": [origin], "allowMethods": "GET", "maxAge": "60", "ignoreUnmatchedPreflights": ignore,
            }}))
        };
        for (id, origin, ignore, method, from, request_method, answered, named) in [
            ("VS-CORS-06", json!({"exact": "http://a"}), false, "OPTIONS", "http://a", true, true, true),
            ("VS-CORS-06", json!({"exact": "http://a"}), false, "OPTIONS", "http://a", false, false, true),
            ("VS-CORS-01", json!({"prefix": "http://"}), false, "GET", "http://a", true, false, true),
            ("VS-CORS-01", json!({"regex": "http://."}), false, "GET", "http://aa", true, false, false),
            ("VS-CORS-01", json!({"exact": "*"}), false, "GET", "http://aa", true, false, true),
            ("VS-CORS-01", json!({"exact": "http://a"}), false, "GET", "", true, false, false),
            ("VS-CORS-05", json!({"exact": "http://a"}), false, "OPTIONS", "http://b", true, false, false),
            ("VS-CORS-05", json!({"exact": "http://a"}), true, "OPTIONS", "http://b", true, true, false),
        ] {
            let engine = policy(origin, ignore);
            match ask(&engine, method, from, request_method) {
                Decision::Respond(reply) => {
                    assert!(answered, "{id}");
                    assert_eq!((reply.status, reply.cause), (200, Cause::Preflight), "{id}");
                    // As Envoy, which says the rest to any origin.
                    let names: Vec<&str> = reply.headers.iter().map(|(name, _)| *name).collect();
                    let rest = ["access-control-allow-methods", "access-control-max-age"];
                    let origin: &[&str] = if named { &["access-control-allow-origin"] } else { &[] };
                    assert_eq!(names, [origin, &rest].concat(), "{id}");
                }
                Decision::Forward(forward) => {
                    assert!(!answered, "{id}");
                    assert_eq!(forward.cors.map(|(origin, _)| origin), named.then(|| from.into()), "{id}");
                }
                other => panic!("{id}: {other:?}"),
            }
        }
        let both = json!({"allowOrigins": [{"exact": "*"}], "exposeHeaders": "x-c"});
        let engine = engine(json!({"cluster": "c", "cors": both}));
        let Decision::Respond(reply) = ask(&engine, "OPTIONS", "http://a", true) else {
            panic!("{engine:?}")
        };
        assert!(reply.headers.contains(&("access-control-expose-headers", b"x-c"[..].into())), "as Envoy");
        let split = json!({"cluster": "c", "cors": {"allowHeaders": "a\r\nb"}});
        assert!(refusal(split).contains("cors.allowHeaders"));
    }

    #[test]
    fn faults_come_first() {
        // VS-FAULT-06, GAP-10, TV-127
        let with = |fault: Value| {
            let cors = json!({"allowOrigins": [{"exact": "http://a"}]});
            let headers = json!({"set": [["x", "1"]]});
            engine(json!({"cluster": "c", "cors": cors, "fault": fault, "responseHeaders": headers}))
        };
        let delay = json!({"ms": 100, "perMillion": 1_000_000});
        let abort = json!({"status": 500, "perMillion": 1_000_000});
        let delayed = with(json!({"delay": delay}));
        let Decision::Forward(forward) = ask(&delayed, "OPTIONS", "http://a", true) else { panic!() };
        let named = [("access-control-allow-origin", b"http://a"[..].into())];
        assert_eq!(forward.preflight.as_deref(), Some(&named[..]));
        assert!(forward.response.is_none() && forward.cors.is_none() && forward.delayed);
        let last = forward.headers.last();
        assert_eq!(last, Some(&HeaderChange::Set("x-envoy-fault-abort-request", b"200"[..].into())));
        let Decision::Forward(forward) = ask(&delayed, "GET", "http://a", false) else { panic!() };
        assert!(forward.cors.is_some() && forward.response.is_some() && forward.preflight.is_none());
        for fault in [json!({"abort": abort}), json!({"abort": abort, "delay": delay})] {
            let aborting = with(fault);
            match ask(&aborting, "OPTIONS", "http://a", true) {
                Decision::Respond(reply) => assert_eq!(reply.status, 500),
                Decision::Forward(forward) => {
                    assert!(forward.cors.is_none() && forward.preflight.is_none());
                    assert!(forward.response.is_some());
                }
                Decision::Pass => panic!(),
            }
        }
    }
}

#[test]
fn a_name_is_dialled_whatever_the_request_says() {
    let dialled = |action: Value| {
        let engine = engine(action);
        let request = Request { authority: b"a.example.com:22", ..get("/") };
        let (host, port) = forward(&engine, &request).dial.unwrap();
        format!("{}:{port}", text(&host))
    };
    let fixed = json!({"host": "up.example.com", "port": 8080});
    assert_eq!(dialled(json!({"cluster": "c", "dial": fixed})), "up.example.com:8080");
    let rewritten = json!({"cluster": "c", "dial": fixed, "rewrite": {"authority": "b.example.com:9"}});
    assert_eq!(dialled(rewritten), "up.example.com:8080");
    // By default that of the virtual host, for each of several destinations too.
    assert_eq!(dialled(json!({"cluster": "c", "dial": {"port": 8080}})), "a.example.com:8080");
    let weighted = json!({"destinations": [{"cluster": "c", "weight": 1, "dial": {"port": 8080}}]});
    assert_eq!(dialled(weighted), "a.example.com:8080");
}

#[test]
fn the_host_of_a_request_is_dialled_below_a_wildcard_only() {
    // SE-R-07
    let below = json!({"host": "*.example.com", "port": 8080});
    let dialled = |action: Value| {
        let engine = engine(action);
        let request = Request { authority: b"a.example.com:22", ..get("/") };
        let forward = forward(&engine, &request);
        assert!(!forward.passed_through);
        forward.dial.map(|(host, port)| format!("{}:{port}", text(&host)))
    };
    assert_eq!(dialled(json!({"cluster": "c"})), None);
    assert_eq!(dialled(json!({"cluster": "c", "dial": below})).as_deref(), Some("a.example.com:8080"));
    // The authority as rewritten.
    let rewritten =
        |authority: &str| json!({"cluster": "c", "dial": below, "rewrite": {"authority": authority}});
    assert_eq!(dialled(rewritten("b.example.com:9")).as_deref(), Some("b.example.com:8080"));
    // Each of several destinations has its own.
    let weighted = json!({"destinations": [
        {"cluster": "c", "weight": 0},
        {"cluster": "d", "weight": 1, "dial": below, "authority": "d.example.com"},
    ]});
    assert_eq!(dialled(weighted).as_deref(), Some("d.example.com:8080"));

    let elsewhere = engine(rewritten("example.org"));
    let reply = reply(&elsewhere, &get("/"));
    assert_eq!((reply.status, reply.cause.as_str()), (502, "host_not_below_wildcard"));
    assert!(
        text(&reply.body).starts_with("a.example.com is not below the wildcard host"),
        "{}",
        text(&reply.body)
    );

    assert!(
        refusal(json!({"cluster": "c", "dial": {"host": "A", "port": 1}}))
            .contains("route.dial.host: must be")
    );
    assert!(
        refusal(json!({"destinations": [{"cluster": "c", "weight": 1}], "dial": below}))
            .contains("route.dial: has no use")
    );
}
