//! The check for proto2 `required` fields: a walk over the tags of a message before prost decodes it.
//!
//! prost fills a required field that is missing with its default, so presence has to be seen in the bytes
//! (`spec/protocols-baidu.md` §2.6 row 10 makes it an error). The walk reads each tag once, copies nothing and
//! believes no length before it has compared it with what is there.

use bytes::Buf;

use super::{MessageSchema, RequiredField, Unreadable};

/// Messages inside messages that are followed; deeper ones are refused, as prost does.
pub const NESTING_MAX: u32 = 100;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const DELIMITED: u32 = 2;
const GROUP_START: u32 = 3;
const GROUP_END: u32 = 4;
const FIXED32: u32 = 5;

/// Checks all of `bytes` as one message of this schema.
pub(super) fn check(schema: &'static MessageSchema, bytes: &mut impl Buf) -> Result<(), Unreadable> {
    walk(Some(schema), bytes, 0, None, NESTING_MAX)
}

/// Walks over one message: until `end` bytes remain, or until the end tag of the group `group`.
fn walk(
    schema: Option<&'static MessageSchema>,
    bytes: &mut impl Buf,
    end: usize,
    group: Option<u32>,
    nesting_left: u32,
) -> Result<(), Unreadable> {
    let nesting_left = nesting_left.checked_sub(1).ok_or(Unreadable::Malformed)?;
    let mut missing = Missing::new(schema);
    loop {
        if bytes.remaining() == end {
            return if group.is_none() { missing.verdict() } else { Err(Unreadable::Malformed) };
        }
        let key = varint(bytes, end)?;
        let number =
            u32::try_from(key >> 3).ok().filter(|number| *number != 0).ok_or(Unreadable::Malformed)?;
        let wire = (key & 7) as u32;
        missing.found(number);
        let nested = schema.and_then(|schema| schema.nested.iter().find(|field| field.number == number));
        match wire {
            VARINT => drop(varint(bytes, end)?),
            FIXED64 => skip(bytes, end, 8)?,
            FIXED32 => skip(bytes, end, 4)?,
            DELIMITED => {
                let len = varint(bytes, end)?;
                let inner_end = usize::try_from(len)
                    .ok()
                    .and_then(|len| bytes.remaining().checked_sub(len))
                    .filter(|inner_end| *inner_end >= end)
                    .ok_or(Unreadable::Malformed)?;
                match nested.filter(|field| !field.group).and_then(|field| (field.schema)()) {
                    Some(inner) => walk(Some(inner), bytes, inner_end, None, nesting_left)?,
                    None => bytes.advance(bytes.remaining() - inner_end),
                }
            }
            GROUP_START => {
                let inner = nested.filter(|field| field.group).and_then(|field| (field.schema)());
                walk(inner, bytes, end, Some(number), nesting_left)?;
            }
            GROUP_END if group == Some(number) => return missing.verdict(),
            _ => return Err(Unreadable::Malformed),
        }
    }
}

/// Which required fields have not been seen yet: a bit for each, in the order of the schema.
struct Missing {
    required: &'static [RequiredField],
    /// Of the first 64.
    first: u64,
    /// Of the others, which few messages have.
    others: Vec<u64>,
}

impl Missing {
    fn new(schema: Option<&'static MessageSchema>) -> Self {
        let required = schema.map_or(&[][..], |schema| schema.required);
        let ones = |bits: usize| if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
        let mut others = Vec::new();
        if required.len() > 64 {
            others.extend(required.chunks(64).skip(1).map(|chunk| ones(chunk.len())));
        }
        Missing { required, first: ones(required.len()), others }
    }

    #[inline]
    fn found(&mut self, number: u32) {
        let Some(index) = self.required.iter().position(|field| field.number == number) else { return };
        let bits = match index / 64 {
            0 => &mut self.first,
            word => &mut self.others[word - 1],
        };
        *bits &= !(1 << (index % 64));
    }

    #[inline]
    fn verdict(&self) -> Result<(), Unreadable> {
        if self.first == 0 && self.others.is_empty() { Ok(()) } else { self.slow_verdict() }
    }

    fn slow_verdict(&self) -> Result<(), Unreadable> {
        let words = std::iter::once(&self.first).chain(&self.others);
        match words.enumerate().find(|(_, bits)| **bits != 0) {
            None => Ok(()),
            Some((word, bits)) => {
                let index = word * 64 + bits.trailing_zeros() as usize;
                Err(Unreadable::Missing(self.required[index].name))
            }
        }
    }
}

#[inline]
fn varint(bytes: &mut impl Buf, end: usize) -> Result<u64, Unreadable> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        if bytes.remaining() <= end {
            return Err(Unreadable::Malformed);
        }
        let byte = bytes.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Unreadable::Malformed)
}

