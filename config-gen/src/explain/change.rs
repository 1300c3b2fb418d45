//! A change of a header, apart from the decision that it stems from.

use portolan_engine::HeaderChange;

/// What happens to the header of a name in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// All its lines go.
    Remove(String),
    /// One line stands in the place of all.
    Set(String, Vec<u8>),
    /// One line more.
    Add(String, Vec<u8>),
}

impl From<&HeaderChange<'_>> for Change {
    fn from(change: &HeaderChange<'_>) -> Self {
        match change {
            HeaderChange::Remove(name) => Self::Remove((*name).to_owned()),
            HeaderChange::Set(name, value) => Self::Set((*name).to_owned(), value.to_vec()),
            HeaderChange::Add(name, value) => Self::Add((*name).to_owned(), value.to_vec()),
        }
    }
}
