//! Captured conversations (`src/streaming_rpc/testdata/`), played to this side's server and to its channel: their frames
//! have to be brpc's, but for the ids and for how often what was consumed is told.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use iobuf::IoBuf;
use protocols::baidu_std::BAIDU_STD;
use rpc::protocol::{IncomingReply, Protocol, StreamFrame, StreamFrameBody};
use rpc::{CallOptions, RpcError, Stream, StreamOptions};

use crate::service::{Each, Kept, serve};
use crate::support::{Channel, LONG, Server, call_with, raw, request};
use crate::wire::{Wire, frame_of, parse_all, read_frame, reply_in, varint, write_frame};

struct Vector {
    name: &'static str,
    request: &'static [u8],
    response: &'static [u8],
    chunks: &'static str,
}

macro_rules! vector {
    ($name:literal) => {
        Vector {
            name: $name,
            request: include_bytes!(concat!("../../src/streaming_rpc/testdata/", $name, ".req.bin")),
            response: include_bytes!(concat!("../../src/streaming_rpc/testdata/", $name, ".resp.bin")),
            chunks: include_str!(concat!("../../src/streaming_rpc/testdata/", $name, ".chunks.txt")),
        }
    };
}

/// What a side did at a time: sent the frames up to this number.
enum Step {
    Client(usize),
    Server(usize),
}

/// The frames of one direction that are no feedback, which comes when it comes, and how many had come by an offset.
fn telling(bytes: &[u8]) -> Vec<(usize, Wire)> {
    parse_all(bytes).into_iter().filter(|(_, frame)| !is_feedback(frame)).collect()
}

fn is_feedback(frame: &Wire) -> bool {
    matches!(frame, Wire::Stream(StreamFrame { body: StreamFrameBody::Feedback { .. }, .. }))
}

impl Vector {
    fn steps(&self) -> Vec<Step> {
        let (requests, responses) = (telling(self.request), telling(self.response));
        let until =
            |frames: &[(usize, Wire)], offset| frames.iter().filter(|(end, _)| *end <= offset).count();
        let mut steps = Vec::new();
        for line in self.chunks.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [side, offset, len] = words[..] else { continue };
            let end = offset.parse::<usize>().unwrap() + len.parse::<usize>().unwrap();
            steps.push(match side {
                ">" => Step::Client(until(&requests, end)),
                _ => Step::Server(until(&responses, end)),
            });
        }
        steps
    }

    /// The ids of client and server as they were.
    fn ids(&self) -> (Vec<i64>, Vec<i64>) {
        let Wire::Call(call) = &parse_all(self.request)[0].1 else { panic!("the call comes first") };
        // The settings of a request are read as those of a reply.
        let settings = BAIDU_STD.client().unwrap().read_reply(frame_of(call)).unwrap().streams.unwrap();
        let reply = captured_reply(self.response);
        (settings.ids.to_vec(), reply.streams.map(|streams| streams.ids.to_vec()).unwrap_or_default())
    }
}

fn captured_reply(response: &[u8]) -> IncomingReply {
    match &parse_all(response)[0].1 {
        Wire::Stream(StreamFrame { body: StreamFrameBody::Data { payload, .. }, .. }) => reply_in(payload),
        other => panic!("{other:?}"),
    }
}

/// A frame with the ids of streams as their numbers: client's and server's, -1 as it is.
fn describe(frame: &StreamFrame, to: &[i64], from: &[i64]) -> String {
    let index = |ids: &[i64], id: i64| match ids.iter().position(|known| *known == id) {
        Some(index) => index as i64,
        None if id == -1 => -1,
        None => panic!("{id} of {ids:?}"),
    };
    let body = match &frame.body {
        StreamFrameBody::Data { payload, has_continuation } => {
            format!("data {:?} {has_continuation}", String::from_utf8_lossy(&payload.to_vec()))
        }
        other => format!("{other:?}"),
    };
    format!("{} <- {:?}: {body}", index(to, frame.stream_id), frame.source_id.map(|id| index(from, id)))
}

fn describe_reply(reply: &IncomingReply) -> String {
    let streams = reply.streams.as_ref().map(|s| (s.ids.len(), s.need_feedback, s.writable));
    let error = reply.error.as_ref().map(|error| (error.code(), error.text().ends_with("boom")));
    format!("{error:?} {:?} {streams:?}", reply.body.to_vec())
}

