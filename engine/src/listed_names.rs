//! Which of the listed virtual hosts has a name. An entry is four bytes, besides the name in its listing.

use std::fmt;
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::listing::{Listed, Listing};

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

    /// The virtual host on whose line that is, its name, and the index of its listing.
    pub(crate) fn listed(&self, place: Place) -> Option<(usize, Name<'_>, Listed<'_>)> {
        let (index, (listing, prefix), offset) = self.listing(place)?;
        let listed = listing.around(offset)?;
        Some((index, Name { prefix, rest: listed.name }, listed))
    }

    /// The listing in which that is, with its index, and where.
    fn listing(&self, Place(at): Place) -> Option<(usize, &(Listing, String), usize)> {
        let index = self.starts.partition_point(|start| *start <= at).checked_sub(1)?;
        let offset = at.checked_sub(*self.starts.get(index)?)?;
        Some((index, self.listings.get(index)?, offset as usize))
    }

    /// The domain that begins there, as it is written.
    fn domain(&self, place: Place) -> &[u8] {
        self.listing(place).map_or(&[], |(_, (listing, _), offset)| listing.word(offset))
    }
}

/// Name of a virtual host: [`super::config::VirtualHost::name`]. Of some the virtual hosts of a group have the
/// beginning in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'n> {
    prefix: &'n str,
    rest: &'n str,
}

impl<'n> From<&'n str> for Name<'n> {
    fn from(rest: &'n str) -> Self {
        Self { prefix: "", rest }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix)?;
        f.write_str(self.rest)
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
            domain == name || domain.strip_suffix(b".") == Some(name)
        };
        self.0.find(hash(name), has_name).copied()
    }

    /// Adds the domain that begins at `place`, unless another virtual host has it: then where that is.
    pub(crate) fn add(&mut self, place: Place, listings: &Listings) -> Result<(), Place> {
        let domain = listings.domain(place);
        let is_same = |known: &Place| without_dot(listings.domain(*known)) == without_dot(domain);
        match self.0.entry(hash(domain), is_same, |known| hash(listings.domain(*known))) {
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
