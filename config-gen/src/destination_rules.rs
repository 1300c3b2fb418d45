//! Which DestinationRule applies to a service (spec sections 5.1 and 5.2).

use std::cmp::Reverse;

use crate::names::{covers, expand};
use crate::options::Options;
use crate::registry::{Service, is_exported_to};
use crate::resource::DestinationRule;
use crate::resource::destination_rule::{TlsMode, TlsSettings, TrafficPolicy};

/// All DestinationRules of the input, oldest first.
#[derive(Debug)]
pub struct DestinationRules<'a> {
    rules: Vec<&'a DestinationRule>,
}

impl<'a> DestinationRules<'a> {
    /// Orders `rules` by age, then by name and namespace (GAP-16).
    pub fn new(rules: &'a [DestinationRule]) -> Self {
        let mut rules: Vec<_> = rules.iter().collect();
        rules.sort_by_key(|rule| {
            (rule.meta.creation_timestamp, rule.meta.name.value.as_str(), rule.meta.namespace.as_str())
        });
        Self { rules }
    }

    /// The policy for `service`: namespace of the client, of the service, root namespace, in
    /// this order; the first that has any rule for the host ends the search (DR-01, DR-02).
    fn policy(&self, service: &Service<'_>, options: &Options) -> Option<&'a TrafficPolicy> {
        let client = options.client_namespace.as_str();
        let own = service.meta().namespace.as_str();
        let rules = [client, own, options.root_namespace.as_str()].into_iter().find_map(|stage| {
            // The client's namespace sees its private rules as well.
            let in_stage = |rule: &&&DestinationRule| {
                rule.meta.namespace == stage && (stage == client || !is_private(rule))
            };
            let hosts = self.rules.iter().filter(in_stage).map(|rule| (*rule, host(rule)));
            let matching: Vec<_> = hosts.filter(|(_, host)| covers(host, service.host)).collect();
            // Most specific: exact, else the longest wildcard, then alphabetically. Chosen
            // before `exportTo` is looked at (DR-03).
            let best = matching
                .iter()
                .map(|(_, host)| host)
                .min_by_key(|host| (host.starts_with('*'), Reverse(host.len()), host.as_str()))?;
            let chosen: Vec<_> = matching
                .iter()
                .filter(|(rule, host)| host == best && is_exported_to(&rule.export_to, &rule.meta, client))
                .map(|(rule, _)| *rule)
                .collect();
            (!chosen.is_empty()).then_some(chosen)
        })?;
        // Merged: the policy is taken whole from the first that has one (DR-07).
        rules.iter().find_map(|rule| rule.traffic_policy.as_ref())
    }

    /// TLS origination for a port of `service`. An entry of `portLevelSettings` for the port
    /// replaces the rule's setting, even by none (DR-TP-01).
    pub fn tls(&self, service: &Service<'_>, port: u16, options: &Options) -> Option<&'a TlsSettings> {
        let policy = self.policy(service, options)?;
        let settings = match policy.port_level_settings.iter().find(|entry| entry.port.value == port) {
            Some(entry) => entry.tls.as_ref(),
            None => policy.tls.as_ref(),
        };
        settings.filter(|tls| tls.mode.value != TlsMode::Disable)
    }

    /// Rules whose host is none of `services` (DR-04).
    pub fn without_service<'s>(
        &'s self,
        services: impl Iterator<Item = &'s Service<'s>> + Clone + 's,
    ) -> impl Iterator<Item = &'a DestinationRule> + 's {
        self.rules.iter().copied().filter(move |rule| {
            let host = host(rule);
            !services.clone().any(|service| covers(&host, service.host))
        })
    }
}

fn host(rule: &DestinationRule) -> String {
    expand(&rule.host, &rule.meta.namespace)
}

/// Exported to its own namespace only: such a rule is not in the tables of the service's and
/// the root namespace at all (DR-01).
fn is_private(rule: &DestinationRule) -> bool {
    matches!(rule.export_to.as_slice(), [only] if only.value == "." || only.value == rule.meta.namespace)
}
