//! Cuts frames of streams off any bytes, whole and in pieces, and reads their descriptions, in place and with prost.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocols::fuzzing::streaming_rpc(data));
