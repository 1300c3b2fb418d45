//! What happens to this request?
//!
//! The engine holds Portolan's routing rules: which virtual host an authority
//! names, which route of it matches, what is rewritten, and which cluster is
//! chosen. It is a pure function of the plugin config and the request. It knows
//! nothing of YAML, of Envoy's host calls, or of where the config came from, so
//! that the filter inside Envoy, the command line and the browser give one
//! answer.
//!
//! ```
//! use portolan_engine::{Decision, Engine, NoTrace, Request};
//!
//! let engine = Engine::from_json(br#"{
//!   "version": 1,
//!   "virtualHosts": [{
//!     "name": "VirtualService default/webserver",
//!     "domains": ["webserver"],
//!     "routes": [{
//!       "name": "http[0]",
//!       "match": {"path": {"prefix": "/"}},
//!       "route": {"cluster": "outbound|443||example.com", "rewrite": {"authority": "example.com"}}
//!     }]
//!   }]
//! }"#)?;
//! let request = Request { listener_port: 80, authority: b"WEBSERVER:80", path: b"/x?y=1", ..Request::default() };
//! let Decision::Forward(forward) = engine.decide(&request, &mut NoTrace) else { unreachable!() };
//! assert_eq!(forward.cluster, Some("outbound|443||example.com"));
//! assert_eq!(forward.authority, Some("example.com"));
//! # Ok::<(), portolan_engine::ConfigError>(())
//! ```
//!
//! `#[inline(never)]` stands on what runs once for a config, and would become one function of 10 KB and more: what
//! Envoy needs to compile the module grows with the longest.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod base64;
mod cidr;
pub mod config;
mod decide;
mod decision;
mod domains;
pub mod headers;
pub mod host;
mod listed_names;
mod listener_port;
mod listing;
mod original_destination;
mod packing;
mod pieces;
mod refusal;
mod request;
mod route;
#[cfg(feature = "schema")]
mod schema;
mod trace;
mod tunnel;
mod virtual_hosts;
mod whole;

pub use base64::decode as decode_base64;
pub use config::{Config, ConfigError};
pub use decide::Engine;
pub use decision::{
    Cause, Decision, Forward, HeaderChange, Headers, Inspected, LocalReply, OriginalHost, ResponseHeaders,
};
pub use listener_port::ListenerPort;
pub use refusal::Reason;
pub use request::Request;
pub use route::format::{
    Message, Properties, Property, check_value as check_header_value, supported_operators,
};
#[cfg(feature = "oracle")]
pub use route::oracle::index_agrees_with_oracle;
pub use route::pattern::{InvalidPattern, MAX_PATTERN_LENGTH, Pattern};
pub use route::rewrite::PathSubstitution;
pub use trace::{Condition, Event, NoTrace, Trace, VirtualHostName};
