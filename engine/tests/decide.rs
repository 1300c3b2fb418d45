//! What happens around the routes: unknown hosts, modes and policies (spec sections 3.2 and 3.4).
// `json!` reads best as an argument.
#![allow(clippy::needless_pass_by_value)]

use portolan_engine::config::Mode;
use portolan_engine::{Cause, Decision, Engine, NoTrace, Reason, Request};
use serde_json::{Value, json};

/// An engine with `a.example.com` on port 80 and `b.example.com` on every port, and `extra`
/// members of the config.
fn engine(extra: Value) -> Engine {
    let mut config = json!({
        "version": 1,
        "virtualHosts": [
            {
                "name": "ServiceEntry default/a",
                "domains": ["a.example.com"],
                "ports": [80],
                "routes": [{"name": "default", "route": {"cluster": "a"}}],
            },
            {
                "name": "VirtualService default/b",
                "domains": ["b.example.com"],
                "routes": [{
                    "name": "http[0]",
                    "match": {"path": {"exact": "/b"}},
                    "route": {"cluster": "b"},
                }],
                "unregistered": true,
            },
        ],
    });
    for (name, value) in extra.as_object().unwrap() {
        config[name] = value.clone();
    }
    Engine::from_json(config.to_string().as_bytes()).unwrap()
}

fn allow_any() -> Engine {
    let policy = json!({"mode": "ALLOW_ANY", "cluster": "PassthroughCluster", "upstreamPorts": [[80, 8080]]});
    engine(json!({"outboundTrafficPolicy": policy}))
}

fn request<'a>(authority: &'a str, path: &'a str, listener_port: u16) -> Request<'a> {
    Request {
        listener_port,
        method: b"GET",
        scheme: b"http",
        authority: authority.as_bytes(),
        path: path.as_bytes(),
        ..Request::default()
    }
}

/// The cluster, or the reason of the refusal and its body.
fn outcome(engine: &Engine, authority: &str, path: &str, port: u16) -> String {
    match engine.decide(&request(authority, path, port), &mut NoTrace) {
        Decision::Forward(forward) => {
            let unregistered = if forward.unregistered { " unregistered" } else { "" };
            format!("{}{unregistered}", forward.cluster.unwrap())
        }
        Decision::Respond(reply) => reply.details.into_owned(),
        Decision::Pass => "pass".to_owned(),
    }
}

#[test]
fn a_registered_host_is_forwarded() {
    let engine = engine(json!({}));
    assert_eq!(outcome(&engine, "a.example.com", "/", 80), "a");
    assert_eq!(outcome(&engine, "b.example.com", "/b", 9), "b unregistered"); // GAP-01
    assert_eq!(engine.virtual_host_count(), 2);
}

#[test]
fn what_is_missing_is_named() {
    let engine = engine(json!({}));
    // VS-ORD-04: a host without a fitting route isn't unknown.
    assert_eq!(outcome(&engine, "b.example.com", "/", 80), "no_route{b.example.com}");
    assert_eq!(outcome(&engine, "c.example.com", "/", 80), "host_not_in_registry{c.example.com}");
    assert_eq!(outcome(&engine, "a.example.com", "/", 81), "port_not_in_registry{a.example.com}");
    assert_eq!(
        outcome(&engine, "a.example.com,b.example.com", "/", 80),
        "invalid_authority{a.example.com,b.example.com}"
    );
}

#[test]
fn a_refusal_has_a_body_unless_told_otherwise() {
    let body = |engine: &Engine| match engine.decide(&request("c.example.com", "/", 80), &mut NoTrace) {
        Decision::Respond(reply) => {
            assert_eq!(reply.cause, Cause::Refused(Reason::HostNotInRegistry));
            reply.body.len()
        }
        other => panic!("{other:?}"),
    };
    assert_ne!(body(&engine(json!({}))), 0);
    assert_eq!(body(&engine(json!({"emptyRefusals": true}))), 0);
}

