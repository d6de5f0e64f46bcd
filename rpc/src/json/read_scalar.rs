//! One JSON value as one protobuf scalar: which values each type takes (protocols-http §18.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::JsonError;
use super::plan::{EnumPlan, Kind};
use super::read::ReadJson;
use super::scan::Number;
use super::wire::zigzag;

/// Integers up to here are themselves as a double.
const EXACT_DOUBLE_MAX: u64 = 1 << 53;

/// What came of reading a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is written.
    Value,
    /// It has another type, or does not fit; the scanner may stand anywhere in it.
    Mismatch,
    /// It is text that is not base64, or in bytes that stand for themselves.
    BadBase64,
}

impl ReadJson<'_> {
    /// Reads the value that starts right here and writes it as a `kind`, without a tag. After a mismatch, what was
    /// written is to be taken back.
    #[inline]
    pub(super) fn take_scalar(&mut self, kind: Kind) -> Result<Taken, JsonError> {
        match (self.scanner.peek(), kind) {
            (b'"', Kind::String) => {
                self.put_text()?;
                Ok(Taken::Value)
            }
            (b'"', _) => self.quoted(kind),
            (b'-' | b'0'..=b'9', _) => self.number(kind),
            (b't', Kind::Bool) => {
                self.scanner.literal("true")?;
                self.out.varint(1);
                Ok(Taken::Value)
            }
            (b'f', Kind::Bool) => {
                self.scanner.literal("false")?;
                self.out.varint(0);
                Ok(Taken::Value)
            }
            _ => Ok(Taken::Mismatch),
        }
    }

    /// Reads a string that starts right here and writes it with its length.
    #[inline]
    pub(super) fn put_text(&mut self) -> Result<(), JsonError> {
        let text = self.scanner.text()?;
        if text.has_escapes {
            self.scanner.unescape(text, &mut self.scratch)?;
            self.out.delimited(&self.scratch);
            self.scratch.clear();
        } else {
            self.out.delimited(self.scanner.slice(text.start, text.end));
        }
        Ok(())
    }

    fn quoted(&mut self, kind: Kind) -> Result<Taken, JsonError> {
        match kind {
            Kind::Bytes if !self.options.bytes_to_base64 => {
                self.put_text()?;
                Ok(Taken::Value)
            }
            Kind::Bytes => self.base64(),
            Kind::Bool => Ok(Taken::Mismatch),
            _ => self.number_in_text(kind),
        }
    }

    fn base64(&mut self) -> Result<Taken, JsonError> {
        let mut decoded = std::mem::take(&mut self.decoded);
        let taken = self.with_text(|reader, encoded| match STANDARD.decode_vec(encoded, &mut decoded) {
            Ok(()) => {
                reader.out.delimited(&decoded);
                Taken::Value
            }
            Err(_) => Taken::BadBase64,
        });
        decoded.clear();
        self.decoded = decoded;
        taken
    }

    /// Reads a string that starts right here and gives what it says to `f`.
    fn with_text(&mut self, f: impl FnOnce(&mut Self, &[u8]) -> Taken) -> Result<Taken, JsonError> {
        let text = self.scanner.text()?;
        if !text.has_escapes {
            return Ok(f(self, self.scanner.slice(text.start, text.end)));
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.scanner.unescape(text, &mut scratch)?;
        let taken = f(self, &scratch);
        scratch.clear();
        self.scratch = scratch;
        Ok(taken)
    }

    fn number_in_text(&mut self, kind: Kind) -> Result<Taken, JsonError> {
        self.with_text(|reader, text| match kind {
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => match decimal(text)
            {
                Some((is_negative, magnitude)) => reader.put_integer(kind, is_negative, magnitude),
                None => Taken::Mismatch,
            },
            Kind::Float | Kind::Double => match not_a_number(text) {
                Some(value) => reader.put_float(kind, value),
                None => Taken::Mismatch,
            },
            Kind::Enum(item) => {
                let name = std::str::from_utf8(text).ok();
                match name.and_then(|name| reader.plans.enumeration(item).number(name)) {
                    Some(number) => {
                        reader.out.varint(i64::from(number) as u64);
                        Taken::Value
                    }
                    None => Taken::Mismatch,
                }
            }
            _ => Taken::Mismatch,
        })
    }

    #[inline]
    fn number(&mut self, kind: Kind) -> Result<Taken, JsonError> {
        let number = self.scanner.number()?;
        Ok(match (kind, number.integer) {
            (Kind::Float | Kind::Double, _) => self.put_number_as_float(kind, number),
            (_, Some(magnitude)) => self.put_integer(kind, number.is_negative, magnitude),
            (_, None) => Taken::Mismatch,
        })
    }

    fn put_number_as_float(&mut self, kind: Kind, number: Number) -> Taken {
        if kind == Kind::Double
            && let Some(magnitude @ 0..=EXACT_DOUBLE_MAX) = number.integer
        {
            let value = magnitude as f64;
            return self.put_float(kind, if number.is_negative { -value } else { value });
        }
        let text = std::str::from_utf8(self.scanner.slice(number.start, number.end));
        let value = text.ok().and_then(|text| match kind {
            // Not by way of a double, which would round twice.
            Kind::Float => text.parse::<f32>().ok().map(f64::from),
            _ => text.parse::<f64>().ok(),
        });
        match value {
            Some(value) if value.is_finite() => self.put_float(kind, value),
            _ => Taken::Mismatch,
        }
    }

    fn put_float(&mut self, kind: Kind, value: f64) -> Taken {
        match kind {
            Kind::Float => self.out.raw(&(value as f32).to_le_bytes()),
            _ => self.out.raw(&value.to_le_bytes()),
        }
        Taken::Value
    }

    #[inline]
    fn put_integer(&mut self, kind: Kind, is_negative: bool, magnitude: u64) -> Taken {
        match kind {
            Kind::Uint32 | Kind::Fixed32 | Kind::Uint64 | Kind::Fixed64 => {
                if is_negative && magnitude != 0 {
                    return Taken::Mismatch;
                }
                self.put_unsigned(kind, magnitude)
            }
            _ => match signed(is_negative, magnitude) {
                Some(value) => self.put_signed(kind, value),
                None => Taken::Mismatch,
            },
        }
    }

    fn put_unsigned(&mut self, kind: Kind, value: u64) -> Taken {
        match (kind, u32::try_from(value)) {
            (Kind::Uint64, _) => self.out.varint(value),
            (Kind::Fixed64, _) => self.out.raw(&value.to_le_bytes()),
            (Kind::Uint32, Ok(_)) => self.out.varint(value),
            (Kind::Fixed32, Ok(value)) => self.out.raw(&value.to_le_bytes()),
            _ => return Taken::Mismatch,
        }
        Taken::Value
    }

    fn put_signed(&mut self, kind: Kind, value: i64) -> Taken {
        match (kind, i32::try_from(value)) {
            (Kind::Int64, _) => self.out.varint(value as u64),
            (Kind::Sint64, _) => self.out.varint(zigzag(value)),
            (Kind::Sfixed64, _) => self.out.raw(&value.to_le_bytes()),
            (Kind::Int32, Ok(_)) => self.out.varint(value as u64),
            (Kind::Sint32, Ok(_)) => self.out.varint(zigzag(value)),
            (Kind::Sfixed32, Ok(value)) => self.out.raw(&value.to_le_bytes()),
            (Kind::Enum(item), Ok(number)) if is_value(self.plans.enumeration(item), number) => {
                self.out.varint(value as u64);
            }
            _ => return Taken::Mismatch,
        }
        Taken::Value
    }
}

fn is_value(item: &EnumPlan, number: i32) -> bool {
    !item.is_closed || item.name(number).is_some()
}

fn signed(is_negative: bool, magnitude: u64) -> Option<i64> {
    if is_negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Sign and value of a decimal integer.
fn decimal(text: &[u8]) -> Option<(bool, u64)> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let is_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = is_digits.then(|| std::str::from_utf8(digits).ok())??;
    Some((is_negative, digits.parse().ok()?))
}

/// The numbers that JSON has no digits for.
fn not_a_number(text: &[u8]) -> Option<f64> {
    let names: [(&[u8], f64); 3] =
        [(b"NaN", f64::NAN), (b"Infinity", f64::INFINITY), (b"-Infinity", f64::NEG_INFINITY)];
    names.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}
