//! Ranges of addresses as patterns of the text in which Envoy shows an address and its port:
//! `10.1.2.3:443` and `[fd00::1]:443`. For conditions that have no notion of a range.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::options::Cidr;

/// Envoy takes no larger regular expressions in conditions than of 100 RE2 instructions. Of so many characters,
/// they are smaller.
const LONGEST: usize = 45;

/// Regular expressions (RE2), one of which matches where an address is in any of `ranges`. A range of IPv6
/// whose text can begin in several ways is left out.
pub(super) fn patterns(ranges: &[Cidr]) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for part in ranges.iter().filter_map(|range| of_range(range.normalized())) {
        match groups.last_mut().filter(|group| group.len() + part.len() < LONGEST) {
            Some(group) => group.push_str(&format!("|{part}")),
            None => groups.push(part),
        }
    }
    groups.iter().map(|group| format!("^(?:{group})")).collect()
}

fn of_range(range: Cidr) -> Option<String> {
    match range.address {
        IpAddr::V4(first) => Some(v4(first, range.length)),
        IpAddr::V6(first) => Some(format!(r"\[{}", v6(first, range.length)?)),
    }
}

/// The start of the text, up to where anything may follow.
fn v4(first: Ipv4Addr, length: u8) -> String {
    let octets = first.octets();
    let whole = usize::from(length / 8);
    let mut text: String =
        octets.iter().take(whole).enumerate().map(|(at, octet)| format!("{octet}{}", end(at))).collect();
    if let (Some(low), true) = (octets.get(whole), !length.is_multiple_of(8)) {
        let high = low | (0xff >> (length % 8));
        text.push_str(&format!("(?:{}){}", decimals(*low, high), end(whole)));
    } else if whole == 0 {
        text.push_str("[0-9]");
    }
    text
}

/// Decimal numbers from `low` to `high`: `6[4-9]|[7-9][0-9]|1[0-1][0-9]|12[0-7]`.
fn decimals(low: u8, high: u8) -> String {
    let mut tens: Vec<(u8, u8, u8)> = Vec::new();
    for number in low..=high {
        match tens.last_mut().filter(|(ten, ..)| *ten == number / 10) {
            Some((_, _, last)) => *last = number % 10,
            None => tens.push((number / 10, number % 10, number % 10)),
        }
    }
    let class = |from: u8, to: u8| match (from, to) {
        _ if from == to => from.to_string(),
        _ => format!("[{from}-{to}]"),
    };
    let mut parts: Vec<String> = Vec::new();
    let mut rest = tens.as_slice();
    while let Some((&(ten, from, to), others)) = rest.split_first() {
        let is_alike =
            |other: &&(u8, u8, u8)| ten > 0 && other.0 / 10 == ten / 10 && (other.1, other.2) == (from, to);
        let alike = others.iter().take_while(is_alike).count();
        let last = ten + alike as u8;
        let hundred = if ten >= 10 { (ten / 10).to_string() } else { String::new() };
        let ten = if ten == 0 { String::new() } else { class(ten % 10, last % 10) };
        parts.push(format!("{hundred}{ten}{}", class(from, to)));
        rest = others.get(alike..).unwrap_or_default();
    }
    parts.join("|")
}

/// What stands behind the octet of this index.
fn end(octet: usize) -> &'static str {
    if octet == 3 { ":" } else { r"\." }
}

/// The same without the bracket at the start. Zeros are left out of the text of an address in one place, so
/// a range has a text of its own only where its fixed groups aren't zero, or where it is small.
fn v6(first: Ipv6Addr, length: u8) -> Option<String> {
    if let (Some(mapped), 96..) = (first.to_ipv4_mapped(), length) {
        return Some(format!("::ffff:{}", v4_in_brackets(mapped, length - 96)));
    }
    if length == 0 {
        return Some(String::new());
    }
    let last = u128::from(first) | u128::MAX.checked_shr(u32::from(length)).unwrap_or(0);
    if length >= 126 {
        let all = (u128::from(first)..=last).map(|address| Ipv6Addr::from(address).to_string());
        return Some(format!(r"(?:{})\]", all.collect::<Vec<_>>().join("|").replace('.', r"\.")));
    }
    let mut text = String::new();
    for (index, (low, high)) in first.segments().into_iter().zip(Ipv6Addr::from(last).segments()).enumerate()
    {
        let fixed = usize::from(length).saturating_sub(index * 16).min(16);
        match fixed {
            0 => break,
            _ if low == 0 => return None,
            16 => text.push_str(&format!("{low:x}:")),
            _ => text.push_str(&format!("{}:", digits(low, high))),
        }
    }
    Some(text)
}

