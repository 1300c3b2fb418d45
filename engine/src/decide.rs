//! The decision: host, virtual host, route, action (spec section 0.2).

use crate::config::{self, Config, ConfigError, Mode, OutboundTrafficPolicy, Refuse};
use crate::decision::{Cause, Decision, Forward, LocalReply};
use crate::host::{self, Host};
use crate::original_destination::OriginalDestinations;
use crate::refusal::Reason;
use crate::request::Request;
use crate::trace::{Event, Trace};
use crate::tunnel::Tunnels;
use crate::virtual_hosts::VirtualHosts;

/// The checked form of a [`Config`]: every decision, and none of them can fail.
#[derive(Debug)]
pub struct Engine {
    mode: Mode,
    uses_listener_port: bool,
    original_headers: bool,
    empty_refusals: bool,
    policy: OutboundTrafficPolicy,
    original_destinations: OriginalDestinations,
    virtual_hosts: VirtualHosts,
    tunnels: Option<Tunnels>,
    passthrough_route: String,
}

impl Engine {
    /// Reads and checks a plugin config.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        Self::new(Config::from_json(json)?)
    }

    /// Checks `config`.
    pub fn new(mut config: Config) -> Result<Self, ConfigError> {
        let uses_listener_port = config.uses_listener_port();
        let virtual_hosts = VirtualHosts::take(&mut config)?;
        if config.connect.is_some() && config.mode == Mode::Mesh {
            return Err(ConfigError::new(
                "connect",
                "not allowed in mode `mesh`, whose sidecars have no such listener",
            ));
        }
        Ok(Self {
            tunnels: config.connect.map(|connect| Tunnels::new(connect, "connect")).transpose()?,
            mode: config.mode,
            uses_listener_port,
            original_headers: config.original_headers,
            empty_refusals: config.empty_refusals,
            policy: config.outbound_traffic_policy,
            original_destinations: OriginalDestinations::new(config.original_destinations)?,
            virtual_hosts,
            passthrough_route: format!("{} {PASSTHROUGH_NAME}", config::PASSTHROUGH_ROUTE_PROFILE),
        })
    }

    /// What surrounds the filter.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether [`Request::listener_port`] has to be right.
    pub fn uses_listener_port(&self) -> bool {
        self.uses_listener_port
    }

    /// Whether [`Request::original_destination`] has to be right.
    pub fn uses_original_destination(&self) -> bool {
        !self.original_destinations.is_empty()
    }

    /// Whether the upstream is told what was rewritten.
    pub fn sends_original_headers(&self) -> bool {
        self.original_headers
    }

    /// How many virtual hosts there are.
    pub fn virtual_host_count(&self) -> usize {
        self.virtual_hosts.len()
    }

    /// What happens to `request`.
    pub fn decide<T: Trace>(&self, request: &Request<'_>, trace: &mut T) -> Decision<'_> {
        let mut decision = self.decide_by_host(request, trace);
        if let Decision::Forward(Forward { cluster: Some(cluster), dial, .. }) = &mut decision
            && let Some(twin) = self.original_destinations.cluster(cluster, request.original_destination)
        {
            *cluster = twin;
            *dial = None;
        }
        decision
    }

    fn decide_by_host<T: Trace>(&self, request: &Request<'_>, trace: &mut T) -> Decision<'_> {
        // Two Host lines arrive joined by a comma; one line with a comma is no host either.
        // And where the port comes from the authority, there has to be one.
        let no_port = self.uses_listener_port && request.listener_port == 0;
        if no_port || request.authority.contains(&b',') {
            return self.refuse(Reason::InvalidAuthority, request);
        }
        let host = Host::from_authority(request.authority);
        let key = host.as_ref().map(Host::as_bytes).unwrap_or_default();
        let tunnels = self.tunnels.as_ref().filter(|_| request.method == b"CONNECT");
        if let Some(tunnel) = tunnels.and_then(|tunnels| tunnels.find(key, request.listener_port)) {
            trace.event(Event::VirtualHost { host: key, name: tunnel.name().into() });
            return self.or_refused(tunnel.apply(request), request);
        }
        let Some(virtual_host) = self.virtual_hosts.find(key, request.listener_port) else {
            let has_tunnel = self.tunnels.as_ref().is_some_and(|tunnels| tunnels.is_known(key));
            let on_another_port = has_tunnel || self.virtual_hosts.is_known(key);
            trace.event(Event::NoVirtualHost { host: key, on_another_port });
            return self.unknown_host(request, on_another_port);
        };
        trace.event(Event::VirtualHost { host: key, name: virtual_host.name });
        if let Some(Refuse::OnlyTlsPorts) = virtual_host.refuse {
            return self.refuse(Reason::OnlyTlsPorts, request);
        }
        let decision = match tunnels {
            Some(tunnels) => tunnels.http(request.listener_port),
            None => virtual_host.decide(request, trace),
        };
        match decision {
            Some(Decision::Forward(forward)) => {
                Decision::Forward(Forward { unregistered: virtual_host.unregistered, ..forward })
            }
            Some(decision) => self.or_refused(decision, request),
            None => self.refuse(Reason::NoRoute, request),
        }
    }

    /// A refusal in the words of this config.
    fn or_refused<'e>(&'e self, decision: Decision<'e>, request: &Request<'_>) -> Decision<'e> {
        match decision {
            Decision::Respond(LocalReply { cause: Cause::Refused(reason), .. }) => {
                self.refuse(reason, request)
            }
            decision => decision,
        }
    }

    /// The catch-all: outbound traffic policy (spec section 3.4).
    fn unknown_host(&self, request: &Request<'_>, on_another_port: bool) -> Decision<'_> {
        let reason = if on_another_port { Reason::PortNotInRegistry } else { Reason::HostNotInRegistry };
        let (cluster, upstream_ports, report) = match &self.policy {
            _ if self.mode == Mode::Mesh => return Decision::Pass,
            OutboundTrafficPolicy::Gateway => return self.refuse(Reason::HostNotOnGateway, request),
            OutboundTrafficPolicy::RegistryOnly => return self.refuse(reason, request),
            OutboundTrafficPolicy::AllowAny { cluster, upstream_ports, report } => {
                (cluster, upstream_ports, *report)
            }
        };
        let name = host::without_port(request.authority);
        let is_dialled = self.original_destinations.cluster(cluster, request.original_destination).is_none();
        if is_dialled && !host::is_dialable(name) {
            return self.refuse(Reason::InvalidAuthority, request);
        }
        // The port is the one that the client addressed, as with Istio's original
        // destination (OTP-05), and not what the Host header says.
        let mapped = upstream_ports.iter().find(|(port, _)| *port == request.listener_port);
        let port = mapped.map_or(request.listener_port, |(_, port)| *port);
        let name = name.to_ascii_lowercase();
        let route = match report {
            // The port that clients mean, whatever is dialled in its place.
            true => {
                let what = reason.of_dialled(&name, request.listener_port);
                format!("{} {what}", config::PASSTHROUGH_ROUTE_PROFILE).into()
            }
            false => self.passthrough_route.as_str().into(),
        };
        Decision::Forward(Forward {
            cluster: Some(cluster),
            route,
            dial: Some((name.into(), port)),
            passed_through: true,
            reported: report.then_some(reason),
            ..Forward::default()
        })
    }

    fn refuse(&self, reason: Reason, request: &Request<'_>) -> Decision<'_> {
        let mut reply = LocalReply::refuse(reason, request.authority);
        if self.empty_refusals {
            reply.body = Default::default();
        }
        Decision::Respond(reply)
    }
}

/// What stands in the place of virtual host and route for a passed-through request.
const PASSTHROUGH_NAME: &str = "allow_any";
