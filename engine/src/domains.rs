//! Which virtual host has a host name on a port (VH-04).

use std::collections::HashMap;

/// Index of a virtual host in the table.
pub(crate) type VirtualHostId = usize;

/// From host names to virtual hosts. A lookup allocates nothing and its cost doesn't
/// depend on the number of names.
#[derive(Debug, Default)]
pub(crate) struct Domains {
    exact: Slots,
    /// By length of the suffix, longest first, as Envoy does; so `*-bar.baz.com` comes
    /// before `*.baz.com`.
    wildcards: Vec<(usize, Slots)>,
    /// Of the domain `*`, which a gateway may have.
    all: Slot,
}

/// Its hash is quick and not proof against chosen keys: who writes the config chooses them, not who
/// sends requests.
type Slots = HashMap<Box<[u8]>, Slot, foldhash::fast::FixedState>;

/// The virtual hosts of one domain.
#[derive(Debug, Default)]
struct Slot {
    by_port: Vec<(u16, VirtualHostId)>,
    any_port: Option<VirtualHostId>,
}

impl Slot {
    fn get(&self, port: u16) -> Option<VirtualHostId> {
        let named = self.by_port.iter().find(|(known, _)| *known == port);
        named.map(|(_, id)| *id).or(self.any_port)
    }
}

/// A domain that can't be added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InvalidDomain {
    /// Empty, upper-case, with a blank, or a `*` that isn't the first character.
    Malformed,
    /// Another virtual host has it on that port (none: on all ports).
    Taken(VirtualHostId, Option<u16>),
}

impl Domains {
    /// With room for that many domains.
    pub(crate) fn with_capacity(domains: usize) -> Self {
        Self {
            exact: Slots::with_capacity_and_hasher(domains, foldhash::fast::FixedState::default()),
            ..Self::default()
        }
    }

    /// Adds `domain` for `ports`, or for all others where there are none.
    pub(crate) fn insert(
        &mut self,
        domain: &str,
        ports: &[u16],
        id: VirtualHostId,
    ) -> Result<(), InvalidDomain> {
        let name = domain.strip_prefix('*').unwrap_or(domain);
        // A blank would get into the server name of TLS.
        let is_other =
            |byte: u8| byte == b'*' || byte == b' ' || byte.is_ascii_uppercase() || byte.is_ascii_control();
        if domain.is_empty() || name.bytes().any(is_other) {
            return Err(InvalidDomain::Malformed);
        }
        let slot = match domain.strip_prefix('*') {
            Some("") => &mut self.all,
            Some(suffix) => {
                self.wildcards_of_length(suffix.len()).entry(suffix.as_bytes().into()).or_default()
            }
            None => self.exact.entry(domain.as_bytes().into()).or_default(),
        };
        if ports.is_empty()
            && let Some(other) = slot.any_port.replace(id)
        {
            return Err(InvalidDomain::Taken(other, None));
        }
        for &port in ports {
            if let Some((_, other)) = slot.by_port.iter().find(|(known, _)| *known == port) {
                return Err(InvalidDomain::Taken(*other, Some(port)));
            }
            slot.by_port.push((port, id));
        }
        Ok(())
    }

