//! Chance, without a host call for each request.

use std::cell::Cell;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A generator of random numbers (SplitMix64): each VM has its own, seeded by Envoy.
///
/// The numbers divide requests among destinations; nothing secret depends on them.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    /// With a seed from `random_get`, which the standard library asks for its hash maps.
    pub(crate) fn seeded() -> Self {
        Self(Cell::new(RandomState::new().build_hasher().finish()))
    }

    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
