//! What an Istio mesh does to a plugin config on its way into a sidecar.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The largest whole number up to which a double has them all.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// `config` as text after it was a protobuf `Struct` (WP-07): keys in no particular order, every number
/// a double. How protobuf's printers write a double differs between languages and releases, so the forms
/// take turns: `1`, `1.0`, `1e0`.
pub fn through_a_struct(config: &Value) -> Result<String> {
    let mut text = String::new();
    let mut numbers = 0;
    write(config, &mut numbers, &mut text)?;
    Ok(text)
}

fn write(value: &Value, numbers: &mut usize, text: &mut String) -> Result<()> {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| std::cmp::Reverse(key.as_str()));
            list('{', '}', entries, text, |(key, value), text| {
                text.push_str(&Value::from(key.as_str()).to_string());
                // Go's printer puts a blank here at times, so that nobody relies on it.
                text.push_str(": ");
                write(value, numbers, text)
            })
        }
        Value::Array(items) => {
            list('[', ']', items.iter().collect(), text, |item, text| write(item, numbers, text))
        }
        Value::Number(number) => {
            let double = number.as_f64().context("a number is no double")?;
            if double.abs() > EXACT {
                bail!("{number} is beyond what a double holds exactly");
            }
            *numbers += 1;
            text.push_str(&match (double.fract() == 0.0, *numbers % 3) {
                (true, 1) => format!("{double:.0}"),
                (true, 2) => format!("{double:.1}"),
                _ => format!("{double:e}"),
            });
            Ok(())
        }
        other => {
            text.push_str(&other.to_string());
            Ok(())
        }
    }
}

fn list<T>(
    open: char,
    close: char,
    items: Vec<T>,
    text: &mut String,
    mut write: impl FnMut(T, &mut String) -> Result<()>,
) -> Result<()> {
    text.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write(item, text)?;
    }
    text.push(close);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_take_the_forms_of_doubles() {
        let config = json!({"a": [1, 80, 443, 1_500_000, 0.5], "b": {"c": true}, "d": "x\"y"});
        let text = through_a_struct(&config).unwrap();
        assert_eq!(text, r#"{"d": "x\"y","b": {"c": true},"a": [1,80.0,4.43e2,1500000,5e-1]}"#);
        assert!(through_a_struct(&json!(9_007_199_254_740_993_u64 + 1)).is_err());
    }
}
