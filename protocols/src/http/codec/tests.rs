//! Captured bytes of brpc, bytes that are to be refused, and the promise that pieces of any size give the same.

use proptest::prelude::*;

use super::replay::{End, Replayed, Taken, requests, responses};
use crate::fuzzing;

/// No test has a larger body.
const MAX_BODY_SIZE: usize = 1 << 16;

macro_rules! vectors {
    ($($name:ident),* $(,)?) => {
        /// Name, request bytes, response bytes, and how they were written and read.
        const VECTORS: &[(&str, &[u8], &[u8], &str)] = &[$((
            stringify!($name),
            include_bytes!(concat!("../testdata/", stringify!($name), ".req.bin")),
            include_bytes!(concat!("../testdata/", stringify!($name), ".resp.bin")),
            include_str!(concat!("../testdata/", stringify!($name), ".chunks.txt")),
        )),*];
    };
}

vectors! {
    auth_fail, auth_ok, bad_json, chunked_progressive, chunked_progressive_http10, connection_close, curl_expect_100,
    curl_get, curl_gzip_response, curl_post_chunked, delete, empty_body_required, get, get_keepalive_two, get_query,
    get_unknown_path, head, http10, missing_required, no_builtin_fail, options, patch, pb_json, pb_json_fail_1234,
    pb_json_fail_nocode, pb_json_gzip, pb_json_gzip_both, pb_json_gzip_small, pb_json_log_id_77, pb_json_request_id,
    pb_json_status_201, pb_proto, pb_proto_json, pb_proto_text, pb_unknown_method, pb_unknown_service, post_text,
    progressive_read, put, raw_bad_request, raw_pipelined, restful, short_connection, status_304, trace,
}

fn whole_requests(bytes: &[u8]) -> Replayed {
    requests(MAX_BODY_SIZE, vec![bytes], Taken::Whole)
}

/// The bytes of one direction in the pieces that they came in: lines of an arrow, where a piece begins, its length.
fn pieces<'a>(bytes: &'a [u8], chunks: &str, arrow: &str) -> Vec<&'a [u8]> {
    let lines = chunks.lines().filter_map(|line| line.strip_prefix(arrow)?.trim().split_once(' '));
    let pieces: Vec<_> = lines
        .map(|(begin, size)| &bytes[begin.parse::<usize>().unwrap()..][..size.parse::<usize>().unwrap()])
        .collect();
    assert_eq!(pieces.concat(), bytes);
    pieces
}

/// The status that a request was refused with, after so many that were not.
fn refused(bytes: &[u8]) -> (usize, u16) {
    let replayed = whole_requests(bytes);
    let status = match replayed.end {
        Some(End::Refused) => str::from_utf8(&replayed.output[9..12]).unwrap().parse().unwrap(),
        Some(End::NotMine) => 1,
        None => 0,
    };
    (replayed.messages.len(), status)
}

#[test]
fn requests_of_real_clients_are_read() {
    for (name, request, _, chunks) in VECTORS.iter().filter(|(name, ..)| *name != "raw_bad_request") {
        let replayed = whole_requests(request);
        assert_eq!(replayed.end, None, "{name}");
        assert_eq!(replayed.output, b"", "{name}");
        let expected = if matches!(*name, "get_keepalive_two" | "raw_pipelined") { 2 } else { 1 };
        assert_eq!(replayed.messages.len(), expected, "{name}");
        let sent = requests(MAX_BODY_SIZE, pieces(request, chunks, ">"), Taken::Whole);
        assert_eq!(sent.messages, replayed.messages);
        assert_eq!(sent.go_aheads, usize::from(*name == "curl_expect_100"), "{name}");
        for step in [1, 7, 50] {
            assert_eq!(
                requests(MAX_BODY_SIZE, request.chunks(step).collect(), Taken::Whole).messages,
                replayed.messages
            );
        }
    }
    let chunked = whole_requests(vector("curl_post_chunked").0);
    assert_eq!(chunked.messages[0].1, b"line1\nline2\n");
    let query = whole_requests(vector("get_query").0);
    assert!(
        query.messages[0]
            .0
            .starts_with("GET /HttpService/Query/a/b ?x=1&y=two&z @127.0.0.1:9400 HTTP/1.1 true")
    );
    assert_eq!(refused(vector("raw_bad_request").0), (0, 400));
}

