//! A host that the filter answers for by itself. Envoy is live before its listeners have a filter that
//! decides, and answers 500 there when the first config was refused: only an answer of the filter on the
//! listener itself says that clients are served.

use portolan_engine::config::{Body, DirectResponse, Route, RouteAction, RouteMatch, VirtualHost};

/// The host to ask for, on any HTTP listener and whatever the path. Nothing below `invalid` is ever
/// registered in DNS (RFC 2606).
pub(crate) const HOST: &str = "ready.portolan.invalid";

/// What the filter answers, with status 200.
pub(crate) const ANSWER: &str = "portolan is ready\n";

/// Known on every port.
pub(super) fn virtual_host() -> VirtualHost {
    let response = DirectResponse { status: 200, body: Some(Body::Text(ANSWER.to_owned())) };
    VirtualHost {
        name: "readiness".to_owned(),
        domains: vec![HOST.to_owned()],
        ports: Vec::new(),
        routes: vec![Route {
            name: "probe".to_owned(),
            matcher: RouteMatch::default(),
            route: RouteAction { direct_response: Some(response), ..RouteAction::default() },
        }],
        refuse: None,
        unregistered: false,
    }
}
