//! Reads any bytes as replies, to their messages.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocols::fuzzing::baidu_std_reply(data));
