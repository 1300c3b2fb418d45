//! Virtual hosts by nothing but name and domains, in one text: of a hundred thousand a VM has a few megabytes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Between the name of a virtual host and its domains.
const AFTER_NAME: &str = ": ";

/// Names of virtual hosts with their domains. In JSON an array of texts: `NAME: DOMAIN DOMAIN`, where a
/// domain that ends in a dot stands for the one without it, too.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// All texts; each ends in a line break.
    lines: String,
    /// How many domains they have together.
    domains: usize,
}

/// One of the virtual hosts.
#[derive(Clone, Copy)]
pub struct Listed<'l> {
    /// As [`super::config::VirtualHost::name`].
    pub name: &'l str,
    domains: &'l str,
    /// Where its line begins in the listing.
    pub(crate) start: usize,
}

impl Listing {
    /// Adds a virtual host, unless this form can't say it.
    pub fn push(&mut self, name: &str, domains: &[String]) -> bool {
        let mut words: Vec<&str> = Vec::with_capacity(domains.len());
        for domain in domains {
            match words.last_mut() {
                Some(last) if domain.strip_suffix('.') == Some(last) => *last = domain,
                _ => words.push(domain),
            }
        }
        let line = format!("{name}{AFTER_NAME}{}", words.join(" "));
        let is_same = |listed: Listed<'_>| {
            listed.name == name && listed.domains().eq(domains.iter().map(String::as_str))
        };
        Listed::parse(&line).is_some_and(|(listed, _)| is_same(listed)) && self.push_line(&line)
    }

    /// False where it isn't one.
    fn push_line(&mut self, line: &str) -> bool {
        let Some((_, domains)) = Listed::parse(line) else { return false };
        self.domains += domains;
        self.lines.push_str(line);
        self.lines.push('\n');
        true
    }

    /// How many domains they have together.
    pub(crate) fn domain_count(&self) -> usize {
        self.domains
    }

    /// The virtual hosts in order.
    pub fn iter(&self) -> impl Iterator<Item = Listed<'_>> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let listed = self.at(start)?;
            // A line is its name, the two characters after it, its domains, and a line break.
            start += listed.name.len() + AFTER_NAME.len() + listed.domains.len() + 1;
            Some(listed)
        })
    }

    /// The virtual host whose line begins there.
    pub(crate) fn at(&self, start: usize) -> Option<Listed<'_>> {
        let rest = self.lines.get(start..)?;
        Listed::split(rest.get(..memchr::memchr(b'\n', rest.as_bytes())?)?, start)
    }

    /// That part of the text.
    pub(crate) fn text(&self, start: usize, length: usize) -> Option<&[u8]> {
        self.lines.as_bytes().get(start..start.checked_add(length)?)
    }
}

impl<'l> Listed<'l> {
    /// Takes a line apart, if it is one; with the number of its domains.
    fn parse(line: &'l str) -> Option<(Self, usize)> {
        let listed = Self::split(line, 0)?;
        let mut count = 0;
        for domain in listed.domains() {
            if domain.is_empty() {
                return None;
            }
            count += 1;
        }
        let is_one = !listed.name.is_empty() && memchr::memchr(b'\n', line.as_bytes()).is_none();
        is_one.then_some((listed, count))
    }

    /// At the last of what stands between name and domains.
    fn split(line: &'l str, start: usize) -> Option<Self> {
        let mut colons = memchr::memrchr_iter(b':', line.as_bytes());
        colons.find_map(|colon| {
            let domains = line.get(colon..)?.strip_prefix(AFTER_NAME)?;
            Some(Self { name: line.get(..colon)?, domains, start })
        })
    }

    /// As [`super::config::VirtualHost::domains`]: at least one.
    pub fn domains(&self) -> impl Iterator<Item = &'l str> + use<'l> {
        self.domains_with_offsets().map(|(_, domain)| domain)
    }

