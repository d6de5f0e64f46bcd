//! The description as plain prost structs, which tests and a fuzz target compare the reader with.

use iobuf::IoBuf;
use prost::Message;
use rpc::protocol::{Frame, StreamFrame, StreamFrameBody};

use super::read::Meta;

/// `StreamFrameMeta`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StreamFrameMeta {
    #[prost(int64, optional, tag = "1")]
    pub(crate) stream_id: Option<i64>,
    #[prost(int64, optional, tag = "2")]
    pub(crate) source_stream_id: Option<i64>,
    /// An enum on the wire.
    #[prost(int32, optional, tag = "3")]
    pub(crate) frame_type: Option<i32>,
    #[prost(bool, optional, tag = "4")]
    pub(crate) has_continuation: Option<bool>,
    #[prost(message, optional, tag = "5")]
    pub(crate) feedback: Option<Feedback>,
}

/// `Feedback`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Feedback {
    #[prost(int64, optional, tag = "1")]
    pub(crate) consumed_size: Option<i64>,
}

/// Reads a description in both ways and compares, and writes what was read; a fuzz target and a test. Whatever prost
/// accepts whole, the reader accepts, with the same contents.
pub fn check_meta(bytes: &[u8]) {
    let read = Meta::read(bytes);
    if let Ok(reference) = StreamFrameMeta::decode(bytes) {
        let Some(stream_id) = reference.stream_id else {
            assert!(read.is_err(), "a required field is missing");
            return;
        };
        let read = read.as_ref().expect("prost accepts it");
        assert_eq!(read.stream_id, stream_id);
        assert_eq!(read.source_id, reference.source_stream_id);
        assert_eq!(read.has_continuation, reference.has_continuation());
        assert_eq!(read.consumed, reference.feedback.clone().unwrap_or_default().consumed_size());
        if let Ok(number @ 0..=4) = u64::try_from(reference.frame_type()) {
            assert_eq!(read.frame_type, number);
        }
    }
    let Ok(meta) = read else { return };
    // What is written of it is read as the same.
    let frame = Frame::new(IoBuf::from(bytes), bytes.len() as u32);
    let Some(StreamFrame { stream_id, source_id, body }) = super::read(frame) else {
        panic!("what Meta reads is a frame");
    };
    let same = |body: &StreamFrameBody| format!("{body:?}");
    let before = (stream_id, source_id, same(&body));
    let mut out = IoBuf::new();
    super::write(StreamFrame { stream_id, source_id, body }, &mut out);
    let header = out.cut(12).to_vec();
    assert_eq!(header[4..8], header[8..], "there is no payload");
    let meta_size = out.len() as u32;
    let again = super::read(Frame::new(out, meta_size)).expect("what is written can be read");
    assert_eq!(before, (again.stream_id, again.source_id, same(&again.body)), "{meta:?}");
}
