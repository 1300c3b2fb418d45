//! Virtual hosts by nothing but name and domains, in one text: of a hundred thousand a VM has a few megabytes.
//! Where they are that many they come compressed, since Envoy keeps several copies of a plugin config.

use std::fmt;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::base64;

/// Between the name of a virtual host and its domains.
const AFTER_NAME: &str = ": ";

/// Begins the compressed form: [`Listing::compressed`].
const GZIP: &str = "gzip:";

/// Up to how many times its length a gzip file has in it.
const MOST_COMPRESSED: usize = 1032;

/// Names of virtual hosts with their domains. In JSON an array of texts: `NAME: DOMAIN DOMAIN`, where a
/// domain that ends in a dot stands for the one without it, too. Or all of them as one: [`Listing::compressed`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// All texts; each ends in a line break.
    lines: String,
    /// How many domains they have together, as they are written.
    domains: usize,
}

/// One of the virtual hosts.
#[derive(Clone, Copy)]
pub struct Listed<'l> {
    /// As [`super::config::VirtualHost::name`], but for what all names of the group begin with.
    pub name: &'l str,
    domains: &'l str,
    /// Where its line begins in the listing.
    start: usize,
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

    /// How many domains they have together, as they are written.
    pub(crate) fn domain_count(&self) -> usize {
        self.domains
    }

    /// Length of the text, bytes.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What may stand in JSON in place of the array: `gzip:` and, in base64, a gzip file with a line for each,
    /// which ends in a line break.
    pub fn compressed(&self) -> std::io::Result<String> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(self.lines.as_bytes())?;
        Ok(format!("{GZIP}{}", base64::encode(&encoder.finish()?)))
    }

    /// None where it isn't the compressed form of one.
    fn from_compressed(text: &str) -> Option<Self> {
        let file = base64::decode(text.strip_prefix(GZIP)?)?;
        let length = u32::from_le_bytes(*file.last_chunk()?);
        // Memory is taken for what can be there, not for what is claimed.
        if length as usize / MOST_COMPRESSED > file.len() {
            return None;
        }
        let mut lines = Vec::with_capacity(length as usize);
        GzDecoder::new(file.as_slice()).take(u64::from(length) + 1).read_to_end(&mut lines).ok()?;
        // All of it, and so up to its checksum.
        let lines = String::from_utf8(lines).ok().filter(|lines| lines.len() == length as usize)?;
        let mut domains = 0;
        for line in lines.split_terminator('\n') {
            domains += Listed::parse(line)?.1;
        }
        (lines.is_empty() || lines.ends_with('\n')).then_some(Self { lines, domains })
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
    fn at(&self, start: usize) -> Option<Listed<'_>> {
        let rest = self.lines.get(start..)?;
        Listed::split(rest.get(..memchr::memchr(b'\n', rest.as_bytes())?)?, start)
    }

    /// The virtual host on whose line that is.
    pub(crate) fn around(&self, offset: usize) -> Option<Listed<'_>> {
        let before = self.lines.as_bytes().get(..offset)?;
        self.at(memchr::memrchr(b'\n', before).map_or(0, |end| end + 1))
    }

    /// What stands there up to the next space or the end of the line.
    pub(crate) fn word(&self, offset: usize) -> &[u8] {
        let rest = self.lines.as_bytes().get(offset..).unwrap_or_default();
        memchr::memchr2(b' ', b'\n', rest).and_then(|end| rest.get(..end)).unwrap_or(rest)
    }
}

impl<'l> Listed<'l> {
    /// Takes a line apart, if it is one; with the number of its domains as they are written.
    fn parse(line: &'l str) -> Option<(Self, usize)> {
        let listed = Self::split(line, 0)?;
        let mut count = 0;
        for word in listed.words() {
            if word.is_empty() {
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
        self.words().flat_map(domains_of)
    }

    /// The domains as they are written: one that ends in a dot stands for the one without it, too.
    pub(crate) fn words(&self) -> impl Iterator<Item = &'l str> + use<'l> {
        let mut rest = Some(self.domains);
        std::iter::from_fn(move || next_word(&mut rest))
    }

    /// With each, how far it is from the start of the listing.
    pub(crate) fn words_with_offsets(&self) -> impl Iterator<Item = (usize, &'l str)> + use<'l> {
        let mut offset = self.start + self.name.len() + AFTER_NAME.len();
        self.words().map(move |word| {
            let at = offset;
            offset += word.len() + 1;
            (at, word)
        })
    }
}

/// What a domain as it is written stands for.
pub(crate) fn domains_of(word: &str) -> impl Iterator<Item = &str> {
    let without_dot = word.strip_suffix('.').filter(|name| !name.is_empty());
    without_dot.into_iter().chain([word])
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
                f.write_str("an array of virtual hosts, or `gzip:` and a file of it in base64")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Listing, E> {
                Listing::from_compressed(text)
                    .ok_or_else(|| E::invalid_value(Unexpected::Other("another text"), &self))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Listing, A::Error> {
                let mut listing = Listing::default();
                while array.next_element_seed(Line(&mut listing))?.is_some() {}
                // Of what a VM has had at a time it gives nothing back, but uses it again.
                listing.lines.shrink_to_fit();
                Ok(listing)
            }
        }
        deserializer.deserialize_any(Lines)
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
            false => Err(E::invalid_value(Unexpected::Str(line), &self)),
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
            for (offset, word) in listed.words_with_offsets() {
                assert_eq!(listing.word(offset), word.as_bytes());
                assert_eq!(listing.around(offset).map(|found| found.name), Some(listed.name));
            }
        }
    }

    #[test]
    fn what_is_compressed_comes_out_again() {
        let many: Vec<String> = (0..1000).map(|number| format!("{number}.example.com.")).collect();
        let mut listing = Listing::default();
        for length in [0, 1, 1000] {
            for host in &many[..length] {
                assert!(listing.push(host, &[host.trim_end_matches('.').to_owned(), host.clone()]));
            }
            let text = listing.compressed().unwrap();
            let read: Listing = serde_json::from_value(text.as_str().into()).unwrap();
            assert_eq!(read, listing);
            assert!(length < 1000 || text.len() < listing.len() / 4, "{} {}", text.len(), listing.len());
        }
    }

    #[test]
    fn what_is_not_compressed_virtual_hosts_is_refused() {
        let of = |text: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let good = of(b"a: b\n");
        assert!(Listing::from_compressed(&format!("gzip:{}", base64::encode(&good))).is_some());
        let changed = |index: usize| {
            let mut bytes = good.clone();
            bytes[index] ^= 0xff;
            bytes
        };
        // Its magic number, its text, its checksum, and its length.
        let broken = [0, 12, good.len() - 8, good.len() - 4, good.len() - 1].map(changed);
        let others = [of(b"a: b"), of(b"a: b\n\n"), of(b"a\n"), of(b"\xff: b\n"), good[1..].to_vec()];
        let cut = [0, 3, 10, good.len() - 1].map(|length| good[..length].to_vec());
        // What follows the file would be its length.
        let followed = [of(b"a: b\nc: d\n"), 4_u32.to_le_bytes().to_vec()].concat();
        for bytes in broken.into_iter().chain(others).chain(cut).chain([followed]) {
            let text = format!("gzip:{}", base64::encode(&bytes));
            assert_eq!(Listing::from_compressed(&text), None, "{bytes:?}");
        }
        assert_eq!(Listing::from_compressed(&base64::encode(&good)), None);
        assert_eq!(Listing::from_compressed("gzip:?"), None);
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
