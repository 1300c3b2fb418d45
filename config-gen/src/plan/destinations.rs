//! Which cluster a destination means, and whether there is one (spec sections 3.1 and 4.3).

use portolan_engine::config::Dial;

use crate::collapse;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::expand;
use crate::options::Profile;
use crate::plan::tls::upstream_tls;
use crate::plan::{Input, cluster_name, clusters};
use crate::registry::Service;
use crate::resource::destination_rule::{Balancing, HashKey};
use crate::resource::service_entry::{ProtocolClass, Resolution};
use crate::resource::virtual_service::Destination;
use crate::resource::{KubernetesService, Meta, VirtualService};

/// What a destination comes to on a listener port.
pub(super) struct Target<'i, 'a> {
    /// The cluster, which need not exist (CL-08).
    pub(super) cluster: String,
    /// The host that is meant.
    host: String,
    pub(super) port: u16,
    /// Of the host; empty: all of it.
    pub(super) subset: String,
    service: Option<&'i Service<'a>>,
    /// The alias by which it was named, where that doesn't count on this listener.
    unlisted: Option<&'a KubernetesService>,
}

impl<'i, 'a> Target<'i, 'a> {
    /// What `destination`, of a resource in `namespace`, means on listener port `listener`.
    pub(super) fn new(
        input: &'i Input<'a>,
        destination: &Destination,
        namespace: &str,
        listener: u16,
    ) -> Self {
        let written = expand(&destination.host, namespace);
        // Left out, it is the listener port, whatever ports the destination has (CL-05, CL-06).
        let port = destination.port.as_ref().map(|port| port.value);
        let alias = input.registry.alias(&written);
        // One hop, and only where the alias lists the listener port (KS-04).
        let lists = |alias: &&KubernetesService| alias.ports.iter().any(|own| own.number.value == listener);
        let leads_to = alias.filter(lists).and_then(|alias| alias.external_name.as_ref());
        let host = leads_to.map_or(written, |target| target.value.clone());
        let service = input.registry.own(&host);
        // On a gateway the single port of the destination comes before that (GW-13).
        let single = service.filter(|service| input.options.gateway.is_some() && service.ports.len() == 1);
        let single = single.and_then(|service| service.ports.keys().next().copied());
        let port = port.or(single).unwrap_or(listener);
        let subset = destination.subset.as_ref().map(|subset| subset.value.clone()).unwrap_or_default();
        Self {
            cluster: cluster_name(&host, port, &subset),
            subset,
            service,
            unlisted: alias.filter(|_| leads_to.is_none()),
            host,
            port,
        }
    }

    /// What `destination` of a `tls` or `tcp` route means. Left out, the port is the only one of the
    /// service, else the listener's.
    pub(super) fn of_connection(
        input: &'i Input<'a>,
        destination: &Destination,
        namespace: &str,
        listener: u16,
    ) -> Self {
        let target = Self::new(input, destination, namespace, listener);
        let ports = target.service.map(|service| &service.ports);
        match ports.and_then(|ports| ports.first_key_value().filter(|_| ports.len() == 1)) {
            Some((&only, _)) if destination.port.is_none() => {
                Self { cluster: cluster_name(&target.host, only, &target.subset), port: only, ..target }
            }
            _ => target,
        }
    }

    /// `service` itself on `port`.
    pub(super) fn of_service(service: &'i Service<'a>, port: u16) -> Self {
        Self {
            cluster: cluster_name(service.host, port, ""),
            host: service.host.to_owned(),
            port,
            subset: String::new(),
            service: Some(service),
            unlisted: None,
        }
    }

    /// The service, where it has a cluster on that port.
    pub(super) fn service(&self, input: &Input<'_>) -> Option<&'i Service<'a>> {
        self.service.filter(|service| clusters::exists(input, service, self.port, &self.subset))
    }

    /// Whether requests leave the SNI to the cluster.
    pub(super) fn has_auto_sni(&self, input: &Input<'_>) -> bool {
        let tls = self.service.and_then(|service| upstream_tls(input, service, self.port, &self.subset));
        tls.is_some_and(|tls| tls.sni.is_none())
    }

    /// What the load balancer hashes. What it says for the port counts only where the destination names
    /// the port (DR-LB-10).
    pub(super) fn hash(&self, input: &Input<'_>, names_port: bool) -> Option<HashKey> {
        let service = self.service(input)?;
        let merged = input.rules.of(service)?;
        let subset = input.rules.subset(service, &self.subset);
        let levels = [subset.and_then(|subset| subset.traffic_policy.as_ref()), merged.policy];
        levels.into_iter().flatten().find_map(|policy| {
            let of_port = policy.port_level_settings.iter().find(|entry| entry.port.value == self.port);
            let of_port = of_port.filter(|_| names_port).map(|entry| &entry.settings);
            of_port.into_iter().chain([&policy.settings]).find_map(|settings| {
                match settings.load_balancer.as_ref()?.balancing.as_ref()? {
                    Balancing::ConsistentHash(hash) => hash.key.clone(),
                    Balancing::Simple(_) => None,
                }
            })
        })
    }

    /// What is dialled, where that is the host of each request.
    pub(super) fn dial(&self, input: &Input<'_>) -> Option<Dial> {
        let service = self.service?;
        let port = clusters::dialled_port(input, service, self.port, &self.subset)?;
        Some(Dial { host: Some(service.host.to_owned()), port })
    }

