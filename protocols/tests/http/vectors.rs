//! The requests that real clients sent to brpc: the answers have to say what brpc's say.

use std::io::Write;

use super::support::{Answer, Server, builder, connect, read_answer};

macro_rules! vector {
    ($name:literal) => {
        (
            $name,
            &include_bytes!(concat!("../../src/http/testdata/", $name, ".req.bin"))[..],
            &include_bytes!(concat!("../../src/http/testdata/", $name, ".resp.bin"))[..],
        )
    };
}

/// brpc's answer and ours.
fn answers(server: &Server, request: &[u8], response: &[u8]) -> (Answer, Answer) {
    let to_head = request.starts_with(b"HEAD");
    let port = server.local_addr().port().unwrap();
    let text = String::from_utf8_lossy(response).replace(":9301]", &format!(":{port}]"));
    // Only the texts of errors have the port. It has as many digits as ours.
    let mut response = if text.contains("[127.0.0.1:") { text.as_bytes() } else { response };
    let theirs = read_answer(&mut response, to_head);
    let mut stream = connect(server);
    stream.write_all(request).unwrap();
    let mut ours = read_answer(&mut stream, to_head);
    // Texts of errors are no markup to browsers here, whatever they quote.
    ours.fields.retain(|(name, _)| name != "x-content-type-options");
    (theirs, ours)
}

/// On a port of four digits, as that of the captures.
fn start() -> Server {
    let first = 2000 + std::process::id() % 4000;
    (first..10_000).find_map(|port| builder().start(format!("127.0.0.1:{port}")).ok()).expect("a free port")
}

#[test]
fn answers_are_those_of_brpc() {
    let server = start();
    let vectors = [
        vector!("chunked_progressive"),
        vector!("connection_close"),
        vector!("curl_get"),
        vector!("curl_post_chunked"),
        vector!("delete"),
        vector!("get"),
        vector!("get_keepalive_two"),
        vector!("get_query"),
        vector!("get_unknown_path"),
        vector!("head"),
        vector!("http10"),
        vector!("options"),
        vector!("patch"),
        vector!("pb_json"),
        vector!("pb_json_fail_1234"),
        vector!("pb_json_fail_nocode"),
        vector!("pb_json_gzip"),
        vector!("pb_json_gzip_small"),
        vector!("pb_json_log_id_77"),
        vector!("pb_json_request_id"),
        vector!("pb_json_status_201"),
        vector!("pb_proto"),
        vector!("pb_proto_json"),
        vector!("pb_proto_text"),
        vector!("pb_unknown_method"),
        vector!("pb_unknown_service"),
        vector!("post_text"),
        vector!("progressive_read"),
        vector!("put"),
        vector!("raw_pipelined"),
        vector!("restful"),
        vector!("short_connection"),
        vector!("trace"),
    ];
    for (name, request, response) in vectors {
        let (theirs, ours) = answers(&server, request, response);
        assert_eq!(theirs, ours, "{name}");
    }
}

#[test]
fn where_our_words_differ_the_numbers_are_those_of_brpc() {
    let server = start();
    for (name, request, response) in
        [vector!("bad_json"), vector!("missing_required"), vector!("empty_body_required")]
    {
        let (theirs, ours) = answers(&server, request, response);
        assert_eq!(theirs.status_line, ours.status_line, "{name}");
        for field in ["content-type", "x-bd-error-code"] {
            assert_eq!(theirs.field(field), ours.field(field), "{name}");
        }
        let beginning = |answer: &Answer| answer.text().split(' ').next().map(str::to_owned);
        assert_eq!(beginning(&theirs), beginning(&ours), "{name}: {}", ours.text());
    }
}

#[test]
fn what_is_compressed_is_the_same() {
    let server = start();
    for (name, request, response) in [vector!("curl_gzip_response"), vector!("pb_json_gzip_both")] {
        let (theirs, ours) = answers(&server, request, response);
        assert_eq!(ours.field("content-encoding"), Some("gzip"), "{name}");
        assert_eq!(theirs.status_line, ours.status_line);
        assert_eq!(gunzip(&theirs.body), gunzip(&ours.body), "{name}");
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut out).unwrap();
    out
}

#[test]
fn where_brpc_is_odd_we_follow_the_standard() {
    let server = start();
    let (_, request, response) = vector!("status_304");
    let (theirs, ours) = answers(&server, request, response);
    assert_eq!(theirs.status_line, ours.status_line);
    assert_eq!(ours.field("content-length"), None, "it would be that of the 200");
    let (_, request, response) = vector!("chunked_progressive_http10");
    let (theirs, ours) = answers(&server, request, response);
    assert_eq!((&theirs.status_line, &theirs.body), (&ours.status_line, &ours.body));
    assert_eq!(ours.field("connection"), Some("close"), "the end of the body is that of the connection");
    let (_, request, _) = vector!("raw_bad_request");
    let mut stream = connect(&server);
    stream.write_all(request).unwrap();
    assert_eq!(read_answer(&mut stream, false).status(), 400);
    assert!(super::support::is_closed(&mut stream));
}
