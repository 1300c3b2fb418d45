//! The servers of all Gateways of a proxy, and which of them contradict each other (GW-01 to GW-05).

use std::collections::{BTreeMap, BTreeSet};

use crate::credential;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gateway::{full_name, served};
use crate::options::Options;
use crate::resource::gateway::{self, ServerTlsMode};
use crate::resource::service_entry::ProtocolClass;
use crate::resource::{Gateway, VirtualService};
use crate::source::Span;

/// A server of the proxy.
#[derive(Debug)]
pub(in crate::plan) struct Server<'a> {
    pub(in crate::plan) gateway: &'a Gateway,
    /// `namespace/name` of the Gateway.
    pub(in crate::plan) gateway_name: String,
    /// Its place in the Gateway.
    index: usize,
    pub(in crate::plan) resource: &'a gateway::Server,
    pub(in crate::plan) port: u16,
    pub(in crate::plan) kind: Kind,
}

/// What a server does with connections (GW-03).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Kind {
    /// Plaintext HTTP: all such servers of a port are one.
    Http,
    /// TLS ends here, with HTTP inside. The number stands for the port in its virtual hosts, which
    /// are its own (GW-17).
    Https(u16),
    /// TLS ends here, with anything inside.
    Tls,
    /// TLS is passed through by its server name.
    Passthrough,
    /// Bytes of any kind.
    Tcp,
}

impl Server<'_> {
    /// Such as `Gateway egress/gw servers[0]`.
    pub(in crate::plan) fn title(&self) -> String {
        format!("{} servers[{}]", self.gateway.meta.title(), self.index)
    }

    /// Its hosts with the namespace whose VirtualServices may have them; none: all (GW-05).
    pub(in crate::plan) fn hosts(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        self.resource.hosts.iter().map(|written| match written.split_once('/') {
            Some(("*", host)) => (None, host),
            Some((".", host)) => (Some(self.gateway.meta.namespace.as_str()), host),
            Some((namespace, host)) => (Some(namespace), host),
            None => (None, written.as_str()),
        })
    }

    /// The names that clients send; of namespaces they know nothing (GW-05).
    pub(in crate::plan) fn server_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.hosts().map(|(_, host)| host.to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The hosts that `service` can have here, for every pair the narrower one (GW-05, GW-07).
    pub(in crate::plan) fn hosts_of(&self, service: &VirtualService) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for host in &service.hosts {
            let host = crate::names::expand(host, &service.meta.namespace);
            for (namespace, own) in self.hosts() {
                if namespace.is_some_and(|namespace| namespace != service.meta.namespace) {
                    continue;
                }
                let narrower = if crate::names::covers(own, &host) {
                    host.as_str()
                } else if crate::names::covers(&host, own) {
                    own
                } else {
                    continue;
                };
                if !found.iter().any(|known| known == narrower) {
                    found.push(narrower.to_owned());
                }
            }
        }
        found
    }

    fn has_tls(&self) -> bool {
        matches!(self.kind, Kind::Https(_) | Kind::Tls | Kind::Passthrough)
    }
}

/// All servers of the proxy. Gateways that it doesn't serve, and servers that can't be generated
/// or contradict others, are reported.
pub(in crate::plan) fn servers<'a>(
    gateways: &'a [Gateway],
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Vec<Server<'a>> {
    let served = served(gateways, options);
    report_unserved(gateways, &served, options, diagnostics);
    let mut servers = Vec::new();
    for gateway in served {
        for (index, resource) in gateway.servers.iter().enumerate() {
            let about = |diagnostic: Diagnostic| {
                diagnostic.resource(gateway.meta.title()).field(format!("spec.servers[{index}]"))
            };
            let mut problems = Diagnostics::new();
            let kind = kind(resource, options, &mut problems);
            diagnostics.extend(problems.into_iter().map(about));
            servers.extend(kind.map(|kind| Server {
                gateway,
                gateway_name: full_name(gateway),
                index,
                resource,
                port: resource.port.value,
                kind,
            }));
        }
    }
    conflicts(&servers, diagnostics);
    number(&mut servers);
    servers
}

/// What a server does; why it can't be generated is reported here, or was with the resource.
fn kind(server: &gateway::Server, options: &Options, problems: &mut Diagnostics) -> Option<Kind> {
    let mut refused = |message: &str, span: Span, rule, help: &str| {
        problems.push(Diagnostic::error("gateway-not-supported", message).at(span).rule(rule).help(help));
        None
    };
    let protocol = server.protocol?;
    match (protocol.class(), &server.tls) {
        (ProtocolClass::Http, _) => Some(Kind::Http),
        (ProtocolClass::Tcp, _) => Some(Kind::Tcp),
        (ProtocolClass::Udp | ProtocolClass::Sniffed, _) => {
            refused("gateways don't serve UDP", server.protocol_text.span, "GW-03", "take the server out")
        }
        (ProtocolClass::Tls, None) => None,
        (ProtocolClass::Tls, Some(tls)) => match tls.mode.value {
            ServerTlsMode::Passthrough => Some(Kind::Passthrough),
            ServerTlsMode::AutoPassthrough => refused(
                "AUTO_PASSTHROUGH joins networks of a mesh, and there is none here",
                tls.mode.span,
                "GW-20",
                "take the server out, or route with PASSTHROUGH",
            ),
            ServerTlsMode::IstioMutual if options.credential(credential::MESH).is_none() => refused(
                "ISTIO_MUTUAL takes the mesh's certificates, and there are none here",
                tls.mode.span,
                "GAP-25",
                "name files with `--credential ISTIO_MUTUAL=DIR`, or use MUTUAL with files of your own",
            ),
            _ => {
                let identity = |name: &str| options.credential(name)?.identity.as_ref();
                if let (Some(name), None) = (&tls.credential_name, &tls.server_certificate)
                    && identity(name).is_none()
                {
                    let help = format!("name its files with `--credential {}=DIR`", name.value);
                    return refused("secrets of Kubernetes can't be read here", name.span, "GW-16", &help);
                }
                // The number is found once all servers are known.
                Some(if protocol == crate::resource::service_entry::Protocol::Https {
                    Kind::Https(server.port.value)
                } else {
                    Kind::Tls
                })
            }
        },
    }
}

