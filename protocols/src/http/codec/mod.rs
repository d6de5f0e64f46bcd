//! HTTP/1 as bytes (RFC 9112): requests and responses cut off a connection, and written.
//!
//! [`RequestCodec`] and [`ResponseCodec`] are the two ends; sans-I/O, whatever comes they neither panic nor hold more
//! than what was received. `scan` finds the end of a head and looks at each byte once. `head` reads it: the start line,
//! `target`, `fields`, and with `framing` where the body ends, which `body` and `chunked` cut. `refusal` is what is
//! answered to bytes that are no request. `write` writes heads.

mod body;
mod chunked;
mod date;
mod fields;
mod framing;
mod head;
mod method;
mod refusal;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod replay;
mod request;
mod response;
mod scan;
mod target;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use chunked::{LAST_CHUNK, write_chunk};
pub(crate) use fields::elements;
pub(crate) use framing::number;
pub(crate) use head::{Lenience, RequestHead, ResponseHead, may_have_body};
pub(crate) use request::RequestCodec;
pub(crate) use response::{HINT_HEAD, ResponseCodec};
pub(crate) use write::HeadWriter;