#[test]
fn unknown_hosts_pass_where_any_is_allowed() {
    // OTP-05: the listener's port counts, whatever the Host header says.
    let engine = allow_any();
    for (authority, port, dialled) in [
        ("C.example.com", 81, Some(("c.example.com", 81))),
        ("c.example.com:9", 80, Some(("c.example.com", 8080))),
        ("a.example.com", 81, Some(("a.example.com", 81))),
        ("a_b!.example.com", 80, None),
        ("", 80, None),
    ] {
        match engine.decide(&request(authority, "/", port), &mut NoTrace) {
            Decision::Forward(forward) => {
                let (host, port) = forward.dial.unwrap();
                assert_eq!(Some((std::str::from_utf8(&host).unwrap(), port)), dialled, "{authority}");
                assert_eq!((forward.cluster, forward.unregistered), (Some("PassthroughCluster"), false));
            }
            Decision::Respond(reply) => {
                assert_eq!(dialled, None, "{authority}");
                assert_eq!(reply.cause, Cause::Refused(Reason::InvalidAuthority), "{authority}");
            }
            Decision::Pass => panic!("{authority} passed"),
        }
    }
}

#[test]
fn what_passes_is_named_with_the_reason_if_it_is_to_be_reported() {
    let policy = json!({
        "mode": "ALLOW_ANY", "cluster": "P", "upstreamPorts": [[80, 8080]], "report": true,
    });
    // Whoever dials the original destination may call it anything.
    let original = json!({"P": {"cluster": "original_dst|P", "addresses": ["0.0.0.0/0"]}});
    let engine = engine(json!({"outboundTrafficPolicy": policy, "originalDestinations": original}));
    let long = "a".repeat(5_000);
    for (authority, port, dialled, wanted) in [
        // The port that the client meant, not the one that is dialled.
        ("C.example.com:9", 80, None, "host_not_in_registry{c.example.com:80}"),
        ("a.example.com", 81, None, "port_not_in_registry{a.example.com:81}"),
        ("c d\n{}\"\u{e9}", 80, Some(9), "host_not_in_registry{c\\x20d\\x0a\\x7b\\x7d\\x22\\xc3\\xa9:80}"),
        ("", 80, Some(9), "host_not_in_registry{(empty):80}"),
        (&long, 80, Some(9), &format!("host_not_in_registry{{{}...:80}}", "a".repeat(253))),
    ] {
        let original_destination = dialled.map(|last| ([203, 0, 113, last], port).into());
        let request = Request { original_destination, ..request(authority, "/", port) };
        let Decision::Forward(forward) = engine.decide(&request, &mut NoTrace) else { panic!("{authority}") };
        assert_eq!(forward.route, format!("passthrough {wanted}"), "{authority}");
        assert!(forward.passed_through && forward.reported.is_some());
    }
    // What is registered is not reported, and neither is what a rule refuses.
    let known = engine.decide(&request("a.example.com", "/", 80), &mut NoTrace);
    assert!(matches!(known, Decision::Forward(forward) if forward.reported.is_none()));
    assert_eq!(outcome(&engine, "b.example.com", "/x", 80), "no_route{b.example.com}");
    assert_eq!(outcome(&engine, "a..b", "/", 80), "invalid_authority{a..b}");
}

#[test]
fn a_mesh_keeps_what_has_no_rule() {
    let mesh = engine(json!({"mode": "mesh", "virtualHosts": []}));
    assert_eq!(mesh.mode(), Mode::Mesh);
    assert_eq!(outcome(&mesh, "c.example.com", "/", 80), "pass");
    assert_eq!(engine(json!({})).mode(), Mode::default());
}

#[test]
fn the_filter_is_told_what_to_ask_envoy_for() {
    let everywhere = json!([{"name": "b", "domains": ["b.example.com"], "routes": []}]);
    assert!(engine(json!({})).uses_listener_port());
    assert!(allow_any().uses_listener_port());
    assert!(!engine(json!({"virtualHosts": everywhere})).uses_listener_port());
    assert!(!engine(json!({})).sends_original_headers());
    assert!(engine(json!({"originalHeaders": true})).sends_original_headers());
}

#[test]
fn a_gateway_answers_404_for_a_host_that_it_does_not_have() {
    // GW-11
    let host =
        json!({"name": "Gateway egress/gw", "domains": ["a.example.com"], "ports": [80], "routes": []});
    let gateway = engine(json!({"outboundTrafficPolicy": {"mode": "GATEWAY"}, "virtualHosts": [host]}));
    for (authority, port) in [("b.example.com", 80), ("a.example.com.", 80), ("a.example.com", 81)] {
        let Decision::Respond(reply) = gateway.decide(&request(authority, "/", port), &mut NoTrace) else {
            panic!("{authority} is sent on");
        };
        assert_eq!(
            (reply.status, reply.cause),
            (404, Cause::Refused(Reason::HostNotOnGateway)),
            "{authority}"
        );
    }
}
