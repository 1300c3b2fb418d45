//! Virtual hosts that differ in nothing but name and domains are written once: ten thousand plain
//! services are a megabyte, and a VM has their routes once.

use std::collections::HashMap;

use portolan_engine::config::{Config, SharedRoutes, VirtualHost};

/// `config` with the routes written once that several virtual hosts have. It means the same.
pub fn share_routes(config: Config) -> Config {
    let mut groups: Vec<SharedRoutes> = Vec::new();
    // By their text, since routes have neither an order nor a hash.
    let mut known: HashMap<String, usize> = HashMap::new();
    for host in config.virtual_hosts {
        let VirtualHost { name, domains, ports, routes, refuse, unregistered } = host;
        let routes_and_all = SharedRoutes { virtual_hosts: Vec::new(), ports, routes, refuse, unregistered };
        let at = *known.entry(format!("{routes_and_all:?}")).or_insert(groups.len());
        if at == groups.len() {
            groups.push(routes_and_all);
        }
        if let Some(group) = groups.get_mut(at) {
            group.virtual_hosts.push((name, domains));
        }
    }
    let (mut virtual_hosts, mut shared_routes) = (Vec::new(), config.shared_routes);
    for mut group in groups {
        match group.virtual_hosts.pop() {
            Some((name, domains)) if group.virtual_hosts.is_empty() => {
                let SharedRoutes { ports, routes, refuse, unregistered, .. } = group;
                virtual_hosts.push(VirtualHost { name, domains, ports, routes, refuse, unregistered });
            }
            last => {
                group.virtual_hosts.extend(last);
                shared_routes.push(group);
            }
        }
    }
    Config { virtual_hosts, shared_routes, ..config }
}
