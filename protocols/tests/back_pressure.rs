//! Peers that do not read, kernels that are full, and what is refused then.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use iobuf::IoBuf;
use rpc::error::{ENETUNREACH, EOVERCROWDED, ERPCTIMEDOUT, ETIMEDOUT};
use rpc::{Call, CallOptions, Limits};
use support::{
    Channel, Echo, EchoResponse, LONG, Server, call, call_with, connect, echo_method, raw, request,
    request_frame,
};

/// More than the buffers of a connection hold, on both sides together.
const MORE_THAN_A_KERNEL_HOLDS: usize = 64 << 20;

#[test]
fn replies_wait_for_a_reader_that_is_slow_and_nobody_else_does() {
    let server = support::start();
    let channel = connect(&server);
    let attachment = IoBuf::from(vec![3; MORE_THAN_A_KERNEL_HOLDS - 100]);
    let mut stream = raw(&server);
    let frame = request_frame("hello", &attachment);
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&frame).unwrap());
    writing.join().unwrap();
    // The reply to that is under way and cannot leave.
    assert_eq!(call(&channel, "meanwhile").unwrap(), "meanwhile");
    let mut header = [0; 12];
    stream.read_exact(&mut header).unwrap();
    let size = u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize;
    let mut rest = vec![0; size];
    stream.read_exact(&mut rest).unwrap();
    assert!(rest[size - attachment.len()..].iter().all(|byte| *byte == 3));
}

#[test]
fn a_server_refuses_requests_of_a_connection_that_does_not_take_its_replies() {
    let mut limits = Limits::default();
    limits.max_unwritten_bytes = 1 << 20;
    let server = Server::builder().add(Echo).limits(limits).start("127.0.0.1:0").unwrap();
    let mut stream = raw(&server);
    let large = request_frame("hello", &IoBuf::from(vec![3; 32 << 20]));
    let small = request_frame("hello", &IoBuf::new());
    let mut reader = stream.try_clone().unwrap();
    stream.write_all(&large).unwrap();
    // Its reply has begun, so it is queued as a whole.
    let mut header = [0; 12];
    reader.read_exact(&mut header).unwrap();
    stream.write_all(&small).unwrap();
    while server.method_reports()[0].errors == 0 {
        std::thread::yield_now();
    }
    let mut rest = vec![0; u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize];
    reader.read_exact(&mut rest).unwrap();
    let mut refusal = [0; 200];
    let read = reader.read(&mut refusal).unwrap();
    let text = String::from_utf8_lossy(&refusal[..read]).into_owned();
    let expected = format!("[E1011]Connection to {} is overcrowded", stream.local_addr().unwrap());
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn a_client_refuses_calls_while_too_much_is_unwritten() {
    // A peer that takes nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut limits = Limits::default();
    limits.max_unwritten_bytes = 1 << 20;
    let builder = Channel::builder().limits(limits).timeout(LONG).max_retry(0);
    let channel = builder.connect(silent.local_addr().unwrap()).unwrap();
    let large = || CallOptions::default().request_attachment(IoBuf::from(vec![3; MORE_THAN_A_KERNEL_HOLDS]));
    let first: Call<EchoResponse> = channel.start(echo_method(), large(), &request("large"));
    let error = call(&channel, "small").unwrap_err();
    assert_eq!(error.code(), EOVERCROWDED);
    drop(first);
    let error =
        call_with(&channel, CallOptions::default().timeout(Duration::from_millis(1)), &request("small"));
    assert_eq!(error.unwrap_err().code(), EOVERCROWDED, "what is queued is not taken back");
}

#[test]
fn requests_wait_for_a_server_that_is_slow_to_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Room for both requests, as neither may be written before the other is queued.
    let mut limits = Limits::default();
    limits.max_unwritten_bytes = 4 * MORE_THAN_A_KERNEL_HOLDS;
    let builder = Channel::builder().limits(limits).timeout(LONG);
    let channel = builder.connect(listener.local_addr().unwrap()).unwrap();
    let attachment = IoBuf::from(vec![5; MORE_THAN_A_KERNEL_HOLDS]);
    let options = CallOptions::default().request_attachment(attachment.clone());
    let calls: Vec<Call<EchoResponse>> =
        (0..2).map(|_| channel.start(echo_method(), options.clone(), &request("large"))).collect();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    for _ in 0..2 {
        let mut header = [0; 12];
        stream.read_exact(&mut header).unwrap();
        let mut rest = vec![0; u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize];
        stream.read_exact(&mut rest).unwrap();
        assert!(rest[rest.len() - attachment.len()..].iter().all(|byte| *byte == 5));
    }
    drop(calls);
}

#[test]
fn connecting_ends_at_its_own_timeout_or_at_that_of_the_call() {
    let (listener, _waiting) = deaf_listener();
    let build = || Channel::builder().timeout(LONG).connect_timeout(Duration::from_millis(20));
    let channel = build().max_retry(0).connect(listener.local_addr().unwrap()).unwrap();
    let error = call(&channel, "").unwrap_err();
    let at = channel.remote_side();
    assert_eq!(error.to_string(), format!("[E110]Fail to connect {at}: not connected after 20ms"));
    // Groups, as channels to one server otherwise share what is known of it.
    let channel = build().connection_group("tries again").connect(at).unwrap();
    assert_eq!(call(&channel, "").unwrap_err().code(), ENETUNREACH, "the third of its attempts");
    let builder = Channel::builder().connection_group("is patient").connect_timeout(LONG);
    let builder = builder.timeout(Duration::from_millis(20));
    let channel = builder.connect(at).unwrap();
    assert_eq!(call(&channel, "").unwrap_err().code(), ERPCTIMEDOUT);
    assert_ne!(ETIMEDOUT, ERPCTIMEDOUT);
}

/// A listener whose queue is full, so that connecting to it takes for ever.
fn deaf_listener() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at: SocketAddr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(200)) {
        waiting.push(stream);
    }
    (listener, waiting)
}

#[test]
fn a_peer_that_only_collects_refusals_loses_its_connection() {
    let mut limits = Limits::default();
    limits.max_unwritten_bytes = 1 << 20;
    let server = Server::builder().add(Echo).limits(limits).start("127.0.0.1:0").unwrap();
    let channel = connect(&server);
    let mut stream = raw(&server);
    // Frames without a word, of a service without a name; nobody reads the answers.
    let headers = b"PRPC\0\0\0\0\0\0\0\0".repeat(1 << 12);
    let is_closed = (0..1 << 10).any(|_| stream.write_all(&headers).is_err());
    assert!(is_closed);
    assert_eq!(call(&channel, "meanwhile").unwrap(), "meanwhile");
}
