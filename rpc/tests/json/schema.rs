//! The messages of `every.proto`, and short ways to convert them.

use std::path::Path;
use std::sync::LazyLock;

use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use rpc::Schema;
use rpc::json::{self, JsonError, JsonOptions};

pub(crate) static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/json");
    let set = protox::compile(["every.proto"], [&dir]).unwrap();
    Schema::new(set.encode_to_vec().leak())
});

pub(crate) fn descriptor(message: &str) -> MessageDescriptor {
    SCHEMA.message(message).unwrap_or_else(|| panic!("{message}: {:?}", SCHEMA.error()))
}

/// Protobuf of `json`.
pub(crate) fn read_with(options: &JsonOptions, message: &str, json: &str) -> Result<Vec<u8>, JsonError> {
    json::json_to_proto(&SCHEMA, message, json.as_bytes(), options).map(|(wire, note)| {
        assert_eq!(note, None);
        wire
    })
}

pub(crate) fn read(message: &str, json: &str) -> Result<Vec<u8>, JsonError> {
    read_with(&JsonOptions::default(), message, json)
}

/// The text format of what `json` is read as: easy to compare, and not of our making.
pub(crate) fn text(message: &str, json: &str) -> String {
    text_of(message, &read(message, json).unwrap_or_else(|error| panic!("{json}: {error}")))
}

pub(crate) fn text_of(message: &str, wire: &[u8]) -> String {
    DynamicMessage::decode(descriptor(message), wire).unwrap().to_text_format()
}

/// The JSON of `wire`.
pub(crate) fn write_with(options: &JsonOptions, message: &str, wire: &[u8]) -> Result<String, JsonError> {
    let mut out = b"before".to_vec();
    let result = json::proto_to_json(&SCHEMA, message, wire, options, &mut out);
    let written = out.strip_prefix(b"before").expect("what was there stays");
    if let Err(error) = result {
        assert!(written.is_empty(), "nothing stays after an error");
        return Err(error);
    }
    Ok(String::from_utf8(written.to_vec()).unwrap())
}

pub(crate) fn write(message: &str, wire: &[u8]) -> Result<String, JsonError> {
    write_with(&JsonOptions::default(), message, wire)
}

/// Protobuf of a message in the text format.
pub(crate) fn wire(message: &str, text: &str) -> Vec<u8> {
    DynamicMessage::parse_text_format(descriptor(message), text)
        .unwrap_or_else(|error| panic!("{error}"))
        .encode_to_vec()
}

pub(crate) fn options(set: impl FnOnce(&mut JsonOptions)) -> JsonOptions {
    let mut options = JsonOptions::default();
    set(&mut options);
    options
}
