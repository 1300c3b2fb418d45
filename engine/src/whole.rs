//! Whole numbers of the plugin config, in every notation that JSON has for them.
//!
//! A mesh passes the config through a protobuf `Struct`, whose numbers are doubles: what was written
//! as `80` may come as `80.0` or `8e1`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// The largest number up to which a double has all whole ones.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// For `deserialize_with`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Whole>(deserializer: D) -> Result<T, D::Error> {
    T::read(deserializer)
}

/// A whole number, or something made of such.
pub(crate) trait Whole: Sized {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl Whole for $type {
            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Number(stringify!($type), PhantomData))
            }
        }
    )+};
}

numbers!(u8, u16, u32, u64);

impl<T: Whole> Whole for Option<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<Item<T>>::deserialize(deserializer)?.map(|item| item.0))
    }
}

impl<T: Whole> Whole for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Item<T>>::deserialize(deserializer)?.into_iter().map(|item| item.0).collect())
    }
}

impl<A: Whole, B: Whole> Whole for (A, B) {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (one, other) = <(Item<A>, Item<B>)>::deserialize(deserializer)?;
        Ok((one.0, other.0))
    }
}

struct Item<T>(T);

impl<'de, T: Whole> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

/// Reads one number; the text is the name of its type.
struct Number<T>(&'static str, PhantomData<T>);

impl<T: TryFrom<u64>> Visitor<'_> for Number<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        if number.fract() == 0.0 && (0.0..=EXACT).contains(&number) {
            // Exact in this range.
            self.visit_u64(number as u64)
        } else {
            Err(E::invalid_value(Unexpected::Float(number), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Whole>(json: &str) -> Result<T, String> {
        T::read(&mut serde_json::Deserializer::from_str(json)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_notation_of_a_whole_number_is_read() {
        for json in ["80", "80.0", "8e1", "8.0E+1", "800e-1"] {
            assert_eq!(read::<u16>(json), Ok(80), "{json}");
        }
        assert_eq!(read::<u64>("9007199254740992.0"), Ok(9_007_199_254_740_992));
        assert_eq!(read::<Option<u32>>("null"), Ok(None));
        assert_eq!(read::<Vec<(u16, u16)>>("[[8e1,8080.0]]"), Ok(vec![(80, 8080)]));
        for json in ["80.5", "-1", "-1.0", "65536", "65536.0", "1e300", "\"80\""] {
            let error = read::<u16>(json).unwrap_err();
            assert!(error.contains("expected u16"), "{json}: {error}");
        }
    }
}
