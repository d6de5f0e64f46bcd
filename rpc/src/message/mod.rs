//! Messages: what generated types say about themselves, and how a body becomes one.
//!
//! Owns [`ProtoMessage`], the check for required fields and the decoding of bodies. Knows protobuf, but no frame
//! around it. Memory follows the bytes given: no length inside them is believed before the bytes are there.

mod body;
mod checksum;
mod encoding;
mod required;
mod well_known;

use iobuf::IoBuf;

pub use body::{Body, MessageBody};
pub use checksum::{CHECKSUM_SIZE, crc32c};
pub use encoding::{ChecksumType, CompressType, ContentType, Encoding};
pub use required::NESTING_MAX;

/// What a generated message type implements beside [`prost::Message`].
pub trait ProtoMessage: prost::Message + Default + Send + 'static {
    /// The name with its package: `"example.EchoRequest"`.
    const FULL_NAME: &'static str;
    /// Where proto2 `required` fields are, here and below. `None`: nowhere, there is nothing to check.
    const SCHEMA: Option<&'static MessageSchema>;
}

/// The `required` fields of a message, and the fields that hold messages with such fields.
#[derive(Debug)]
pub struct MessageSchema {
    /// Must each be present.
    pub required: &'static [RequiredField],
    /// Are checked themselves where they are present.
    pub nested: &'static [NestedField],
}

/// A `required` field.
#[derive(Debug)]
pub struct RequiredField {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
}

/// A field (singular, repeated, or a map, whose entries are messages) that holds messages.
#[derive(Debug)]
pub struct NestedField {
    /// Its number.
    pub number: u32,
    /// Whether it is a proto2 group rather than a length-delimited message.
    pub group: bool,
    /// The schema of the message. A function, so that messages can contain themselves; `None`: nothing to check.
    pub schema: fn() -> Option<&'static MessageSchema>,
}

/// Why bytes are not the message that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not protobuf, or not of these types.
    Malformed,
    /// A required field, named here, is not there.
    Missing(&'static str),
}

/// Reads a message from a body, all of it.
pub(crate) fn decode<M: ProtoMessage>(body: &IoBuf) -> Result<M, Unreadable> {
    let front = body.front();
    // One piece, as small messages nearly always are, is read faster as a slice.
    if front.len() == body.len() { decode_from(front) } else { decode_from(body.clone()) }
}

fn decode_from<M: ProtoMessage>(bytes: impl bytes::Buf + Clone) -> Result<M, Unreadable> {
    if let Some(schema) = M::SCHEMA {
        required::check(schema, &mut bytes.clone())?;
    }
    M::decode(bytes).map_err(|_| Unreadable::Malformed)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Text {
        #[prost(string, required, tag = "1")]
        pub(crate) message: String,
        #[prost(int32, optional, tag = "2")]
        pub(crate) number: Option<i32>,
    }

    impl ProtoMessage for Text {
        const FULL_NAME: &'static str = "test.Text";
        const SCHEMA: Option<&'static MessageSchema> =
            Some(&MessageSchema { required: &[RequiredField { number: 1, name: "message" }], nested: &[] });
    }

    #[test]
    fn a_body_is_read_whole_or_in_pieces() {
        let text = Text { message: "x".repeat(20_000), number: Some(7) };
        let mut body = IoBuf::new();
        MessageBody(&text).append_to(&mut body);
        assert!(body.front().len() < body.len());
        assert_eq!(decode::<Text>(&body), Ok(text));
        assert_eq!(
            decode::<Text>(&IoBuf::from(&[0x0a, 0x01, b'y'][..])),
            Ok(Text { message: "y".into(), number: None })
        );
    }

    #[test]
    fn a_missing_required_field_is_named() {
        assert_eq!(decode::<Text>(&IoBuf::from(&[0x10, 0x05][..])), Err(Unreadable::Missing("message")));
        assert_eq!(decode::<Text>(&IoBuf::new()), Err(Unreadable::Missing("message")));
    }

    #[test]
    fn bytes_that_are_no_protobuf_are_refused() {
        assert_eq!(decode::<Text>(&IoBuf::from(&[0xff; 5][..])), Err(Unreadable::Malformed));
        assert_eq!(decode::<Text>(&IoBuf::from(&[0x0a, 0x02, 0xff, 0xff][..])), Err(Unreadable::Malformed));
    }
}
