//! Order, boundaries and completeness of what is written.

use std::sync::Arc;

use iobuf::IoBuf;
use rpc::{Stream, StreamOptions};

use crate::service::{Each, Telling, Told, open, pair, serve_streams};
use crate::support::{LONG, connect};

const MESSAGES: u32 = 10_000;

#[test]
fn messages_arrive_in_order_and_the_last_before_a_close_too() {
    let (telling, tale) = Telling::new();
    let pair = pair(StreamOptions::default(), StreamOptions::default().handler(telling));
    let writer = bthread::spawn(move || {
        for number in 0..MESSAGES {
            pair.here.write(&number.to_be_bytes()).unwrap();
        }
        pair.here.close();
        pair
    });
    let (messages, end) = tale.messages();
    assert_eq!(end, Told::Closed);
    assert!(
        messages.iter().map(Vec::as_slice).eq((0..MESSAGES).map(u32::to_be_bytes).collect::<Vec<_>>().iter())
    );
    drop(writer.join().unwrap());
    assert!(tale.is_over(), "the handler is dropped when it has been told");
}

#[test]
fn a_reader_gets_what_a_thread_has_written() {
    for background in [false, true] {
        let mut pair =
            pair(StreamOptions::default().write_in_background(background), StreamOptions::default());
        for number in 0..MESSAGES {
            pair.here.write(&number.to_be_bytes()).unwrap();
        }
        pair.here.close();
        for number in 0..MESSAGES {
            assert_eq!(pair.there.read().unwrap().unwrap().to_vec(), number.to_be_bytes());
        }
        assert!(pair.there.read().unwrap().is_none() && pair.there.next().is_none());
    }
}

#[test]
fn two_writers_each_keep_their_order() {
    let (server, accepted) = serve_streams(StreamOptions::default());
    let stream = open(&connect(&server), StreamOptions::default()).unwrap();
    let (_, writer) = stream.split();
    let writers: Vec<_> = (0..2_u8)
        .map(|who| {
            let writer = writer.clone();
            bthread::spawn(move || {
                for number in 0..MESSAGES {
                    writer.write([&[who][..], &number.to_be_bytes()].concat()).unwrap();
                }
            })
        })
        .collect();
    let mut there = accepted.recv_timeout(LONG).unwrap();
    let mut next = [0_u32; 2];
    for _ in 0..2 * MESSAGES {
        let message = there.read().unwrap().unwrap().to_vec();
        let who = usize::from(message[0]);
        assert_eq!(message[1..], next[who].to_be_bytes());
        next[who] += 1;
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    drop(writer); // the last one: the stream ends
    assert!(there.read().unwrap().is_none());
}

#[test]
fn segments_of_one_byte_are_put_together() {
    let mut pair = pair(StreamOptions::default().max_segment_size(1), StreamOptions::default());
    let long: Vec<u8> = (0..2000_u32).map(|byte| byte as u8).collect();
    for message in [&b""[..], b"x", &long, b"end"] {
        pair.here.write(message).unwrap();
    }
    for message in [&b""[..], b"x", &long, b"end"] {
        assert_eq!(pair.there.read().unwrap().unwrap().to_vec(), message);
    }
}

#[test]
fn large_messages_of_many_pieces_arrive_whole() {
    let mut pair = pair(StreamOptions::default(), StreamOptions::default());
    let message: Arc<Vec<u8>> = Arc::new((0..3_000_000_u32).map(|byte| (byte / 7) as u8).collect());
    let sent = message.clone();
    let writer = bthread::spawn(move || {
        for _ in 0..5 {
            pair.here.write(IoBuf::from(sent.as_slice())).unwrap();
        }
        pair.here
    });
    for _ in 0..5 {
        assert!(pair.there.read().unwrap().unwrap().to_vec() == *message);
    }
    drop(writer.join().unwrap());
}

#[test]
fn ping_pong() {
    let echo = Each(|stream: &rpc::StreamWriter, message: IoBuf| stream.write(message).unwrap());
    let mut pair = pair(StreamOptions::default(), StreamOptions::default().handler(echo));
    let play = move || {
        for number in 0..1000_u32 {
            pair.here.write(&number.to_be_bytes()).unwrap();
            assert_eq!(pair.here.read().unwrap().unwrap().to_vec(), number.to_be_bytes());
        }
        pair
    };
    let pair = play();
    drop(pair.here);
    drop(pair.there);
}

#[test]
fn what_the_server_writes_before_its_answer_arrives_behind_it_in_order() {
    let server = crate::service::serve(|call, _| {
        let stream: Stream = call.accept_stream(StreamOptions::default())?;
        for number in 0..100_u32 {
            stream.write(&number.to_be_bytes())?;
        }
        let (mut reader, writer) = stream.split();
        bthread::spawn(move || {
            for number in 100..200_u32 {
                writer.write(&number.to_be_bytes()).unwrap();
            }
            writer.close();
            assert!(reader.read().unwrap().is_none());
        });
        Ok("accepted".into())
    });
    let mut stream = open(&connect(&server), StreamOptions::default()).unwrap();
    for number in 0..200_u32 {
        assert_eq!(stream.read().unwrap().unwrap().to_vec(), number.to_be_bytes());
    }
    assert!(stream.read().unwrap().is_none());
}
