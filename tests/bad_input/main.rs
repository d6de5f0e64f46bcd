//! What a server does with bytes that no honest peer sends: the connection is closed, memory stays where it was, and
//! other connections notice nothing (`spec/protocols-baidu.md` §2.2). Alone in its process, because it looks at the
//! process's memory.

mod http;

use std::sync::Mutex;

use bobbin::{Channel, Server};
use bobbin_examples::example::{EchoRequest, EchoStub};
use bobbin_tests::{RawPeer, frame, request_frame, start_server};

/// How far the resident memory may rise above that of the idle server.
const MEMORY_SLACK: usize = 64 << 20;

/// One test at a time, so that each sees its own memory.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `attack` against a server while another connection goes on working.
fn attack(attack: impl Fn(&str)) {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (server, _) = start_server();
    let address = server.local_addr().to_string();
    let bystander = Bystander::connect(&server);
    let idle = resident_bytes();
    attack(&address);
    bystander.check();
    let risen = resident_bytes().saturating_sub(idle);
    assert!(risen <= MEMORY_SLACK, "{} MiB more than idle", risen >> 20);
}

struct Bystander(EchoStub);

impl Bystander {
    fn connect(server: &Server) -> Self {
        let channel = Channel::builder()
            .timeout(std::time::Duration::from_secs(30))
            .max_retry(0)
            .connect(server.local_addr())
            .unwrap();
        let bystander = Bystander(EchoStub::new(&channel));
        bystander.check();
        bystander
    }

    /// A call on the same connection as before; it is not retried, so a lost connection shows.
    fn check(&self) {
        let request = EchoRequest { message: "bystander".into(), sleep_us: None };
        assert_eq!(self.0.echo(&request).unwrap().message, "bystander");
    }
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Sends and sees the connection closed without an answer.
fn is_closed_on(address: &str, bytes: &[u8]) {
    let mut peer = RawPeer::connect(address);
    // The server may close before all is sent.
    let _ = peer.send(bytes);
    assert!(peer.receive_rest().is_empty());
}

/// Numbers that only have to look random, the same in each run.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    })
}

#[test]
fn random_bytes_close_the_connection() {
    attack(|address| {
        for seed in 1..200 {
            let bytes: Vec<u8> = noise(seed).take(1 + seed as usize * 7).collect();
            let mut peer = RawPeer::connect(address);
            let _ = peer.send(&bytes);
            // A few bytes may be the beginning of a good frame; the end of the stream decides.
            peer.finish();
            assert!(peer.receive_rest().is_empty());
        }
        is_closed_on(address, &noise(7).take(1 << 20).collect::<Vec<u8>>());
    });
}

#[test]
fn a_good_header_before_random_bytes_closes_the_connection_or_fails_the_call() {
    attack(|address| {
        for seed in 1..200 {
            let meta: Vec<u8> = noise(seed).take(40).collect();
            let mut peer = RawPeer::connect(address);
            let _ = peer.send(&frame(&meta, b"body"));
            peer.finish();
            let _ = peer.receive_rest();
        }
    });
}

#[test]
fn every_truncation_of_a_good_frame_waits_for_more_and_ends_with_the_stream() {
    attack(|address| {
        let whole = request_frame(9, "hello");
        for length in 0..whole.len() {
            let mut peer = RawPeer::connect(address);
            assert!(peer.send(&whole[..length]));
            peer.finish();
            assert!(peer.receive_rest().is_empty(), "{length} bytes");
        }
        // Cut anywhere, but whole in the end.
        let mut peer = RawPeer::connect(address);
        for cut in 0..whole.len() {
            assert!(peer.send(&whole[..cut]) && peer.send(&whole[cut..]));
            assert!(peer.receive().is_some_and(|reply| reply.ends_with(b"hello")));
        }
    });
}

#[test]
fn every_flipped_byte_is_survived() {
    attack(|address| {
        let whole = request_frame(9, "hello");
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                let mut peer = RawPeer::connect(address);
                let _ = peer.send(&bytes);
                peer.finish();
                let _ = peer.receive_rest();
            }
        }
    });
}

#[test]
fn a_declared_body_of_four_gigabytes_closes_the_connection_at_its_header() {
    attack(|address| {
        let mut header = b"PRPC".to_vec();
        header.extend(u32::MAX.to_be_bytes());
        header.extend(100u32.to_be_bytes());
        is_closed_on(address, &header);
    });
}

#[test]
fn a_declared_body_at_the_limit_takes_no_memory_before_it_arrives() {
    attack(|address| {
        let peers: Vec<RawPeer> = (0..100)
            .map(|_| {
                let mut header = b"PRPC".to_vec();
                header.extend((64u32 << 20).to_be_bytes());
                header.extend(100u32.to_be_bytes());
                let mut peer = RawPeer::connect(address);
                assert!(peer.send(&header));
                peer
            })
            .collect();
        // They are all served by now: a later connection has been.
        let mut peer = RawPeer::connect(address);
        assert!(peer.send(&request_frame(1, "hello")) && peer.receive().is_some());
        drop(peers);
    });
}

#[test]
fn a_meta_longer_than_the_body_closes_the_connection() {
    attack(|address| {
        let mut bytes = b"PRPC".to_vec();
        bytes.extend(4u32.to_be_bytes());
        bytes.extend(5u32.to_be_bytes());
        bytes.extend(b"abcd");
        is_closed_on(address, &bytes);
    });
}

#[test]
fn a_meta_that_is_no_protobuf_closes_the_connection() {
    attack(|address| is_closed_on(address, &frame(&[0xff; 16], b"")));
}

#[test]
fn a_megabyte_of_headers_closes_the_connection() {
    attack(|address| {
        // Each is a frame of no bytes at all: no service is named, and each is answered so, until the stream ends.
        let header = frame(b"", b"");
        let mut peer = RawPeer::connect(address);
        let bytes = header.repeat((1 << 20) / header.len());
        std::thread::scope(|scope| {
            let mut sender = peer.clone_handle();
            scope.spawn(move || {
                let _ = sender.send(&bytes);
                sender.finish();
            });
            let answers = peer.receive_rest();
            assert!(answers.len() <= 100 << 20);
        });
        // And the four letters alone, a megabyte of them: the sizes are read from letters and far too large.
        is_closed_on(address, &b"PRPC".repeat(1 << 18));
    });
}

#[test]
fn a_peer_that_reads_nothing_is_bounded() {
    attack(|address| {
        // Requests whose answers nobody takes: the unwritten answers end the flood.
        let mut peer = RawPeer::connect(address);
        let one =
            frame(&request_frame(1, "x")[12..12 + 33], &[b"\x0a\x7f".as_slice(), &[b'y'; 127]].concat());
        let many = one.repeat(1000);
        for _ in 0..20 {
            if !peer.send(&many) {
                break;
            }
        }
    });
}
