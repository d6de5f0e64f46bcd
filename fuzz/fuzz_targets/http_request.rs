//! Cuts requests off any bytes, whole and in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocols::fuzzing::http_request(data));
