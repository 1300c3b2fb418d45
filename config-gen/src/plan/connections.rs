//! Connections whose bytes are passed through: which clusters get them (spec sections 3.3 and 4.10).
//!
//! A table for each listener port: what looks like this goes there. An entry for a server name or an
//! address belongs to the first that asks for it, as filter chains do in Istio.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gateway;
use crate::names::{covers, expand, overlaps, short_forms};
use crate::options::{Cidr, Profile};
use crate::plan::clusters::{Cluster, original_destination_name};
use crate::plan::destinations::{Purpose, Target, check as check_destination};
use crate::plan::tls::upstream_tls;
use crate::plan::{DownstreamTls, Input, cluster_name, clusters};
use crate::registry::Service;
use crate::resource::destination_rule::{HashKey, Tunnel};
use crate::resource::service_entry::{Port, Protocol, ProtocolClass};
use crate::resource::virtual_service::{ConnectionMatch, ConnectionRule, RouteDestination};
use crate::resource::{Spanned, VirtualService};

/// Where connections to a listener port go that look like this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRoute {
    /// The listener port.
    pub port: u16,
    /// TLS with this server name, exact or `*.x` (VS-TLS-05), or `*` for any TLS; none: bytes of
    /// any kind.
    pub server_name: Option<String>,
    /// Only to these original destinations; empty: to all.
    pub addresses: Vec<Cidr>,
    /// HTTP to the same addresses goes to the filter; these are the other bytes (SE-P-07,
    /// SE-P-09).
    pub beside_http: bool,
    /// Where the bytes go; one of them for each connection.
    pub destinations: Vec<Share>,
    /// How long it lasts, and by whom.
    pub settings: ConnectionSettings,
    /// The resource it stems from, such as `ServiceEntry default/a`.
    pub resource: String,
    /// The entry of a VirtualService, such as `tls[0].match[1]`; none: the service alone.
    pub rule: Option<String>,
    /// The client's TLS ends here, and what was in it goes on (GW-03).
    pub decrypted: Option<DownstreamTls>,
}

impl ConnectionRoute {
    /// Whether it takes all that no other route of the port does.
    pub fn takes_the_rest(&self) -> bool {
        self.server_name.is_none() && self.addresses.is_empty()
    }
}

/// What a DestinationRule says of connections (TCP-01, TCP-02, DR-LB-07). Of time spans, milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionSettings {
    /// Closed after so long without traffic; 0: never.
    pub idle_timeout: Option<u64>,
    /// Closed after so long.
    pub max_duration: Option<u64>,
    /// The endpoints are asked to connect to this.
    pub tunnel: Option<Tunnel>,
    /// The load balancer hashes the client's address (DR-LB-07).
    pub hashes_source: bool,
}

/// A cluster's share of connections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// The cluster.
    pub cluster: String,
    /// In proportion to the others' (VS-TLS-07).
    pub weight: u32,
}

/// What a listener knows of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knows {
    /// The port alone: clients connect to the listener itself. What services differ by is then
    /// the server name, and their addresses say nothing.
    Port,
    /// The address that the client dialled.
    Address,
}

/// The second cluster of a service that originates TLS: for clients that speak TLS themselves
/// (design, section 3).
pub(super) fn passthrough_cluster_name(host: &str, port: u16, subset: &str) -> String {
    format!("passthrough|{port}|{subset}|{host}")
}

/// Whether clients' own TLS needs a cluster beside the one that originates it.
pub(super) fn needs_passthrough_cluster(
    input: &Input<'_>,
    service: &Service<'_>,
    port: u16,
    subset: &str,
) -> bool {
    let is_tls = service.ports.get(&port).is_some_and(|port| port.protocol.class() == ProtocolClass::Tls);
    is_tls
        && input.options.profile == Profile::Standalone
        && upstream_tls(input, service, port, subset).is_some()
}

