//! Each runtime looks after its own connections: one that is held leaves those of the others in order.

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use bthread::Runtime;
use support::{Echo, LONG, Server, call, connect};

#[test]
fn a_held_runtime_does_not_keep_the_connections_of_others_open() {
    let held = Runtime::builder().workers(1).stand_ins_max(0).start().unwrap();
    let server = Server::builder().add(Echo).idle_timeout(Duration::from_secs(1));
    let server = server.start("127.0.0.1:0").unwrap();
    // The first connection is made in the runtime that is about to be held.
    let address = server.local_addr().to_string();
    let channel = connect(&server);
    let first = held.spawn(move || {
        let answer = call(&channel, "hello");
        (answer, channel)
    });
    let (answer, _channel) = first.join().unwrap();
    assert_eq!(answer.unwrap(), "hello");
    let (holding, holds) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let holder = held.spawn(move || {
        holding.send(()).unwrap();
        let _ = released.recv(); // the thread, not the bthread
    });
    holds.recv().unwrap();

    let mut idle = TcpStream::connect(address).unwrap();
    idle.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "the server closes it");
    drop(release);
    holder.join().unwrap();
}
