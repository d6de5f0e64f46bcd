//! How messages travel: compression, checksums, content types; and calls without the types of their messages.

use bobbin::prost::Message;
use bobbin::rpc::message::{ChecksumType, CompressType, ContentType, Encoding};
use bobbin::{CallOptions, IoBuf, error};
use bobbin_tests::features::{FeatureRequest, FeatureResponse, Kind};

use crate::ask::{Peer, call_with, hello, seen};
use crate::{Failure, features, want};

features![
    compress_snappy,
    compress_gzip,
    compress_zlib,
    compress_one_way,
    checksum_crc32c,
    checksum_beside_attachment,
    checksum_of_compressed,
    checksum_one_way,
    content_json,
    content_proto_json,
    content_proto_text,
    no_service,
    no_service_of_package,
    no_method,
    short_service_name,
    bad_body,
    generic_client,
    generic_server,
];

fn attached() -> CallOptions {
    CallOptions::default().request_attachment(IoBuf::from(&b"attached"[..]))
}

/// Text that shrinks to a third or so.
fn numbers(size: usize) -> Vec<u8> {
    let mut text: Vec<u8> =
        (0..=size as u32 / 4).flat_map(|i| i.wrapping_mul(2_654_435_761).to_string().into_bytes()).collect();
    text.truncate(size);
    text
}

fn compress(peer: &Peer, compress: CompressType) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    for size in [0, 100, 100_000, 5 << 20] {
        for (options, attachment) in [(CallOptions::default(), &b""[..]), (attached(), b"attached")] {
            let request = FeatureRequest {
                payload: Some(numbers(size)),
                response_compress: Some(compress.get()),
                ..hello()
            };
            let reply = call_with(&stub, options.request_compress_type(compress), &request)?;
            want!(reply.message.payload == request.payload, "{size}: {}", reply.message.payload().len());
            want!(seen(&reply.message).compress_type() == compress.get(), "{:?}", seen(&reply.message));
            want!(reply.encoding.compress == compress, "{:?}", reply.encoding);
            want!(reply.attachment == *attachment, "{size}: {:?}", reply.attachment);
        }
    }
    Ok(())
}

fn compress_snappy(peer: &Peer) -> Result<(), Failure> {
    compress(peer, CompressType::SNAPPY)
}

fn compress_gzip(peer: &Peer) -> Result<(), Failure> {
    compress(peer, CompressType::GZIP)
}

fn compress_zlib(peer: &Peer) -> Result<(), Failure> {
    compress(peer, CompressType::ZLIB)
}

fn compress_one_way(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    let there = CallOptions::default().request_compress_type(CompressType::GZIP);
    let reply = call_with(&stub, there, &hello())?;
    want!(seen(&reply.message).compress_type() == 2, "{:?}", reply.message);
    want!(reply.encoding.compress == CompressType::NONE, "{:?}", reply.encoding);
    let request = FeatureRequest { response_compress: Some(1), ..hello() };
    let reply = call_with(&stub, CallOptions::default(), &request)?;
    want!(seen(&reply.message).compress_type() == 0, "{:?}", reply.message);
    want!(reply.encoding.compress == CompressType::SNAPPY, "{:?}", reply.encoding);
    Ok(())
}

fn checksum(peer: &Peer, compress: CompressType, attachment: usize) -> Result<(), Failure> {
    let request = FeatureRequest {
        payload: Some(vec![b'p'; 10_000]),
        response_checksum: Some(1),
        response_compress: Some(compress.get()),
        ..hello()
    };
    let options = CallOptions::default()
        .request_checksum_type(ChecksumType::Crc32c)
        .request_compress_type(compress)
        .request_attachment(IoBuf::from(vec![b'a'; attachment]));
    let reply = call_with(&peer.stub("plain")?, options, &request)?;
    want!(seen(&reply.message).checksum_type() == 1, "{:?}", seen(&reply.message));
    want!(reply.encoding.checksum == ChecksumType::Crc32c, "{:?}", reply.encoding);
    want!(reply.attachment.len() == attachment, "{}", reply.attachment.len());
    want!(reply.message.payload == request.payload, "{} bytes", reply.message.payload().len());
    Ok(())
}

fn checksum_crc32c(peer: &Peer) -> Result<(), Failure> {
    checksum(peer, CompressType::NONE, 0)
}

fn checksum_beside_attachment(peer: &Peer) -> Result<(), Failure> {
    checksum(peer, CompressType::NONE, 5000)
}

fn checksum_of_compressed(peer: &Peer) -> Result<(), Failure> {
    checksum(peer, CompressType::SNAPPY, 10)
}

