//! Egress gateways that aren't there: the rule that is bound to the gateway takes the place of the
//! one that leads to its Service (GW-21).

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::delegates::{conflict, merge_entry};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gateway::{MESH, names, resolve};
use crate::names::{covers, expand};
use crate::options::{DOMAIN_SUFFIX, Options};
use crate::plan::Input;
use crate::resource::action::DirectResponse;
use crate::resource::virtual_service::{
    ConnectionMatch, ConnectionRule, Destination, HttpMatch, HttpRoute, Origin, RouteDestination, StringMatch,
};
use crate::resource::{Resources, Spanned, VirtualService};
use crate::source::Span;

/// The option that does this.
pub(crate) const OPTION: &str = "--collapse-egress-gateway";

/// The VirtualServices, with what they do on an egress gateway in place of the way to it.
pub(crate) fn collapse<'a>(
    services: Cow<'a, [VirtualService]>,
    resources: &Resources<'_>,
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Cow<'a, [VirtualService]> {
    if !options.collapse_egress_gateway || options.gateway.is_some() {
        return services;
    }
    let known = Known::of(resources);
    let mut collapsed = services.to_vec();
    for service in &mut collapsed {
        let http = service.http.iter().enumerate().flat_map(|(index, http)| {
            match way_to_gateway(service, http, &known) {
                Some(hop) => {
                    let way = Way { service, index, http, hop };
                    way.collapsed(&services, diagnostics)
                }
                None => vec![http.clone()],
            }
        });
        let http = http.collect();
        let [tls, tcp] =
            ["tls", "tcp"].map(|kind| connections(service, kind, &services, &known, diagnostics));
        service.http = http;
        service.tls = tls;
        service.tcp = tcp;
    }
    Cow::Owned(collapsed)
}

/// Whether `destination` of `service` may be the Service of an egress gateway: the rules for a gateway
/// stand beside it, or it is called so.
pub(crate) fn may_be_gateway(
    service: &VirtualService,
    all: &[VirtualService],
    destination: &Destination,
) -> bool {
    let called_so = destination.host.value.contains("egress");
    called_so || all.iter().any(|other| is_for_gateways(other) && shares_host(service, other))
}

/// Whether a route of `service` took the place of a way to a gateway.
pub(crate) fn gives(service: &VirtualService, input: &Input<'_>) -> bool {
    let title = service.meta.title();
    let mut origins = input.virtual_services.iter().flat_map(|service| &service.http);
    origins.any(|http| http.origin.as_ref().is_some_and(|origin| origin.delegate == title))
}

/// The hosts that are registered.
struct Known(BTreeSet<String>);

impl Known {
    fn of(resources: &Resources<'_>) -> Self {
        let entries = resources.service_entries.iter().flat_map(|entry| &entry.hosts);
        let services = resources.kubernetes_services.iter().map(|service| {
            format!("{}.{}.svc.{DOMAIN_SUFFIX}", service.meta.name.value, service.meta.namespace)
        });
        Self(entries.map(|host| host.value.clone()).chain(services).collect())
    }

    fn has(&self, host: &str) -> bool {
        self.0.contains(host) || self.0.iter().any(|pattern| covers(pattern, host))
    }
}

fn is_for_gateways(service: &VirtualService) -> bool {
    service.gateways.iter().any(|name| resolve(name, &service.meta.namespace) != MESH)
}

fn is_for_mesh(service: &VirtualService) -> bool {
    service.gateways.is_empty() || names(&service.gateways, &service.meta.namespace, MESH)
}

fn shares_host(one: &VirtualService, other: &VirtualService) -> bool {
    let hosts = |service: &VirtualService| -> Vec<String> {
        service.hosts.iter().map(|host| expand(host, &service.meta.namespace)).collect()
    };
    let others = hosts(other);
    hosts(one).iter().any(|host| others.contains(host))
}