    /// Why there is no cluster for `destination`, and a way out.
    fn missing(&self, input: &Input<'_>, destination: &Destination, purpose: Purpose<'_>) -> Diagnostic {
        let what_follows = match purpose {
            Purpose::Route(_) => "requests get 503",
            Purpose::Mirror => "no copies are sent",
            Purpose::Connection(_) => "connections are closed",
        };
        let Self { host, port, subset, .. } = self;
        let error = |message: String| {
            Diagnostic::error("unknown-destination", format!("{message}; {what_follows}")).rule("CL-09")
        };
        if let Some(alias) = self.unlisted {
            return error(format!("`{host}` is an `ExternalName` service without the listener's port"))
                .also("the service stands at", alias.meta.name.span)
                .rule("KS-04")
                .help("list the port in the service, or name the host that it stands for as destination");
        }
        let Some(service) = self.service else {
            let problem = error(format!("no service has the host `{host}`"));
            if let Purpose::Route(from) | Purpose::Connection(from) = purpose
                && input.options.gateway.is_none()
                && !input.options.collapse_egress_gateway
                && collapse::may_be_gateway(from, input.virtual_services, destination)
            {
                return problem.rule("GW-21").help(format!(
                    "if it is an egress gateway, do what the rules for it say right here with `{}`, or add its Service",
                    collapse::OPTION
                ));
            }
            return problem.help(
                "add a ServiceEntry for the host, or take it as it is with `--accept unknown-destination`",
            );
        };
        let Some(definition) = service.ports.get(port) else {
            let offered: Vec<String> = service.ports.keys().map(u16::to_string).collect();
            let message = match destination.port {
                Some(_) => format!("`{host}` has no port {port}"),
                None => format!(
                    "without a port the destination takes the listener's, which `{host}` doesn't have"
                ),
            };
            return error(message).rule("CL-06").help(format!(
                "set `port.number` to one of {}, or take it as it is with `--accept unknown-destination`",
                offered.join(", ")
            ));
        };
        let has_whole = clusters::exists(input, service, *port, "");
        if let Some(written) = destination.subset.as_ref().filter(|_| has_whole) {
            return match input.rules.subset(service, subset) {
                _ if service.resolution() == Resolution::DynamicDns => {
                    error(format!("`{host}` is resolved for each request, and has no subsets"))
                        .rule("SE-R-07")
                        .help("leave `subset` out")
                }
                None => error(format!("no DestinationRule gives `{host}` a subset `{subset}`"))
                    .also("the subset is named at", written.span)
                    .help("add it under `subsets`, or leave `subset` out"),
                Some(definition) => error(format!(
                    "no endpoint of `{host}` has the labels of subset `{subset}`"
                ))
                .also("the subset stands at", definition.name.span)
                .rule("DR-10")
                .help("give `endpoints` these labels; names that are resolved without `endpoints` have none"),
            };
        }
        let place = definition.span;
        let why = match definition.protocol.class() {
            ProtocolClass::Udp => format!("port {port} of `{host}` is UDP, which has no cluster"),
            _ if service.without_cluster.contains(port) => {
                format!("port {port} of `{host}` is of a ServiceEntry that doesn't count")
            }
            _ => format!("`{host}` has no endpoints"),
        };
        error(why)
            .also("the port stands at", place)
            .help("lead to a port that has HTTP, or take it as it is with `--accept unknown-destination`")
    }
}

/// What a destination is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose<'p> {
    /// Requests go there, as this one says.
    Route(&'p VirtualService),
    /// Copies of requests go there.
    Mirror,
    /// Connections go there, whatever they carry, as this one says.
    Connection(&'p VirtualService),
}

/// Reports a destination of the resource `meta` that has no cluster on any listener, or that
/// expects TLS and wouldn't get it.
pub(super) fn check(
    input: &Input<'_>,
    meta: &Meta,
    destination: &Destination,
    purpose: Purpose<'_>,
    field: &str,
    diagnostics: &mut Diagnostics,
) {
    let about =
        |diagnostic: Diagnostic| diagnostic.resource(meta.title()).at(destination.host.span).field(field);
    let ports = input.ports().into_iter();
    let target = match purpose {
        Purpose::Connection(_) => Target::of_connection,
        Purpose::Route(_) | Purpose::Mirror => Target::new,
    };
    let mut targets = ports.map(|port| target(input, destination, &meta.namespace, port));
    let mut first = None;
    let found = targets.find_map(|target| match target.service(input) {
        Some(service) => Some((target, service)),
        None => {
            first.get_or_insert(target);
            None
        }
    });
    let Some((target, service)) = found else {
        diagnostics.extend(first.map(|first| about(first.missing(input, destination, purpose))));
        return;
    };
    let Target { host, port, .. } = &target;
    if purpose == Purpose::Mirror && target.dial(input).is_some() {
        // The copy would be dialled by what the request has for a host.
        diagnostics.push(
            about(Diagnostic::error(
                "host-of-request-not-dialled",
                format!("a copy of a request can't be sent to names below `{host}`; no copies are sent"),
            ))
            .rule("SE-R-07")
            .help("list the host that gets copies in a ServiceEntry of its own"),
        );
    }
    if matches!(purpose, Purpose::Connection(_)) {
        return;
    }
    let is_tls = service.ports.get(port).is_some_and(|port| port.protocol.class() == ProtocolClass::Tls);
    if is_tls && upstream_tls(input, service, *port, &target.subset).is_none() {
        let message = format!("plaintext HTTP would go to port {port} of `{host}`, which expects TLS");
        let diagnostic = match input.options.profile {
            Profile::Standalone => Diagnostic::error("plaintext-to-tls-port", message),
            Profile::Istio => Diagnostic::warning("plaintext-to-tls-port", message),
        };
        diagnostics.push(
            about(diagnostic)
                .rule("EX-A-07")
                .help(format!("add a DestinationRule for `{host}` with `trafficPolicy.tls.mode: SIMPLE`, or send plaintext with \
             `--accept plaintext-to-tls-port`")),
        );
    }
}