fn checksum_one_way(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    let there = CallOptions::default().request_checksum_type(ChecksumType::Crc32c);
    let reply = call_with(&stub, there, &hello())?;
    want!(seen(&reply.message).checksum_type() == 1, "{:?}", reply.message);
    want!(reply.encoding.checksum == ChecksumType::None, "{:?}", reply.encoding);
    let request = FeatureRequest { response_checksum: Some(1), ..hello() };
    let reply = call_with(&stub, CallOptions::default(), &request)?;
    want!(seen(&reply.message).checksum_type() == 0, "{:?}", reply.message);
    want!(reply.encoding.checksum == ChecksumType::Crc32c, "{:?}", reply.encoding);
    Ok(())
}

fn content(peer: &Peer, content: ContentType, number: i32) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    for compress in [CompressType::NONE, CompressType::GZIP] {
        let request = FeatureRequest {
            message: Some("a \"message\" with \\ and \n and ü€😀".into()),
            payload: Some(b"\0\x01\x02\xff\xfe".to_vec()),
            numbers: vec![0, -1, i64::MAX, i64::MIN],
            kind: Some(Kind::Something as i32),
            response_content_type: Some(number),
            response_compress: Some(compress.get()),
            ..FeatureRequest::default()
        };
        let options = attached().request_content_type(content).request_compress_type(compress);
        let reply = call_with(&stub, options, &request)?;
        want!(seen(&reply.message).content_type() == number, "{:?}", reply.message);
        want!(reply.encoding.content == content, "{:?}", reply.encoding);
        want!(reply.message.payload == request.payload, "{:?}", reply.message);
        want!(reply.message.numbers == request.numbers, "{:?}", reply.message);
        want!(reply.message.kind == request.kind, "{:?}", reply.message);
        want!(reply.attachment == b"attached"[..], "{:?}", reply.attachment);
    }
    Ok(())
}

fn content_json(peer: &Peer) -> Result<(), Failure> {
    content(peer, ContentType::Json, 1)
}

fn content_proto_json(peer: &Peer) -> Result<(), Failure> {
    content(peer, ContentType::ProtoJson, 2)
}

fn content_proto_text(peer: &Peer) -> Result<(), Failure> {
    content(peer, ContentType::ProtoText, 3)
}

/// What the number of the error is for a call of whatever these names are; 0: it succeeded.
fn named(peer: &Peer, service: &str, method: &str, body: &[u8]) -> Result<i32, Failure> {
    let channel = peer.channel("plain", "single")?;
    let body = IoBuf::from(body);
    match channel.call_generic(service, method, Encoding::default(), body, CallOptions::default()) {
        Ok(reply) => {
            let response =
                FeatureResponse::decode(&reply.message.to_vec()[..]).map_err(|error| error.to_string())?;
            want!(response.message() == "hello", "{response:?}");
            Ok(0)
        }
        Err(error) => Ok(error.code().get()),
    }
}

fn no_service(peer: &Peer) -> Result<(), Failure> {
    let code = named(peer, "NoService", "Call", b"\n\x05hello")?;
    want!(error::ENOSERVICE == code, "{code}");
    Ok(())
}

fn no_service_of_package(peer: &Peer) -> Result<(), Failure> {
    let code = named(peer, "features.NoService", "Call", b"\n\x05hello")?;
    want!(error::ENOMETHOD == code, "{code}");
    Ok(())
}

fn no_method(peer: &Peer) -> Result<(), Failure> {
    let code = named(peer, "features.FeatureService", "Nothing", b"\n\x05hello")?;
    want!(error::ENOMETHOD == code, "{code}");
    Ok(())
}

fn short_service_name(peer: &Peer) -> Result<(), Failure> {
    let code = named(peer, "FeatureService", "Call", b"\n\x05hello")?;
    want!(code == 0, "{code}");
    Ok(())
}

fn bad_body(peer: &Peer) -> Result<(), Failure> {
    let code = named(peer, "features.FeatureService", "Call", b"\n\xff\x01no")?;
    want!(error::EREQUEST == code, "{code}");
    Ok(())
}

fn generic_client(peer: &Peer) -> Result<(), Failure> {
    let code = named(peer, "features.FeatureService", "Call", b"\n\x05hello")?;
    want!(code == 0, "{code}");
    Ok(())
}

fn generic_server(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("generic")?;
    for compress in [CompressType::NONE, CompressType::SNAPPY, CompressType::GZIP, CompressType::ZLIB] {
        let options = attached().request_compress_type(compress);
        let reply = stub.call_with(options, &hello()).map_err(|error| error.to_string())?;
        let message = reply.message.message();
        want!(message == "features.FeatureService/Call:hello", "{message}");
        want!(seen(&reply.message).compress_type() == compress.get(), "{:?}", reply.message);
        want!(reply.attachment == b"attached"[..], "{:?}", reply.attachment);
    }
    Ok(())
}
