//! The messages that the tests of the JSON mapping have, every type, label and shape of a field among them.

use std::path::Path;
use std::sync::LazyLock;

use prost::Message;
use rpc::Schema;

/// The message that bytes are read as.
pub const MESSAGE: &str = "every.Every";

pub static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rpc/tests/json");
    let set = protox::compile(["every.proto"], [&dir]).expect("the tests' messages compile");
    Schema::new(set.encode_to_vec().leak())
});

/// Options chosen by the bits of a byte.
pub fn options(bits: u8) -> rpc::json::JsonOptions {
    let mut options = rpc::json::JsonOptions::default();
    options.bytes_to_base64 = bits & 1 == 0;
    options.single_repeated_to_array = bits & 2 != 0;
    options.jsonify_empty_array = bits & 4 != 0;
    options.always_print_primitive_fields = bits & 8 != 0;
    options.enum_as_number = bits & 16 != 0;
    options.pretty = bits & 32 != 0;
    options.strict = bits & 64 != 0;
    options
}

/// Whether it is JSON to others, however deep.
pub fn is_json(text: &[u8]) -> bool {
    let mut reader = serde_json::Deserializer::from_slice(text);
    reader.disable_recursion_limit();
    <serde::de::IgnoredAny as serde::Deserialize>::deserialize(&mut reader).is_ok() && reader.end().is_ok()
}
