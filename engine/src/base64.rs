//! Base64, as Kubernetes writes bytes: the standard alphabet with padding.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` as text.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut number = [0; 4];
        for (to, from) in number[1..].iter_mut().zip(group) {
            *to = *from;
        }
        let number = u32::from_be_bytes(number);
        for place in 0..4 {
            let digit = number >> (18 - 6 * place) & 63;
            let digit = ALPHABET.get(digit as usize).filter(|_| place <= group.len());
            text.push(digit.map_or('=', |digit| char::from(*digit)));
        }
    }
    text
}

/// The bytes that `text` stands for. None where it is something else.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (groups, _) = text.as_bytes().as_chunks::<4>();
    // Where there are but digits, as there are first of all.
    let mut read = 0;
    for group in groups {
        let digits = group.map(digit);
        if digits.iter().any(|digit| *digit > 63) {
            break;
        }
        push(&mut bytes, digits, 3);
        read += group.len();
    }
    // Go's decoder skips line breaks.
    let mut digits = text.bytes().skip(read).filter(|byte| !matches!(byte, b'\r' | b'\n'));
    loop {
        let Some(first) = digits.next() else { return Some(bytes) };
        let group = [first, digits.next()?, digits.next()?, digits.next()?];
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        let mut group = group.map(digit);
        for place in group.iter_mut().rev().take(padding) {
            *place = 0;
        }
        if padding > 2 || group.iter().any(|digit| *digit > 63) {
            return None;
        }
        push(&mut bytes, group, 3 - padding);
        if padding > 0 {
            // Padding ends the text.
            return digits.next().is_none().then_some(bytes);
        }
    }
}

/// 64 for what is no digit.
fn digit(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 64,
    }
}

/// Adds the first `count` bytes of a group.
fn push(bytes: &mut Vec<u8>, digits: [u8; 4], count: usize) {
    let number = digits.iter().fold(0, |number: u32, digit| number << 6 | u32::from(*digit));
    let [_, decoded @ ..] = number.to_be_bytes();
    bytes.extend(decoded.iter().take(count));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9v\nYmFy\n", Some(b"foobar")),
            ("AP//+w==", Some(b"\0\xff\xff\xfb")),
            ("Zg", None),
            ("Zg=", None),
            ("Z===", None),
            ("====", None),
            ("Zg==Zg==", None),
            ("Zm9 ", None),
            ("Z_-=", None),
        ] {
            assert_eq!(decode(text).as_deref(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_encoded_comes_out_again() {
        assert_eq!(encode(b"AP//"), "QVAvLw==");
        let bytes: Vec<u8> = (0..=255).collect();
        for length in [0, 1, 2, 3, 4, 255, 256] {
            let text = encode(&bytes[..length]);
            assert_eq!(text.len(), length.div_ceil(3) * 4, "{text}");
            assert_eq!(decode(&text).as_deref(), Some(&bytes[..length]), "{text}");
        }
    }
}
