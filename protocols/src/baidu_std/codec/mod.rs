//! Frames: a header of 12 bytes (`PRPC`, the size of what follows, the size of the description), the description
//! ([`Meta`]), the body, the attachment (§2.1, §2.2).
//!
//! [`FrameCodec`] cuts them, `read` reads the description in place, `write` writes whole frames. `reference` is the
//! description as plain prost structs, which the tests compare the two with.

mod encoding;
mod read;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod reference;
pub(crate) mod wire;
mod write;

use iobuf::IoBuf;
use rpc::protocol::{Codec, Frame, Parsed, WireError};

pub(crate) use encoding::{Form, Numbers, from_bits, to_bits};
pub(crate) use read::{Aux, Meta, Request, description, text};
pub(crate) use write::{FormToWrite, Kind, MetaToWrite, TooLarge, write_frame};

/// Begins every frame.
pub(crate) const MAGIC: [u8; 4] = *b"PRPC";

/// Magic, body size and meta size.
pub(crate) const HEADER_SIZE: usize = 12;

/// Cuts frames. Keeps nothing between two calls.
#[derive(Debug)]
pub(crate) struct FrameCodec {
    magic: [u8; 4],
    max_body_size: usize,
}

impl FrameCodec {
    /// Of frames that begin with `magic`.
    pub(crate) fn new(magic: [u8; 4], max_body_size: usize) -> Self {
        FrameCodec { magic, max_body_size }
    }
}

impl Codec for FrameCodec {
    fn parse(&mut self, input: &mut IoBuf) -> Result<Parsed, WireError> {
        let mut aux = [0; HEADER_SIZE];
        let there = input.len().min(HEADER_SIZE);
        let Some(header) = input.fetch(&mut aux[..there]) else {
            return Ok(Parsed::NeedMore);
        };
        let compared = there.min(MAGIC.len());
        if header[..compared] != self.magic[..compared] {
            return Ok(Parsed::NotMine);
        }
        let &[_, _, _, _, b0, b1, b2, b3, m0, m1, m2, m3] = header else {
            return Ok(Parsed::NeedMore);
        };
        let body_size = u32::from_be_bytes([b0, b1, b2, b3]);
        let meta_size = u32::from_be_bytes([m0, m1, m2, m3]);
        let size = body_size as usize;
        if size > self.max_body_size {
            return Err(WireError::TooBig { declared: body_size.into(), limit: self.max_body_size });
        }
        if meta_size > body_size {
            return Err(WireError::Malformed("meta_size is larger than body_size"));
        }
        if input.len() - HEADER_SIZE < size {
            return Ok(Parsed::NeedMore);
        }
        input.pop_front(HEADER_SIZE);
        Ok(Parsed::Message(Frame::new(input.cut(size), meta_size)))
    }
}

/// Reads a description in both ways and compares; a fuzz target and a test. Whatever prost accepts whole, the reader
/// accepts, with the same contents. (It accepts more: prost refuses a known field of a wrong wire type, which brpc's
/// own parser takes for an unknown field.)
#[cfg(any(test, feature = "fuzzing"))]
pub fn check_meta(bytes: &[u8]) {
    use prost::Message;

    use rpc::message::Encoding;

    let read = Meta::read(bytes);
    let Ok(reference) = reference::RpcMeta::decode(bytes) else {
        return;
    };
    if !reference.is_whole() {
        assert!(read.is_err(), "a required field is missing");
        return;
    }
    let too_many =
        |settings: &reference::StreamSettings| settings.extra_stream_ids.len() >= read::STREAMS_MAX;
    if reference.stream_settings.as_ref().is_some_and(too_many) {
        assert!(read.is_err(), "more streams than a call may have");
        return;
    }
    if reference.user_fields.len() > read::USER_FIELDS_MAX {
        assert!(read.is_err(), "more pairs than a description may have");
        return;
    }
    let read = read.expect("prost accepts it");
    assert_eq!(read.correlation_id, reference.correlation_id() as u64);
    assert_eq!(read.attachment_size, reference.attachment_size());
    assert_eq!(read.checksum_value, reference.checksum_value());
    assert_eq!(read.request.is_some(), reference.request.is_some());
    if let (Some(read), Some(reference)) = (read.request, &reference.request) {
        assert_eq!(read.service_name, reference.service_name());
        assert_eq!(read.method_name, reference.method_name());
        assert_eq!(read.log_id, reference.log_id.map(|id| id as u64));
        assert_eq!(read.request_id, reference.request_id());
        assert_eq!(read.timeout_ms, reference.timeout_ms());
        let trace = [reference.trace_id(), reference.span_id(), reference.parent_span_id()];
        assert_eq!(read.trace, trace.map(|id| id as u64));
    }
    assert_eq!(read.response.is_some(), reference.response.is_some());
    if let (Some(read), Some(reference)) = (read.response, &reference.response) {
        assert_eq!(read.error_code, reference.error_code());
        assert_eq!(read.error_text, reference.error_text());
    }
    assert_eq!(read.authentication_data, reference.authentication_data.as_deref());
    assert_eq!(read.streams.is_some(), reference.stream_settings.is_some());
    if let (Some(read), Some(reference)) = (&read.streams, &reference.stream_settings) {
        assert_eq!(read.ids[0], reference.stream_id());
        assert_eq!(read.ids[1..], reference.extra_stream_ids);
        assert_eq!(read.need_feedback, reference.need_feedback());
        assert_eq!(read.writable, reference.writable());
    }
    assert_eq!(read.encoding.compress.get(), reference.compress_type());
    let is_plain = [reference.compress_type(), reference.content_type(), reference.checksum_type()] == [0; 3];
    assert!(!is_plain || read.encoding == Encoding::default());
    assert!(read.user_fields().len() <= reference.user_fields.len());
    for field in &reference.user_fields {
        assert!(read.user_fields().get(&text(field.key())).is_some());
    }
}
