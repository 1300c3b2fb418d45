//! What a plan does as a picture: hosts, the rules that they have, and where these lead.
//!
//! A [`Graph`] is the picture as data. [`Graph::dot`], [`Graph::mermaid`] and [`Graph::svg`] draw it,
//! and need nothing but it: no file, no program.

mod dot;
mod mermaid;
mod svg;

use std::collections::{BTreeMap, HashMap};

use portolan_engine::config::{
    Dial, OutboundTrafficPolicy, Refuse, Route, RouteAction, RouteMatch, VirtualHost,
};

use crate::explain::words::{describe, describe_header, percent, time};
use crate::options::Options;
use crate::plan::{Address, Ca, Cluster, ConnectionRoute, Discovery, Plan, RouteProfile};

/// All of a million.
const MILLION: u64 = 1_000_000;

/// Most names and endpoints that a node tells.
const LISTED: usize = 3;

/// Longest line of a node in characters.
const LONGEST: usize = 64;

/// Nodes and what leads from one to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// In the order of their columns, and within them as the plan has them.
    pub nodes: Vec<Node>,
    /// By the places of their nodes.
    pub edges: Vec<Edge>,
}

/// A host, a rule, or where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub title: String,
    /// What else there is to say, a line each; none is long.
    pub lines: Vec<String>,
}

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A name that clients use, on some ports.
    Host,
    /// A route of a VirtualService.
    Rule,
    /// A cluster: requests are sent on.
    Cluster,
    /// An answer by Envoy itself, on purpose.
    Answer,
    /// An answer or a closed connection because there is nothing to send to.
    Refusal,
}

/// A way from a node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The node it begins at.
    pub from: usize,
    /// The node it ends at.
    pub to: usize,
    /// The share of requests, where it isn't all.
    pub label: Option<String>,
    /// Copies of requests go there, whose answers nobody sees.
    pub mirror: bool,
}

impl Kind {
    /// The column, counted from the left.
    pub const fn column(self) -> usize {
        match self {
            Self::Host => 0,
            Self::Rule => 1,
            Self::Cluster | Self::Answer | Self::Refusal => 2,
        }
    }

    /// The word for it in pictures, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Rule => "rule",
            Self::Cluster => "cluster",
            Self::Answer => "answer",
            Self::Refusal => "refusal",
        }
    }
}

impl Graph {
    /// The picture of `plan`, which was made with `options`.
    pub fn of(plan: &Plan, options: &Options) -> Self {
        let mut builder =
            Builder { plan, options, nodes: Vec::new(), edges: Vec::new(), known: HashMap::new() };
        plan.virtual_hosts.iter().for_each(|host| builder.virtual_host(host));
        let redirected = !options.envoy.transparent.is_empty();
        let connections = if redirected { &plan.redirected } else { &plan.connections };
        connections.iter().for_each(|route| builder.connection(route));
        builder.unknown_hosts();
        builder.sorted()
    }
}

/// A graph that grows.
struct Builder<'a> {
    plan: &'a Plan,
    options: &'a Options,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Nodes by what they were made from, so that two ways to one end there.
    known: HashMap<(Kind, String), usize>,
}