    fn wildcards_of_length(&mut self, length: usize) -> &mut Slots {
        let position = match self.wildcards.binary_search_by(|(known, _)| length.cmp(known)) {
            Ok(position) => position,
            Err(position) => {
                self.wildcards.insert(position, (length, Slots::default()));
                position
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the position was just found or filled")]
        &mut self.wildcards[position].1
    }

    /// The virtual host for `host` on `port`: exact, else the longest suffix that leaves at
    /// least one character for the `*` (VH-05).
    pub(crate) fn find(&self, host: &[u8], port: u16) -> Option<VirtualHostId> {
        self.find_exact(host, port).or_else(|| self.find_wildcard(host, port))
    }

    /// The virtual host that has `host` itself.
    pub(crate) fn find_exact(&self, host: &[u8], port: u16) -> Option<VirtualHostId> {
        self.exact.get(host)?.get(port)
    }

    /// The one whose wildcard has it.
    pub(crate) fn find_wildcard(&self, host: &[u8], port: u16) -> Option<VirtualHostId> {
        self.wildcards_of(host).find_map(|slot| slot.get(port)).or_else(|| self.all.get(port))
    }

    /// The virtual host that has `host` itself, on all ports for which none names it.
    pub(crate) fn on_any_port(&self, host: &[u8]) -> Option<VirtualHostId> {
        self.exact.get(host)?.any_port
    }

    /// Whether any port knows `host`.
    pub(crate) fn is_known(&self, host: &[u8]) -> bool {
        self.exact.contains_key(host) || self.wildcards_of(host).next().is_some()
    }

    /// The slots of wildcards that have `host`, in order of precedence.
    fn wildcards_of<'s>(&'s self, host: &'s [u8]) -> impl Iterator<Item = &'s Slot> {
        self.wildcards
            .iter()
            .filter(move |(length, _)| *length < host.len())
            .filter_map(move |(length, map)| map.get(host.get(host.len() - length..)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(entries: &[(&str, &[u16])]) -> Domains {
        let mut domains = Domains::default();
        for (id, (domain, ports)) in entries.iter().enumerate() {
            domains.insert(domain, ports, id).unwrap();
        }
        domains
    }

    #[test]
    fn exact_then_longest_suffix() {
        // VH-04, TV-08, TV-09
        let domains = domains(&[
            ("*.example.com", &[]),
            ("*.b.example.com", &[]),
            ("a.b.example.com", &[]),
            ("*-api.example.com", &[]),
        ]);
        assert_eq!(domains.find(b"a.b.example.com", 80), Some(2));
        assert_eq!(domains.find(b"c.b.example.com", 80), Some(1));
        assert_eq!(domains.find(b"d.example.com", 80), Some(0));
        assert_eq!(domains.find(b"x-api.example.com", 80), Some(3));
    }

    #[test]
    fn a_wildcard_needs_a_character() {
        // VH-05, TV-07
        let domains = domains(&[("*.example.com", &[])]);
        assert_eq!(domains.find(b"example.com", 80), None);
        assert_eq!(domains.find(b".example.com", 80), None);
        assert_eq!(domains.find(b"x.y.example.com", 80), Some(0));
    }

    #[test]
    fn a_bare_wildcard_has_what_is_left() {
        // GW-05
        let domains = domains(&[("*", &[80]), ("*.example.com", &[]), ("*", &[81])]);
        assert_eq!(domains.find(b"a.example.com", 80), Some(1));
        assert_eq!(domains.find(b"example.com", 80), Some(0));
        assert_eq!(domains.find(b"", 81), Some(2));
        assert_eq!(domains.find(b"example.com", 82), None);
    }

    #[test]
    fn ports_are_tables_of_their_own() {
        // LI-08: an exact name on another port doesn't hide the wildcard on this one.
        let domains =
            domains(&[("a.example.com", &[8080]), ("*.example.com", &[80]), ("b.example.com", &[])]);
        assert_eq!(domains.find(b"a.example.com", 8080), Some(0));
        assert_eq!(domains.find(b"a.example.com", 80), Some(1));
        assert_eq!(domains.find(b"x.example.com", 8080), None);
        assert!(domains.is_known(b"x.example.com") && !domains.is_known(b"x.example.org"));
        assert_eq!(domains.find(b"b.example.com", 1), Some(2));
    }

    #[test]
    fn bad_and_duplicate_domains_are_refused() {
        let mut domains = domains(&[("a", &[80])]);
        for bad in ["", "**", "A", "a*", "**a", "a b", "* a", "a\n"] {
            assert_eq!(domains.insert(bad, &[], 1), Err(InvalidDomain::Malformed), "{bad}");
        }
        assert_eq!(domains.insert("a", &[81, 80], 1), Err(InvalidDomain::Taken(0, Some(80))));
        assert_eq!(domains.insert("a", &[], 2), Ok(()));
        assert_eq!(domains.insert("a", &[], 3), Err(InvalidDomain::Taken(2, None)));
    }
}
