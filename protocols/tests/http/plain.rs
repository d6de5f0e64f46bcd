//! Services in plain HTTP.

use http::{Request, Response, StatusCode};
use iobuf::IoBuf;
use protocols::http::{HttpCall, HttpService};
use rpc::RpcError;
use rpc::error::ELIMIT;

use super::support::{Server, ask, ask_once, connect, post};

fn start() -> Server {
    let service = HttpService::new("Web")
        .get("/hello/*", |request: Request<IoBuf>| format!("hello {}\n", request.uri().path()))
        .post("/hello/*", |request: Request<IoBuf>| Response::new(request.into_body()))
        .route("/all", |request: Request<IoBuf>| request.method().to_string())
        .get("/busy", |_| Err::<&str, _>(RpcError::new(ELIMIT, "later")))
        .get("/gone", |_| StatusCode::GONE)
        .route_with_call("/large", |call, _| {
            call.compress_response(true);
            "x".repeat(10_000)
        })
        .delete("/gone", |_| -> &'static str { panic!("on purpose") });
    Server::builder().add(service).start("127.0.0.1:0").unwrap()
}

#[test]
fn verbs_lead_to_handlers_or_are_refused() {
    let server = start();
    let mut stream = connect(&server);
    let mut send = |verb: &str, path: &str| {
        ask(&mut stream, &format!("{verb} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"))
    };
    assert_eq!(send("GET", "/hello/a/b").text(), "hello /hello/a/b\n");
    assert_eq!(send("HEAD", "/hello/a").field("content-length"), Some("15"));
    let refused = send("PUT", "/hello/a");
    assert_eq!((refused.status(), refused.field("allow")), (405, Some("GET, HEAD, OPTIONS, POST")));
    let options = send("OPTIONS", "/hello/a");
    assert_eq!((options.status(), options.field("allow")), (204, Some("GET, HEAD, OPTIONS, POST")));
    assert_eq!((options.field("content-length"), options.field("content-type")), (None, None));
    assert_eq!(send("PROPFIND", "/all").text(), "PROPFIND");
    assert_eq!(send("GET", "/gone").status(), 410);
    let busy = send("GET", "/busy");
    assert_eq!((busy.status(), busy.field("x-bd-error-code")), (503, Some("2004")));
    assert_eq!(send("DELETE", "/gone").status(), 500);
    assert_eq!(send("GET", "/Web/all").status(), 404, "by its path alone");
    assert_eq!(ask_once(&server, &post("/hello/", "", "body")).text(), "body");
}

#[test]
fn compression_is_agreed_on() {
    let server = start();
    let ask = |fields: &str| ask_once(&server, &format!("GET /large HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let plain = ask("");
    assert_eq!((plain.body.len(), plain.field("content-encoding")), (10_000, None));
    let small = ask("Accept-Encoding: deflate, gzip\r\n");
    assert_eq!((small.body.len() < 1000, small.field("content-encoding")), (true, Some("gzip")));
    assert_eq!(small.field("vary"), Some("accept-encoding"));
}
