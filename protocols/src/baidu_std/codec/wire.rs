//! The protobuf wire format, as far as the description needs it: keys, varints and byte strings, read in place.

/// Wire types.
pub(crate) const VARINT: u64 = 0;
pub(crate) const FIXED64: u64 = 1;
pub(crate) const DELIMITED: u64 = 2;
pub(crate) const GROUP_START: u64 = 3;
pub(crate) const GROUP_END: u64 = 4;
pub(crate) const FIXED32: u64 = 5;

/// Groups inside groups that are skipped; deeper ones are refused.
const GROUPS_MAX: u32 = 100;

/// The bytes are not protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The value of one field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of a wire type that no field here has; skipped.
    Other,
}

/// Takes a byte string of less than 128 bytes off the front of `bytes`, if the field that is there is one, with this
/// key: the short way for what nearly all descriptions begin with.
#[inline(always)]
pub(super) fn short_bytes<'a>(bytes: &mut &'a [u8], key: u8) -> Option<&'a [u8]> {
    let [found, len @ 0..0x80, rest @ ..] = *bytes else { return None };
    let (value, behind) = rest.split_at_checked(usize::from(*len)).filter(|_| *found == key)?;
    *bytes = behind;
    Some(value)
}

/// Takes one field off the front of `bytes`, which is not empty: its number and its value.
#[inline]
pub(crate) fn field<'a>(bytes: &mut &'a [u8]) -> Result<(u64, Value<'a>), Malformed> {
    let key = varint(bytes)?;
    let (number, wire) = (key >> 3, key & 7);
    // Field numbers have 29 bits.
    if number == 0 || number >= 1 << 29 {
        return Err(Malformed);
    }
    Ok((number, value(number, wire, bytes, GROUPS_MAX)?))
}

#[inline]
fn value<'a>(number: u64, wire: u64, bytes: &mut &'a [u8], groups_left: u32) -> Result<Value<'a>, Malformed> {
    match wire {
        VARINT => varint(bytes).map(Value::Varint),
        DELIMITED => {
            let len = usize::try_from(varint(bytes)?).map_err(|_| Malformed)?;
            take(bytes, len).map(Value::Bytes)
        }
        _ => skip(number, wire, bytes, groups_left).map(|()| Value::Other),
    }
}

/// Skips a value of a wire type that no field here has.
#[cold]
fn skip(number: u64, wire: u64, bytes: &mut &[u8], groups_left: u32) -> Result<(), Malformed> {
    match wire {
        FIXED64 => take(bytes, 8).map(drop),
        FIXED32 => take(bytes, 4).map(drop),
        GROUP_START => skip_group(number, bytes, groups_left),
        _ => Err(Malformed),
    }
}

fn skip_group(group: u64, bytes: &mut &[u8], groups_left: u32) -> Result<(), Malformed> {
    let groups_left = groups_left.checked_sub(1).ok_or(Malformed)?;
    loop {
        let key = varint(bytes)?;
        let (number, wire) = (key >> 3, key & 7);
        if wire == GROUP_END {
            return if number == group { Ok(()) } else { Err(Malformed) };
        }
        if number == 0 || number >= 1 << 29 {
            return Err(Malformed);
        }
        value(number, wire, bytes, groups_left)?;
    }
}

#[inline(always)]
pub(crate) fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    if let [byte @ 0..0x80, rest @ ..] = *bytes {
        *bytes = rest;
        return Ok(u64::from(*byte));
    }
    long_varint(bytes)
}

/// One of several bytes.
fn long_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            // The tenth byte holds the last bit.
            if index == 9 && *byte > 1 {
                return Err(Malformed);
            }
            *bytes = &bytes[index + 1..];
            return Ok(value);
        }
    }
    Err(Malformed)
}

#[inline]
fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}

/// The length of a varint.
#[inline]
pub(crate) fn varint_len(value: u64) -> usize {
    (value.max(1).ilog2() / 7 + 1) as usize
}

/// The two's complement that negative numbers of every size have on the wire.
pub(crate) fn sign_extended(value: i32) -> u64 {
    i64::from(value) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_measured_and_read() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(value, &mut bytes);
            assert_eq!(varint_len(value), bytes.len());
            let mut rest = &bytes[..];
            assert_eq!(varint(&mut rest), Ok(value));
            assert!(rest.is_empty());
            assert_eq!(varint(&mut &bytes[..bytes.len() - 1]), Err(Malformed));
        }
        assert_eq!(varint(&mut &[0xff; 11][..]), Err(Malformed));
    }

    #[test]
    fn groups_are_skipped_to_their_own_end() {
        let mut bytes = &[0x53, 0x08, 1, 0x54, 7][..];
        assert!(matches!(field(&mut bytes), Ok((10, Value::Other))));
        assert_eq!(bytes, [7]);
        assert!(field(&mut &[0x53, 0x5c][..]).is_err());
        assert!(field(&mut &[0x54][..]).is_err(), "an end without a beginning");
        assert!(field(&mut &[0x53; 1000][..]).is_err());
    }
}
