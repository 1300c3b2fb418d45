//! Values of headers with Envoy's operators (VS-HDR-09, GAP-07), composed as Envoy does: what is
//! absent leaves nothing behind.

use std::borrow::Cow;
use std::fmt;

use crate::route::header::is_header_name;

/// What only the proxy knows of a request or a response. It is asked for nothing that no
/// header value needs.
pub trait Properties: fmt::Debug {
    /// A property that is a text.
    fn text(&self, property: Property) -> Option<Vec<u8>>;
    /// A property that is a number.
    fn number(&self, property: Property) -> Option<i64>;
}

/// A property of a request or a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// Text: `HTTP/1.1`.
    Protocol,
    /// Text: the address of the client with its port.
    DownstreamRemoteAddress,
    /// Text: the address that the client connected to, with its port.
    DownstreamLocalAddress,
    /// Number: nanoseconds since 1970 in UTC.
    StartTime,
    /// Number: the status; none where the response isn't the upstream's.
    ResponseCode,
    /// Text: the address of the endpoint with its port.
    UpstreamHost,
    /// Text: the cluster.
    UpstreamCluster,
}

/// What values are composed from.
pub trait Message: Properties {
    /// The first line of a header of the request, by its name in lower case.
    fn request_header(&self, name: &str) -> Option<Cow<'_, [u8]>>;
    /// The same of the response.
    fn response_header(&self, name: &str) -> Option<Cow<'_, [u8]>>;
}

/// The value of a header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Fixed(String),
    Format(Vec<Part>),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Header(Header),
    Property(Operator),
}

/// `%REQ(X?Y):N%` or `%RESP(X?Y):N%`: a header, or else another one, up to a length.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    of_request: bool,
    name: String,
    other: Option<String>,
    limit: Option<usize>,
}

/// An operator without arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Whole(Property),
    /// Of an address.
    WithoutPort(Property),
    /// Of an address.
    Port(Property),
    StartTime,
    ResponseCode,
}

/// Operators that requests and responses can have.
const OPERATORS: [(&str, Operator); 8] = [
    ("PROTOCOL", Operator::Whole(Property::Protocol)),
    ("DOWNSTREAM_REMOTE_ADDRESS", Operator::Whole(Property::DownstreamRemoteAddress)),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Operator::WithoutPort(Property::DownstreamRemoteAddress)),
    ("DOWNSTREAM_REMOTE_PORT", Operator::Port(Property::DownstreamRemoteAddress)),
    ("DOWNSTREAM_LOCAL_ADDRESS", Operator::Whole(Property::DownstreamLocalAddress)),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Operator::WithoutPort(Property::DownstreamLocalAddress)),
    ("DOWNSTREAM_LOCAL_PORT", Operator::Port(Property::DownstreamLocalAddress)),
    ("START_TIME", Operator::StartTime),
];

/// Operators that only responses can have: nothing is known of it before.
const OPERATORS_ON_RESPONSE: [(&str, Operator); 4] = [
    ("RESPONSE_CODE", Operator::ResponseCode),
    ("UPSTREAM_HOST", Operator::Whole(Property::UpstreamHost)),
    // Istio gives clusters no other name in statistics, by which the two would differ.
    ("UPSTREAM_CLUSTER", Operator::Whole(Property::UpstreamCluster)),
    ("UPSTREAM_CLUSTER_RAW", Operator::Whole(Property::UpstreamCluster)),
];

/// What is wrong with `text` as the value of a header that a route sets on a request, or else
/// on a response (VS-HDR-09, GAP-07).
pub fn check_value(text: &str, on_request: bool) -> Result<(), String> {
    Value::new(text, on_request).map(drop)
}

/// The operators that a value can have on a request, or else on a response, as they are written.
pub fn supported_operators(on_request: bool) -> impl fmt::Display {
    let mut list = "`%REQ(NAME)%`".to_owned();
    let mut operators: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
    if !on_request {
        list.push_str(", `%RESP(NAME)%`");
        operators.extend(OPERATORS_ON_RESPONSE.iter().map(|(name, _)| *name));
    }
    for name in operators {
        list.push_str(&format!(", `%{name}%`"));
    }
    list
}

