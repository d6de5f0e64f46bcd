//! The same for HTTP: bytes near those of real requests, messages that servers have disagreed about, and peers that
//! send slowly, much, or do not read.

use std::io::Write;

use bobbin_tests::{HttpPeer, RawPeer};

use super::{attack, noise};

/// What real clients have sent (`protocols/src/http/testdata`).
const CAPTURED: &[&[u8]] = &[
    include_bytes!("../../protocols/src/http/testdata/chunked_progressive.req.bin"),
    include_bytes!("../../protocols/src/http/testdata/curl_expect_100.req.bin"),
    include_bytes!("../../protocols/src/http/testdata/curl_gzip_response.req.bin"),
    include_bytes!("../../protocols/src/http/testdata/curl_post_chunked.req.bin"),
    include_bytes!("../../protocols/src/http/testdata/get_keepalive_two.req.bin"),
    include_bytes!("../../protocols/src/http/testdata/get_query.req.bin"),
    include_bytes!("../../protocols/src/http/testdata/http10.req.bin"),
    include_bytes!("../../protocols/src/http/testdata/pb_json.req.bin"),
    include_bytes!("../../protocols/src/http/testdata/pb_json_gzip_both.req.bin"),
    include_bytes!("../../protocols/src/http/testdata/pb_proto.req.bin"),
    include_bytes!("../../protocols/src/http/testdata/pb_proto_text.req.bin"),
    include_bytes!("../../protocols/src/http/testdata/raw_pipelined.req.bin"),
];

const ECHO: &str = "POST /EchoService/Echo HTTP/1.1\r\nHost: a\r\n";
const PAGE: &str = "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends, says that nothing more will come, and gives what comes back until the server closes.
fn answers(address: &str, bytes: &[u8]) -> String {
    let mut peer = RawPeer::connect(address);
    // The server may close before all is sent.
    let _ = peer.send(bytes);
    peer.finish();
    String::from_utf8_lossy(&peer.receive_rest()).into_owned()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)).collect()
}

#[test]
fn random_bytes_behind_a_method_close_the_connection() {
    attack(|address| {
        for seed in 1..200 {
            let mut bytes = b"GET /".to_vec();
            bytes.extend(noise(seed).take(seed as usize * 7));
            bytes.extend(b"\r\n\r\n");
            let answers = answers(address, &bytes);
            assert!(!answers.contains("HTTP/1.1 200"), "{seed}");
        }
    });
}

#[test]
fn every_truncation_of_a_captured_request_ends_with_the_stream() {
    attack(|address| {
        for request in CAPTURED {
            for length in 0..request.len() {
                let _ = answers(address, &request[..length]);
            }
        }
    });
}

#[test]
fn every_flipped_byte_of_a_captured_request_is_survived() {
    attack(|address| {
        for request in CAPTURED {
            for at in 0..request.len() {
                let mut bytes = request.to_vec();
                bytes[at] ^= [0x01, 0x20, 0x80, 0xff][at % 4];
                let _ = answers(address, &bytes);
            }
        }
    });
}

/// Each is refused and nothing behind it is read: the request that another server could have seen in it does not run
/// (the class of CVE-2024-23452).
#[test]
fn a_request_that_servers_disagree_about_is_the_last() {
    attack(|address| {
        for fields in [
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: identity\r\nContent-Length: 0",
            "Transfer-Encoding: \u{b}chunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding:\r\n chunked",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked",
            "Transfer-Encoding: chunked;q=1",
            "Transfer-Encoding: chunked\0",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "CONTENT-LENGTH: 5\r\nTransfer-encoding: chunked",
            "X: y\nTransfer-Encoding: chunked",
            "X: y\rTransfer-Encoding: chunked",
            "Content-Length: +5",
            "Content-Length: -5",
            "Content-Length: 5, 5",
            "Content-Length: 5 5",
            "Content-Length: 5\r\nCONTENT-length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 0x5",
            "Content-Length: 5.",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length: 18446744073709551615",
            "Content-Length: 10000000000",
            "Host: b",
            "Expect: 200-ok",
            " folded: x",
            "no colon",
        ] {
            let answers = answers(address, format!("{ECHO}{fields}\r\n\r\n0\r\n\r\n{PAGE}").as_bytes());
            let statuses = statuses(&answers);
            assert!(
                matches!(statuses[..], ["400" | "413" | "417" | "501"]),
                "{fields:?}: {statuses:?} {answers}"
            );
        }
        for body in [
            "5;a\nhello\r\n0\r\n\r\n",
            "5\nhello\n0\n\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "\r\nhello\r\n0\r\n\r\n",
            ";a\r\n\r\n0\r\n\r\n",
            "0\r\nno trailer\r\n\r\n",
            "0\r\na: b\n\r\n",
        ] {
            let head = format!("{ECHO}Transfer-Encoding: chunked\r\n\r\n");
            let answers = answers(address, format!("{head}{body}{PAGE}").as_bytes());
            let statuses = statuses(&answers);
            assert!(matches!(statuses[..], ["400" | "413"]), "{body:?}: {statuses:?} {answers}");
        }
    });
}

