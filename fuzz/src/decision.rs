//! No request stops the engine, and none reaches what the config doesn't name.

use std::sync::LazyLock;

use portolan_engine::config::{Config, OutboundTrafficPolicy};
use portolan_engine::headers::{INTERNAL_PREFIX, is_forbidden};
use portolan_engine::{Decision, Engine, NoTrace, Request};

use crate::checks::Allowed;
use crate::{choice, split};

/// The config of all that there is, under each policy.
static ENGINES: LazyLock<Vec<(Engine, Allowed)>> = LazyLock::new(|| {
    let any = |report| OutboundTrafficPolicy::AllowAny {
        cluster: "any".to_owned(),
        upstream_ports: vec![(80, 8080)],
        report,
    };
    let policies =
        [OutboundTrafficPolicy::RegistryOnly, any(false), any(true), OutboundTrafficPolicy::Gateway];
    let engine = |policy| {
        let config = Config::from_json(include_bytes!("../configs/all.json"))
            .unwrap_or_else(|error| panic!("{error}"));
        let config = Config { outbound_traffic_policy: policy, ..config };
        let allowed = Allowed::by(&config);
        (Engine::new(config).unwrap_or_else(|error| panic!("{error}")), allowed)
    };
    policies.into_iter().map(engine).collect()
});

/// `data` is a choice of policy and port, method, authority, path, and lines of headers; with zero bytes between.
pub fn run(data: &[u8]) {
    let (which, rest) = choice(data);
    let (method, rest) = split(rest);
    let (authority, rest) = split(rest);
    let (path, rest) = split(rest);
    // Envoy lets nothing else through.
    if !path.iter().all(|&byte| byte > b' ' && byte != 0x7f) {
        return;
    }
    let lines =
        rest.split(|&byte| byte == b'\n').filter(|line| !line.contains(&b'\r') && !line.contains(&b'\0'));
    let lines = lines.filter_map(|line| {
        let colon = line.iter().skip(1).position(|&byte| byte == b':')? + 1;
        Some((line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii()))
    });
    let lines: Vec<(Vec<u8>, &[u8])> = lines.collect();
    let headers: Vec<(&[u8], &[u8])> = lines.iter().map(|(name, value)| (name.as_slice(), *value)).collect();
    let (engine, allowed) = &ENGINES[usize::from(which & 3)];
    let request = Request {
        listener_port: [80, 443, 8080, 0][usize::from(which >> 2 & 3)],
        original_destination: None,
        method,
        scheme: if which & 16 != 0 { b"https" } else { b"http" },
        authority,
        path,
        headers: &headers,
        random: u64::from(which >> 5).wrapping_mul(0x2492_4924_9249_2492),
        properties: None,
    };
    let decision = engine.decide(&request, &mut NoTrace);
    allowed.check(&decision);
    assert_eq!(
        decision,
        engine.decide(&request, &mut NoTrace),
        "a decision hangs on nothing but the request"
    );
    if let Decision::Respond(reply) = &decision {
        assert!(reply.details.bytes().all(|byte| (b' '..0x7f).contains(&byte)), "{reply:?}");
    }
    for name in
        headers.iter().map(|(name, _)| *name).filter(|name| name.starts_with(INTERNAL_PREFIX.as_bytes()))
    {
        assert!(is_forbidden(name, engine.mode()));
    }
}
