//! Headers that a client must not send.

use crate::config::Mode;

/// Prefix of all header names that filter and Envoy configuration use between each other.
pub const INTERNAL_PREFIX: &str = "x-portolan-";

/// Names the chosen cluster to Envoy's `cluster_header` route.
pub const CLUSTER: &str = "x-portolan-cluster";

/// Names the origin that may read a response (VS-CORS-06).
pub const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// Has Envoy's fault filter hold a request back; the generated virtual host keeps it from the
/// upstream (GAP-08).
pub const FAULT_DELAY: &str = "x-envoy-fault-delay-request";

/// Has Envoy's fault filter end a request with this status, after the delay (GAP-08).
pub const FAULT_ABORT: &str = "x-envoy-fault-abort-request";

/// The path before it was rewritten (VS-RW-16).
pub const ORIGINAL_PATH: &str = "x-envoy-original-path";

/// The Host header before it was rewritten (VS-RW-16).
pub const ORIGINAL_HOST: &str = "x-envoy-original-host";

/// Internal headers that hold Envoy's own word when the filter sees them, whatever a client
/// sent. The generated virtual host keeps them from the upstream.
pub const WRITTEN_BY_ENVOY: [&str; 2] = ["x-envoy-external-address", "x-envoy-internal"];

/// Whether a client could steer Envoy or the filter with a header of this (lower-case)
/// name, so that it has to be removed before a decision takes effect (GAP-05).
///
/// With Portolan's own Envoy configuration that is all of `x-envoy-*`, since the router and
/// the fault filter read many of them, but not what Envoy itself has written before the
/// filter runs ([`WRITTEN_BY_ENVOY`]). In a mesh the sidecar's other filters write such
/// headers before this one, and they must stay.
pub fn is_forbidden(name: &[u8], mode: Mode) -> bool {
    // Most headers are told apart by two bytes, and all of them are asked.
    name.starts_with(b"x-")
        && match mode {
            Mode::Proxy => {
                (name.starts_with(INTERNAL_PREFIX.as_bytes()) || name.starts_with(b"x-envoy-"))
                    && !WRITTEN_BY_ENVOY.iter().any(|written| written.as_bytes() == name)
            }
            Mode::Mesh => name.starts_with(INTERNAL_PREFIX.as_bytes()),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steering_headers_are_forbidden() {
        for name in ["x-portolan-cluster", "x-envoy-retry-on", "x-envoy-fault-abort-request"] {
            assert!(is_forbidden(name.as_bytes(), Mode::Proxy), "{name}");
        }
        for name in ["x-envoyage", "x-envoy-external-address", "x-request-id"] {
            assert!(!is_forbidden(name.as_bytes(), Mode::Proxy), "{name}");
        }
        assert!(!is_forbidden(b"x-envoy-peer-metadata", Mode::Mesh));
        assert!(is_forbidden(CLUSTER.as_bytes(), Mode::Mesh));
    }
}
