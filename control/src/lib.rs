//! `config-gen` for JavaScript: the same library, engine included, that the command line has.
//!
//! Every call takes all it needs and keeps nothing: texts with names, options with the names of the command
//! line (`outboundPolicy` for `--outbound-policy`), and gives plain objects back. What is wrong with the
//! texts stands among the findings of the answer, each with its place; an error is thrown only where the
//! call itself makes no sense. `types.d.ts` describes all of it for TypeScript.
#![forbid(unsafe_code)]

#[cfg(target_arch = "wasm32")]
pub mod bindings;
mod calls;
mod findings;
mod options;

pub use calls::{diff, explain, generate, graph, validate, version};
pub use options::{Question, Settings, Text};
