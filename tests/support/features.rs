//! What the features server and the features client say to each other (`tests/peers/brpc/features.proto`), and the
//! messages of their streams.

#![allow(missing_docs, reason = "the .proto file says what they are")]

include!(concat!(env!("OUT_DIR"), "/features.rs"));

/// The bytes before this say which message it is.
const NUMBER: usize = 8;

/// What the bytes behind the number run through.
const PERIOD: u64 = 251;

/// Message `n` of a stream. Empty if it has no room for its number.
pub fn stream_message(n: u64, size: usize) -> Vec<u8> {
    if size < NUMBER {
        return Vec::new();
    }
    let mut bytes = n.to_be_bytes().to_vec();
    let period: Vec<u8> = (0..PERIOD).map(|i| ((n + NUMBER as u64 + i) % PERIOD) as u8).collect();
    while bytes.len() < size {
        let more = period.len().min(size - bytes.len());
        bytes.extend(&period[..more]);
    }
    bytes
}
