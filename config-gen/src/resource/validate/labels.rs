//! Labels of workloads and subsets, as Kubernetes writes them.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::Node;
use crate::input::template;

/// Reports what is no label in a map of labels; values of a wrong type were reported before.
pub(super) fn check(labels: Option<&Node>, rule: &'static str, out: &mut Diagnostics) {
    for entry in labels.map(Node::entries).unwrap_or_default() {
        let Some(value) = entry.node.as_str().filter(|text| template::in_value(text).is_none()) else {
            continue;
        };
        let why = if !is_key(&entry.key) {
            "the key has at most 63 letters, digits and inner `-`, `_` and `.`, behind a domain and `/` if need be"
        } else if !value.is_empty() && !is_name(value) {
            "the value has at most 63 letters, digits and inner `-`, `_` and `.`"
        } else {
            continue;
        };
        out.push(
            Diagnostic::error("invalid-label", format!("`{}: {value}` is no label: {why}", entry.key))
                .at(entry.key_span)
                .rule(rule),
        );
    }
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => super::domain::fqdn(domain).is_ok() && is_name(name),
        None => is_name(text),
    }
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && outer(bytes.first())
        && outer(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys() {
        for text in ["app", "a", "version.v1", "a_b-c", "topology.kubernetes.io/zone"] {
            assert!(is_key(text), "{text}");
        }
        let long = "a".repeat(64);
        for text in ["", "-a", "a-", "a b", "*", "a/", "/a", "a/b/c", &long] {
            assert!(!is_key(text), "{text}");
        }
    }
}
