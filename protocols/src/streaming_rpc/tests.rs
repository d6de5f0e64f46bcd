//! Captured bytes (`testdata/`), and frames against the worked examples of the specification.

use iobuf::IoBuf;
use proptest::prelude::*;
use prost::Message;
use rpc::Limits;
use rpc::protocol::{Frame, Parsed, Protocol, Role, StreamFrame, StreamFrameBody, StreamSide};

use super::STREAMING_RPC;
use super::codec::check_meta;
use super::codec::reference::{Feedback, StreamFrameMeta};

macro_rules! vectors {
    ($($name:literal)*) => {
        &[$(
            (concat!($name, ".req"), include_bytes!(concat!("testdata/", $name, ".req.bin")) as &[u8]),
            (concat!($name, ".resp"), include_bytes!(concat!("testdata/", $name, ".resp.bin")) as &[u8]),
        )*]
    };
}

/// All captures, both directions.
const VECTORS: &[(&str, &[u8])] = vectors! {
    "basic" "server_close" "reject" "fail" "client_no_handler" "server_no_handler" "raw_unknown_stream"
    "raw_unknown_feedback" "no_feedback" "segmented" "multi" "empty_message"
};

/// The frames of a capture, with their bytes; `None` for those of baidu_std.
fn frames(mut bytes: &[u8]) -> Vec<(Vec<u8>, Option<StreamFrame>)> {
    let mut frames = Vec::new();
    while let [_, _, _, _, b0, b1, b2, b3, ..] = bytes {
        let (frame, rest) = bytes.split_at(12 + u32::from_be_bytes([*b0, *b1, *b2, *b3]) as usize);
        frames.push((frame.to_vec(), frame.starts_with(b"STRM").then(|| read(frame).expect("brpc's own"))));
        bytes = rest;
    }
    frames
}

fn cut(bytes: &[u8]) -> Frame {
    let mut input = IoBuf::from(bytes);
    let mut codec = STREAMING_RPC.codec(Role::Server, &Limits::default());
    match codec.parse(&mut input) {
        Ok(Parsed::Message(frame)) if input.is_empty() => frame,
        other => panic!("{other:?}"),
    }
}

fn read(bytes: &[u8]) -> Option<StreamFrame> {
    STREAMING_RPC.read_frame(cut(bytes))
}

fn write(stream_id: i64, source_id: Option<i64>, body: StreamFrameBody) -> Vec<u8> {
    let mut out = IoBuf::new();
    STREAMING_RPC.write_frame(StreamFrame { stream_id, source_id, body }, &mut out);
    out.to_vec()
}

fn data(payload: &[u8], has_continuation: bool) -> StreamFrameBody {
    StreamFrameBody::Data { payload: payload.into(), has_continuation }
}

