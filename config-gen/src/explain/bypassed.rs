//! Resources that name a host and yet don't serve it: what their author wonders about.

use super::{Explanation, Found, Named};
use crate::diagnostic::Diagnostics;
use crate::names::{covers, expand, short_forms};
use crate::options::{Options, Profile};
use crate::resource::virtual_service::{HttpMatch, HttpRoute};
use crate::resource::{Meta, Resources, ServiceEntry, VirtualService};

/// A resource that names the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bypassed {
    /// The resource.
    pub resource: Named,
    /// Why it doesn't serve the host here, as a clause.
    pub why: String,
}

/// Findings that say that a resource has no effect.
const WITHOUT_EFFECT: [&str; 4] = ["gateway-only", "not-exported", "not-imported", "host-already-routed"];

impl Explanation {
    /// Adds what names the host, where no virtual host has it on listener port `port`. `found` are the findings of the
    /// plan.
    pub(crate) fn add_bypassed(
        &mut self,
        port: u16,
        resources: &Resources<'_>,
        found: &Diagnostics,
        options: &Options,
    ) {
        if !matches!(self.virtual_host, Found::Nothing { .. }) {
            return;
        }
        let host = self.host.strip_suffix('.').unwrap_or(&self.host).to_owned();
        let mut add = |meta: &Meta, otherwise: String| {
            let title = meta.title();
            let without_effect = found.iter().find(|finding| {
                WITHOUT_EFFECT.contains(&finding.code) && finding.resource.as_deref() == Some(title.as_str())
            });
            self.bypassed.push(Bypassed {
                resource: Named { name: title, span: Some(meta.name.span) },
                why: without_effect.map_or(otherwise, |finding| finding.message.clone()),
            });
        };
        let names = |pattern: &str, namespace: &str| names(pattern, namespace, &host, options);
        for service in resources.virtual_services {
            let mut hosts = service.hosts.iter().map(|host| host.value.as_str());
            if let Some(pattern) = hosts.find(|host| names(host, &service.meta.namespace)) {
                add(&service.meta, why_unrouted(service, pattern, port, options));
            }
        }
        for entry in resources.service_entries {
            if entry.hosts.iter().any(|pattern| names(&pattern.value, &entry.meta.namespace)) {
                add(&entry.meta, why_unserved(entry));
            }
        }
    }
}

/// Whether a resource of `namespace` means `host` by `pattern`.
fn names(pattern: &str, namespace: &str, host: &str, options: &Options) -> bool {
    let full = expand(pattern, namespace);
    covers(pattern, host)
        || covers(&full, host)
        || short_forms(&full, &options.client_namespace).iter().any(|form| form == host)
}

fn why_unrouted(service: &VirtualService, pattern: &str, port: u16, options: &Options) -> String {
    if service.http.is_empty() {
        return "it has no HTTP route".to_owned();
    }
    let namespace = &service.meta.namespace;
    let full = expand(pattern, namespace);
    if full != pattern && *namespace != options.client_namespace {
        return format!(
            "its `{pattern}` is `{full}`, and the client is of namespace `{}` (see `--client-namespace`)",
            options.client_namespace
        );
    }
    let elsewhere = |entry: &HttpMatch| entry.port.as_ref().is_some_and(|wanted| wanted.value != port);
    let is_elsewhere = |http: &HttpRoute| !http.matches.is_empty() && http.matches.iter().all(elsewhere);
    if service.http.iter().all(is_elsewhere) {
        return "its routes are for other ports".to_owned();
    }
    match options.profile {
        Profile::Standalone if pattern.starts_with('*') => {
            "no ServiceEntry has such a host (`--allow-unregistered-wildcards` serves it all the same)".to_owned()
        }
        Profile::Standalone => "none of its routes is for this port and client".to_owned(),
        Profile::Istio => {
            "no ServiceEntry has the host here, and Istio serves such a VirtualService by its full name only, on \
             port 80"
                .to_owned()
        }
    }
}

fn why_unserved(entry: &ServiceEntry) -> String {
    let port = |port: &crate::resource::service_entry::Port| {
        format!("{} ({})", port.number.value, port.protocol.value)
    };
    let ports: Vec<String> = entry.ports.iter().map(port).collect();
    match ports.is_empty() {
        true => "it has no port".to_owned(),
        false => format!("it has no HTTP on this port, only {}", ports.join(", ")),
    }
}