impl Builder<'_> {
    fn node(&mut self, kind: Kind, key: &str, make: impl FnOnce() -> (String, Vec<String>)) -> usize {
        let key = (kind, key.to_owned());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let (title, lines) = make();
        let lines = lines.iter().map(|line| shortened(line)).collect();
        self.nodes.push(Node { kind, title: shortened(&title), lines });
        self.known.insert(key, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize, label: Option<String>, mirror: bool) {
        let edge = Edge { from, to, label, mirror };
        if !self.edges.contains(&edge) {
            self.edges.push(edge);
        }
    }

    fn virtual_host(&mut self, host: &VirtualHost) {
        let plan = self.plan;
        let name = main_name(&host.domains);
        let node = self.node(Kind::Host, &format!("{name} {:?}", host.ports), || {
            (name.to_owned(), host_lines(host, name, plan))
        });
        if let Some(Refuse::OnlyTlsPorts) = host.refuse {
            let to = self.refusal("502", "only_tls_ports");
            return self.edge(node, to, None, false);
        }
        for route in &host.routes {
            // A host that no VirtualService routes leads to its cluster by itself.
            let is_rule = host.name.starts_with("VirtualService ") || route.name.contains(' ');
            let from = if is_rule { self.rule(host, route) } else { node };
            if is_rule {
                self.edge(node, from, None, false);
            }
            self.action(from, &route.route);
        }
        if host.routes.is_empty() {
            let to = self.refusal("404", "no_route");
            self.edge(node, to, None, false);
        }
    }

    fn rule(&mut self, host: &VirtualHost, route: &Route) -> usize {
        // Routes of two hosts that say the same are one.
        let key = format!("{} {route:?}", host.name);
        self.node(Kind::Rule, &key, || {
            let title = match route.name.contains(' ') {
                true => route.name.clone(),
                false => format!("{} {}", host.name, route.name),
            };
            let mut lines = conditions(&route.matcher);
            if lines.is_empty() {
                lines.push("every request".to_owned());
            }
            lines.extend(effects(&route.route));
            (title, lines)
        })
    }

    fn action(&mut self, from: usize, action: &RouteAction) {
        if let Some(redirect) = &action.redirect {
            let url = format!(
                "{}{}{}{}",
                redirect.scheme.as_ref().map(|scheme| format!("{scheme}://")).unwrap_or_default(),
                redirect.authority.as_deref().unwrap_or_default(),
                redirect.port.map(|port| format!(":{port}")).unwrap_or_default(),
                redirect.path.as_deref().or(redirect.prefix.as_deref()).unwrap_or_default()
            );
            let title = format!("redirect {}", redirect.code);
            let to =
                self.node(Kind::Answer, &format!("{title} {url}"), || (title.clone(), vec![url.clone()]));
            return self.edge(from, to, None, false);
        }
        if let Some(answer) = &action.direct_response {
            let title = format!("answer {}", answer.status);
            let to = self.node(Kind::Answer, &title, || (title.clone(), Vec::new()));
            return self.edge(from, to, None, false);
        }
        if let Some(cluster) = &action.cluster {
            let to = self.cluster(cluster, action.dial.as_ref());
            self.edge(from, to, None, false);
        }
        let total: u64 = action.destinations.iter().map(|it| u64::from(it.weight)).sum();
        for it in action.destinations.iter().filter(|it| it.weight > 0) {
            let to = self.cluster(&it.cluster, it.dial.as_ref());
            let share = u64::from(it.weight) * MILLION / total.max(1);
            self.edge(from, to, label(share), false);
        }
        let mirrors = self.profile(&action.route_profile).map(|it| it.mirrors.clone()).unwrap_or_default();
        for mirror in mirrors {
            let to = self.cluster(&mirror.cluster, None);
            let share = label(u64::from(mirror.per_million)).unwrap_or_else(|| "all".to_owned());
            self.edge(from, to, Some(format!("copy of {share}")), true);
        }
    }

    fn profile(&self, name: &str) -> Option<&RouteProfile> {
        self.plan.profiles.iter().find(|profile| profile.name() == name)
    }

    /// The node of a cluster, or of the service's own where several share it.
    fn cluster(&mut self, name: &str, dial: Option<&Dial>) -> usize {
        let plan = self.plan;
        let dialled = dial.and_then(|dial| plan.shared.dedicated(name, dial.host.as_deref()?, dial.port));
        let dedicated = dialled.unwrap_or(name);
        let shared = plan.shared.get(dedicated).map(|shared| shared.cluster.as_str());
        let Some(cluster) = plan.cluster(shared.unwrap_or(name)) else {
            let key = format!("missing {name}");
            return self
                .node(Kind::Refusal, &key, || (name.to_owned(), vec!["no such cluster: 503".to_owned()]));
        };
        self.node(Kind::Cluster, dedicated, || {
            let mut lines = endpoints(cluster, dial);
            lines.push(security(cluster));
            lines.extend(shared.map(|shared| format!("shares {shared}")));
            (dedicated.to_owned(), lines)
        })
    }

    fn refusal(&mut self, status: &str, reason: &str) -> usize {
        self.node(Kind::Refusal, &format!("{status} {reason}"), || {
            (format!("refused {status}"), vec![reason.to_owned()])
        })
    }

    fn connection(&mut self, route: &ConnectionRoute) {
        let addresses: Vec<String> = route.addresses.iter().map(ToString::to_string).collect();
        let kind = if route.server_name.is_some() { "TLS" } else { "TCP" };
        let name = route.server_name.clone().unwrap_or_else(|| "any connection".to_owned());
        let key = format!("{kind} {name} {} {addresses:?}", route.port);
        let mut from = self.node(Kind::Host, &key, || {
            let mut lines = vec![format!("{kind} on port {}", route.port)];
            lines.extend(listed("to", &addresses));
            (name.clone(), lines)
        });
        if let Some(rule) = &route.rule {
            let title = format!("{} {rule}", route.resource);
            let node = self.node(Kind::Rule, &title, || (title.clone(), vec!["every connection".to_owned()]));
            self.edge(from, node, None, false);
            from = node;
        }
        let total: u64 = route.destinations.iter().map(|share| u64::from(share.weight)).sum();
        for share in &route.destinations {
            let to = self.cluster(&share.cluster, None);
            self.edge(from, to, label(u64::from(share.weight) * MILLION / total.max(1)), false);
        }
    }

    /// What becomes of hosts that nothing names.
    fn unknown_hosts(&mut self) {
        let has_all = |host: &VirtualHost| host.ports.is_empty() && host.domains.iter().any(|it| it == "*");
        if self.plan.virtual_hosts.iter().any(has_all) {
            return;
        }
        let node = self.node(Kind::Host, "any other host", || {
            ("any other host".to_owned(), vec!["not in the registry".to_owned()])
        });
        let to = match crate::emit::outbound_traffic_policy(self.options) {
            OutboundTrafficPolicy::RegistryOnly => self.refusal("502", "host_not_in_registry"),
            OutboundTrafficPolicy::Gateway => self.refusal("404", "host_not_on_gateway"),
            OutboundTrafficPolicy::AllowAny { cluster, report, .. } => {
                self.node(Kind::Cluster, &cluster, || {
                    let reported = if report { ", and reported" } else { "" };
                    (cluster.clone(), vec![format!("passed through by its name{reported}")])
                })
            }
        };
        self.edge(node, to, None, false);
    }

    /// With the nodes column by column.
    fn sorted(self) -> Graph {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|&index| self.nodes[index].kind.column());
        let places: BTreeMap<usize, usize> = order.iter().enumerate().map(|(new, &old)| (old, new)).collect();
        Graph {
            nodes: order.iter().map(|&old| self.nodes[old].clone()).collect(),
            edges: self
                .edges
                .into_iter()
                .map(|edge| Edge { from: places[&edge.from], to: places[&edge.to], ..edge })
                .collect(),
        }
    }
}

