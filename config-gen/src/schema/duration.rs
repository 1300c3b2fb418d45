//! Time spans in Go's notation, as Kubernetes and Istio read them.

/// Nanoseconds of `text`, as `1h2m3.5s`; `None` if it is no time span or
/// longer than Go can hold (about 292 years). A day is no unit (VAL-CRD-05).
pub(crate) fn nanoseconds(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes() {
        [b'-', ..] => (true, text.get(1..)?),
        [b'+', ..] => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.into() };
        sum += whole * unit + part(fraction, unit);
        rest = after;
    }
    i64::try_from(if negative { -sum } else { sum }).ok()
}

/// A decimal fraction of a unit, cut off below a nanosecond.
fn part(fraction: &str, unit: i128) -> i128 {
    // No unit has more than 16 digits, so what follows can't count.
    let digits = fraction.get(..16).unwrap_or(fraction);
    let scale = 10_i128.pow(digits.len() as u32);
    digits.parse::<i128>().map_or(0, |value| value * unit / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        for (text, value) in [
            ("5s", 5_000_000_000),
            ("1h2m3.5s", 3_723_500_000_000),
            ("0.025s", 25_000_000),
            ("25ms", 25_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("0", 0),
            ("0s", 0),
            ("-1s", -1_000_000_000),
            ("+1s", 1_000_000_000),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("1.00000000000000000000001ns", 1),
        ] {
            assert_eq!(nanoseconds(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_go_refuses() {
        for text in
            ["", "5", "1d", "s", ".s", "1 s", "1s ", "5S", "1.2.3s", "--1s", "99999999999h", "1h2", "é", "5ś"]
        {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
    }
}
