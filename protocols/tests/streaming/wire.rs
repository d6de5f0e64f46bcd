//! Frames as a peer that knows nothing of this side's code reads and writes them.

use std::io::Read;
use std::net::TcpStream;

use iobuf::IoBuf;
use protocols::baidu_std::BAIDU_STD;
use protocols::streaming_rpc::STREAMING_RPC;
use rpc::protocol::{Frame, IncomingReply, Protocol, StreamFrame, StreamFrameBody};

/// One frame on a connection.
#[derive(Debug)]
pub(crate) enum Wire {
    /// Of baidu_std: header and all.
    Call(Vec<u8>),
    Stream(StreamFrame),
}

pub(crate) fn size_of(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize
}

pub(crate) fn frame_of(bytes: &[u8]) -> Frame {
    let meta_size = u32::from_be_bytes(bytes[8..12].try_into().unwrap());
    Frame::new(IoBuf::from(&bytes[12..]), meta_size)
}

pub(crate) fn parse(bytes: &[u8]) -> Wire {
    match &bytes[..4] {
        b"PRPC" => Wire::Call(bytes.to_vec()),
        b"STRM" => Wire::Stream(STREAMING_RPC.stream().unwrap().read_frame(frame_of(bytes)).unwrap()),
        other => panic!("{other:?}"),
    }
}

/// All frames, each with the offset of its end.
pub(crate) fn parse_all(mut bytes: &[u8]) -> Vec<(usize, Wire)> {
    let (mut frames, mut end) = (Vec::new(), 0);
    while !bytes.is_empty() {
        let (frame, rest) = bytes.split_at(12 + size_of(bytes));
        end += frame.len();
        frames.push((end, parse(frame)));
        bytes = rest;
    }
    frames
}

pub(crate) fn read_frame(stream: &mut TcpStream) -> Wire {
    let mut bytes = vec![0; 12];
    stream.read_exact(&mut bytes).unwrap();
    bytes.resize(12 + size_of(&bytes), 0);
    stream.read_exact(&mut bytes[12..]).unwrap();
    parse(&bytes)
}

pub(crate) fn write_frame(stream_id: i64, source_id: Option<i64>, body: StreamFrameBody) -> Vec<u8> {
    let mut out = IoBuf::new();
    STREAMING_RPC.stream().unwrap().write_frame(StreamFrame { stream_id, source_id, body }, &mut out);
    out.to_vec()
}

pub(crate) fn data(payload: impl Into<IoBuf>) -> StreamFrameBody {
    StreamFrameBody::Data { payload: payload.into(), has_continuation: false }
}

/// The reply inside of a frame.
pub(crate) fn reply_in(payload: &IoBuf) -> IncomingReply {
    BAIDU_STD.client().unwrap().read_reply(frame_of(&payload.to_vec())).unwrap()
}

/// The bytes of a varint.
pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