/// The shortest name, which is the one that people write, without a trailing dot.
fn main_name(domains: &[String]) -> &str {
    let names = domains.iter().map(|name| name.strip_suffix('.').unwrap_or(name));
    names.min_by_key(|name| name.len()).unwrap_or_default()
}

fn host_lines(host: &VirtualHost, name: &str, plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    // Servers of a gateway that share a port have numbers of their own.
    let terminations = plan.gateway.iter().flat_map(|gateway| &gateway.terminations);
    let ends = |number: u16| terminations.clone().find(|it| it.number == number).map(|it| it.port);
    lines.push(match host.ports.as_slice() {
        [] => "HTTP on every port".to_owned(),
        [number] => match ends(*number) {
            Some(port) => format!("TLS on port {port}, which ends here"),
            None => format!("HTTP on port {number}"),
        },
        ports => format!(
            "HTTP on ports {}",
            join(ports.iter().map(|number| ends(*number).unwrap_or(*number).to_string()).collect())
        ),
    });
    let others = host.domains.iter().filter(|other| other.strip_suffix('.').unwrap_or(other) != name);
    // A name with a trailing dot is the same one.
    let others: Vec<String> = others.filter(|other| !other.ends_with('.')).cloned().collect();
    lines.extend(listed("also", &others));
    lines
}

