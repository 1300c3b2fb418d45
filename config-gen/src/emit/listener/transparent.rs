//! The listener for connections that the kernel redirects: it knows what the client dialled.
//!
//! Filter chains are those of a listener for each port (LI-01, LI-04), told apart by the port of the
//! original destination. What no chain is for goes to the default one (LI-05): Envoy picks a chain
//! by port, then address, then server name and protocol, and doesn't go back.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use portolan_engine::ListenerPort;
use serde_json::{Value, json};

use super::access_log::access_log;
use super::http_connection_manager::{PLAINTEXT, http_connection_manager};
use super::{BUFFER_LIMIT, FIRST_BYTES, chains, extend_addresses, told_to_filter};
use crate::emit::{passes_original_destinations, type_url};
use crate::options::{Cidr, Options};
use crate::plan::{ConnectionRoute, Plan};

const NAME: &str = "transparent";

pub(super) fn listener(plan: &Plan, options: &Options) -> anyhow::Result<Value> {
    let own = own_addresses(options);
    let mut chains: Vec<Value> =
        own.iter().map(|(port, ranges)| chains::refused_at(*port, ranges, options)).collect();
    let mut inspected = Vec::new();
    let ports: BTreeSet<u16> =
        plan.redirected.iter().map(|route| route.port).chain(plan.http_ports.iter().copied()).collect();
    for port in ports {
        if own.contains(&(port, Vec::new())) {
            continue;
        }
        // An address of Envoy's own has its chain.
        let is_own = |range: &Cidr| own.contains(&(port, vec![*range]));
        let on_port = plan.redirected.iter().filter(|route| route.port == port);
        let routes: Vec<&ConnectionRoute> =
            on_port.filter(|route| !route.addresses.iter().any(is_own)).collect();
        let http = match plan.http_ports.contains(&port) {
            true => Some(json!([http_connection_manager(
                &format!("{NAME}_{port}"),
                ListenerPort::Destination,
                PLAINTEXT,
                plan,
                options
            )?])),
            false => None,
        };
        let rest = routes.iter().find(|route| route.takes_the_rest());
        let mut own_chains = chains::registered(&routes, http.as_ref(), Some(port), plan, options);
        if let (Some(http), None) = (&http, rest) {
            own_chains.push(chains::http(port, http));
        }
        if http.is_some() || routes.iter().any(|route| route.server_name.is_some() || route.beside_http) {
            inspected.push(port);
        }
        for chain in &mut own_chains {
            // Names are unique in a listener.
            chain["name"] = json!(format!("{port} {}", chain["name"].as_str().unwrap_or_default()));
        }
        chains.extend(own_chains);
    }
    let mut listener = json!({
        "name": NAME,
        "metadata": told_to_filter(ListenerPort::Destination),
        "per_connection_buffer_limit_bytes": BUFFER_LIMIT,
        "listener_filters": listener_filters(&inspected),
        // A server may be the one that speaks first.
        "listener_filters_timeout": FIRST_BYTES,
        "continue_on_listener_filters_timeout": true,
        "filter_chains": chains,
        "default_filter_chain": if passes_original_destinations(options) {
            chains::passed_chain(options)
        } else {
            chains::refused_chain(options)
        },
        "access_log": access_log(options, &json!({
            "start_time": "%START_TIME%",
            "listener": NAME,
            "reason": "no_filter_chain",
            "server_name": "%REQUESTED_SERVER_NAME%",
            "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%",
            "destination": "%DOWNSTREAM_LOCAL_ADDRESS%",
        }), Some("NR")),
    });
    extend_addresses(&mut listener, &options.envoy.transparent);
    Ok(listener)
}

/// What is Envoy's own: ports with the addresses there, none for all. Who connects to the listener
/// itself has it for original destination, and it must not dial itself, again and again.
fn own_addresses(options: &Options) -> Vec<(u16, Vec<Cidr>)> {
    let envoy = &options.envoy;
    let mut own: Vec<(u16, Vec<Cidr>)> =
        envoy.transparent.iter().map(|address| (address.port(), Vec::new())).collect();
    let others =
        envoy.listeners.iter().map(|listen| listen.address).chain(envoy.explicit_proxy).chain(envoy.admin);
    for address in others.filter(|address| address.port() != 0) {
        let ranges = ranges(address);
        match own.iter_mut().find(|(port, _)| *port == address.port()) {
            Some((_, known)) if known.is_empty() => {}
            Some((_, known)) => known.extend(ranges),
            None => own.push((address.port(), ranges)),
        }
    }
    for (_, ranges) in &mut own {
        ranges.sort_unstable();
        ranges.dedup();
    }
    own.dedup();
    own
}

/// Where a socket is reached that listens at `address`. What the machine's own addresses are isn't
/// known here, but those that don't leave it.
fn ranges(address: SocketAddr) -> Vec<Cidr> {
    if !address.ip().is_unspecified() {
        return vec![Cidr::of(address.ip())];
    }
    ["127.0.0.0/8", "::1/128"].iter().filter_map(|range| range.parse().ok()).collect()
}

/// The original destination, then what tells TLS and HTTP, only on the ports where that decides:
/// on others a server that speaks first would wait in vain.
fn listener_filters(inspected: &[u16]) -> Value {
    let mut filters = vec![json!({
        "name": "envoy.filters.listener.original_dst",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.listener.original_dst.v3.OriginalDst"),
        },
    })];
    let port = |port: &u16| json!({"destination_port_range": {"start": port, "end": u32::from(*port) + 1}});
    let ports: Vec<Value> = inspected.iter().map(port).collect();
    let any = match ports.as_slice() {
        [] => return filters.into(),
        [only] => only.clone(),
        _ => json!({"or_match": {"rules": ports}}),
    };
    for mut inspector in chains::inspectors(true, true) {
        inspector["filter_disabled"] = json!({"not_match": any});
        filters.push(inspector);
    }
    filters.into()
}
