//! Streams that their caller ends before the answer to their call has come.

use std::sync::Arc;

use bthread::sync::Semaphore;
use rpc::error::{EBADF, ECONNREFUSED, ECONNRESET, EINVAL, EREQUEST, ERPCTIMEDOUT};
use rpc::stream::UNCONNECTED_BYTES_MAX;
use rpc::{Call, CallOptions, RpcError, Stream, StreamOptions};

use crate::service::{SOON, Tale, Telling, Told, serve, serve_streams};
use crate::support::{Channel, EchoResponse, LONG, Server, call_with, connect, echo_method, request};

const MESSAGES: usize = 40;

fn write_all(stream: &Stream) {
    for number in 0..MESSAGES {
        stream.write(number.to_string()).unwrap();
    }
}

fn all() -> Vec<Vec<u8>> {
    (0..MESSAGES).map(|number| number.to_string().into_bytes()).collect()
}

/// Has `ends` end the streams of a call while the service that accepts them is held; what the call ends with, and
/// what the handler of the server's ends is told, by the server that comes last.
fn end_meanwhile<T>(
    count: usize,
    caller: StreamOptions,
    ends: impl FnOnce(Vec<Stream>) -> T,
) -> (Result<(), RpcError>, T, Tale, (Server, Channel)) {
    let (tells, tale) = Telling::new();
    let tells = StreamOptions::default().handler(tells);
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let server = serve(move |call, _| {
        let _streams = call.accept_streams(tells.clone())?;
        opened.acquire().forget();
        Ok("accepted".into())
    });
    let channel = connect(&server);
    let (options, streams) = CallOptions::default().open_streams(count, caller).unwrap();
    let call: Call<EchoResponse> = channel.start(echo_method(), options, &request("open"));
    while server.method_reports()[0].concurrency == 0 {
        std::thread::yield_now();
    }
    let ended = ends(streams);
    gate.release(1);
    (call.join().map(drop), ended, tale, (server, channel))
}

#[test]
fn what_was_written_before_an_early_close_arrives() {
    let (called, stream, tale, _ends) = end_meanwhile(1, StreamOptions::default(), |mut streams| {
        let mut stream = streams.remove(0);
        write_all(&stream);
        stream.close();
        stream.close();
        assert!(stream.is_closed());
        assert_eq!(stream.write("x").unwrap_err().code(), EINVAL);
        assert!(stream.read().unwrap().is_none());
        stream
    });
    called.unwrap();
    assert_eq!(tale.messages(), (all(), Told::Closed));
    assert!(stream.error().is_none());
}

#[test]
fn dropping_the_last_handle_early_is_a_close() {
    let (called, (), tale, _ends) =
        end_meanwhile(1, StreamOptions::default(), |streams| write_all(&streams[0]));
    called.unwrap();
    assert_eq!(tale.messages(), (all(), Told::Closed));
}

#[test]
fn a_handler_is_told_of_an_early_close_once() {
    let (tells, here) = Telling::new();
    let (called, stream, tale, _ends) =
        end_meanwhile(1, StreamOptions::default().handler(tells), |mut streams| {
            write_all(&streams[0]);
            streams[0].close();
            streams.remove(0)
        });
    called.unwrap();
    assert_eq!(tale.messages(), (all(), Told::Closed));
    assert_eq!(here.next(), Told::Closed);
    drop(stream);
    assert!(here.is_over());
}

#[test]
fn the_other_streams_of_the_call_go_on() {
    let (called, mut streams, tale, _ends) = end_meanwhile(3, StreamOptions::default(), |mut streams| {
        write_all(&streams[0]);
        streams.remove(0).close();
        streams
    });
    called.unwrap();
    assert_eq!(tale.messages(), (all(), Told::Closed));
    streams[1].write("later").unwrap();
    assert_eq!(tale.next(), Told::Messages(vec![b"later".to_vec()]));
    streams.remove(0).close();
    assert_eq!(tale.next(), Told::Closed);
}

#[test]
fn a_stream_may_be_closed_before_its_call() {
    let (tells, tale) = Telling::new();
    let (server, _accepted) = serve_streams(StreamOptions::default().handler(tells));
    let (options, stream) = CallOptions::default().open_stream(StreamOptions::default()).unwrap();
    write_all(&stream);
    stream.close();
    let channel = connect(&server);
    call_with(&channel, options, &request("open")).unwrap();
    drop((channel, stream));
    assert_eq!(tale.messages(), (all(), Told::Closed));
}

