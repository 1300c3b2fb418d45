//! Header operations (spec section 4.5).

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::{self, ConfigError, Mode};
use crate::decision::{HeaderChange, ResponseHeaders};
use crate::headers::is_forbidden;
use crate::route::format::{Message, Properties, Property, Value};

/// The changes of one level: all removals, then all that is set, then all that is added
/// (VS-HDR-02).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Operations {
    on_request: bool,
    remove: Vec<String>,
    set: Vec<(String, Value)>,
    add: Vec<(String, Value)>,
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
            on_request,
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

    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Names of the headers of the request that values are composed from.
    pub(crate) fn request_headers(&self) -> impl Iterator<Item = &str> {
        self.set.iter().chain(&self.add).flat_map(|(_, value)| value.request_headers())
    }

    /// Appends what is to be done with `message`, after what `changes` has already.
    pub(crate) fn apply<'t>(&'t self, message: &dyn Message, changes: &mut Vec<HeaderChange<'t>>) {
        changes.extend(self.remove.iter().map(|name| HeaderChange::Remove(name)));
        // Values are composed from the headers as they are here (VS-HDR-10).
        let seen = changes.len();
        let compose = |value: &'t Value, changes: &[HeaderChange<'t>]| {
            let changes = changes.get(..seen).unwrap_or_default();
            value.compose(&Changed { message, on_request: self.on_request, changes })
        };
        for (name, value) in &self.set {
            if let Some(value) = compose(value, changes) {
                changes.push(HeaderChange::Set(name, value));
            }
        }
        for (name, value) in &self.add {
            if let Some(value) = compose(value, changes) {
                changes.push(HeaderChange::Add(name, value));
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
    let levels = levels
        .into_iter()
        .map(|(operations, path)| Operations::new(operations, false, mode, &path))
        .filter(|level| !level.as_ref().is_ok_and(Operations::is_empty))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((!levels.is_empty()).then(|| Arc::new(ResponseHeaders::new(levels))))
}

pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A message to which changes have been made.
#[derive(Debug)]
pub(crate) struct Changed<'a> {
    message: &'a dyn Message,
    /// Which of its headers were changed.
    on_request: bool,
    changes: &'a [HeaderChange<'a>],
}

impl<'a> Changed<'a> {
    pub(crate) fn request(message: &'a dyn Message, changes: &'a [HeaderChange<'a>]) -> Self {
        Self { message, on_request: true, changes }
    }

    /// The first value of header `name`, which was `value`.
    fn current(&self, name: &str, value: Option<Cow<'a, [u8]>>) -> Option<Cow<'a, [u8]>> {
        self.changes.iter().fold(value, |value, change| match change {
            HeaderChange::Remove(changed) if *changed == name => None,
            HeaderChange::Set(changed, new) if *changed == name => Some(Cow::Borrowed(new)),
            HeaderChange::Add(changed, new) if *changed == name => value.or(Some(Cow::Borrowed(new))),
            _ => value,
        })
    }
}

impl Message for Changed<'_> {
    fn request_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        // Envoy knows the Host header by its name in HTTP/2.
        let name = if name == "host" { ":authority" } else { name };
        let value = self.message.request_header(name);
        if self.on_request { self.current(name, value) } else { value }
    }

    fn response_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let value = self.message.response_header(name);
        if self.on_request { value } else { self.current(name, value) }
    }
}

impl Properties for Changed<'_> {
    fn text(&self, property: Property) -> Option<Vec<u8>> {
        self.message.text(property)
    }

    fn number(&self, property: Property) -> Option<i64> {
        self.message.number(property)
    }
}
