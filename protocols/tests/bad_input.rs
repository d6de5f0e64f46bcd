//! Bytes that no client should send, to a server that other clients use: the connection is closed, memory follows what
//! was received, and nobody else notices.

mod support;

use std::io::Write;
use std::net::Shutdown;

use rpc::Limits;
use support::{Echo, LONG, Server, call, connect, exchange, is_closed, raw, resident, start};

const PLAIN: &[u8] = include_bytes!("../src/baidu_std/testdata/plain.req.bin");

/// What this process may grow by.
const GROWTH_MAX: usize = 64 << 20;

/// Sends bytes and says whether the connection is closed then; a server that closes earlier is as good.
fn is_refused(server: &Server, bytes: &[u8]) -> bool {
    let mut stream = raw(server);
    let _ = stream.write_all(bytes);
    is_closed(&mut stream)
}

/// Xorshift, so that a failure can be repeated.
fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

#[test]
fn bytes_of_no_protocol_close_the_connection() {
    let server = start();
    let channel = connect(&server);
    assert_eq!(call(&channel, "before").unwrap(), "before");
    for seed in 1..200 {
        let bytes = random_bytes(seed, 1 + seed as usize * 7);
        if bytes[0] != b'P' {
            assert!(is_refused(&server, &bytes), "{seed}");
        }
    }
    for bytes in [&b"FOO / HTTP/1.1\r\n\r\n"[..], b"PRPX", b"STRN\0\0\0\0\0\0\0\0"] {
        assert!(is_refused(&server, bytes));
    }
    assert_eq!(call(&channel, "after").unwrap(), "after");
    while server.connection_count() > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn sizes_that_cannot_be_close_the_connection_at_the_header() {
    let server = start();
    let before = resident();
    for header in [
        &b"PRPC\xff\xff\xff\xff\0\0\0\0"[..], // 4 GiB
        b"PRPC\x04\0\0\x01\0\0\0\0",          // one byte above the limit
        b"PRPC\0\0\0\x04\0\0\0\x05",          // a description longer than all of it
        b"PRPC\0\0\0\x04\xff\xff\xff\xff",    // the same, by far
    ] {
        assert!(is_refused(&server, header), "{header:?}");
    }
    let mut headers = b"PRPC".repeat(1 << 18);
    assert!(is_refused(&server, &headers), "a megabyte of magic");
    headers.truncate(12);
    assert!(resident().saturating_sub(before) < GROWTH_MAX);
}

#[test]
fn a_declared_size_takes_no_memory() {
    let server = start();
    let before = resident();
    // The largest that is allowed, a hundred times, and none of its bytes.
    let streams: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = raw(&server);
            stream.write_all(b"PRPC\x04\0\0\0\0\0\0\0").unwrap();
            stream
        })
        .collect();
    let channel = connect(&server);
    assert_eq!(call(&channel, "meanwhile").unwrap(), "meanwhile");
    while server.connection_count() < 101 {
        std::thread::yield_now();
    }
    assert!(resident().saturating_sub(before) < GROWTH_MAX);
    drop(streams);
    while server.connection_count() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(call(&channel, "after").unwrap(), "after");
}

#[test]
fn a_megabyte_of_empty_frames_is_answered_within_bounds() {
    let server = start();
    let before = resident();
    let frames = b"PRPC\0\0\0\0\0\0\0\0".repeat((1 << 20) / 12);
    let mut stream = raw(&server);
    let mut reader = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        stream.write_all(&frames).unwrap();
        stream
    });
    // ENOSERVICE, as they name none: the same answer each time.
    let first = exchange(&mut reader, b"", 12);
    let size = 12 + u32::from_be_bytes(first[4..8].try_into().unwrap()) as usize;
    let total = (1 << 20) / 12 * size;
    let rest = exchange(&mut reader, b"", total - 12);
    assert_eq!(&rest[rest.len() - size..][..12], first);
    assert!(resident().saturating_sub(before) < GROWTH_MAX);
    drop(writer.join().unwrap());
}

