//! Hosts that differ from a known one by a slip of the pen.

use std::collections::HashMap;

use super::{Context, all_destinations};
use crate::diagnostic::Diagnostics;
use crate::names::expand;
use crate::schema::suggest::nearest;
use crate::source::Span;

/// Known hosts, to be found by one that isn't.
pub(super) struct Slips<'a> {
    /// Which label there is, by its place and the host without it.
    labels: HashMap<(usize, String), Vec<&'a str>>,
}

impl<'a> Slips<'a> {
    pub(super) fn new(hosts: impl Iterator<Item = &'a str>) -> Self {
        let mut labels: HashMap<(usize, String), Vec<&str>> = HashMap::new();
        for host in hosts {
            for (key, label) in without_one_label(host) {
                labels.entry(key).or_default().push(label);
            }
        }
        Self { labels }
    }

    /// A known host that differs from `host` in one label, by a letter or two.
    pub(super) fn meant(&self, host: &str) -> Option<String> {
        without_one_label(host).into_iter().find_map(|((index, rest), label)| {
            // Short ones are more often names of a series than slips.
            let others = self.labels.get(&(index, rest)).filter(|_| label.len() >= 5)?;
            let meant = nearest(label, others.iter().copied()).filter(|meant| *meant != label)?;
            let mut labels: Vec<&str> = host.split('.').collect();
            *labels.get_mut(index)? = meant;
            Some(labels.join("."))
        })
    }
}

fn without_one_label(host: &str) -> Vec<((usize, String), &str)> {
    let labels: Vec<&str> = host.split('.').collect();
    let without = |index: usize| {
        let others = labels.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, label)| *label);
        others.collect::<Vec<_>>().join(".")
    };
    labels.iter().enumerate().map(|(index, label)| ((index, without(index)), *label)).collect()
}

/// Says of hosts that aren't there which ones may be meant.
pub(super) fn suggest(context: &Context<'_>, out: &mut Diagnostics) {
    const MISSING: [&str; 2] = ["unknown-destination", "unknown-destination-rule-host"];
    if out.iter().all(|finding| !MISSING.contains(&finding.code)) {
        return;
    }
    let slips = Slips::new(context.registry.services().map(|service| service.host));
    let mut written: HashMap<Span, String> = HashMap::new();
    for service in context.resources.virtual_services {
        for host in all_destinations(service).map(|destination| &destination.host) {
            written.insert(host.span, expand(host, &service.meta.namespace));
        }
    }
    for rule in context.resources.destination_rules {
        written.insert(rule.host.span, expand(&rule.host, &rule.meta.namespace));
    }
    for finding in out.iter_mut().filter(|finding| MISSING.contains(&finding.code)) {
        let host = finding.span.and_then(|span| written.get(&span));
        let Some(host) = host.filter(|host| context.registry.get(host).is_none()) else { continue };
        if let (Some(meant), Some(help)) = (slips.meant(host), &mut finding.help) {
            *help = format!("did you mean `{meant}`? otherwise {help}");
        }
    }
}
