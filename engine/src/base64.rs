//! Base64, as Kubernetes writes bytes.

/// The bytes that `text` stands for: the standard alphabet with padding. None where it is
/// something else.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    // Go's decoder skips line breaks.
    let mut digits = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    loop {
        let Some(first) = digits.next() else { return Some(bytes) };
        let group = [first, digits.next()?, digits.next()?, digits.next()?];
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        let mut number = 0_u32;
        for &byte in group.iter().take(4_usize.checked_sub(padding)?) {
            number = number << 6 | u32::from(digit(byte)?);
        }
        number <<= 6 * padding;
        let [_, decoded @ ..] = number.to_be_bytes();
        match padding {
            0 => bytes.extend(decoded),
            1 | 2 => {
                bytes.extend(decoded.iter().take(3 - padding));
                // Padding ends the text.
                return digits.next().is_none().then_some(bytes);
            }
            _ => return None,
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
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
}
