//! Ranges of IP addresses.

use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses: `ADDRESS/LENGTH`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cidr {
    address: IpAddr,
    length: u8,
}

impl Cidr {
    /// Whether `address` is in the range. IPv4 and IPv6 are apart.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let bits = |bits: u128, longest: u8| bits.checked_shr(u32::from(longest - self.length)).unwrap_or(0);
        match (self.address, address) {
            (IpAddr::V4(first), IpAddr::V4(other)) => {
                bits(u32::from(first).into(), 32) == bits(u32::from(other).into(), 32)
            }
            (IpAddr::V6(first), IpAddr::V6(other)) => bits(first.into(), 128) == bits(other.into(), 128),
            _ => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().map_err(drop)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(drop)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(longest);
        if length > longest { Err(()) } else { Ok(Self { address, length }) }
    }
}
