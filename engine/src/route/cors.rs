//! Cross-origin requests of browsers (spec section 4.8, GAP-10), as Envoy's CORS filter
//! answers them.

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::{self, ConfigError};
use crate::decision::{HeaderChange, Headers};
use crate::headers::ALLOW_ORIGIN;
use crate::request::Request;
use crate::route::matcher::StringMatcher;

/// The checked form of a [`config::Cors`].
#[derive(Debug)]
pub(crate) struct Cors {
    origins: Vec<StringMatcher>,
    /// For preflight requests, whatever their origin.
    preflight: Vec<(&'static str, String)>,
    /// For requests of allowed origins.
    response: Arc<[HeaderChange<'static>]>,
    /// The same value is in both answers to them.
    expose: Option<String>,
    ignore_unmatched_preflights: bool,
}

const EXPOSE: &str = "access-control-expose-headers";

/// What a request is.
pub(crate) enum Verdict<'t> {
    /// Nothing that CORS has to do with.
    Other,
    /// A preflight request, to be answered with these headers (VS-CORS-06).
    Preflight(Headers<'t>),
    /// A request from an allowed origin, which the response has to name.
    Allowed(Vec<u8>, &'t Arc<[HeaderChange<'static>]>),
}

impl Cors {
    #[inline(never)]
    pub(crate) fn new(cors: config::Cors, path: &str) -> Result<Self, ConfigError> {
        let origins = cors.allow_origins.into_iter().enumerate();
        let origins = origins
            .map(|(index, origin)| StringMatcher::new(origin, &format!("{path}.allowOrigins[{index}]")))
            .collect::<Result<_, _>>()?;
        let credentials = cors.allow_credentials.then(|| "true".to_owned());
        let header = |name: &'static str, value: Option<String>, field: &str| match value {
            // A line break would end the header (response splitting).
            Some(value) if value.bytes().any(|byte| byte.is_ascii_control()) => {
                Err(ConfigError::new(format!("{path}.{field}"), "must not hold control characters"))
            }
            value => Ok(value.map(|value| (name, value))),
        };
        let credentials = credentials.map(|value| ("access-control-allow-credentials", value));
        let expose = header(EXPOSE, cors.expose_headers, "exposeHeaders")?;
        let preflight = [
            credentials.clone(),
            header("access-control-allow-methods", cors.allow_methods, "allowMethods")?,
            header("access-control-allow-headers", cors.allow_headers, "allowHeaders")?,
            header("access-control-max-age", cors.max_age, "maxAge")?,
        ];
        let response = [credentials, expose.clone()].into_iter().flatten();
        let response =
            response.map(|(name, value)| HeaderChange::Set(name, Cow::Owned(value.into_bytes()))).collect();
        Ok(Self {
            origins,
            preflight: preflight.into_iter().flatten().collect(),
            response,
            expose: expose.map(|(_, value)| value),
            ignore_unmatched_preflights: cors.ignore_unmatched_preflights,
        })
    }

    fn preflight_headers(&self) -> impl Iterator<Item = (&str, Cow<'_, [u8]>)> {
        self.preflight.iter().map(|(name, value)| (*name, Cow::Borrowed(value.as_bytes())))
    }

    pub(crate) fn judge(&self, request: &Request<'_>) -> Verdict<'_> {
        let header =
            |name: &[u8]| request.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let Some(origin) = header(b"origin").filter(|origin| !origin.is_empty()) else {
            return Verdict::Other;
        };
        let is_preflight = request.method == b"OPTIONS"
            && header(b"access-control-request-method").is_some_and(|method| !method.is_empty());
        // What matches a star allows all, as in Envoy.
        let allowed = self.origins.iter().any(|allowed| allowed.matches(b"*") || allowed.matches(origin));
        match (allowed, is_preflight) {
            (true, false) => Verdict::Allowed(origin.to_vec(), &self.response),
            (true, true) => {
                let mut headers: Headers<'_> = vec![(ALLOW_ORIGIN, origin.to_vec().into())];
                headers.extend(self.preflight_headers());
                headers.extend(self.expose.iter().map(|value| (EXPOSE, Cow::Borrowed(value.as_bytes()))));
                Verdict::Preflight(headers)
            }
            // VS-CORS-05: without a word on the origin.
            (false, true) if self.ignore_unmatched_preflights => {
                Verdict::Preflight(self.preflight_headers().collect())
            }
            (false, _) => Verdict::Other,
        }
    }
}
