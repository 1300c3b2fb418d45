//! A YAML value with its place.

use std::fmt::Write as _;

use crate::source::Span;

/// A value and where it stands. What came through an alias stands where its
/// anchor is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// The value.
    pub(crate) value: Value,
    /// From the first to the last byte of the value; of a block list from the
    /// first dash, of a block map from the first key.
    pub(crate) span: Span,
}

/// A value as Kubernetes understands it: YAML 1.1 scalars, JSON's types.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean; `yes`, `on` and `y` are booleans too.
    Bool(bool),
    /// A whole number that fits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    String(String),
    /// A list.
    List(Vec<Node>),
    /// A map without repeated keys, in the order of the text.
    Map(Vec<Entry>),
}

/// An entry of a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The key; one that isn't a string in YAML was turned into one.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) key_span: Span,
    /// The value.
    pub(crate) node: Node,
}

impl Node {
    /// The entry of a map, also when its value is null.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of a map's entry. An explicit null counts as absent, as
    /// Kubernetes drops it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node).filter(|node| !node.is_null())
    }

    /// The entries of a map; none if this is no map.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none if this is no list.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The string, if this is one.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, if this is one.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The whole number, if this is one. `80.0` is: in JSON, which is what
    /// Kubernetes makes of YAML, there is no difference to `80`.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self.value {
            Value::Int(value) => Some(value),
            // Within these bounds every whole number has its own float.
            Value::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(value as i64),
            _ => None,
        }
    }

    /// Whether this is null.
    pub(crate) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// What this is, with an article, for messages.
    pub(crate) fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::String(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "an object",
        }
    }

    /// The path from here to the value or key that stands exactly at `span`,
    /// as `ports[0].number`; empty if it is this node. The first one counts:
    /// behind an alias stands the same place again.
    pub(crate) fn path_to(&self, span: Span) -> Option<String> {
        // Nothing is elsewhere, but for what stands behind an alias, whose first place isn't there.
        if !self.span.contains(span) {
            return None;
        }
        // A list may begin where its first item does, so what is inside goes
        // first.
        let inside = match &self.value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .find_map(|(index, item)| item.path_to(span).map(|rest| join(&format!("[{index}]"), &rest))),
            Value::Map(entries) => entries.iter().find_map(|entry| {
                let rest =
                    if entry.key_span == span { Some(String::new()) } else { entry.node.path_to(span) };
                rest.map(|rest| join(&key_segment(&entry.key), &rest))
            }),
            _ => None,
        };
        inside.or_else(|| (self.span == span).then(String::new))
    }
}

/// Adds `segment` (of [`key_segment`] or `[0]`) to a path.
pub(crate) fn join(path: &str, segment: &str) -> String {
    if path.is_empty() || segment.is_empty() || segment.starts_with('[') {
        format!("{path}{segment}")
    } else {
        format!("{path}.{segment}")
    }
}

/// A key in a path: `name`, or `["x.y/z"]` where it would be misread.
pub(crate) fn key_segment(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain {
        return key.to_owned();
    }
    let mut segment = String::new();
    // Writing to a string can't fail.
    let _ = write!(segment, "[{key:?}]");
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_quote_keys_only_where_needed() {
        assert_eq!(join("spec.headers", &key_segment("x-foo")), "spec.headers.x-foo");
        assert_eq!(join("labels", &key_segment("a.b/c")), "labels[\"a.b/c\"]");
        assert_eq!(join("", "spec"), "spec");
    }
}
