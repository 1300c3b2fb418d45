//! Texts, each with a value, to be found by equality or as the start of a longer text.

use std::collections::HashMap;

/// A table that is built once. Looking something up allocates nothing and takes time in
/// proportion to the text, not to the table.
#[derive(Debug)]
pub(super) struct Literals<V> {
    /// Open addressing, at most half full.
    slots: Box<[Slot]>,
    entries: Box<[Entry<V>]>,
    texts: Box<[u8]>,
    /// The lengths that texts have, ascending.
    lengths: Box<[usize]>,
    fold_case: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: u32,
    /// Position in `entries`, counted from one; zero is an empty slot.
    entry: u32,
}

#[derive(Debug)]
struct Entry<V> {
    start: usize,
    end: usize,
    value: V,
}

impl<V> Literals<V> {
    /// The table of `entries`. With `fold_case` ASCII case makes no difference, and the texts have
    /// to be in lower case.
    pub(super) fn new(texts: HashMap<Vec<u8>, V>, fold_case: bool) -> Self {
        let mut entries: Vec<Entry<V>> = Vec::with_capacity(texts.len());
        let mut bytes = Vec::with_capacity(texts.keys().map(Vec::len).sum());
        let mut lengths: Vec<usize> = texts.keys().map(Vec::len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut slots = vec![Slot::default(); (texts.len() * 2).next_power_of_two()].into_boxed_slice();
        let mask = slots.len() - 1;
        for (text, value) in texts {
            let start = bytes.len();
            bytes.extend_from_slice(&text);
            entries.push(Entry { start, end: bytes.len(), value });
            let hash = Hash::default().with(&text, fold_case).finish();
            let filled = Slot { hash, entry: u32::try_from(entries.len()).unwrap_or(0) };
            let mut index = hash as usize & mask;
            while let Some(slot) = slots.get_mut(index) {
                if slot.entry == 0 {
                    *slot = filled;
                    break;
                }
                index = (index + 1) & mask;
            }
        }
        Self { slots, entries: entries.into(), texts: bytes.into(), lengths: lengths.into(), fold_case }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of `text`.
    pub(super) fn find(&self, text: &[u8]) -> Option<&V> {
        self.lengths.binary_search(&text.len()).ok()?;
        self.find_hashed(Hash::default().with(text, self.fold_case).finish(), text)
    }

    /// The values of all texts that `text` starts with, from the shortest.
    pub(super) fn starts_of<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a V> {
        let mut hash = Hash::default();
        let mut done = 0;
        self.lengths.iter().map_while(move |&length| Some((length, text.get(..length)?))).filter_map(
            move |(length, start)| {
                hash = hash.with(start.get(done..)?, self.fold_case);
                done = length;
                self.find_hashed(hash.finish(), start)
            },
        )
    }

    fn find_hashed(&self, hash: u32, text: &[u8]) -> Option<&V> {
        let mask = self.slots.len() - 1;
        let mut index = hash as usize & mask;
        loop {
            let slot = self.slots.get(index)?;
            let entry = self.entries.get((slot.entry as usize).checked_sub(1)?)?;
            if slot.hash == hash {
                let found = self.texts.get(entry.start..entry.end)?;
                if found == text || self.fold_case && found.eq_ignore_ascii_case(text) {
                    return Some(&entry.value);
                }
            }
            index = (index + 1) & mask;
        }
    }
}

/// FNV-1a over the bytes, mixed at the end: what counts here is that a text's hash is that of a
/// shorter one continued.
#[derive(Debug, Clone, Copy)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn with(self, text: &[u8], fold_case: bool) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(if fold_case {
            text.iter().fold(self.0, |hash, byte| step(hash, byte.to_ascii_lowercase()))
        } else {
            text.iter().fold(self.0, |hash, &byte| step(hash, byte))
        })
    }

    #[allow(clippy::cast_possible_truncation, reason = "the upper half, which is the mixed one")]
    fn finish(self) -> u32 {
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_whole_and_as_starts() {
        let texts = ["", "/a", "/a/b", "/ab", "/x"];
        let table: HashMap<_, _> =
            texts.iter().enumerate().map(|(id, text)| (text.as_bytes().to_vec(), id)).collect();
        let table = Literals::new(table, false);
        let starts = |text: &'static str| table.starts_of(text.as_bytes()).copied().collect::<Vec<_>>();
        assert_eq!(table.find(b"/a/b"), Some(&2));
        assert_eq!(table.find(b"/A"), None);
        assert_eq!(table.find(b""), Some(&0));
        assert_eq!(starts("/a/b/c"), [0, 1, 2]);
        assert_eq!(starts("/abc"), [0, 1, 3]);
        assert_eq!(starts(""), [0]);
        let folded = Literals::new(HashMap::from([(b"/a/b".to_vec(), 7)]), true);
        assert_eq!(folded.find(b"/A/b"), Some(&7));
        assert_eq!(folded.starts_of(b"/a/B/c").count(), 1);
        let none = Literals::<u32>::new(HashMap::new(), false);
        assert_eq!(none.find(b""), None);
        assert_eq!(none.starts_of(b"/").count(), 0);
    }
}
