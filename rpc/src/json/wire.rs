//! The protobuf wire format: tags and values in and out, and a writer that puts lengths in front of messages whose
//! length is only known at their end.

use prost_reflect::Value;
use smallvec::SmallVec;

use super::error::JsonError;
use super::plan::Kind;

pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const DELIMITED: u8 = 2;
pub(super) const GROUP_START: u8 = 3;
pub(super) const GROUP_END: u8 = 4;
pub(super) const FIXED32: u8 = 5;

/// The largest message of protobuf.
pub(super) const MESSAGE_MAX: usize = i32::MAX as usize;
/// The largest field number.
const NUMBER_MAX: u64 = (1 << 29) - 1;
/// Groups in one another that are skipped.
const SKIPPED_GROUPS_MAX: usize = super::MAX_RECURSION_DEPTH as usize;

/// Number and wire type of a field, encoded.
#[derive(Clone, Copy)]
pub(super) struct Tag {
    bytes: [u8; 5],
    len: u8,
}

impl Tag {
    pub(super) fn new(number: u32, wire_type: u8) -> Tag {
        let mut encoded = Vec::new();
        put_varint(&mut encoded, u64::from(number) << 3 | u64::from(wire_type));
        let mut bytes = [0; 5];
        bytes[..encoded.len()].copy_from_slice(&encoded);
        Tag { bytes, len: encoded.len() as u8 }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub(super) fn zigzag(value: i64) -> u64 {
    (value << 1) as u64 ^ (value >> 63) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The value of a scalar, encoded without a tag. One of another type is empty.
pub(super) fn of_value(kind: Kind, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match (kind, value) {
        (Kind::Sint32, Value::I32(value)) => put_varint(&mut out, zigzag((*value).into())),
        (Kind::Sint64, Value::I64(value)) => put_varint(&mut out, zigzag(*value)),
        (Kind::Sfixed32, Value::I32(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Kind::Sfixed64, Value::I64(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Kind::Fixed32, Value::U32(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Kind::Fixed64, Value::U64(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (_, Value::I32(value) | Value::EnumNumber(value)) => put_varint(&mut out, i64::from(*value) as u64),
        (_, Value::I64(value)) => put_varint(&mut out, *value as u64),
        (_, Value::U32(value)) => put_varint(&mut out, (*value).into()),
        (_, Value::U64(value)) => put_varint(&mut out, *value),
        (_, Value::Bool(value)) => out.push((*value).into()),
        (_, Value::F32(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (_, Value::F64(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (_, Value::String(value)) => put_delimited(&mut out, value.as_bytes()),
        (_, Value::Bytes(value)) => put_delimited(&mut out, value),
        _ => {}
    }
    out
}

fn put_delimited(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Messages being written. One byte is kept free for the length of each; those that need more are noted and get their
/// room all at once at the end, so each byte is moved at most once.
pub(super) struct Writer {
    out: Vec<u8>,
    /// For each message being written: the place of its length, and `extra` as it was there.
    open: SmallVec<[(usize, usize); 8]>,
    /// Places of lengths that need more than their byte, and the lengths.
    long: Vec<(usize, usize)>,
    /// Bytes that the lengths in `long` need beyond their first.
    extra: usize,
}

impl Writer {
    pub(super) fn with_capacity(capacity: usize) -> Writer {
        Writer { out: Vec::with_capacity(capacity), open: SmallVec::new(), long: Vec::new(), extra: 0 }
    }

    #[inline]
    pub(super) fn tag(&mut self, tag: &Tag) {
        if tag.len == 1 { self.out.push(tag.bytes[0]) } else { self.out.extend_from_slice(tag.as_slice()) }
    }

    #[inline]
    pub(super) fn varint(&mut self, value: u64) {
        put_varint(&mut self.out, value);
    }

    #[inline]
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    pub(super) fn delimited(&mut self, bytes: &[u8]) {
        put_delimited(&mut self.out, bytes);
    }

    /// Starts something with a length in front.
    pub(super) fn open(&mut self) {
        self.open.push((self.out.len(), self.extra));
        self.out.push(0);
    }

    /// Ends what was started last.
    pub(super) fn close(&mut self) -> Result<(), JsonError> {
        let (at, extra_before) = self.open.pop().expect("something is open");
        let len = self.out.len() - at - 1 + self.extra - extra_before;
        match u8::try_from(len) {
            Ok(short) if short < 0x80 => self.out[at] = short,
            _ if len > MESSAGE_MAX => return Err(JsonError::TooLarge),
            _ => {
                self.long.push((at, len));
                self.extra += varint_len(len as u64) - 1;
            }
        }
        Ok(())
    }

    /// Whether nothing was written since something was started.
    pub(super) fn is_empty_inside(&self) -> bool {
        self.open.last().is_some_and(|(at, _)| self.out.len() == at + 1)
    }

    /// A place to [`go_back`](Self::go_back) to, as long as nothing is started or ended.
    pub(super) fn place(&self) -> usize {
        self.out.len()
    }

    pub(super) fn go_back(&mut self, place: usize) {
        self.out.truncate(place);
    }

    /// Takes back what was started last, with its tag, which began at `place`.
    pub(super) fn give_up(&mut self, place: usize) {
        self.open.pop();
        self.out.truncate(place);
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, JsonError> {
        debug_assert!(self.open.is_empty(), "all is ended");
        let mut from_end = self.out.len();
        let mut to_end = from_end + self.extra;
        if to_end > MESSAGE_MAX {
            return Err(JsonError::TooLarge);
        }
        self.long.sort_unstable();
        self.out.resize(to_end, 0);
        for &(at, len) in self.long.iter().rev() {
            let moved = from_end - (at + 1);
            self.out.copy_within(at + 1..from_end, to_end - moved);
            to_end -= moved + varint_len(len as u64);
            let (mut place, mut rest) = (to_end, len);
            while rest >= 0x80 {
                self.out[place] = rest as u8 | 0x80;
                rest >>= 7;
                place += 1;
            }
            self.out[place] = rest as u8;
            from_end = at;
        }
        Ok(self.out)
    }
}

/// Reads from a part of a message.
#[derive(Clone, Copy)]
pub(super) struct Reader<'w> {
    /// Up to the end of the part.
    wire: &'w [u8],
    pub(super) at: usize,
}

impl<'w> Reader<'w> {
    /// `start..end` must lie in `wire`.
    pub(super) fn new(wire: &'w [u8], start: usize, end: usize) -> Self {
        Reader { wire: &wire[..end], at: start }
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.wire.len()
    }

    #[cold]
    pub(super) fn error(&self, what: &'static str) -> JsonError {
        JsonError::Wire { offset: self.at, what }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, JsonError> {
        match self.wire.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(byte.into())
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, JsonError> {
        let mut value = 0_u64;
        for (index, &byte) in self.wire[self.at..].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                // As all of protobuf does, bits beyond the 64th are dropped, except that prost refuses them.
                if index == 9 && byte > 1 {
                    break;
                }
                self.at += index + 1;
                return Ok(value);
            }
        }
        Err(self.error("bad varint"))
    }

    /// Number and wire type.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<(u32, u8), JsonError> {
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 || number > NUMBER_MAX {
            return Err(self.error("bad field number"));
        }
        Ok((number as u32, (key & 7) as u8))
    }

    #[inline]
    pub(super) fn delimited(&mut self) -> Result<&'w [u8], JsonError> {
        let len = self.varint()?;
        match usize::try_from(len) {
            Ok(len) if len <= self.wire.len() - self.at => {
                let bytes = &self.wire[self.at..self.at + len];
                self.at += len;
                Ok(bytes)
            }
            _ => Err(self.error("length beyond the end")),
        }
    }

    #[inline]
    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], JsonError> {
        match self.wire[self.at..].first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.error("value cut off")),
        }
    }

    /// Passes over a value whose tag was just read; of a group also over its end, and gives where its content ends.
    #[inline]
    pub(super) fn skip(&mut self, number: u32, wire_type: u8) -> Result<usize, JsonError> {
        match wire_type {
            VARINT => drop(self.varint()?),
            FIXED64 => drop(self.fixed::<8>()?),
            FIXED32 => drop(self.fixed::<4>()?),
            DELIMITED => drop(self.delimited()?),
            GROUP_START => return self.skip_group(number),
            _ => return Err(self.error("bad wire type")),
        }
        Ok(self.at)
    }

    fn skip_group(&mut self, number: u32) -> Result<usize, JsonError> {
        let mut open: SmallVec<[u32; 8]> = SmallVec::new();
        open.push(number);
        loop {
            let before = self.at;
            let (number, wire_type) = self.tag()?;
            match wire_type {
                GROUP_START if open.len() == SKIPPED_GROUPS_MAX => return Err(JsonError::TooDeep),
                GROUP_START => open.push(number),
                GROUP_END => {
                    if open.pop() != Some(number) {
                        return Err(self.error("group without its end"));
                    }
                    if open.is_empty() {
                        return Ok(before);
                    }
                }
                _ => drop(self.skip(number, wire_type)?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_any_size_end_up_in_front() {
        for sizes in [[0, 0, 0], [1, 126, 127], [127, 1, 200], [200, 20_000, 3_000_000]] {
            // Each message has the one before in it, and bytes on both sides.
            let mut writer = Writer::with_capacity(0);
            for size in sizes.iter().rev() {
                writer.open();
                writer.raw(&vec![b'a'; *size]);
            }
            for size in sizes {
                writer.raw(&vec![b'z'; size]);
                writer.close().unwrap();
            }
            writer.raw(b"end");
            let expected = sizes.iter().fold(Vec::new(), |inner: Vec<u8>, size| {
                let mut out = Vec::new();
                put_delimited(&mut out, &[vec![b'a'; *size], inner, vec![b'z'; *size]].concat());
                out
            });
            let written = writer.finish().unwrap();
            assert!(written == [expected, b"end".to_vec()].concat(), "{sizes:?}");
        }
    }

    #[test]
    fn varints_have_the_length_they_are_said_to() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            assert_eq!(Reader::new(&out, 0, out.len()).varint(), Ok(value));
            assert!(Reader::new(&out, 0, out.len() - 1).varint().is_err());
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn groups_are_passed_over_with_their_ends() {
        let skip = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes, 0, bytes.len());
            let (number, wire_type) = reader.tag().unwrap();
            reader.skip(number, wire_type).map(|end| (end, reader.at))
        };
        assert_eq!(skip(&[0x0b, 0x08, 0x01, 0x0c]), Ok((3, 4)));
        assert_eq!(skip(&[0x0b, 0x13, 0x14, 0x0c, 0x08]), Ok((3, 4)));
        assert!(skip(&[0x0b, 0x13, 0x0c, 0x14]).is_err(), "ends in the wrong order");
        assert!(skip(&[0x0b, 0x08, 0x01]).is_err(), "no end");
        assert_eq!(skip(&[0x0b; 101]), Err(JsonError::TooDeep));
        assert!(skip(&[0x0c]).is_err(), "an end alone");
    }
}
