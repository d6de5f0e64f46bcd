//! Peers that do not keep to the rules.

use std::io::Write;

use iobuf::IoBuf;
use rpc::StreamOptions;
use rpc::error::EOVERCROWDED;
use rpc::protocol::{StreamFrame, StreamFrameBody};

use crate::service::{Telling, Told, open, serve_streams};
use crate::support::{LONG, connect, raw};
use crate::wire::{Wire, data, read_frame, write_frame};

/// The captured request for a stream; the client's id is in the frame of its answer.
const REQUEST: &[u8] = include_bytes!("../../src/streaming_rpc/testdata/basic.req.bin");

/// A raw connection with a stream: its ids here and there.
fn raw_stream(server: &crate::support::Server) -> (std::net::TcpStream, i64, i64) {
    let mut stream = raw(server);
    stream.write_all(&REQUEST[..81]).unwrap();
    let Wire::Stream(StreamFrame { stream_id, source_id, .. }) = read_frame(&mut stream) else {
        panic!("not a frame of a stream")
    };
    (stream, stream_id, source_id.unwrap())
}

#[test]
fn more_than_a_stream_may_hold_resets_it() {
    let options = StreamOptions::default().max_received_size(1000);
    let (server, accepted) = serve_streams(options);
    for has_continuation in [false, true] {
        let (mut raw, here, there) = raw_stream(&server);
        for _ in 0..11 {
            let body = StreamFrameBody::Data { payload: IoBuf::from(&[7; 100]), has_continuation };
            raw.write_all(&write_frame(there, Some(here), body)).unwrap();
        }
        let Wire::Stream(reset) = read_frame(&mut raw) else { panic!("not a frame of a stream") };
        assert!(matches!(reset.body, StreamFrameBody::Rst) && reset.stream_id == here);
        let mut stream = accepted.recv_timeout(LONG).unwrap();
        assert_eq!(stream.error().unwrap().code(), EOVERCROWDED);
        let messages = if has_continuation { 0 } else { 10 };
        let read = std::iter::from_fn(|| stream.read().ok().flatten()).count();
        assert!(read <= messages);
    }
}

#[test]
fn a_stream_is_reached_over_its_own_connection_alone() {
    let (tells, tale) = Telling::new();
    let (server, _accepted) = serve_streams(StreamOptions::default().handler(tells));
    let (mut own, here, there) = raw_stream(&server);
    let mut other = raw(&server);
    for body in [StreamFrameBody::Rst, StreamFrameBody::Feedback { consumed: 1 }, data("intruder")] {
        other.write_all(&write_frame(there, Some(77), body)).unwrap();
    }
    let Wire::Stream(refusal) = read_frame(&mut other) else { panic!("not a frame of a stream") };
    assert!(matches!(refusal.body, StreamFrameBody::Rst) && refusal.stream_id == 77);
    own.write_all(&write_frame(there, Some(here), data("owner"))).unwrap();
    assert_eq!(tale.next(), Told::Messages(vec![b"owner".to_vec()]));
}

#[test]
fn frames_that_make_no_sense_change_nothing() {
    let (tells, tale) = Telling::new();
    let (server, accepted) = serve_streams(StreamOptions::default().handler(tells).max_buf_size(4));
    let (mut raw, here, there) = raw_stream(&server);
    let stream = accepted.recv_timeout(LONG).unwrap();
    let nonsense = [
        write_frame(there, Some(here), StreamFrameBody::Unknown),
        write_frame(there, Some(here), StreamFrameBody::Feedback { consumed: i64::MAX }),
        write_frame(there, Some(here), StreamFrameBody::Feedback { consumed: -1 }),
        b"STRM\0\0\0\x02\0\0\0\x02\x08\x80".to_vec(),
        b"STRM\0\0\0\0\0\0\0\0".to_vec(),
    ];
    raw.write_all(&nonsense.concat()).unwrap();
    raw.write_all(&write_frame(there, Some(here), data("sense"))).unwrap();
    assert_eq!(tale.next(), Told::Messages(vec![b"sense".to_vec()]));
    // What was never written cannot have been consumed.
    stream.write("1234").unwrap();
    assert!(stream.try_write("5").is_err());
}

#[test]
fn a_lost_peer_is_told() {
    let (tells, tale) = Telling::new();
    let (server, _accepted) = serve_streams(StreamOptions::default().handler(tells));
    let (raw, ..) = raw_stream(&server);
    drop(raw);
    assert!(matches!(tale.next(), Told::Failed(code) if code != 0));
    assert_eq!(tale.next(), Told::Closed);
}

#[test]
fn a_reply_that_is_none_ends_the_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let Wire::Call(call) = read_frame(&mut stream) else { panic!("not a call") };
        let reply = protocols_read(&call);
        stream.write_all(&write_frame(reply, Some(1), data("no reply"))).unwrap();
        assert!(crate::support::is_closed(&mut stream));
    });
    let channel =
        crate::support::Channel::builder().protocol("baidu_std").timeout(LONG).connect(address).unwrap();
    assert!(open(&channel, StreamOptions::default()).is_err());
    server.join().unwrap();
}

/// The first stream that a call offers.
fn protocols_read(call: &[u8]) -> i64 {
    use rpc::protocol::Protocol;
    let side = protocols::baidu_std::BAIDU_STD.client().unwrap();
    side.read_reply(crate::wire::frame_of(call)).unwrap().streams.unwrap().ids[0]
}

#[test]
fn frames_without_any_call_hold_nothing_up() {
    let (server, _accepted) = serve_streams(StreamOptions::default());
    let mut stream = raw(&server);
    for id in 0..1000 {
        stream.write_all(&write_frame(id, Some(id), data("x"))).unwrap();
    }
    for id in 0..1000 {
        let Wire::Stream(reset) = read_frame(&mut stream) else { panic!("not a frame of a stream") };
        assert_eq!(reset.stream_id, id);
    }
    open(&connect(&server), StreamOptions::default()).unwrap();
}
