//! Why a request is decided as it is, for a person who wrote the rules.
//!
//! Nothing is matched here: the engine decides, and says how when it is asked in the right way.

mod bypassed;
mod change;
mod compared;
mod connections;
mod curl;
mod data;
mod inquiry;
mod lost;
mod outcome;
mod text;
mod typed;

use portolan_engine::config::{Config, Route, SharedRoutes, VirtualHost};
use portolan_engine::{ConfigError, Engine, Event, Trace};

use crate::connection_manager::{as_seen_by_engine, receive};
use crate::diagnostic::Diagnostic;
use crate::options::{Options, Profile};
use crate::plan::Plan;
use crate::request::Request;
use crate::source::Span;

pub use bypassed::Bypassed;
pub use change::Change;
pub(crate) use compared::ROUTE_SETTINGS;
pub use connections::{Chain, Registered, explain as explain_tls, terminated};
pub(crate) use connections::{explain_tcp, explain_untold};
#[cfg(all(test, feature = "cli"))]
pub(crate) use curl::shell_words;
pub use data::report as report_data;
pub use inquiry::{Answered, Inquiry};
pub use lost::{FailedCondition, Lost};
pub use outcome::{Forwarded, Local, Outcome, Retries, Share};
pub use text::report as report_text;
pub use typed::Typed;

/// How conditions, shares and times are called.
pub(crate) mod words {
    pub(crate) use super::lost::{describe, describe_header};
    pub(crate) use super::text::{percent, time};
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A request in plaintext, CONNECT included.
    Http(Request),
    /// A TLS connection to a host.
    Tls {
        /// The host of the URL, which the client sends as the server name.
        host: String,
        /// The port of the listener.
        port: u16,
        /// What is inside, which counts where the TLS ends at a gateway.
        request: Box<Request>,
    },
    /// A connection of another protocol.
    Tcp {
        /// Address and port as typed.
        target: String,
        /// The port of the listener.
        port: u16,
    },
}

impl Asked {
    /// The port of the listener that takes it.
    pub fn port(&self) -> u16 {
        match self {
            Self::Http(request) => request.port,
            Self::Tls { port, .. } | Self::Tcp { port, .. } => *port,
        }
    }
}

/// What one profile says.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To a plaintext request.
    Http(Box<Explanation>),
    /// To a connection.
    Connection(Profile, Chain),
    /// Nothing: its rules have errors, so that nothing is generated.
    Errors(Profile, Vec<Diagnostic>),
}

/// A name, and where it comes from, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// As in access logs.
    pub name: String,
    /// The place in the resources.
    pub span: Option<Span>,
}

/// A decision and what led to it.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Whose reading it is; none for a plugin config, which doesn't say.
    pub profile: Option<Profile>,
    /// The decision.
    pub outcome: Outcome,
    /// The path that rules saw, where Envoy normalized it before.
    pub normalized_path: Option<Vec<u8>>,
    /// What virtual hosts are looked up by.
    pub host: String,
    /// The virtual host, or what is known instead.
    pub virtual_host: Found,
    /// The route that matched.
    pub route: Option<Named>,
    /// The routes before it, or all, in their order.
    pub lost: Vec<Lost>,
    /// Where nothing serves the host, what names it all the same.
    pub bypassed: Vec<Bypassed>,
}

/// What the lookup of the host came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Envoy answers before the filter sees the request.
    NotAsked,
    /// Not looked up: the authority is not one host.
    NoHost,
    /// No virtual host has it on this port.
    Nothing {
        /// Another port has.
        on_another_port: bool,
    },
    /// This one.
    VirtualHost {
        /// The resource.
        named: Named,
        /// The domain by which it has the host.
        domain: String,
        /// No ServiceEntry has the host (GAP-01).
        unregistered: bool,
    },
}

/// Answers questions about one config.
#[derive(Debug)]
pub struct Explainer<'a> {
    config: Config,
    engine: Engine,
    /// What the config was made from, where that is known.
    origin: Option<(&'a Plan, &'a Options)>,
    /// The random number of every request. None: no fault happens that doesn't always, and of
    /// several destinations it is the one with the largest share.
    draw: Option<u64>,
}

