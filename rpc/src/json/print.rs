//! Scalars as JSON text: strings with their escapes, numbers that read back as what they were.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::scan::plain_len;

/// Integral numbers from here on are written with an exponent (1e21).
const POINT_MAX: i32 = 21;
/// And so are numbers with more zeros behind the point than these.
const ZEROS_MAX: i32 = 6;

/// `text`, quoted and escaped.
#[inline]
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.push(b'"');
    let mut at = 0;
    loop {
        let plain = plain_len(&bytes[at..]);
        out.extend_from_slice(&bytes[at..at + plain]);
        at += plain;
        let Some(&special) = bytes.get(at) else { break };
        escape(special, out);
        at += 1;
    }
    out.push(b'"');
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let letter = match byte {
        b'"' | b'\\' => byte,
        8 => b'b',
        12 => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digits[0], digits[1]]);
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

/// `bytes` as base64, quoted.
pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("there is room");
    out.push(b'"');
}

pub(super) fn integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The shortest decimal that reads back as `value`: with a point up to 1e21 and down to 1e-6, else with an exponent.
/// What is no number is a string.
pub(super) fn double(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        let name: &[u8] = match value {
            f64::INFINITY => b"\"Infinity\"",
            f64::NEG_INFINITY => b"\"-Infinity\"",
            _ => b"\"NaN\"",
        };
        return out.extend_from_slice(name);
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value == 0.0 {
        return out.extend_from_slice(b"0.0");
    }
    let mut buffer = zmij::Buffer::new();
    let (digits, point) = take_apart(buffer.format_finite(value.abs()).as_bytes());
    lay_out(digits.as_slice(), point, out);
}

/// The digits of `text` without zeros at either end, and where the point is: behind how many of them.
fn take_apart(text: &[u8]) -> (Digits, i32) {
    let (mantissa, exponent) = match memchr::memchr(b'e', text) {
        Some(at) => (&text[..at], number(&text[at + 1..])),
        None => (text, 0),
    };
    let mut digits = Digits::default();
    let mut point = None;
    let mut leading_zeros = 0;
    for &byte in mantissa {
        match byte {
            b'.' => point = Some(digits.len as i32 - leading_zeros),
            b'0' if digits.len == 0 => leading_zeros += i32::from(point.is_some()),
            _ => digits.push(byte),
        }
    }
    // Zeros behind the point and before the first digit move the point to the left of it.
    let point = point.unwrap_or(digits.len as i32) - leading_zeros;
    digits.trim();
    (digits, point + exponent)
}

fn number(text: &[u8]) -> i32 {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    sign * digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0'))
}

/// At most as many digits as a number is ever written with by `zmij`.
struct Digits {
    bytes: [u8; 40],
    len: usize,
}

impl Default for Digits {
    fn default() -> Self {
        Digits { bytes: [0; 40], len: 0 }
    }
}

impl Digits {
    fn push(&mut self, digit: u8) {
        self.bytes[self.len] = digit;
        self.len += 1;
    }

    fn trim(&mut self) {
        while self.len > 1 && self.bytes[self.len - 1] == b'0' {
            self.len -= 1;
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Writes `digits` with the point behind `point` of them.
fn lay_out(digits: &[u8], point: i32, out: &mut Vec<u8>) {
    let count = digits.len() as i32;
    let zeros = |out: &mut Vec<u8>, count: i32| out.resize(out.len() + count.max(0) as usize, b'0');
    if count <= point && point <= POINT_MAX {
        out.extend_from_slice(digits);
        zeros(out, point - count);
        out.extend_from_slice(b".0");
    } else if 0 < point && point <= POINT_MAX {
        let (whole, fraction) = digits.split_at(point as usize);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else if -ZEROS_MAX < point && point <= 0 {
        out.extend_from_slice(b"0.");
        zeros(out, -point);
        out.extend_from_slice(digits);
    } else {
        out.push(digits[0]);
        if let [_, rest @ ..] = digits
            && !rest.is_empty()
        {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.push(b'e');
        integer(point - 1, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(print: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        print(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_laid_out_as_rapidjson_does() {
        let table = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100.0, "100.0"),
            (123_456.0, "123456.0"),
            (0.1, "0.1"),
            (0.001, "0.001"),
            (0.000_001, "0.000001"),
            (0.000_001_5, "0.0000015"),
            (0.000_000_1, "1e-7"),
            (0.000_000_15, "1.5e-7"),
            (1e20, "100000000000000000000.0"),
            (1.5e20, "150000000000000000000.0"),
            (1e21, "1e21"),
            (1.25e21, "1.25e21"),
            (123_456_789_012_345_680_000.0, "123456789012345680000.0"),
            (f64::MAX, "1.7976931348623157e308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (f64::from(0.1_f32), "0.10000000149011612"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ];
        for (value, expected) in table {
            assert_eq!(text(|out| double(value, out)), expected);
        }
    }

    #[test]
    fn strings_are_escaped_no_more_than_needed() {
        assert_eq!(
            text(|out| string("a\"b\\c/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}é😀<", out)),
            "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001F\u{7f}é😀<\""
        );
        assert_eq!(text(|out| base64(b"\xff\xfe\xfd\xfc", out)), "\"//79/A==\"");
        assert_eq!(text(|out| base64(b"", out)), "\"\"");
    }

    proptest! {
        #[test]
        fn numbers_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let printed = text(|out| double(value, out));
            prop_assert_eq!(printed.parse::<f64>().unwrap().to_bits(), bits, "{}", printed);
            prop_assert!(printed.len() <= 25, "{}", printed);
        }
    }
}