/// The destination of `http` that is a gateway's Service and isn't registered, for a sidecar.
fn way_to_gateway<'h>(
    service: &VirtualService,
    http: &'h HttpRoute,
    known: &Known,
) -> Option<&'h Destination> {
    let in_mesh = |entry: &HttpMatch| {
        entry.gateways.is_empty() || names(&entry.gateways, &service.meta.namespace, MESH)
    };
    let applies = http.matches.is_empty() || http.matches.iter().any(in_mesh);
    let unknown = |destination: &&Destination| {
        !known.has(&expand(&destination.host, &service.meta.namespace).to_ascii_lowercase())
    };
    let destinations = http.route.iter().map(|route| &route.destination);
    destinations.filter(|_| applies && is_for_mesh(service)).find(unknown)
}

/// The `tls` or `tcp` rules of `service`; those that lead to a gateway's Service give way to where
/// the gateway's rules for such connections lead.
fn connections(
    service: &VirtualService,
    kind: &str,
    all: &[VirtualService],
    known: &Known,
    diagnostics: &mut Diagnostics,
) -> Vec<ConnectionRule> {
    let rules = if kind == "tls" { &service.tls } else { &service.tcp };
    let namespace = &service.meta.namespace;
    let in_mesh =
        |entry: &ConnectionMatch| entry.gateways.is_empty() || names(&entry.gateways, namespace, MESH);
    let mut kept = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let applies = is_for_mesh(service) && (rule.matches.is_empty() || rule.matches.iter().any(in_mesh));
        let hop = rule.route.iter().map(|route| &route.destination).find(|destination| {
            applies && !known.has(&expand(&destination.host, namespace).to_ascii_lowercase())
        });
        let Some(hop) = hop else {
            kept.push(rule.clone());
            continue;
        };
        let beyond = Beyond { service, rule, port: hop.port.as_ref().map(|port| port.value) };
        let mut gateways: Vec<&VirtualService> = vec![service];
        gateways.extend(all.iter().filter(|other| {
            !(other.meta.name.value == service.meta.name.value && other.meta.namespace == *namespace)
                && shares_host(service, other)
        }));
        gateways.retain(|other| is_for_gateways(other));
        let found: Vec<ConnectionRule> = gateways.into_iter().flat_map(|other| beyond.rules(other)).collect();
        let about = |diagnostic: Diagnostic| {
            diagnostic
                .resource(service.meta.title())
                .at(hop.host.span)
                .field(format!("spec.{kind}[{index}]"))
                .rule("GW-21")
        };
        let lost = beyond.lost(&found);
        if found.is_empty() {
            kept.push(rule.clone());
        } else if rule.route.len() > 1 || lost.is_some() {
            let what = lost.map_or_else(|| "route".to_owned(), |name| format!("sniHosts: [{name}]"));
            diagnostics.push(
                about(Diagnostic::error(
                    "gateway-not-collapsed",
                    format!("`{what}` of the way to the gateway can't be combined with what the gateway has"),
                ))
                .help("write one rule that leads to the external host, without the gateway"),
            );
            kept.push(rule.clone());
        } else {
            diagnostics.push(about(Diagnostic::note(
                "gateway-collapsed",
                format!(
                    "connections don't go to `{}`, but where the rules for the gateway lead",
                    hop.host.value
                ),
            )));
            kept.extend(found);
        }
    }
    kept
}

/// What is beyond a gateway for connections that `rule` leads there, to `port`.
struct Beyond<'a> {
    service: &'a VirtualService,
    rule: &'a ConnectionRule,
    port: Option<u16>,
}