impl<'a> Explainer<'a> {
    /// Checks the config, which may come from a plan with these options.
    ///
    /// # Errors
    ///
    /// What is wrong with the config.
    pub fn new(
        config: Config,
        origin: Option<(&'a Plan, &'a Options)>,
        draw: Option<u64>,
    ) -> Result<Self, ConfigError> {
        // As it is first, for the names in its errors.
        Engine::new(config.clone())?;
        let mut config = config;
        let shared = std::mem::take(&mut config.shared_routes);
        config.virtual_hosts.extend(shared.iter().flat_map(SharedRoutes::virtual_hosts));
        let mut known = numbered(&config);
        if draw.is_none() {
            leave_nothing_to_chance(&mut known);
        }
        Ok(Self { engine: Engine::new(known)?, config, origin, draw })
    }

    /// Explains what becomes of `sent`.
    ///
    /// # Errors
    ///
    /// None with a config that was checked.
    pub fn explain(&self, sent: &Request) -> Result<Explanation, ConfigError> {
        self.explained(sent, true)
    }

    /// The same without the routes that lost, each of which takes an engine of its own.
    pub(crate) fn explain_in_short(&self, sent: &Request) -> Result<Explanation, ConfigError> {
        self.explained(sent, false)
    }

    fn explained(&self, sent: &Request, with_lost: bool) -> Result<Explanation, ConfigError> {
        let profile = self.origin.map(|(_, options)| options.profile);
        let request = match receive(sent) {
            Ok(request) => request,
            Err(refused) => {
                return Ok(Explanation {
                    profile,
                    outcome: Outcome::refused_by_envoy(refused.status, refused.details),
                    normalized_path: None,
                    host: String::new(),
                    virtual_host: Found::NotAsked,
                    route: None,
                    lost: Vec::new(),
                    bypassed: Vec::new(),
                });
            }
        };
        let steps = self.steps(&request, self.draw.unwrap_or(0));
        let is_tunnel = request.method == "CONNECT" && self.config.connect.is_some();
        let virtual_host = steps.virtual_host.and_then(|index| self.config.virtual_hosts.get(index));
        let route = steps.matched.zip(virtual_host).and_then(|(index, host)| host.routes.get(index));
        let random = self.draw.or_else(|| route.map(largest_share)).unwrap_or(0);
        let outcome = as_seen_by_engine(&request, random, |view| {
            let decision = self.engine.decide(view, &mut portolan_engine::NoTrace);
            let outcome = outcome::of(decision, &request, route, &self.config, self.origin);
            outcome.drawn(self.draw.is_some())
        });
        let lost = match virtual_host {
            // The requests in a tunnel meet the routes, not the tunnel itself.
            Some(host) if with_lost && !is_tunnel => {
                let before = host.routes.iter().take(steps.matched.unwrap_or(host.routes.len()));
                let domain = domain_of(host, &steps.host);
                let why = |route| lost::why(self.named_route(host, route), &domain, route, &request);
                before.filter_map(|route| why(route).transpose()).collect::<Result<_, _>>()?
            }
            _ => Vec::new(),
        };
        Ok(Explanation {
            profile,
            outcome,
            normalized_path: (sent.method != "CONNECT" && request.path != sent.path).then_some(request.path),
            virtual_host: match (virtual_host, steps.nothing) {
                (None, None) if steps.tunnel.is_some() => Found::VirtualHost {
                    named: self.named_resource(steps.tunnel.as_deref().unwrap_or_default()),
                    domain: steps.host.clone(),
                    unregistered: false,
                },
                (Some(host), _) => Found::VirtualHost {
                    named: self.named_resource(&host.name),
                    domain: domain_of(host, &steps.host),
                    unregistered: host.unregistered,
                },
                (None, Some(on_another_port)) => Found::Nothing { on_another_port },
                (None, None) => Found::NoHost,
            },
            host: steps.host,
            route: route.zip(virtual_host).map(|(route, host)| self.named_route(host, route)),
            lost,
            bypassed: Vec::new(),
        })
    }

    fn steps(&self, request: &Request, random: u64) -> Steps {
        let mut steps = Steps::default();
        as_seen_by_engine(request, random, |view| {
            self.engine.decide(view, &mut steps);
        });
        steps
    }

    fn named_resource(&self, name: &str) -> Named {
        let span = self.origin.and_then(|(plan, _)| plan.places.resource(name));
        Named { name: name.to_owned(), span }
    }

    fn named_route(&self, host: &VirtualHost, route: &Route) -> Named {
        let places = self.origin.map(|(plan, _)| &plan.places);
        let span = places.and_then(|places| places.route(&host.name, &route.name));
        let name = match places.and_then(|places| places.delegate(&host.name, &route.name)) {
            Some(delegate) => format!("{} of {delegate}", route.name),
            None => route.name.clone(),
        };
        Named { name, span }
    }
}

