//! Delegates: VirtualServices without hosts, whose routes take the place of a route that refers to
//! them (spec section 4.9).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::expand;
use crate::registry::is_exported_to;
use crate::resource::virtual_service::{
    Delegate, Destination, HttpMatch, HttpRoute, NamedMatch, Origin, StringMatch,
};
use crate::resource::{Spanned, VirtualService};

/// A VirtualService, and its route that delegates.
struct Root<'a> {
    service: &'a VirtualService,
    index: usize,
    route: &'a HttpRoute,
}

/// The VirtualServices that have hosts, with the routes of their delegates in place. What comes to
/// nothing on the way is reported.
pub(crate) fn merge<'a>(
    services: &'a [VirtualService],
    diagnostics: &mut Diagnostics,
) -> Cow<'a, [VirtualService]> {
    let delegates_none = |service: &VirtualService| service.http.iter().all(|http| http.delegate.is_none());
    if services.iter().all(|service| !service.hosts.is_empty() && delegates_none(service)) {
        return Cow::Borrowed(services);
    }
    let key = |service: &'a VirtualService| (service.meta.namespace.as_str(), service.meta.name.as_str());
    let by_name: BTreeMap<(&str, &str), &VirtualService> =
        services.iter().map(|service| (key(service), service)).collect();
    let mut used = BTreeSet::new();
    let (delegates, with_hosts): (Vec<_>, Vec<_>) =
        services.iter().partition(|service| service.hosts.is_empty());
    let merged = with_hosts.into_iter().map(|service| {
        let mut routes = Vec::new();
        for (index, route) in service.http.iter().enumerate() {
            let Some(reference) = &route.delegate else {
                routes.push(route.clone());
                continue;
            };
            let namespace = reference.namespace.as_deref().unwrap_or(&service.meta.namespace);
            let found = by_name.get(&(namespace, reference.name.as_str())).copied();
            used.extend(found.map(key));
            let root = Root { service, index, route };
            match root.problem(reference, namespace, found) {
                Some(problem) => diagnostics.push(problem),
                None => routes.extend(found.into_iter().flat_map(|found| root.merge(found, diagnostics))),
            }
        }
        VirtualService { http: routes, ..service.clone() }
    });
    let merged = merged.collect();
    for unused in delegates.into_iter().filter(|delegate| !used.contains(&key(delegate))) {
        diagnostics.push(
            Diagnostic::warning("delegate-unused", "no VirtualService delegates to it, so it has no effect")
                .resource(unused.meta.title())
                .at(unused.meta.name.span)
                .field("spec.hosts")
                .rule("VS-HOST-04")
                .help("name it as `delegate` of a route, or set `hosts`"),
        );
    }
    Cow::Owned(merged)
}

