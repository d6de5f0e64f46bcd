//! Writes frames as brpc does, byte for byte: header and description by one copy, a small payload by another.

use iobuf::{COPY_MAX, IoBuf};
use rpc::protocol::{StreamFrame, StreamFrameBody};
use rpc::stream::FRAME_META_MAX;

use super::{MAGIC, frame_type};
use crate::baidu_std::codec::HEADER_SIZE;
use crate::baidu_std::codec::wire::{DELIMITED, VARINT, varint_len};

/// Bytes as they are put together.
struct Head {
    bytes: [u8; HEADER_SIZE + FRAME_META_MAX],
    len: usize,
}

impl Head {
    #[inline]
    fn put(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(value as u8 | 0x80);
            value >>= 7;
        }
        self.put(value as u8);
    }

    #[inline]
    fn number(&mut self, field: u64, value: u64) {
        self.put((field << 3 | VARINT) as u8);
        self.varint(value);
    }
}

/// Appends a frame to `out`.
///
/// # Panics
/// In builds with checks, for a payload beyond what a frame can hold.
pub(crate) fn write(frame: StreamFrame, out: &mut IoBuf) {
    let mut head = Head { bytes: [0; HEADER_SIZE + FRAME_META_MAX], len: HEADER_SIZE };
    head.number(1, frame.stream_id as u64);
    if let Some(source) = frame.source_id {
        head.number(2, source as u64);
    }
    let mut payload = IoBuf::new();
    match frame.body {
        StreamFrameBody::Unknown => {}
        StreamFrameBody::Rst => head.number(3, frame_type::RST),
        StreamFrameBody::Close => head.number(3, frame_type::CLOSE),
        StreamFrameBody::Data { payload: bytes, has_continuation } => {
            head.number(3, frame_type::DATA);
            head.number(4, has_continuation.into());
            payload = bytes;
        }
        StreamFrameBody::Feedback { consumed } => {
            head.number(3, frame_type::FEEDBACK);
            let consumed = consumed as u64;
            head.put((5 << 3 | DELIMITED) as u8);
            head.varint(1 + varint_len(consumed) as u64);
            head.number(1, consumed);
        }
    }
    let meta_size = head.len - HEADER_SIZE;
    let body_size = meta_size + payload.len();
    debug_assert!(u32::try_from(body_size).is_ok(), "segments are smaller");
    head.bytes[..4].copy_from_slice(&MAGIC);
    head.bytes[4..8].copy_from_slice(&(body_size as u32).to_be_bytes());
    head.bytes[8..12].copy_from_slice(&(meta_size as u32).to_be_bytes());
    out.append(&head.bytes[..head.len]);
    // Few pieces make few entries for the kernel.
    if payload.len() <= COPY_MAX {
        payload.slices().for_each(|slice| out.append(slice));
    } else {
        out.append_buf(payload);
    }
}
