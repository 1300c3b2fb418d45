//! What is wrong with the resources, or likely not what was meant (spec section 6).
//!
//! [`analyze`] gives all that reading and planning report, and what only shows when resources are
//! looked at together or by someone who knows what hurts. It reads no files and writes none, so that
//! a page in a browser can ask it. What a request comes to is still the engine's word: where that
//! matters, it is asked.
//!
//! Every code has an entry in [`messages`], from which a page of the documentation is made.

mod conflicts;
mod deprecated;
mod destinations;
mod entries;
mod gateways;
mod hosts;
pub mod messages;
mod regexes;
pub mod report;
mod rewrites;
mod slips;
mod suppress;
mod tls;
mod unreachable;

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub use suppress::Suppression;

use crate::destination_rules::DestinationRules;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::gateway::{self, MESH};
use crate::input::Read;
use crate::options::{Options, Profile};
use crate::plan::Plan;
use crate::registry::{Registry, Service, is_exported_to};
use crate::resource::destination_rule::TlsMode;
use crate::resource::virtual_service::Destination;
use crate::resource::{Resources, VirtualService};
use crate::scope::Scope;

/// Findings that are worth showing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Analysis {
    /// In the order of the text.
    pub findings: Diagnostics,
    /// How many more somebody has chosen not to see.
    pub suppressed: usize,
}

/// All findings on what was `read`, in the order of the text, as [`run`] gives them.
pub fn analyze(read: &Read, options: &Options) -> Diagnostics {
    run(read, options, &[]).findings
}

/// All findings on what was `read`, apart from those that `suppressions` leave out.
///
/// They are judged for [`Options::profile`] and a client of [`Options::client_namespace`]. Where
/// Envoy listens makes no difference: the client is taken to reach every port, as in a mesh, unless
/// [`Options::gateway`] names a gateway. Findings that a resource's annotation suppresses are left
/// out as well.
///
/// Errors don't end it. What is missing only because of an error elsewhere is not reported as
/// missing.
pub fn run(read: &Read, options: &Options, suppressions: &[Suppression]) -> Analysis {
    let options = &on_every_port(options);
    let resources = read.resources();
    let mut found = Diagnostics::new();
    Plan::of(&resources, options, &mut found);
    // The plan has reported what these come upon.
    let told = &mut Diagnostics::new();
    let scope = Scope::new(&resources, options, told);
    let registry = Registry::build(&resources, &scope, options, told);
    let rules = DestinationRules::new(resources.destination_rules, &registry, options);
    let context = Context { read, resources, options, registry: &registry, rules: &rules };
    hosts::check(&context, &mut found);
    destinations::check(&context, &mut found);
    unreachable::check(&context, &mut found);
    rewrites::check(&context, &mut found);
    regexes::check(&context, &mut found);
    entries::check(&context, &mut found);
    tls::check(&context, &mut found);
    conflicts::check(&context, &mut found);
    gateways::check(&context, &mut found);
    deprecated::check(read, &mut found);
    slips::suggest(&context, &mut found);
    let doubts = Doubts::new(&read.diagnostics);
    let found = found.into_iter().filter(|finding| !is_of_the_generator(finding, options));
    let found = found.map(|finding| read.locate(finding)).filter(|finding| !doubts.concern(finding));
    let annotated = suppress::Annotated::new(&resources);
    let hidden = |finding: &Diagnostic| {
        annotated.suppresses(finding) || suppressions.iter().any(|one| one.suppresses(finding))
    };
    let all = read.diagnostics.iter().cloned().chain(found);
    let (hidden, kept): (Vec<_>, Vec<_>) = all.partition(hidden);
    let mut findings: Diagnostics = kept.into_iter().collect();
    findings.sort();
    Analysis { findings, suppressed: hidden.len() }
}

/// What is worth knowing for who generates something, and nothing about the resources.
fn is_of_the_generator(finding: &Diagnostic, options: &Options) -> bool {
    match finding.code {
        "gateway-unused" => options.gateway.is_none(),
        // In a mesh that is what most VirtualServices of gateways look like.
        "gateway-only" => options.profile == Profile::Istio,
        _ => false,
    }
}

/// Codes that say that there is no such host, port or subset.
const SAYS_THAT_SOMETHING_IS_MISSING: [&str; 5] = [
    "empty-subset",
    "host-not-in-registry",
    "no-endpoints",
    "unknown-destination",
    "unknown-destination-rule-host",
];