/// `config` with the places of virtual hosts and routes for names, so that a trace tells them
/// apart whatever they are called.
fn numbered(config: &Config) -> Config {
    let mut config = config.clone();
    for (index, host) in config.virtual_hosts.iter_mut().enumerate() {
        host.name = index.to_string();
        for (index, route) in host.routes.iter_mut().enumerate() {
            route.name = index.to_string();
        }
    }
    config
}

/// Takes out faults that don't happen to every request.
fn leave_nothing_to_chance(config: &mut Config) {
    let routes = config.virtual_hosts.iter_mut().flat_map(|host| &mut host.routes);
    for fault in routes.filter_map(|route| route.route.fault.as_mut()) {
        fault.delay.take_if(|delay| delay.per_million < outcome::MILLION);
        fault.abort.take_if(|abort| abort.per_million < outcome::MILLION);
    }
}

/// A random number with which `route` takes the destination that has the largest share; the
/// engine draws from the sum of the weights.
fn largest_share(route: &Route) -> u64 {
    let destinations = &route.route.destinations;
    let largest = destinations.iter().map(|destination| destination.weight).max();
    let before = destinations.iter().take_while(|destination| Some(destination.weight) != largest);
    before.map(|destination| u64::from(destination.weight)).sum()
}

/// The domain by which `host` has the name `key`: the name, or the longest wildcard.
fn domain_of(host: &VirtualHost, key: &str) -> String {
    let fits = |domain: &&String| match domain.strip_prefix('*') {
        Some(suffix) => key.ends_with(suffix),
        None => domain.as_str() == key,
    };
    let best = host.domains.iter().filter(fits).max_by_key(|domain| (!domain.starts_with('*'), domain.len()));
    best.map_or_else(|| key.to_owned(), Clone::clone)
}

/// What the engine tells of a decision on a [`numbered`] config.
#[derive(Debug, Default)]
struct Steps {
    host: String,
    virtual_host: Option<usize>,
    /// In place of a virtual host.
    tunnel: Option<String>,
    /// No virtual host, and whether another port has one.
    nothing: Option<bool>,
    matched: Option<usize>,
}

impl Trace for Steps {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::VirtualHost { host, name } => {
                self.host = host.escape_ascii().to_string();
                let name = name.to_string();
                self.virtual_host = name.parse().ok();
                self.tunnel = self.virtual_host.is_none().then_some(name);
            }
            Event::NoVirtualHost { host, on_another_port } => {
                self.host = host.escape_ascii().to_string();
                self.nothing = Some(on_another_port);
            }
            Event::RouteMatched { route } => self.matched = route.parse().ok(),
            Event::RouteRejected { .. } => {}
        }
    }
}

impl Explanation {
    /// Whether both come to the same for the request. What a refusal says to the client isn't
    /// looked at (in profile istio it always says nothing), nor what the upstream is told of the
    /// original request.
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.outcome.agrees_with(&other.outcome)
    }
}

impl Answer {
    /// Whether both come to the same.
    pub fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(one), Self::Http(other)) => one.agrees_with(other),
            (Self::Connection(_, one), Self::Connection(_, other)) => one == other,
            _ => false,
        }
    }

    /// The profile; none for a plugin config.
    pub fn profile(&self) -> Option<Profile> {
        match self {
            Self::Http(explanation) => explanation.profile,
            Self::Connection(profile, _) | Self::Errors(profile, _) => Some(*profile),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan_engine::config::Destination;

    #[test]
    fn the_largest_share_is_taken_where_nothing_is_drawn() {
        let destination = |weight| Destination { weight, ..Destination::default() };
        let mut route = Route { name: String::new(), matcher: Default::default(), route: Default::default() };
        assert_eq!(largest_share(&route), 0);
        route.route.destinations = vec![destination(0), destination(10), destination(60), destination(30)];
        assert_eq!(largest_share(&route), 10);
    }

    #[test]
    fn the_domain_that_has_a_host_is_the_most_specific() {
        let host = VirtualHost {
            name: String::new(),
            domains: ["*.b.c", "*.c", "a.b.c"].map(str::to_owned).to_vec(),
            ports: Vec::new(),
            routes: Vec::new(),
            refuse: None,
            unregistered: false,
        };
        for (key, domain) in [("a.b.c", "a.b.c"), ("x.b.c", "*.b.c"), ("b.c", "*.c")] {
            assert_eq!(domain_of(&host, key), domain, "{key}");
        }
    }
}
