//! From a decision to host calls, in a fixed order.

use std::net::Ipv6Addr;

use portolan_engine::config::Mode;
use portolan_engine::{Forward, HeaderChange, LocalReply, OriginalHost, Request, headers};

use crate::headers::HeaderMap;
use crate::host::{self, Map, Status};
use crate::stats::Stats;

/// Name of the filter state that selects Envoy's route: `wasm.` and this.
const ROUTE: &str = "portolan.route";

/// The same for who asked for a tunnel.
const TUNNEL_CLIENT: &str = "portolan.tunnel.client";

/// The same for the server name that TLS in a tunnel has to ask for.
const TUNNEL_SERVER_NAME: &str = "portolan.tunnel.server_name";

/// Removes what a client must not send (GAP-05).
pub(crate) fn strip(map: &HeaderMap<'_>, mode: Mode, stats: &Stats) -> Result<(), Status> {
    let mut stripped = 0;
    for (name, _) in map.lines() {
        if headers::is_forbidden(name, mode) {
            host::remove_request_header(name)?;
            stripped += 1;
        }
    }
    stats.stripped(stripped);
    Ok(())
}

/// Sends the request on; the upstream learns what of `original` was rewritten, if there is one.
/// The filter state comes last: without it no route matches.
pub(crate) fn forward(
    forward: &Forward<'_>,
    original: Option<&Request<'_>>,
    stats: &Stats,
) -> Result<(), Status> {
    changes(Map::Request, &forward.headers)?;
    if let Some(original) = original {
        if forward.authority.is_some() {
            match forward.original_host {
                OriginalHost::Requested => {
                    host::replace_request_header(headers::ORIGINAL_HOST, original.authority)?;
                }
                OriginalHost::Chosen(host) => {
                    host::replace_request_header(headers::ORIGINAL_HOST, host.as_bytes())?;
                }
                OriginalHost::Untold => {}
            }
        }
        if forward.path.is_some() {
            host::replace_request_header(headers::ORIGINAL_PATH, original.path)?;
        }
    }
    if let Some(authority) = forward.authority {
        host::replace_request_header(":authority", authority.as_bytes())?;
    }
    if let Some(path) = &forward.path {
        host::replace_request_header(":path", path)?;
    }
    if let Some(name) = &forward.server_name {
        // Both: with the SNI alone the certificate is still checked against the authority.
        host::set_envoy_filter_state("envoy.network.upstream_server_name", name)?;
        host::set_envoy_filter_state("envoy.network.upstream_subject_alt_names", name)?;
    }
    if let Some((name, port)) = &forward.dial {
        let port = port.to_string();
        if forward.passed_through {
            // Where Envoy makes a cluster for each host it takes both by themselves.
            let name = ipv6_in_decimals(name).map_or_else(|| name.clone(), |text| text.into_bytes().into());
            host::set_envoy_filter_state("envoy.upstream.dynamic_host", &name)?;
            host::set_envoy_filter_state("envoy.upstream.dynamic_port", port.as_bytes())?;
        } else {
            // A call less.
            let address = [&name[..], b":", port.as_bytes()].concat();
            host::set_envoy_filter_state("envoy.upstream.dynamic_host", &address)?;
        }
    }
    if let Some(inspected) = &forward.inspected {
        // The filter behind this one hands both over to the listener inside Envoy.
        host::set_property(TUNNEL_CLIENT, &host::property("source\0address").unwrap_or_default())?;
        if let Some(name) = &inspected.server_name {
            host::set_property(TUNNEL_SERVER_NAME, name)?;
        }
    }
    if let Some(cluster) = forward.cluster {
        host::replace_request_header(headers::CLUSTER, cluster.as_bytes())?;
        host::set_property(ROUTE, forward.route.as_bytes())?;
    }
    if !host::CLEARS_ROUTE_CACHE {
        host::clear_route_cache()?;
    }
    stats.forwarded(forward);
    Ok(())
}

/// A bracketed IPv6 address in the form in which Envoy takes no part of it for a port: without brackets, its end as
/// that of an IPv4 address (RFC 4291, 2.2).
fn ipv6_in_decimals(host: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(host.strip_prefix(b"[")?.strip_suffix(b"]")?).ok()?;
    let address: Ipv6Addr = text.parse().ok()?;
    let [a, b, c, d, e, f, ..] = address.segments();
    let [.., w, x, y, z] = address.octets();
    Some(format!("{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:{w}.{x}.{y}.{z}"))
}

/// Makes changes of headers, in order.
pub(crate) fn changes(map: Map, changes: &[HeaderChange<'_>]) -> Result<(), Status> {
    for change in changes {
        match change {
            HeaderChange::Remove(name) => host::remove_header(map, name.as_bytes())?,
            HeaderChange::Set(name, value) => host::replace_header(map, name, value)?,
            HeaderChange::Add(name, value) => host::add_header(map, name, value)?,
        }
    }
    Ok(())
}

/// Answers the request.
pub(crate) fn respond(reply: &LocalReply<'_>, stats: &Stats) -> Result<(), Status> {
    host::send_local_response(reply.status, &reply.details, &reply.headers, reply.grpc_status, &reply.body)?;
    stats.answered(reply.cause);
    Ok(())
}
