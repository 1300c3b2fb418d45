//! Endpoints that are this Envoy itself (design, section 8): its admin interface would be open to whoever may
//! send requests, and a listener of its own would get them in circles.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::options::EnvoyOptions;
use crate::plan::endpoints::{Address, endpoints};
use crate::plan::{Input, clusters};
use crate::registry::Service;
use crate::source::Span;

/// Refuses endpoints that are written as such an address. What a name resolves to isn't known here.
pub(super) fn check(input: &Input<'_>, diagnostics: &mut Diagnostics) {
    let own = own_addresses(&input.options.envoy);
    for service in input.registry.services() {
        for &number in service.ports.keys().filter(|number| clusters::exists(input, service, **number, "")) {
            for endpoint in endpoints(input, service, number, "") {
                let Address::Socket(address, port) = &endpoint.address else { continue };
                let Some((what, _)) = own.iter().find(|(_, own)| is_same(*own, address, *port)) else {
                    continue;
                };
                diagnostics.push(
                    Diagnostic::error(
                        "dials-itself",
                        format!("`{address}:{port}` is {what}, which must not be reached by requests"),
                    )
                    .resource(service.meta().title())
                    .at(place(service, address))
                    .help(
                        "correct the address, or have Envoy listen elsewhere with `--admin` and `--listen`",
                    ),
                );
            }
        }
    }
}

/// Where Envoy listens, and what for. A port that the system picks is nobody's.
fn own_addresses(envoy: &EnvoyOptions) -> Vec<(String, SocketAddr)> {
    let admin = envoy.admin.map(|address| ("Envoy's own admin interface".to_owned(), address));
    let proxy = envoy.explicit_proxy.map(|address| ("Envoy's own proxy listener".to_owned(), address));
    let transparent = envoy.transparent.iter();
    let transparent = transparent.map(|address| ("Envoy's own transparent listener".to_owned(), *address));
    let listeners = envoy
        .listeners
        .iter()
        .map(|listen| (format!("Envoy's own listener for port {}", listen.port), listen.address));
    let all = admin.into_iter().chain(proxy).chain(transparent).chain(listeners);
    all.filter(|(_, address)| address.port() != 0).collect()
}

/// Whether a connection to `address` and `port` arrives at `own`.
fn is_same(own: SocketAddr, address: &str, port: u16) -> bool {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let written: Vec<IpAddr> = match address.parse::<IpAddr>() {
        // An address that stands for none in particular is dialled as the loopback one.
        Ok(ip) if ip.is_unspecified() => loopback.to_vec(),
        Ok(ip) => vec![ip.to_canonical()],
        Err(_) if address.eq_ignore_ascii_case("localhost") => loopback.to_vec(),
        Err(_) => return false,
    };
    let arrives =
        |ip: &IpAddr| own.ip().to_canonical() == *ip || (own.ip().is_unspecified() && ip.is_loopback());
    own.port() == port && written.iter().any(arrives)
}

/// Where the address is written, else the resource.
fn place(service: &Service<'_>, address: &str) -> Span {
    let entries = service.members.iter();
    let written = entries.flat_map(|entry| &entry.endpoints).filter_map(|endpoint| endpoint.address.as_ref());
    let found = written.into_iter().find(|written| written.value == address);
    found.map_or(service.meta().name.span, |written| written.span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_in_every_form() {
        for (own, address, port, same) in [
            ("127.0.0.1:9901", "127.0.0.1", 9901, true),
            ("127.0.0.1:9901", "127.0.0.1", 9902, false),
            ("127.0.0.1:9901", "127.0.0.2", 9901, false),
            ("127.0.0.1:9901", "localhost", 9901, true),
            ("127.0.0.1:9901", "0.0.0.0", 9901, true),
            ("127.0.0.1:9901", "::ffff:127.0.0.1", 9901, true),
            ("127.0.0.1:9901", "example.com", 9901, false),
            ("0.0.0.0:10080", "127.3.4.5", 10080, true),
            ("0.0.0.0:10080", "10.0.0.1", 10080, false),
            ("10.0.0.1:80", "10.0.0.1", 80, true),
            ("[::1]:80", "LOCALHOST", 80, true),
            ("[::]:80", "::1", 80, true),
        ] {
            assert_eq!(is_same(own.parse().unwrap(), address, port), same, "{own} {address}:{port}");
        }
    }
}