/// Reads frames that are no feedback. What is consumed is told in rising numbers.
struct Reading {
    stream: TcpStream,
    fed_back: i64,
}

impl Reading {
    fn next(&mut self) -> Wire {
        loop {
            match read_frame(&mut self.stream) {
                Wire::Stream(StreamFrame { body: StreamFrameBody::Feedback { consumed }, .. }) => {
                    assert!(consumed > 0);
                    self.fed_back = consumed;
                }
                frame => return frame,
            }
        }
    }
}

fn resend(frame: &Wire, to: (&[i64], &[i64]), from: (&[i64], &[i64])) -> Vec<u8> {
    let Wire::Stream(frame) = frame else { panic!("a frame of a stream") };
    let map = |(old, new): (&[i64], &[i64]), id: i64| {
        old.iter().position(|known| *known == id).map_or(id, |at| new[at])
    };
    let body = match &frame.body {
        StreamFrameBody::Rst => StreamFrameBody::Rst,
        StreamFrameBody::Close => StreamFrameBody::Close,
        StreamFrameBody::Unknown => StreamFrameBody::Unknown,
        StreamFrameBody::Feedback { consumed } => StreamFrameBody::Feedback { consumed: *consumed },
        StreamFrameBody::Data { payload, has_continuation } => {
            StreamFrameBody::Data { payload: payload.clone(), has_continuation: *has_continuation }
        }
    };
    write_frame(map(to, frame.stream_id), frame.source_id.map(|id| map(from, id)), body)
}

/// A server as that of the captures.
fn server_of_the_captures(kept: Kept, name: &'static str) -> Server {
    serve(move |call, message| {
        let options = match name {
            "server_no_handler" => StreamOptions::default().write_only(),
            "no_feedback" => StreamOptions::default().max_buf_size(0),
            _ => StreamOptions::default(),
        };
        let answering = Each(move |stream: &rpc::StreamWriter, message: IoBuf| {
            if message.to_vec() == b"close-me" {
                return stream.close();
            }
            let mut answer = IoBuf::from("srv:");
            answer.append_buf(message);
            let _ = stream.write(answer); // the peer may not read
        });
        match name {
            "reject" => return Ok("no stream".into()),
            "fail" => return Err(RpcError::new(1234, "boom")),
            "server_no_handler" => kept.lock().unwrap().extend(call.accept_streams(options)?),
            _ => drop(call.accept_streams(options.handler(answering))?),
        }
        assert!(message.starts_with("stream-"));
        Ok("stream accepted".into())
    })
}

fn play_client(vector: &Vector) {
    let kept = Kept::default();
    let server = server_of_the_captures(kept.clone(), vector.name);
    let (client_ids, captured_ids) = vector.ids();
    let (requests, responses) = (telling(vector.request), telling(vector.response));
    let mut reading = Reading { stream: raw(&server), fed_back: 0 };
    let (mut sent, mut read, mut server_ids) = (0, 0, Vec::new());
    for step in vector.steps() {
        match step {
            Step::Client(until) => {
                for (_, frame) in &requests[sent..until] {
                    let bytes = match frame {
                        Wire::Call(bytes) => bytes.clone(),
                        frame => resend(frame, (&captured_ids, &server_ids), (&[], &[])),
                    };
                    reading.stream.write_all(&bytes).unwrap();
                }
                sent = until;
            }
            Step::Server(until) => {
                for (_, expected) in &responses[read..until] {
                    let (Wire::Stream(got), Wire::Stream(expected)) = (reading.next(), expected) else {
                        panic!("{}: a frame of baidu_std", vector.name);
                    };
                    if server_ids.is_empty()
                        && let StreamFrameBody::Data { payload, .. } = &got.body
                        && payload.to_vec().starts_with(b"PRPC")
                    {
                        let reply = reply_in(payload);
                        assert_eq!(
                            describe_reply(&reply),
                            describe_reply(&captured_reply(vector.response)),
                            "{}",
                            vector.name
                        );
                        server_ids = reply.streams.map(|streams| streams.ids.to_vec()).unwrap_or_default();
                        assert_eq!(got.stream_id, client_ids[0]);
                        assert_eq!(got.source_id, Some(server_ids.first().copied().unwrap_or(-1)));
                        continue;
                    }
                    let got = describe(&got, &client_ids, &server_ids);
                    assert_eq!(got, describe(expected, &client_ids, &captured_ids), "{}", vector.name);
                }
                read = until;
            }
        }
    }
    assert_eq!((sent, read), (requests.len(), responses.len()), "{}", vector.name);
    let last_told = |bytes: &[u8]| {
        let told = parse_all(bytes).into_iter().filter_map(|(_, frame)| match frame {
            Wire::Stream(StreamFrame { body: StreamFrameBody::Feedback { consumed }, .. }) => Some(consumed),
            _ => None,
        });
        told.max().unwrap_or(0)
    };
    // The last of it may not be told any more when the stream is closed.
    assert!(reading.fed_back <= last_told(vector.response), "{}", vector.name);
}

