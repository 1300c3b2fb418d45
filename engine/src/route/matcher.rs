//! The conditions of a route (spec section 4.2).

use std::borrow::Cow;

use crate::config::{self, ConfigError, StringMatch};
use crate::request::Request;
use crate::route::pattern::{InvalidPattern, Parsed, Pattern};
use crate::trace::Condition;

/// All conditions of one route.
#[derive(Debug)]
pub(crate) struct RouteMatcher {
    path: Option<StringMatcher>,
    /// The regex of `path` as it was read, until the index has taken it.
    parsed: Option<Parsed>,
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
    #[inline(never)]
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
        let (parsed, path) = match matcher.path {
            Some(StringMatch::Regex(text)) => {
                let invalid =
                    |error: InvalidPattern| ConfigError::new(format!("{path}.path.regex"), error.to_string());
                let parsed = Parsed::new(&text).map_err(invalid)?;
                let pattern = parsed.compile(&text).map_err(invalid)?;
                (Some(parsed), Some(StringMatcher::Regex(pattern)))
            }
            other => (None, single(other, "path")?),
        };
        Ok(Self {
            path,
            parsed,
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
        if !self.path_matches(request) {
            return Err(Condition::Path);
        }
        self.check_beside_path(request)
    }

    /// Whether all conditions hold for a request that the index led here, which is so for one whose
    /// path is that of `exact` or starts with that of `prefix`. `regex_holds` says that the same is
    /// known of a regex.
    pub(crate) fn check_found(&self, request: &Request<'_>, regex_holds: bool) -> Result<(), Condition<'_>> {
        if let Some(StringMatcher::Regex(pattern)) = &self.path
            && !regex_holds
            && !pattern.matches(request.path_only())
        {
            return Err(Condition::Path);
        }
        self.check_beside_path(request)
    }

    fn check_beside_path(&self, request: &Request<'_>) -> Result<(), Condition<'_>> {
        let holds = |matcher: &Option<StringMatcher>, value: &[u8]| {
            matcher.as_ref().is_none_or(|matcher| matcher.matches(value))
        };
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

    pub(super) fn path(&self) -> Option<&StringMatcher> {
        self.path.as_ref()
    }

    pub(super) fn ignores_path_case(&self) -> bool {
        self.ignore_path_case
    }

    pub(super) fn method(&self) -> Option<&StringMatcher> {
        self.method.as_ref()
    }

    pub(super) fn authority(&self) -> Option<&StringMatcher> {
        self.authority.as_ref()
    }

    /// The headers that have to be there.
    pub(super) fn demanded_headers(&self) -> impl Iterator<Item = (&str, &StringMatcher)> {
        let demanded = self.headers.iter().filter(|header| !header.invert);
        demanded.map(|header| (header.name.as_str(), &header.value))
    }

    /// The query parameters that have to be there.
    pub(super) fn demanded_query_parameters(&self) -> impl Iterator<Item = (&str, &StringMatcher)> {
        self.query_parameters.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Takes what is needed only to build the index.
    pub(super) fn take_parsed(&mut self) -> Option<Parsed> {
        self.parsed.take()
    }

    /// Whether there is no condition but an exact path or a prefix.
    pub(super) fn is_only_literal_path(&self) -> bool {
        !matches!(self.path, Some(StringMatcher::Regex(_)))
            && self.method.is_none()
            && self.scheme.is_none()
            && self.authority.is_none()
            && self.headers.is_empty()
            && self.query_parameters.is_empty()
    }

    /// How many bytes of the path a rewrite replaces, given that [`Self::check`] holds:
    /// the prefix, or the whole path without query (VS-RW-01, VS-RW-05, VS-RW-06).
    pub(crate) fn matched_length(&self, request: &Request<'_>) -> usize {
        match &self.path {
            // No condition is the prefix `/` (VS-RW-07).
            None | Some(StringMatcher::Present) => request.path_only().len().min(1),
            Some(StringMatcher::Prefix(prefix)) => prefix.len(),
            Some(StringMatcher::Exact(_) | StringMatcher::Regex(_)) => request.path_only().len(),
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

    pub(super) fn as_exact(&self) -> Option<&str> {
        match self {
            Self::Exact(text) => Some(text),
            Self::Prefix(_) | Self::Regex(_) | Self::Present => None,
        }
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
        let Some(value) = header(request, self.name.as_bytes()) else {
            // Absent: no condition holds (VS-MATCH-17); inverted, the value counts as empty
            // (VS-MATCH-23) and absence is what `present` asks for (VS-MATCH-24).
            return self.invert && (matches!(self.value, StringMatcher::Present) || !self.value.matches(b""));
        };
        self.value.matches(&value) != self.invert
    }
}

/// The value of a header: that of several lines is joined without a blank (VS-MATCH-16).
pub(super) fn header<'a>(request: &Request<'a>, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    let mut lines =
        request.headers.iter().filter(|(line, _)| line.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
    let first = lines.next()?;
    let Some(second) = lines.next() else { return Some(Cow::Borrowed(first)) };
    let mut joined = [first, second].join(&b',');
    for line in lines {
        joined.push(b',');
        joined.extend_from_slice(line);
    }
    Some(Cow::Owned(joined))
}

/// The raw value of the first parameter of that name (VS-MATCH-26).
fn query_parameter<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    query_parameters(request).find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
}

/// Names and raw values (VS-MATCH-26).
pub(super) fn query_parameters<'a>(request: &Request<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let parameters = request.query().into_iter().flat_map(|query| query.split(|&byte| byte == b'&'));
    parameters.map(|parameter| {
        let end = parameter.iter().position(|&byte| byte == b'=').unwrap_or(parameter.len());
        let (name, value) = parameter.split_at_checked(end).unwrap_or((parameter, b""));
        (name, value.get(1..).unwrap_or_default())
    })
}
