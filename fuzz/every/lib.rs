//! The bodies of the targets for JSON, on the messages of `rpc/tests/json/every.proto`. They panic when a promise is
//! broken, whatever bytes they get; the first byte chooses the message and the options.

use std::path::Path;
use std::sync::LazyLock;

use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message;
use rpc::Schema;
use rpc::json::{self, JsonOptions, MAX_GROWTH};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rpc/tests/json");
    let set = protox::compile(["every.proto"], [dir]).expect("a good file");
    Schema::new(set.encode_to_vec().leak())
});

const MESSAGES: [&str; 4] = ["every.Every", "every.Required", "every.Shapes", "every3.Every3"];

fn choose(byte: u8) -> (&'static str, JsonOptions) {
    let mut options = JsonOptions::default();
    options.pretty = byte & 4 != 0;
    options.enum_as_number = byte & 8 != 0;
    options.jsonify_empty_array = byte & 16 != 0;
    options.bytes_to_base64 = byte & 32 == 0;
    options.strict = byte & 64 != 0;
    (MESSAGES[usize::from(byte & 3)], options)
}

/// Text becomes a message that others can read, not much longer than it, and that is written as text again.
pub fn json_to_proto(data: &[u8]) {
    let Some((choice, json)) = data.split_first() else { return };
    let (message, options) = choose(*choice);
    let Ok((wire, _)) = json::json_to_proto(&SCHEMA, message, json, &options) else { return };
    assert!(wire.len() <= MAX_GROWTH * json.len());
    let descriptor = SCHEMA.message(message).expect("it is in the file");
    assert!(DynamicMessage::decode(descriptor, wire.as_slice()).is_ok());
    let mut written = Vec::new();
    json::proto_to_json(&SCHEMA, message, &wire, &options, &mut written).expect("what was read");
    assert_same_again(message, &options, &written);
}

/// Bytes that are accepted become text that is read again.
pub fn proto_to_json(data: &[u8]) {
    let Some((choice, wire)) = data.split_first() else { return };
    let (message, options) = choose(*choice);
    let mut written = Vec::new();
    if json::proto_to_json(&SCHEMA, message, wire, &options, &mut written).is_ok() {
        assert_same_again(message, &options, &written);
    }
}

/// What was written is read whole, and written the same way again.
fn assert_same_again(message: &str, options: &JsonOptions, written: &[u8]) {
    let (wire, note) = json::json_to_proto(&SCHEMA, message, written, options).expect("what was written");
    assert_eq!(note, None);
    let mut again = Vec::new();
    json::proto_to_json(&SCHEMA, message, &wire, options, &mut again).expect("what was read");
    assert!(again == written, "{}\n{}", String::from_utf8_lossy(written), String::from_utf8_lossy(&again));
}
