//! Headers of all pages and all errors, and markup in all that comes from outside (the class of CVE-2023-45757).

use std::time::{Duration, Instant};

use bobbin_tests::{HttpAnswer, HttpPeer};

use super::{builder, paths};

/// Closes whatever it may stand in, and then runs something.
const EVIL: &str =
    "%22%27%3E%3Cscript%3Ealert(1)%3C/script%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%0d%0aX-Evil:%201";

fn assert_secured(asked: &str, answer: &HttpAnswer) {
    assert_ne!(answer.status, 0, "{asked}");
    assert_eq!(answer.field("x-content-type-options"), "nosniff", "{asked}");
    assert!(answer.field("content-security-policy").starts_with("default-src 'none';"), "{asked}");
    assert_eq!(answer.field("x-frame-options"), "DENY", "{asked}");
    assert_eq!(answer.field("referrer-policy"), "same-origin", "{asked}");
    assert_eq!(answer.field("x-evil"), "", "{asked}");
    if !answer.field("content-type").starts_with("text/plain") {
        assert!(!answer.text().contains("<script>alert"), "{asked}");
    }
}

#[test]
fn every_page_is_secured_whatever_it_is_asked() {
    let server = builder().start("127.0.0.1:0").unwrap();
    let mut peer = HttpPeer::connect(&server.local_addr().to_string());
    for path in paths(&mut peer) {
        // Profiles that last have a test of their own.
        let bare = path.split('?').next().unwrap().to_owned();
        if bare.starts_with("/pprof/profile") || bare.starts_with("/debug") {
            continue;
        }
        for verb in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
            let request = format!(
                "{verb} {bare} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {EVIL}<script>alert(1)\r\n\r\n"
            );
            assert_secured(&request, &peer.ask(&request));
        }
        for target in [
            format!("{bare}/{EVIL}"),
            format!("{bare}?{EVIL}={EVIL}"),
            format!("{bare}/{EVIL}?time={EVIL}&trace={EVIL}&setvalue={EVIL}&seconds={EVIL}&view={EVIL}"),
        ] {
            assert_secured(&target, &peer.browse(&target));
            assert_secured(&target, &peer.get(&target));
        }
    }
}

/// Texts of errors quote what was asked; to a browser they are no markup.
#[test]
fn errors_of_services_are_no_markup() {
    let server = builder().start("127.0.0.1:0").unwrap();
    let mut peer = HttpPeer::connect(&server.local_addr().to_string());
    for body in ["{\"message\":\"panic\"}", "{\"<script>alert(1)</script>\":1}", "<script>", ""] {
        let answer = peer.ask(&format!(
            "POST /EchoService/Echo HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert!(answer.status >= 400, "{body}");
        assert!(answer.field("content-type").starts_with("text/plain"), "{body}");
        assert_eq!(answer.field("x-content-type-options"), "nosniff", "{body}");
    }
    for path in ["/nothing/%3Cscript%3E", "/EchoService/%3Cscript%3E", "/EchoService/Echo/%3Cscript%3E"] {
        let answer = peer.browse(path);
        assert!(answer.status >= 400 && !answer.text().contains("<script>"), "{path}");
        assert_eq!(answer.field("x-content-type-options"), "nosniff", "{path}");
    }
}

/// Numbers, lists and patterns of unreasonable size: an answer, soon, and the next page after it.
#[test]
fn unreasonable_questions_are_answered() {
    let server = builder().start("127.0.0.1:0").unwrap();
    let mut peer = HttpPeer::connect(&server.local_addr().to_string());
    let long = "x".repeat(60_000);
    for target in [
        "/rpcz?max_scan=99999999999999999999".to_owned(),
        "/rpcz?max_scan=-1".to_owned(),
        "/rpcz?time=9999/99/99-99:99:99".to_owned(),
        "/rpcz?min_latency=99999999999999999999".to_owned(),
        format!("/rpcz?trace={}", "f".repeat(1000)),
        format!("/vars/{}b", "*a".repeat(510)),
        format!("/vars/{}", "*".repeat(1024)),
        format!("/vars/{}", "*a*b*c*d*e*f,".repeat(78)),
        format!("/flags/{}", "$*".repeat(512)),
        format!("/vars/{long}"),
        format!("/flags/{long}?setvalue={}", &long[..4000]),
        format!("/status?{long}"),
        "/hotspots/cpu?seconds=99999999999999999999".to_owned(),
        "/hotspots/cpu?seconds=-1".to_owned(),
        "/hotspots/contention?seconds=1e308".to_owned(),
        "/pprof/profile?seconds=0".to_owned(),
        "/pprof/profile?seconds=-1".to_owned(),
        "/bthreads/18446744073709551615".to_owned(),
        "/sockets/18446744073709551616".to_owned(),
        "/ids/0".to_owned(),
        format!("/protobufs/{}", "a.".repeat(20_000)),
        format!("/pprof/symbol?{}", "0x1+".repeat(15_000)),
    ] {
        let begun = Instant::now();
        let answer = peer.browse(&target);
        assert_ne!(answer.status, 0, "{target:.60}");
        assert!(answer.status < 500, "{target:.60} {}", answer.status);
        assert!(begun.elapsed() < Duration::from_secs(30), "{target:.60}: a second of work for a byte");
    }
    let addresses = "0x1+".repeat(1 << 20);
    let head =
        format!("POST /pprof/symbol HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", addresses.len());
    let answer = peer.ask(&(head + &addresses));
    assert!(answer.body.len() < 2 * addresses.len(), "{}", answer.body.len());
    assert_eq!(peer.get("/version").status, 200);
}
