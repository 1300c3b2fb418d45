//! Virtual hosts by nothing but name and domains, in one text: of a hundred thousand a VM has a few megabytes.
//! Where they are that many they come compressed, since Envoy keeps several copies of a plugin config; and packed,
//! since each VM keeps what was compressed.

use std::fmt;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::base64;
use crate::packing::{self, Common};
use crate::pieces::Pieces;

/// Between the name of a virtual host and its domains.
const AFTER_NAME: &str = ": ";

/// Begins the compressed form: [`Listing::compressed`].
const GZIP: &str = "gzip:";

/// Up to how many times its length a gzip file has in it.
const MOST_COMPRESSED: usize = 1032;

/// Names of virtual hosts with their domains. In JSON an array of texts: `NAME: DOMAIN DOMAIN`, where a
/// domain that ends in a dot stands for the one without it, too. Or all of them as one: [`Listing::compressed`].
#[derive(Clone, Default)]
pub struct Listing {
    /// All texts; each ends in a line break. They are packed where the first of them is [`Common`].
    lines: String,
    /// How many domains they have together, as they are written.
    domains: usize,
}

/// One of the virtual hosts.
#[derive(Clone, Copy)]
pub struct Listed<'l> {
    common: Common<'l>,
    /// But for what is common.
    name: &'l str,
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
            let domains = domains.iter().map(|domain| domain.as_str().into());
            listed.name().is(name.as_bytes()) && listed.domains().eq(domains)
        };
        Listed::split(&line, Common::default(), 0).is_some_and(is_same) && self.push_line(&line)
    }

    /// False where it isn't one.
    fn push_line(&mut self, line: &str) -> bool {
        let Some(domains) = Listed::count(line, None) else { return false };
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
    /// which ends in a line break. What lines have in common is written once, for up to 32 of them: a line before them
    /// has a byte 1, what their names begin with, a space, and a text in which domains end. In the lines that
    /// follow it names are without their beginning, and in domains a byte 2 at their start stands for the name, and
    /// a byte 3 at their end for that text.
    pub fn compressed(&self) -> std::io::Result<String> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(packing::pack(self).as_bytes())?;
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
        let mut listing = Self { lines, domains: 0 };
        listing.domains = listing.count()?;
        Some(listing)
    }

    /// How many domains they have together, if all lines are as they should be.
    fn count(&self) -> Option<usize> {
        let is_packed = self.is_packed();
        let (mut common, mut lines_with_it, mut domains) = (None, 0, 0);
        for line in self.lines.split_terminator('\n') {
            if let Some(next) = Common::parse(line).filter(|_| is_packed) {
                (common, lines_with_it) = (Some(next), 0);
                continue;
            }
            // Whoever looks for what is common finds it near the line.
            lines_with_it += 1;
            if is_packed && lines_with_it > packing::MOST_LINES {
                return None;
            }
            domains += Listed::count(line, common)?;
        }
        (self.lines.is_empty() || self.lines.ends_with('\n')).then_some(domains)
    }

    fn is_packed(&self) -> bool {
        self.lines.as_bytes().first() == Some(&packing::COMMON)
    }

    /// The virtual hosts in order.
    pub fn iter(&self) -> impl Iterator<Item = Listed<'_>> {
        let (mut start, mut common) = (0, Common::default());
        std::iter::from_fn(move || {
            let mut line = self.line(start)?;
            while let Some(next) = Common::parse(line) {
                common = next;
                start += line.len() + 1;
                line = self.line(start)?;
            }
            let listed = Listed::split(line, common, start);
            start += line.len() + 1;
            listed
        })
    }

    /// The virtual hosts as they stand in JSON.
    fn texts(&self) -> impl Iterator<Item = String> {
        self.iter().map(|listed| listed.to_string())
    }

    /// The line that begins there, without its end.
    fn line(&self, start: usize) -> Option<&str> {
        let rest = self.lines.get(start..)?;
        rest.get(..memchr::memchr(b'\n', rest.as_bytes())?)
    }

    /// The virtual host on whose line that is.
    fn around(&self, offset: usize) -> Option<Listed<'_>> {
        let before = self.lines.as_bytes().get(..offset)?;
        let start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
        let common = match self.is_packed() {
            true => Common::parse(self.line(memchr::memrchr(packing::COMMON, before)?)?)?,
            false => Common::default(),
        };
        Listed::split(self.line(start)?, common, start)
    }

    /// The virtual host whose domain begins there, and that domain as it is written.
    pub(crate) fn with_domain(&self, offset: usize) -> Option<(Listed<'_>, Pieces<'_>)> {
        let listed = self.around(offset)?;
        let before = offset.checked_sub(listed.start + listed.name.len() + AFTER_NAME.len())?;
        let word = next_word(&mut Some(listed.domains.get(before..)?))?;
        Some((listed, listed.domain(word)))
    }
}

