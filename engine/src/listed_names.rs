//! Which of the listed virtual hosts has a name. An entry is twelve bytes, besides the name in its listing.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::listing::{Listed, Listing};

/// A line of one of several listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    listing: u32,
    /// Where the line begins.
    start: u32,
}

impl Place {
    /// None where the numbers have no room.
    pub(crate) fn new(listing: usize, start: usize) -> Option<Self> {
        Some(Self { listing: listing.try_into().ok()?, start: start.try_into().ok()? })
    }

    /// Index of the listing.
    pub(crate) fn listing(self) -> usize {
        self.listing as usize
    }

    /// What stands there.
    pub(crate) fn listed(self, listings: &[Listing]) -> Option<Listed<'_>> {
        listings.get(self.listing())?.at(self.start as usize)
    }
}

/// From names to lines; the listings stand elsewhere, and are always the same.
#[derive(Debug)]
pub(crate) struct ListedNames(HashTable<Name>);

#[derive(Debug)]
struct Name {
    place: Place,
    /// From the start of the line.
    offset: u16,
    length: u16,
}

impl Name {
    fn text<'l>(&self, listings: &'l [Listing]) -> Option<&'l [u8]> {
        let start = self.place.start as usize + usize::from(self.offset);
        listings.get(self.place.listing())?.text(start, self.length.into())
    }
}

fn hash(name: &[u8]) -> u64 {
    FixedState::default().hash_one(name)
}

impl ListedNames {
    /// With room for that many.
    pub(crate) fn with_capacity(names: usize) -> Self {
        Self(HashTable::with_capacity(names))
    }

    /// The virtual host that has `name`.
    pub(crate) fn find(&self, name: &[u8], listings: &[Listing]) -> Option<Place> {
        if self.0.is_empty() {
            return None;
        }
        let is_same = |known: &Name| known.text(listings) == Some(name);
        self.0.find(hash(name), is_same).map(|known| known.place)
    }

    /// Adds `name`, which is so far from the start of its line, unless another virtual host has it.
    pub(crate) fn add(
        &mut self,
        name: &str,
        place: Place,
        offset: usize,
        listings: &[Listing],
    ) -> Result<(), NotAdded> {
        let (Ok(offset), Ok(length)) = (u16::try_from(offset), u16::try_from(name.len())) else {
            return Err(NotAdded::TooLong);
        };
        let name = name.as_bytes();
        let is_same = |known: &Name| known.text(listings) == Some(name);
        let hash_of = |known: &Name| hash(known.text(listings).unwrap_or_default());
        match self.0.entry(hash(name), is_same, hash_of) {
            Entry::Occupied(known) => Err(NotAdded::Taken(known.get().place)),
            Entry::Vacant(free) => {
                free.insert(Name { place, offset, length });
                Ok(())
            }
        }
    }
}

/// Why a name isn't here.
pub(crate) enum NotAdded {
    /// It has no room in an entry.
    TooLong,
    /// Another virtual host has it.
    Taken(Place),
}
