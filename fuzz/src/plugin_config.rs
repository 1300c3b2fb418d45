//! No plugin config stops the engine, and one that it accepts decides every request.

use portolan_engine::config::{Config, SharedRoutes, StringMatch};
use portolan_engine::{Engine, NoTrace, Request};

use crate::checks::Allowed;

/// `data` is a plugin config.
pub fn run(data: &[u8]) {
    let Ok(config) = Config::from_json(data) else { return };
    let written = config.to_json().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Config::from_json(written.as_bytes()).ok().as_ref(), Some(&config), "{written}");
    let packed = packed(&config);
    assert_eq!(packed, config);
    let (engine, of_packed) = (Engine::new(config.clone()), Engine::new(packed));
    assert_eq!(of_packed.as_ref().err(), engine.as_ref().err());
    if let (Ok(engine), Ok(of_packed)) = (engine, of_packed) {
        let allowed = Allowed::by(&config);
        for (port, authority, path) in requests(&config) {
            for method in ["GET", "CONNECT"] {
                let request = Request {
                    listener_port: port,
                    method: method.as_bytes(),
                    scheme: b"http",
                    authority: authority.as_bytes(),
                    path: if method == "GET" { path.as_bytes() } else { b"" },
                    headers: &[(b"origin", b"http://a"), (b"x", b"1")],
                    ..Request::default()
                };
                let decision = engine.decide(&request, &mut NoTrace);
                assert_eq!(of_packed.decide(&request, &mut NoTrace), decision);
                allowed.check(&decision);
            }
        }
    }
}

/// `config` with its listings compressed and read again.
fn packed(config: &Config) -> Config {
    let mut packed = config.clone();
    for shared in &mut packed.shared_routes {
        let text = shared.virtual_hosts.compressed().unwrap_or_else(|error| panic!("{error}"));
        let read = serde_json::from_value(text.into());
        shared.virtual_hosts = read.unwrap_or_else(|error| panic!("{error}: {:?}", shared.virtual_hosts));
    }
    packed
}

/// Ports, hosts and paths that the config speaks of.
fn requests(config: &Config) -> Vec<(u16, String, String)> {
    let shared = config.shared_routes.iter().flat_map(SharedRoutes::virtual_hosts);
    let hosts = config.virtual_hosts.iter().cloned().chain(shared);
    let mut requests = vec![(80, "unknown.example".to_owned(), "/".to_owned())];
    for host in hosts.take(8) {
        let domain = host.domains.first().map_or_else(String::new, |domain| domain.replacen('*', "a", 1));
        let port = host.ports.first().copied().unwrap_or(80);
        requests.push((port, domain.clone(), "/a/b?c=d".to_owned()));
        for route in host.routes.iter().take(8) {
            if let Some(StringMatch::Exact(path) | StringMatch::Prefix(path)) = &route.matcher.path
                && crate::checks::is_target(path.as_bytes())
            {
                requests.push((port, domain.clone(), path.clone()));
            }
        }
    }
    for tunnel in config.connect.iter().flat_map(|connect| &connect.tunnels).take(8) {
        let domain = tunnel.domains.first().map_or_else(String::new, |domain| domain.replacen('*', "a", 1));
        requests.push((tunnel.ports.first().copied().unwrap_or(443), domain, String::new()));
    }
    requests
}
