//! Virtual hosts that differ in nothing but name and domains are written once: ten thousand plain
//! services are a megabyte, and a VM has their routes once.

use std::collections::HashMap;

use portolan_engine::config::{Config, Listing, SharedRoutes, VirtualHost};

/// `config` with the routes written once that several virtual hosts have. It means the same.
pub fn share_routes(config: Config) -> Config {
    let (mut virtual_hosts, mut shared_routes) = (Vec::new(), config.shared_routes);
    let mut groups: Vec<SharedRoutes> = Vec::new();
    // By their text, since routes have neither an order nor a hash.
    let mut known: HashMap<String, usize> = HashMap::new();
    for host in config.virtual_hosts {
        let mut listing = Listing::default();
        // Of `ServiceEntry default/a` what names the kind and the namespace.
        let (prefix, name) = host.name.split_at(host.name.rfind('/').map_or(0, |slash| slash + 1));
        let (name_prefix, name) = (prefix.to_owned(), name.to_owned());
        if !listing.push(&name, &host.domains) {
            virtual_hosts.push(host);
            continue;
        }
        let VirtualHost { name: _, domains, ports, routes, refuse, unregistered } = host;
        let virtual_hosts = Listing::default();
        let mut group = SharedRoutes { name_prefix, virtual_hosts, ports, routes, refuse, unregistered };
        let at = *known.entry(format!("{group:?}")).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(known) => {
                known.virtual_hosts.push(&name, &domains);
            }
            None => {
                group.virtual_hosts = listing;
                groups.push(group);
            }
        }
    }
    for group in groups {
        if group.virtual_hosts.iter().nth(1).is_some() {
            shared_routes.push(group);
        } else {
            virtual_hosts.extend(group.virtual_hosts());
        }
    }
    Config { virtual_hosts, shared_routes, ..config }
}