impl<'l> Listed<'l> {
    /// How many domains a line has, if it is one of a virtual host; where lines are packed, with what is common.
    fn count(line: &'l str, common: Option<Common<'l>>) -> Option<usize> {
        let is_control = |text: &str| text.bytes().any(|byte| byte.is_ascii_control());
        let listed = Self::split(line, common.unwrap_or_default(), 0)?;
        if listed.name().is_empty() || is_control(if common.is_some() { listed.name } else { line }) {
            return None;
        }
        let mut count = 0;
        let mut rest = Some(listed.domains);
        while let Some(word) = next_word(&mut rest) {
            let is_one = match common {
                Some(_) => {
                    let domain = listed.domain(word);
                    let Pieces([_, _, written, _]) = domain;
                    !domain.is_empty() && !is_control(written)
                }
                None => !word.is_empty(),
            };
            if !is_one {
                return None;
            }
            count += 1;
        }
        Some(count)
    }

    /// At the last of what stands between name and domains.
    fn split(line: &'l str, common: Common<'l>, start: usize) -> Option<Self> {
        let mut colons = memchr::memrchr_iter(b':', line.as_bytes());
        colons.find_map(|colon| {
            let domains = line.get(colon..)?.strip_prefix(AFTER_NAME)?;
            Some(Self { common, name: line.get(..colon)?, domains, start })
        })
    }

    /// As [`super::config::VirtualHost::name`], but for what all names of the group begin with.
    pub fn name(&self) -> Pieces<'l> {
        Pieces([self.common.beginning, self.name, "", ""])
    }

    /// As [`super::config::VirtualHost::domains`]: at least one.
    pub fn domains(&self) -> impl Iterator<Item = Pieces<'l>> + use<'l> {
        self.words().flat_map(|(_, word)| domains_of(word))
    }

    /// The domains as they are written: one that ends in a dot stands for the one without it, too. With each, how
    /// far it is from the start of the listing.
    pub(crate) fn words(self) -> impl Iterator<Item = (usize, Pieces<'l>)> + use<'l> {
        let mut offset = self.start + self.name.len() + AFTER_NAME.len();
        let mut rest = Some(self.domains);
        std::iter::from_fn(move || {
            let (word, at) = (next_word(&mut rest)?, offset);
            offset += word.len() + 1;
            Some((at, self.domain(word)))
        })
    }

    /// What a domain is of which that is written.
    fn domain(&self, word: &'l str) -> Pieces<'l> {
        let (beginning, name, rest) = match word.strip_prefix(packing::NAME) {
            Some(rest) => (self.common.beginning, self.name, rest),
            None => ("", "", word),
        };
        match rest.strip_suffix(packing::END) {
            Some(rest) => Pieces([beginning, name, rest, self.common.end]),
            None => Pieces([beginning, name, rest, ""]),
        }
    }
}

/// What a domain as it is written stands for.
pub(crate) fn domains_of(word: Pieces<'_>) -> impl Iterator<Item = Pieces<'_>> {
    word.without_dot().filter(|name| !name.is_empty()).into_iter().chain([word])
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

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.name())?;
        self.words().try_for_each(|(_, word)| write!(f, " {word}"))
    }
}

impl PartialEq for Listing {
    fn eq(&self, other: &Self) -> bool {
        self.lines == other.lines || self.texts().eq(other.texts())
    }
}

impl Eq for Listing {}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.texts()).finish()
    }
}

