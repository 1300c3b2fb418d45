//! Tunnels that clients of an explicit proxy ask for by CONNECT (GAP-23, design section 6).

use portolan_engine::{Decision, Engine, NoTrace, Request};
use serde_json::{Value, json};

fn engine(policy: &Value) -> Engine {
    let config = json!({
        "version": 1,
        "outboundTrafficPolicy": policy,
        "virtualHosts": [
            {
                "name": "ServiceEntry default/web",
                "domains": ["web.example.com", "both.example.com"],
                "ports": [80, 8080],
                "routes": [{"name": "default", "match": {"path": {"prefix": "/"}}, "route": {"cluster": "web"}}],
            },
            {"name": "ServiceEntry default/tls", "domains": ["tls.example.com"], "ports": [80], "refuse": "onlyTlsPorts"},
        ],
        "connect": {
            "tunnels": [
                {
                    "name": "ServiceEntry default/tls",
                    "domains": ["tls.example.com", "tls.example.com.", "*.wild.example.com", "both.example.com"],
                    "ports": [443, 8080],
                    "clusters": [["tunnel_tls_443", 1]],
                    "tls": {},
                },
                {
                    "name": "ServiceEntry default/tls",
                    "domains": ["192.0.2.1", "[2001:db8::1]"],
                    "ports": [443],
                    "clusters": [["tunnel_tls_443", 1]],
                    "tls": {"serverName": "tls.example.com"},
                },
                {
                    "name": "VirtualService default/db tcp[0]",
                    "domains": ["db.example.com"],
                    "ports": [3306],
                    "clusters": [["never", 0], ["db1", 1], ["db2", 3]],
                },
                {
                    "name": "ServiceEntry default/shards",
                    "domains": ["*.shards.example.com"],
                    "ports": [3306],
                    "clusters": [["shards", 1]],
                    "dial": {"host": "*.shards.example.com", "port": 13306},
                },
            ],
            "http": [[80, "tunnel_http_80"], [8080, "tunnel_http_8080"]],
        },
    });
    Engine::from_json(config.to_string().as_bytes()).unwrap()
}

fn registry_only() -> Engine {
    engine(&json!({"mode": "REGISTRY_ONLY"}))
}

/// What becomes of a CONNECT: where to, or the reason of its refusal.
fn outcome(engine: &Engine, authority: &str, random: u64) -> String {
    let method = b"CONNECT";
    let listener_port =
        portolan_engine::host::addressed_port(method, b"http", authority.as_bytes()).unwrap_or(0);
    let authority = authority.as_bytes();
    let request = Request { listener_port, method, authority, random, ..Request::default() };
    match engine.decide(&request, &mut NoTrace) {
        Decision::Forward(forward) => {
            let mut text = format!("{} by {}", forward.cluster.unwrap(), forward.route);
            if let Some((host, port)) = forward.dial {
                text += &format!(", dials {}:{port}", host.escape_ascii());
            }
            if let Some(inspected) = forward.inspected {
                let name = inspected.server_name.map(|name| name.escape_ascii().to_string());
                text += &format!(", inspected for {}", name.as_deref().unwrap_or("HTTP"));
            }
            text
        }
        Decision::Respond(reply) => format!("{} {}", reply.status, reply.cause.as_str()),
        Decision::Pass => "pass".to_owned(),
    }
}

#[test]
fn tunnels_lead_where_the_registry_has_host_and_port() {
    let engine = registry_only();
    for (authority, wanted) in [
        (
            "TLS.example.com:443",
            "tunnel_tls_443 by tunnel ServiceEntry default/tls, inspected for tls.example.com",
        ),
        (
            "tls.example.com.:443",
            "tunnel_tls_443 by tunnel ServiceEntry default/tls, inspected for tls.example.com",
        ),
        (
            "A.b.wild.example.com:443",
            "tunnel_tls_443 by tunnel ServiceEntry default/tls, inspected for a.b.wild.example.com",
        ),
        ("192.0.2.1:443", "tunnel_tls_443 by tunnel ServiceEntry default/tls, inspected for tls.example.com"),
        (
            "[2001:DB8::1]:443",
            "tunnel_tls_443 by tunnel ServiceEntry default/tls, inspected for tls.example.com",
        ),
        (
            "x.shards.example.com:3306",
            "shards by tunnel ServiceEntry default/shards, dials x.shards.example.com:13306",
        ),
        // The requests inside are decided by themselves.
        ("web.example.com:80", "tunnel_http_80 by tunnel http 80, inspected for HTTP"),
        ("both.example.com:80", "tunnel_http_80 by tunnel http 80, inspected for HTTP"),
        // A tunnel comes before a virtual host.
        (
            "both.example.com:8080",
            "tunnel_tls_443 by tunnel ServiceEntry default/tls, inspected for both.example.com",
        ),
        ("tls.example.com:80", "502 only_tls_ports"),
        ("tls.example.com:22", "502 port_not_in_registry"),
        ("db.example.com:443", "502 port_not_in_registry"),
        ("web.example.com:443", "502 port_not_in_registry"),
        ("wild.example.com:443", "502 host_not_in_registry"),
        ("192.0.2.2:443", "502 host_not_in_registry"),
        ("127.0.0.1:9901", "502 host_not_in_registry"),
        ("localhost:9901", "502 host_not_in_registry"),
        ("user@tls.example.com:443", "502 host_not_in_registry"),
        ("tls.example.com", "400 invalid_authority"),
        ("tls.example.com:", "400 invalid_authority"),
        ("tls.example.com:0", "400 invalid_authority"),
        ("tls.example.com:443,b:443", "400 invalid_authority"),
        ("", "400 invalid_authority"),
    ] {
        assert_eq!(outcome(&engine, authority, 0), wanted, "{authority}");
    }
}