/// All routes of listeners that know this much, port by port. `virtual_services` are those that the
/// client takes, in their order.
pub(super) fn build(
    input: &Input<'_>,
    virtual_services: &[&VirtualService],
    knows: Knows,
    diagnostics: &mut Diagnostics,
) -> Vec<ConnectionRoute> {
    // Oldest first, then by host (SE-21).
    let mut services: Vec<&Service<'_>> = input.registry.services().collect();
    services.sort_by_key(|service| service.meta().creation_timestamp);
    let mut routes = Vec::new();
    let mut told = HashSet::new();
    let mut lost = HashSet::new();
    for port in input.ports() {
        let imported = virtual_services.iter().filter(|service| input.scope.imports(service, port));
        let imported: Vec<&VirtualService> = imported.copied().collect();
        let mut table = PortTable::new(input, port, knows);
        for service in &services {
            for definition in service.definitions(port) {
                table.add(service, definition, &imported);
            }
        }
        // To an explicit proxy clients name the service.
        let meets = knows == Knows::Address
            || input.options.envoy.listeners.iter().any(|listener| listener.port == port);
        diagnostics.extend(
            table.findings.into_iter().filter(|finding| {
                meets && told.insert((finding.code, finding.span, finding.message.clone()))
            }),
        );
        routes.extend(table.routes);
        lost.extend(table.lost);
    }
    report_lost(virtual_services, &lost, diagnostics);
    routes
}

/// Has routes that are for addresses of a service which is what the client dialled lead there
/// (SE-R-01).
pub(super) fn keep_original_destinations(routes: &mut [ConnectionRoute], clusters: &[Cluster]) {
    for route in routes.iter_mut().filter(|route| !route.addresses.is_empty()) {
        let ConnectionRoute { addresses, destinations, .. } = route;
        for Share { cluster, .. } in destinations {
            // In the order of their names.
            let found = clusters.binary_search_by(|other| other.name.as_str().cmp(cluster));
            let found = found.ok().and_then(|index| clusters.get(index));
            let Some(original) = found.and_then(|cluster| cluster.original_destination.as_ref()) else {
                continue;
            };
            let is_own = |range: &Cidr| original.addresses.iter().any(|own| own.covers(*range));
            if addresses.iter().all(is_own) {
                *cluster = original_destination_name(cluster);
            }
        }
    }
}

/// Where connections to `port` of `service` go that are known to be for it, whatever their bytes.
pub(super) fn of_service(
    input: &Input<'_>,
    virtual_services: &[&VirtualService],
    service: &Service<'_>,
    port: u16,
) -> Option<ConnectionRoute> {
    let imported = virtual_services.iter().filter(|owner| input.scope.imports(owner, port));
    let imported: Vec<&VirtualService> = imported.copied().collect();
    let mut table = PortTable::new(input, port, Knows::Port);
    for definition in service.definitions(port) {
        table.add(service, definition, &imported);
    }
    table.routes.into_iter().find(ConnectionRoute::takes_the_rest)
}

/// Rules that came too late for something.
fn report_lost(virtual_services: &[&VirtualService], lost: &HashSet<Lost>, diagnostics: &mut Diagnostics) {
    for (owner, kind, index, rule) in all_rules(virtual_services) {
        let title = owner.meta.title();
        let mut own: Vec<&Lost> =
            lost.iter().filter(|lost| lost.resource == title && is_of(&lost.rule, rule)).collect();
        own.sort_by_key(|lost| (&lost.what, &lost.winner));
        for lost in own {
            diagnostics.push(
                Diagnostic::warning(
                    "connections-already-routed",
                    format!("{} goes by {}", lost.what, lost.winner),
                )
                .resource(title.clone())
                .at(rule.span)
                .field(format!("spec.{kind}[{index}]"))
                .rule(if kind == "tls" { "VS-TLS-04" } else { "VS-TCP-02" })
                .help("take it out of one of the two"),
            );
        }
    }
}

/// Whether `rule` is for the proxy that is generated for: some of its entries are not for other
/// gateways alone (GW-21).
fn concerns(input: &Input<'_>, owner: &VirtualService, rule: &ConnectionRule) -> bool {
    let own = input.gateway_names();
    let named = |list: &[Spanned<String>]| {
        list.is_empty() || own.iter().any(|own| gateway::names(list, &owner.meta.namespace, own))
    };
    rule.matches.is_empty() || rule.matches.iter().any(|entry| named(&entry.gateways))
}

