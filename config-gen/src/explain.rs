//! Why a request is decided as it is, for a person who wrote the rules.
//!
//! Nothing is matched here: the engine decides, and its trace says how.

mod render;
mod tls;

use portolan_engine::config::{Config, RouteMatch, StringMatch, VirtualHost};
use portolan_engine::{Condition, ConfigError, Engine, Event, Trace};

use crate::cases::{self, Request, Seen, UpstreamReply};
use crate::emit::PASSTHROUGH_CLUSTER;
use crate::options::Profile;
use crate::plan::{Places, Plan};
use crate::source::Span;

pub use render::Answer;
pub use tls::{Chain, explain as explain_tls};

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
    pub seen: Seen,
    /// The cluster isn't in the plan, so that the client gets 503.
    pub cluster_missing: bool,
    /// What virtual hosts are looked up by.
    pub host: String,
    /// The virtual host, or what is known instead.
    pub virtual_host: Found,
    /// The route that matched.
    pub route: Option<Named>,
    /// The routes before it, or all, in their order.
    pub lost: Vec<Lost>,
}

/// What the lookup of the host came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
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
        /// No ServiceEntry has the host (GAP-01).
        unregistered: bool,
    },
}

/// A route that didn't match, and its first condition that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The route.
    pub route: Named,
    /// On what, such as `path` or `header x-user`.
    pub condition: String,
    /// What it asks for, such as `prefix /a`.
    pub wanted: String,
    /// What the request has; none where it hasn't any.
    pub got: Option<String>,
    /// How many kinds of conditions held before this one.
    rank: u8,
}

/// Explains what `config` makes of `request`. `plan` is what the config was made from, where that
/// is known.
///
/// # Errors
///
/// What is wrong with the config.
pub fn explain(
    config: &Config,
    plan: Option<&Plan>,
    profile: Option<Profile>,
    request: &Request,
) -> Result<Explanation, ConfigError> {
    // The config as it is first, for the names in its errors.
    Engine::new(config.clone())?;
    let engine = Engine::new(numbered(config))?;
    let mut steps = Steps::default();
    let (seen, _) = cases::decide(&engine, request, &UpstreamReply::default(), &mut steps);
    let places = plan.map(|plan| &plan.places);
    let virtual_host = steps.virtual_host.and_then(|index| config.virtual_hosts.get(index));
    let matched = steps.matched.zip(virtual_host).and_then(|(index, host)| host.routes.get(index));
    let cluster_missing = match (&seen, plan) {
        (Seen::Forwarded { cluster: Some(cluster), .. }, Some(plan)) => {
            cluster != PASSTHROUGH_CLUSTER && !plan.clusters.iter().any(|known| known.name == *cluster)
        }
        _ => false,
    };
    let mut lost = Vec::new();
    if let Some(host) = virtual_host {
        let mut alone = config.clone();
        alone.virtual_hosts = vec![VirtualHost { ports: Vec::new(), ..host.clone() }];
        for route in host.routes.iter().take(steps.matched.unwrap_or(host.routes.len())) {
            for host in &mut alone.virtual_hosts {
                host.routes = vec![route.clone()];
            }
            let name = named_route(places, host, &route.name);
            lost.extend(lost_route(&alone, name, &route.matcher, request)?);
        }
    }
    Ok(Explanation {
        profile,
        seen,
        cluster_missing,
        host: steps.host,
        virtual_host: match (virtual_host, steps.nothing) {
            (Some(host), _) => Found::VirtualHost {
                named: Named {
                    name: host.name.clone(),
                    span: places.and_then(|places| places.resource(&host.name)),
                },
                unregistered: host.unregistered,
            },
            (None, Some(on_another_port)) => Found::Nothing { on_another_port },
            (None, None) => Found::NoHost,
        },
        route: matched.zip(virtual_host).map(|(route, host)| named_route(places, host, &route.name)),
        lost,
    })
}

impl Explanation {
    /// Whether both come to the same for the request. What a refusal says to the client isn't
    /// looked at: in profile istio it always says nothing.
    pub fn agrees_with(&self, other: &Self) -> bool {
        match (&self.seen, &other.seen) {
            (
                Seen::Answered { status, reason, .. },
                Seen::Answered { status: other_status, reason: other_reason, .. },
            ) => status == other_status && reason == other_reason,
            (
                Seen::Forwarded { cluster, authority, path, dials, .. },
                Seen::Forwarded {
                    cluster: other_cluster,
                    authority: other_authority,
                    path: other_path,
                    dials: other_dials,
                    ..
                },
            ) => {
                (cluster, authority, path, dials) == (other_cluster, other_authority, other_path, other_dials)
            }
            (one, other) => one == other,
        }
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

/// Why a route doesn't match: the engine is asked for it alone, since its index passes over
/// routes without a word. `config` has that route only.
fn lost_route(
    config: &Config,
    route: Named,
    matcher: &RouteMatch,
    request: &Request,
) -> Result<Option<Lost>, ConfigError> {
    let mut steps = Steps::default();
    let _ = cases::decide(&Engine::new(numbered(config))?, request, &UpstreamReply::default(), &mut steps);
    if steps.matched.is_some() {
        return Ok(None);
    }
    // The index of a single route rules it out by nothing but its path.
    let failed = steps.rejected.unwrap_or(Failed::Path);
    Ok(Some(Lost {
        route,
        condition: failed.to_string(),
        wanted: failed.wanted(matcher),
        got: failed.got(request),
        rank: failed.rank(),
    }))
}

fn named_route(places: Option<&Places>, host: &VirtualHost, route: &str) -> Named {
    let span = places.and_then(|places| places.route(&host.name, route));
    let name = match places.and_then(|places| places.delegate(&host.name, route)) {
        Some(delegate) => format!("{route} of {delegate}"),
        None => route.to_owned(),
    };
    Named { name, span }
}

/// What the engine tells of a decision on a [`numbered`] config.
#[derive(Debug, Default)]
struct Steps {
    host: String,
    virtual_host: Option<usize>,
    /// No virtual host, and whether another port has one.
    nothing: Option<bool>,
    matched: Option<usize>,
    rejected: Option<Failed>,
}

impl Trace for Steps {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::VirtualHost { host, name } => {
                self.host = host.escape_ascii().to_string();
                self.virtual_host = name.parse().ok();
            }
            Event::NoVirtualHost { host, on_another_port } => {
                self.host = host.escape_ascii().to_string();
                self.nothing = Some(on_another_port);
            }
            Event::RouteRejected { condition, .. } => self.rejected = Some(Failed::from(condition)),
            Event::RouteMatched { route } => self.matched = route.parse().ok(),
        }
    }
}