#[test]
fn clusters_share_by_their_weights() {
    // VS-TLS-07
    let engine = registry_only();
    let drawn = |cluster: &str| {
        let found =
            (0..400).filter(|random| outcome(&engine, "db.example.com:3306", *random).starts_with(cluster));
        found.count()
    };
    assert_eq!((drawn("db1 "), drawn("db2 "), drawn("never")), (100, 300, 0));
}

#[test]
fn unknown_tunnels_pass_through_where_any_host_does() {
    let engine = engine(&json!({"mode": "ALLOW_ANY", "cluster": "P", "upstreamPorts": [[443, 8443]]}));
    for (authority, wanted) in [
        ("other.example.com:443", "P by passthrough allow_any, dials other.example.com:8443"),
        ("tls.example.com:22", "P by passthrough allow_any, dials tls.example.com:22"),
        ("tls.example.com:80", "502 only_tls_ports"),
        ("a b:443", "400 invalid_authority"),
        ("other.example.com", "400 invalid_authority"),
    ] {
        assert_eq!(outcome(&engine, authority, 0), wanted, "{authority}");
    }
}

#[test]
fn other_requests_have_no_tunnel() {
    let engine = registry_only();
    let request = |authority| Request {
        listener_port: 443,
        method: b"GET",
        authority,
        path: b"/",
        ..Request::default()
    };
    let reply = engine.decide(&request(b"tls.example.com"), &mut NoTrace);
    assert!(matches!(reply, Decision::Respond(reply) if reply.cause.as_str() == "port_not_in_registry"));
    let request = Request { listener_port: 80, ..request(b"web.example.com") };
    assert!(
        matches!(engine.decide(&request, &mut NoTrace), Decision::Forward(to) if to.cluster == Some("web"))
    );
}

#[test]
fn faults_are_named_by_path() {
    for (connect, wanted) in [
        (json!({"tunnel": []}), "connect.tunnel: unknown field"),
        (
            json!({"tunnels": [{"name": "a", "domains": [], "ports": [1], "clusters": [["c", 1]]}]}),
            "connect.tunnels[0].domains: missing",
        ),
        (
            json!({"tunnels": [{"name": "a", "domains": ["a"], "ports": [], "clusters": [["c", 1]]}]}),
            "connect.tunnels[0].ports: missing",
        ),
        (
            json!({"tunnels": [{"name": "a", "domains": ["a"], "ports": [1], "clusters": [["c", 0]]}]}),
            "connect.tunnels[0].clusters: missing",
        ),
        (
            json!({"tunnels": [{"name": "a", "domains": ["A"], "ports": [1], "clusters": [["c", 1]]}]}),
            "connect.tunnels[0].domains[0]: `A` must be",
        ),
        (
            json!({"tunnels": [
                {"name": "a", "domains": ["a"], "ports": [1, 2], "clusters": [["c", 1]]},
                {"name": "b", "domains": ["b", "a"], "ports": [2], "clusters": [["c", 1]]},
            ]}),
            "connect.tunnels[1].domains[1]: `a` belongs to `a`",
        ),
        (
            json!({"tunnels": [
                {"name": "a", "domains": ["a"], "ports": [1], "clusters": [["c", 1]], "dial": {"host": "A", "port": 1}},
            ]}),
            "connect.tunnels[0].dial.host: must be",
        ),
    ] {
        let config = json!({"version": 1, "connect": connect});
        let error = Engine::from_json(config.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
    let mesh = json!({"version": 1, "mode": "mesh", "connect": {}});
    let error = Engine::from_json(mesh.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("connect: not allowed in mode `mesh`"), "{error}");
}
