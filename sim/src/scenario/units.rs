//! Times and shares as people write them: `2m30s`, `250ms`, `99.5%`.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Unexpected, Visitor};

/// A length of time, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(pub u64);

/// A length of time with a sign, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset(pub(super) i64);

/// A share, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

/// A share with a sign, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drift(pub(super) i32);

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const LENGTH: &str = "a length of time such as `40s`, `2m30s`, `1h` or `250ms`";
const OFFSET: &str = "a length of time with a sign, such as `-5m` or `+90s`";
const SHARE: &str = "a share from `0%` to `100%`";
const DRIFT: &str = "a share with a sign, such as `+2%` or `-0.5%`, of at most 50 %";
/// Longest time that a file may name.
const LENGTH_MS_MAX: u64 = 7 * 24 * 3_600_000;
const WHOLE_PPM: u32 = 1_000_000;
const DRIFT_PPM_MAX: u32 = WHOLE_PPM / 2;

impl Length {
    /// Reads what people write.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut total = 0_u64;
        let mut last = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let end = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
            // Hours before minutes before seconds, each at most once.
            if size >= last {
                return None;
            }
            total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(size)?)?;
            (rest, last) = (tail, size);
        }
        (!text.is_empty() && total <= LENGTH_MS_MAX).then_some(Self(total))
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        if left == 0 {
            return f.write_str("0s");
        }
        for (name, size) in UNITS.into_iter().rev() {
            if left >= size {
                write!(f, "{}{name}", left / size)?;
                left %= size;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded down: 99.999 % is not all.
        let (whole, hundredths) = (self.0 / 10_000, self.0 % 10_000 / 100);
        match hundredths {
            0 => write!(f, "{whole} %"),
            _ => write!(f, "{whole}.{hundredths:02} %"),
        }
    }
}

/// Parts per million of `12.5%`.
fn ppm(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?.trim_end();
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 4 {
        return None;
    }
    let part = format!("{part:0<4}").parse::<u32>().ok()?;
    whole
        .parse::<u32>()
        .ok()?
        .checked_mul(10_000)?
        .checked_add(part)
}

impl Share {
    fn parse(text: &str) -> Option<Self> {
        ppm(text).filter(|ppm| *ppm <= WHOLE_PPM).map(Self)
    }
}

/// Splits `-5m` into whether it is negative and `5m`.
fn signed(text: &str) -> Option<(bool, &str)> {
    let plus = text.strip_prefix('+').map(|rest| (false, rest));
    plus.or_else(|| text.strip_prefix('-').map(|rest| (true, rest)))
}

impl Offset {
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = signed(text)?;
        let length = i64::try_from(Length::parse(rest)?.0).ok()?;
        Some(Self(if negative { -length } else { length }))
    }
}

impl Drift {
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = signed(text)?;
        let ppm = ppm(rest).filter(|ppm| *ppm <= DRIFT_PPM_MAX)?;
        let ppm = i32::try_from(ppm).ok()?;
        Some(Self(if negative { -ppm } else { ppm }))
    }
}

struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        let wrong = || E::invalid_value(Unexpected::Str(text), &self.expected);
        (self.parse)(text).ok_or_else(wrong)
    }
}

macro_rules! written {
    ($type:ident, $expected:ident) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let (expected, parse) = ($expected, $type::parse);
                from.deserialize_str(Text { expected, parse })
            }
        }
    };
}

written!(Length, LENGTH);
written!(Offset, OFFSET);
written!(Share, SHARE);
written!(Drift, DRIFT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("40s", 40_000),
            ("2m30s", 150_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(Length::parse(text), Some(Length(ms)), "{text}");
            assert_eq!(Length(ms).to_string(), text);
        }
        for text in [
            "", "40", "s", "30s2m", "1m1m", "-5s", "1d", "1.5s", "9999h", "40 s",
        ] {
            assert_eq!(Length::parse(text), None, "{text}");
        }
        assert_eq!(Offset::parse("-5m"), Some(Offset(-300_000)));
        assert_eq!(Offset::parse("+90s"), Some(Offset(90_000)));
        assert_eq!(Offset::parse("5m"), None);
    }

    #[test]
    fn shares_are_read_as_they_are_written_and_shown_rounded_down() {
        assert_eq!(Share::parse("99.5%"), Some(Share(995_000)));
        assert_eq!(Share::parse("5 %"), Some(Share(50_000)));
        assert_eq!(Share::parse("0.0001%"), Some(Share(1)));
        for text in ["99", "101%", "%", ".5%", "5.%", "1.23456%", "-1%"] {
            assert_eq!(Share::parse(text), None, "{text}");
        }
        assert_eq!(Share(999_999).to_string(), "99.99 %");
        assert_eq!(Share(1_000_000).to_string(), "100 %");
        assert_eq!(Drift::parse("-0.5%"), Some(Drift(-5_000)));
        assert_eq!(Drift::parse("+60%"), None);
    }
}
