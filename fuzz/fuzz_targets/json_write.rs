//! Writes any bytes, taken as a message, as JSON, as canonical JSON and in protobuf's text format.
#![no_main]

mod json_schema;

use json_schema::{MESSAGE, SCHEMA, is_json, options};
use rpc::json;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((bits, wire)) = data.split_first() else { return };
    let mut out = Vec::new();
    match json::proto_to_json(&SCHEMA, MESSAGE, wire, &options(*bits), &mut out) {
        Ok(()) => assert!(is_json(&out)),
        Err(_) => assert!(out.is_empty(), "nothing stays after an error"),
    }
    let mut canonical = Vec::new();
    if json::proto_to_proto_json(&SCHEMA, MESSAGE, wire, &mut canonical).is_ok() {
        assert!(is_json(&canonical));
    }
    let mut text = Vec::new();
    let _ = json::proto_to_text(&SCHEMA, MESSAGE, wire, &mut text);
});
