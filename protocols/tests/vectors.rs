//! The requests that real clients sent, to a server here: its answers have to be those of the real server, byte for
//! byte, with this server's port in the texts.

mod support;

use protocols::Bundled;
use rpc::ServerBuilder;
use rpc::error::RpcError;
use rpc::message::CompressType;
use support::{Echo, Server, exchange, is_closed, raw, sorted_frames};

/// What the captures have for the port in their error texts, which is all that those here may differ in.
const CAPTURED_PORTS: [&[u8]; 2] = [b":9301]", b":9310]"];

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
    start_with(|builder| builder)
}

fn start_with(decide: impl Fn(ServerBuilder<Bundled>) -> ServerBuilder<Bundled>) -> Server {
    let first = 2000 + std::process::id() % 4000;
    (first..10_000)
        .find_map(|port| {
            let started: Result<_, RpcError> =
                decide(Server::builder().add(Echo)).start(format!("127.0.0.1:{port}"));
            started.ok()
        })
        .expect("a free port")
}

fn with_port(bytes: &[u8], port: u16) -> Vec<u8> {
    let port = format!(":{port}]").into_bytes();
    assert_eq!(port.len(), CAPTURED_PORTS[0].len());
    let mut bytes = bytes.to_vec();
    while let Some(at) = bytes.windows(port.len()).position(|window| CAPTURED_PORTS.contains(&window)) {
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
        vector!("compress_snappy"),
        vector!("compress_snappy_attachment"),
        vector!("checksum_crc32c"),
        vector!("checksum_crc32c_attachment"),
        vector!("checksum_crc32c_with_attachment"),
        vector!("checksum_crc32c_snappy"),
        vector!("content_json"),
        vector!("content_proto_json"),
        vector!("content_proto_text"),
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
fn a_call_too_many_is_refused_as_brpc_does() {
    let server = start_with(|builder| builder.max_concurrency(1));
    let (name, request, response) = vector!("limit");
    let expected = with_port(response, server.local_addr().port().unwrap());
    // The first runs for a while, so that the second comes while it runs.
    assert_eq!(exchange(&mut raw(&server), request, expected.len()), expected, "{name}");
}

#[test]
fn a_server_without_pages_does_not_say_where_it_is() {
    let server = start_with(|builder| builder.pages(rpc::PageOptions::new().off()));
    let (_, request, response) = vector!("no_builtin");
    let answer = exchange(&mut raw(&server), request, response.len());
    // The 32 digits stand for address and port, which differ.
    let at = response.windows(5).position(|window| window == b"[55FC").unwrap() + 1;
    let digits = &answer[at..at + 32];
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    assert!(digits.iter().all(is_digit), "{}", answer.escape_ascii());
    assert_eq!((&answer[..at], &answer[at + 32..]), (&response[..at], &response[at + 32..]));
}

/// Cuts a frame into its description and its contents.
fn halves(frame: &[u8]) -> (&[u8], &[u8]) {
    let meta_size = u32::from_be_bytes(frame[8..12].try_into().unwrap()) as usize;
    frame[12..].split_at(meta_size)
}

/// Two compressors need not find the same way to say the same.
#[test]
fn compressed_answers_say_the_same_as_those_of_brpc() {
    let server = start();
    for (kind, (name, request, response)) in [
        (CompressType::GZIP, vector!("compress_gzip")),
        (CompressType::ZLIB, vector!("compress_zlib")),
        (CompressType::GZIP, vector!("content_json_gzip")),
    ] {
        let mut stream = raw(&server);
        let mut answer = exchange(&mut stream, request, 12);
        let size = u32::from_be_bytes(answer[4..8].try_into().unwrap()) as usize;
        answer.extend(exchange(&mut stream, b"", size));
        let ((ours, our_body), (theirs, their_body)) = (halves(&answer), halves(response));
        assert_eq!(ours, theirs, "{name}");
        let plain = |body: &[u8]| rpc::compress::decompress(kind, &body.into(), 1000).unwrap();
        assert_eq!(plain(our_body), plain(their_body), "{name}");
    }
}
