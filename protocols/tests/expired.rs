//! Requests that wait longer than their callers do. Alone in its process: its runtime has one worker.

mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bthread::Runtime;
use iobuf::IoBuf;
use rpc::Responder;
use support::*;

/// How long the caller of the request waits that is not to be run.
const TIMEOUT: Duration = Duration::from_millis(1);

#[test]
fn a_request_whose_caller_has_gone_is_not_run() {
    Runtime::current().set_workers(1).unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let service = AsyncEcho(move |request: EchoRequest, responder: Responder<EchoResponse>| {
        match request.message.as_str() {
            // It computes until the one that waits behind it is late.
            "first" => std::thread::sleep(2 * TIMEOUT),
            _ => drop(counted.fetch_add(1, Ordering::SeqCst)),
        }
        responder.send(Ok(EchoResponse { message: request.message }));
    });
    let server = Server::builder().add(service).start("127.0.0.1:0").unwrap();
    let mut stream = raw(&server);
    let frame = |message, timeout_ms: Option<u16>| {
        let mut frame = request_frame(message, &IoBuf::new());
        if let Some(ms) = timeout_ms {
            // One more piece of the description's field 1, with the field 8 in it.
            let meta_size = u32::from_be_bytes(frame[8..12].try_into().unwrap()) as usize;
            frame.splice(12 + meta_size..12 + meta_size, [0x0a, 3, 0x40, ms as u8 | 0x80, (ms >> 7) as u8]);
            let size = frame.len() as u32 - 12;
            frame[4..8].copy_from_slice(&size.to_be_bytes());
            frame[8..12].copy_from_slice(&(meta_size as u32 + 5).to_be_bytes());
        }
        frame
    };
    // Both in one write, so that one read brings them and they wait together.
    let both = [frame("first", None), frame("late", Some(TIMEOUT.as_millis() as u16))].concat();
    stream.write_all(&both).unwrap();
    let mut answers = String::new();
    while !(answers.contains("first") && answers.contains("[E1008]Not run: ")) {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).unwrap();
        assert_ne!(count, 0, "{answers}");
        answers += &String::from_utf8_lossy(&bytes[..count]);
    }
    assert!(answers.contains("us of timeout=1000us are over"), "{answers}");
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    let port = server.local_addr().port().unwrap();
    assert_eq!(bvar::describe(&format!("rpc_server_{port}_rejected_expired")).as_deref(), Some("1"));
    stream.write_all(&frame("in time", Some(16_000))).unwrap();
    assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
