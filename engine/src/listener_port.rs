//! How a listener tells the filter which port its clients mean (GAP-01).

use std::fmt;

/// Where the port stands that a client means. As text it is a field of the listener's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerPort {
    /// All clients of the listener mean this one.
    Fixed(u16),
    /// In the original destination: the kernel redirects connections to the listener.
    Destination,
    /// In each request: the listener is an explicit proxy (see [`crate::host::addressed_port`]).
    Authority,
}

const DESTINATION: &str = "destination";
const AUTHORITY: &str = "authority";

impl ListenerPort {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match std::str::from_utf8(text).ok()? {
            DESTINATION => Some(Self::Destination),
            AUTHORITY => Some(Self::Authority),
            number => number.parse().ok().map(Self::Fixed),
        }
    }
}

impl fmt::Display for ListenerPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(port) => port.fmt(formatter),
            Self::Destination => formatter.write_str(DESTINATION),
            Self::Authority => formatter.write_str(AUTHORITY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for port in [ListenerPort::Fixed(80), ListenerPort::Destination, ListenerPort::Authority] {
            assert_eq!(ListenerPort::parse(port.to_string().as_bytes()), Some(port));
        }
        for bad in [b"" as &[u8], b"70000", b"destination ", b"\xff"] {
            assert_eq!(ListenerPort::parse(bad), None, "{bad:?}");
        }
    }
}