impl Root<'_> {
    /// Why the route is dropped, whose delegate is `found` (VS-DEL-02).
    fn problem(
        &self,
        reference: &Delegate,
        namespace: &str,
        found: Option<&VirtualService>,
    ) -> Option<Diagnostic> {
        let title = format!("VirtualService {namespace}/{}", reference.name);
        let dropped = |code, message: String| {
            Diagnostic::warning(code, format!("{message}; this route is dropped"))
                .resource(self.service.meta.title())
                .at(reference.span)
                .field(format!("spec.http[{}].delegate", self.index))
        };
        let Some(delegate) = found else {
            return Some(dropped("unknown-delegate", format!("there is no `{title}`"))
                .rule("VS-DEL-02")
                .help("add it to the input, or correct the name; the namespace is the one of this VirtualService unless it is given"));
        };
        let place = delegate.meta.name.span;
        if !delegate.hosts.is_empty() {
            return Some(
                dropped("unknown-delegate", format!("`{title}` has hosts, so it is no delegate"))
                    .also("it stands at", place)
                    .rule("VS-DEL-01")
                    .help("remove its `hosts`"),
            );
        }
        if !is_exported_to(&delegate.export_to, &delegate.meta, &self.service.meta.namespace) {
            let own = &self.service.meta.namespace;
            return Some(
                dropped("delegate-not-exported", format!("`{title}` isn't exported to namespace `{own}`"))
                    .also("it stands at", place)
                    .rule("VS-DEL-02")
                    .help(format!("add `{own}` to its `exportTo`")),
            );
        }
        None
    }

    /// The routes of `delegate` as they take the place of this one (VS-DEL-04); one whose
    /// conditions conflict with it is dropped (VS-DEL-05).
    fn merge(&self, delegate: &VirtualService, diagnostics: &mut Diagnostics) -> Vec<HttpRoute> {
        let mut routes = Vec::new();
        for (index, leaf) in delegate.http.iter().enumerate() {
            let about = |diagnostic: Diagnostic| {
                diagnostic
                    .resource(delegate.meta.title())
                    .also(format!("`{}` delegates to it", self.service.meta.title()), self.route.span)
            };
            let field = format!("spec.http[{index}]");
            match merge_matches(&self.route.matches, leaf) {
                Ok(matches) => {
                    let route = self.merge_route(delegate, leaf, matches);
                    diagnostics.extend(unsupported(&route).map(|problem| about(problem.field(field))));
                    routes.push(route);
                }
                Err(conflict) => diagnostics.push(
                    about(
                        Diagnostic::warning(
                            "delegate-conflict",
                            format!(
                                "`{}` can't hold together with the route that delegates; this route is dropped there",
                                conflict.condition
                            ),
                        )
                        .at(conflict.entry.span)
                        .field(format!("{field}.match[{}]", conflict.index)),
                    )
                    .rule("VS-DEL-05")
                    .help("a delegate can only narrow what is delegated: `exact` stays, `prefix` may be longer, and `regex` or `{}` stands on one side only"),
                ),
            }
        }
        routes
    }

    /// What the delegate doesn't set is as in the root (VS-DEL-09).
    fn merge_route(&self, delegate: &VirtualService, leaf: &HttpRoute, matches: Vec<HttpMatch>) -> HttpRoute {
        let root = self.route;
        let mut route = leaf.clone();
        // Names without a dot are of the delegate's namespace (VIS-09).
        let destinations = route.route.iter_mut().map(|route| &mut route.destination);
        let mirrors = route.mirrors.iter_mut().map(|mirror| &mut mirror.destination);
        for Destination { host, .. } in destinations.chain(mirrors).chain(&mut route.mirror) {
            host.value = expand(host, &delegate.meta.namespace);
        }
        route.matches = matches;
        route.label = format!("{}-{}", root.label, leaf.label);
        route.rewrite = route.rewrite.or_else(|| root.rewrite.clone());
        route.timeout = route.timeout.or(root.timeout);
        route.retries = route.retries.or_else(|| root.retries.clone());
        route.cors = route.cors.or_else(|| root.cors.clone());
        route.fault = route.fault.or_else(|| root.fault.clone());
        route.mirror = route.mirror.or_else(|| root.mirror.clone());
        route.mirror_percentage = route.mirror_percentage.or(root.mirror_percentage);
        route.mirror_percent = route.mirror_percent.or(root.mirror_percent);
        if route.mirrors.is_empty() {
            route.mirrors.clone_from(&root.mirrors);
        }
        if route.headers.span.is_none() {
            route.headers.clone_from(&root.headers);
        }
        route.direct_response = route.direct_response.or_else(|| root.direct_response.clone());
        route.origin = Some(Origin { delegate: delegate.meta.title(), root: root.span });
        route
    }
}

/// What only comes together by merging: one VirtualService can't have it (VAL-VS-06).
fn unsupported(route: &HttpRoute) -> Option<Diagnostic> {
    let answer = match (&route.redirect, &route.direct_response) {
        (Some(_), _) => "redirect",
        (None, Some(_)) => "directResponse",
        (None, None) => return None,
    };
    let (other, span) = if let Some(fault) = &route.fault {
        ("fault", fault.span)
    } else if let Some(cors) = &route.cors {
        ("corsPolicy", cors.span)
    } else if let Some(first) = route.route.first() {
        ("route", first.span)
    } else {
        return None;
    };
    Some(
        Diagnostic::error(
            "not-supported",
            format!("with what it delegates to, a route has both `{other}` and `{answer}`"),
        )
        .at(span)
        .rule("VS-DEL-09")
        .help("take one of them out"),
    )
}

/// An entry of a delegate's `match` that no entry of the root can hold together with, and by which
/// condition.
struct Conflict<'a> {
    index: usize,
    entry: &'a HttpMatch,
    condition: String,
}

/// Every pair of entries that can hold together; each of the leaf's needs a partner (VS-DEL-05).
fn merge_matches<'a>(root: &[HttpMatch], leaf: &'a HttpRoute) -> Result<Vec<HttpMatch>, Conflict<'a>> {
    if leaf.matches.is_empty() {
        // The place of the rule is the delegate's all the same.
        return Ok(root.iter().map(|entry| HttpMatch { span: leaf.span, ..entry.clone() }).collect());
    }
    if root.is_empty() {
        return Ok(leaf.matches.clone());
    }
    let mut merged = Vec::new();
    for (index, entry) in leaf.matches.iter().enumerate() {
        let mut reason = None;
        let before = merged.len();
        for root in root {
            match conflict(root, entry) {
                None => merged.push(merge_entry(root, entry)),
                Some(condition) => reason = reason.or(Some(condition)),
            }
        }
        if let (true, Some(condition)) = (merged.len() == before, reason) {
            return Err(Conflict { index, entry, condition });
        }
    }
    Ok(merged)
}

