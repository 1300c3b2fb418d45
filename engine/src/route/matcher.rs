//! The conditions of a route (spec section 4.2).

use crate::config::{self, ConfigError, StringMatch};
use crate::request::Request;
use crate::route::pattern::Pattern;
use crate::trace::Condition;

/// All conditions of one route.
#[derive(Debug)]
pub(crate) struct RouteMatcher {
    path: Option<StringMatcher>,
    ignore_path_case: bool,
    method: Option<StringMatcher>,
    scheme: Option<StringMatcher>,
    authority: Option<StringMatcher>,
    headers: Vec<HeaderMatcher>,
    query_parameters: Vec<(String, StringMatcher)>,
}

#[derive(Debug)]
struct HeaderMatcher {
    name: String,
    value: StringMatcher,
    invert: bool,
}

#[derive(Debug)]
pub(super) enum StringMatcher {
    Exact(String),
    Prefix(String),
    Regex(Pattern),
    Present,
}

impl RouteMatcher {
    /// Checks and compiles `matcher`, which stands at `path`.
    pub(crate) fn new(matcher: config::RouteMatch, path: &str) -> Result<Self, ConfigError> {
        let single = |value: Option<StringMatch>, field: &str| {
            value.map(|value| StringMatcher::new(value, &format!("{path}.{field}"))).transpose()
        };
        let headers = matcher.headers.into_iter().enumerate().map(|(index, header)| {
            let value = StringMatcher::new(header.value, &format!("{path}.headers[{index}].value"))?;
            Ok(HeaderMatcher { name: header.name.to_ascii_lowercase(), value, invert: header.invert })
        });
        let query_parameters = matcher.query_parameters.into_iter().enumerate().map(|(index, parameter)| {
            let value =
                StringMatcher::new(parameter.value, &format!("{path}.queryParameters[{index}].value"))?;
            Ok((parameter.name, value))
        });
        Ok(Self {
            path: single(matcher.path, "path")?,
            ignore_path_case: matcher.ignore_path_case,
            method: single(matcher.method, "method")?,
            scheme: single(matcher.scheme, "scheme")?,
            authority: single(matcher.authority, "authority")?,
            headers: headers.collect::<Result<_, ConfigError>>()?,
            query_parameters: query_parameters.collect::<Result<_, ConfigError>>()?,
        })
    }

    /// Whether all conditions hold; else the first that fails.
    pub(crate) fn check(&self, request: &Request<'_>) -> Result<(), Condition<'_>> {
        let holds = |matcher: &Option<StringMatcher>, value: &[u8]| {
            matcher.as_ref().is_none_or(|matcher| matcher.matches(value))
        };
        if !self.path_matches(request) {
            return Err(Condition::Path);
        }
        if !holds(&self.method, request.method) {
            return Err(Condition::Method);
        }
        if !holds(&self.scheme, request.scheme) {
            return Err(Condition::Scheme);
        }
        if !holds(&self.authority, request.authority) {
            return Err(Condition::Authority);
        }
        for header in &self.headers {
            if !header.matches(request) {
                return Err(Condition::Header(&header.name));
            }
        }
        for (name, matcher) in &self.query_parameters {
            if !query_parameter(request, name).is_some_and(|value| matcher.matches(value)) {
                return Err(Condition::QueryParameter(name));
            }
        }
        Ok(())
    }

    fn path_matches(&self, request: &Request<'_>) -> bool {
        let Some(matcher) = &self.path else { return true };
        let path = request.path_only();
        match matcher {
            // A regex is not affected (VS-MATCH-09).
            StringMatcher::Exact(exact) if self.ignore_path_case => {
                path.eq_ignore_ascii_case(exact.as_bytes())
            }
            StringMatcher::Prefix(prefix) if self.ignore_path_case => {
                path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
            }
            matcher => matcher.matches(path),
        }
    }

    /// How many bytes of the path a rewrite replaces, given that [`Self::check`] holds:
    /// the prefix, or the whole path without query (VS-RW-01, VS-RW-05, VS-RW-06).
    pub(crate) fn matched_length(&self, request: &Request<'_>) -> usize {
        let path = request.path_only();
        match &self.path {
            // No condition is the prefix `/` (VS-RW-07).
            None | Some(StringMatcher::Present) => path.len().min(1),
            Some(StringMatcher::Prefix(prefix)) => prefix.len(),
            Some(StringMatcher::Exact(_) | StringMatcher::Regex(_)) => path.len(),
        }
    }
}

impl StringMatcher {
    pub(super) fn new(value: StringMatch, path: &str) -> Result<Self, ConfigError> {
        Ok(match value {
            StringMatch::Exact(text) => Self::Exact(text),
            StringMatch::Prefix(text) => Self::Prefix(text),
            StringMatch::Regex(text) => Self::Regex(
                Pattern::new(&text)
                    .map_err(|error| ConfigError::new(format!("{path}.regex"), error.to_string()))?,
            ),
            StringMatch::Present => Self::Present,
        })
    }

    pub(super) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Regex(pattern) => pattern.matches(value),
            Self::Present => true,
        }
    }
}

impl HeaderMatcher {
    fn matches(&self, request: &Request<'_>) -> bool {
        let mut lines = request
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(self.name.as_bytes()))
            .map(|(_, value)| *value);
        let Some(first) = lines.next() else {
            // Absent: no condition holds (VS-MATCH-17); inverted, the value counts as empty
            // (VS-MATCH-23) and absence is what `present` asks for (VS-MATCH-24).
            return self.invert && (matches!(self.value, StringMatcher::Present) || !self.value.matches(b""));
        };
        let rest: Vec<&[u8]> = lines.collect();
        let holds = if rest.is_empty() {
            self.value.matches(first)
        } else {
            // Several lines are one value, joined without a blank (VS-MATCH-16).
            let joined = std::iter::once(first).chain(rest).collect::<Vec<_>>().join(&b',');
            self.value.matches(&joined)
        };
        holds != self.invert
    }
}

/// The raw value of the first parameter of that name (VS-MATCH-26).
fn query_parameter<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    request.query()?.split(|&byte| byte == b'&').find_map(|parameter| {
        let value = parameter.strip_prefix(name.as_bytes())?;
        match value.split_first() {
            None => Some(value),
            Some((b'=', value)) => Some(value),
            Some(_) => None,
        }
    })
}
