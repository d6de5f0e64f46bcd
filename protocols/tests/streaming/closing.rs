//! Ends: closes from either side, resets, lost connections.

use rpc::error::{EBADF, ECONNRESET, EINVAL};
use rpc::{CallOptions, StreamOptions};

use crate::service::{Telling, Told, open, pair, serve, serve_streams};
use crate::support::{LONG, call, call_with, connect, request};

#[test]
fn a_close_ends_both_sides_and_nothing_can_be_written_then() {
    let (here_tells, here) = Telling::new();
    let (there_tells, there) = Telling::new();
    let pair =
        pair(StreamOptions::default().handler(here_tells), StreamOptions::default().handler(there_tells));
    pair.there.write("last").unwrap();
    pair.there.close();
    pair.there.close();
    assert_eq!(here.next(), Told::Messages(vec![b"last".to_vec()]));
    assert_eq!(here.next(), Told::Closed);
    assert_eq!(there.next(), Told::Closed);
    assert!(here.is_over());
    assert_eq!(pair.here.write("x").unwrap_err().code(), EINVAL);
    assert_eq!(pair.there.write("x").unwrap_err().code(), EINVAL);
    assert!(pair.here.is_closed() && pair.here.error().is_none());
    // The connection goes on.
    drop(open(&pair.channel, StreamOptions::default()).unwrap());
}

#[test]
fn a_reset_is_told_behind_what_came_before() {
    let (tells, tale) = Telling::new();
    let mut pair = pair(StreamOptions::default().handler(tells), StreamOptions::default());
    pair.there.write("before").unwrap();
    pair.there.reset();
    assert_eq!(tale.next(), Told::Messages(vec![b"before".to_vec()]));
    assert_eq!(tale.next(), Told::Failed(ECONNRESET.get()));
    assert_eq!(tale.next(), Told::Closed);
    assert_eq!(pair.here.error().unwrap().code(), ECONNRESET);
    assert!(pair.there.read().unwrap().is_none(), "who resets has wanted it so");
}

#[test]
fn a_lost_connection_ends_its_streams() {
    let (tells, tale) = Telling::new();
    let (server, accepted) = serve_streams(StreamOptions::default());
    let channel = connect(&server);
    let with_handler = open(&channel, StreamOptions::default().handler(tells)).unwrap();
    let mut reader = open(&channel, StreamOptions::default()).unwrap();
    let mut there = accepted.recv_timeout(LONG).unwrap();
    there.write("before").unwrap();
    assert_eq!(tale.next(), Told::Messages(vec![b"before".to_vec()]));
    server.stop();
    server.join();
    let Told::Failed(code) = tale.next() else { panic!("not failed") };
    assert_ne!(code, 0);
    assert_eq!(tale.next(), Told::Closed);
    assert_eq!(with_handler.write("x").unwrap_err().code(), EINVAL);
    assert!(reader.read().is_err() && reader.next().is_some_and(|error| error.is_err()));
    assert!(reader.next().is_none());
    assert!(there.read().is_err() || there.is_closed());
}

#[test]
fn the_last_handle_closes_a_stream_that_no_handler_has() {
    let mut pair = pair(StreamOptions::default(), StreamOptions::default());
    let (reader, writer) = pair.here.split();
    drop(reader);
    let other = writer.clone();
    drop(writer);
    other.write("still there").unwrap();
    drop(other);
    assert_eq!(pair.there.read().unwrap().unwrap().to_vec(), b"still there");
    assert!(pair.there.read().unwrap().is_none());
}

#[test]
fn a_stream_outlives_its_channel() {
    let mut pair = pair(StreamOptions::default(), StreamOptions::default());
    drop(pair.channel);
    pair.here.write("hello").unwrap();
    assert_eq!(pair.there.read().unwrap().unwrap().to_vec(), b"hello");
}

#[test]
fn a_peer_that_does_not_read_is_not_written_to() {
    let (server, accepted) = serve_streams(StreamOptions::default().write_only());
    let (call, mut stream) = CallOptions::default().open_stream(StreamOptions::default()).unwrap();
    stream.write("kept, and dropped when that is known").unwrap();
    call_with(&connect(&server), call, &request("open")).unwrap();
    assert_eq!(stream.write("x").unwrap_err().code(), EBADF);
    assert_eq!(stream.wait_writable(None).unwrap_err().code(), EBADF);
    let mut there = accepted.recv_timeout(LONG).unwrap();
    assert_eq!(there.read().unwrap_err().code(), EINVAL, "it has said that it does not read");
    there.write("to the client").unwrap();
    assert_eq!(stream.read().unwrap().unwrap().to_vec(), b"to the client");
}

#[test]
fn calls_and_streams_share_a_connection() {
    let server = serve(|call, message| {
        if call.offered_streams() > 0 {
            let stream = call.accept_stream(StreamOptions::default())?;
            bthread::spawn(move || stream.into_iter().count());
        }
        Ok(message.into())
    });
    let channel = connect(&server);
    let stream = open(&channel, StreamOptions::default()).unwrap();
    for number in 0..100 {
        stream.write(format!("{number}")).unwrap();
        assert_eq!(call(&channel, &number.to_string()).unwrap(), number.to_string());
    }
}

#[test]
fn what_was_written_before_a_close_arrives_though_the_channel_has_gone() {
    const MESSAGE: usize = 1 << 20;
    for messages in [1, 24] {
        let (tells, tale) = Telling::new();
        let limits = StreamOptions::default().max_received_size(64 << 20);
        let (server, _accepted) = serve_streams(limits.handler(tells));
        let channel = connect(&server);
        let stream = open(&channel, StreamOptions::default().max_buf_size(0)).unwrap();
        drop(channel);
        for _ in 0..messages {
            stream.write(vec![7; MESSAGE]).unwrap();
        }
        stream.close();
        let (received, end) = tale.messages();
        assert_eq!((received.len(), end), (messages, Told::Closed));
        assert!(received.iter().all(|message| message.len() == MESSAGE));
    }
}
