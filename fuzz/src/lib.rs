//! What no input may do to engine and config-gen.
//!
//! Each module is one promise, and its `run` breaks off where that isn't kept. A fuzzer looks for such
//! input (`make fuzz`); tests give it what was found once, and random bytes.
#![forbid(unsafe_code)]

pub mod authority;
mod checks;
pub mod decision;
pub mod index;
pub mod pattern;
pub mod plugin_config;
pub mod rewrite;
pub mod yaml;

/// A promise: its name, and what tries it.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, by the names of their folders in `corpus/`.
pub const TARGETS: [Target; 7] = [
    ("authority", authority::run),
    ("decision", decision::run),
    ("index", index::run),
    ("pattern", pattern::run),
    ("plugin_config", plugin_config::run),
    ("rewrite", rewrite::run),
    ("yaml", yaml::run),
];

/// What stands before the first zero byte, and behind it.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    (&data[..end], data.get(end + 1..).unwrap_or_default())
}

/// The first byte, and the rest.
fn choice(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}
