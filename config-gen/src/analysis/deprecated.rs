//! Fields that Istio has replaced, beside those that its webhook warns of when a resource is read.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::Read;
use crate::input::node::Node;
use crate::source::Span;

pub(super) fn check(read: &Read, out: &mut Diagnostics) {
    for (title, root) in &read.documents {
        let Some(spec) = root.get("spec") else { continue };
        let found: Vec<(Span, &str, &str)> = match title.split(' ').next() {
            Some("VirtualService") => percents(spec)
                .map(|span| (span, "fault.delay.percent", "write `percentage: {value: ...}`"))
                .collect(),
            Some("Sidecar") => egress_proxy(spec)
                .map(|span| {
                    (span, "outboundTrafficPolicy.egressProxy", "add ServiceEntries for hosts outside")
                })
                .into_iter()
                .collect(),
            _ => continue,
        };
        for (span, field, help) in found {
            out.push(
                Diagnostic::warning("deprecated-field", format!("`{field}` is outdated"))
                    .resource(title.clone())
                    .at(span)
                    .rule("IST0002")
                    .help(help),
            );
        }
    }
}

fn percents(spec: &Node) -> impl Iterator<Item = Span> {
    let routes = spec.get("http").map(Node::items).unwrap_or_default();
    let percents = routes.iter().filter_map(|route| route.get("fault")?.get("delay")?.get("percent"));
    percents.filter(|percent| percent.as_int().is_some_and(|percent| percent > 0)).map(|percent| percent.span)
}

fn egress_proxy(spec: &Node) -> Option<Span> {
    Some(spec.get("outboundTrafficPolicy")?.entry("egressProxy")?.key_span)
}
