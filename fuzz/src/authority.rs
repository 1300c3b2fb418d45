//! An authority leads to the virtual host that a plain reading of it names, or to none.

use std::sync::LazyLock;

use portolan_engine::config::Config;
use portolan_engine::host::{Host, is_dialable};
use portolan_engine::{Decision, Engine, NoTrace, Request};

use crate::choice;

/// Domains with the ports on which they are known, each with a cluster of the name of the domain and port.
const DOMAINS: [(&str, &[u16]); 12] = [
    ("a.example.com", &[]),
    ("a.example.com", &[8080]),
    ("b.example.com", &[80]),
    ("*.example.com", &[80]),
    ("*-x.example.com", &[]),
    ("*.com", &[443]),
    ("a", &[]),
    ("a.", &[]),
    ("[::1]", &[80]),
    ("[2001:db8::1]", &[]),
    ("127.0.0.1", &[80]),
    ("xn--bcher-kva.example", &[]),
];

const PORTS: [u16; 4] = [80, 443, 8080, 1];

static ENGINES: LazyLock<[Engine; 2]> = LazyLock::new(|| {
    [r#"{"mode":"REGISTRY_ONLY"}"#, r#"{"mode":"ALLOW_ANY","cluster":"any"}"#].map(|policy| {
        let hosts: Vec<String> = DOMAINS
            .iter()
            .map(|(domain, ports)| {
                let cluster = cluster(domain, ports);
                format!(
                    r#"{{"name":"{cluster}","domains":["{domain}"],"ports":{ports:?},"routes":[{{"name":"r","route":{{"cluster":"{cluster}"}}}}]}}"#
                )
            })
            .collect();
        let json = format!(
            r#"{{"version":1,"outboundTrafficPolicy":{policy},"virtualHosts":[{}]}}"#,
            hosts.join(",")
        );
        let config = Config::from_json(json.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        Engine::new(config).unwrap_or_else(|error| panic!("{error}"))
    })
});

fn cluster(domain: &str, ports: &[u16]) -> String {
    format!("{domain} {ports:?}")
}

/// `data` is a choice of port and policy, and an authority.
pub fn run(data: &[u8]) {
    let (which, authority) = choice(data);
    let port = PORTS[usize::from(which) % PORTS.len()];
    let allow_any = which & 4 != 0;
    let method: &[u8] = if which & 8 != 0 { b"CONNECT" } else { b"GET" };

    let host = plain_host(authority);
    let found = Host::from_authority(authority);
    assert_eq!(found.as_ref().map(Host::as_bytes), host.as_deref());
    if let Some(host) = &host {
        // What is cut was the port, and nothing is changed a second time.
        let has_port =
            host.iter().rposition(|&byte| byte == b':') > host.iter().rposition(|&byte| byte == b']');
        let again = Host::from_authority(host);
        assert!(has_port || again.as_ref().map(Host::as_bytes) == Some(host));
    }

    let request = Request { listener_port: port, authority, path: b"/", method, ..Request::default() };
    let decision = ENGINES[usize::from(allow_any)].decide(&request, &mut NoTrace);
    let expected = host.as_deref().filter(|_| !authority.contains(&b',')).and_then(|host| walk(host, port));
    match (decision, expected) {
        (Decision::Forward(forward), Some(expected)) => {
            assert_eq!(forward.cluster, Some(expected.as_str()));
            assert!(forward.dial.is_none() && forward.authority.is_none());
        }
        (Decision::Forward(forward), None) => {
            assert!(allow_any, "{forward:?}");
            // What is dialled is what was asked for, and can be nothing else.
            let (name, dialled) = forward.dial.unwrap_or_else(|| panic!("no host to dial"));
            assert_eq!(Some(&*name), host.as_deref());
            assert!(is_dialable(&name) && dialled == port);
        }
        (Decision::Respond(reply), None) => {
            assert!(matches!(reply.status, 400 | 502), "{reply:?}");
            // The host is repeated, in a form that can't do harm.
            assert!(reply.details.bytes().all(|byte| byte.is_ascii_graphic()), "{reply:?}");
            assert!(reply.body.iter().all(|&byte| byte.is_ascii_graphic() || b" \n".contains(&byte)));
        }
        (decision, expected) => panic!("{expected:?}, but {decision:?}"),
    }
}

/// The host by a second reading: up to the last colon behind all brackets, in lower case.
fn plain_host(authority: &[u8]) -> Option<Vec<u8>> {
    let mut end = authority.len();
    for (index, &byte) in authority.iter().enumerate().rev() {
        match byte {
            b']' => break,
            b':' => {
                end = index;
                break;
            }
            _ => {}
        }
    }
    let host: Vec<u8> = authority[..end].iter().map(u8::to_ascii_lowercase).collect();
    (host.len() <= 254).then_some(host)
}

/// The cluster by a walk over all domains: the exact one, else the longest suffix, of those that the port has; and
/// of two equal ones that which names the port (VH-04).
fn walk(host: &[u8], port: u16) -> Option<String> {
    DOMAINS
        .iter()
        .filter(|(_, ports)| ports.is_empty() || ports.contains(&port))
        .filter(|(domain, _)| match domain.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_bytes()),
            None => host == domain.as_bytes(),
        })
        .max_by_key(|(domain, ports)| (!domain.starts_with('*'), domain.len(), !ports.is_empty()))
        .map(|(domain, ports)| cluster(domain, ports))
}
