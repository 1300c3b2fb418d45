//! Header operations (spec section 4.5).

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::{self, ConfigError, Mode};
use crate::decision::{HeaderChange, ResponseHeaders};
use crate::headers::{INTERNAL_PREFIX, is_forbidden};
use crate::request::Request;

/// The changes of one level: all removals, then all that is set, then all that is added
/// (VS-HDR-02).
#[derive(Debug, Default)]
pub(crate) struct Operations {
    remove: Vec<String>,
    set: Vec<(String, Value)>,
    add: Vec<(String, Value)>,
}

/// The value of a header.
#[derive(Debug)]
enum Value {
    Fixed(String),
    Format(Vec<Part>),
}

#[derive(Debug)]
enum Part {
    Text(String),
    /// `%REQ(X?Y)%`: a request header, or else another one.
    Request(String, Option<String>),
}

impl Operations {
    /// Checks the operations on requests that stand at `path`.
    pub(crate) fn on_request(
        operations: config::HeaderOperations,
        mode: Mode,
        path: &str,
    ) -> Result<Self, ConfigError> {
        Self::new(operations, true, mode, path)
    }

    fn new(
        operations: config::HeaderOperations,
        on_request: bool,
        mode: Mode,
        path: &str,
    ) -> Result<Self, ConfigError> {
        let name = |name: String, path: &str| {
            let name = name.to_ascii_lowercase();
            if !is_header_name(&name) || name == "host" {
                return Err(ConfigError::new(path, format!("`{name}` can't be changed")));
            }
            if on_request && is_forbidden(name.as_bytes(), mode) {
                return Err(ConfigError::new(path, format!("`{name}` would steer Envoy")));
            }
            Ok(name)
        };
        let values = |entries: Vec<(String, String)>, field: &str| {
            let mut values = Vec::with_capacity(entries.len());
            for (index, (key, value)) in entries.into_iter().enumerate() {
                let path = format!("{path}.{field}[{index}]");
                let key = name(key, &path)?;
                // An empty value changes nothing (VS-HDR-08).
                if !value.is_empty() {
                    let value = Value::new(&value, on_request);
                    values.push((key, value.map_err(|message| ConfigError::new(&path, message))?));
                }
            }
            Ok(values)
        };
        let remove = operations.remove.into_iter().enumerate();
        Ok(Self {
            remove: remove
                // Removing what a client must not send is allowed, and has happened before.
                .map(|(index, key)| {
                    let key = key.to_ascii_lowercase();
                    if !is_header_name(&key) || key == "host" {
                        return Err(ConfigError::new(
                            format!("{path}.remove[{index}]"),
                            format!("`{key}` can't be removed"),
                        ));
                    }
                    Ok(key)
                })
                .collect::<Result<_, _>>()?,
            set: values(operations.set, "set")?,
            add: values(operations.add, "add")?,
        })
    }

    /// Appends what is to be done with `request`, after what `changes` has already.
    pub(crate) fn apply<'t>(&'t self, request: &Request<'_>, changes: &mut Vec<HeaderChange<'t>>) {
        changes.extend(self.remove.iter().map(|name| HeaderChange::Remove(Cow::Borrowed(name))));
        // Values are composed from the headers as they are here (VS-HDR-10).
        let seen = changes.len();
        for (name, value) in &self.set {
            if let Some(value) = value.compose(request, changes.get(..seen).unwrap_or_default()) {
                changes.push(HeaderChange::Set(Cow::Borrowed(name), value));
            }
        }
        for (name, value) in &self.add {
            if let Some(value) = value.compose(request, changes.get(..seen).unwrap_or_default()) {
                changes.push(HeaderChange::Add(Cow::Borrowed(name), value));
            }
        }
    }
}

