//! Reads descriptions in place.

use rpc::protocol::{Frame, StreamFrame, StreamFrameBody};

use super::frame_type;
use crate::baidu_std::codec::wire::{Malformed, Value, field};
use crate::baidu_std::codec::{Aux, description};

/// `StreamFrameMeta`. Of a number that comes several times the last one counts, as in every protobuf parser.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) stream_id: i64,
    pub(super) source_id: Option<i64>,
    pub(super) frame_type: u64,
    pub(super) has_continuation: bool,
    pub(super) consumed: i64,
}

impl Meta {
    pub(super) fn read(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut meta, mut has_id) = (Meta::default(), false);
        while !bytes.is_empty() {
            match field(&mut bytes)? {
                (1, Value::Varint(id)) => {
                    meta.stream_id = id as i64;
                    has_id = true;
                }
                (2, Value::Varint(id)) => meta.source_id = Some(id as i64),
                // An enum is closed: a type that is not known is none at all, and the one before it stays.
                // It is an int32, as all enums, of which more bits may come.
                (3, Value::Varint(number)) if u64::from(number as u32) <= frame_type::FEEDBACK => {
                    meta.frame_type = u64::from(number as u32);
                }
                (4, Value::Varint(flag)) => meta.has_continuation = flag != 0,
                (5, Value::Bytes(mut feedback)) => {
                    while !feedback.is_empty() {
                        if let (1, Value::Varint(consumed)) = field(&mut feedback)? {
                            meta.consumed = consumed as i64;
                        }
                    }
                }
                _ => {}
            }
        }
        if has_id { Ok(meta) } else { Err(Malformed) }
    }
}

/// Takes a frame apart. `None`: its description cannot be read.
pub(crate) fn read(mut frame: Frame) -> Option<StreamFrame> {
    let meta_size = frame.meta_size as usize;
    let mut aux = Aux::new();
    let meta = Meta::read(description(&frame.bytes, meta_size, &mut aux).ok()?).ok()?;
    let body = match meta.frame_type {
        frame_type::RST => StreamFrameBody::Rst,
        frame_type::CLOSE => StreamFrameBody::Close,
        frame_type::DATA => {
            frame.bytes.pop_front(meta_size);
            StreamFrameBody::Data { payload: frame.bytes, has_continuation: meta.has_continuation }
        }
        frame_type::FEEDBACK => StreamFrameBody::Feedback { consumed: meta.consumed },
        _ => StreamFrameBody::Unknown,
    };
    Some(StreamFrame { stream_id: meta.stream_id, source_id: meta.source_id, body })
}
