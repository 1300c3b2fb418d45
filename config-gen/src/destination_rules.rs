//! Which DestinationRule applies to a service, and what it comes to for a cluster (spec sections
//! 5.1 and 5.2).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::names::{covers, expand};
use crate::options::Options;
use crate::registry::{Registry, Service, is_exported_to};
use crate::resource::DestinationRule;
use crate::resource::destination_rule::{
    ConnectionPool, LoadBalancer, OutlierDetection, ProxyProtocol, RetryBudget, Settings, Subset,
    TlsSettings, TrafficPolicy,
};

/// The rules of the input, and what they come to for each service of the registry.
#[derive(Debug)]
pub struct DestinationRules<'a> {
    rules: Vec<&'a DestinationRule>,
    /// By the service's host.
    merged: HashMap<&'a str, Merged<'a>>,
}

/// The rules that apply to a service, as one (DR-07).
#[derive(Debug, Default, Clone)]
pub struct Merged<'a> {
    /// The policy of the first rule that has one, whole.
    pub policy: Option<&'a TrafficPolicy>,
    /// The subsets of all; of those with one name the first.
    pub subsets: Vec<&'a Subset>,
    /// The rules, the one that counts most first.
    pub rules: Vec<&'a DestinationRule>,
}

/// What applies to one cluster: a port of a service, or of a subset (DR-TP rows).
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Policy<'a> {
    /// Which endpoint gets a request.
    pub load_balancer: Option<&'a LoadBalancer>,
    /// Limits and timeouts.
    pub connection_pool: Option<&'a ConnectionPool>,
    /// When endpoints that fail are taken out.
    pub outlier_detection: Option<&'a OutlierDetection>,
    /// TLS origination.
    pub tls: Option<&'a TlsSettings>,
    /// The PROXY protocol.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How many requests may be retries.
    pub retry_budget: Option<&'a RetryBudget>,
}

impl<'a> DestinationRules<'a> {
    /// Orders `rules` by age, then by name and namespace (GAP-16), and finds those of each service.
    pub fn new(rules: &'a [DestinationRule], registry: &Registry<'a>, options: &Options) -> Self {
        let mut rules: Vec<_> = rules.iter().collect();
        rules.sort_by_key(|rule| {
            (rule.meta.creation_timestamp, rule.meta.name.value.as_str(), rule.meta.namespace.as_str())
        });
        let mut stages = Stages::new(&rules, options);
        let merged = registry.services().filter_map(|service| {
            let found = stages.rules_for(service)?;
            Some((service.host, Merged::of(&found)))
        });
        Self { merged: merged.collect(), rules }
    }

