//! Values of a checked [`Node`]; what has the wrong type counts as absent.

use super::Spanned;
use crate::input::node::Node;
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
