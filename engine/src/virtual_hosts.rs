//! The virtual hosts: which one a host name belongs to, and its routes.

use crate::config::{self, Config, ConfigError, Mode, Refuse};
use crate::decision::Decision;
use crate::domains::{Domains, InvalidDomain};
use crate::request::Request;
use crate::route::{Owner, RouteTable, dial};
use crate::trace::Trace;

/// All virtual hosts of a [`Config`], checked.
#[derive(Debug)]
pub(crate) struct VirtualHosts {
    hosts: Vec<VirtualHost>,
    /// The routes that several of them share.
    shared: Vec<RouteTable>,
    domains: Domains,
    mode: Mode,
}

#[derive(Debug)]
pub(crate) struct VirtualHost {
    pub(crate) name: String,
    /// The first one.
    domain: Box<str>,
    routes: Routes,
    pub(crate) refuse: Option<Refuse>,
    pub(crate) unregistered: bool,
}

#[derive(Debug)]
enum Routes {
    Own(Box<RouteTable>),
    /// Which of [`VirtualHosts::shared`], and what its route is called in the filter state.
    Shared(usize, Box<str>),
}

impl VirtualHosts {
    /// Takes the virtual hosts out of `config`.
    pub(crate) fn take(config: &mut Config) -> Result<Self, ConfigError> {
        let (own, shared) =
            (std::mem::take(&mut config.virtual_hosts), std::mem::take(&mut config.shared_routes));
        let names = shared.iter().flat_map(|shared| &shared.virtual_hosts).map(|(_, domains)| domains.len());
        let (more, names) = names.fold((0, 0), |(hosts, names), domains| (hosts + 1, names + domains));
        // In one piece: what a VM has had once, it keeps.
        let mut hosts = Self {
            hosts: Vec::with_capacity(own.len() + more),
            shared: Vec::with_capacity(shared.len()),
            domains: Domains::with_capacity(own.iter().map(|host| host.domains.len()).sum::<usize>() + names),
            mode: config.mode,
        };
        for (index, host) in own.into_iter().enumerate() {
            hosts.add(host, &format!("virtualHosts[{index}]"))?;
        }
        for (index, shared) in shared.into_iter().enumerate() {
            hosts.add_shared(shared, &format!("sharedRoutes[{index}]"))?;
        }
        Ok(hosts)
    }

    fn add(&mut self, host: config::VirtualHost, path: &str) -> Result<(), ConfigError> {
        let config::VirtualHost { name, domains, ports, routes, refuse, unregistered } = host;
        if refuse.is_some() && !routes.is_empty() {
            return Err(ConfigError::new(format!("{path}.refuse"), "a refused host can't have routes"));
        }
        let table = RouteTable::new(routes, &name, self.mode, path)?;
        let domain = self.insert(&name, &domains, &ports, &table, &format!("{path}.domains"))?;
        let routes = Routes::Own(Box::new(table));
        self.hosts.push(VirtualHost { name, domain, routes, refuse, unregistered });
        Ok(())
    }

    fn add_shared(&mut self, shared: config::SharedRoutes, path: &str) -> Result<(), ConfigError> {
        let table = RouteTable::new(shared.routes.clone(), "", self.mode, path)?;
        if !table.can_be_shared() || shared.refuse.is_some() {
            for (index, host) in shared.into_virtual_hosts().enumerate() {
                self.add(host, &format!("{path}.virtualHosts[{index}]"))?;
            }
            return Ok(());
        }
        let config::SharedRoutes { virtual_hosts, ports, routes, refuse, unregistered } = shared;
        let one = routes.first().map(|one| (one.route.route_profile.as_str(), one.name.as_str()));
        let (profile, route) = one.unwrap_or_default();
        for (index, (name, domains)) in virtual_hosts.into_iter().enumerate() {
            let path = format!("{path}.virtualHosts[{index}][1]");
            let domain = self.insert(&name, &domains, &ports, &table, &path)?;
            let state = format!("{profile} {name} {route}").into_boxed_str();
            let routes = Routes::Shared(self.shared.len(), state);
            self.hosts.push(VirtualHost { name, domain, routes, refuse, unregistered });
        }
        self.shared.push(table);
        Ok(())
    }