    /// What the rules for `service` come to; none: there is no rule.
    pub fn of(&self, service: &Service<'_>) -> Option<&Merged<'a>> {
        self.merged.get(service.host)
    }

    /// The subset `name` of `service`.
    pub fn subset(&self, service: &Service<'_>, name: &str) -> Option<&'a Subset> {
        self.of(service)?.subsets.iter().find(|subset| subset.name.value == name).copied()
    }

    /// What applies to `port` of `service`, or of its subset of that name.
    pub fn policy(&self, service: &Service<'_>, port: u16, subset: &str) -> Policy<'a> {
        let Some(merged) = self.of(service) else { return Policy::default() };
        let whole = merged.policy.map(|policy| Policy::of_rule(policy, port)).unwrap_or_default();
        let subset = self.subset(service, subset).and_then(|subset| subset.traffic_policy.as_ref());
        subset.map_or(whole, |subset| whole.of_subset(subset, port))
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

impl<'a> Merged<'a> {
    fn of(rules: &[&'a DestinationRule]) -> Self {
        let mut subsets: Vec<&Subset> = Vec::new();
        for subset in rules.iter().flat_map(|rule| &rule.subsets) {
            if !subsets.iter().any(|known| known.name.value == subset.name.value) {
                subsets.push(subset);
            }
        }
        let policy = rules.iter().find_map(|rule| rule.traffic_policy.as_ref());
        Self { policy, subsets, rules: rules.to_vec() }
    }
}

impl<'a> Policy<'a> {
    /// Settings of the port replace all of the rule's (DR-TP-01, DR-TP-02).
    fn of_rule(policy: &'a TrafficPolicy, port: u16) -> Self {
        match port_settings(policy, port) {
            Some(settings) => Self::default().with(settings),
            None => Self::default().with(&policy.settings).with_rest(policy),
        }
    }

    /// Blocks of the subset replace the rule's; settings of its port replace all (DR-TP-04).
    fn of_subset(self, policy: &'a TrafficPolicy, port: u16) -> Self {
        let Settings { load_balancer, connection_pool, outlier_detection, tls } = &policy.settings;
        let merged = Self {
            load_balancer: load_balancer.as_ref().or(self.load_balancer),
            connection_pool: connection_pool.as_ref().or(self.connection_pool),
            outlier_detection: outlier_detection.as_ref().or(self.outlier_detection),
            tls: tls.as_ref().or(self.tls),
            ..self.with_rest(policy)
        };
        match port_settings(policy, port) {
            Some(settings) => merged.with(settings),
            None => merged,
        }
    }

    fn with(self, settings: &'a Settings) -> Self {
        Self {
            load_balancer: settings.load_balancer.as_ref(),
            connection_pool: settings.connection_pool.as_ref(),
            outlier_detection: settings.outlier_detection.as_ref(),
            tls: settings.tls.as_ref(),
            ..self
        }
    }

    /// What a port can't set.
    fn with_rest(self, policy: &'a TrafficPolicy) -> Self {
        Self {
            proxy_protocol: policy.proxy_protocol.map(|version| version.value).or(self.proxy_protocol),
            retry_budget: policy.retry_budget.as_ref().or(self.retry_budget),
            ..self
        }
    }
}

/// By number alone (DR-TP-05).
fn port_settings(policy: &TrafficPolicy, port: u16) -> Option<&Settings> {
    policy.port_level_settings.iter().find(|entry| entry.port.value == port).map(|entry| &entry.settings)
}

/// Where rules are looked for, one place after the other (DR-01).
struct Stages<'a, 'o> {
    options: &'o Options,
    /// What the client's namespace has for it.
    client: ByHost<'a>,
    /// What a namespace has for others.
    others: HashMap<&'a str, ByHost<'a>>,
}

impl<'a, 'o> Stages<'a, 'o> {
    fn new(rules: &[&'a DestinationRule], options: &'o Options) -> Self {
        let client = options.client_namespace.as_str();
        let mut stages = Self { options, client: ByHost::default(), others: HashMap::new() };
        for rule in rules {
            let own = rule.meta.namespace == client;
            // The root namespace's public rules have a stage of their own.
            let in_first = own && (client != options.root_namespace || is_private(rule));
            if in_first && (rule.workload_selector.is_some() || is_exported(rule, client)) {
                stages.client.add(rule);
            }
            // Private rules are not in the tables of the other stages at all.
            if !is_private(rule) {
                stages.others.entry(&rule.meta.namespace).or_default().add(rule);
            }
        }
        stages
    }

    /// The rules for `service`, to be merged: those of the first stage that has any (DR-02). None
    /// of them may be for this client all the same (DR-09).
    fn rules_for(&mut self, service: &Service<'_>) -> Option<Vec<&'a DestinationRule>> {
        let client = self.options.client_namespace.as_str();
        let of_client = self.client.most_specific(service.host);
        let found = if of_client.is_empty() {
            let own = service.meta().namespace.as_str();
            [own, self.options.root_namespace.as_str()].into_iter().find_map(|stage| {
                let rules = self.others.get(stage)?.most_specific(service.host);
                // After the host was chosen (DR-03).
                let mut groups = groups(rules);
                groups.retain(|group| group.first().is_some_and(|first| is_exported(first, client)));
                (!groups.is_empty()).then_some(groups)
            })?
        } else {
            groups(of_client)
        };
        let selected = found.iter().find(|group| {
            let selector = group.first().and_then(|first| first.workload_selector.as_ref());
            selector.is_some_and(|labels| self.is_client(labels))
        });
        let for_all = || {
            found.iter().rfind(|group| group.first().is_some_and(|first| first.workload_selector.is_none()))
        };
        selected.or_else(for_all).cloned()
    }

    fn is_client(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(key, value)| self.options.client_labels.get(key) == Some(value))
    }
}

/// Rules by their host.
#[derive(Default)]
struct ByHost<'a> {
    exact: HashMap<String, Vec<&'a DestinationRule>>,
    /// By what comes after the `*`.
    wildcard: HashMap<String, Vec<&'a DestinationRule>>,
}

impl<'a> ByHost<'a> {
    fn add(&mut self, rule: &'a DestinationRule) {
        let host = host(rule);
        match host.strip_prefix('*') {
            Some(suffix) => self.wildcard.entry(suffix.to_owned()).or_default().push(rule),
            None => self.exact.entry(host).or_default().push(rule),
        }
    }

    /// The rules of the exact host, else of the longest wildcard that covers it (DR-03).
    fn most_specific(&self, service: &str) -> &[&'a DestinationRule] {
        let suffixes = || (1..=service.len()).filter_map(|at| self.wildcard.get(service.get(at..)?));
        self.exact.get(service).or_else(|| suffixes().next()).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Rules of one host that are merged, group by group (DR-07, DR-08): with equal `exportTo` and
/// selector, or where the younger one's `exportTo` names all that the older one's does. Those with a
/// selector come first.
fn groups<'a>(rules: &[&'a DestinationRule]) -> Vec<Vec<&'a DestinationRule>> {
    let mut groups: Vec<Vec<&DestinationRule>> = Vec::new();
    let (with, without): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.workload_selector.is_some());
    for rule in with.into_iter().chain(without) {
        let names = export_to(rule);
        let mut joined = false;
        for group in &mut groups {
            let Some(first) = group.first() else { continue };
            let theirs = export_to(first);
            let reaches = names == theirs || (!theirs.is_empty() && names.is_superset(&theirs));
            if first.workload_selector == rule.workload_selector && reaches {
                group.push(rule);
                joined = true;
            }
        }
        if !joined {
            groups.push(vec![rule]);
        }
    }
    groups
}

/// Who sees a rule; one with a selector is seen in its own namespace only (DR-09).
fn export_to(rule: &DestinationRule) -> BTreeSet<&str> {
    let own = rule.meta.namespace.as_str();
    if rule.workload_selector.is_some() {
        return BTreeSet::from([own]);
    }
    rule.export_to.iter().map(|name| if name.value == "." { own } else { name.as_str() }).collect()
}

fn is_exported(rule: &DestinationRule, client: &str) -> bool {
    is_exported_to(&rule.export_to, &rule.meta, client)
}

fn host(rule: &DestinationRule) -> String {
    expand(&rule.host, &rule.meta.namespace)
}

/// Seen in its own namespace only.
fn is_private(rule: &DestinationRule) -> bool {
    rule.workload_selector.is_some()
        || matches!(rule.export_to.as_slice(), [only] if only.value == "." || only.value == rule.meta.namespace)
}
