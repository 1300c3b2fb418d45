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
use crate::resource::virtual_service::{Destination, HttpMatch, HttpRoute, Origin, StringMatch};
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
        service.http = http;
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