fn skip(bytes: &mut impl Buf, end: usize, len: usize) -> Result<(), Unreadable> {
    if bytes.remaining() < end + len {
        return Err(Unreadable::Malformed);
    }
    bytes.advance(len);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::NestedField;
    use super::*;
    use proptest::prelude::*;

    static LEAF: MessageSchema = MessageSchema {
        required: &[RequiredField { number: 1, name: "id" }, RequiredField { number: 3, name: "name" }],
        nested: &[],
    };
    static TREE: MessageSchema = MessageSchema {
        required: &[],
        nested: &[
            NestedField { number: 2, group: false, schema: || Some(&LEAF) },
            NestedField { number: 4, group: true, schema: || Some(&LEAF) },
            NestedField { number: 5, group: false, schema: || Some(&TREE) },
            NestedField { number: 6, group: false, schema: || None },
        ],
    };

    fn judge(schema: &'static MessageSchema, mut bytes: &[u8]) -> Result<(), Unreadable> {
        check(schema, &mut bytes)
    }

    #[test]
    fn presence_is_what_counts_not_order_or_repetition() {
        assert_eq!(judge(&LEAF, &[0x1a, 1, b'n', 0x08, 1, 0x08, 2]), Ok(()));
        assert_eq!(judge(&LEAF, &[0x08, 1]), Err(Unreadable::Missing("name")));
        assert_eq!(judge(&LEAF, &[0x1a, 0]), Err(Unreadable::Missing("id")));
    }

    #[test]
    fn nested_messages_are_checked_where_they_are() {
        assert_eq!(judge(&TREE, &[]), Ok(()));
        assert_eq!(judge(&TREE, &[0x12, 4, 0x08, 1, 0x1a, 0]), Ok(()));
        assert_eq!(judge(&TREE, &[0x12, 2, 0x08, 1]), Err(Unreadable::Missing("name")));
        assert_eq!(
            judge(&TREE, &[0x2a, 4, 0x12, 2, 0x08, 1]),
            Err(Unreadable::Missing("name")),
            "two levels down"
        );
        assert_eq!(
            judge(&TREE, &[0x32, 2, 0xff, 0xff]),
            Ok(()),
            "nothing to check there, prost will read it"
        );
    }

    #[test]
    fn groups_end_with_their_own_tag() {
        assert_eq!(judge(&TREE, &[0x23, 0x08, 1, 0x1a, 0, 0x24]), Ok(()));
        assert_eq!(judge(&TREE, &[0x23, 0x08, 1, 0x24]), Err(Unreadable::Missing("name")));
        assert_eq!(judge(&TREE, &[0x23, 0x08, 1, 0x1a, 0]), Err(Unreadable::Malformed), "never ended");
        assert_eq!(judge(&TREE, &[0x23, 0x2c]), Err(Unreadable::Malformed), "ended by another's tag");
        assert_eq!(judge(&LEAF, &[0x53, 0x54, 0x08, 1, 0x1a, 0]), Ok(()), "an unknown group is skipped");
    }

    #[test]
    fn lengths_are_compared_with_what_is_there() {
        assert_eq!(judge(&LEAF, &[0x1a, 5, b'n']), Err(Unreadable::Malformed));
        assert_eq!(
            judge(&LEAF, &[0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            Err(Unreadable::Malformed)
        );
        assert_eq!(
            judge(&TREE, &[0x12, 2, 0x1a, 1, b'n']),
            Err(Unreadable::Malformed),
            "reaches out of its message"
        );
        assert_eq!(judge(&LEAF, &[0x09, 1, 2]), Err(Unreadable::Malformed));
        assert_eq!(judge(&LEAF, &[0x00]), Err(Unreadable::Malformed), "there is no field 0");
    }

    #[test]
    fn nesting_is_bounded() {
        let mut bytes = Vec::new();
        for _ in 0..2 * NESTING_MAX {
            let mut outer = vec![0x2a];
            prost::encode_length_delimiter(bytes.len(), &mut outer).unwrap();
            outer.append(&mut bytes);
            bytes = outer;
        }
        assert_eq!(judge(&TREE, &bytes), Err(Unreadable::Malformed));
        assert_eq!(judge(&TREE, &[0x53; 1000]), Err(Unreadable::Malformed), "groups as well");
    }

    #[test]
    fn more_than_64_required_fields_are_all_checked() {
        const FIELDS: [RequiredField; 70] = {
            let mut fields = [const { RequiredField { number: 0, name: "f" } }; 70];
            let mut index = 0;
            while index < 70 {
                fields[index].number = index as u32 + 1;
                index += 1;
            }
            fields
        };
        static WIDE: MessageSchema = MessageSchema { required: &FIELDS, nested: &[] };
        let all: Vec<u8> = (1..=70u32)
            .flat_map(|number| {
                let mut field = Vec::new();
                prost::encode_length_delimiter((number << 3) as usize, &mut field).unwrap();
                field.push(0);
                field
            })
            .collect();
        assert_eq!(judge(&WIDE, &all), Ok(()));
        assert_eq!(judge(&WIDE, &all[..all.len() - 3]), Err(Unreadable::Missing("f")));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = judge(&TREE, &bytes);
            let _ = judge(&LEAF, &bytes);
        }
    }
}
