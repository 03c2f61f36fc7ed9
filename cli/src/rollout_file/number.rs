//! Numbers from their decimal text, exactly. No binary floating point: 0.1 % is 1,000 ppm.
use std::fmt;

/// A decimal number as written: `digits × 10^-scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    digits: u128,
    scale: u32,
}

/// Why a text is not the number that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotANumber {
    /// Not a number at all.
    Malformed,
    /// `NaN` or infinity.
    NotFinite,
    /// Below zero.
    Negative,
    /// More digits than 128 bits hold, or an exponent that nobody means.
    TooLong,
}

impl fmt::Display for NotANumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a number",
            Self::NotFinite => "not a finite number",
            Self::Negative => "negative",
            Self::TooLong => "a number with too many digits",
        })
    }
}

impl Decimal {
    /// Reads a number as YAML 1.2 writes it: `5`, `0.02`, `1e-3`.
    pub(crate) fn parse(text: &str) -> Result<Self, NotANumber> {
        let unsigned = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
        if matches!(
            unsigned.as_str(),
            "nan" | ".nan" | "inf" | ".inf" | "infinity"
        ) {
            return Err(NotANumber::NotFinite);
        }
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction)
        {
            return Err(NotANumber::Malformed);
        }
        let number = Self::normal(whole, fraction, exponent)?;
        if negative && number.digits != 0 {
            return Err(NotANumber::Negative);
        }
        Ok(number)
    }

    fn normal(whole: &str, fraction: &str, exponent: i32) -> Result<Self, NotANumber> {
        let fraction = fraction.trim_end_matches('0');
        let text = format!("{whole}{fraction}");
        let text = text.trim_start_matches('0');
        let digits: u128 = match text {
            "" => {
                return Ok(Self {
                    digits: 0,
                    scale: 0,
                });
            }
            text if text.len() > 30 => return Err(NotANumber::TooLong),
            text => text.parse().map_err(|_| NotANumber::Malformed)?,
        };
        let scale = i32::try_from(fraction.len()).map_err(|_| NotANumber::TooLong)? - exponent;
        let number = match u32::try_from(scale) {
            Ok(scale) => Some(Self { digits, scale }),
            Err(_) => 10_u128
                .checked_pow(scale.unsigned_abs())
                .and_then(|factor| digits.checked_mul(factor))
                .map(|digits| Self { digits, scale: 0 }),
        };
        number.ok_or(NotANumber::TooLong)
    }

    /// The number in units of which one whole has `units`; `None` if it is not a whole number of
    /// them or does not fit.
    pub(crate) fn in_units(self, units: u64) -> Option<u64> {
        let product = self.digits.checked_mul(u128::from(units))?;
        let divisor = 10_u128.checked_pow(self.scale)?;
        if product % divisor != 0 {
            return None;
        }
        u64::try_from(product / divisor).ok()
    }

    /// Whether the number is greater than a whole number.
    pub(crate) fn exceeds(self, whole: u64) -> bool {
        let power = 10_u128.checked_pow(self.scale);
        let bound = power.and_then(|power| power.checked_mul(u128::from(whole)));
        bound.is_some_and(|bound| self.digits > bound)
    }
}

fn exponent_of(text: &str) -> Result<i32, NotANumber> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotANumber::Malformed);
    }
    match text.parse::<i32>() {
        Ok(exponent) if exponent.unsigned_abs() <= 20 => Ok(exponent),
        _ => Err(NotANumber::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ppm_of_percent(text: &str) -> Result<Option<u64>, NotANumber> {
        Decimal::parse(text).map(|number| number.in_units(10_000))
    }

    #[test]
    fn percents_become_exact_parts_per_million() {
        for (text, ppm) in [
            ("5", 50_000),
            ("0.1", 1_000),
            ("0.10000", 1_000),
            ("99.9999", 999_999),
            ("1e-3", 10),
            ("1E1", 100_000),
            (".5", 5_000),
            ("5.", 50_000),
            ("+5", 50_000),
            ("-0", 0),
            ("000100.0", 1_000_000),
        ] {
            assert_eq!(ppm_of_percent(text), Ok(Some(ppm)), "{text}");
        }
    }

    #[test]
    fn what_parts_per_million_cannot_hold_is_no_number_of_them() {
        for text in ["0.00001", "33.33333", "1e-5"] {
            assert_eq!(ppm_of_percent(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_number_is_refused_for_what_it_is() {
        use NotANumber::{Malformed, Negative, NotFinite, TooLong};
        for (text, why) in [
            ("NaN", NotFinite),
            (".nan", NotFinite),
            ("-.inf", NotFinite),
            ("-5", Negative),
            ("five", Malformed),
            ("", Malformed),
            (".", Malformed),
            ("1_000", Malformed),
            ("0x10", Malformed),
            ("1e", Malformed),
            ("--1", Malformed),
            ("1e99", TooLong),
            ("1234567890123456789012345678901", TooLong),
        ] {
            assert_eq!(Decimal::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn exceeds_compares_exactly() {
        let hundred_and_a_bit = Decimal::parse("100.00001").unwrap();
        assert!(hundred_and_a_bit.exceeds(100));
        assert!(!Decimal::parse("100.000").unwrap().exceeds(100));
    }
}