/// Checks operations on responses: one level after the other, each with where it stands. None
/// where there is nothing to do.
pub(crate) fn on_response(
    levels: Vec<(config::HeaderOperations, String)>,
    mode: Mode,
) -> Result<Option<Arc<ResponseHeaders>>, ConfigError> {
    let mut changes = Vec::new();
    for (operations, path) in levels {
        let Operations { remove, set, add } = Operations::new(operations, false, mode, &path)?;
        let fixed = |value: Value| match value {
            Value::Fixed(text) => text,
            // Not accepted in responses.
            Value::Format(_) => String::new(),
        };
        changes.extend(remove.into_iter().map(|name| HeaderChange::Remove(Cow::Owned(name))));
        changes.extend(
            set.into_iter().map(|(name, value)| {
                HeaderChange::Set(Cow::Owned(name), Cow::Owned(fixed(value).into_bytes()))
            }),
        );
        changes.extend(
            add.into_iter().map(|(name, value)| {
                HeaderChange::Add(Cow::Owned(name), Cow::Owned(fixed(value).into_bytes()))
            }),
        );
    }
    Ok((!changes.is_empty()).then(|| Arc::new(ResponseHeaders::new(changes))))
}

/// What is wrong with `text` as the value of a header that a route sets on a request, or else
/// on a response (VS-HDR-09, GAP-07).
pub fn check_value(text: &str, on_request: bool) -> Result<(), String> {
    Value::new(text, on_request).map(drop)
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

impl Value {
    /// Reads `text`: `%%` is a percent sign, `%REQ(X)%` a header of the request (VS-HDR-09,
    /// GAP-07).
    fn new(text: &str, on_request: bool) -> Result<Self, String> {
        // A line break would end the header (response splitting).
        if text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err("the value must not hold control characters".to_owned());
        }
        let mut parts = Vec::new();
        let mut fixed = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            fixed.push_str(before);
            let (operator, after) = after.split_once('%').ok_or("a single `%` must be written as `%%`")?;
            rest = after;
            if operator.is_empty() {
                fixed.push('%');
                continue;
            }
            let argument = operator.strip_prefix("REQ(").and_then(|argument| argument.strip_suffix(')'));
            let Some(argument) = argument.filter(|_| on_request) else {
                return Err(format!("the operator `%{operator}%` is not supported here"));
            };
            let (name, other) = match argument.split_once('?') {
                Some((name, other)) => (name, Some(other.to_ascii_lowercase())),
                None => (argument, None),
            };
            let known = |name: &str| is_header_name(name.strip_prefix(':').unwrap_or(name));
            if !known(name) || !other.as_deref().is_none_or(known) {
                return Err(format!("`%{operator}%` names no header"));
            }
            if !fixed.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut fixed)));
            }
            parts.push(Part::Request(name.to_ascii_lowercase(), other));
        }
        fixed.push_str(rest);
        if parts.is_empty() {
            return Ok(Self::Fixed(fixed));
        }
        if !fixed.is_empty() {
            parts.push(Part::Text(fixed));
        }
        Ok(Self::Format(parts))
    }

    /// The value for `request`, to which `changes` have been made; none where it is empty
    /// (VS-HDR-08).
    fn compose<'t>(&'t self, request: &Request<'_>, changes: &[HeaderChange<'t>]) -> Option<Cow<'t, [u8]>> {
        let parts = match self {
            Self::Fixed(text) => return Some(Cow::Borrowed(text.as_bytes())),
            Self::Format(parts) => parts,
        };
        let mut value = Vec::new();
        for part in parts {
            match part {
                Part::Text(text) => value.extend_from_slice(text.as_bytes()),
                Part::Request(name, other) => {
                    let found = current(request, changes, name)
                        .or_else(|| current(request, changes, other.as_deref()?));
                    value.extend_from_slice(found.unwrap_or_default());
                }
            }
        }
        (!value.is_empty()).then_some(Cow::Owned(value))
    }
}

/// The first value of header `name` after `changes`.
fn current<'a>(request: &Request<'a>, changes: &'a [HeaderChange<'_>], name: &str) -> Option<&'a [u8]> {
    // Envoy knows the Host header by its name in HTTP/2.
    let name = if name == "host" { ":authority" } else { name };
    let hidden = name.starts_with(INTERNAL_PREFIX) || is_forbidden(name.as_bytes(), Mode::Proxy);
    let line = request.headers.iter().find(|(known, _)| *known == name.as_bytes());
    let mut value = line.filter(|_| !hidden).map(|(_, value)| *value);
    for change in changes {
        match change {
            HeaderChange::Remove(changed) if changed == name => value = None,
            HeaderChange::Set(changed, new) if changed == name => value = Some(new),
            HeaderChange::Add(changed, new) if changed == name => value = value.or(Some(new)),
            _ => {}
        }
    }
    value
}