/// Those in which both sides are brpc's own.
fn conversations() -> [Vector; 10] {
    [
        vector!("basic"),
        vector!("server_close"),
        vector!("reject"),
        vector!("fail"),
        vector!("client_no_handler"),
        vector!("server_no_handler"),
        vector!("no_feedback"),
        vector!("segmented"),
        vector!("multi"),
        vector!("empty_message"),
    ]
}

#[test]
fn a_server_answers_brpcs_clients_as_brpcs_does() {
    for vector in conversations() {
        play_client(&vector);
    }
}

#[test]
fn a_server_answers_frames_for_streams_that_are_not_there_as_brpcs_does() {
    let server = serve(|_, _| Ok(String::new()));
    for vector in [vector!("raw_unknown_stream"), vector!("raw_unknown_feedback")] {
        let mut stream = raw(&server);
        stream.write_all(vector.request).unwrap();
        // What comes next shows that nothing else did.
        stream.write_all(vector!("raw_unknown_stream").request).unwrap();
        let expected = [vector.response, vector!("raw_unknown_stream").response].concat();
        let mut answer = vec![0; expected.len()];
        std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
        assert_eq!(answer, expected, "{}", vector.name);
    }
}

/// What the client of a capture did with its streams, once the call was answered.
fn act(name: &str, streams: &mut [Stream]) {
    let expect = |stream: &mut Stream, text: &str| {
        assert_eq!(stream.read().unwrap().map(|message| message.to_vec()).as_deref(), Some(text.as_bytes()));
    };
    match name {
        "basic" | "no_feedback" => {
            for text in ["one", "two-two", "three three three"] {
                streams[0].write(text).unwrap();
                expect(&mut streams[0], &format!("srv:{text}"));
            }
        }
        "server_close" => {
            streams[0].write("one").unwrap();
            expect(&mut streams[0], "srv:one");
            streams[0].write("close-me").unwrap();
            assert_eq!(streams[0].read().unwrap().map(|message| message.to_vec()), None);
            return;
        }
        "client_no_handler" => {
            streams[0].write("silent").unwrap();
            streams[0].flush();
            streams[0].write("silent").unwrap();
        }
        "server_no_handler" => {
            for _ in 0..2 {
                assert_eq!(streams[0].write("x").unwrap_err().code(), 9);
            }
        }
        "segmented" => {
            streams[0].write("abcdefghijklmnopqrstuvwxyz0123456789").unwrap();
            expect(&mut streams[0], "srv:abcdefghijklmnopqrstuvwxyz0123456789");
        }
        "multi" => {
            for (index, stream) in streams.iter_mut().enumerate() {
                stream.write(format!("on-{index}")).unwrap();
                expect(stream, &format!("srv:on-{index}"));
            }
        }
        "empty_message" => {
            streams[0].write("").unwrap();
            expect(&mut streams[0], "srv:");
            streams[0].write("after-empty").unwrap();
            expect(&mut streams[0], "srv:after-empty");
        }
        _ => return,
    }
    streams.iter().for_each(|stream| stream.close());
}