#[test]
fn responses_of_brpc_are_read() {
    let with_bodies = |(name, ..): &&(&str, &[u8], &[u8], &str)| !matches!(*name, "head" | "raw_bad_request");
    for (name, _, response, chunks) in VECTORS.iter().filter(with_bodies) {
        let replayed = responses(MAX_BODY_SIZE, vec![*response], Taken::Whole);
        assert_eq!(replayed.end, None, "{name}");
        let expected = if *name == "get_keepalive_two" { 2 } else { 1 };
        assert_eq!(replayed.messages.len(), expected, "{name}");
        let sent = responses(MAX_BODY_SIZE, pieces(response, chunks, "<"), Taken::AsTheyArrive);
        assert_eq!(sent.messages, replayed.messages, "{name}");
        for step in [1, 7, 50] {
            for taken in [Taken::Whole, Taken::AsTheyArrive] {
                let pieces = responses(MAX_BODY_SIZE, response.chunks(step).collect(), taken);
                assert_eq!(pieces.messages, replayed.messages, "{name}");
            }
        }
    }
    let body = |name| responses(MAX_BODY_SIZE, vec![vector(name).1], Taken::Whole).messages.remove(0).1;
    assert_eq!(body("chunked_progressive"), b"part-0\npart-1\npart-2\n");
    assert_eq!(body("chunked_progressive_http10"), b"part-0\npart-1\npart-2\n");
    assert_eq!(body("curl_expect_100"), br#"{"message":"hi"}"#);
}

fn vector(name: &str) -> (&'static [u8], &'static [u8]) {
    let (_, request, response, _) = VECTORS.iter().find(|(known, ..)| *known == name).unwrap();
    (request, response)
}

/// What is not plain, by status. Each is sent with `\r\n` for each line's end, and a request behind it that must not
/// be seen.
const REFUSED: &[(u16, &str)] = &[
    // Two ways to say where the body ends.
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nContent-Length: 5\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\ntransfer-encoding: CHUNKED\ncontent-length: 0\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nContent-Length: 6\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nContent-Length: 5\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length: 5, 5\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length: 5,6\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length:\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length: +5\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length: -5\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length: 0x5\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length: 5 5\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length: 5;\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length: 18446744073709551616\n\nabcde"),
    // Transfer codings that are no plain `chunked`.
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: xchunked\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked, identity\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: identity\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked, chunked\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding:\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: \"chunked\"\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked;q=1\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: \u{b}chunked\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\0\n\n0\n\n"),
    (501, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip, chunked\n\n0\n\n"),
    (400, "POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n0\n\n"),
    // Names that other readers may take for those fields.
    (400, "POST / HTTP/1.1\nHost: a\nContent-Length : 5\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding : chunked\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding\t: chunked\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\n Transfer-Encoding: chunked\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer Encoding: chunked\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nX: y\n Content-Length: 5\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nX: y\n\tz\n\n"),
    (400, "POST / HTTP/1.1\n Host: a\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\n: b\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nb\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\n\u{0}b: c\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nb\u{e9}: c\n\n"),
    // Ends of lines that only some see.
    (400, "POST / HTTP/1.1\nHost: a\nX: y\rContent-Length: 5\n\nabcde"),
    (400, "POST / HTTP/1.1\nHost: a\nX: y\r\r\n\n"),
    (400, "GET / HTTP/1.1\rHost: a\n\n"),
    (400, "GET / HTTP/1.1\nHost: a\nX: \u{1}\n\n"),
    // Hosts.
    (400, "GET / HTTP/1.1\n\n"),
    (400, "GET / HTTP/1.1\nHost: a\nHost: a\n\n"),
    (400, "GET / HTTP/1.1\nHost: a, b\n\n"),
    (400, "GET / HTTP/1.1\nHost: a b\n\n"),
    (400, "GET / HTTP/1.1\nHost: a/b\n\n"),
    (400, "GET / HTTP/1.1\nHost: u@a\n\n"),
    (400, "GET http://a/ HTTP/1.1\nHost: a\nHost: b\n\n"),
    // Start lines.
    (400, "GET /\n\n"),
    (400, "GET / HTTP/1.1 \nHost: a\n\n"),
    (400, "GET /  HTTP/1.1\nHost: a\n\n"),
    (400, "GET / a HTTP/1.1\nHost: a\n\n"),
    (400, "GET /\t HTTP/1.1\nHost: a\n\n"),
    (400, "GET / http/1.1\nHost: a\n\n"),
    (400, "GET / HTTP/1.\nHost: a\n\n"),
    (400, "GET / HTTP/1.1x\nHost: a\n\n"),
    (400, "GET / HTTP/ 1.1\nHost: a\n\n"),
    (400, "GET /\u{e9} HTTP/1.1\nHost: a\n\n"),
    (400, "GET /\0 HTTP/1.1\nHost: a\n\n"),
    (400, "GET /#a HTTP/1.1\nHost: a\n\n"),
    (400, "GET * HTTP/1.1\nHost: a\n\n"),
    (400, "GET http:///a HTTP/1.1\nHost: a\n\n"),
    (400, "GET http://u@a/ HTTP/1.1\nHost: a\n\n"),
    (400, "GET a HTTP/1.1\nHost: a\n\n"),
    (505, "GET / HTTP/2.0\nHost: a\n\n"),
    (505, "GET / HTTP/0.9\nHost: a\n\n"),
    (501, "CONNECT a:80 HTTP/1.1\nHost: a:80\n\n"),
    (417, "POST / HTTP/1.1\nHost: a\nExpect: 200-ok\nContent-Length: 1\n\na"),
    (413, "POST / HTTP/1.1\nHost: a\nContent-Length: 65537\n\na"),
    (413, "POST / HTTP/1.1\nHost: a\nContent-Length: 18446744073709551615\n\na"),
    (413, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n10001\na"),
    (413, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\nffffffffffffffff\na"),
    // Chunks.
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n10000000000000000\na"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n-1\na"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n0x1\na\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n1 \na\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n1\nab\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n1;\r\na\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n\n0\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n0\nX : y\n\n"),
    (400, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n0\nGET / HTTP/1.1\nHost: a\n\n"),
];

#[test]
fn what_is_not_plain_is_refused() {
    for (status, text) in REFUSED {
        // A `\r` before a line's end is one that stands alone.
        let text = text.replace('\n', "\r\n");
        let bytes = text + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(refused(bytes.as_bytes()), (0, *status), "{bytes:?}");
        // The same behind a request that is in order.
        let behind = String::from("GET / HTTP/1.1\r\nHost: a\r\n\r\n") + &bytes;
        assert_eq!(refused(behind.as_bytes()), (1, *status), "{bytes:?}");
        let pieces = requests(MAX_BODY_SIZE, behind.as_bytes().chunks(3).collect(), Taken::Whole);
        assert_eq!((pieces.messages.len(), pieces.end), (1, Some(End::Refused)), "{bytes:?}");
    }
}

/// Lone line feeds, which the table cannot have.
#[test]
fn lone_line_feeds_are_refused() {
    for bytes in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "POST / HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n",
    ] {
        assert_eq!(refused(bytes.as_bytes()), (0, 400), "{bytes:?}");
    }
}

#[test]
fn other_protocols_are_told_apart_by_their_first_bytes() {
    for bytes in [
        "PRPC",
        "STRM",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PRI",
        "*1\r\n$4\r\nPING\r\n",
        "get key\r\n",
        "GET key",
        "\0",
        "\x16\x03\x01",
        "SET a b",
        "FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\n",
        " GET /",
        "GET  /",
        "GET  /aaaaaa HTTP/1.1\r\n",
        "GET \0",
        "G\r",
    ] {
        let replayed = whole_requests(bytes.as_bytes());
        if bytes == "GET key" {
            // A name may begin the absolute form; that it does not is only seen later.
            assert_eq!(replayed.end, None);
            continue;
        }
        assert_eq!(replayed.end, Some(End::NotMine), "{bytes:?}");
        assert_eq!(replayed.output, b"");
    }
    // Once the connection speaks HTTP, it is a request.
    assert_eq!(refused(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nFOO / HTTP/1.1\r\nHost: a\r\n\r\n"), (1, 501));
    assert_eq!(refused(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPRPC\0\0"), (1, 0));
}

#[test]
fn what_looks_odd_but_is_plain_is_read() {
    for bytes in [
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nhOST:\t a:80 \t\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://b:81/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a|b{c}\\^[*];$,'() HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , Chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n000;a=\"b\";c\r\nT: r\r\n\r\n",
        "M-SEARCH / HTTP/1.1\r\nHost: a\r\nX-\u{7e}: \u{e9}\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert_eq!(refused(bytes.as_bytes()), (1, 0), "{bytes:?}");
    }
}

#[test]
fn heads_are_bounded() {
    let long = |what: &str, size| what.replace('~', &"a".repeat(size));
    assert_eq!(refused(long("GET /~ HTTP/1.1\r\nHost: a\r\n\r\n", 65_533).as_bytes()), (1, 0));
    assert_eq!(refused(long("GET /~ HTTP/1.1\r\nHost: a\r\n\r\n", 65_534).as_bytes()), (0, 414));
    assert_eq!(refused(long("GET /~", 66_000).as_bytes()), (0, 414), "the end is not waited for");
    assert_eq!(
        refused(long("GET / HTTP/1.1\r\nHost: a\r\nB: ~\r\n\r\n", 81_900 - 27 - 5).as_bytes()),
        (1, 0)
    );
    assert_eq!(refused(long("GET / HTTP/1.1\r\nHost: a\r\nB: ~\r\n\r\n", 82_000).as_bytes()), (0, 431));
    assert_eq!(refused(long("GET / HTTP/1.1\r\nHost: a\r\nB: ~", 82_000).as_bytes()), (0, 431));
    let many = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "B: c\r\n".repeat(count));
    assert_eq!(refused(many(99).as_bytes()), (1, 0));
    assert_eq!(refused(many(100).as_bytes()), (0, 431));
}

#[test]
fn a_go_ahead_is_given_once_and_only_where_it_is_waited_for() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    for taken in [Taken::Whole, Taken::AsTheyArrive] {
        let waited = requests(10, vec![head.as_bytes(), b"a", b"b", b"cd"], taken);
        assert_eq!((waited.messages.len(), waited.go_aheads), (1, 1));
        let impatient = requests(10, vec![format!("{head}ab").as_bytes(), b"cd"], taken);
        assert_eq!((impatient.messages.len(), impatient.go_aheads), (1, 0));
    }
    let old = requests(10, vec![head.replace("1.1", "1.0").as_bytes(), b"abcd"], Taken::Whole);
    assert_eq!((old.messages.len(), old.go_aheads), (1, 0));
    let large = requests(3, vec![head.as_bytes(), b"abcd"], Taken::Whole);
    assert_eq!((large.messages.len(), large.go_aheads, large.end), (0, 0, Some(End::Refused)));
    assert!(large.output.starts_with(b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nDate: "));
    assert!(large.output.ends_with(b"\r\nConnection: close\r\n\r\n"));
    let streamed = requests(3, vec![head.as_bytes(), b"abcd"], Taken::AsTheyArrive);
    assert_eq!((streamed.messages.len(), streamed.go_aheads), (1, 1), "whoever streams has no limit");
}

fn response(bytes: &str) -> Result<(String, String), ()> {
    let mut replayed = responses(MAX_BODY_SIZE, vec![bytes.as_bytes()], Taken::Whole);
    match replayed.end {
        None => {
            let (head, body) = replayed.messages.remove(0);
            Ok((head, String::from_utf8(body).unwrap()))
        }
        Some(_) => Err(()),
    }
}

#[test]
fn responses_end_where_they_should() {
    let body = |bytes: &str| response(bytes).map(|(_, body)| body);
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"), Ok("ab".into()));
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab"), Ok("ab".into()));
    assert_eq!(body("HTTP/1.1 200\r\n\r\nab"), Ok("ab".into()));
    assert_eq!(body("HTTP/1.0 200 OK\r\n\r\nab"), Ok("ab".into()));
    assert_eq!(body("HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n"), Ok(String::new()));
    assert_eq!(body("HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n"), Ok(String::new()));
    assert_eq!(
        body("HTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n\r\nc"),
        Ok("c".into())
    );
    assert_eq!(
        response("HTTP/1.1 200 OK\r\nA: b\r\n  c\r\nContent-Length: 0\r\n\r\n").unwrap().0,
        "200 OK HTTP/1.1 true|A:b    c|Content-Length:0"
    );
    for bad in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1 20 Short\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "ICY 200 OK\r\n\r\n",
    ] {
        assert_eq!(body(bad), Err(()), "{bad:?}");
    }
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(17) + "HTTP/1.1 204 No\r\n\r\n";
    assert_eq!(body(&interim), Err(()));
    let mut codec = super::ResponseCodec::new(10, super::Lenience::default());
    rpc::protocol::Codec::expect(&mut codec, super::response::HINT_HEAD);
    let pair: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    let replayed = super::replay::replay(&mut codec, vec![pair], Taken::Whole);
    assert_eq!(replayed.messages.iter().map(|(_, body)| body.len()).collect::<Vec<_>>(), [0, 1]);
}

/// Bytes around the borders of what is accepted.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Just("POST /a?b HTTP/1.1\r\nHost: a\r\n"),
        Just("\r\n"),
        Just("Content-Length: 3\r\n"),
        Just("Transfer-Encoding: chunked\r\n"),
        Just("Connection: close\r\n"),
        Just("Expect: 100-continue\r\n"),
        Just("abc"),
        Just("3\r\nabc\r\n"),
        Just("0\r\n\r\n"),
        Just("HTTP/1.1 200 OK\r\n"),
        Just("HTTP/1.1 100 Continue\r\n\r\n"),
        Just(" "),
        Just("\n"),
        Just("\r"),
        Just("0"),
        Just("GET "),
        Just("1;x=y\r\nz\r\n"),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_same(bytes in nearly_http(), steps in prop::collection::vec(1usize..20, 1..20)) {
        let mut pieces = Vec::new();
        let (mut rest, mut steps) = (&bytes[..], steps.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(*steps.next().unwrap()));
            pieces.push(piece);
            rest = behind;
        }
        for taken in [Taken::Whole, Taken::AsTheyArrive] {
            for read in [requests, responses] {
                let (whole, cut) = (read(100, vec![&bytes[..]], taken), read(100, pieces.clone(), taken));
                prop_assert_eq!(&whole.messages, &cut.messages);
                prop_assert_eq!(whole.end, cut.end);
            }
        }
    }

    #[test]
    fn every_target_that_is_read_is_a_uri(target in "[/a-z][ -~]{0,40}") {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        // The replay compares path and query with those of the `http` crate.
        whole_requests(bytes.as_bytes());
        whole_requests(format!("GET http://a{target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    }

    #[test]
    fn no_bytes_break_a_promise(bytes in prop::collection::vec(any::<u8>(), 0..200), near in nearly_http()) {
        for bytes in [&bytes, &near] {
            fuzzing::http_request(bytes);
            fuzzing::http_response(bytes);
            fuzzing::http_query(bytes);
        }
    }

    #[test]
    fn no_wrong_byte_in_a_vector_breaks_a_promise(at in any::<prop::sample::Index>(), byte in any::<u8>(), step: u8) {
        for (_, request, response, _) in VECTORS {
            for (bytes, read) in [(request, fuzzing::http_request as fn(&[u8])), (response, fuzzing::http_response)] {
                let mut data = [&[step], *bytes].concat();
                let at = at.index(data.len());
                data[at] = byte;
                read(&data);
            }
        }
    }
}