/// Inside of brackets, where no port follows at once.
fn v4_in_brackets(first: Ipv4Addr, length: u8) -> String {
    let text = v4(first, length);
    text.strip_suffix(':').map_or(text.clone(), |text| format!(r"{text}\]"))
}

/// Hexadecimal numbers from `low` to `high`, which differ in their last bits and have equally many digits.
fn digits(low: u16, high: u16) -> String {
    let mut differ = false;
    let pairs: Vec<(char, char)> = format!("{low:x}").chars().zip(format!("{high:x}").chars()).collect();
    pairs
        .into_iter()
        .map(|(low, high)| {
            let any = differ || (low, high) == ('0', 'f');
            differ |= low != high;
            match (low, high) {
                _ if any => "[0-9a-f]".to_owned(),
                _ if low == high => low.to_string(),
                _ => {
                    let from = low.to_digit(16).unwrap_or(0);
                    let to = high.to_digit(16).unwrap_or(0);
                    let all: String = (from..=to).filter_map(|digit| char::from_digit(digit, 16)).collect();
                    format!("[{all}]")
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use regex_automata::nfa::thompson::pikevm::PikeVM;

    use super::*;

    #[test]
    fn a_text_is_matched_exactly_where_the_range_holds_the_address() {
        let ranges = [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "169.254.169.254",
            "100.64.0.0/10",
            "240.0.0.0/4",
            "127.0.0.0/31",
            "0.0.0.0/0",
            "10.2.3.0/25",
            "::/127",
            "::ffff:0:0/96",
            "::ffff:10.0.0.0/104",
            "::ffff:127.0.0.1",
            "64:ff9b:1::/48",
            "fc00::/7",
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
            "::1",
            "::/0",
            "fd12:3456::/33",
            "fd00::5/128",
            "2001:db8:1000::/36",
        ];
        let addresses = [
            "0.0.0.0",
            "0.1.2.3",
            "1.0.0.0",
            "10.0.0.1",
            "10.2.3.4",
            "10.2.3.127",
            "10.2.3.128",
            "11.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "100.128.0.1",
            "101.64.0.1",
            "110.0.0.1",
            "127.0.0.1",
            "127.0.0.2",
            "127.0.0.10",
            "169.254.169.254",
            "169.254.169.25",
            "172.15.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "172.32.0.0",
            "192.168.1.1",
            "210.0.0.1",
            "224.0.0.1",
            "239.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "8.8.8.8",
            "::",
            "::1",
            "::2",
            "::10",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:127.0.0.10",
            "::ffff:8.8.8.8",
            "64:ff9b:1::1",
            "64:ff9b::1",
            "64:ff9b:10::1",
            "fc00::",
            "fd00::5",
            "fd00::50",
            "fdff:1::",
            "fe00::1",
            "fe7f::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "feff::1",
            "ff02::1",
            "2001:db8:1000::1",
            "2001:db8:1fff::1",
            "2001:db8:2000::1",
            "fd12:3456:8000::1",
            "fd12:3456:7fff::1",
            "fd1:3456::",
        ];
        for text in ranges {
            let range: Cidr = text.parse().unwrap();
            let patterns = patterns(&[range]);
            let Some(pattern) = patterns.first() else {
                assert!(text == "fd12:3456::/33", "{text}");
                continue;
            };
            let regex = PikeVM::new(pattern).unwrap();
            let mut cache = regex.create_cache();
            for address in addresses {
                let address: IpAddr = address.parse().unwrap();
                let shown = SocketAddr::from((address, 443)).to_string();
                assert_eq!(
                    regex.is_match(&mut cache, &shown),
                    range.contains(address),
                    "{text} {shown}: {pattern}"
                );
            }
        }
    }

    #[test]
    fn what_has_no_text_of_its_own_is_left_out() {
        assert!(patterns(&["fd00::/64".parse().unwrap()]).is_empty());
        assert!(patterns(&[]).is_empty());
    }

    #[test]
    fn ranges_are_put_together() {
        let ranges = ["10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10"].map(|range| range.parse().unwrap());
        assert_eq!(
            patterns(&ranges),
            [
                r"^(?:10\.|172\.(?:1[6-9]|2[0-9]|3[0-1])\.)",
                r"^(?:100\.(?:6[4-9]|[7-9][0-9]|1[0-1][0-9]|12[0-7])\.)"
            ]
        );
    }
}