/// Rules of the VirtualServices that the client takes: those that lead nowhere, and those that no
/// connection comes to. `routes` are those of all listeners.
pub(super) fn check(
    input: &Input<'_>,
    virtual_services: &[&VirtualService],
    routes: &[&ConnectionRoute],
    diagnostics: &mut Diagnostics,
) {
    for (owner, kind, index, rule) in all_rules(virtual_services) {
        if !concerns(input, owner, rule) {
            continue;
        }
        let field = format!("spec.{kind}[{index}]");
        for (route_index, route) in rule.route.iter().enumerate() {
            let field = format!("{field}.route[{route_index}].destination");
            check_destination(
                input,
                &owner.meta,
                &route.destination,
                Purpose::Connection(owner),
                &field,
                diagnostics,
            );
        }
        let title = owner.meta.title();
        let used = routes.iter().any(|route| {
            route.resource == title && route.rule.as_deref().is_some_and(|name| is_of(name, rule))
        });
        let by_address = |entry: &ConnectionMatch| {
            input.options.envoy.transparent.is_empty() && !entry.destination_subnets.is_empty()
        };
        if used || rule.matches.iter().any(by_address) {
            continue;
        }
        let protocol = if kind == "tls" { "HTTPS or TLS" } else { "TCP" };
        let message = format!(
            "no connection comes to this route: it is for other clients, other routes come first, or no port of a listener has {protocol} of a service of its hosts"
        );
        diagnostics.push(
            Diagnostic::warning("connection-route-unused", message)
                .resource(title)
                .at(rule.span)
                .field(field)
                .rule(if kind == "tls" { "VS-TLS-01" } else { "VS-TCP-01" })
                .help("add a ServiceEntry with such a port for the host, and a listener for the port"),
        );
    }
}

type Rule<'v> = (&'v VirtualService, &'static str, usize, &'v ConnectionRule);

fn all_rules<'v>(virtual_services: &[&'v VirtualService]) -> Vec<Rule<'v>> {
    let rules = |owner: &&'v VirtualService| -> Vec<Rule<'v>> {
        let owner = *owner;
        let of = |kind, rules: &'v [ConnectionRule]| {
            rules.iter().enumerate().map(move |(index, rule)| (owner, kind, index, rule))
        };
        of("tls", &owner.tls).chain(of("tcp", &owner.tcp)).collect()
    };
    virtual_services.iter().flat_map(rules).collect()
}