/// A line of what there is, and how much more.
fn listed(what: &str, values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| format!("{what} {}", join(values.to_vec())))
}

fn join(mut values: Vec<String>) -> String {
    let more = values.len().saturating_sub(LISTED);
    values.truncate(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    values.join(", ") + &more
}

/// The conditions of a route in words, one each.
fn conditions(matcher: &RouteMatch) -> Vec<String> {
    let mut lines = Vec::new();
    let in_any_case = if matcher.ignore_path_case { " in any case" } else { "" };
    lines.extend(matcher.path.as_ref().map(|it| format!("path: {}{in_any_case}", describe(it))));
    for (what, condition) in
        [("method", &matcher.method), ("scheme", &matcher.scheme), ("authority", &matcher.authority)]
    {
        lines.extend(condition.as_ref().map(|it| format!("{what}: {}", describe(it))));
    }
    lines.extend(matcher.headers.iter().map(|it| format!("header {}: {}", it.name, describe_header(it))));
    let queries = matcher.query_parameters.iter();
    lines.extend(queries.map(|it| format!("query {}: {}", it.name, describe(&it.value))));
    lines
}

/// What a route does besides leading somewhere.
fn effects(action: &RouteAction) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(rewrite) = &action.rewrite {
        let path_regex =
            rewrite.path_regex.as_ref().map(|it| format!("{} by {}", it.pattern, it.replacement));
        lines.extend(rewrite.path.as_ref().map(|path| format!("rewrites the path to {path}")));
        lines.extend(path_regex.map(|it| format!("replaces {it}")));
        lines.extend(rewrite.authority.as_ref().map(|it| format!("rewrites the host to {it}")));
    }
    lines.extend(action.timeout_ms.map(|ms| format!("timeout {}", time(ms))));
    if let Some(fault) = &action.fault {
        let delay =
            fault.delay.as_ref().map(|it| format!("delays {} by {}", percent(it.per_million), time(it.ms)));
        let abort =
            fault.abort.as_ref().map(|it| format!("ends {} with {}", percent(it.per_million), it.status));
        lines.extend(delay.into_iter().chain(abort));
    }
    lines
}

fn endpoints(cluster: &Cluster, dial: Option<&Dial>) -> Vec<String> {
    let told = |dial: &Dial| format!("dials {}:{}", dial.host.as_deref().unwrap_or("the host"), dial.port);
    match (cluster.discovery, dial) {
        (_, Some(dial)) => vec![told(dial)],
        (Discovery::Dynamic(port), None) => vec![format!("dials the host that is asked for, port {port}")],
        (Discovery::OriginalDestination(_), None) => vec!["dials what the client dialled".to_owned()],
        _ => {
            let address = |address: &Address| match address {
                Address::Socket(host, port) if host.contains(':') => format!("[{host}]:{port}"),
                Address::Socket(host, port) => format!("{host}:{port}"),
                Address::Pipe(path) => path.clone(),
            };
            let addresses: Vec<String> = cluster.endpoints.iter().map(|it| address(&it.address)).collect();
            vec![listed("dials", &addresses).unwrap_or_else(|| "has no endpoint".to_owned())]
        }
    }
}

fn security(cluster: &Cluster) -> String {
    let Some(tls) = &cluster.tls else { return "bytes go as they come".to_owned() };
    let name = tls.sni.as_ref().map(|sni| format!(", server name {sni}")).unwrap_or_default();
    let unverified = if tls.ca == Ca::Unverified { ", NOT verified" } else { "" };
    format!("TLS is originated{name}{unverified}")
}

/// None for all.
fn label(per_million: u64) -> Option<String> {
    (per_million != MILLION).then(|| percent(u32::try_from(per_million).unwrap_or(u32::MAX)))
}

/// One line of bounded length that has no control characters.
fn shortened(text: &str) -> String {
    let clean = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    if text.chars().count() <= LONGEST {
        return text.chars().map(clean).collect();
    }
    text.chars().take(LONGEST - 1).map(clean).chain(['…']).collect()
}
