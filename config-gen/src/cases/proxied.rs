//! Requests that come by the explicit proxy, natively.

use portolan_engine::host::addressed_port;
use portolan_engine::{Decision, NoTrace};

use super::run::{local, name_dedicated, of_connection};
use super::{ByProxy, Prepared, Request, Seen, Test};
use crate::connection_manager::{Refused, as_seen_by_engine, receive};
use crate::explain::{self, Chain};

/// What a request by the proxy comes to.
pub(super) enum Proxied {
    /// It is decided by now, and why so.
    Seen(Box<Seen>, String),
    /// This request is left to decide: in plaintext, and for the port that it names.
    Request(Request),
}

impl Proxied {
    /// Whether the bytes of the tunnel are sent on as they are.
    pub(super) fn is_passed(&self) -> bool {
        matches!(self, Self::Seen(seen, _) if matches!(**seen, Seen::Forwarded { .. }))
    }
}

impl Prepared {
    /// What becomes of the part of `test` that the proxy sees.
    pub(super) fn proxied(&self, test: &Test, request: &Request, way: &ByProxy) -> Result<Proxied, &str> {
        let port = |method: &str, authority: &[u8]| {
            addressed_port(method.as_bytes(), b"http", authority).unwrap_or(0)
        };
        let target = match way {
            ByProxy::Absolute(host) => {
                let port = port(&request.method, host);
                return Ok(Proxied::Request(Request { port, authority: host.clone(), ..request.clone() }));
            }
            ByProxy::Tunnel(target) => target,
        };
        let (plan, engine) = self.planned()?;
        let port = port("CONNECT", target);
        let connect = Request {
            port,
            method: "CONNECT".to_owned(),
            authority: target.clone(),
            path: Vec::new(),
            headers: Vec::new(),
            ..request.clone()
        };
        let seen = |mut seen: Seen, why: String| {
            name_dedicated(&mut seen, plan);
            Ok(Proxied::Seen(Box::new(seen), why))
        };
        let connect = match receive(&connect) {
            Ok(connect) => connect,
            Err(Refused { status, details }) => {
                let reason = details.to_owned();
                let answer = Seen::Answered { status, reason, body: String::new(), effects: Box::default() };
                return seen(answer, "refused before the filter".to_owned());
            }
        };
        as_seen_by_engine(&connect, request.random, |view| match engine.decide(view, &mut NoTrace) {
            Decision::Respond(reply) => seen(local(&connect, &reply), format!("answered: {}", reply.details)),
            Decision::Forward(forward) => {
                let why = format!("decided by: {}", forward.route);
                let Some(inspected) = forward.inspected else {
                    let dials = forward.dial.map(|(host, port)| format!("{}:{port}", host.escape_ascii()));
                    return seen(Seen::passed(request, forward.cluster.map(str::to_owned), dials), why);
                };
                match (inspected.server_name, &test.tls) {
                    (None, None) => Ok(Proxied::Request(Request { port, ..request.clone() })),
                    (Some(wanted), Some(name)) if wanted == name.as_bytes() => {
                        match explain::explain_tls(plan, &self.options, name, port) {
                            chain @ Chain::Registered(_) => seen(of_connection(request, &chain), why),
                            _ => seen(Seen::Closed, why),
                        }
                    }
                    _ => seen(Seen::Closed, format!("{why}, which expects something else inside")),
                }
            }
            Decision::Pass => seen(Seen::Closed, String::new()),
        })
    }
}
