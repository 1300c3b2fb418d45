//! ServiceEntries that take or open more than their author may think.

use super::Context;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::options::Profile;
use crate::resource::ServiceEntry;
use crate::resource::service_entry::{Protocol, Resolution};

pub(super) fn check(context: &Context<'_>, out: &mut Diagnostics) {
    for entry in context.resources.service_entries {
        without_address(entry, out);
        wildcards(entry, context.options.profile, out);
    }
}

/// VAL-SE-11: nothing but the port tells such a service.
fn without_address(entry: &ServiceEntry, out: &mut Diagnostics) {
    if !entry.addresses.is_empty() {
        return;
    }
    for port in &entry.ports {
        let (what, help) = match port.protocol.value {
            Protocol::Tcp => {
                ("TCP", "add `addresses`; or write `protocol: TLS` or `HTTP`, if clients speak that")
            }
            Protocol::Unspecified => {
                ("a port without protocol", "write `protocol`, as `HTTP` or `TLS`; or add `addresses`")
            }
            _ => continue,
        };
        out.push(
            Diagnostic::warning(
                "tcp-without-address",
                format!(
                    "{what} has no name: without `addresses` every connection to port {} that no other service claims \
                     is for this one",
                    port.number.value
                ),
            )
            .resource(entry.meta.title())
            .at(port.span)
            .rule("VAL-SE-11")
            .help(help),
        );
    }
}

fn wildcards(entry: &ServiceEntry, profile: Profile, out: &mut Diagnostics) {
    for host in entry.hosts.iter().filter(|host| host.starts_with('*')) {
        let about = |diagnostic: Diagnostic| diagnostic.resource(entry.meta.title()).at(host.span);
        if let Some(who) = registrants(host.trim_start_matches('*').trim_start_matches('.')) {
            out.push(
                about(Diagnostic::warning(
                    "public-wildcard",
                    format!("`{}` opens names that {who}", host.value),
                ))
                .rule("SE-01")
                .help("list the hosts that are needed, one by one"),
            );
        }
        // Elsewhere the name is looked up (GAP-02).
        if profile == Profile::Istio && entry.resolution() == Resolution::None && entry.addresses.is_empty() {
            out.push(
                about(Diagnostic::note(
                    "wildcard-trusts-client",
                    format!(
                        "a client that names a host below `{}` reaches whatever address it dialled, since \
                         `resolution` is `NONE`",
                        host.value
                    ),
                ))
                .rule("SE-R-01")
                .help(
                    "list the hosts with `resolution: DNS`, so that the proxy finds their addresses itself",
                ),
            );
        }
    }
}

/// Second-level labels under which names are sold, below a country's domain.
const SOLD_BELOW_COUNTRIES: [&str; 9] = ["ac", "co", "com", "edu", "gov", "net", "ne", "or", "org"];

/// Domains of services that give names below them to their customers. Not all of them: the
/// well-known ones.
const OF_CUSTOMERS: [&str; 30] = [
    "amazonaws.com",
    "appspot.com",
    "azureedge.net",
    "azurefd.net",
    "azurewebsites.net",
    "blob.core.windows.net",
    "blogspot.com",
    "cloudapp.azure.com",
    "cloudflarestorage.com",
    "cloudfront.net",
    "cloudfunctions.net",
    "core.windows.net",
    "digitaloceanspaces.com",
    "fastly.net",
    "firebaseapp.com",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "googleapis.com",
    "herokuapp.com",
    "netlify.app",
    "ngrok.io",
    "onrender.com",
    "pages.dev",
    "r2.dev",
    "run.app",
    "vercel.app",
    "web.app",
    "windows.net",
    "workers.dev",
];

/// Who can have a name right below `domain`, if that is more than its owner.
fn registrants(domain: &str) -> Option<&'static str> {
    let labels: Vec<&str> = domain.split('.').collect();
    match labels.as_slice() {
        // Inside a cluster or a company such a domain is one's own.
        ["local" | "internal" | "svc" | "corp" | "lan" | "home" | "test" | "localhost" | ""] => None,
        [_] => Some("anybody can register"),
        [second, country] if country.len() == 2 && SOLD_BELOW_COUNTRIES.contains(second) => {
            Some("anybody can register")
        }
        _ if OF_CUSTOMERS.contains(&domain) => Some("any customer of that service can have"),
        _ => None,
    }
}