/// A condition that failed, kept.
#[derive(Debug)]
enum Failed {
    Path,
    Method,
    Scheme,
    Authority,
    Header(String),
    QueryParameter(String),
}

impl From<Condition<'_>> for Failed {
    fn from(condition: Condition<'_>) -> Self {
        match condition {
            Condition::Path => Self::Path,
            Condition::Method => Self::Method,
            Condition::Scheme => Self::Scheme,
            Condition::Authority => Self::Authority,
            Condition::Header(name) => Self::Header(name.to_owned()),
            Condition::QueryParameter(name) => Self::QueryParameter(name.to_owned()),
        }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path => f.write_str("path"),
            Self::Method => f.write_str("method"),
            Self::Scheme => f.write_str("scheme"),
            Self::Authority => f.write_str("authority"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::QueryParameter(name) => write!(f, "query parameter {name}"),
        }
    }
}

impl Failed {
    /// In the order in which the engine asks.
    fn rank(&self) -> u8 {
        match self {
            Self::Path => 0,
            Self::Method => 1,
            Self::Scheme => 2,
            Self::Authority => 3,
            Self::Header(_) => 4,
            Self::QueryParameter(_) => 5,
        }
    }

    /// What `matcher` asks for.
    fn wanted(&self, matcher: &RouteMatch) -> String {
        let single = |value: &Option<StringMatch>| value.as_ref().map(describe).unwrap_or_default();
        let all = |texts: Vec<String>| texts.join(" and ");
        match self {
            Self::Path if matcher.ignore_path_case => format!("{} in any case", single(&matcher.path)),
            Self::Path => single(&matcher.path),
            Self::Method => single(&matcher.method),
            Self::Scheme => single(&matcher.scheme),
            Self::Authority => single(&matcher.authority),
            Self::Header(name) => {
                let headers = matcher.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
                let text = |value: &StringMatch, invert| match (value, invert) {
                    (StringMatch::Present, true) => "none".to_owned(),
                    (value, true) => format!("not {}", describe(value)),
                    (value, false) => describe(value),
                };
                all(headers.map(|header| text(&header.value, header.invert)).collect())
            }
            Self::QueryParameter(name) => {
                let parameters = matcher.query_parameters.iter().filter(|parameter| parameter.name == *name);
                all(parameters.map(|parameter| describe(&parameter.value)).collect())
            }
        }
    }

    /// What `request` has there.
    fn got(&self, request: &Request) -> Option<String> {
        let text = |bytes: &[u8]| Some(bytes.escape_ascii().to_string());
        let end = request.path.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let (path, query) = request.path.split_at(end.unwrap_or(request.path.len()));
        match self {
            Self::Path => text(path),
            Self::Method => Some(request.method.clone()),
            Self::Scheme => Some("http".to_owned()),
            Self::Authority => text(&request.authority),
            Self::Header(name) => {
                let lines = request.headers.iter().filter(|(line, _)| line.eq_ignore_ascii_case(name));
                let lines: Vec<&[u8]> = lines.map(|(_, value)| value.as_slice()).collect();
                if lines.is_empty() { None } else { text(&lines.join(&b',')) }
            }
            Self::QueryParameter(name) => {
                let query = query.strip_prefix(b"?")?.split(|byte| *byte == b'#').next()?;
                let mut parameters = query.split(|byte| *byte == b'&').map(|parameter| {
                    let end = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
                    parameter.split_at(end)
                });
                let (_, value) = parameters.find(|(known, _)| *known == name.as_bytes())?;
                text(value.strip_prefix(b"=").unwrap_or_default())
            }
        }
    }
}

fn describe(value: &StringMatch) -> String {
    match value {
        StringMatch::Exact(text) => format!("exactly `{text}`"),
        StringMatch::Prefix(text) => format!("prefix `{text}`"),
        StringMatch::Regex(text) => format!("regex `{text}`"),
        StringMatch::Present => "any value".to_owned(),
    }
}