#[test]
fn every_truncation_of_a_good_request_waits_and_ends_with_its_connection() {
    let server = start();
    let channel = connect(&server);
    for end in 0..PLAIN.len() {
        let mut stream = raw(&server);
        stream.write_all(&PLAIN[..end]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(is_closed(&mut stream), "{end}");
    }
    assert_eq!(call(&channel, "after").unwrap(), "after");
    assert_eq!(server.method_reports()[0].latency.count(), 1);
}

#[test]
fn every_wrong_byte_of_a_good_request_leaves_the_server_as_it_was() {
    let server = start();
    let channel = connect(&server);
    for index in 0..PLAIN.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = PLAIN.to_vec();
            bytes[index] ^= flip;
            let mut stream = raw(&server);
            stream.write_all(&bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        }
    }
    assert_eq!(call(&channel, "after").unwrap(), "after");
    while server.connection_count() > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn a_smaller_limit_is_kept() {
    let mut limits = Limits::default();
    limits.max_body_size = PLAIN.len() - 12;
    let server = Server::builder().add(Echo).limits(limits).start("127.0.0.1:0").unwrap();
    assert_eq!(exchange(&mut raw(&server), PLAIN, 42).len(), 42, "exactly the limit passes");
    let mut bytes = PLAIN.to_vec();
    bytes[7] += 1;
    bytes.push(0);
    assert!(is_refused(&server, &bytes));
    // A reply that is too large for the client fails its call, without trying again.
    let server = start();
    let channel =
        support::Channel::builder().limits(limits).timeout(LONG).connect(server.local_addr()).unwrap();
    let error = call(&channel, &"x".repeat(200)).unwrap_err();
    assert_eq!(error.code(), rpc::error::EINVAL);
    assert!(
        error.text().ends_with(&format!("is larger than max_body_size={}", limits.max_body_size)),
        "{error}"
    );
}

#[test]
fn a_name_of_a_megabyte_is_not_sent_back() {
    let server = start();
    let mut request = vec![0x0a];
    prost::encoding::encode_varint(1 << 20, &mut request);
    request.resize(request.len() + (1 << 20), 0xff);
    request.extend(*b"\x12\x04Echo");
    let mut meta = vec![0x0a];
    prost::encoding::encode_varint(request.len() as u64, &mut meta);
    meta.extend(&request);
    let mut frame = b"PRPC".to_vec();
    frame.extend([(meta.len() as u32).to_be_bytes(); 2].as_flattened());
    frame.extend(&meta);
    let header = exchange(&mut raw(&server), &frame, 12);
    let size = u32::from_be_bytes(header[4..8].try_into().unwrap());
    assert!(size < 4096, "{size} bytes");
}

#[test]
fn a_peer_that_takes_no_refusals_is_cut_off_before_they_take_much() {
    const UNWRITTEN_MAX: usize = 8 << 20;
    let mut limits = Limits::default();
    limits.max_unwritten_bytes = UNWRITTEN_MAX;
    let server = Server::builder().add(Echo).limits(limits).start("127.0.0.1:0").unwrap();
    let before = resident();
    // Data for streams that there are not: each is refused with the shortest answer that there is.
    let frames = b"STRM\0\0\0\x06\0\0\0\x06\x08\x05\x10\x07\x18\x03".repeat(1 << 12);
    let mut stream = raw(&server);
    let mut most = 0;
    while stream.write_all(&frames).is_ok() {
        most = most.max(resident().saturating_sub(before));
    }
    assert!(most < 12 * UNWRITTEN_MAX, "{most}"); // other tests run meanwhile
    assert_eq!(call(&connect(&server), "after").unwrap(), "after");
}

#[test]
fn user_fields_without_end_are_refused() {
    let server = start();
    let before = resident();
    // The description of a request with as many pairs as fit in so many bytes, each with a key of its own.
    let mut meta = b"\x0a\x1b\x0a\x13example.EchoService\x12\x04Echo".to_vec();
    (0..1_u32 << 20).for_each(|key| {
        meta.extend(b"\x4a\x06\x0a\x04");
        meta.extend((0..4).map(|digit| b'0' + (key >> (5 * digit) & 31) as u8));
    });
    let size = u32::try_from(meta.len()).unwrap().to_be_bytes();
    assert!(is_refused(&server, &[b"PRPC", &size[..], &size, &meta].concat()));
    assert!(resident().saturating_sub(before) < GROWTH_MAX);
    assert_eq!(call(&connect(&server), "after").unwrap(), "after");
}