/// Answers as the captured server, and compares what comes.
fn play_server(vector: &Vector, listener: &TcpListener) {
    let (captured_ids, server_ids) = vector.ids();
    let (requests, responses) = (telling(vector.request), telling(vector.response));
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut reading = Reading { stream, fed_back: 0 };
    let (mut client_ids, mut correlation_id) = (Vec::new(), 0);
    let (mut all_got, mut all_expected) = (Vec::new(), Vec::new());
    let (mut sent, mut read) = (0, 0);
    for step in vector.steps() {
        match step {
            Step::Client(until) => {
                for (_, expected) in &requests[read..until] {
                    match (reading.next(), expected) {
                        (Wire::Call(call), Wire::Call(_)) => {
                            let call = BAIDU_STD.client().unwrap().read_reply(frame_of(&call)).unwrap();
                            let settings = call.streams.unwrap();
                            (client_ids, correlation_id) = (settings.ids.to_vec(), call.correlation_id);
                            assert_eq!(settings.writable, vector.name != "client_no_handler");
                            assert_eq!(settings.need_feedback, vector.name != "no_feedback");
                        }
                        (Wire::Stream(got), Wire::Stream(expected)) => {
                            all_got.push(describe(&got, &server_ids, &client_ids));
                            all_expected.push(describe(expected, &server_ids, &captured_ids));
                        }
                        other => panic!("{}: {other:?}", vector.name),
                    }
                }
                read = until;
            }
            Step::Server(until) => {
                for (index, (_, frame)) in responses[..until].iter().enumerate().skip(sent) {
                    let bytes = match frame {
                        Wire::Stream(StreamFrame { body: StreamFrameBody::Data { payload, .. }, .. })
                            if index == 0 =>
                        {
                            reply_for(&payload.to_vec(), correlation_id, client_ids[0], &server_ids)
                        }
                        frame => resend(frame, (&captured_ids, &client_ids), (&[], &[])),
                    };
                    reading.stream.write_all(&bytes).unwrap();
                }
                sent = until;
            }
        }
    }
    assert_eq!((sent, read), (responses.len(), requests.len()), "{}", vector.name);
    // Each stream has an order, several among them have none.
    let by_stream = |frames: &mut Vec<String>| frames.sort_by_key(|frame| frame.chars().next());
    by_stream(&mut all_got);
    by_stream(&mut all_expected);
    assert_eq!(all_got, all_expected, "{}", vector.name);
}

/// The captured reply, to another call.
fn reply_for(captured: &[u8], correlation_id: u64, client_id: i64, server_ids: &[i64]) -> Vec<u8> {
    let meta_size = u32::from_be_bytes(captured[8..12].try_into().unwrap()) as usize;
    let mut meta = captured[12..][..meta_size].to_vec();
    // Of a field that comes twice the last one counts.
    meta.push(0x20);
    meta.extend(varint(correlation_id));
    let body = &captured[12 + meta_size..];
    let mut frame = b"PRPC".to_vec();
    frame.extend(((meta.len() + body.len()) as u32).to_be_bytes());
    frame.extend((meta.len() as u32).to_be_bytes());
    frame.extend(meta);
    frame.extend(body);
    let source = server_ids.first().copied().unwrap_or(-1);
    let body = StreamFrameBody::Data { payload: IoBuf::from(frame), has_continuation: false };
    write_frame(client_id, Some(source), body)
}

#[test]
fn a_client_speaks_to_brpcs_servers_as_brpcs_does() {
    for vector in conversations() {
        let name = vector.name;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (done, is_done) = mpsc::channel();
        let playing = std::thread::spawn(move || {
            play_server(&vector, &listener);
            done.send(()).unwrap();
        });
        let channel = Channel::builder().protocol("baidu_std").timeout(LONG).connect(address).unwrap();
        let options = match name {
            "client_no_handler" => StreamOptions::default().write_only(),
            "no_feedback" => StreamOptions::default().max_buf_size(0),
            "segmented" => StreamOptions::default().max_segment_size(16),
            _ => StreamOptions::default(),
        };
        let count = if name == "multi" { 3 } else { 1 };
        let (call, mut streams) = CallOptions::default().open_streams(count, options).unwrap();
        let reply = call_with(&channel, call, &request("stream"));
        match name {
            "reject" => {
                let error = reply.unwrap_err();
                assert_eq!(error.to_string(), "[E1003]The server didn't accept the stream");
                assert_eq!(streams[0].error(), Some(error));
            }
            "fail" => {
                assert_eq!(reply.unwrap_err().code(), 1234);
                assert_eq!(streams[0].read().unwrap_err().code(), 1234);
            }
            _ => {
                assert_eq!(reply.unwrap().message.message, "stream accepted");
                act(name, &mut streams);
            }
        }
        let waited = is_done.recv_timeout(LONG);
        playing.join().unwrap();
        waited.unwrap();
    }
}
