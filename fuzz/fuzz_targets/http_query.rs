//! Reads any bytes as a query string and as values of fields.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocols::fuzzing::http_query(data));
