//! Values of flags as text: strict, so that a slip of the hand is an error and not another value.
//!
//! Pure functions; owns the bound on the length of a text.

/// The longest text, in bytes, that a flag can be set to.
pub const MAX_TEXT_LEN: usize = 16 << 10;

pub(super) const TOO_LONG: &str = "the text is longer than 16384 bytes";

/// `true`, `t`, `yes`, `y`, `1` and `false`, `f`, `no`, `n`, `0`, in any case.
pub(super) fn parse_bool(text: &str) -> Result<bool, &'static str> {
    let is_one_of = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(["true", "t", "yes", "y", "1"]) {
        Ok(true)
    } else if is_one_of(["false", "f", "no", "n", "0"]) {
        Ok(false)
    } else {
        Err("neither true nor false")
    }
}

/// An optional sign, then decimal digits, or `0x` and hexadecimal ones. Nothing around them.
fn parse_integer(text: &str) -> Result<i128, &'static str> {
    const WRONG: &str = "not an integer within the range of the flag's type";
    let (is_negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    // The parser of `u64` takes a sign of its own.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return Err(WRONG);
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).map_err(|_| WRONG)?);
    Ok(if is_negative { -magnitude } else { magnitude })
}

macro_rules! parse_integers {
    ($($name:ident -> $integer:ty),+ $(,)?) => {$(
        pub(super) fn $name(text: &str) -> Result<$integer, &'static str> {
            parse_integer(text)?.try_into().map_err(|_| "beyond the range of the flag's type")
        }
    )+};
}

parse_integers!(parse_i32 -> i32, parse_i64 -> i64, parse_u64 -> u64);

/// A finite decimal number, with a fraction and an exponent if wanted.
pub(super) fn parse_f64(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err("not a finite number"),
    }
}

pub(super) fn parse_string(text: &str) -> Result<String, &'static str> {
    if text.len() > MAX_TEXT_LEN { Err(TOO_LONG) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bools_have_ten_forms() {
        for text in ["true", "T", "Yes", "y", "1"] {
            assert_eq!(parse_bool(text), Ok(true), "{text}");
        }
        for text in ["FALSE", "f", "no", "N", "0"] {
            assert_eq!(parse_bool(text), Ok(false), "{text}");
        }
        for text in ["", " true", "true ", "2", "tru", "on", "-1", "00", "\u{ff11}"] {
            assert!(parse_bool(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn integers_are_whole_and_within_their_type() {
        assert_eq!(parse_i32("-2147483648"), Ok(i32::MIN));
        assert_eq!(parse_i64("+9223372036854775807"), Ok(i64::MAX));
        assert_eq!(parse_u64("18446744073709551615"), Ok(u64::MAX));
        assert_eq!((parse_i64("0x10"), parse_i64("-0XfF"), parse_i64("007")), (Ok(16), Ok(-255), Ok(7)));
        for text in
            ["", "-", "+", "--1", "+-1", "0x", "0x-1", "-0x+1", "1.0", "1e3", " 1", "1 ", "1_000", "ten", "f"]
        {
            assert!(parse_i64(text).is_err(), "{text:?}");
        }
        assert!(parse_i32("2147483648").is_err());
        assert!(parse_i64("9223372036854775808").is_err());
        assert!(parse_u64("-1").is_err());
        assert!(parse_u64("18446744073709551616").is_err());
    }

    #[test]
    fn floats_are_finite() {
        assert_eq!((parse_f64("0.02"), parse_f64("-1e-3"), parse_f64("5")), (Ok(0.02), Ok(-0.001), Ok(5.0)));
        for text in ["", "nan", "inf", "-infinity", "1e999", "0x10", "1,5", " 1", "1f"] {
            assert!(parse_f64(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn texts_are_bounded() {
        assert!(parse_string(&"x".repeat(MAX_TEXT_LEN)).is_ok());
        assert!(parse_string(&"x".repeat(MAX_TEXT_LEN + 1)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(int in any::<i64>(), uint in any::<u64>(), float in -1e300..1e300f64) {
            prop_assert_eq!(parse_i64(&int.to_string()), Ok(int));
            prop_assert_eq!(parse_u64(&uint.to_string()), Ok(uint));
            prop_assert_eq!(parse_f64(&float.to_string()), Ok(float));
        }
    }
}