/// The condition by which the two can't hold together (VS-DEL-06, VS-DEL-07).
pub(crate) fn conflict(root: &HttpMatch, leaf: &HttpMatch) -> Option<String> {
    let single = [
        ("uri", &root.uri, &leaf.uri),
        ("scheme", &root.scheme, &leaf.scheme),
        ("method", &root.method, &leaf.method),
        ("authority", &root.authority, &leaf.authority),
    ];
    for (name, root, leaf) in single {
        if let (Some(root), Some(leaf)) = (root, leaf)
            && !narrows(leaf, root)
        {
            return Some(name.to_owned());
        }
    }
    for (list, root, leaf) in [
        ("headers", &root.headers, &leaf.headers),
        ("withoutHeaders", &root.without_headers, &leaf.without_headers),
        ("queryParams", &root.query_params, &leaf.query_params),
    ] {
        for entry in leaf {
            // Istio compares the names as they are written.
            let same = root.iter().find(|other| other.name.value == entry.name.value);
            if same.is_some_and(|same| !narrows(&entry.value, &same.value)) {
                return Some(format!("{list}.{}", entry.name.value));
            }
        }
    }
    let labels = || leaf.source_labels.iter();
    let other_label =
        labels().any(|(key, value)| root.source_labels.get(key).is_some_and(|other| other != value));
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.value.clone());
    let gateway = |name: &Spanned<String>| root.gateways.iter().any(|other| other.value == name.value);
    let settled = [
        ("ignoreUriCase", root.ignore_uri_case != leaf.ignore_uri_case),
        ("port", root.port.zip(leaf.port).is_some_and(|(root, leaf)| root.value != leaf.value)),
        (
            "sourceNamespace",
            root.source_namespace.is_some() && text(&root.source_namespace) != text(&leaf.source_namespace),
        ),
        ("sourceLabels", other_label),
        ("gateways", !root.gateways.is_empty() && !leaf.gateways.iter().all(gateway)),
    ];
    settled.into_iter().find(|(_, differs)| *differs).map(|(name, _)| name.to_owned())
}

/// Whether `leaf` is plainly a part of `root` (VS-DEL-06). An empty text says nothing, as `{}`.
fn narrows(leaf: &StringMatch, root: &StringMatch) -> bool {
    match (root, leaf) {
        (StringMatch::Exact(root), StringMatch::Exact(leaf)) => !root.is_empty() && root == leaf,
        (StringMatch::Prefix(root), StringMatch::Exact(leaf) | StringMatch::Prefix(leaf)) => {
            !root.is_empty() && leaf.starts_with(root.as_str())
        }
        _ => false,
    }
}

/// Both as one: what the leaf doesn't set is the root's (VS-DEL-08).
pub(crate) fn merge_entry(root: &HttpMatch, leaf: &HttpMatch) -> HttpMatch {
    let named = |root: &[NamedMatch], leaf: &[NamedMatch]| -> Vec<NamedMatch> {
        let only_root =
            root.iter().filter(|entry| !leaf.iter().any(|other| other.name.value == entry.name.value));
        only_root.chain(leaf).cloned().collect()
    };
    let single = |leaf: &Option<Spanned<StringMatch>>, root: &Option<Spanned<StringMatch>>| {
        leaf.clone().or_else(|| root.clone())
    };
    let mut source_labels = root.source_labels.clone();
    source_labels.extend(leaf.source_labels.clone());
    HttpMatch {
        name: match (&root.name, &leaf.name) {
            (Some(root), Some(leaf)) => {
                Some(Spanned::new(format!("{}-{}", root.value, leaf.value), leaf.span))
            }
            (root, leaf) => leaf.clone().or_else(|| root.clone()),
        },
        uri: single(&leaf.uri, &root.uri),
        ignore_uri_case: leaf.ignore_uri_case,
        scheme: single(&leaf.scheme, &root.scheme),
        method: single(&leaf.method, &root.method),
        authority: single(&leaf.authority, &root.authority),
        headers: named(&root.headers, &leaf.headers),
        without_headers: named(&root.without_headers, &leaf.without_headers),
        query_params: named(&root.query_params, &leaf.query_params),
        port: leaf.port.or(root.port),
        source_labels,
        source_namespace: leaf.source_namespace.clone().or_else(|| root.source_namespace.clone()),
        gateways: if leaf.gateways.is_empty() { root.gateways.clone() } else { leaf.gateways.clone() },
        span: leaf.span,
    }
}
