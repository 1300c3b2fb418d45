//! The virtual hosts: which one a host name belongs to, and its routes.

use crate::config::{self, Config, ConfigError, Mode, Refuse};
use crate::decision::Decision;
use crate::domains::{Domains, InvalidDomain, VirtualHostId};
use crate::listed_names::{ListedNames, Listings, Place};
use crate::listing::{Listed, domains_of};
use crate::pieces::Pieces;
use crate::request::Request;
use crate::route::{Owner, RouteTable, dial};
use crate::trace::Trace;

/// All virtual hosts of a [`Config`], checked.
#[derive(Debug)]
pub(crate) struct VirtualHosts {
    names: Names,
    /// Routes that several share; which, the listing of the same index says.
    shared: Vec<SharedRoutes>,
    listings: Listings,
    count: usize,
    mode: Mode,
}

/// Who has which name.
#[derive(Debug)]
struct Names {
    hosts: Vec<Host>,
    domains: Domains,
    /// Those of listed virtual hosts that are for all ports, as most are.
    listed: ListedNames,
}

/// A virtual host whose names are in [`Names::domains`].
#[derive(Debug)]
enum Host {
    Own(OwnHost),
    Listed(Place),
}

#[derive(Debug)]
struct OwnHost {
    name: String,
    /// The first one.
    domain: Box<str>,
    routes: RouteTable,
    refuse: Option<Refuse>,
    unregistered: bool,
}

#[derive(Debug)]
struct SharedRoutes {
    table: RouteTable,
    /// Route profile and name of the one route in it.
    profile: String,
    route: String,
    unregistered: bool,
}

/// One virtual host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VirtualHost<'t> {
    pub(crate) name: Pieces<'t>,
    /// The first one.
    domain: Pieces<'t>,
    routes: Routes<'t>,
    pub(crate) refuse: Option<Refuse>,
    pub(crate) unregistered: bool,
}