impl Serialize for Listing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.texts())
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

    fn owned(name: &str, domains: &[&str]) -> (String, Vec<String>) {
        (name.to_owned(), domains.iter().copied().map(str::to_owned).collect())
    }

    fn all(listing: &Listing) -> Vec<(String, Vec<String>)> {
        let domains = |listed: Listed<'_>| listed.domains().map(|domain| domain.to_string()).collect();
        listing.iter().map(|listed| (listed.name().to_string(), domains(listed))).collect()
    }

    /// By each of its domains.
    fn assert_is_found(listing: &Listing, listed: Listed<'_>) {
        for (offset, word) in listed.words() {
            let (found, domain) = listing.with_domain(offset).unwrap();
            assert_eq!((found.name(), found.start, domain), (listed.name(), listed.start, word));
        }
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
        assert_eq!(
            all(&listing),
            hosts[..3].iter().map(|(name, domains)| owned(name, domains)).collect::<Vec<_>>()
        );
        for (name, domains) in &hosts[3..] {
            let domains: Vec<String> = domains.iter().copied().map(str::to_owned).collect();
            assert!(!Listing::default().push(name, &domains), "{name} {domains:?}");
        }
        let json = serde_json::to_string(&listing).unwrap();
        assert_eq!(json, r#"["ServiceEntry default/a: a.example.com.","plain: a","x: y: *.b b. b:80"]"#);
        assert_eq!(serde_json::from_str::<Listing>(&json).unwrap(), listing);
        for listed in listing.iter() {
            assert_is_found(&listing, listed);
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
            assert_eq!(read.domain_count(), listing.domain_count());
            assert_eq!(read.compressed().unwrap(), text);
            assert!(length < 1000 || text.len() < listing.len() / 4, "{} {}", text.len(), listing.len());
        }
    }

    /// As a gzip file.
    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn of_file(text: &str) -> Option<Listing> {
        Listing::from_compressed(&format!("{GZIP}{}", base64::encode(&gzip(text.as_bytes()))))
    }

    #[test]
    fn what_is_packed_is_the_same() {
        let hosts: [(&str, &[&str]); 9] = [
            ("service-1", &["service-1.example.com."]),
            ("service-2", &["service-2.example.com.", "service-2.", "service-2"]),
            ("service-2", &["example.com", ".example.com.", "*.example.com."]),
            ("service-10", &["10.example.com", "other.example.org"]),
            ("s", &["service-1.example.com.", "s"]),
            ("a: b", &["b:80", "a:", "b"]),
            ("ü", &["üü.", "ü"]),
            ("ö", &["ö.", "*"]),
            ("a b", &["a"]),
        ];
        for first in 0..hosts.len() {
            for count in 1..=hosts.len() - first {
                let mut plain = Listing::default();
                for (name, domains) in &hosts[first..first + count] {
                    let (name, domains) = owned(name, domains);
                    plain.push(&name, &domains);
                }
                let packed = of_file(&packing::pack(&plain)).unwrap();
                assert!(packed.is_packed() || plain.is_empty(), "{plain:?}");
                assert_eq!(all(&packed), all(&plain));
                packed.iter().for_each(|listed| assert_is_found(&packed, listed));
            }
        }
        let numbered: Vec<(String, Vec<String>)> = (0..100)
            .map(|number| (format!("service-{number}"), vec![format!("service-{number}.example.com")]))
            .collect();
        let mut plain = Listing::default();
        assert!(numbered.iter().all(|(name, domains)| plain.push(name, domains)));
        assert!(packing::pack(&plain).len() < 10 * numbered.len(), "{}", packing::pack(&plain));
    }

    #[test]
    fn what_is_not_packed_as_it_should_be_is_refused() {
        let listed = of_file("\u{1}a .b\n: \u{2}\u{3}\nc: x\u{3} \u{2}\n\u{1} \n\u{1}d \n: \u{2}\n").unwrap();
        let texts: Vec<String> = listed.texts().collect();
        assert_eq!(texts, ["a: a.b", "ac: x.b ac", "d: d"]);
        assert_eq!(listed.domain_count(), 4);
        listed.iter().for_each(|one| assert_is_found(&listed, one));
        let lines = |count: usize| format!("\u{1}a .b\n{}", ": \u{2}\u{3}\n".repeat(count));
        assert!(of_file(&lines(packing::MOST_LINES)).is_some());
        for refused in [
            &lines(packing::MOST_LINES + 1),
            // Not from the first line on.
            "a: b\n\u{1}a .b\n: c\n",
            "a: \u{2}\n",
            "a: b\u{3}\n",
            // No name, no domain.
            "\u{1} .b\n: \u{3}\n",
            "\u{1}a \n: \u{3}\n",
            "\u{1}a .b\nc\n",
            // Not what it is in another place.
            "\u{1}a .b\n: x\u{2}\n",
            "\u{1}a .b\n: \u{3}x\n",
            "\u{1}a .b\n: \u{3}\u{2}\n",
            "\u{1}a .b\n\u{2}: c\n",
            "\u{1}a\n: c\n",
            "\u{1}\u{2} .b\nc: c\n",
            "\u{1}a .b\u{3}\nc: c\n",
        ] {
            assert_eq!(of_file(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn what_is_not_compressed_virtual_hosts_is_refused() {
        let of = gzip;
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
        for name in ["", "a\nb", "a\u{1}"] {
            assert!(!Listing::default().push(name, &["a".to_owned()]), "{name}");
        }
        for domains in [&[][..], &[""], &["a b"], &["a\n"], &["a", ""], &["\u{2}"], &["a\u{3}"]] {
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
