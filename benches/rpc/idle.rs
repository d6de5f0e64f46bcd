//! The memory of connections on which nothing happens.
//!
//! Holds unsafe: raising the limit of descriptors.

#![allow(unsafe_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::Options;
use crate::figures::{number, print_line};
use crate::peer::Peer;

const CONNECTIONS: usize = 10_000;
/// Made and measured apart, so that what a server makes once is not counted.
const CONNECTIONS_BEFORE: usize = 100;
/// Descriptors that a server needs beside those of its connections.
const OTHER_DESCRIPTORS: u64 = 1_000;
/// Caches that a server gives back after a while are given back.
const SETTLE: Duration = Duration::from_secs(3);
const TARGET: f64 = 2048.0;

/// A call of `example.EchoService/Echo` with the message `hello`.
const REQUEST: &[u8] =
    b"PRPC\0\0\0\x26\0\0\0\x1f\x0a\x1b\x0a\x13example.EchoService\x12\x04Echo\x20\x01\x0a\x05hello";
/// Every reply ends with its message.
const REPLY_END: &[u8] = b"\x0a\x05hello";

pub(crate) fn print(options: &Options) {
    if !options.wants("idle") {
        return;
    }
    let wanted = CONNECTIONS as u64 + OTHER_DESCRIPTORS;
    if raise_descriptors(wanted) < wanted {
        println!("idle: the limit of descriptors cannot be raised to {wanted}\n");
        return;
    }
    println!("Resident bytes of a server for each of {CONNECTIONS} connections that have made one call:\n");
    print_line(&["server", "before, KiB", "bytes for each", "target", "met"]);
    print_line(&["---"; 5]);
    for peer in &options.servers {
        let (before, each) = measure(peer);
        let is_judged = !options.is_peer(peer) && peer.name != crate::LOOP;
        let met = if each <= TARGET { "yes" } else { "no" };
        print_line(&[
            peer.name.clone(),
            number(before as f64 / 1024.0),
            number(each),
            if is_judged { format!("≤ {TARGET}") } else { String::new() },
            if is_judged { met.to_owned() } else { String::new() },
        ]);
    }
    println!();
}

fn measure(peer: &Peer) -> (u64, f64) {
    let running = peer.start(None);
    let mut streams: Vec<TcpStream> = (0..CONNECTIONS_BEFORE).map(|_| call(running.address)).collect();
    thread::sleep(SETTLE);
    let before = running.resident();
    streams.extend((CONNECTIONS_BEFORE..CONNECTIONS).map(|_| call(running.address)));
    thread::sleep(SETTLE);
    let after = running.resident();
    drop(streams);
    (before, after.saturating_sub(before) as f64 / (CONNECTIONS - CONNECTIONS_BEFORE) as f64)
}

/// A connection that has made a call.
fn call(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(REQUEST).expect("a request to be taken");
    let mut header = [0; 12];
    stream.read_exact(&mut header).expect("a reply");
    let size = u32::from_be_bytes(header[4..8].try_into().expect("4 bytes"));
    let mut rest = vec![0; size as usize];
    stream.read_exact(&mut rest).expect("all of the reply");
    assert!(rest.ends_with(REPLY_END), "a wrong reply: {rest:?}");
    stream
}

/// Raises the limit of descriptors of this process, and of those that it starts; the limit then.
fn raise_descriptors(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is good for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 0;
    }
    if limit.rlim_cur < wanted {
        let raised = libc::rlimit { rlim_cur: wanted, rlim_max: limit.rlim_max.max(wanted) };
        // SAFETY: as above.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            return wanted;
        }
    }
    limit.rlim_cur
}