    /// Names the next virtual host by its domains, which stand at `path`; the first of them.
    fn insert(
        &mut self,
        name: &str,
        domains: &[String],
        ports: &[u16],
        table: &RouteTable,
        path: &str,
    ) -> Result<Box<str>, ConfigError> {
        let Some(first) = domains.first() else {
            return Err(ConfigError::new(path, "missing, at least one is needed"));
        };
        if table.dials_own_host() && !dial::can_be_dialled(first) {
            return Err(ConfigError::new(format!("{path}[0]"), dial::NOT_DIALABLE));
        }
        for (index, domain) in domains.iter().enumerate() {
            self.domains.insert(domain, ports, self.hosts.len()).map_err(|error| {
                let other = |id: usize| self.hosts.get(id).map_or(name, |other| &other.name);
                let message = match error {
                    InvalidDomain::Malformed => {
                        format!("`{domain}` must be a lower-case name, or `*` with or without a suffix")
                    }
                    InvalidDomain::Taken(id, Some(port)) => {
                        format!("`{domain}` belongs to `{}` on port {port}", other(id))
                    }
                    InvalidDomain::Taken(id, None) => format!("`{domain}` belongs to `{}`", other(id)),
                };
                ConfigError::new(format!("{path}[{index}]"), message)
            })?;
        }
        Ok(first.as_str().into())
    }

    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// The virtual host of `host` on `port`.
    pub(crate) fn find(&self, host: &[u8], port: u16) -> Option<&VirtualHost> {
        self.domains.find(host, port).and_then(|id| self.hosts.get(id))
    }

    /// Whether any port knows `host`.
    pub(crate) fn is_known(&self, host: &[u8]) -> bool {
        self.domains.is_known(host)
    }

    /// What the routes of `host` say; none where none of them matches (VH-11).
    pub(crate) fn decide<'t, T: Trace>(
        &'t self,
        host: &'t VirtualHost,
        request: &Request<'_>,
        trace: &mut T,
    ) -> Option<Decision<'t>> {
        let (table, state) = match &host.routes {
            Routes::Own(table) => (table.as_ref(), None),
            Routes::Shared(index, state) => (self.shared.get(*index)?, Some(state.as_ref())),
        };
        table.decide(Owner { domain: &host.domain, state }, request, trace)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, SharedRoutes};
    use crate::{Decision, Engine, NoTrace, Request};

    /// What becomes of a request to each of `hosts`.
    fn decisions(config: Config, hosts: &[&str]) -> Vec<String> {
        let engine = Engine::new(config).unwrap();
        let decide = |host: &&str| {
            let request =
                Request { method: b"GET", path: b"/x", authority: host.as_bytes(), ..Request::default() };
            match engine.decide(&request, &mut NoTrace) {
                Decision::Forward(forward) => {
                    format!("{:?} {} {:?}", forward.cluster, forward.route, forward.dial)
                }
                Decision::Respond(reply) => format!("{} {}", reply.status, reply.details),
                Decision::Pass => "pass".to_owned(),
            }
        };
        hosts.iter().map(decide).collect()
    }

    fn config(routes: &str) -> Config {
        let json = format!(
            r#"{{"version":1,"sharedRoutes":[{{"virtualHosts":[["A",["a","a."]],["B",["b"]],["W",["*.c"]]],{routes}}}]}}"#
        );
        Config::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn shared_routes_are_those_of_each() {
        for routes in [
            r#""routes":[{"name":"r","route":{"cluster":"c"}}]"#,
            r#""routes":[{"name":"r","route":{"cluster":"c","dial":{"port":443}}}]"#,
            r#""routes":[{"name":"r","match":{"path":{"prefix":"/x"}},"route":{"cluster":"c","routeProfile":"p","rewrite":{"path":"/y"}}},
                {"name":"s","route":{"cluster":"d"}}]"#,
            r#""routes":[{"name":"r","route":{"directResponse":{"status":204}}}]"#,
            r#""routes":[{"name":"r","route":{"cluster":"c","fault":{"abort":{"status":503,"perMillion":1000000}}}}]"#,
            r#""refuse":"onlyTlsPorts""#,
        ] {
            let shared = config(routes);
            let mut own = shared.clone();
            let taken = std::mem::take(&mut own.shared_routes);
            own.virtual_hosts = taken.into_iter().flat_map(SharedRoutes::into_virtual_hosts).collect();
            let hosts = ["a", "A.:80", "b", "x.c", "c", "d"];
            let decided = decisions(shared, &hosts);
            assert_eq!(decided, decisions(own, &hosts));
            assert!(decided[0] != decided[2] || routes.contains("refuse"), "{decided:?}");
        }
    }

    #[test]
    fn faults_of_shared_routes_are_named() {
        let dial = r#""routes":[{"name":"r","route":{"cluster":"c","dial":{"port":443}}}]"#;
        let error = |routes: &str, old: &str, new: &str| {
            let mut config = config(routes);
            for domain in config.shared_routes[0].virtual_hosts.iter_mut().flat_map(|(_, domains)| domains) {
                *domain = domain.replace(old, new);
            }
            Engine::new(config).unwrap_err().to_string()
        };
        assert!(
            error(dial, "*.c", "*").starts_with("sharedRoutes[0].virtualHosts[2][1][0]: must be a lower")
        );
        assert_eq!(error(dial, "b", "a"), "sharedRoutes[0].virtualHosts[1][1][0]: `a` belongs to `A`");
        assert!(
            error(&dial.replace("443", "0"), "-", "-")
                .starts_with("sharedRoutes[0].routes[0].route.dial.port")
        );
    }
}
