//! Bodies in every form, from a client to a server and back.

mod support;

use iobuf::IoBuf;
use rpc::compress::{self, CompressError, Compressor};
use rpc::error::{EREQUEST, ERESPONSE};
use rpc::message::{ChecksumType, CompressType, ContentType, Encoding};
use rpc::{CallOptions, Limits};
use support::{
    AsyncEcho, Channel, Echo, EchoResponse, LONG, Server, call_with, connect, echo_method, request, start,
};

fn options(encoding: Encoding) -> CallOptions {
    CallOptions::default()
        .request_compress_type(encoding.compress)
        .request_checksum_type(encoding.checksum)
        .request_content_type(encoding.content)
}

#[test]
fn every_form_goes_there_and_back() {
    let server = start();
    let channel = connect(&server);
    let text = "the quick brown fox jumps over the lazy dog. ".repeat(100);
    for content in [ContentType::Pb, ContentType::Json, ContentType::ProtoJson, ContentType::ProtoText] {
        for compress in (0..5).map(CompressType::new) {
            for checksum in [ChecksumType::None, ChecksumType::Crc32c, ChecksumType::Crc32cWithAttachment] {
                let encoding = Encoding { content, compress, checksum };
                let options = options(encoding).request_attachment("attached".into());
                let reply = call_with(&channel, options, &request(&text)).unwrap();
                assert!(reply.message.message == text, "{encoding:?}");
                assert_eq!((reply.encoding, reply.attachment), (encoding, "attached".into()));
                assert!(reply.extra.is_none());
            }
        }
    }
}

#[test]
fn calls_that_are_held_are_encoded_too() {
    let server = start();
    let channel = connect(&server);
    let gzip = || CallOptions::default().request_compress_type(CompressType::GZIP);
    let call = channel.start::<_, EchoResponse>(echo_method(), gzip(), &request("held"));
    let reply = call.join_reply().unwrap();
    assert_eq!((reply.message.message.as_str(), reply.encoding.compress), ("held", CompressType::GZIP));
    let (tell, told) = std::sync::mpsc::channel();
    let bad = CallOptions::default().request_compress_type(CompressType::new(999));
    channel.call_then::<_, EchoResponse>(echo_method(), bad, &request("x"), move |result| {
        tell.send(result.map(|reply| reply.message)).unwrap();
    });
    assert_eq!(told.recv().unwrap().unwrap_err().code(), EREQUEST);
}

#[test]
fn what_is_not_registered_is_refused_before_it_is_sent() {
    let server = start();
    let channel = connect(&server);
    let unknown = CallOptions::default().request_compress_type(CompressType::new(1000));
    let error = call_with(&channel, unknown, &request("x")).unwrap_err();
    let text = "Fail to serialize request=example.EchoRequest, ContentType=pb, CompressType=unknown, \
                ChecksumType=none";
    assert_eq!((error.code(), error.text()), (EREQUEST, text));
    assert_eq!(server.connection_count(), 0);
}

#[test]
fn a_service_that_answers_in_an_unknown_form_fails_its_call() {
    let server = Server::builder()
        .add(AsyncEcho(|request: support::EchoRequest, mut responder: rpc::Responder<EchoResponse>| {
            responder.call_mut().set_response_compress_type(CompressType::new(1000));
            responder.send(Ok(EchoResponse { message: request.message }));
        }))
        .start("127.0.0.1:0")
        .unwrap();
    let error = call_with(&connect(&server), CallOptions::default(), &request("x")).unwrap_err();
    assert_eq!(error.code(), ERESPONSE);
    assert!(error.text().contains("Fail to serialize response=example.EchoResponse"), "{error}");
    let report = &server.method_reports()[0];
    assert_eq!((report.latency.count(), report.errors, report.concurrency), (0, 1, 0));
}

#[test]
fn a_reply_larger_than_the_caller_takes_is_refused() {
    let server = start();
    let mut limits = Limits::default();
    limits.max_body_size = 4096;
    let channel = Channel::builder().timeout(LONG).limits(limits).connect(server.local_addr()).unwrap();
    let gzip = || CallOptions::default().request_compress_type(CompressType::GZIP);
    assert!(call_with(&channel, gzip(), &request(&"x".repeat(4000))).is_ok());
    let error = call_with(&channel, gzip(), &request(&"x".repeat(5000))).unwrap_err();
    assert_eq!(error.code(), EREQUEST);
    assert!(error.text().contains("CompressType=gzip, ChecksumType=none, response_size="), "{error}");
}

#[test]
fn a_request_larger_than_the_server_takes_is_refused() {
    let mut limits = Limits::default();
    limits.max_body_size = 4096;
    let server = Server::builder().add(Echo).limits(limits).start("127.0.0.1:0").unwrap();
    let channel = connect(&server);
    for compress in (1..5).map(CompressType::new) {
        let options = CallOptions::default().request_compress_type(compress);
        let error = call_with(&channel, options, &request(&"x".repeat(5000))).unwrap_err();
        assert_eq!(error.code(), EREQUEST, "{error}");
        assert!(
            error.text().contains("Fail to parse request=example.EchoRequest, ContentType=pb"),
            "{error}"
        );
    }
}

struct Inverted;

impl Compressor for Inverted {
    fn name(&self) -> &'static str {
        "inverted"
    }

    fn compress(&self, body: &IoBuf) -> Result<IoBuf, CompressError> {
        Ok(body.to_vec().into_iter().map(|byte| !byte).collect::<Vec<_>>().into())
    }

    fn decompress(&self, body: &IoBuf, _: usize) -> Result<IoBuf, CompressError> {
        self.compress(body)
    }
}

#[test]
fn users_bring_compressors_of_their_own() {
    let kind = CompressType::new(600);
    compress::register(kind, &Inverted).unwrap();
    let server = start();
    let options = CallOptions::default().request_compress_type(kind);
    let reply = call_with(&connect(&server), options, &request("mine")).unwrap();
    assert_eq!((reply.message.message.as_str(), reply.encoding.compress), ("mine", kind));
    let shown = bvar::describe("rpc_compressions").unwrap();
    assert!(shown.contains("snappy gzip zlib lz4 inverted"), "{shown}");
    assert!(bvar::describe("rpc_checksums").unwrap().contains("crc32c"));
}

#[test]
fn http_has_gzip_and_nothing_else() {
    let server = start();
    let channel = Channel::builder().protocol("http").timeout(LONG).connect(server.local_addr()).unwrap();
    let text = "the quick brown fox jumps over the lazy dog. ".repeat(100);
    let gzip = CallOptions::default().request_compress_type(CompressType::GZIP);
    assert!(call_with(&channel, gzip, &request(&text)).unwrap().message.message == text);
    for options in [
        CallOptions::default().request_compress_type(CompressType::SNAPPY),
        CallOptions::default().request_checksum_type(ChecksumType::Crc32c),
        CallOptions::default().request_content_type(ContentType::ProtoText),
    ] {
        assert_eq!(call_with(&channel, options, &request("x")).unwrap_err().code(), EREQUEST);
    }
}
