//! JSON text and protobuf wire bytes, each from the other.
//!
//! | Mapping | Content type | Functions |
//! |---|---|---|
//! | *json*, brpc's own | `application/json` | [`json_to_proto`], [`json_to_proto_prefix`], [`proto_to_json`] |
//! | *proto-json*, protobuf's canonical one | `application/proto-json` | [`proto_json_to_proto`], [`proto_to_proto_json`] |
//! | *proto-text*, protobuf's text format | `application/proto-text` | [`text_to_proto`], [`proto_to_text`] |
//!
//! The first goes straight between text and bytes, by a plan that is compiled once for each [`Schema`]: it is on the
//! hot path, allocates nothing per field and runs on any stack. The other two are `prost-reflect`'s, by way of a
//! message object, on a bthread with a large stack.
//!
//! Nothing here knows HTTP, a connection or a call. Messages are named by their full names without a leading dot.
//!
//! # The json mapping
//!
//! | protobuf | JSON written | JSON read |
//! |---|---|---|
//! | integers | number, never quoted | integral number in range; of 64 bits also a decimal string |
//! | `float`, `double` | shortest decimal that reads back, a float as the double it is; `"NaN"`, `"Infinity"`, `"-Infinity"` | number in range, or these three in any case |
//! | `bool` | `true`, `false` | the same |
//! | `string` | string | string |
//! | `bytes` | base64, or the bytes as text | the same |
//! | enum | name; number if it has none, or if asked | name or number; numbers without a name in proto3 only |
//! | message, group | object | object |
//! | repeated | array; left out when empty | array |
//! | map with string keys | object, behind all other fields, written when empty too | object, or array of entries |
//! | map with other keys | array of `{"key":…,"value":…}` | the same |
//!
//! A map is any repeated message with exactly a singular string `key` and a singular `value`. Keys are field names as
//! the `.proto` has them, with `_Zddd_` for a character that no name can have. Extensions go by their simple names,
//! before the other fields.
//!
//! Fields that are not set are left out; required ones have to be there, both ways. Unknown keys and unknown fields
//! are passed over, `null` is as if it were not there, and of two members of one name the first counts. Two members of
//! one `oneof` are an error. Source: protocols-http §18.

mod canonical;
mod content;
mod error;
mod names;
mod options;
mod plan;
mod print;
mod read;
mod read_scalar;
mod runs;
mod scan;
mod wire;
mod write;
mod write_scalar;

pub use canonical::{proto_json_to_proto, proto_to_proto_json, proto_to_text, text_to_proto};
pub use content::{content_to_proto, proto_to_content};
pub use error::JsonError;
pub use options::JsonOptions;
pub(crate) use plan::Plans;
use read::ReadJson;
use write::WriteJson;

use crate::schema::Schema;

/// How many messages may lie in one another, the outermost one included; an entry of a map counts as one. brpc's
/// `json2pb_max_recursion_depth`.
pub const MAX_RECURSION_DEPTH: u32 = 100;

/// Protobuf made of JSON is at most this many times as long as the JSON (the worst is `1,` as a `double` that is not
/// packed, with a large field number).
pub const MAX_GROWTH: usize = 7;

/// No further fields are named in a note that is longer, in bytes.
pub const NOTE_MAX: usize = 512;

/// Spaces for each level of pretty JSON.
const INDENT: usize = 4;

/// What is left of a text behind the first value in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The message, as protobuf.
    pub wire: Vec<u8>,
    /// Which fields were skipped, if any.
    pub note: Option<String>,
    /// Where the value ended in the text.
    pub consumed: usize,
}

/// Makes protobuf of `json`, which is one value, as the message of that name. Also gives a note on fields that were
/// skipped since their values had wrong types, if there are any.
///
/// The bytes are at most [`MAX_GROWTH`] times as many as those of the text; beside them, memory grows by one bit for
/// each level of nesting, two words for each message of 128 bytes or more, and the longest string that has escapes or
/// base64. *Blocking*: not, but as [`Schema::pool`] the first time a schema is used.
///
/// # Errors
/// An unknown message, text that is not JSON, and what the [mapping](self#the-json-mapping) refuses.
///
/// ```
/// # static SCHEMA: rpc::Schema = rpc::Schema::new(
/// #     b"\n!\n\x07f.proto\"\x0e\n\x01m\x12\t\n\x01f\x18\x01 \x01(\x05b\x06proto3");
/// // message m { int32 f = 1; }
/// let options = rpc::json::JsonOptions::default();
/// let (wire, note) = rpc::json::json_to_proto(&SCHEMA, "m", br#"{"f": 7}"#, &options)?;
/// assert_eq!((wire.as_slice(), note), ([8, 7].as_slice(), None));
/// # Ok::<(), rpc::json::JsonError>(())
/// ```
pub fn json_to_proto(
    schema: &Schema,
    message: &str,
    json: &[u8],
    options: &JsonOptions,
) -> Result<(Vec<u8>, Option<String>), JsonError> {
    let (plans, index) = find(schema, message)?;
    let mut reader = ReadJson::new(plans, options, json)?;
    reader.value(index)?;
    reader.scanner.peek();
    let (wire, note, consumed) = reader.finish()?;
    if consumed != json.len() {
        return Err(JsonError::Syntax { offset: consumed, what: "something behind the value" });
    }
    Ok((wire, note))
}

/// As [`json_to_proto`], of the first value in `json`, whatever is behind it: for values in a stream, one after the
/// other.
///
/// # Errors
/// As those of [`json_to_proto`].
pub fn json_to_proto_prefix(
    schema: &Schema,
    message: &str,
    json: &[u8],
    options: &JsonOptions,
) -> Result<Prefix, JsonError> {
    let (plans, index) = find(schema, message)?;
    let mut reader = ReadJson::new(plans, options, json)?;
    reader.value(index)?;
    let (wire, note, consumed) = reader.finish()?;
    Ok(Prefix { wire, note, consumed })
}

/// Adds to `out` the JSON of the message of that name in `wire`. After an error `out` is as it was.
///
/// The text may be a good deal longer than the bytes: beside values (six bytes for one at most) the keys and the names
/// of enums' values come from the schema, and pretty text brings indentation. Memory beside it is at most twelve times
/// `wire`, and a few words where fields are in order. *Blocking*: not, but as [`Schema::pool`] the first time a schema
/// is used.
///
/// # Errors
/// An unknown message, bytes that are not a message, text in it that is not UTF-8, a required field that is not there.
///
/// ```
/// # static SCHEMA: rpc::Schema = rpc::Schema::new(
/// #     b"\n!\n\x07f.proto\"\x0e\n\x01m\x12\t\n\x01f\x18\x01 \x01(\x05b\x06proto3");
/// let mut json = Vec::new();
/// rpc::json::proto_to_json(&SCHEMA, "m", &[8, 7], &Default::default(), &mut json)?;
/// assert_eq!(json, br#"{"f":7}"#);
/// # Ok::<(), rpc::json::JsonError>(())
/// ```
pub fn proto_to_json(
    schema: &Schema,
    message: &str,
    wire: &[u8],
    options: &JsonOptions,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let (plans, index) = find(schema, message)?;
    let before = out.len();
    let result = WriteJson::new(plans, options, wire, out)?.message(index);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

fn find<'s>(schema: &'s Schema, message: &str) -> Result<(&'s Plans, u32), JsonError> {
    let unknown = |reason| JsonError::unknown_message(message, reason);
    let plans = schema.plans().map_err(unknown)?;
    let index = plans.find(message).ok_or_else(|| unknown(""))?;
    Ok((plans, index))
}
