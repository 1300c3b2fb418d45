//! Where the input says what a plan has.

use std::collections::HashMap;

use crate::plan::Input;
use crate::plan::{connections, routes};
use crate::source::Span;

/// Places by the names that virtual hosts and routes have in the plugin config. A table beside the
/// config, which has no places.
#[derive(Debug, Clone, Default)]
pub struct Places {
    resources: HashMap<String, Span>,
    routes: HashMap<(String, String), RoutePlace>,
    services: HashMap<String, String>,
}

#[derive(Debug, Clone)]
struct RoutePlace {
    span: Span,
    delegate: Option<String>,
}

impl Places {
    /// The resource that a virtual host or an SNI route is named after, such as
    /// `VirtualService default/webserver`.
    pub fn resource(&self, name: &str) -> Option<Span> {
        self.resources.get(name).copied()
    }

    /// The entry of `http` that a route of a virtual host stems from, or of its `match` where that
    /// has several; none for the route that a host without VirtualService has.
    pub fn route(&self, virtual_host: &str, route: &str) -> Option<Span> {
        self.get(virtual_host, route).map(|place| place.span)
    }

    /// The VirtualService that a route stems from where it is not the one that its virtual host is
    /// named after (VS-DEL-04).
    pub fn delegate(&self, virtual_host: &str, route: &str) -> Option<&str> {
        self.get(virtual_host, route)?.delegate.as_deref()
    }

    fn get(&self, virtual_host: &str, route: &str) -> Option<&RoutePlace> {
        let key = |host: &str, route: &str| self.routes.get(&(host.to_owned(), route.to_owned()));
        key(virtual_host, route).or_else(|| {
            // `VirtualService default/a http[0]`, in a virtual host of a gateway (GW-09).
            let (kind, rest) = route.split_once(' ')?;
            let (name, route) = rest.split_once(' ')?;
            key(&format!("{kind} {name}"), route)
        })
    }

    /// The resource that registers the host of the cluster `name`, such as
    /// `ServiceEntry default/files`.
    pub fn service_of_cluster(&self, name: &str) -> Option<&str> {
        // `outbound|80||files.example.com` (CL-01).
        self.services.get(name.rsplit('|').next()?).map(String::as_str)
    }

    pub(super) fn of(input: &Input<'_>) -> Self {
        let mut places = Self::default();
        for service in input.registry.services() {
            places.resources.insert(service.meta().title(), service.meta().name.span);
            places.services.insert(service.host.to_owned(), service.meta().title());
        }
        for server in input.servers {
            places.resources.insert(server.gateway.meta.title(), server.gateway.meta.name.span);
        }
        for service in input.virtual_services {
            let title = service.meta.title();
            places.resources.insert(title.clone(), service.meta.name.span);
            for http in &service.http {
                let several = http.matches.len() > 1;
                let entries = http.matches.iter().enumerate().map(|(at, entry)| {
                    let span = if several { entry.span } else { http.span };
                    (routes::name(http, Some((at, entry))), span)
                });
                for (route, span) in entries.chain([(routes::name(http, None), http.span)]) {
                    // Of two routes with one name it is the first.
                    let delegate = http.origin.as_ref().map(|origin| origin.delegate.clone());
                    places.routes.entry((title.clone(), route)).or_insert(RoutePlace { span, delegate });
                }
            }
            for rule in service.tls.iter().chain(&service.tcp) {
                let several = rule.matches.len() > 1;
                let entries = rule.matches.iter().enumerate().map(|(at, entry)| {
                    let span = if several { entry.span } else { rule.span };
                    (connections::name(rule, Some((at, entry))), span)
                });
                for (route, span) in entries.chain([(connections::name(rule, None), rule.span)]) {
                    places
                        .routes
                        .entry((title.clone(), route))
                        .or_insert(RoutePlace { span, delegate: None });
                }
            }
        }
        places
    }
}
