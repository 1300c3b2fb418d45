//! Which of the listed virtual hosts has a name. An entry is four bytes, besides the name in its listing.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::listing::{Listed, Listing};
use crate::pieces::Pieces;

/// All listings, one after the other.
#[derive(Debug)]
pub(crate) struct Listings {
    /// Each with what its names begin with.
    listings: Vec<(Listing, String)>,
    /// Where the text of each begins.
    starts: Vec<u32>,
    length: u32,
}

/// Somewhere in the text of all listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Listings {
    /// Without any, with room for that many.
    pub(crate) fn with_capacity(listings: usize) -> Self {
        Self { listings: Vec::with_capacity(listings), starts: Vec::with_capacity(listings), length: 0 }
    }

    /// Adds one whose names begin so, as long as there is room for the numbers. Returns where its text begins.
    pub(crate) fn push(&mut self, listing: Listing, name_prefix: String) -> Option<Place> {
        let start = self.length;
        self.length = start.checked_add(u32::try_from(listing.len()).ok()?)?;
        self.listings.push((listing, name_prefix));
        self.starts.push(start);
        Some(Place(start))
    }

    /// Of the listing whose text begins at `start`.
    pub(crate) fn iter(&self, start: Place) -> impl Iterator<Item = Listed<'_>> {
        self.listing(start).into_iter().flat_map(|(_, (listing, _), _)| listing.iter())
    }

    /// The virtual host whose domain begins there, its name, and the index of its listing.
    pub(crate) fn listed(&self, place: Place) -> Option<(usize, Pieces<'_>, Listed<'_>)> {
        let (index, (listing, prefix), offset) = self.listing(place)?;
        let (listed, _) = listing.with_domain(offset)?;
        let Pieces([beginning, name, ..]) = listed.name();
        Some((index, Pieces([prefix, beginning, name, ""]), listed))
    }

    /// The listing in which that is, with its index, and where.
    fn listing(&self, Place(at): Place) -> Option<(usize, &(Listing, String), usize)> {
        let index = self.starts.partition_point(|start| *start <= at).checked_sub(1)?;
        let offset = at.checked_sub(*self.starts.get(index)?)?;
        Some((index, self.listings.get(index)?, offset as usize))
    }

    /// The domain that begins there, as it is written.
    fn domain(&self, place: Place) -> Pieces<'_> {
        let found = self.listing(place).and_then(|(_, (listing, _), offset)| listing.with_domain(offset));
        found.map_or(Pieces::default(), |(_, domain)| domain)
    }
}

impl Place {
    /// So much further on.
    pub(crate) fn plus(self, offset: usize) -> Self {
        // The text has no more than can be counted.
        Self(self.0.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX)))
    }
}

/// From names to lines; the listings stand elsewhere, and are always the same.
#[derive(Debug)]
pub(crate) struct ListedNames(HashTable<Place>);

impl ListedNames {
    /// With room for that many.
    pub(crate) fn with_capacity(names: usize) -> Self {
        Self(HashTable::with_capacity(names))
    }

    /// The virtual host that has `name`.
    pub(crate) fn find(&self, name: &[u8], listings: &Listings) -> Option<Place> {
        if self.0.is_empty() || name.is_empty() {
            return None;
        }
        let has_name = |place: &Place| {
            let domain = listings.domain(*place);
            domain.is(name) || domain.without_dot().is_some_and(|domain| domain.is(name))
        };
        self.0.find(hash(name), has_name).copied()
    }

    /// Adds `domain`, which begins at `place`, unless another virtual host has it: then where that is.
    pub(crate) fn add(&mut self, domain: &str, place: Place, listings: &Listings) -> Result<(), Place> {
        let is_same = |known: &Place| {
            let known = listings.domain(*known);
            known.without_dot().unwrap_or(known).is(without_dot(domain.as_bytes()))
        };
        let hash_of = |known: &Place| hash(listings.domain(*known).text().as_bytes());
        match self.0.entry(hash(domain.as_bytes()), is_same, hash_of) {
            Entry::Occupied(known) => Err(*known.get()),
            Entry::Vacant(free) => {
                free.insert(place);
                Ok(())
            }
        }
    }
}

/// The same of a name with and without a dot at its end, which have one entry.
fn hash(name: &[u8]) -> u64 {
    FixedState::default().hash_one(without_dot(name))
}

fn without_dot(name: &[u8]) -> &[u8] {
    name.strip_suffix(b".").unwrap_or(name)
}
