//! Why a request was answered here instead of being forwarded.

/// The reason of a refusal, as it stands in counters, access logs and bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The authority is not one host: two Host headers, or one that can't be dialled.
    InvalidAuthority,
    /// No virtual host has the name, on any port.
    HostNotInRegistry,
    /// The name is known, but not on the port that the client addressed (LI-08).
    PortNotInRegistry,
    /// Only TLS ports, and nothing originates TLS.
    OnlyTlsPorts,
    /// The host is known, but none of its routes matches (VH-11).
    NoRoute,
    /// No server of the gateway has the name with a route (GW-11).
    HostNotOnGateway,
    /// The route leads to the names below a wildcard host, and this is none of them.
    HostNotBelowWildcard,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::InvalidAuthority,
        Self::HostNotInRegistry,
        Self::PortNotInRegistry,
        Self::OnlyTlsPorts,
        Self::NoRoute,
        Self::HostNotOnGateway,
        Self::HostNotBelowWildcard,
    ];

    /// The name in counters and response-code details.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidAuthority => "invalid_authority",
            Self::HostNotInRegistry => "host_not_in_registry",
            Self::PortNotInRegistry => "port_not_in_registry",
            Self::OnlyTlsPorts => "only_tls_ports",
            Self::NoRoute => "no_route",
            Self::HostNotOnGateway => "host_not_on_gateway",
            Self::HostNotBelowWildcard => "host_not_below_wildcard",
        }
    }

    /// The status that the client gets (DEF-01, DEF-03).
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidAuthority => 400,
            Self::HostNotInRegistry
            | Self::PortNotInRegistry
            | Self::OnlyTlsPorts
            | Self::HostNotBelowWildcard => 502,
            Self::NoRoute | Self::HostNotOnGateway => 404,
        }
    }

    /// What a person reads in the body, after the host.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::InvalidAuthority => "is not one host name; send one Host header with a name or an address",
            Self::HostNotInRegistry => "is not in the registry; a ServiceEntry would allow it",
            Self::PortNotInRegistry => "is in the registry, but not on this port",
            Self::OnlyTlsPorts => {
                "has only TLS ports; speak TLS to it, or let a DestinationRule originate TLS"
            }
            Self::NoRoute => "has no route for this request",
            Self::HostNotOnGateway => {
                "is no host of this gateway; a VirtualService that is bound to it would add it"
            }
            Self::HostNotBelowWildcard => {
                "is not below the wildcard host that its route leads to, so it is not dialled"
            }
        }
    }
}
