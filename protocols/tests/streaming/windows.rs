//! Windows: who has to wait, for how long, and who is woken.

use std::sync::mpsc;
use std::time::Instant;

use rpc::error::{EAGAIN, ECONNRESET, EINVAL, ETIMEDOUT};
use rpc::{StreamHandler, StreamOptions, StreamWriter};

use crate::service::{Pair, SOON, pair};
use crate::support::LONG;

/// Consumes nothing before it may.
struct Gated(bthread::sync::mpsc::Receiver<()>);

/// The receiver of a channel is one thread's at a time.
struct GatedHandler(bthread::sync::Mutex<Gated>);

impl StreamHandler for GatedHandler {
    fn on_received_messages(&self, _: &StreamWriter, _: &mut Vec<iobuf::IoBuf>) {
        let _ = self.0.lock().unwrap().0.recv(); // the test may be over
    }
}

/// A stream whose window is ten bytes, and the key to its peer's handler.
fn gated() -> (Pair, bthread::sync::mpsc::Sender<()>) {
    let (open, gate) = bthread::sync::mpsc::channel();
    let handler = GatedHandler(bthread::sync::Mutex::new(Gated(gate)));
    let server = StreamOptions::default().handler(handler).messages_in_batch(1);
    (pair(StreamOptions::default().max_buf_size(10), server), open)
}

#[test]
fn a_full_window_refuses_and_a_consumed_message_opens_it() {
    let (pair, open) = gated();
    pair.here.try_write("0123456789 and more: the last one may overshoot").unwrap();
    let refused = pair.here.try_write("x").unwrap_err();
    assert_eq!((refused.error.code(), refused.message.to_vec()), (EAGAIN, b"x".to_vec()));
    let begun = Instant::now();
    let error = pair.here.wait_writable(Some(begun + SOON)).unwrap_err();
    assert_eq!(error.code(), ETIMEDOUT);
    assert!(begun.elapsed() >= SOON);
    assert_eq!(pair.here.write_until("x", Instant::now() + SOON).unwrap_err().code(), ETIMEDOUT);
    open.send(()).unwrap();
    pair.here.wait_writable(None).unwrap();
    pair.here.try_write("x").unwrap();
}

#[test]
fn writers_that_wait_go_on_in_bthreads_threads_and_callbacks() {
    let (pair, open) = gated();
    pair.here.write("0123456789").unwrap();
    let (done, is_done) = mpsc::channel();
    let called = done.clone();
    pair.here.when_writable(None, move |result| called.send(result).unwrap());
    let (reader, writer) = pair.here.split();
    let writers: [Box<dyn FnOnce() + Send>; 2] = [writer.clone(), writer.clone()].map(|writer| {
        let done = done.clone();
        Box::new(move || done.send(writer.write("0123456789")).unwrap()) as Box<dyn FnOnce() + Send>
    });
    let [in_thread, in_bthread] = writers;
    let thread = std::thread::spawn(in_thread);
    let bthread = bthread::spawn(in_bthread);
    assert!(is_done.recv_timeout(SOON).is_err(), "all of them wait");
    for _ in 0..3 {
        open.send(()).unwrap();
    }
    for _ in 0..3 {
        is_done.recv_timeout(LONG).unwrap().unwrap();
    }
    thread.join().unwrap();
    bthread.join().unwrap();
    drop(reader);
}

#[test]
fn who_waits_for_a_window_hears_of_the_end() {
    let (pair, open) = gated();
    pair.here.write("0123456789").unwrap();
    let (reader, writer) = pair.here.split();
    let waiting = writer.clone();
    let waiter = bthread::spawn(move || (waiting.wait_writable(None), waiting.write("x")));
    let writing = writer.clone();
    let blocked = std::thread::spawn(move || writing.write("x"));
    // However far they are: they hear of it, before or while they wait.
    writer.close();
    let (waited, wrote) = waiter.join().unwrap();
    let codes = [ECONNRESET, EINVAL];
    assert!(codes.contains(&waited.unwrap_err().code()));
    assert_eq!(wrote.unwrap_err().code(), EINVAL);
    assert!(codes.contains(&blocked.join().unwrap().unwrap_err().code()));
    drop((open, reader));
}

#[test]
fn a_reader_widens_the_window_as_it_reads() {
    let mut pair = pair(StreamOptions::default().max_buf_size(10), StreamOptions::default());
    let (reader, writer) = pair.here.split();
    let writing = bthread::spawn(move || {
        for _ in 0..1000 {
            writer.write("0123456789").unwrap();
        }
        writer.close();
    });
    for _ in 0..1000 {
        assert_eq!(pair.there.read().unwrap().unwrap().len(), 10);
    }
    assert!(pair.there.read().unwrap().is_none());
    writing.join().unwrap();
    drop(reader);
}

#[test]
fn a_reader_that_is_gone_holds_nobody_up() {
    let pair = pair(StreamOptions::default().max_buf_size(10), StreamOptions::default());
    pair.here.write("0123456789").unwrap();
    let (reader, writer) = pair.there.split();
    drop(reader);
    for _ in 0..100 {
        pair.here.write("0123456789").unwrap();
    }
    drop(writer);
}

#[test]
fn reading_ends_at_its_deadline_and_goes_on() {
    let mut pair = pair(StreamOptions::default(), StreamOptions::default());
    let begun = Instant::now();
    assert_eq!(pair.there.read_until(begun + SOON).unwrap_err().code(), ETIMEDOUT);
    assert!(begun.elapsed() >= SOON);
    pair.here.write("late").unwrap();
    assert_eq!(pair.there.read().unwrap().unwrap().to_vec(), b"late");
}

#[test]
fn before_the_answer_writes_are_kept_as_far_as_the_window_goes() {
    let options = StreamOptions::default().max_buf_size(10);
    let (call, stream) = rpc::CallOptions::default().open_stream(options).unwrap();
    stream.try_write("01234").unwrap();
    stream.try_write("56789").unwrap();
    assert_eq!(stream.try_write("x").unwrap_err().error.code(), EAGAIN);
    let unlimited = StreamOptions::default().max_buf_size(0);
    let (_call, other) = rpc::CallOptions::default().open_stream(unlimited).unwrap();
    let messages = (0..).take_while(|_| other.try_write("").is_ok()).count();
    assert_eq!(messages, rpc::stream::UNCONNECTED_BYTES_MAX / 64, "empty messages count as well");
    let (server, accepted) = crate::service::serve_streams(StreamOptions::default());
    let channel = crate::support::connect(&server);
    crate::support::call_with(&channel, call, &crate::support::request("open")).unwrap();
    let mut there = accepted.recv_timeout(LONG).unwrap();
    assert_eq!(there.read().unwrap().unwrap().to_vec(), b"01234");
    assert_eq!(there.read().unwrap().unwrap().to_vec(), b"56789");
    stream.write("x").unwrap();
    assert_eq!(there.read().unwrap().unwrap().to_vec(), b"x");
}