#[test]
fn a_reset_throws_away_what_was_written_and_the_call_fails() {
    for closes_first in [false, true] {
        let (called, stream, tale, _ends) = end_meanwhile(1, StreamOptions::default(), |mut streams| {
            write_all(&streams[0]);
            if closes_first {
                streams[0].close();
            }
            streams[0].reset();
            streams.remove(0)
        });
        let error = called.unwrap_err();
        assert_eq!(error.code(), EREQUEST);
        assert!(error.text().contains("ended before the answer"), "{error}");
        assert_eq!(tale.messages(), (vec![], Told::Failed(ECONNRESET.get())));
        assert!(stream.error().is_none(), "who resets has wanted it so");
    }
    let (server, _accepted) = serve_streams(StreamOptions::default());
    let (options, stream) = CallOptions::default().open_stream(StreamOptions::default()).unwrap();
    stream.reset();
    assert_eq!(call_with(&connect(&server), options, &request("open")).unwrap_err().code(), EINVAL);
}

#[test]
fn a_closed_stream_ends_with_a_call_that_does_not_make_it() {
    let server = serve(|call, message| {
        match message {
            "failed" => return Err(RpcError::new(1234, "boom")),
            "late" => {
                let _streams = call.accept_streams(StreamOptions::default())?;
                bthread::sleep(10 * SOON);
            }
            _ => {}
        }
        Ok(message.into())
    });
    // On an address of its own, whose ports no other test is given.
    let refusing = std::net::TcpListener::bind("127.0.77.1:0").unwrap().local_addr().unwrap();
    let refusing = Channel::builder().protocol("baidu_std").timeout(LONG).connect(refusing).unwrap();
    let channel = connect(&server);
    for (channel, message, code) in [
        (&channel, "not accepted", EREQUEST),
        (&channel, "failed", 1234.into()),
        (&channel, "late", ERPCTIMEDOUT),
        (&refusing, "refused", ECONNREFUSED),
    ] {
        let (tells, tale) = Telling::new();
        let (options, streams) =
            CallOptions::default().open_streams(2, StreamOptions::default().handler(tells)).unwrap();
        write_all(&streams[0]);
        streams[0].close();
        let timeout = if message == "late" { SOON } else { LONG };
        let error = call_with(channel, options.timeout(timeout), &request(message)).unwrap_err();
        assert_eq!(error.code(), code, "{message}: {error}");
        assert!(message != "not accepted" || error.text().contains("didn't accept"), "{error}");
        assert_eq!(streams[0].error().unwrap().code(), code, "{message}");
        let mut told: Vec<_> = (0..4).map(|_| tale.next()).collect();
        told.sort_by_key(|told| *told == Told::Closed);
        assert_eq!(told[..2], [Told::Failed(code.get()), Told::Failed(code.get())], "{message}");
        assert_eq!(told[2..], [Told::Closed, Told::Closed], "{message}");
    }
}

#[test]
fn a_peer_that_does_not_read_is_told_of_as_the_error() {
    let (server, _accepted) = serve_streams(StreamOptions::default().write_only());
    let (options, stream) = CallOptions::default().open_stream(StreamOptions::default()).unwrap();
    stream.write("nobody reads it").unwrap();
    stream.close();
    call_with(&connect(&server), options, &request("open")).unwrap();
    assert_eq!(stream.error().unwrap().code(), EBADF);
}

#[test]
fn as_much_may_be_written_before_an_early_close_as_without() {
    let options = StreamOptions::default().max_buf_size(usize::MAX).max_segment_size(1 << 20);
    let (called, taken, tale, _ends) = end_meanwhile(1, options, |streams| {
        let message = vec![7; 64 << 10];
        let mut taken = 0;
        while streams[0].try_write(message.clone()).is_ok() {
            taken += message.len();
        }
        taken
    });
    called.unwrap();
    assert!((UNCONNECTED_BYTES_MAX / 2..=UNCONNECTED_BYTES_MAX + (64 << 10)).contains(&taken), "{taken}");
    let (messages, end) = tale.messages();
    assert_eq!((messages.iter().map(Vec::len).sum::<usize>(), end), (taken, Told::Closed));
}