/// Whether a route of this name stems from `rule`.
fn is_of(name: &str, rule: &ConnectionRule) -> bool {
    name.strip_prefix(rule.label.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The routes of one listener port.
struct PortTable<'i, 'a> {
    input: &'i Input<'a>,
    port: u16,
    knows: Knows,
    routes: Vec<ConnectionRoute>,
    /// Server names and ranges, and the places of the routes that have them; no range: all addresses.
    taken: BTreeMap<(Option<String>, Option<Cidr>), usize>,
    /// The protocol of the first service without an address of its own.
    first: Option<(Protocol, &'i Service<'a>)>,
    /// One of those services has HTTP.
    has_http: bool,
    /// Rules that came too late.
    lost: Vec<Lost>,
    findings: Vec<Diagnostic>,
}

/// A rule that came too late for what another one has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Lost {
    resource: String,
    rule: String,
    what: String,
    winner: String,
}

/// An address that a service is reached at.
#[derive(Debug, Clone, Copy)]
enum Reached {
    /// Any, or it isn't known.
    Anywhere,
    /// A listener of its own in Istio (LI-04).
    At(Cidr),
    /// A range.
    Within(Cidr),
}

impl Reached {
    /// The original destinations of a route.
    fn addresses(self) -> Vec<Cidr> {
        match self {
            Self::Anywhere => Vec::new(),
            Self::At(range) | Self::Within(range) => vec![range.normalized()],
        }
    }

    /// Those of a route that asks for `subnets`, which come before the service's range (VS-TLS-02,
    /// VS-TCP-03); none where they don't meet.
    fn within(self, subnets: &[Cidr]) -> Option<Vec<Cidr>> {
        match self {
            Self::At(one) => subnets.iter().any(|subnet| subnet.contains(one.address)).then(|| vec![one]),
            Self::Anywhere | Self::Within(_) => {
                Some(subnets.iter().map(|subnet| subnet.normalized()).collect())
            }
        }
    }
}

impl<'i, 'a> PortTable<'i, 'a> {
    fn new(input: &'i Input<'a>, port: u16, knows: Knows) -> Self {
        Self {
            input,
            port,
            knows,
            routes: Vec::new(),
            taken: BTreeMap::new(),
            first: None,
            has_http: false,
            lost: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn add(&mut self, service: &'i Service<'a>, definition: &Port, virtual_services: &[&VirtualService]) {
        let class = definition.protocol.class();
        if class == ProtocolClass::Udp {
            return;
        }
        for reached in self.reached(service, class) {
            if matches!(reached, Reached::Anywhere) && !self.shares_port(service, definition) {
                continue;
            }
            match class {
                ProtocolClass::Tls => self.add_tls(service, reached, virtual_services),
                ProtocolClass::Tcp | ProtocolClass::Sniffed => {
                    self.add_tcp(service, definition, reached, virtual_services);
                }
                ProtocolClass::Http => self.mark_http(),
                ProtocolClass::Udp => {}
            }
        }
    }

    /// Where `service` is reached: HTTP of any address is of one listener (LI-01).
    fn reached(&self, service: &Service<'_>, class: ProtocolClass) -> Vec<Reached> {
        let ranges = match (self.knows, class) {
            (Knows::Port, _) | (_, ProtocolClass::Http) => Vec::new(),
            (Knows::Address, _) => service.ranges(self.port),
        };
        if ranges.is_empty() {
            return vec![Reached::Anywhere];
        }
        let reached = |range: Cidr| {
            if Cidr::of(range.address) == range { Reached::At(range) } else { Reached::Within(range) }
        };
        ranges.into_iter().map(reached).collect()
    }

    /// Protocols whose servers speak first share a port with no other one: the later service is
    /// left out (SE-P-08).
    fn shares_port(&mut self, service: &'i Service<'a>, definition: &Port) -> bool {
        let protocol = definition.protocol.value;
        let Some((first, owner)) = self.first else {
            self.first = Some((protocol, service));
            return true;
        };
        let speaks_first = |protocol| matches!(protocol, Protocol::Mongo | Protocol::MySql);
        if first == protocol || !(speaks_first(first) || speaks_first(protocol)) {
            return true;
        }
        let message = format!(
            "port {} is {first} for `{}`, which leaves no room for {protocol} of `{}`",
            self.port, owner.host, service.host
        );
        self.findings.push(
            Diagnostic::warning("server-first-port-shared", message)
                .resource(service.meta().title())
                .at(definition.span)
                .field("spec.ports")
                .also(format!("`{}` has it", owner.meta().title()), owner.meta().name.span)
                .rule("SE-P-08")
                .help("give one of the two another port"),
        );
        false
    }

    /// HTTP is told from what goes to the service that takes the rest.
    fn mark_http(&mut self) {
        self.has_http = true;
        for route in self.routes.iter_mut().filter(|route| route.takes_the_rest()) {
            route.beside_http = true;
        }
    }

    /// VS-TLS-01 to VS-TLS-05.
    fn add_tls(&mut self, service: &'i Service<'a>, reached: Reached, virtual_services: &[&VirtualService]) {
        let mut routed = None;
        for (owner, rule) in rules(virtual_services, service, |owner| &owner.tls) {
            for (index, entry) in rule.matches.iter().enumerate() {
                if !self.applies(entry) {
                    continue;
                }
                let field = format!("spec.{}.match[{index}]", rule.label);
                let Some(addresses) = self.addresses(owner, &field, entry, reached) else { continue };
                let Some(route) = self.routed(owner, rule, Some((index, entry)), addresses) else { continue };
                routed.get_or_insert(owner);
                for name in &entry.server_names {
                    let name = Some(name.value.clone());
                    self.push(ConnectionRoute { server_name: name, ..route.clone() });
                }
            }
        }
        if let Some(owner) = routed {
            self.check_own_name(service, owner);
            return;
        }
        let route = self.own(service, reached.addresses());
        // At an address of its own the name isn't looked at (TCP-03).
        if matches!(reached, Reached::At(_)) {
            self.push(route);
            return;
        }
        for host in std::iter::once(service.host).chain(service.aliases.iter().copied()) {
            for name in server_names(self.input, service, host) {
                // A name of two services belongs to the first (VH-09, VH-10).
                if name == service.host || self.input.registry.own(&name).is_none() {
                    self.push(ConnectionRoute { server_name: Some(name), ..route.clone() });
                }
            }
        }
    }

    /// With TLS routes of a VirtualService a service has no chain of its own, so its name has to be
    /// among theirs.
    fn check_own_name(&mut self, service: &Service<'_>, owner: &VirtualService) {
        let mut names = self.routes.iter().filter_map(|route| route.server_name.as_ref());
        if names.any(|name| name == "*" || covers(name, service.host)) {
            return;
        }
        let message = format!(
            "its TLS routes are for `{}` too, whose name is none of their `sniHosts`: connections to port {} by that name are treated as those of an unknown host",
            service.host, self.port
        );
        self.findings.push(
            Diagnostic::warning("server-name-not-routed", message)
                .resource(owner.meta.title())
                .at(owner.meta.name.span)
                .field("spec.tls")
                .rule("VS-TLS-05")
                .help("add the name to `sniHosts` of a route, or take the host out of `hosts`"),
        );
    }

    /// VS-TCP-01 to VS-TCP-04.
    fn add_tcp(
        &mut self,
        service: &'i Service<'a>,
        definition: &Port,
        reached: Reached,
        virtual_services: &[&VirtualService],
    ) {
        let is_sniffed = definition.protocol.class() == ProtocolClass::Sniffed;
        if is_sniffed && matches!(reached, Reached::Anywhere) {
            self.mark_http();
        }
        let mut routes = Vec::new();
        let mut ended = false;
        'rules: for (owner, rule) in rules(virtual_services, service, |owner| &owner.tcp) {
            if rule.matches.is_empty() {
                routes.extend(self.routed(owner, rule, None, reached.addresses()));
                ended = true;
                break;
            }
            for (index, entry) in rule.matches.iter().enumerate() {
                if !self.applies(entry) {
                    continue;
                }
                let field = format!("spec.{}.match[{index}]", rule.label);
                let Some(addresses) = self.addresses(owner, &field, entry, reached) else { continue };
                routes.extend(self.routed(owner, rule, Some((index, entry)), addresses));
                if entry.destination_subnets.is_empty() {
                    ended = true;
                    break 'rules;
                }
            }
        }
        if !ended {
            routes.extend(self.own_tcp(service, definition, reached));
        }
        for route in routes {
            let rest = route.takes_the_rest();
            let beside_http = is_sniffed || (rest && self.has_http);
            if self.push(ConnectionRoute { beside_http, ..route }) || !rest || is_sniffed {
                continue;
            }
            self.report_taken(service, definition);
        }
    }

    /// The route to `service` itself (VS-TCP-04); none where what is dialled is a name, which
    /// plain TCP doesn't tell.
    fn own_tcp(
        &mut self,
        service: &'i Service<'a>,
        definition: &Port,
        reached: Reached,
    ) -> Option<ConnectionRoute> {
        if clusters::dialled_port(self.input, service, self.port, "").is_none() {
            return Some(self.own(service, reached.addresses()));
        }
        if definition.protocol.class() == ProtocolClass::Tcp {
            let message = format!(
                "TCP connections to port {} have no name that could be dialled below `{}`; they are closed",
                self.port, service.host
            );
            self.findings.push(
                Diagnostic::warning("no-name-to-dial", message)
                    .resource(service.meta().title())
                    .at(definition.span)
                    .field("spec.ports")
                    .rule("SE-R-01")
                    .help("list the hosts one by one, or give the entry `endpoints`"),
            );
        }
        None
    }

    /// Of two services on one port only the first is reached (SE-C-07).
    fn report_taken(&mut self, service: &Service<'_>, definition: &Port) {
        let Some(winner) = self.routes.iter().find(|route| route.takes_the_rest()) else { return };
        let has_address = self.knows == Knows::Port && !service.ranges(self.port).is_empty();
        let message = format!(
            "connections to port {} go to {}, so none reaches `{}`",
            self.port, winner.resource, service.host
        );
        let help = if has_address {
            "give it a port of its own: a listener that clients connect to themselves doesn't learn which address they mean"
        } else {
            "give it a port or an address of its own"
        };
        self.findings.push(
            Diagnostic::warning("tcp-port-in-use", message)
                .resource(service.meta().title())
                .at(definition.span)
                .field("spec.ports")
                .rule("SE-C-07")
                .help(help),
        );
    }

    /// Whether the conditions hold that don't depend on the connection; unlike those of HTTP they
    /// are all looked at (VS-MATCH-34).
    fn applies(&self, entry: &ConnectionMatch) -> bool {
        let options = self.input.options;
        entry.port.as_ref().is_none_or(|port| port.value == self.port)
            && entry.source_labels.iter().all(|(key, value)| options.client_labels.get(key) == Some(value))
            && entry.source_namespace.as_ref().is_none_or(|name| name.value == options.client_namespace)
            && (entry.gateways.is_empty() || entry.gateways.iter().any(|gateway| gateway.value == "mesh"))
    }

    /// The original destinations that `entry` is for; none where there can't be any.
    fn addresses(
        &mut self,
        owner: &VirtualService,
        field: &str,
        entry: &ConnectionMatch,
        reached: Reached,
    ) -> Option<Vec<Cidr>> {
        let Some(first) = entry.destination_subnets.first() else { return Some(reached.addresses()) };
        if self.knows == Knows::Port {
            self.findings.push(
                Diagnostic::warning(
                    "original-destination-unknown",
                    format!(
                        "clients connect to the listener of port {} itself, so the address that they mean is not known, and this route takes none",
                        self.port
                    ),
                )
                .resource(owner.meta.title())
                .at(first.span)
                .field(format!("{field}.destinationSubnets"))
                .rule("VS-TCP-03"),
            );
            return None;
        }
        let subnets: Vec<Cidr> = entry.destination_subnets.iter().map(|subnet| subnet.value).collect();
        reached.within(&subnets)
    }

    /// A route that a VirtualService asks for; none where it leads nowhere.
    fn routed(
        &self,
        owner: &VirtualService,
        rule: &ConnectionRule,
        entry: Option<(usize, &ConnectionMatch)>,
        addresses: Vec<Cidr>,
    ) -> Option<ConnectionRoute> {
        let target = |route| Target::of_connection(self.input, route, &owner.meta.namespace, self.port);
        let destinations: Vec<Share> = shares(&rule.route)
            .map(|(route, weight)| Share { cluster: self.cluster(target(&route.destination)), weight })
            .collect();
        let settings = settings_of(self.input, rule, &owner.meta.namespace, self.port);
        (!destinations.is_empty()).then(|| ConnectionRoute {
            settings,
            port: self.port,
            server_name: None,
            addresses,
            beside_http: false,
            destinations,
            resource: owner.meta.title(),
            rule: Some(name(rule, entry)),
            decrypted: None,
        })
    }

    /// The cluster of a destination, as far as there is one.
    fn cluster(&self, target: Target<'_, '_>) -> String {
        match target.service(self.input) {
            Some(service) => self.cluster_without_tls(service, target.port, &target.subset),
            None => target.cluster,
        }
    }

    /// The cluster that takes the client's own TLS, or plain TCP.
    fn cluster_without_tls(&self, service: &Service<'_>, port: u16, subset: &str) -> String {
        if needs_passthrough_cluster(self.input, service, port, subset) {
            passthrough_cluster_name(service.host, port, subset)
        } else {
            cluster_name(service.host, port, subset)
        }
    }

    /// The route to `service` itself (VS-TLS-05, VS-TCP-04).
    fn own(&self, service: &'i Service<'a>, addresses: Vec<Cidr>) -> ConnectionRoute {
        let cluster = self.cluster_without_tls(service, self.port, "");
        ConnectionRoute {
            settings: settings(self.input, &Target::of_service(service, self.port), false),
            port: self.port,
            server_name: None,
            addresses,
            beside_http: false,
            destinations: vec![Share { cluster, weight: 1 }],
            resource: service.meta().title(),
            rule: None,
            decrypted: None,
        }
    }

    /// Adds what of `route` is still free (VS-TLS-04, SE-C-07); says whether that is any.
    fn push(&mut self, mut route: ConnectionRoute) -> bool {
        let place = self.routes.len();
        let name = route.server_name.clone();
        let mut winner = None;
        let mut take = |range: Option<Cidr>| match self.taken.entry((name.clone(), range)) {
            Entry::Vacant(free) => {
                free.insert(place);
                true
            }
            Entry::Occupied(taken) => {
                winner.get_or_insert(*taken.get());
                false
            }
        };
        let free = if route.addresses.is_empty() {
            take(None)
        } else {
            route.addresses.retain(|range| take(Some(*range)));
            !route.addresses.is_empty()
        };
        if let Some(winner) = winner.and_then(|place| self.routes.get(place)) {
            let finding = lost(&route, winner);
            self.lost.extend(finding);
        }
        if free {
            self.routes.push(route);
        }
        free
    }
}

/// A rule that comes too late for a server name or an address.
fn lost(route: &ConnectionRoute, winner: &ConnectionRoute) -> Option<Lost> {
    let rule = route.rule.clone()?;
    // It is the same for each of the services that the rule is for.
    let same = route.resource == winner.resource && route.rule == winner.rule;
    let winner = match &winner.rule {
        Some(rule) => format!("`{rule}` of {}", winner.resource),
        None => winner.resource.clone(),
    };
    let what = match &route.server_name {
        Some(name) => format!("server name `{name}`"),
        None => format!("port {}", route.port),
    };
    (!same).then(|| Lost { resource: route.resource.clone(), rule, what, winner })
}

/// The rules of one kind of all VirtualServices for the host of `service`, in their order
/// (VS-TLS-01, VS-TLS-09).
fn rules<'v>(
    virtual_services: &[&'v VirtualService],
    service: &Service<'_>,
    kind: impl Fn(&'v VirtualService) -> &'v [ConnectionRule],
) -> impl Iterator<Item = (&'v VirtualService, &'v ConnectionRule)> {
    let names = |owner: &VirtualService| {
        let mut hosts = owner.hosts.iter().map(|host| expand(host, &owner.meta.namespace));
        hosts.any(|host| overlaps(&host, service.host))
    };
    let owners: Vec<&VirtualService> =
        virtual_services.iter().filter(|owner| names(owner)).copied().collect();
    owners.into_iter().flat_map(move |owner| kind(owner).iter().map(move |rule| (owner, rule)))
}

/// The destinations of a route with their weights; of several those without a weight get nothing,
/// and one alone has no use for it (VS-TLS-07).
pub(super) fn shares(route: &[RouteDestination]) -> impl Iterator<Item = (&RouteDestination, u32)> {
    let alone = route.len() == 1;
    route.iter().filter_map(move |destination| {
        let weight = destination.weight.as_ref().and_then(|weight| u32::try_from(weight.value).ok());
        let weight = if alone { 1 } else { weight.unwrap_or(0) };
        (weight > 0).then_some((destination, weight))
    })
}

/// What DestinationRules say of the connections of `rule`. Of several destinations it is the first whose
/// rule counts, and no subset (TCP-02).
pub(super) fn settings_of(
    input: &Input<'_>,
    rule: &ConnectionRule,
    namespace: &str,
    port: u16,
) -> ConnectionSettings {
    let Some(first) = rule.route.first() else { return ConnectionSettings::default() };
    let target = Target::of_connection(input, &first.destination, namespace, port);
    settings(input, &target, rule.route.len() == 1)
}

/// What the rules for a destination say as a whole: ports don't count, and a subset by its own tunnel only
/// (TCP-01, TCP-02).
fn settings(input: &Input<'_>, target: &Target<'_, '_>, with_subset: bool) -> ConnectionSettings {
    let Some(service) = target.service(input) else { return ConnectionSettings::default() };
    let policy = input.rules.of(service).and_then(|merged| merged.policy);
    let tcp = policy.and_then(|policy| policy.settings.connection_pool.as_ref()).map(|pool| &pool.tcp);
    let subset = input.rules.subset(service, &target.subset).filter(|_| with_subset);
    let of_subset = subset.and_then(|subset| subset.traffic_policy.as_ref()?.tunnel.clone());
    ConnectionSettings {
        idle_timeout: tcp.and_then(|tcp| tcp.idle_timeout),
        max_duration: tcp.and_then(|tcp| tcp.max_connection_duration),
        tunnel: of_subset.or_else(|| policy?.tunnel.clone()),
        // As a request does that has no route of a VirtualService (DR-LB-10).
        hashes_source: target.hash(input, true) == Some(HashKey::SourceIp),
    }
}

/// The place of a rule, or of one of several matches.
pub(super) fn name(rule: &ConnectionRule, entry: Option<(usize, &ConnectionMatch)>) -> String {
    match entry {
        Some((index, _)) if rule.matches.len() > 1 => format!("{}.match[{index}]", rule.label),
        _ => rule.label.clone(),
    }
}

/// The server names by which clients mean `host` of `service`: also as an `ExternalName` service
/// (KS-04), and those of the pods of a headless service (KS-03).
fn server_names(input: &Input<'_>, service: &Service<'_>, host: &str) -> Vec<String> {
    let mut names = vec![host.to_owned()];
    names.extend(short_forms(host, &input.options.client_namespace));
    if service.is_headless() {
        let below: Vec<String> = names.iter().map(|name| format!("*.{name}")).collect();
        names.extend(below);
    }
    names
}
