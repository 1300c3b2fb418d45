//! The request headers as Envoy hands them over, read without copying a value.

use portolan_engine::Request;

/// All headers of a request, borrowed from one block of memory.
pub(crate) struct HeaderMap<'a> {
    lines: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> HeaderMap<'a> {
    /// Reads a serialized map: a count, then a pair of lengths for each header, then name
    /// and value of each, both followed by a zero byte. All numbers are 32 bits, little
    /// endian. None where the block is cut short.
    pub(crate) fn parse(block: &'a [u8]) -> Option<Self> {
        let (count, lengths) = number(block)?;
        // Bounded by what the block can hold, whatever the count says.
        if count > lengths.len() / 8 {
            return None;
        }
        let (lengths, mut data) = lengths.split_at_checked(count * 8)?;
        let mut lines = Vec::with_capacity(count);
        for pair in lengths.chunks_exact(8) {
            let (name_length, rest) = number(pair)?;
            let (value_length, _) = number(rest)?;
            let name = text(&mut data, name_length)?;
            let value = text(&mut data, value_length)?;
            lines.push((name, value));
        }
        Some(Self { lines })
    }

    /// Names and values in order.
    pub(crate) fn lines(&self) -> &[(&'a [u8], &'a [u8])] {
        &self.lines
    }

    /// What the engine decides on.
    pub(crate) fn request(&self, random: u64) -> Request<'_> {
        let mut request = Request { random, headers: &self.lines, ..Request::default() };
        // Pseudo headers come first.
        for &(name, value) in self.lines.iter().take_while(|(name, _)| name.first() == Some(&b':')) {
            match name {
                b":method" => request.method = value,
                b":scheme" => request.scheme = value,
                b":authority" => request.authority = value,
                b":path" => request.path = value,
                _ => {}
            }
        }
        request
    }
}

/// The number at the start of `bytes`, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number) as usize, rest))
}

/// Takes `length` bytes and the zero byte behind them from the front of `data`.
fn text<'a>(data: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (text, rest) = data.split_at_checked(length)?;
    *data = rest.get(1..)?;
    Some(text)
}
