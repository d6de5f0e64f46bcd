//! Protobuf's own mappings, through `prost-reflect`: canonical JSON and the text format. By way of a message object,
//! so they are for what is not hot.
//!
//! The library recurses: everything runs on a large stack, after a look at how deep the text is.

use prost_reflect::prost::Message;
use prost_reflect::text_format::FormatOptions;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};

use super::MAX_RECURSION_DEPTH;
use super::error::JsonError;
use crate::schema::{Schema, with_roomy_stack};

/// Makes protobuf of `json` by the canonical mapping; unknown keys are passed over.
///
/// *Blocking*: inside a bthread parks it while another one with a large stack does the work.
///
/// # Errors
/// An unknown message, and whatever is not canonical JSON of it. Required fields are not looked for.
pub fn proto_json_to_proto(schema: &Schema, message: &str, json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let descriptor = descriptor(schema, message)?;
    run(|| {
        let mut deserializer = serde_json::Deserializer::from_slice(json); // has a bound on depth of its own
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let message = DynamicMessage::deserialize_with_options(descriptor, &mut deserializer, &options)
            .map_err(canonical)?;
        deserializer.end().map_err(canonical)?;
        Ok(message.encode_to_vec())
    })
}

/// Adds to `out` the canonical JSON of the message in `wire`. After an error `out` is as it was.
///
/// *Blocking*: as [`proto_json_to_proto`].
///
/// # Errors
/// An unknown message, bytes that are not a message, or a well-known type that has no JSON (a duration out of range,
/// say). Required fields are not looked for.
pub fn proto_to_proto_json(
    schema: &Schema,
    message: &str,
    wire: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let descriptor = descriptor(schema, message)?;
    let json = run(|| {
        let mut serializer = serde_json::Serializer::new(Vec::new());
        decode(descriptor, wire)?
            .serialize_with_options(&mut serializer, &SerializeOptions::new())
            .map_err(canonical)?;
        Ok(serializer.into_inner())
    })?;
    out.extend_from_slice(&json);
    Ok(())
}

/// Makes protobuf of the text format.
///
/// *Blocking*: as [`proto_json_to_proto`].
///
/// # Errors
/// An unknown message, text that is not UTF-8, or not the text format, unknown fields included. Required fields are
/// not looked for.
pub fn text_to_proto(schema: &Schema, message: &str, text: &[u8]) -> Result<Vec<u8>, JsonError> {
    let descriptor = descriptor(schema, message)?;
    let text = std::str::from_utf8(text)
        .map_err(|error| JsonError::Canonical { reason: format!("the text is not UTF-8: {error}") })?;
    if depth_of(text) > TEXT_DEPTH_MAX {
        return Err(JsonError::TooDeep);
    }
    run(|| {
        let message = DynamicMessage::parse_text_format(descriptor, text).map_err(canonical)?;
        Ok(message.encode_to_vec())
    })
}

/// Adds to `out` the text format of the message in `wire`, one field on a line. After an error `out` is as it was.
///
/// *Blocking*: as [`proto_json_to_proto`].
///
/// # Errors
/// An unknown message, or bytes that are not a message.
pub fn proto_to_text(
    schema: &Schema,
    message: &str,
    wire: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let descriptor = descriptor(schema, message)?;
    let text =
        run(
            || Ok(decode(descriptor, wire)?.to_text_format_with_options(&FormatOptions::new().pretty(true))),
        )?;
    out.extend_from_slice(text.as_bytes());
    if !text.is_empty() && !text.ends_with('\n') {
        out.push(b'\n');
    }
    Ok(())
}

/// Brackets in one another in the text format: a list of messages has two for each level.
const TEXT_DEPTH_MAX: usize = 2 * MAX_RECURSION_DEPTH as usize;

/// How deep brackets lie in one another, outside of strings and comments.
fn depth_of(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'<' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b'>' | b']' => depth = depth.saturating_sub(1),
            b'#' => drop(bytes.find(|byte| *byte == b'\n')),
            quote @ (b'"' | b'\'') => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        _ if byte == quote => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

fn descriptor(schema: &Schema, message: &str) -> Result<MessageDescriptor, JsonError> {
    let unknown = || JsonError::unknown_message(message, schema.error().unwrap_or_default());
    schema.message(message).ok_or_else(unknown)
}

fn decode(descriptor: MessageDescriptor, wire: &[u8]) -> Result<DynamicMessage, JsonError> {
    DynamicMessage::decode(descriptor, wire).map_err(canonical)
}

fn run<T: Send>(f: impl FnOnce() -> Result<T, JsonError> + Send) -> Result<T, JsonError> {
    with_roomy_stack(f).unwrap_or_else(|error| Err(canonical(error)))
}

fn canonical(error: impl std::fmt::Display) -> JsonError {
    JsonError::Canonical { reason: error.to_string() }
}