impl Value {
    /// Reads `text`, where `%%` is a percent sign.
    pub(crate) fn new(text: &str, on_request: bool) -> Result<Self, String> {
        // A line break would end the header (response splitting).
        if text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err("the value must not hold control characters".to_owned());
        }
        let mut parts = Vec::new();
        let mut fixed = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            fixed.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                fixed.push('%');
                rest = after;
                continue;
            }
            let command = Command::read(after).ok_or("a single `%` must be written as `%%`")?;
            if !fixed.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut fixed)));
            }
            parts.push(command.part(on_request)?);
            rest = command.rest;
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

    /// The value for `message`; none where it is empty (VS-HDR-08).
    pub(crate) fn compose(&self, message: &dyn Message) -> Option<Cow<'_, [u8]>> {
        let parts = match self {
            Self::Fixed(text) => return Some(Cow::Borrowed(text.as_bytes())),
            Self::Format(parts) => parts,
        };
        let mut value = Vec::new();
        for part in parts {
            match part {
                Part::Text(text) => value.extend_from_slice(text.as_bytes()),
                Part::Header(header) => {
                    let found = header.find(message).unwrap_or_default();
                    let end = header.limit.map_or(found.len(), |limit| limit.min(found.len()));
                    value.extend_from_slice(found.get(..end).unwrap_or_default());
                }
                Part::Property(operator) => value.extend(operator.value(message).unwrap_or_default()),
            }
        }
        (!value.is_empty()).then_some(Cow::Owned(value))
    }
}

impl Value {
    /// Names of the headers of the request that it is composed from.
    pub(crate) fn request_headers(&self) -> impl Iterator<Item = &str> {
        let parts = match self {
            Self::Fixed(_) => &[],
            Self::Format(parts) => parts.as_slice(),
        };
        let headers = parts.iter().filter_map(|part| match part {
            Part::Header(header) if header.of_request => Some(header),
            _ => None,
        });
        headers.flat_map(|header| [Some(header.name.as_str()), header.other.as_deref()]).flatten()
    }
}

/// An operator as written: `NAME(ARGUMENT):LIMIT`.
struct Command<'t> {
    text: &'t str,
    name: &'t str,
    argument: Option<&'t str>,
    limit: Option<usize>,
    /// What comes after it.
    rest: &'t str,
}

impl<'t> Command<'t> {
    /// Reads what stands behind a `%`; none where it is no operator.
    fn read(text: &'t str) -> Option<Self> {
        let is_of_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let (name, mut rest) = split_while(text, is_of_name)?;
        let (mut argument, mut limit) = (None, None);
        if let Some(after) = rest.strip_prefix('(') {
            let (inside, after) = after.split_once(')')?;
            (argument, rest) = (Some(inside), after);
        }
        if let Some(after) = rest.strip_prefix(':') {
            let (digits, after) = split_while(after, |byte| byte.is_ascii_digit())?;
            (limit, rest) = (Some(digits.parse().ok()?), after);
        }
        let rest = rest.strip_prefix('%')?;
        let text = text.get(..text.len() - rest.len() - 1)?;
        Some(Self { text, name, argument, limit, rest })
    }

    fn part(&self, on_request: bool) -> Result<Part, String> {
        let text = self.text;
        if let (name @ ("REQ" | "RESP"), Some(argument)) = (self.name, self.argument)
            && !(on_request && name == "RESP")
        {
            let (name, other) = match argument.split_once('?') {
                Some((name, other)) => (name, Some(other.to_ascii_lowercase())),
                None => (argument, None),
            };
            let known = |name: &str| is_header_name(name.strip_prefix(':').unwrap_or(name));
            if !known(name) || !other.as_deref().is_none_or(known) {
                return Err(format!("`%{text}%` names no header"));
            }
            let of_request = self.name == "REQ";
            let name = name.to_ascii_lowercase();
            return Ok(Part::Header(Header { of_request, name, other, limit: self.limit }));
        }
        let also: &[_] = if on_request { &[] } else { &OPERATORS_ON_RESPONSE };
        let found = OPERATORS.iter().chain(also).find(|(name, _)| *name == self.name);
        match found {
            Some((_, operator)) if self.argument.is_none() && self.limit.is_none() => {
                Ok(Part::Property(*operator))
            }
            _ => Err(format!("the operator `%{text}%` is not supported here")),
        }
    }
}

