//! Clusters that lead to the address that the client dialled, where that is known (SE-R-01).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::cidr::Cidr;
use crate::config::{self, ConfigError};

/// The checked form of [`config::Config::original_destinations`].
#[derive(Debug, Default)]
pub(crate) struct OriginalDestinations(HashMap<String, Twin>);

#[derive(Debug)]
struct Twin {
    addresses: Vec<Cidr>,
    cluster: String,
}

impl OriginalDestinations {
    /// Checks `config`.
    #[inline(never)]
    pub(crate) fn new(config: BTreeMap<String, config::OriginalDestination>) -> Result<Self, ConfigError> {
        let twin = |(cluster, config): (String, config::OriginalDestination)| {
            let parse = |(index, text): (usize, &String)| {
                text.parse().map_err(|()| {
                    ConfigError::new(
                        format!("originalDestinations[{cluster:?}].addresses[{index}]"),
                        format!("`{text}` is neither an IP address nor a range"),
                    )
                })
            };
            let addresses = config.addresses.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
            Ok((cluster, Twin { addresses, cluster: config.cluster }))
        };
        config.into_iter().map(twin).collect::<Result<_, _>>().map(Self)
    }

    /// Whether [`crate::Request::original_destination`] has to be right.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What takes the place of `cluster` for a connection that was made to `address`.
    pub(crate) fn cluster(&self, cluster: &str, address: Option<SocketAddr>) -> Option<&str> {
        let address: IpAddr = address?.ip();
        let twin = self.0.get(cluster)?;
        twin.addresses.iter().any(|range| range.contains(address)).then_some(twin.cluster.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(addresses: &[&str]) -> Result<OriginalDestinations, String> {
        let addresses = addresses.iter().map(|&text| text.to_owned()).collect();
        let twin = config::OriginalDestination { cluster: "twin".to_owned(), addresses };
        OriginalDestinations::new(BTreeMap::from([("c".to_owned(), twin)])).map_err(|error| error.to_string())
    }

    #[test]
    fn only_addresses_of_the_cluster_are_dialled() {
        let table = table(&["10.1.0.0/16", "192.0.2.1", "fd00::/8"]).unwrap();
        for (address, found) in [
            ("10.1.255.1:80", true),
            ("10.2.0.1:80", false),
            ("192.0.2.1:9", true),
            ("192.0.2.2:80", false),
            ("[fd00::1]:80", true),
            ("[fe00::1]:80", false),
        ] {
            let address = Some(address.parse().unwrap());
            assert_eq!(table.cluster("c", address), found.then_some("twin"), "{address:?}");
            assert_eq!(table.cluster("other", address), None);
        }
        assert_eq!(table.cluster("c", None), None, "a listener that isn't transparent");
    }

    #[test]
    fn faults_are_named() {
        for bad in ["", "10.0.0.0/33", "::/129", "x", "10.0.0.1/-1", "10.0.0.1:80"] {
            assert_eq!(
                table(&["::1", bad]).unwrap_err(),
                format!(
                    "originalDestinations[\"c\"].addresses[1]: `{bad}` is neither an IP address nor a range"
                )
            );
        }
    }
}
