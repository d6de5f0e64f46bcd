//! Who gets a page, and who may change something (`docs/security.md`; the class of CVE-2023-31039: somebody elsewhere
//! says what the process does).

use std::net::UdpSocket;

use bobbin::PageOptions;
use bobbin_tests::{HttpAnswer, HttpPeer};

use super::{builder, paths};

/// A flag that every server has and that may be changed.
const FLAG: &str = "/flags/rpcz_max_spans?setvalue=";

/// An address of this machine other than loopback: asked from there, a server sees somebody from elsewhere. A machine
/// without a network has none.
fn other_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?; // sends nothing
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then(|| address.to_string())
}

fn ask(address: &str, verb: &str, path: &str, fields: &str) -> HttpAnswer {
    HttpPeer::connect(address).ask(&format!("{verb} {path} HTTP/1.1\r\n{fields}\r\n"))
}

#[test]
fn from_elsewhere_there_are_no_pages_unless_they_are_opened() {
    let Some(address) = other_address() else { return eprintln!("no address but loopback") };
    let server = builder().start(format!("{address}:0")).unwrap();
    let at = server.local_addr().to_string();
    let mut local = HttpPeer::connect(&at);
    for path in ["/", "/status", "/vars", "/flags", "/rpcz", "/pprof/cmdline", "/metrics", "/js/x"] {
        for verb in ["GET", "HEAD", "POST", "PUT"] {
            for host in ["localhost", "127.0.0.1", "a", ""] {
                let request = format!("{verb} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                let answer = local.ask(&request);
                assert_eq!(answer.status, 403, "{request}");
                assert_eq!(answer.field("x-content-type-options"), "nosniff", "{request}");
            }
        }
    }
    assert_eq!(local.get("/health").text(), "OK", "load balancers ask from elsewhere");
    // What the services are is none of their business either.
    let answer = local.get("/EchoService/Nothing");
    assert_eq!((answer.status, answer.text().contains("rpc Echo")), (404, false), "{answer:?}");
}

#[test]
fn from_elsewhere_changes_need_the_token() {
    let Some(address) = other_address() else { return eprintln!("no address but loopback") };
    let pages = PageOptions::new().open_to_all();
    let without = builder().pages(pages.clone()).start(format!("{address}:0")).unwrap();
    let at = without.local_addr().to_string();
    assert_eq!(ask(&at, "GET", "/flags", "Host: a\r\n").status, 200);
    let set = format!("{FLAG}1234");
    assert_eq!(ask(&at, "GET", &set, "Host: localhost\r\n").status, 403);
    assert_eq!(ask(&at, "GET", &set, "Host: a\r\nAuthorization: Bearer \r\n").status, 403);
    assert_eq!(ask(&at, "GET", "/rpcz/disable", "Host: a\r\n").status, 403);

    let with = builder().pages(pages.token("secret")).start(format!("{address}:0")).unwrap();
    let at = with.local_addr().to_string();
    for (fields, status) in [
        ("", 403),
        ("Authorization: Bearer secre\r\n", 403),
        ("Authorization: Bearer secret2\r\n", 403),
        ("Authorization: Basic secret\r\n", 403),
        ("Authorization: Bearer secret\r\nOrigin: http://evil.example\r\n", 403),
        ("Authorization: Bearer secret\r\nSec-Fetch-Site: cross-site\r\n", 403),
        ("Authorization: Bearer secret\r\n", 200),
    ] {
        assert_eq!(ask(&at, "GET", &set, &format!("Host: a\r\n{fields}")).status, status, "{fields}");
    }
    assert_eq!(ask(&at, "GET", &format!("{set}&token=secret"), "Host: a\r\n").status, 403, "URLs are logged");
    assert_eq!(ask(&at, "PUT", &set, "Host: a\r\nAuthorization: Bearer secret\r\n").status, 405);
}

/// A page of another site that a browser on this machine shows.
#[test]
fn other_sites_change_nothing_and_read_nothing_under_their_names() {
    let server = builder().start("127.0.0.1:0").unwrap();
    let at = server.local_addr().to_string();
    let set = format!("{FLAG}4321");
    for (path, fields, status) in [
        (&*set, "Host: localhost\r\nOrigin: http://evil.example\r\n", 403),
        (&*set, "Host: localhost\r\nOrigin: null\r\n", 403),
        (&*set, "Host: localhost\r\nOrigin: http://localhost:1\r\n", 403),
        (&*set, "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403),
        (&*set, "Host: localhost\r\nSec-Fetch-Site: same-site\r\n", 403),
        (&*set, "Host: evil.example\r\n", 403),
        ("/vars", "Host: evil.example\r\n", 403),
        ("/vars", "Host: 127.0.0.1.evil.example:80\r\n", 403),
        ("/EchoService", "Host: evil.example\r\n", 404),
        ("/vars", "Host: 127.0.0.1\r\n", 200),
        ("/vars", "Host: box\r\n", 403),
        ("/health", "Host: evil.example\r\n", 200),
        (&*set, "Host: localhost\r\n", 200),
    ] {
        let answer = ask(&at, "GET", path, fields);
        assert_eq!(answer.status, status, "{path} {fields}");
        assert!(!answer.text().contains("rpc Echo"), "{path} {fields}");
    }
}

/// Nobody says through a page where files are written or removed, not even from this machine, where the users are many.
#[test]
fn no_flag_that_names_a_file_is_set_by_a_page() {
    let server = builder().pages(PageOptions::new().token("secret")).start("127.0.0.1:0").unwrap();
    let at = server.local_addr().to_string();
    for flag in ["bvar_dump_file", "mbvar_dump_file"] {
        let fields = "Host: localhost\r\nAuthorization: Bearer secret\r\n";
        assert_eq!(ask(&at, "GET", &format!("/flags/{flag}"), fields).status, 200);
        assert_eq!(ask(&at, "GET", &format!("/flags/{flag}?setvalue=/tmp/x"), fields).status, 403, "{flag}");
    }
}

#[test]
fn with_an_internal_port_the_pages_are_there_alone() {
    let server = builder().internal_port("127.0.0.1:0").start("127.0.0.1:0").unwrap();
    let mut outside = HttpPeer::connect(&server.local_addr().to_string());
    assert_eq!(outside.get("/status").status, 403);
    let internal = server.internal_addr().expect("it has one").to_string();
    let mut inside = HttpPeer::connect(&internal);
    assert_eq!(inside.get("/status").status, 200);
    for path in paths(&mut inside).into_iter().filter(|path| path != "/health") {
        assert_eq!(outside.get(&path).status, 403, "{path}");
    }
    let echo = "POST /EchoService/Echo HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n{\"message\":\"b\"}";
    assert_eq!(outside.ask(echo).status, 200);
    assert_eq!(inside.ask(echo).status, 200, "services are at both");
}
