//! Text whose pieces stand in different places, since many texts have them in common.

use std::borrow::Cow;
use std::fmt;

/// A text in pieces, one after the other; some are empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pieces<'t>(pub(crate) [&'t str; 4]);

impl<'t> Pieces<'t> {
    /// Whether that is the text.
    pub fn is(&self, text: &[u8]) -> bool {
        let mut rest = Some(text);
        for piece in self.0 {
            rest = rest.and_then(|rest| rest.strip_prefix(piece.as_bytes()));
        }
        rest.is_some_and(<[u8]>::is_empty)
    }

    /// Whether it has no characters.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|piece| piece.is_empty())
    }

    /// The text in one piece; copied where it isn't.
    pub fn text(&self) -> Cow<'t, str> {
        match self.0 {
            ["", "", "", one] | ["", "", one, ""] | ["", one, "", ""] | [one, "", "", ""] => one.into(),
            pieces => pieces.concat().into(),
        }
    }

    /// Without the dot at its end; none where it has none.
    pub(crate) fn without_dot(mut self) -> Option<Self> {
        let last = self.0.iter_mut().rev().find(|piece| !piece.is_empty())?;
        *last = last.strip_suffix('.')?;
        Some(self)
    }
}

impl<'t> From<&'t str> for Pieces<'t> {
    fn from(text: &'t str) -> Self {
        Self([text, "", "", ""])
    }
}

impl PartialEq for Pieces<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.text().as_bytes())
    }
}

impl Eq for Pieces<'_> {}

impl fmt::Display for Pieces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| f.write_str(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_one_text() {
        for pieces in [["a", "", "b", "."], ["ab", ".", "", ""], ["", "", "", "ab."], ["", "a", "b.", ""]] {
            let pieces = Pieces(pieces);
            assert_eq!((&*pieces.text(), pieces.to_string().as_str()), ("ab.", "ab."));
            assert_eq!(pieces, "ab.".into());
            assert!(pieces.is(b"ab.") && !pieces.is(b"ab") && !pieces.is(b"ab..") && !pieces.is(b""));
            assert_eq!(pieces.without_dot(), Some("ab".into()));
            assert_eq!(pieces.without_dot().and_then(Pieces::without_dot), None);
        }
        assert!(Pieces::default().is_empty() && Pieces::default().is(b""));
        assert_eq!(Pieces::default().without_dot(), None);
    }
}
