//! Regular expressions that mean something else than their writer thinks: they are RE2's, and always
//! over the whole text (VS-MATCH-07). What RE2 refuses is an error of its own, `invalid-regex`.

use super::Context;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::virtual_service::{HttpMatch, StringMatch};
use crate::resource::{Spanned, VirtualService};

pub(super) fn check(context: &Context<'_>, out: &mut Diagnostics) {
    for service in context.resources.virtual_services {
        for route in &service.http {
            for entry in &route.matches {
                for value in texts(entry) {
                    whole(service, value, out);
                }
                out.extend(entry.authority.as_ref().and_then(|value| any_character(service, value)));
            }
            for origin in route.cors.iter().flat_map(|cors| &cors.allow_origins) {
                whole(service, origin, out);
                out.extend(any_character(service, origin));
            }
        }
    }
}

fn texts(entry: &HttpMatch) -> impl Iterator<Item = &Spanned<StringMatch>> {
    let named = [&entry.headers, &entry.without_headers, &entry.query_params].into_iter().flatten();
    [&entry.uri, &entry.scheme, &entry.method, &entry.authority]
        .into_iter()
        .flatten()
        .chain(named.map(|named| &named.value))
}

/// An anchor at one end alone: who writes it thinks that the other end is open.
fn whole(service: &VirtualService, value: &Spanned<StringMatch>, out: &mut Diagnostics) {
    let StringMatch::Regex(pattern) = &value.value else { return };
    let begins = pattern.starts_with('^');
    let ends = pattern.ends_with('$') && !pattern.ends_with("\\$");
    let is_open = |text: &str| text.ends_with(".*") || text.ends_with(".*?") || text.ends_with(".+");
    let (open, meant) = match (begins, ends) {
        (true, false) if !is_open(pattern) => ("after", format!("{pattern}.*")),
        (false, true) if !pattern.starts_with(".*") && !pattern.starts_with(".+") => {
            ("before", format!(".*{pattern}"))
        }
        _ => return,
    };
    // Alternatives have ends of their own.
    if pattern.contains('|') {
        return;
    }
    out.push(
        Diagnostic::warning(
            "regex-takes-whole-text",
            format!("`{pattern}` has to match the whole text: nothing may come {open} it"),
        )
        .resource(service.meta.title())
        .at(value.span)
        .rule("VS-MATCH-07")
        .help(format!("write `{meant}` if more may come {open} it; otherwise leave the anchor out")),
    );
}

/// A dot of a host name that stands for any character: in a name it lets other hosts in.
fn any_character(service: &VirtualService, value: &Spanned<StringMatch>) -> Option<Diagnostic> {
    let StringMatch::Regex(pattern) = &value.value else { return None };
    let bytes = pattern.as_bytes();
    let is_word = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at)).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    let bare = (0..bytes.len())
        .find(|&at| bytes.get(at) == Some(&b'.') && is_word(at.checked_sub(1)) && is_word(Some(at + 1)))?;
    let (before, after) = pattern.split_at_checked(bare)?;
    Some(
        Diagnostic::warning(
            "regex-dot-in-host",
            format!("the dot in `{pattern}` stands for any character, so that other hosts match as well"),
        )
        .resource(service.meta.title())
        .at(value.span)
        .rule("VS-MATCH-07")
        .help(format!("write `{before}\\{after}`, and so with the other dots that are meant literally")),
    )
}
