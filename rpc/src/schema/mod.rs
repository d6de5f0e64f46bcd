//! What a service's messages look like at run time: the descriptors of its `.proto` files.
//!
//! Generated code carries them as bytes in a static, one for each generated file. They are decoded when something
//! first asks (JSON, a debug page), once, and never otherwise: a program that only speaks binary protobuf pays for the
//! bytes alone. Nothing here knows JSON.

mod roomy;

use std::fmt;

use bthread::sync::OnceLock;
use prost_reflect::{DescriptorPool, MessageDescriptor};

pub(crate) use roomy::with_roomy_stack;

use crate::json::Plans;

/// The descriptors of a generated file and of all that it imports.
///
/// ```
/// use rpc::Schema;
///
/// static NOTHING: Schema = Schema::new(b"");
/// assert!(NOTHING.pool().is_none() && Schema::NONE.pool().is_none());
/// assert!(NOTHING.message("example.EchoRequest").is_none());
/// ```
pub struct Schema {
    encoded: &'static [u8],
    // An option, so that `NONE` has nothing that changes in it and `&Schema::NONE` is a static wherever it is written.
    made: Option<Made>,
}

/// What was made of the bytes so far.
struct Made {
    pool: OnceLock<Result<DescriptorPool, String>>,
    plans: OnceLock<Plans>,
}

const NO_DESCRIPTORS: &str = "no descriptors were given";

impl Schema {
    /// What a hand-written descriptor says that has no `.proto` behind it: no messages are known.
    pub const NONE: Schema = Schema { encoded: b"", made: None };

    /// From the bytes of a `google.protobuf.FileDescriptorSet`: each file after those that it imports, none missing.
    /// Empty bytes are [`NONE`](Self::NONE).
    pub const fn new(encoded: &'static [u8]) -> Schema {
        Schema { encoded, made: Some(Made { pool: OnceLock::new(), plans: OnceLock::new() }) }
    }

    /// The bytes that it was made from.
    pub fn encoded(&self) -> &'static [u8] {
        self.encoded
    }

    /// The decoded descriptors. None if there are none, or if the bytes are not what [`new`](Self::new) asks for;
    /// [`error`](Self::error) tells why.
    ///
    /// *Blocking*: parks the bthread or blocks the thread while they are decoded, the first time (some 100 µs for a
    /// small file); never later.
    pub fn pool(&self) -> Option<&DescriptorPool> {
        self.decoded().ok()
    }

    /// Why there is no [`pool`](Self::pool). *Blocking*: as that.
    pub fn error(&self) -> Option<&str> {
        self.decoded().err()
    }

    /// The descriptor of the message of that full name, without a leading dot. *Blocking*: as [`pool`](Self::pool).
    pub fn message(&self, full_name: &str) -> Option<MessageDescriptor> {
        self.pool()?.get_message_by_name(full_name)
    }

    /// What the JSON transcoder has made of the descriptors; compiled when it is first asked for.
    pub(crate) fn plans(&self) -> Result<&Plans, &str> {
        let made = self.made.as_ref().ok_or(NO_DESCRIPTORS)?;
        if let Some(plans) = made.plans.get() {
            return Ok(plans);
        }
        let pool = self.decoded()?;
        Ok(made.plans.get_or_init(|| Plans::compile(pool)))
    }

    fn decoded(&self) -> Result<&DescriptorPool, &str> {
        let made = self.made.as_ref().ok_or(NO_DESCRIPTORS)?;
        made.pool.get_or_init(|| decode(self.encoded)).as_ref().map_err(String::as_str)
    }
}

fn decode(encoded: &'static [u8]) -> Result<DescriptorPool, String> {
    if encoded.is_empty() {
        return Err(NO_DESCRIPTORS.to_owned());
    }
    match with_roomy_stack(|| DescriptorPool::decode(encoded)) {
        Ok(Ok(pool)) => Ok(pool),
        Ok(Err(error)) => Err(format!("bad descriptors: {error}")),
        Err(error) => Err(format!("no bthread to decode the descriptors in: {error}")),
    }
}

/// Equal if made from the same bytes.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

impl Eq for Schema {}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("encoded_len", &self.encoded.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_descriptors_are_told_of() {
        static BAD: Schema = Schema::new(b"\x0a\x05no");
        assert!(BAD.pool().is_none());
        let error = BAD.error().unwrap();
        assert!(error.starts_with("bad descriptors: "), "{error}");
        assert_eq!(Schema::NONE.error(), Some(NO_DESCRIPTORS));
    }

    #[test]
    fn none_is_a_static_wherever_it_is_written() {
        let schema: &'static Schema = &Schema::NONE;
        assert_eq!(schema, &Schema::new(b""));
    }

    #[test]
    fn descriptors_are_decoded_on_the_smallest_stack() {
        // message m { optional int32 f = 1; }
        static SMALL: Schema =
            Schema::new(b"\n!\n\x07f.proto\"\x0e\n\x01m\x12\t\n\x01f\x18\x01 \x01(\x05b\x06proto3");
        let decode = || SMALL.message("m").map(|message| message.fields().len());
        let on_small = bthread::Builder::new().stack(bthread::StackClass::Small).spawn(decode).unwrap();
        assert_eq!(on_small.join().unwrap(), Some(1), "{:?}", SMALL.error());
    }
}