#[test]
fn odd_targets_lead_nowhere() {
    attack(|address| {
        let mut peer = HttpPeer::connect(address);
        for (target, status) in [
            ("/%00", 404),
            ("/../../etc/passwd", 404),
            ("/%2e%2e/%2e%2e/etc/passwd", 404),
            ("/dir//etc/passwd", 403),
            ("/js/..%2f..%2fetc%2fpasswd", 404),
            ("/js/../../etc/passwd", 404),
            ("/%ff%fe?%ff=%fe&%=%%%zz", 404),
            ("/vars/%ff%fe?%ff=%fe&%=%%%zz", 404),
            ("/flags/%00?setvalue=%00", 404),
            ("/EchoService/Nothing/%00/../x", 404),
            ("http://localhost/version", 200),
            ("http://evil.example/version", 403),
        ] {
            assert_eq!(peer.get(target).status, status, "{target}");
        }
    });
}

#[test]
fn what_has_no_end_is_refused_where_it_is_too_long() {
    attack(|address| {
        let many: String = (0..100_000).map(|number| format!("X{number}: y\r\n")).collect();
        for (request, status) in [
            (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "431"),
            (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(10 << 20)), "431"),
            (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(10 << 20)), "414"),
            (format!("{ECHO}Transfer-Encoding: chunked\r\n\r\n5;{}", "y".repeat(10 << 20)), "400"),
            (format!("{ECHO}Transfer-Encoding: chunked\r\n\r\n0\r\n{many}\r\n"), "400"),
            (format!("{ECHO}Transfer-Encoding: chunked\r\n\r\n{}", "1;a\r\nx\r\n".repeat(100_000)), "400"),
        ] {
            let answers = answers(address, request.as_bytes());
            // Where the server closes with bytes unread, the system may throw the answer away.
            let statuses = statuses(&answers);
            assert!(statuses.is_empty() || statuses == [status], "{statuses:?} {:.60}", request);
        }
    });
}

#[test]
fn connections_that_say_nothing_or_little_cost_little() {
    attack(|address| {
        let peers: Vec<RawPeer> = (0..1000)
            .map(|number| {
                let mut peer = RawPeer::connect(address);
                let begun: &[u8] = match number % 4 {
                    0 => b"",
                    1 => b"GET /ver",
                    2 => b"POST /EchoService/Echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n{",
                    _ => b"POST /EchoService/Echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3000000\r\n{",
                };
                assert!(peer.send(begun));
                peer
            })
            .collect();
        assert_eq!(HttpPeer::connect(address).get("/version").status, 200);
        drop(peers);
    });
}

#[test]
fn a_peer_that_pipelines_and_reads_nothing_is_bounded() {
    attack(|address| {
        for request in [PAGE, "GET /vars HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
            let peers: Vec<RawPeer> = (0..4).map(|_| RawPeer::connect(address)).collect();
            std::thread::scope(|scope| {
                for peer in &peers {
                    let mut sender = peer.clone_handle();
                    scope.spawn(move || {
                        // Until nothing more is taken, which no answer tells: a bystander works meanwhile.
                        sender.do_not_wait();
                        let _ = sender.send(request.repeat(100_000).as_bytes());
                    });
                }
            });
            let mut bystander = HttpPeer::connect(address);
            for _ in 0..500 {
                assert_eq!(bystander.get("/version").status, 200);
            }
        }
    });
}

#[test]
fn bombs_are_refused() {
    attack(|address| {
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(b"{\"message\":\"").unwrap();
        for _ in 0..70 {
            bomb.write_all(&[b'a'; 1 << 20]).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() < 100 << 10);
        let head = format!("{ECHO}Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
        let bytes = [head.as_bytes(), &bomb].concat();
        assert_eq!(statuses(&answers(address, &bytes)), ["400"]);
    });
}

#[test]
fn deep_bodies_are_refused_or_read_in_little_room() {
    attack(|address| {
        let nested = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
        for depth in [100, 10_000, 100_000] {
            for body in [
                nested("[", "]", depth),
                nested("{\"message\":", "}", depth),
                nested("message {", "}", depth),
                format!("{{\"message\":\"a\",\"x\":{}}}", nested("[", "]", depth)),
            ] {
                for content in ["json", "proto-json", "proto-text", "proto"] {
                    let head = format!("{ECHO}Content-Type: application/{content}\r\n");
                    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                    let answers = answers(address, request.as_bytes());
                    assert!(matches!(statuses(&answers)[..], ["400" | "200"]), "{depth} {content}");
                }
            }
        }
    });
}

#[test]
fn bodies_that_pages_do_not_ask_for_do_no_harm() {
    attack(|address| {
        for target in ["/vars", "/flags", "/pprof/symbol", "/rpcz", "/nothing"] {
            for content in ["application/x-www-form-urlencoded", "application/json", "a"] {
                let body = "+0x1&a=%zz".repeat(1 << 20);
                let head =
                    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content}\r\n");
                let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                let answers = answers(address, request.as_bytes());
                assert_eq!(statuses(&answers).len(), 1, "{target} {answers}");
            }
        }
    });
}
