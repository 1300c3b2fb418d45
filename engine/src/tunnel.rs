//! Where a tunnel leads that a client asks for by CONNECT (GAP-23).

use crate::config::{self, ConfigError, TUNNEL_ROUTE_PROFILE};
use crate::decision::{Decision, Forward, Inspected, LocalReply};
use crate::domains::{Domains, InvalidDomain};
use crate::host;
use crate::pieces::Pieces;
use crate::refusal::Reason;
use crate::request::Request;
use crate::route::dial::Dial;

/// The checked form of a [`config::Connect`].
#[derive(Debug)]
pub(crate) struct Tunnels {
    /// Port, cluster, and what the filter state says.
    http: Vec<(u16, String, String)>,
    tunnels: Vec<Tunnel>,
    domains: Domains,
}

#[derive(Debug)]
pub(crate) struct Tunnel {
    name: String,
    /// What the filter state says.
    state: String,
    /// With the sum of the weights up to and with each.
    clusters: Vec<(u64, String)>,
    sum: u64,
    dial: Option<Dial>,
    tls: Option<config::TunnelTls>,
}

impl Tunnels {
    /// Checks `connect`, which stands at `path`.
    #[inline(never)]
    pub(crate) fn new(connect: config::Connect, path: &str) -> Result<Self, ConfigError> {
        let http = connect.http.into_iter();
        let http = http.map(|(port, cluster)| (port, cluster, format!("{TUNNEL_ROUTE_PROFILE} http {port}")));
        let mut tunnels: Vec<Tunnel> = Vec::with_capacity(connect.tunnels.len());
        let mut domains = Domains::default();
        for (id, tunnel) in connect.tunnels.into_iter().enumerate() {
            let path = format!("{path}.tunnels[{id}]");
            let error =
                |field: &str, message: &str| Err(ConfigError::new(format!("{path}.{field}"), message));
            if tunnel.domains.is_empty() {
                return error("domains", "missing, at least one is needed");
            }
            if tunnel.ports.is_empty() {
                return error("ports", "missing, at least one is needed");
            }
            for (index, domain) in tunnel.domains.iter().enumerate() {
                domains.insert(domain, &tunnel.ports, id).map_err(|error| {
                    let message = match error {
                        InvalidDomain::Malformed => {
                            format!("`{domain}` must be a lower-case name or `*` and a suffix")
                        }
                        InvalidDomain::Taken(other, _) => {
                            let other = tunnels.get(other).map_or(tunnel.name.as_str(), |other| &other.name);
                            format!("`{domain}` belongs to `{other}`")
                        }
                    };
                    ConfigError::new(format!("{path}.domains[{index}]"), message)
                })?;
            }
            let mut sum = 0;
            let mut clusters = Vec::with_capacity(tunnel.clusters.len());
            // Without a weight none is ever drawn (VS-TLS-07).
            for (cluster, weight) in tunnel.clusters.into_iter().filter(|(_, weight)| *weight > 0) {
                sum += u64::from(weight);
                clusters.push((sum, cluster));
            }
            if sum == 0 {
                return error("clusters", "missing, at least one with a weight is needed");
            }
            let first = tunnel.domains.first();
            let dial =
                tunnel.dial.map(|dial| config::Dial { host: dial.host.or_else(|| first.cloned()), ..dial });
            tunnels.push(Tunnel {
                state: format!("{TUNNEL_ROUTE_PROFILE} {}", tunnel.name),
                name: tunnel.name,
                clusters,
                sum,
                dial: Dial::new(dial, &format!("{path}.dial"))?,
                tls: tunnel.tls,
            });
        }
        Ok(Self { http: http.collect(), tunnels, domains })
    }

    /// The tunnel to the lower-case `host` on `port`, other than one with HTTP requests in it.
    pub(crate) fn find(&self, host: &[u8], port: u16) -> Option<&Tunnel> {
        self.tunnels.get(self.domains.find(host, port)?)
    }

    /// Whether any port of `host` has one.
    pub(crate) fn is_known(&self, host: &[u8]) -> bool {
        self.domains.is_known(host)
    }

    /// A tunnel with HTTP requests in it, each of which is decided by itself.
    pub(crate) fn http(&self, port: u16) -> Option<Decision<'_>> {
        let (_, cluster, state) = self.http.iter().find(|(known, _, _)| *known == port)?;
        Some(Decision::Forward(Forward {
            cluster: Some(cluster),
            route: state.as_str().into(),
            inspected: Some(Inspected { server_name: None }),
            ..Forward::default()
        }))
    }
}

impl Tunnel {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn apply(&self, request: &Request<'_>) -> Decision<'_> {
        let drawn = request.random.checked_rem(self.sum).unwrap_or(0);
        let cluster = self.clusters.iter().find(|(end, _)| drawn < *end).map(|(_, cluster)| cluster.as_str());
        let mut dial = None;
        if let Some(rule) = &self.dial {
            // It always has a host.
            dial = rule.apply(request.authority, Pieces::default());
            if dial.is_none() {
                return Decision::Respond(LocalReply::refuse(
                    Reason::HostNotBelowWildcard,
                    request.authority,
                ));
            }
        }
        let server_name = |tls: &config::TunnelTls| match &tls.server_name {
            Some(name) => name.clone().into_bytes(),
            None => {
                let name = host::without_port(request.authority);
                name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase()
            }
        };
        Decision::Forward(Forward {
            cluster,
            route: self.state.as_str().into(),
            dial,
            inspected: self.tls.as_ref().map(|tls| Inspected { server_name: Some(server_name(tls)) }),
            ..Forward::default()
        })
    }
}