impl Beyond<'_> {
    /// The rule with the destinations that `other` has for the gateway, for each of its rules.
    fn rules(&self, other: &VirtualService) -> Vec<ConnectionRule> {
        let namespace = &other.meta.namespace;
        let fits = |entry: &&ConnectionMatch| {
            let for_gateway = entry.gateways.is_empty()
                || entry.gateways.iter().any(|name| resolve(name, namespace) != MESH);
            let other_port =
                entry.port.as_ref().zip(self.port).is_some_and(|(wanted, port)| wanted.value != port);
            for_gateway && !other_port
        };
        let beyond = |rule: &&ConnectionRule| rule.span != self.rule.span;
        let mut found = Vec::new();
        for rule in other.tls.iter().filter(beyond) {
            let names = rule.matches.iter().filter(fits).flat_map(|entry| &entry.server_names);
            let names: Vec<&Spanned<String>> = names.collect();
            let matches: Vec<ConnectionMatch> =
                self.rule.matches.iter().filter_map(|entry| narrowed(entry, &names)).collect();
            if !matches.is_empty() {
                found.push(self.leading(rule, namespace, matches));
            }
        }
        // What takes whole servers is asked where no name is.
        let whole = other
            .tcp
            .iter()
            .filter(beyond)
            .find(|rule| rule.matches.is_empty() || rule.matches.iter().any(|entry| fits(&entry)));
        if found.is_empty() {
            found.extend(whole.map(|rule| self.leading(rule, namespace, self.rule.matches.clone())));
        }
        found
    }

    fn leading(&self, to: &ConnectionRule, namespace: &str, matches: Vec<ConnectionMatch>) -> ConnectionRule {
        let mut route = to.route.clone();
        for RouteDestination { destination, .. } in &mut route {
            destination.host.value = expand(&destination.host, namespace);
        }
        ConnectionRule { matches, route, ..self.rule.clone() }
    }

    /// A server name of the rule that none of `found` has: the gateway would close its connections.
    fn lost(&self, found: &[ConnectionRule]) -> Option<&str> {
        let in_mesh = |entry: &&ConnectionMatch| {
            entry.gateways.is_empty() || names(&entry.gateways, &self.service.meta.namespace, MESH)
        };
        let wanted = self.rule.matches.iter().filter(in_mesh).flat_map(|entry| &entry.server_names);
        let has = |name: &&Spanned<String>| {
            let matches = found.iter().flat_map(|rule| &rule.matches);
            matches.flat_map(|entry| &entry.server_names).any(|other| other.value == name.value)
        };
        wanted.into_iter().find(|name| !has(name)).map(|name| name.value.as_str())
    }
}

/// `entry` for those of its server names that are among `others` as well.
fn narrowed(entry: &ConnectionMatch, others: &[&Spanned<String>]) -> Option<ConnectionMatch> {
    let mut server_names: Vec<Spanned<String>> = Vec::new();
    for name in &entry.server_names {
        let covered = others.iter().any(|other| covers(other, name));
        let narrower = others.iter().filter(|other| covers(name, other) && !covers(other, name));
        server_names.extend(covered.then(|| name.clone()));
        server_names.extend(narrower.map(|other| (*other).clone()));
    }
    (!server_names.is_empty()).then(|| ConnectionMatch { server_names, ..entry.clone() })
}

/// A route to a gateway.
struct Way<'a> {
    service: &'a VirtualService,
    index: usize,
    http: &'a HttpRoute,
    hop: &'a Destination,
}

