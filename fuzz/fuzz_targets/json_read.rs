//! Reads any bytes as JSON of a message, as canonical JSON and as protobuf's text format.
#![no_main]

mod json_schema;

use json_schema::{MESSAGE, SCHEMA, is_json, options};
use rpc::json::{self, MAX_GROWTH};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((bits, text)) = data.split_first() else { return };
    let options = options(*bits);
    if let Ok((wire, _)) = json::json_to_proto(&SCHEMA, MESSAGE, text, &options) {
        assert!(is_json(text), "what is no JSON to others is none to us");
        assert!(wire.len() <= MAX_GROWTH * text.len(), "{} bytes of {}", wire.len(), text.len());
        // What was read is written, and what is written is read as the same. (Bytes that are no text have to be
        // base64 for that.)
        let mut printed = Vec::new();
        match json::proto_to_json(&SCHEMA, MESSAGE, &wire, &options, &mut printed) {
            Ok(()) => {}
            Err(_) if !options.bytes_to_base64 => return,
            Err(error) => panic!("{error}"),
        }
        assert!(is_json(&printed));
        let (again, note) = json::json_to_proto(&SCHEMA, MESSAGE, &printed, &options).expect("our own JSON");
        assert_eq!(note, None);
        let mut printed_again = Vec::new();
        json::proto_to_json(&SCHEMA, MESSAGE, &again, &options, &mut printed_again).expect("our own message");
        assert_eq!(printed, printed_again);
    }
    if let Ok(value) = json::json_to_proto_prefix(&SCHEMA, MESSAGE, text, &options) {
        assert!(value.consumed <= text.len());
    }
    let _ = json::proto_json_to_proto(&SCHEMA, MESSAGE, text);
    let _ = json::text_to_proto(&SCHEMA, MESSAGE, text);
});
