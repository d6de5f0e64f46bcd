//! The blocks that waiting connections hold, in a process of its own, as the process's blocks are counted.

mod support;

use std::io::Write;

use iobuf::IoBuf;
use support::{exchange, raw, request_frame, start};

const CONNECTIONS: usize = 32;
/// Makes its connection read into as many blocks at a time as there may be.
const LARGE: usize = 1 << 20;

#[test]
fn a_connection_keeps_no_room_of_large_messages_for_the_first_byte_of_the_next() {
    let server = start();
    let request = request_frame("large", &IoBuf::from(vec![7; LARGE]));
    let mut first_reply = None;
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = raw(&server);
        let size = *first_reply.get_or_insert_with(|| {
            let header = exchange(&mut stream, &request, 12);
            let size = u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize;
            exchange(&mut stream, b"", size);
            12 + size
        });
        assert_eq!(exchange(&mut stream, &request, size).len(), size);
        streams.push(stream);
    }
    for stream in &mut streams {
        stream.write_all(&request[..1]).unwrap();
    }
    // Whoever comes later is served when those bytes have been seen.
    let mut last = raw(&server);
    let small = request_frame("small", &IoBuf::new());
    for _ in 0..CONNECTIONS {
        exchange(&mut last, &small, 12 + 14 + 7);
    }
    let of_threads = 256 * (bthread::Runtime::current().workers() + 1);
    let blocks = iobuf::stats().block_count;
    assert!(blocks < of_threads + 2 * CONNECTIONS, "{blocks} blocks");
}
