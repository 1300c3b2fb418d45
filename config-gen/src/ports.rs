//! Which ports the resources speak of, for what looks at all that they do, whatever listeners there are.

use std::collections::BTreeSet;

use crate::options::{Listen, Options};
use crate::resource::Resources;

/// The ports that clients can mean: those that some service has or some rule names, and 80 and 443.
/// Those of a gateway are its servers' (GW-02).
pub fn of(resources: &Resources<'_>, options: &Options) -> BTreeSet<u16> {
    let servers = resources.gateways.iter().flat_map(|gateway| &gateway.servers);
    if options.gateway.is_some() {
        return servers.map(|server| server.port.value).collect();
    }
    let entries = resources.service_entries.iter().flat_map(|entry| &entry.ports);
    let services = resources.kubernetes_services.iter().flat_map(|service| &service.ports);
    let routes = || resources.virtual_services.iter();
    let http = routes().flat_map(|service| &service.http).flat_map(|http| &http.matches);
    let others = routes().flat_map(|service| service.tls.iter().chain(&service.tcp));
    let others = others.flat_map(|rule| &rule.matches);
    [80, 443]
        .into_iter()
        .chain(entries.map(|port| port.number.value))
        .chain(services.map(|port| port.number.value))
        .chain(http.filter_map(|entry| Some(entry.port.as_ref()?.value)))
        .chain(others.filter_map(|entry| Some(entry.port.as_ref()?.value)))
        .collect()
}

/// Gives `options` a listener for each of `ports` that has none.
pub fn listen(options: &mut Options, ports: impl IntoIterator<Item = u16>) {
    for port in ports {
        if options.envoy.listeners.iter().all(|listener| listener.port != port) {
            options.envoy.listeners.push(Listen { port, address: ([127, 0, 0, 1], 0).into() });
        }
    }
}
