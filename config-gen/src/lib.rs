//! What does this YAML mean?
//!
//! Istio resources to a [`plan::Plan`], and from there to the files that Envoy reads. The
//! steps, each with its module:
//!
//! YAML → [`input`] → [`resource`]s with their places, delegates merged → [`registry`]
//! (visibility, conflicts) → [`plan`] (virtual hosts, clusters) → [`emit`].
//!
//! What a request comes to is not decided here but by `portolan_engine`.
//!
//! The feature `cli`, which is on by default, has what a terminal and a file system are needed for: the
//! program, and cases. Without it the library takes texts and returns texts, as in a browser.
#![forbid(unsafe_code)]

pub mod analysis;
#[cfg(feature = "cli")]
pub mod cases;
#[cfg(feature = "cli")]
pub mod cli;
mod collapse;
pub mod connection_manager;
pub mod credential;
mod delegates;
pub mod destination_rules;
pub mod diagnostic;
pub mod diff;
pub mod emit;
pub mod explain;
pub mod gateway;
pub mod graph;
pub mod input;
pub mod mesh_config;
mod message;
pub mod names;
pub mod options;
pub mod plan;
pub mod ports;
pub mod registry;
pub mod report;
pub mod request;
pub mod resource;
pub mod schema;
pub mod scope;
pub mod source;
pub mod suggest;
pub mod texts;
pub mod typed;
mod xml;
