//! Rules and conditions that nothing comes to, because others before them take it all (VAL-VS-27,
//! VAL-VS-28).
//!
//! Conditions are compared with conditions: one covers another if whatever meets the second meets
//! the first. Whether a text meets a regular expression is asked of the engine. What can't be told so
//! is taken for reachable.

use std::cell::OnceCell;

use portolan_engine::Pattern;

use super::Context;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::covers as covers_name;
use crate::resource::virtual_service::{
    ConnectionMatch, ConnectionRule, HttpMatch, HttpRoute, NamedMatch, StringMatch,
};
use crate::resource::{Spanned, VirtualService};
use crate::source::Span;

/// Up to so many conditions of one VirtualService, regular expressions are tried on the texts of
/// later ones: the work grows with the square.
const MOST_WITH_REGEXES: usize = 500;

pub(super) fn check(context: &Context<'_>, out: &mut Diagnostics) {
    for service in context.resources.virtual_services {
        // What comes after a route without `match` was reported when it was read.
        let routes: Vec<Rule<'_, HttpMatch>> = service.http.iter().map(Rule::of_http).collect();
        compare(service, &routes, true, out);
        for rules in [&service.tls, &service.tcp] {
            let rules: Vec<Rule<'_, ConnectionMatch>> = rules.iter().map(Rule::of_connections).collect();
            compare(service, &rules, false, out);
        }
    }
}

/// A rule: one of its entries has to be met.
struct Rule<'a, C> {
    label: &'a str,
    span: Span,
    matches: &'a [C],
    /// What its entries take may go on to the next rule.
    leaves_some: bool,
}

impl<'a> Rule<'a, HttpMatch> {
    fn of_http(route: &'a HttpRoute) -> Self {
        Self {
            label: &route.label,
            span: route.span,
            matches: &route.matches,
            // Of the delegate's routes none may match (VS-DEL-04).
            leaves_some: route.delegate.is_some(),
        }
    }
}

impl<'a> Rule<'a, ConnectionMatch> {
    fn of_connections(rule: &'a ConnectionRule) -> Self {
        Self { label: &rule.label, span: rule.span, matches: &rule.matches, leaves_some: false }
    }
}

/// Conditions that all must hold.
trait Conditions {
    /// Whether all that meets `other` meets these too. `regex` is the compiled `uri` of these, if it
    /// is one that is to be tried.
    fn cover(&self, other: &Self, regex: &OnceCell<Option<Pattern>>, tries: bool) -> bool;

    fn span(&self) -> Span;
}

struct Entry<'a, C> {
    rule: usize,
    conditions: &'a C,
    regex: OnceCell<Option<Pattern>>,
}