/// Codes that say what follows from a field that isn't there, or was refused.
const SAYS_WHAT_IS_NOT_WRITTEN: [&str; 2] = ["location-omitted", "tcp-without-address"];

/// Kinds that register hosts, or have subsets.
const REGISTERING: [&str; 4] = ["ServiceEntry ", "Service ", "WorkloadEntry ", "DestinationRule "];

/// Errors after which other findings may be untrue.
struct Doubts<'r> {
    /// An error keeps something out of the registry, or a subset out of a rule.
    less_is_registered: bool,
    /// Resources that are incomplete.
    incomplete: HashSet<&'r str>,
}

impl<'r> Doubts<'r> {
    fn new(read: &'r Diagnostics) -> Self {
        let errors = || read.iter().filter(|finding| finding.severity == Severity::Error);
        let registers = |finding: &Diagnostic| match finding.resource.as_deref() {
            Some(resource) => REGISTERING.iter().any(|kind| resource.starts_with(kind)),
            // A text that is no YAML, or something that has no name.
            None => true,
        };
        Self {
            less_is_registered: errors().any(registers),
            incomplete: errors().filter_map(|finding| finding.resource.as_deref()).collect(),
        }
    }

    fn concern(&self, finding: &Diagnostic) -> bool {
        let is_incomplete =
            || finding.resource.as_deref().is_some_and(|resource| self.incomplete.contains(resource));
        (self.less_is_registered && SAYS_THAT_SOMETHING_IS_MISSING.contains(&finding.code))
            || (SAYS_WHAT_IS_NOT_WRITTEN.contains(&finding.code) && is_incomplete())
            || (finding.severity == Severity::Note && is_incomplete())
    }
}

/// A client that reaches every port, and whose addresses are known, as a sidecar's is.
fn on_every_port(options: &Options) -> Options {
    let mut options = options.clone();
    if options.gateway.is_none() {
        options.envoy.listeners.clear();
        options.envoy.explicit_proxy = None;
        options.envoy.transparent =
            vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
    }
    options
}

/// What the checks look at.
struct Context<'a> {
    read: &'a Read,
    resources: Resources<'a>,
    options: &'a Options,
    /// What the client sees.
    registry: &'a Registry<'a>,
    rules: &'a DestinationRules<'a>,
}

impl<'a> Context<'a> {
    /// The VirtualServices that have hosts and are bound to the mesh.
    fn of_the_mesh(&self) -> impl Iterator<Item = &'a VirtualService> {
        self.resources.virtual_services.iter().filter(|service| {
            let bound = || gateway::names(&service.gateways, &service.meta.namespace, MESH);
            !service.hosts.is_empty() && (service.gateways.is_empty() || bound())
        })
    }

    /// Those of them that the client sees.
    fn of_the_client(&self) -> impl Iterator<Item = &'a VirtualService> {
        self.of_the_mesh().filter(|service| self.is_visible(service))
    }

    /// Whether requests to `port` of `service` are put into TLS.
    fn originates_tls(&self, service: &Service<'_>, port: u16, subset: &str) -> bool {
        let tls = self.rules.policy(service, port, subset).tls;
        let by_rule = tls.is_some_and(|tls| tls.mode.value != TlsMode::Disable);
        let by_option = self.options.originate_tls && self.options.profile == Profile::Standalone;
        by_rule || (by_option && service.only_tls_ports().is_some_and(|ports| ports.contains(&port)))
    }

    /// Whether the input has an object of `kind`, of which nothing is read.
    fn has_unread(&self, kind: &str) -> bool {
        let refused = |finding: &Diagnostic| {
            finding.resource.as_deref().is_some_and(|resource| resource.split(' ').next() == Some(kind))
        };
        self.read.ignored_objects.contains_key(kind) || self.read.diagnostics.iter().any(refused)
    }

    fn is_visible(&self, service: &VirtualService) -> bool {
        is_exported_to(&service.export_to, &service.meta, &self.options.client_namespace)
    }
}

/// Where `service` sends requests, copies of them, and connections.
fn all_destinations(service: &VirtualService) -> impl Iterator<Item = &Destination> {
    let http = service.http.iter().flat_map(|http| {
        let mirrors = http.mirrors.iter().map(|mirror| &mirror.destination);
        http.route.iter().map(|route| &route.destination).chain(&http.mirror).chain(mirrors)
    });
    let rules = service.tls.iter().chain(&service.tcp);
    http.chain(rules.flat_map(|rule| rule.route.iter().map(|route| &route.destination)))
}

/// Numbers or names as a list for a sentence.
fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
