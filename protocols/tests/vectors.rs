//! The requests that real clients sent, to a server here: its answers have to be those of the real server, byte for
//! byte, with this server's port in the texts.

mod support;

use rpc::error::RpcError;
use support::{Echo, Server, exchange, is_closed, raw, sorted_frames};

/// The port in the error texts of the captures, and all that the one here may differ in.
const CAPTURED_PORT: &[u8] = b":9301]";

macro_rules! vector {
    ($name:literal) => {
        (
            $name,
            &include_bytes!(concat!("../src/baidu_std/testdata/", $name, ".req.bin"))[..],
            &include_bytes!(concat!("../src/baidu_std/testdata/", $name, ".resp.bin"))[..],
        )
    };
}

/// A server on a port of four digits, as that of the captures.
fn start() -> Server {
    let first = 2000 + std::process::id() % 4000;
    (first..10_000)
        .find_map(|port| {
            let started: Result<_, RpcError> = Server::builder().add(Echo).start(format!("127.0.0.1:{port}"));
            started.ok()
        })
        .expect("a free port")
}

fn with_port(bytes: &[u8], port: u16) -> Vec<u8> {
    let port = format!(":{port}]").into_bytes();
    assert_eq!(port.len(), CAPTURED_PORT.len());
    let mut bytes = bytes.to_vec();
    while let Some(at) = bytes.windows(port.len()).position(|window| window == CAPTURED_PORT) {
        bytes[at..at + port.len()].copy_from_slice(&port);
    }
    bytes
}

#[test]
fn answers_are_those_of_brpc() {
    let server = start();
    let port = server.local_addr().port().unwrap();
    let vectors = [
        vector!("plain"),
        vector!("empty_message"),
        vector!("attachment"),
        vector!("fail_1234"),
        vector!("fail_nocode"),
        vector!("unknown_service"),
        vector!("unknown_service_noscope"),
        vector!("unknown_method"),
        vector!("short_service_name"),
        vector!("log_id_77"),
        vector!("request_id"),
        vector!("user_fields"),
        vector!("timeout_ms"),
        vector!("trace"),
        vector!("long_meta"),
        vector!("bad_body"),
        vector!("missing_required"),
        vector!("raw_split"),
        vector!("raw_two_in_one_write"),
        vector!("two_calls_one_connection"),
        vector!("concurrent_three"),
    ];
    for (name, request, response) in vectors {
        let expected = with_port(response, port);
        let answer = exchange(&mut raw(&server), request, expected.len());
        assert_eq!(sorted_frames(&answer), sorted_frames(&expected), "{name}");
    }
}

#[test]
fn what_brpc_closes_is_closed() {
    let server = start();
    for (name, request, response) in [
        vector!("close_connection"),
        vector!("raw_bad_meta"),
        vector!("raw_meta_larger_than_body"),
        vector!("raw_body_too_large"),
    ] {
        let mut stream = raw(&server);
        let answer = exchange(&mut stream, request, response.len());
        assert_eq!(answer, response, "{name}");
        assert!(is_closed(&mut stream), "{name}");
    }
}

#[test]
fn forms_of_a_body_that_are_not_supported_are_named_in_the_answer() {
    let server = start();
    for ((name, request, _), form, size) in [
        (vector!("compress_snappy"), "ContentType=pb, CompressType=snappy, ChecksumType=none", 73),
        (vector!("content_json"), "ContentType=json, CompressType=none, ChecksumType=none", 37),
        (vector!("checksum_crc32c"), "ContentType=pb, CompressType=none, ChecksumType=crc32c", 12),
    ] {
        let at = server.local_addr();
        let text =
            format!("[{at}][E1003]Fail to parse request=example.EchoRequest, {form}, request_size={size}");
        // Header, number, and the beginning of the text.
        let answer = exchange(&mut raw(&server), request, 12 + 9 + text.len());
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.ends_with(&text), "{name}: {answer}");
    }
}