fn compare<C: Conditions>(
    service: &VirtualService,
    rules: &[Rule<'_, C>],
    told: bool,
    out: &mut Diagnostics,
) {
    let count: usize = rules.iter().map(|rule| rule.matches.len()).sum();
    let tries = count <= MOST_WITH_REGEXES;
    let mut earlier: Vec<Entry<'_, C>> = Vec::new();
    let mut catch_all: Option<&Rule<'_, C>> = None;
    for (index, rule) in rules.iter().enumerate() {
        if let Some(first) = catch_all {
            if !told {
                let why = format!("`{}` has no `match` and takes everything", first.label);
                out.push(unreachable(service, rule, &why, first.span));
            }
            continue;
        }
        if rule.matches.is_empty() {
            catch_all = Some(rule).filter(|rule| !rule.leaves_some);
            continue;
        }
        let mut by_others = Vec::new();
        for conditions in rule.matches {
            let covering =
                earlier.iter().find(|entry| entry.conditions.cover(conditions, &entry.regex, tries));
            if let Some(covering) = covering {
                let (by, at) = (rules.get(covering.rule), covering.conditions.span());
                let by = by.map_or("", |rule| rule.label);
                if covering.rule != index {
                    by_others.push((by, at));
                }
                out.push(
                    Diagnostic::note(
                        "ineffective-match",
                        format!("`{by}` takes all that meets this, so that `{}` gets none of it", rule.label),
                    )
                    .resource(service.meta.title())
                    .at(conditions.span())
                    .also("these conditions come first:", at)
                    .rule("VAL-VS-28")
                    .help("take it out, or put it before the other"),
                );
            } else {
                // Alternatives after it in the same rule are of no use either.
                earlier.push(Entry { rule: index, conditions, regex: OnceCell::new() });
            }
        }
        if rule.leaves_some {
            earlier.retain(|entry| entry.rule != index);
        }
        if by_others.len() == rule.matches.len()
            && let Some((by, at)) = by_others.first()
        {
            out.push(unreachable(service, rule, &format!("`{by}` takes all that meets its conditions"), *at));
        }
    }
}

fn unreachable<C>(service: &VirtualService, rule: &Rule<'_, C>, why: &str, first: Span) -> Diagnostic {
    Diagnostic::warning("unreachable-route", format!("this route is never reached: {why}"))
        .resource(service.meta.title())
        .at(rule.span)
        .also("what comes first stands at", first)
        .rule("VAL-VS-27")
        .help("routes are tried in order; put the narrower one first, or take this one out")
}

impl Conditions for HttpMatch {
    fn span(&self) -> Span {
        self.span
    }

    fn cover(&self, other: &Self, regex: &OnceCell<Option<Pattern>>, tries: bool) -> bool {
        covers_path(self, other, regex, tries)
            && equal_or_open(self.method.as_ref(), other.method.as_ref())
            && equal_or_open(self.scheme.as_ref(), other.scheme.as_ref())
            && equal_or_open(self.authority.as_ref(), other.authority.as_ref())
            && covers_named(&self.headers, &other.headers, str::eq_ignore_ascii_case)
            && covers_named(&self.query_params, &other.query_params, str::eq)
            && self.without_headers.iter().all(|wanted| {
                other.without_headers.iter().any(|own| {
                    own.name.eq_ignore_ascii_case(&wanted.name) && own.value.value == wanted.value.value
                })
            })
            && self
                .port
                .as_ref()
                .is_none_or(|port| other.port.as_ref().map(|own| own.value) == Some(port.value))
            && self.source_labels.iter().all(|(key, value)| other.source_labels.get(key) == Some(value))
            && is_same_or_open(&self.source_namespace, &other.source_namespace)
            && same_names(&self.gateways, &other.gateways)
    }
}

impl Conditions for ConnectionMatch {
    fn span(&self) -> Span {
        self.span
    }

    fn cover(&self, other: &Self, _: &OnceCell<Option<Pattern>>, _: bool) -> bool {
        let covered = |name: &Spanned<String>| self.server_names.iter().any(|own| covers_name(own, name));
        let within = |range: &Spanned<crate::options::Cidr>| {
            self.destination_subnets.iter().any(|own| own.value.covers(range.value))
        };
        other.server_names.iter().all(covered)
            && (self.destination_subnets.is_empty()
                || (!other.destination_subnets.is_empty() && other.destination_subnets.iter().all(within)))
            && self
                .port
                .as_ref()
                .is_none_or(|port| other.port.as_ref().map(|own| own.value) == Some(port.value))
            && self.source_labels.iter().all(|(key, value)| other.source_labels.get(key) == Some(value))
            && is_same_or_open(&self.source_namespace, &other.source_namespace)
            && same_names(&self.gateways, &other.gateways)
    }
}

fn covers_path(one: &HttpMatch, other: &HttpMatch, regex: &OnceCell<Option<Pattern>>, tries: bool) -> bool {
    let Some(wide) = one.uri.as_ref().map(|uri| &uri.value) else { return true };
    // Every path begins so.
    if matches!(wide, StringMatch::Present)
        || matches!(wide, StringMatch::Prefix(text) if text.is_empty() || text == "/")
        || matches!(wide, StringMatch::Regex(text) if text == ".*")
    {
        return true;
    }
    let Some(narrow) = other.uri.as_ref().map(|uri| &uri.value) else { return false };
    // What ignores case is wider than what doesn't.
    let folds = one.ignore_uri_case;
    if other.ignore_uri_case && !folds {
        return false;
    }
    let equal = |one: &str, other: &str| if folds { one.eq_ignore_ascii_case(other) } else { one == other };
    let begins = |text: &str, prefix: &str| text.get(..prefix.len()).is_some_and(|head| equal(head, prefix));
    match (wide, narrow) {
        (StringMatch::Prefix(prefix), StringMatch::Prefix(text) | StringMatch::Exact(text)) => {
            begins(text, prefix)
        }
        (StringMatch::Exact(one), StringMatch::Exact(other)) => equal(one, other),
        (StringMatch::Regex(one), StringMatch::Regex(other)) => one == other,
        (StringMatch::Regex(pattern), StringMatch::Exact(text)) => {
            tries
                && !other.ignore_uri_case
                && regex
                    .get_or_init(|| Pattern::new(pattern).ok())
                    .as_ref()
                    .is_some_and(|pattern| pattern.matches(text.as_bytes()))
        }
        _ => false,
    }
}

/// Whether a condition on a text is met by all that meets `other`.
fn equal_or_open(one: Option<&Spanned<StringMatch>>, other: Option<&Spanned<StringMatch>>) -> bool {
    let Some(one) = one else { return true };
    other.is_some_and(|other| covers_text(&one.value, &other.value))
}

fn covers_text(one: &StringMatch, other: &StringMatch) -> bool {
    match (one, other) {
        (StringMatch::Present, _) => true,
        (StringMatch::Prefix(prefix), StringMatch::Prefix(text) | StringMatch::Exact(text)) => {
            text.starts_with(prefix.as_str())
        }
        _ => one == other,
    }
}

fn covers_named(one: &[NamedMatch], other: &[NamedMatch], same: fn(&str, &str) -> bool) -> bool {
    one.iter().all(|wanted| {
        other.iter().any(|own| {
            same(&own.name.value, &wanted.name.value) && covers_text(&wanted.value.value, &own.value.value)
        })
    })
}

fn is_same_or_open(one: &Option<Spanned<String>>, other: &Option<Spanned<String>>) -> bool {
    one.as_ref().is_none_or(|one| other.as_ref().is_some_and(|other| other.value == one.value))
}

/// Lists of gateways that take the place of the VirtualService's; other ones may be narrower, which is
/// not looked at.
fn same_names(one: &[Spanned<String>], other: &[Spanned<String>]) -> bool {
    one.iter().map(|name| &name.value).eq(other.iter().map(|name| &name.value))
}
