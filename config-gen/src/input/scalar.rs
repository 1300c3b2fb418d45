//! What a plain YAML scalar means to Kubernetes.
//!
//! Kubernetes reads YAML 1.1 the way go-yaml v2 does: `yes` is a boolean and
//! `0777` is octal. A YAML 1.2 reader would take `hosts: [no]` for a string
//! that Kubernetes would have refused. Dates stay strings.

use super::node::Value;

/// The value of a scalar without quotes and without a tag.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let number = match text.as_bytes() {
        [b'0'..=b'9' | b'+' | b'-', ..] => {
            let plain = text.replace('_', "");
            integer(&plain).or_else(|| float(&plain))
        }
        // Go lets an underscore stand between two digits here.
        [b'.', ..] if !text.contains("__") && !text.contains("._") && !text.ends_with('_') => {
            float(&text.replace('_', ""))
        }
        _ => None,
    };
    number.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Whole numbers in the notations of Go: `0x1f`, `0b11`, `0o17`, `017`.
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, text.get(1..)?),
        [b'+', ..] => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // The standard library would take a second sign.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    // What doesn't fit is larger than any number of these resources may be.
    Some(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
}

/// Decimal fractions and exponents. Go's other spellings (`inf`, hexadecimal
/// fractions) are no numbers in YAML, nor is what is too large.
fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (unsigned.get(..at)?, unsigned.get(at + 1..)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(a, b)| (a, Some(b)));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = digits(whole)
        && fraction.is_none_or(digits)
        && (!whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty()));
    let exponent_ok = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    if !mantissa_ok || !exponent_ok {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float)
}

/// A key that YAML reads as something other than a string, as Kubernetes
/// writes it into JSON; `None` for what can be no key.
pub(crate) fn key_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(value) => Some(value.to_string()),
        Value::Float(value) if value.is_nan() => Some(".nan".to_owned()),
        Value::Float(value) if value.is_infinite() => {
            Some(if *value > 0.0 { ".inf" } else { "-.inf" }.to_owned())
        }
        // Shortest form of a 32-bit float; no field of ours has such keys, so
        // very large and small ones aren't put in Go's exponent form.
        Value::Float(value) => Some((*value as f32).to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_of_yaml_1_1() {
        for text in ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"] {
            assert_eq!(resolve(text), Value::Bool(true), "{text}");
        }
        for text in ["n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"] {
            assert_eq!(resolve(text), Value::Bool(false), "{text}");
        }
        for text in ["yEs", "oN", "tRue", "t", "f"] {
            assert_eq!(resolve(text), Value::String(text.into()), "{text}");
        }
    }

    #[test]
    fn nulls() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(resolve(text), Value::Null, "{text}");
        }
        assert_eq!(resolve("nULL"), Value::String("nULL".into()));
    }

    #[test]
    fn whole_numbers() {
        for (text, value) in [
            ("0", 0),
            ("443", 443),
            ("-1", -1),
            ("+5", 5),
            ("0777", 0o777),
            ("0o17", 15),
            ("0x1F", 31),
            ("-0x10", -16),
            ("0b101", 5),
            ("-0b11", -3),
            ("1_000", 1000),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(resolve(text), Value::Int(value), "{text}");
        }
    }

    #[test]
    fn other_numbers() {
        for (text, value) in [
            ("1.5", 1.5),
            (".5", 0.5),
            (".5_1", 0.51),
            ("5.", 5.0),
            ("-2e3", -2000.0),
            ("1E-2", 0.01),
            // Not octal, and then a float.
            ("08", 8.0),
            ("18446744073709551615", 18446744073709551615.0),
            ("99999999999999999999999999", 99999999999999999999999999.0),
            (".inf", f64::INFINITY),
            ("-.INF", f64::NEG_INFINITY),
        ] {
            assert_eq!(resolve(text), Value::Float(value), "{text}");
        }
        assert!(matches!(resolve(".NaN"), Value::Float(value) if value.is_nan()));
    }

    #[test]
    fn strings() {
        for text in [
            "001:db8::",
            "1.2.3.4",
            "2001-01-01",
            "2024-05-06T07:08:09Z",
            "12:30:45",
            "1e",
            "e1",
            ".",
            "-",
            "+",
            "1e999",
            "0x",
            "0xg",
            "inf",
            "nan",
            "1-2",
            "--1",
            "._5",
            "5s",
            "=",
            "1h30m",
            "+-1",
            "1.2e3.4",
            "é",
        ] {
            assert_eq!(resolve(text), Value::String(text.into()), "{text}");
        }
    }

    #[test]
    fn keys_become_strings() {
        for (value, text) in [
            (Value::Bool(true), "true"),
            (Value::Int(511), "511"),
            (Value::Float(1.5), "1.5"),
            (Value::Float(f64::NEG_INFINITY), "-.inf"),
        ] {
            assert_eq!(key_text(&value).as_deref(), Some(text));
        }
        assert_eq!(key_text(&Value::Null), None);
    }
}