impl Way<'_> {
    /// What takes its place: for each route of the gateway one with both's conditions. Where that
    /// can't be, the route stays, and is reported.
    fn collapsed(&self, all: &[VirtualService], diagnostics: &mut Diagnostics) -> Vec<HttpRoute> {
        let own = std::iter::once(self.service).filter(|service| is_for_gateways(service));
        let mut rules: Vec<_> = own.flat_map(|service| self.rules(service)).collect();
        if rules.is_empty() {
            let mut others: Vec<&VirtualService> = all
                .iter()
                .filter(|other| is_for_gateways(other) && shares_host(self.service, other))
                .collect();
            others.sort_by_key(|other| {
                let meta = &other.meta;
                (meta.creation_timestamp, meta.name.value.as_str(), meta.namespace.as_str())
            });
            rules = others.into_iter().flat_map(|service| self.rules(service)).collect();
        }
        if rules.is_empty() {
            // Not a gateway, or one without rules: an unknown destination.
            return vec![self.http.clone()];
        }
        let mut routes = Vec::new();
        for (service, rule, entries) in &rules {
            match self.combined(service, rule, entries) {
                Ok(route) => routes.push(route),
                Err(what) => {
                    diagnostics.push(
                        Diagnostic::error(
                            "gateway-not-collapsed",
                            format!(
                                "`{what}` of the way to the gateway can't be combined with that of `{}`",
                                service.meta.title()
                            ),
                        )
                        .resource(self.service.meta.title())
                        .at(self.http.span)
                        .field(format!("spec.http[{}]", self.index))
                        .also("the gateway's rule stands at", rule.span)
                        .rule("GW-21")
                        .help("write one rule that leads to the external host, without the gateway"),
                    );
                    return vec![self.http.clone()];
                }
            }
        }
        diagnostics.push(
            Diagnostic::note(
                "gateway-collapsed",
                format!(
                    "requests don't go to `{}`, but where the rules for the gateway lead",
                    self.hop.host.value
                ),
            )
            .resource(self.service.meta.title())
            .at(self.hop.host.span)
            .field(format!("spec.http[{}]", self.index))
            .rule("GW-21"),
        );
        if let Some((_, last, _)) =
            rules.last().filter(|_| !rules.iter().any(|(_, _, entries)| entries.iter().any(is_any)))
        {
            routes.push(self.not_found(last.span));
        }
        routes
    }

    /// The routes that `service` has for gateways, with the conditions that are left to be looked at.
    fn rules<'s>(
        &self,
        service: &'s VirtualService,
    ) -> Vec<(&'s VirtualService, &'s HttpRoute, Vec<HttpMatch>)> {
        let mut rules = Vec::new();
        for http in &service.http {
            if std::ptr::eq(http, self.http) || http.span == self.http.span {
                continue;
            }
            if http.matches.is_empty() {
                rules.push((service, http, vec![HttpMatch { span: http.span, ..any(http) }]));
                break;
            }
            let entries: Vec<HttpMatch> =
                http.matches.iter().filter_map(|entry| self.on_gateway(service, entry)).collect();
            if !entries.is_empty() {
                rules.push((service, http, entries));
            }
        }
        rules
    }

    /// The conditions of `entry` that are about the request, where it is for a gateway and for the
    /// port at which requests arrive there.
    fn on_gateway(&self, service: &VirtualService, entry: &HttpMatch) -> Option<HttpMatch> {
        let namespace = &service.meta.namespace;
        let for_gateway =
            entry.gateways.is_empty() || entry.gateways.iter().any(|name| resolve(name, namespace) != MESH);
        let arrives = self.hop.port.as_ref().map(|port| port.value);
        let other_port = entry.port.as_ref().zip(arrives).is_some_and(|(wanted, port)| wanted.value != port);
        let all = |uri: &Spanned<StringMatch>| uri.value == StringMatch::Prefix("/".to_owned());
        (for_gateway && !other_port).then(|| HttpMatch {
            uri: entry.uri.clone().filter(|uri| !all(uri)),
            port: None,
            gateways: Vec::new(),
            ..entry.clone()
        })
    }

    fn combined(
        &self,
        service: &VirtualService,
        rule: &HttpRoute,
        entries: &[HttpMatch],
    ) -> Result<HttpRoute, &'static str> {
        let way = self.http;
        let [only] = way.route.as_slice() else { return Err("route") };
        let conditions = entries.iter().any(|entry| !is_any(entry));
        let twice = [
            ("route.headers", only.headers.span.is_some()),
            ("headers", way.headers.span.is_some() && (rule.headers.span.is_some() || conditions)),
            ("rewrite", way.rewrite.is_some() && (rule.rewrite.is_some() || conditions)),
            ("rewrite", way.rewrite.is_some() && rule.redirect.is_some()),
            ("timeout", way.timeout.is_some() && rule.timeout.is_some()),
            ("retries", way.retries.is_some() && rule.retries.is_some()),
            ("corsPolicy", way.cors.is_some() && rule.cors.is_some()),
            ("fault", way.fault.is_some() && rule.fault.is_some()),
            ("mirror", way.all_mirrors().next().is_some() && rule.all_mirrors().next().is_some()),
        ];
        if let Some((what, _)) = twice.into_iter().find(|(_, twice)| *twice) {
            return Err(what);
        }
        if entries.iter().any(|entry| !entry.source_labels.is_empty() || entry.source_namespace.is_some()) {
            return Err("sourceLabels");
        }
        let mut route = rule.clone();
        let destinations = route.route.iter_mut().map(|route| &mut route.destination);
        let mirrors = route.mirrors.iter_mut().map(|mirror| &mut mirror.destination);
        for Destination { host, .. } in destinations.chain(mirrors).chain(&mut route.mirror) {
            // Of the namespace that the rule is of (VIS-09).
            host.value = expand(host, &service.meta.namespace);
        }
        route.matches = match way.matches.as_slice() {
            [] if !conditions => Vec::new(),
            [] => entries.to_vec(),
            own => {
                let mut both = Vec::new();
                for own in own {
                    for entry in entries {
                        both.push(combined_entry(own, entry).ok_or("match")?);
                    }
                }
                both
            }
        };
        route.label = format!("{}-{}", way.label, rule.label);
        route.rewrite = route.rewrite.or_else(|| way.rewrite.clone());
        route.timeout = route.timeout.or(way.timeout);
        route.retries = route.retries.or_else(|| way.retries.clone());
        route.cors = route.cors.or_else(|| way.cors.clone());
        route.fault = route.fault.or_else(|| way.fault.clone());
        if rule.all_mirrors().next().is_none() {
            route.mirror.clone_from(&way.mirror);
            route.mirror_percentage = way.mirror_percentage;
            route.mirror_percent = way.mirror_percent;
            route.mirrors.clone_from(&way.mirrors);
        }
        if rule.headers.span.is_none() {
            route.headers.clone_from(&way.headers);
        }
        if !std::ptr::eq(service, self.service) {
            route.origin = Some(Origin { delegate: service.meta.title(), root: rule.span });
        }
        Ok(route)
    }

    /// What the gateway, whose last rule stands at `span`, has no route for (GW-10).
    fn not_found(&self, span: Span) -> HttpRoute {
        let status = Some(Spanned::new(404, span));
        HttpRoute {
            label: format!("{}-none", self.http.label),
            route: Vec::new(),
            direct_response: Some(DirectResponse { status, body: None, span }),
            span,
            ..self.http.clone()
        }
    }
}

/// The conditions of both as one; none where that isn't plain.
fn combined_entry(way: &HttpMatch, rule: &HttpMatch) -> Option<HttpMatch> {
    if is_any(rule) {
        return Some(way.clone());
    }
    (is_any(way) || conflict(way, rule).is_none()).then(|| merge_entry(way, rule))
}

/// Conditions that everything meets.
fn any(http: &HttpRoute) -> HttpMatch {
    HttpMatch {
        name: None,
        uri: None,
        ignore_uri_case: false,
        scheme: None,
        method: None,
        authority: None,
        headers: Vec::new(),
        without_headers: Vec::new(),
        query_params: Vec::new(),
        port: None,
        source_labels: Default::default(),
        source_namespace: None,
        gateways: Vec::new(),
        span: http.span,
    }
}

/// Whether no condition is left that is about the request.
fn is_any(entry: &HttpMatch) -> bool {
    entry.uri.is_none()
        && entry.scheme.is_none()
        && entry.method.is_none()
        && entry.authority.is_none()
        && entry.headers.is_empty()
        && entry.without_headers.is_empty()
        && entry.query_params.is_empty()
}