#[test]
fn captured_frames_are_written_byte_for_byte() {
    let mut count = 0;
    for (name, bytes) in VECTORS {
        for (captured, frame) in frames(bytes) {
            let Some(StreamFrame { stream_id, source_id, body }) = frame else { continue };
            assert_eq!(write(stream_id, source_id, body), captured, "{name}");
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}

#[test]
fn frames_are_those_of_the_specification() {
    let hex = |text: &str| -> Vec<u8> {
        text.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    };
    for (frame, expected) in [
        (
            write(2, Some(1), data(b"hello", false)),
            "53 54 52 4d 00 00 00 0d 00 00 00 08 08 02 10 01 18 03 20 00 68 65 6c 6c 6f",
        ),
        (
            write(2, Some(1), data(b"hel", true)),
            "53 54 52 4d 00 00 00 0b 00 00 00 08 08 02 10 01 18 03 20 01 68 65 6c",
        ),
        (
            write(1, Some(2), StreamFrameBody::Feedback { consumed: 5 }),
            "53 54 52 4d 00 00 00 0a 00 00 00 0a 08 01 10 02 18 04 2a 02 08 05",
        ),
        (write(2, Some(1), StreamFrameBody::Close), "53 54 52 4d 00 00 00 06 00 00 00 06 08 02 10 01 18 02"),
        (write(1, None, StreamFrameBody::Rst), "53 54 52 4d 00 00 00 04 00 00 00 04 08 01 18 01"),
    ] {
        assert_eq!(frame, hex(expected));
    }
    let wrapped = write(1, Some(-1), data(b"", false));
    assert_eq!(wrapped[12..], hex("08 01 10 ff ff ff ff ff ff ff ff ff 01 18 03 20 00"));
}

#[test]
fn every_truncation_of_the_captures_waits_and_every_corruption_is_survived() {
    for (_, bytes) in VECTORS {
        for (captured, frame) in frames(bytes) {
            if frame.is_none() {
                continue;
            }
            for end in 1..captured.len() {
                let mut codec = STREAMING_RPC.codec(Role::Client, &Limits::default());
                let mut input = IoBuf::from(&captured[..end]);
                assert!(matches!(codec.parse(&mut input), Ok(Parsed::NeedMore)));
                assert_eq!(input.len(), end);
            }
            for index in 0..captured.len() {
                for bit in 0..8 {
                    let mut corrupt = captured.clone();
                    corrupt[index] ^= 1 << bit;
                    let mut codec = STREAMING_RPC.codec(Role::Client, &Limits::default());
                    let mut input = IoBuf::from(corrupt);
                    if let Ok(Parsed::Message(frame)) = codec.parse(&mut input) {
                        let _ = STREAMING_RPC.read_frame(frame);
                    }
                }
            }
        }
    }
}

#[test]
fn the_fuzz_target_holds_for_the_captures_and_what_becomes_of_them() {
    let mut random = 1_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for (_, bytes) in VECTORS.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        for round in 0..500 {
            let mut changed = [&[next(256) as u8], *bytes].concat();
            for _ in 0..round % 8 {
                let at = next(changed.len());
                changed[at] = next(256) as u8;
            }
            changed.truncate(1 + next(changed.len()));
            crate::fuzzing::streaming_rpc(&changed);
        }
    }
}

#[test]
fn what_is_no_description_is_no_frame() {
    let frame = |meta: &[u8]| Frame::new(IoBuf::from(meta), meta.len() as u32);
    assert!(STREAMING_RPC.read_frame(frame(&[])).is_none(), "without an id");
    assert!(STREAMING_RPC.read_frame(frame(&[0x18, 3])).is_none(), "without an id");
    assert!(STREAMING_RPC.read_frame(frame(&[0x08])).is_none());
    assert!(STREAMING_RPC.read_frame(frame(&[0x08, 1, 0x2a, 5])).is_none());
    let unknown = STREAMING_RPC.read_frame(frame(&[0x08, 1, 0x10, 7, 0x18, 9])).unwrap();
    assert!(matches!(unknown.body, StreamFrameBody::Unknown) && unknown.source_id == Some(7));
    let none = STREAMING_RPC.read_frame(frame(&[0x08, 1])).unwrap();
    assert!(matches!(none.body, StreamFrameBody::Unknown) && none.source_id.is_none());
    let feedback = STREAMING_RPC.read_frame(frame(&[0x08, 1, 0x18, 4])).unwrap();
    assert!(matches!(feedback.body, StreamFrameBody::Feedback { consumed: 0 }));
}

#[test]
fn frames_of_other_protocols_are_left_alone() {
    let mut codec = STREAMING_RPC.codec(Role::Server, &Limits::default());
    assert!(matches!(codec.parse(&mut IoBuf::from("PRPC")), Ok(Parsed::NotMine)));
    assert!(matches!(codec.parse(&mut IoBuf::from("S")), Ok(Parsed::NeedMore)));
    let too_big = [&b"STRM"[..], &[4, 0, 0, 1], &[0, 0, 0, 0]].concat();
    assert!(codec.parse(&mut IoBuf::from(too_big)).is_err());
    let meta_too_big = [&b"STRM"[..], &[0, 0, 0, 1], &[0, 0, 0, 2], &[0]].concat();
    assert!(codec.parse(&mut IoBuf::from(meta_too_big)).is_err());
}

proptest! {
    #[test]
    fn frames_are_read_as_they_were_written(
        stream_id: i64, source_id: Option<i64>, payload: Vec<u8>, has_continuation: bool,
    ) {
        let frame = read(&write(stream_id, source_id, data(&payload, has_continuation))).unwrap();
        prop_assert_eq!((frame.stream_id, frame.source_id), (stream_id, source_id));
        let StreamFrameBody::Data { payload: read, has_continuation: goes_on } = frame.body else {
            return Err(TestCaseError::fail("another type"));
        };
        prop_assert_eq!((read.to_vec(), goes_on), (payload, has_continuation));
    }

    #[test]
    fn feedback_is_read_as_it_was_written(stream_id: i64, source_id: i64, consumed: i64) {
        let bytes = write(stream_id, Some(source_id), StreamFrameBody::Feedback { consumed });
        let Some(StreamFrameBody::Feedback { consumed: read }) = read(&bytes).map(|frame| frame.body) else {
            return Err(TestCaseError::fail("another type"));
        };
        prop_assert_eq!(read, consumed);
    }

    #[test]
    fn descriptions_are_read_as_prost_reads_them(bytes: Vec<u8>) {
        check_meta(&bytes);
    }

    #[test]
    fn whole_descriptions_are_read_as_prost_reads_them(
        stream_id: Option<i64>,
        source_stream_id: Option<i64>,
        frame_type in prop::option::of(-1..6),
        has_continuation: Option<bool>,
        consumed_size: Option<Option<i64>>,
    ) {
        let feedback = consumed_size.map(|consumed_size| Feedback { consumed_size });
        let meta = StreamFrameMeta { stream_id, source_stream_id, frame_type, has_continuation, feedback };
        check_meta(&meta.encode_to_vec());
    }
}

#[test]
fn more_bits_of_a_type_than_an_enum_has_are_not_looked_at() {
    crate::fuzzing::streaming_rpc_meta(b"\x08\x92\x01\x18\x82\x80\x80\x80\x20");
}
