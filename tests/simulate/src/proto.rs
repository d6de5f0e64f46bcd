//! The messages and services of `simulate.proto`.

#![allow(missing_docs, unreachable_pub, reason = "the .proto file says what they are")]

include!(concat!(env!("OUT_DIR"), "/simulate.rs"));
