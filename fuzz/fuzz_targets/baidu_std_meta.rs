//! Reads any bytes as the description of a frame, in place and with prost, and compares.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocols::fuzzing::baidu_std_meta(data));
