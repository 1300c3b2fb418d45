//! Values of a checked [`Node`]; what has the wrong type counts as absent.

use std::collections::BTreeMap;

use super::Spanned;
use crate::input::node::{Node, Value};
use crate::schema::duration;

pub(super) fn string(node: Option<&Node>) -> Option<Spanned<String>> {
    let node = node?;
    Some(Spanned::new(node.as_str()?.to_owned(), node.span))
}

/// A string where Istio can't tell the empty one from an absent one.
pub(super) fn filled(node: Option<&Node>) -> Option<Spanned<String>> {
    string(node).filter(|text| !text.is_empty())
}

pub(super) fn strings(node: Option<&Node>) -> Vec<Spanned<String>> {
    node.map(Node::items).unwrap_or_default().iter().filter_map(|item| string(Some(item))).collect()
}

pub(super) fn boolean(node: Option<&Node>) -> Option<Spanned<bool>> {
    let node = node?;
    Some(Spanned::new(node.as_bool()?, node.span))
}

pub(super) fn int<T: TryFrom<i64>>(node: Option<&Node>) -> Option<Spanned<T>> {
    let node = node?;
    Some(Spanned::new(T::try_from(node.as_int()?).ok()?, node.span))
}

/// A time span in milliseconds.
pub(super) fn milliseconds(node: Option<&Node>) -> Option<Spanned<u64>> {
    let node = node?;
    let nanoseconds = duration::nanoseconds(node.as_str()?)?;
    Some(Spanned::new(u64::try_from(nanoseconds).ok()? / 1_000_000, node.span))
}

/// Any number.
pub(super) fn number(node: Option<&Node>) -> Option<f64> {
    let node = node?;
    match node.value {
        Value::Float(value) => Some(value),
        // Small ones only: what is larger was refused.
        _ => node.as_int().map(|value| value as f64),
    }
}

/// Labels and what they are.
pub(super) fn labels(node: Option<&Node>) -> BTreeMap<String, String> {
    let entries = node.map(Node::entries).unwrap_or_default().iter();
    entries.filter_map(|entry| Some((entry.key.clone(), entry.node.as_str()?.to_owned()))).collect()
}
