//! Calls of what only a name says, and the service that takes everything.

mod support;

use std::sync::mpsc;

use iobuf::IoBuf;
use prost::Message;
use rpc::CallOptions;
use rpc::error::{EINTERNAL, ELIMIT, EREQUEST, ERESPONSE, RpcError};
use rpc::limit::Constant;
use rpc::message::{ChecksumType, CompressType, ContentType, Encoding};
use rpc::server::{MasterCall, MasterOptions};
use support::{Channel, Echo, EchoResponse, LONG, Server, call, call_with, connect, request, start};

const ECHO: &str = "example.EchoService";

fn body(message: &str) -> IoBuf {
    request(message).encode_to_vec().into()
}

#[test]
fn a_generic_call_gets_the_response_as_it_came() {
    let server = start();
    let channel = connect(&server);
    let say = |encoding, body| channel.call_generic(ECHO, "Echo", encoding, body, CallOptions::default());
    let reply = say(Encoding::default(), body("hello")).unwrap();
    assert_eq!(EchoResponse::decode(reply.message).unwrap().message, "hello");
    // The service mirrors the form; nothing of it is undone.
    let encoding =
        Encoding { content: ContentType::Json, compress: CompressType::ZLIB, checksum: ChecksumType::Crc32c };
    let json = rpc::compress::compress(CompressType::ZLIB, &r#"{"message":"hi"}"#.into()).unwrap();
    let reply = say(encoding, json).unwrap();
    assert_eq!(reply.encoding, encoding);
    let plain = rpc::compress::decompress(CompressType::ZLIB, &reply.message, 100).unwrap();
    assert_eq!(plain, r#"{"message":"hi"}"#);
    assert!(reply.extra.is_none());
    let error = channel.call_generic("a.B", "C", encoding, body("x"), CallOptions::default()).unwrap_err();
    assert!(error.text().contains("Fail to find method=a.B/C"), "{error}");
    let unknown = Encoding { checksum: ChecksumType::Unknown, ..encoding };
    assert_eq!(say(unknown, body("x")).unwrap_err().code(), EREQUEST);
}

#[test]
fn generic_calls_end_in_callbacks_and_are_not_for_http() {
    let server = start();
    let (tell, told) = mpsc::channel();
    for protocol in ["baidu_std", "http"] {
        let channel =
            Channel::builder().protocol(protocol).timeout(LONG).connect(server.local_addr()).unwrap();
        let tell = tell.clone();
        let done = move |reply: Result<rpc::Reply<IoBuf>, RpcError>| tell.send(reply).unwrap();
        let options = CallOptions::default();
        channel.call_generic_then(ECHO, "Echo", Encoding::default(), body("then"), options, done);
        match (protocol, told.recv().unwrap()) {
            ("http", result) => {
                let error = result.unwrap_err();
                assert_eq!((error.code(), error.text()), (EREQUEST, "protocol=http has no generic calls"));
            }
            (_, reply) => {
                assert_eq!(EchoResponse::decode(reply.unwrap().message).unwrap().message, "then");
            }
        }
    }
}

/// A server that hands everything on to another.
fn proxy(to: &Server) -> Server {
    let channel = connect(to);
    let forward = move |mut call: MasterCall| {
        let attachment = call.call_mut().take_request_attachment();
        let options = CallOptions::default().request_attachment(attachment);
        let body = call.take_body();
        match channel.call_generic(call.service_name(), call.method_name(), call.encoding(), body, options) {
            Ok(reply) => {
                call.call_mut().response_attachment().append_buf(reply.attachment);
                call.succeed(&reply.message, reply.encoding);
            }
            Err(error) => call.fail(error),
        }
    };
    Server::builder().add(Echo).baidu_master_service(forward).start("127.0.0.1:0").unwrap()
}

#[test]
fn a_proxy_hands_on_every_form_without_reading_it() {
    let server = start();
    let proxy = proxy(&server);
    let channel = connect(&proxy);
    let text = "the quick brown fox ".repeat(100);
    for compress in (0..5).map(CompressType::new) {
        for checksum in [ChecksumType::None, ChecksumType::Crc32cWithAttachment] {
            let options = CallOptions::default()
                .request_compress_type(compress)
                .request_checksum_type(checksum)
                .request_content_type(ContentType::Json)
                .request_attachment("attached".into());
            let reply = call_with(&channel, options, &request(&text)).unwrap();
            assert!(reply.message.message == text);
            assert_eq!((reply.encoding.compress, reply.attachment), (compress, "attached".into()));
        }
    }
    let error = call(&channel, "fail").unwrap_err();
    assert_eq!(error.code(), 1234);
    assert!(error.text().contains("boom"));
    let reports = proxy.method_reports();
    let [echo, master] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!((echo.latency.count(), master.full_name), (0, "baidu_master_service"));
    assert_eq!((master.latency.count(), master.errors), (10, 1));
    // Other protocols reach the services.
    let http = Channel::builder().protocol("http").timeout(LONG).connect(proxy.local_addr()).unwrap();
    assert_eq!(call(&http, "direct").unwrap(), "direct");
    assert_eq!(proxy.method_reports()[0].latency.count(), 1);
}

#[test]
fn the_service_that_takes_everything_sees_what_came() {
    let (tell, told) = mpsc::sync_channel(1);
    let server = Server::builder()
        .baidu_master_service(move |call: MasterCall| {
            let said = (
                format!("{}/{}", call.service_name(), call.method_name()),
                (call.encoding(), call.is_intact(), call.body().len()),
                (call.call().log_id(), call.call().request_attachment().clone()),
            );
            tell.send(said).unwrap();
            match call.service_name() {
                "drop" => drop(call),
                "unknown" => {
                    let encoding = Encoding { checksum: ChecksumType::Unknown, ..Encoding::default() };
                    call.succeed(&IoBuf::new(), encoding);
                }
                _ => call.succeed(&"as it is".into(), Encoding::default()),
            }
        })
        .start("127.0.0.1:0")
        .unwrap();
    let channel = connect(&server);
    let encoding = Encoding {
        compress: CompressType::new(12_345),
        checksum: ChecksumType::Crc32c,
        ..Encoding::default()
    };
    let say = |service: &str, encoding| {
        let options = CallOptions::default().log_id(7).request_attachment("attached".into());
        channel.call_generic(service, "m", encoding, "not protobuf".into(), options)
    };
    assert_eq!(say("no.Such", encoding).unwrap().message, "as it is");
    let seen = told.recv().unwrap();
    assert_eq!(seen, ("no.Such/m".to_owned(), (encoding, true, 12), (Some(7), "attached".into())));
    assert_eq!(say("drop", Encoding::default()).unwrap_err().code(), EINTERNAL);
    told.recv().unwrap();
    assert_eq!(say("unknown", Encoding::default()).unwrap_err().code(), ERESPONSE);
    told.recv().unwrap();
}

#[test]
fn a_wrong_checksum_is_for_the_handler_to_find() {
    let (tell, told) = mpsc::sync_channel(1);
    let server = Server::builder()
        .baidu_master_service(move |call: MasterCall| {
            tell.send(call.is_intact()).unwrap();
            call.succeed(&IoBuf::new(), Encoding::default());
        })
        .start("127.0.0.1:0")
        .unwrap();
    let mut bytes = include_bytes!("../src/baidu_std/testdata/checksum_crc32c.req.bin").to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    support::exchange(&mut support::raw(&server), &bytes, 12);
    assert!(!told.recv().unwrap());
}

#[test]
fn the_service_that_takes_everything_has_a_limit_of_its_own() {
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let options = MasterOptions::default().max_concurrency(Constant::new(1)).ignore_eovercrowded(true);
    let server = Server::builder()
        .baidu_master_service_with(move |call| tell.lock().unwrap().send(call).unwrap(), options)
        .start("127.0.0.1:0")
        .unwrap();
    let channel = connect(&server);
    let first =
        channel.start::<_, EchoResponse>(support::echo_method(), CallOptions::default(), &request("1"));
    let held = told.recv().unwrap();
    let error = call(&channel, "2").unwrap_err();
    assert_eq!(error.code(), ELIMIT);
    let text = "Rejected by baidu_master_service's ConcurrencyLimiter, concurrency=2";
    assert!(error.text().contains(text), "{error}");
    let shown =
        format!("rpc_server_{}_baidu_master_service_concurrency", server.local_addr().port().unwrap());
    assert_eq!(bvar::describe(&shown).as_deref(), Some("1"));
    held.succeed(&body("done"), Encoding::default());
    assert_eq!(first.join().unwrap().message, "done");
}