/// A Gateway that isn't in the input, or that the proxy doesn't serve.
fn report_unserved(
    gateways: &[Gateway],
    served: &[&Gateway],
    options: &Options,
    diagnostics: &mut Diagnostics,
) {
    let names = |list: &[&Gateway]| {
        list.iter().map(|gateway| format!("`{}`", full_name(gateway))).collect::<Vec<_>>().join(", ")
    };
    if let Some(wanted) = &options.gateway {
        let all: Vec<&Gateway> = gateways.iter().collect();
        if !all.iter().any(|gateway| full_name(gateway) == wanted.to_string()) {
            let help = match names(&all) {
                found if found.is_empty() => "add it to the input".to_owned(),
                found => format!("the input has {found}"),
            };
            diagnostics.push(
                Diagnostic::error("unknown-gateway", format!("there is no Gateway `{wanted}`"))
                    .rule("GW-01")
                    .help(help),
            );
        } else if !served.iter().any(|gateway| full_name(gateway) == wanted.to_string()) {
            diagnostics.push(
                Diagnostic::error(
                    "unknown-gateway",
                    format!("the labels of `--client-labels` are not those that `{wanted}` selects"),
                )
                .rule("GW-01")
                .help("leave the option out: a gateway has the labels of its `selector`"),
            );
        }
    }
    for gateway in gateways.iter().filter(|one| !served.iter().any(|other| std::ptr::eq(*one, *other))) {
        let message = match &options.gateway {
            None => "it is for a gateway, and a client of the mesh is generated for".to_owned(),
            Some(wanted) => format!("its `selector` selects other proxies than `{wanted}` does"),
        };
        diagnostics.push(
            Diagnostic::note("gateway-unused", message)
                .resource(gateway.meta.title())
                .at(gateway.meta.name.span)
                .field("metadata.name")
                .rule("GW-01")
                .help(format!("generate for it with `--gateway {}`", full_name(gateway))),
        );
    }
}

/// GW-04.
fn conflicts(servers: &[Server<'_>], diagnostics: &mut Diagnostics) {
    let mut first: BTreeMap<u16, &Server<'_>> = BTreeMap::new();
    let mut names: BTreeMap<(u16, String), &Server<'_>> = BTreeMap::new();
    for server in servers {
        let mut conflict = |message: String, other: &Server<'_>| {
            diagnostics.push(
                Diagnostic::error("conflicting-servers", message)
                    .resource(server.gateway.meta.title())
                    .at(server.resource.span)
                    .field(format!("spec.servers[{}]", server.index))
                    .also(format!("`{}` stands at", other.title()), other.resource.span)
                    .rule("GW-04")
                    .help("give one of them another port"),
            );
        };
        let other = first.entry(server.port).or_insert(server);
        let fits = other.has_tls() == server.has_tls()
            && (server.has_tls() || (other.kind == Kind::Http && server.kind == Kind::Http));
        if !std::ptr::eq(*other, server) && !fits {
            conflict(
                format!("port {} can't be both {} and {}", server.port, spoken(other), spoken(server)),
                other,
            );
        } else if server.has_tls() {
            for name in server.server_names() {
                match names.get(&(server.port, name.clone())) {
                    Some(other) => {
                        conflict(format!("port {} has TLS for `{name}` already", server.port), other);
                        break;
                    }
                    None => drop(names.insert((server.port, name), server)),
                }
            }
        }
    }
}

fn spoken(server: &Server<'_>) -> &'static str {
    match server.kind {
        Kind::Http => "plaintext HTTP",
        Kind::Tcp => "plain TCP",
        Kind::Https(_) | Kind::Tls | Kind::Passthrough => "TLS",
    }
}

/// Servers with virtual hosts of their own that share a port get numbers that no server has.
fn number(servers: &mut [Server<'_>]) {
    let ports: BTreeSet<u16> = servers.iter().map(|server| server.port).collect();
    let mut count: BTreeMap<u16, usize> = BTreeMap::new();
    for server in servers.iter().filter(|server| matches!(server.kind, Kind::Https(_))) {
        *count.entry(server.port).or_default() += 1;
    }
    let mut free = (1..=u16::MAX).rev().filter(|number| !ports.contains(number));
    for server in servers {
        if let Kind::Https(number) = &mut server.kind
            && count.get(&server.port).is_some_and(|count| *count > 1)
            && let Some(other) = free.next()
        {
            *number = other;
        }
    }
}