#[derive(Debug, Clone, Copy)]
enum Routes<'t> {
    Own(&'t RouteTable),
    Shared(&'t SharedRoutes),
}

impl VirtualHosts {
    /// Takes the virtual hosts out of `config`.
    #[inline(never)]
    pub(crate) fn take(config: &mut Config) -> Result<Self, ConfigError> {
        let (own, shared) =
            (std::mem::take(&mut config.virtual_hosts), std::mem::take(&mut config.shared_routes));
        let listed = shared.iter().filter(|shared| shared.ports.is_empty());
        let listed: usize = listed.map(|shared| shared.virtual_hosts.domain_count()).sum();
        // In one piece: what a VM has had once, it keeps.
        let names = Names {
            hosts: Vec::with_capacity(own.len()),
            domains: Domains::with_capacity(own.iter().map(|host| host.domains.len()).sum()),
            listed: ListedNames::with_capacity(listed),
        };
        let mut hosts = Self {
            names,
            shared: Vec::with_capacity(shared.len()),
            listings: Listings::with_capacity(shared.len()),
            count: 0,
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
        let routes = RouteTable::new(routes, &name, self.mode, path)?;
        let Some(first) = domains.first() else {
            return Err(ConfigError::new(format!("{path}.domains"), "missing, at least one is needed"));
        };
        if routes.dials_own_host() && !dial::can_be_dialled(first) {
            return Err(ConfigError::new(format!("{path}.domains[0]"), dial::NOT_DIALABLE));
        }
        self.count += 1;
        let domain = first.as_str().into();
        self.names.hosts.push(Host::Own(OwnHost { name, domain, routes, refuse, unregistered }));
        for (index, domain) in domains.iter().enumerate() {
            self.names
                .insert(domain, &ports, &self.listings)
                .map_err(|fault| ConfigError::new(format!("{path}.domains[{index}]"), fault))?;
        }
        Ok(())
    }

    #[inline(never)]
    fn add_shared(&mut self, shared: config::SharedRoutes, path: &str) -> Result<(), ConfigError> {
        let table = RouteTable::new(shared.routes.clone(), "", self.mode, path)?;
        if !table.can_be_shared() || shared.refuse.is_some() {
            for (index, host) in shared.virtual_hosts().enumerate() {
                self.add(host, &format!("{path}.virtualHosts[{index}]"))?;
            }
            return Ok(());
        }
        let config::SharedRoutes { name_prefix, virtual_hosts, ports, routes, unregistered, .. } = shared;
        // Names are compared with the text of their listing, so it is in its place first.
        let start = self.listings.push(virtual_hosts, name_prefix);
        let start = start.ok_or_else(|| ConfigError::new(path, "more than 4 GiB of virtual hosts"))?;
        for (index, host) in self.listings.iter(start).enumerate() {
            let listed = self.names.list(host, start, &ports, table.dials_own_host(), &self.listings);
            listed.map_err(|fault| ConfigError::new(format!("{path}.virtualHosts[{index}]"), fault))?;
            self.count += 1;
        }
        let one = routes.into_iter().next().map(|one| (one.route.route_profile, one.name));
        let (profile, route) = one.unwrap_or_default();
        self.shared.push(SharedRoutes { table, profile, route, unregistered });
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The virtual host of `host` on `port`.
    pub(crate) fn find(&self, host: &[u8], port: u16) -> Option<VirtualHost<'_>> {
        let Names { hosts, domains, listed } = &self.names;
        let place = match domains.find_exact(host, port).and_then(|id| hosts.get(id)) {
            Some(Host::Own(own)) => return Some(own.as_one()),
            Some(Host::Listed(place)) => *place,
            None => match listed.find(host, &self.listings) {
                Some(place) => place,
                None => match hosts.get(domains.find_wildcard(host, port)?)? {
                    Host::Own(own) => return Some(own.as_one()),
                    Host::Listed(place) => *place,
                },
            },
        };
        let (index, name, listed) = self.listings.listed(place)?;
        let shared = self.shared.get(index)?;
        Some(VirtualHost {
            name,
            domain: listed.domains().next()?,
            routes: Routes::Shared(shared),
            refuse: None,
            unregistered: shared.unregistered,
        })
    }

    /// Whether any port knows `host`.
    pub(crate) fn is_known(&self, host: &[u8]) -> bool {
        let Names { domains, listed, .. } = &self.names;
        domains.is_known(host) || listed.find(host, &self.listings).is_some()
    }
}

impl Names {
    /// Names the last virtual host.
    fn insert(&mut self, domain: &str, ports: &[u16], listings: &Listings) -> Result<(), String> {
        let id = self.hosts.len().saturating_sub(1);
        let listed = ports.is_empty().then(|| self.listed.find(domain.as_bytes(), listings)).flatten();
        if let Some(other) = listed {
            return Err(format!("`{domain}` belongs to `{}`", name_of(other, listings)));
        }
        self.domains.insert(domain, ports, id).map_err(|error| match error {
            InvalidDomain::Malformed => {
                format!("`{domain}` must be a lower-case name, or `*` with or without a suffix")
            }
            InvalidDomain::Taken(id, Some(port)) => {
                format!("`{domain}` belongs to `{}` on port {port}", self.name(id, listings))
            }
            InvalidDomain::Taken(id, None) => format!("`{domain}` belongs to `{}`", self.name(id, listings)),
        })
    }

    /// Names a virtual host of the listing that begins at `start`; one whose first domain is dialled, if need be.
    fn list(
        &mut self,
        host: Listed<'_>,
        start: Place,
        ports: &[u16],
        mut is_dialled: bool,
        listings: &Listings,
    ) -> Result<(), String> {
        let mut is_host = false;
        for (offset, word) in host.words() {
            let place = start.plus(offset);
            let is_new = |domain: &str| self.domains.on_any_port(domain.as_bytes()).is_none();
            let text = word.text();
            let without_dot = text.strip_suffix('.').unwrap_or(&text);
            if std::mem::take(&mut is_dialled) && !dial::can_be_dialled(without_dot) {
                return Err(dial::NOT_DIALABLE.to_owned());
            }
            if ports.is_empty() && is_name(&text) && is_new(&text) && is_new(without_dot) {
                let added = self.listed.add(without_dot, place, listings);
                added
                    .map_err(|other| format!("`{without_dot}` belongs to `{}`", name_of(other, listings)))?;
                continue;
            }
            if !is_host {
                self.hosts.push(Host::Listed(place));
                is_host = true;
            }
            for domain in domains_of(word) {
                self.insert(&domain.text(), ports, listings)?;
            }
        }
        Ok(())
    }

    fn name<'n>(&'n self, id: VirtualHostId, listings: &'n Listings) -> Pieces<'n> {
        match self.hosts.get(id) {
            Some(Host::Own(own)) => own.name.as_str().into(),
            Some(Host::Listed(place)) => name_of(*place, listings),
            None => "".into(),
        }
    }
}

fn name_of(place: Place, listings: &Listings) -> Pieces<'_> {
    listings.listed(place).map_or("".into(), |(_, name, _)| name)
}

/// Whether it is lower-case, has no `*`, and at most the one dot at its end that an entry stands for.
fn is_name(domain: &str) -> bool {
    !domain.ends_with("..") && !domain.bytes().any(|byte| byte == b'*' || byte.is_ascii_uppercase())
}

impl OwnHost {
    fn as_one(&self) -> VirtualHost<'_> {
        let Self { name, domain, routes, refuse, unregistered } = self;
        let (refuse, unregistered) = (*refuse, *unregistered);
        VirtualHost {
            name: name.as_str().into(),
            domain: (&**domain).into(),
            routes: Routes::Own(routes),
            refuse,
            unregistered,
        }
    }
}

