//! What handlers are told, and when.

use std::sync::mpsc;
use std::time::Instant;

use iobuf::IoBuf;
use rpc::error::EINTERNAL;
use rpc::{StreamHandler, StreamOptions, StreamWriter};

use crate::service::{Each, SOON, Telling, Told, pair};
use crate::support::LONG;

#[test]
fn an_idle_handler_is_told_again_and_again_and_not_early() {
    let (tells, tale) = Telling::new();
    let begun = Instant::now();
    let pair = pair(StreamOptions::default(), StreamOptions::default().handler(tells).idle_timeout(SOON));
    assert_eq!(tale.next(), Told::Idle);
    assert!(begun.elapsed() >= SOON);
    assert_eq!(tale.next(), Told::Idle);
    assert!(begun.elapsed() >= 2 * SOON);
    let wrote = Instant::now();
    pair.here.write("x").unwrap();
    let told = std::iter::repeat_with(|| tale.next()).find(|told| *told != Told::Idle);
    assert_eq!(told, Some(Told::Messages(vec![b"x".to_vec()])));
    assert_eq!(tale.next(), Told::Idle);
    assert!(wrote.elapsed() >= SOON, "it counts from the message");
    pair.here.close();
    let last = std::iter::repeat_with(|| tale.next()).find(|told| *told != Told::Idle);
    assert_eq!(last, Some(Told::Closed));
    drop(pair);
    assert!(tale.is_over());
}

#[test]
fn batches_are_as_large_as_asked_for() {
    let (sizes, seen) = mpsc::channel();
    struct Sizes(std::sync::Mutex<mpsc::Sender<usize>>);
    impl StreamHandler for Sizes {
        fn on_received_messages(&self, _: &StreamWriter, messages: &mut Vec<IoBuf>) {
            self.0.lock().unwrap().send(messages.len()).unwrap();
        }
    }
    let server = StreamOptions::default().handler(Sizes(sizes.into())).messages_in_batch(7);
    let pair = pair(StreamOptions::default(), server);
    for _ in 0..1000 {
        pair.here.write("x").unwrap();
    }
    let mut sum = 0;
    while sum < 1000 {
        let size = seen.recv_timeout(LONG).unwrap();
        assert!((1..=7).contains(&size));
        sum += size;
    }
}

#[test]
fn a_panic_in_a_handler_ends_its_stream_alone() {
    let panicking = Each(|_: &StreamWriter, _: IoBuf| panic!("in the handler"));
    let mut pair = pair(StreamOptions::default(), StreamOptions::default().handler(panicking));
    pair.here.write("x").unwrap();
    assert!(pair.here.read().unwrap().is_none());
    assert_eq!(pair.there.error().unwrap().code(), EINTERNAL);
    let _again = crate::service::open(&pair.channel, StreamOptions::default()).unwrap();
}

#[test]
fn a_handler_that_writes_into_a_full_window_waits_without_holding_others_up() {
    let echo = Each(|stream: &StreamWriter, message: IoBuf| stream.write(message).unwrap());
    let server = StreamOptions::default().handler(echo).max_buf_size(1);
    let mut pair = pair(StreamOptions::default(), server);
    for number in 0..100_u32 {
        pair.here.write(&number.to_be_bytes()).unwrap();
    }
    let _other = crate::service::open(&pair.channel, StreamOptions::default()).unwrap();
    for number in 0..100_u32 {
        assert_eq!(pair.here.read().unwrap().unwrap().to_vec(), number.to_be_bytes());
    }
}