/// The start of `text` for whose bytes `holds` says so, unless that is nothing, and the rest.
fn split_while(text: &str, holds: impl Fn(u8) -> bool) -> Option<(&str, &str)> {
    let length = text.bytes().take_while(|byte| holds(*byte)).count();
    text.split_at_checked(length).filter(|(start, _)| !start.is_empty())
}

impl Header {
    fn find<'m>(&self, message: &'m dyn Message) -> Option<Cow<'m, [u8]>> {
        let find = |name: &str| {
            if self.of_request { message.request_header(name) } else { message.response_header(name) }
        };
        find(&self.name).or_else(|| find(self.other.as_deref()?))
    }
}

impl Operator {
    fn value(self, message: &dyn Message) -> Option<Vec<u8>> {
        Some(match self {
            Self::Whole(property) => message.text(property)?,
            Self::WithoutPort(property) => split_address(&message.text(property)?).0.to_vec(),
            Self::Port(property) => split_address(&message.text(property)?).1.to_vec(),
            Self::StartTime => date_time(message.number(Property::StartTime)?).into_bytes(),
            // As Envoy writes it for answers of its own, whose status comes later.
            Self::ResponseCode => {
                message.number(Property::ResponseCode).unwrap_or(0).to_string().into_bytes()
            }
        })
    }
}

/// Host and port of `127.0.0.1:80` or `[::1]:80`; that of a socket file has no port.
fn split_address(address: &[u8]) -> (&[u8], &[u8]) {
    let colon = address.iter().rposition(|&byte| byte == b':');
    let parts = colon.and_then(|colon| Some((address.get(..colon)?, address.get(colon + 1..)?)));
    let Some((host, port)) = parts.filter(|(_, port)| port.iter().all(u8::is_ascii_digit)) else {
        return (address, b"");
    };
    let inside = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    (inside.unwrap_or(host), port)
}

/// `2026-01-02T03:04:05.678Z`, from nanoseconds since 1970.
fn date_time(nanoseconds: i64) -> String {
    const DAY: i64 = 86_400_000;
    let milliseconds = nanoseconds.div_euclid(1_000_000);
    let (day, rest) = (milliseconds.div_euclid(DAY), milliseconds.rem_euclid(DAY));
    // Counted from 1 March 0000, so that the leap day is a year's last; 400 years have 146097 days.
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let (hours, minutes, seconds) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", rest % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_078_012_800, "2004-02-29T00:00:00.000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(date_time(seconds * 1_000_000_000), expected);
        }
        assert_eq!(date_time(1_999_999), "1970-01-01T00:00:00.001Z", "cut, not rounded");
    }

    #[test]
    fn addresses_are_split() {
        let split = |address: &'static str| {
            let (host, port) = split_address(address.as_bytes());
            (std::str::from_utf8(host).unwrap(), std::str::from_utf8(port).unwrap())
        };
        assert_eq!(split("127.0.0.1:80"), ("127.0.0.1", "80"));
        assert_eq!(split("[::1]:8080"), ("::1", "8080"));
        assert_eq!(split("/run/a.sock"), ("/run/a.sock", ""));
        assert_eq!(split("@a:b"), ("@a:b", ""));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (text, on_request, expected) in [
            ("50%", true, "a single `%`"),
            ("%REQ(a%", true, "a single `%`"),
            ("%REQ(a):%", true, "a single `%`"),
            ("%req(a)%", true, "a single `%`"),
            ("%REQ%", true, "`%REQ%` is not supported"),
            ("%REQ()%", true, "names no header"),
            ("%REQ(a?b c)%", true, "names no header"),
            ("%RESP(a)%", true, "`%RESP(a)%` is not supported"),
            ("%UPSTREAM_HOST%", true, "`%UPSTREAM_HOST%` is not supported"),
            ("%START_TIME(%s)%", false, "`%START_TIME(%s)%` is not supported"),
            ("%PROTOCOL:2%", false, "`%PROTOCOL:2%` is not supported"),
            ("%HOSTNAME%", false, "`%HOSTNAME%` is not supported"),
        ] {
            let error = check_value(text, on_request).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        for (name, _) in OPERATORS {
            assert_eq!(check_value(&format!("%{name}%"), true), Ok(()));
        }
        let on_response = supported_operators(false).to_string();
        for (name, _) in OPERATORS.iter().chain(&OPERATORS_ON_RESPONSE) {
            assert_eq!(check_value(&format!("%{name}%"), false), Ok(()));
            assert!(on_response.contains(name));
        }
    }
}
