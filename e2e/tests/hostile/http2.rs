//! HTTP/2 frame by frame: frames that no library would send, and just enough reading to tell what
//! came of each stream.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::catalogue::{Frame, bytes};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const LARGEST: usize = 16_384;

/// The preface, settings without a dynamic table, and `frames`.
pub(crate) fn encode(frames: &[Frame]) -> Result<Vec<u8>> {
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_HEADER_TABLE_SIZE: 0
    put(&mut out, SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
    for frame in frames {
        if let Some(headers) = &frame.headers {
            let mut block = Vec::new();
            for (name, value) in headers {
                literal(&mut block, &bytes(name)?, &bytes(value)?);
            }
            let end = if frame.end.unwrap_or(true) { END_STREAM } else { 0 };
            let mut parts = block.chunks(LARGEST).peekable();
            let mut kind = HEADERS;
            let mut flags = end;
            while let Some(part) = parts.next() {
                let last = if parts.peek().is_none() { END_HEADERS } else { 0 };
                put(&mut out, kind, flags | last, frame.stream, part);
                (kind, flags) = (CONTINUATION, 0);
            }
        } else if let Some(data) = &frame.data {
            let end = if frame.end.unwrap_or(false) { END_STREAM } else { 0 };
            put(&mut out, DATA, end, frame.stream, &bytes(data)?);
        } else if let Some(kind) = frame.frame {
            let payload = bytes(frame.payload.as_deref().unwrap_or_default())?;
            put(&mut out, kind, frame.flags, frame.stream, &payload);
        }
    }
    Ok(out)
}

/// A frame (RFC 9113, 4.1).
fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = payload.len().to_be_bytes();
    out.extend(&length[length.len() - 3..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// A header without indexing (RFC 7541, 6.2.2).
fn literal(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    for text in [name, value] {
        integer(out, text.len());
        out.extend(text);
    }
}

/// With a prefix of seven bits (RFC 7541, 5.1).
fn integer(out: &mut Vec<u8>, number: usize) {
    if number < 127 {
        out.push(number as u8);
        return;
    }
    out.push(127);
    let mut rest = number - 127;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// What came of the streams of a connection.
#[derive(Debug)]
pub(crate) struct Streams {
    /// A status, once there is one, and whether the stream has ended.
    streams: BTreeMap<u32, (Option<u16>, bool)>,
}

impl Streams {
    /// Those that `frames` begin, and don't reset.
    pub(crate) fn of(frames: &[Frame]) -> Self {
        let is_reset = |stream: u32| {
            frames.iter().any(|frame| frame.frame == Some(RST_STREAM) && frame.stream == stream)
        };
        let begun = frames.iter().filter(|frame| frame.headers.is_some() && !is_reset(frame.stream));
        Self { streams: begun.map(|frame| (frame.stream, (None, false))).collect() }
    }

    /// Reads what `received` holds from its beginning, and returns what is to be sent back.
    pub(crate) fn read(&mut self, mut received: &[u8]) -> Vec<u8> {
        let mut reply = Vec::new();
        for (_, ended) in self.streams.values_mut() {
            *ended = false;
        }
        while let Some((head, rest)) = received.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            received = rest;
            let known = self.streams.get_mut(&stream);
            match (kind, known) {
                (SETTINGS, _) if flags & ACK == 0 => put(&mut reply, SETTINGS, ACK, 0, b""),
                (HEADERS, Some(known)) => {
                    // Trailers have none.
                    known.0 = known.0.or_else(|| status(payload));
                    known.1 |= flags & END_STREAM != 0;
                }
                (DATA, Some(known)) => known.1 |= flags & END_STREAM != 0,
                (RST_STREAM, Some(known)) => known.1 = true,
                (GOAWAY, _) if payload.get(4..8) != Some(&[0; 4]) => {
                    self.streams.values_mut().for_each(|known| known.1 = true);
                }
                _ => {}
            }
        }
        reply
    }

    pub(crate) fn have_ended(&self) -> bool {
        self.streams.values().all(|(_, ended)| *ended)
    }

    /// In the order of the streams; none: it was reset, or the connection closed.
    pub(crate) fn statuses(&self) -> Vec<Option<u16>> {
        self.streams.values().map(|(status, _)| *status).collect()
    }
}

/// The status at the beginning of a block of headers (RFC 7541), where it always stands.
fn status(mut block: &[u8]) -> Option<u16> {
    // Changes of the table's size.
    while let Some((first, rest)) = block.split_first()
        && first & 0xe0 == 0x20
    {
        let long = first & 0x1f == 0x1f;
        let end = if long { rest.iter().position(|byte| byte & 0x80 == 0)? + 1 } else { 0 };
        block = rest.get(end..)?;
    }
    let (first, rest) = block.split_first()?;
    let indexed = [200, 204, 206, 304, 400, 404, 500];
    if first & 0x80 != 0 {
        return indexed.get(usize::from(first & 0x7f).checked_sub(8)?).copied();
    }
    let (length, rest) = rest.split_first()?;
    let text = rest.get(..usize::from(length & 0x7f))?;
    let digits = if length & 0x80 != 0 { huffman_digits(text)? } else { text.to_vec() };
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// RFC 7541, appendix B, for three digits.
fn huffman_digits(text: &[u8]) -> Option<Vec<u8>> {
    let mut bits = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let mut digits = Vec::new();
    while digits.len() < 3 {
        let five = (0..5).try_fold(0, |sum, _| Some(sum << 1 | bits.next()?))?;
        digits.push(match five {
            0..3 => b'0' + five,
            _ => b'3' + ((five << 1 | bits.next()?).checked_sub(0b01_1001)?),
        });
    }
    Some(digits)
}