impl<'t> VirtualHost<'t> {
    /// What its routes say; none where none of them matches (VH-11).
    pub(crate) fn decide<T: Trace>(&self, request: &Request<'_>, trace: &mut T) -> Option<Decision<'t>> {
        let (table, state) = match self.routes {
            Routes::Own(table) => (table, None),
            Routes::Shared(SharedRoutes { table, profile, route, .. }) => {
                (table, Some(format!("{profile} {} {route}", self.name)))
            }
        };
        table.decide(Owner { domain: self.domain, state }, request, trace)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Listing, SharedRoutes};
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
            r#"{{"version":1,"sharedRoutes":[{{"virtualHosts":["A: a.","B: b","W: *.c"],{routes}}}]}}"#
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
            own.virtual_hosts = own.shared_routes.iter().flat_map(SharedRoutes::virtual_hosts).collect();
            own.shared_routes.clear();
            let mut packed = shared.clone();
            for group in &mut packed.shared_routes {
                let text = group.virtual_hosts.compressed().unwrap();
                group.virtual_hosts = serde_json::from_value(text.into()).unwrap();
            }
            let hosts = ["a", "A.:80", "b", "x.c", "c", "d"];
            let decided = decisions(shared, &hosts);
            assert_eq!(decided, decisions(packed, &hosts));
            assert_eq!(decided, decisions(own, &hosts));
            assert!(decided[0] != decided[2] || routes.contains("refuse"), "{decided:?}");
        }
    }

    #[test]
    fn names_of_a_port_come_before_those_of_all_and_wildcards_after() {
        let config = |more: &str| {
            let route =
                |cluster: &str| format!(r#""routes":[{{"name":"r","route":{{"cluster":"{cluster}"}}}}]"#);
            let json = format!(
                r#"{{"version":1,"virtualHosts":[
                    {{"name":"own","domains":["a.b"],"ports":[81],{}}},{{"name":"wild","domains":["*.b"],{}}}],
                  "sharedRoutes":[{{"virtualHosts":["all: a.b.","other: *.o x.b"],{}}},
                    {{"virtualHosts":["ported: a.b c.b"{more}],"ports":[80],{}}}]}}"#,
                route("own"),
                route("wild"),
                route("all"),
                route("ported")
            );
            Engine::new(Config::from_json(json.as_bytes()).unwrap())
        };
        let engine = config("").unwrap();
        assert_eq!(engine.virtual_host_count(), 5);
        let cluster = |authority: &str, listener_port: u16| {
            let authority = authority.as_bytes();
            let request =
                Request { method: b"GET", path: b"/", authority, listener_port, ..Request::default() };
            match engine.decide(&request, &mut NoTrace) {
                Decision::Forward(forward) => forward.cluster.unwrap_or_default().to_owned(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(cluster("a.b", 81), "own");
        assert_eq!(cluster("a.b", 80), "ported");
        for host in ["a.b", "a.b.", "x.b", "y.o"] {
            assert_eq!(cluster(host, 82), "all", "{host}");
        }
        assert_eq!(cluster("c.b", 80), "ported");
        assert_eq!(cluster("c.b", 82), "wild");
        assert_eq!(cluster("y.b", 80), "wild");
        assert!(cluster("o", 82).contains("status: 502"), "{}", cluster("o", 82));
        assert_eq!(
            config(r#","more: a.b""#).unwrap_err().to_string(),
            "sharedRoutes[1].virtualHosts[1]: `a.b` belongs to `ported` on port 80"
        );
    }

    #[test]
    fn one_dot_at_the_end_is_optional_and_no_more() {
        let routes = r#""routes":[{"name":"r","route":{"cluster":"c"}}]"#;
        let json = format!(
            r#"{{"version":1,"sharedRoutes":[{{"virtualHosts":["A: a..","B: b.","C: c"],{routes}}}]}}"#
        );
        let config = Config::from_json(json.as_bytes()).unwrap();
        let is_known = |host: &&str| decisions(config.clone(), &[host])[0].contains("Some(\"c\")");
        let hosts = ["a", "a.", "a..", "b", "b.", "b..", "c", "c.", "."];
        let known: Vec<&str> = hosts.into_iter().filter(is_known).collect();
        assert_eq!(known, ["a.", "a..", "b", "b.", "c"]);
    }

    #[test]
    fn faults_of_shared_routes_are_named() {
        let dial = r#""routes":[{"name":"r","route":{"cluster":"c","dial":{"port":443}}}]"#;
        let error = |routes: &str, old: &str, new: &str| {
            let mut config = config(routes);
            let mut listing = Listing::default();
            for listed in config.shared_routes[0].virtual_hosts.iter() {
                let domains: Vec<String> =
                    listed.domains().map(|domain| domain.text().replace(old, new)).collect();
                assert!(listing.push(&listed.name().text(), &domains));
            }
            config.shared_routes[0].virtual_hosts = listing;
            Engine::new(config).unwrap_err().to_string()
        };
        assert!(error(dial, "*.c", "*").starts_with("sharedRoutes[0].virtualHosts[2]: must be a lower"));
        assert_eq!(error(dial, "b", "a"), "sharedRoutes[0].virtualHosts[1]: `a` belongs to `A`");
        assert!(
            error(&dial.replace("443", "0"), "-", "-")
                .starts_with("sharedRoutes[0].routes[0].route.dial.port")
        );
    }
}