    /// With each, how far it is from the start of the line.
    pub(crate) fn domains_with_offsets(&self) -> impl Iterator<Item = (usize, &'l str)> + use<'l> {
        let mut rest = Some(self.domains);
        let mut offset = self.name.len() + AFTER_NAME.len();
        let mut with_dot = None;
        std::iter::from_fn(move || {
            if with_dot.is_some() {
                return with_dot.take();
            }
            let (at, word) = (offset, next_word(&mut rest)?);
            offset += word.len() + 1;
            match word.strip_suffix('.') {
                None | Some("") => Some((at, word)),
                Some(without_dot) => {
                    with_dot = Some((at, word));
                    Some((at, without_dot))
                }
            }
        })
    }
}

/// Takes the text up to the next space.
fn next_word<'l>(rest: &mut Option<&'l str>) -> Option<&'l str> {
    let text = (*rest)?;
    let (word, others) = match memchr::memchr(b' ', text.as_bytes()) {
        Some(space) => (text.get(..space)?, text.get(space + 1..)),
        None => (text, None),
    };
    *rest = others;
    Some(word)
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines.lines()).finish()
    }
}

impl Serialize for Listing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.lines.lines())
    }
}

impl<'de> Deserialize<'de> for Listing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;
        impl<'de> Visitor<'de> for Lines {
            type Value = Listing;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of virtual hosts")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Listing, A::Error> {
                let mut listing = Listing::default();
                while array.next_element_seed(Line(&mut listing))?.is_some() {}
                // Of what a VM has had at a time it gives nothing back, but uses it again.
                listing.lines.shrink_to_fit();
                Ok(listing)
            }
        }
        deserializer.deserialize_seq(Lines)
    }
}

/// Reads one virtual host into a listing, without a text of its own for it.
struct Line<'l>(&'l mut Listing);

impl<'de> DeserializeSeed<'de> for Line<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Line<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`NAME: DOMAIN DOMAIN`, each domain after one space")
    }
    fn visit_str<E: Error>(self, line: &str) -> Result<(), E> {
        match self.0.push_line(line) {
            true => Ok(()),
            false => Err(E::invalid_value(serde::de::Unexpected::Str(line), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(hosts: &[(&str, &[&str])]) -> Listing {
        let mut listing = Listing::default();
        for (name, domains) in hosts {
            let domains: Vec<String> = domains.iter().copied().map(str::to_owned).collect();
            assert!(listing.push(name, &domains), "{name} {domains:?}");
        }
        listing
    }

    #[test]
    fn what_is_listed_comes_out_again() {
        let hosts: [(&str, &[&str]); 5] = [
            ("ServiceEntry default/a", &["a.example.com", "a.example.com."]),
            ("plain", &["a"]),
            ("x: y", &["*.b", "b", "b.", "b:80"]),
            (" ", &["b.", "c"]),
            ("ü", &["*", "c.", "c", "c."]),
        ];
        // A dot alone stands for both, so that it can't be told.
        let listing = listing(&[hosts[0], hosts[1], hosts[2]]);
        let found: Vec<(&str, Vec<&str>)> =
            listing.iter().map(|listed| (listed.name, listed.domains().collect())).collect();
        let expected: Vec<(&str, Vec<&str>)> =
            hosts[..3].iter().map(|(name, domains)| (*name, domains.to_vec())).collect();
        assert_eq!(found, expected);
        for (name, domains) in &hosts[3..] {
            let domains: Vec<String> = domains.iter().copied().map(str::to_owned).collect();
            assert!(!Listing::default().push(name, &domains), "{name} {domains:?}");
        }
        let json = serde_json::to_string(&listing).unwrap();
        assert_eq!(json, r#"["ServiceEntry default/a: a.example.com.","plain: a","x: y: *.b b. b:80"]"#);
        assert_eq!(serde_json::from_str::<Listing>(&json).unwrap(), listing);
        for listed in listing.iter() {
            for (offset, domain) in listed.domains_with_offsets() {
                assert_eq!(listing.text(listed.start + offset, domain.len()), Some(domain.as_bytes()));
            }
        }
    }

    #[test]
    fn what_is_no_virtual_host_is_refused() {
        for name in ["", "a\nb"] {
            assert!(!Listing::default().push(name, &["a".to_owned()]), "{name}");
        }
        for domains in [&[][..], &[""], &["a b"], &["a\n"], &["a", ""]] {
            let domains: Vec<String> = domains.iter().copied().map(str::to_owned).collect();
            assert!(!Listing::default().push("a", &domains), "{domains:?}");
        }
        for json in [
            r#"["a"]"#,
            r#"["a: "]"#,
            r#"[": a"]"#,
            r#"["a: b  c"]"#,
            r#"["a: b\nc: d"]"#,
            "[1]",
            r#""a: b""#,
        ] {
            assert!(serde_json::from_str::<Listing>(json).is_err(), "{json}");
        }
    }
}
