//! What holds for every decision.

use std::collections::BTreeSet;

use portolan_engine::config::{Config, SharedRoutes, VirtualHost};
use portolan_engine::{Decision, Forward, HeaderChange, host};

/// What a config allows a request to reach.
pub(crate) struct Allowed {
    clusters: BTreeSet<String>,
}

impl Allowed {
    /// All clusters that `config` names.
    pub(crate) fn by(config: &Config) -> Self {
        use portolan_engine::config::OutboundTrafficPolicy::AllowAny;
        let shared = config.shared_routes.iter().flat_map(SharedRoutes::virtual_hosts);
        let hosts: Vec<VirtualHost> = config.virtual_hosts.iter().cloned().chain(shared).collect();
        let actions = hosts.iter().flat_map(|host| &host.routes).map(|route| &route.route);
        let mut clusters: BTreeSet<String> = actions
            .flat_map(|action| {
                let several = action.destinations.iter().map(|destination| &destination.cluster);
                action.cluster.iter().chain(several)
            })
            .cloned()
            .collect();
        if let AllowAny { cluster, .. } = &config.outbound_traffic_policy {
            clusters.insert(cluster.clone());
        }
        if let Some(connect) = &config.connect {
            clusters.extend(connect.http.iter().map(|(_, cluster)| cluster.clone()));
            let tunnels = connect.tunnels.iter().flat_map(|tunnel| &tunnel.clusters);
            clusters.extend(tunnels.map(|(cluster, _)| cluster.clone()));
        }
        clusters.extend(config.original_destinations.values().map(|twin| twin.cluster.clone()));
        Self { clusters }
    }

    /// Breaks off where `decision` leads elsewhere, or has something in it that ends a line.
    pub(crate) fn check(&self, decision: &Decision<'_>) {
        match decision {
            Decision::Forward(forward) => self.check_forward(forward),
            Decision::Respond(reply) => {
                assert!((200..600).contains(&reply.status), "{reply:?}");
                for (name, value) in &reply.headers {
                    assert!(is_name(name) && is_line(value), "{name}: {}", value.escape_ascii());
                }
            }
            Decision::Pass => {}
        }
    }

    fn check_forward(&self, forward: &Forward<'_>) {
        if let Some(cluster) = forward.cluster {
            assert!(self.clusters.contains(cluster), "{forward:?}");
        }
        assert!(forward.path.as_deref().is_none_or(is_target), "{forward:?}");
        assert!(forward.authority.is_none_or(|authority| is_target(authority.as_bytes())), "{forward:?}");
        assert!(forward.server_name.as_deref().is_none_or(is_target), "{forward:?}");
        if let Some((name, port)) = &forward.dial {
            assert!(host::is_dialable(name) && *port != 0, "{forward:?}");
        }
        for change in &forward.headers {
            let (name, value) = match change {
                HeaderChange::Remove(name) => (name, [].as_slice().into()),
                HeaderChange::Set(name, value) | HeaderChange::Add(name, value) => (name, value.clone()),
            };
            assert!(is_name(name) && is_line(&value), "{forward:?}");
        }
    }
}

/// Whether it can stand in a request line: nothing in it ends that, or a part of it.
pub(crate) fn is_target(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte > b' ' && byte != 0x7f)
}

/// Whether it can be the value of a header.
fn is_line(bytes: &[u8]) -> bool {
    !bytes.iter().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n'))
}

/// Whether it can be the name of a header.
fn is_name(name: &str) -> bool {
    !name.is_empty() && is_target(name.as_bytes())
}
