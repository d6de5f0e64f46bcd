//! Reads any bytes as the body of a request, in every form.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocols::fuzzing::baidu_std_request(data));
