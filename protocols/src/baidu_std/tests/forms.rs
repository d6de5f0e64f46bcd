//! Bodies that are compressed, summed up, or not protobuf: written and read as brpc does, and nothing wrong accepted.

use rpc::compress::{GROWN_FREE, GROWTH_MAX, compress};
use rpc::error::EREQUEST;
use rpc::message::{ChecksumType, CompressType, ContentType};

use super::super::body::{self, Summed};
use super::*;

fn form(content: ContentType, compress: CompressType, checksum: ChecksumType) -> Encoding {
    Encoding { content, compress, checksum }
}

const PB: ContentType = ContentType::Pb;
const NOTHING: ChecksumType = ChecksumType::None;

fn fox() -> Echo {
    echo(&"the quick brown fox jumps over the lazy dog. ".repeat(10))
}

/// The request of a call, as the client writes it.
fn written(message: &Echo, encoding: Encoding, attachment: &str, id: u64) -> Result<Vec<u8>, RpcError> {
    let (fields, body) = (UserFields::default(), MessageBody(message));
    let encoded = BAIDU_STD.encode_request(&ECHO, &body, encoding)?;
    let is_encoded = encoded.is_some();
    let body: &dyn rpc::message::Body = encoded.as_ref().map_or(&body, |encoded| encoded);
    let request = OutgoingRequest {
        encoding,
        is_encoded,
        attachment: IoBuf::from(attachment),
        ..OutgoingRequest::new(&ECHO, id, body, &fields)
    };
    let mut out = IoBuf::new();
    BAIDU_STD.write_request(request, &mut out)?;
    Ok(out.to_vec())
}

/// The message of a request, as the server reads it.
fn read(frame: &Frame) -> Option<Echo> {
    let (meta, mut payload) = halves(frame);
    let meta = Meta::read(&meta).ok()?;
    let body_size = payload.len().checked_sub(usize::try_from(meta.attachment_size).unwrap_or(0))?;
    let attachment = IoBuf::from(payload.split_off(body_size));
    let summed = Summed { attachment: &attachment, value: meta.checksum_value };
    let body = IoBuf::from(payload);
    let body = body::decode(ECHO.schema, ECHO.request_type, meta.encoding, body, summed, 1 << 20).ok()?;
    Echo::decode(body).ok()
}

#[test]
fn requests_in_every_form_are_those_of_brpc() {
    let slow = Echo { sleep_us: Some(5), ..echo("hello brpc") };
    let (hello, attachment) = (echo("hello brpc"), "ATTACHMENT-0123");
    let (crc, both) = (ChecksumType::Crc32c, ChecksumType::Crc32cWithAttachment);
    let none = CompressType::NONE;
    for (name, message, encoding, attachment) in [
        ("checksum_crc32c", &hello, form(PB, none, crc), ""),
        ("checksum_crc32c_attachment", &hello, form(PB, none, crc), attachment),
        ("checksum_crc32c_with_attachment", &hello, form(PB, none, both), attachment),
        ("checksum_crc32c_snappy", &fox(), form(PB, CompressType::SNAPPY, crc), ""),
        ("compress_snappy", &fox(), form(PB, CompressType::SNAPPY, NOTHING), ""),
        ("compress_snappy_attachment", &fox(), form(PB, CompressType::SNAPPY, NOTHING), attachment),
        ("compress_gzip", &fox(), form(PB, CompressType::GZIP, NOTHING), ""),
        ("compress_zlib", &fox(), form(PB, CompressType::ZLIB, NOTHING), ""),
        ("content_json", &slow, form(ContentType::Json, none, NOTHING), ""),
        ("content_json_gzip", &fox(), form(ContentType::Json, CompressType::GZIP, NOTHING), ""),
        ("content_proto_json", &slow, form(ContentType::ProtoJson, none, NOTHING), ""),
        ("content_proto_text", &slow, form(ContentType::ProtoText, none, NOTHING), ""),
    ] {
        let captured = vector(name).0;
        let theirs = &frames(captured)[0];
        let meta = halves(theirs).0;
        let theirs_meta = Meta::read(&meta).unwrap();
        assert_eq!(theirs_meta.encoding, encoding, "{name}");
        assert_eq!(read(theirs).as_ref(), Some(message), "{name}");
        let ours = written(message, encoding, attachment, theirs_meta.correlation_id).unwrap();
        assert_eq!(read(&frames(&ours)[0]).as_ref(), Some(message), "{name}");
        if !matches!(encoding.compress, CompressType::GZIP | CompressType::ZLIB) {
            assert_eq!(ours, captured, "{name}");
        }
    }
}

#[test]
fn what_nobody_can_read_is_not_sent() {
    for encoding in
        [form(PB, CompressType::new(77), NOTHING), form(PB, CompressType::NONE, ChecksumType::Unknown)]
    {
        let error = written(&fox(), encoding, "", 1).unwrap_err();
        assert_eq!(error.code(), EREQUEST);
        assert!(error.text().starts_with("Fail to serialize request=example.EchoRequest, "), "{error}");
        let body = MessageBody(&echo("x"));
        let error = BAIDU_STD.encode_reply(&ECHO, &body, encoding).unwrap_err();
        assert_eq!(error.code(), ERESPONSE);
        assert!(error.text().starts_with("Fail to serialize response=example.EchoResponse, "), "{error}");
    }
}

#[test]
fn checksums_of_unknown_types_are_not_looked_at_and_those_of_wrong_length_do_not_match() {
    let meta = |checksum_type: i32, value: &[u8]| {
        let meta = RpcMeta {
            checksum_type: Some(checksum_type),
            checksum_value: Some(value.to_vec()),
            ..RpcMeta::default()
        };
        let bytes = framed(&meta.encode_to_vec(), &echo("hello").encode_to_vec());
        let mut reply = BAIDU_STD.read_reply(frames(&bytes).remove(0)).unwrap();
        BAIDU_STD.decode_reply(&ECHO, &mut reply, &Limits::default()).map(|()| reply.body.len())
    };
    let right = [0x61, 0xf6, 0x3a, 0x7e];
    assert_eq!(meta(1, &right), Ok(7));
    assert_eq!(meta(2, b"whatever"), Ok(7));
    assert_eq!(meta(0, b"leftover"), Ok(7));
    for wrong in [&right[..3], &[], b"\x61\xf6\x3a\x7e\0", b"\x61\xf6\x3a\x7f"] {
        let error = meta(1, wrong).unwrap_err();
        assert_eq!(error.code(), EREQUEST, "sic");
        let text = "Fail to parse response=example.EchoResponse, ContentType=pb, CompressType=none, \
                    ChecksumType=crc32c, response_size=7";
        assert_eq!(error.text(), text);
    }
}

#[test]
fn bombs_are_refused_within_the_bounds() {
    let bomb = compress(CompressType::GZIP, &IoBuf::from(vec![0; 8 << 20])).unwrap();
    assert!(bomb.len() * GROWTH_MAX < 8 << 20 && GROWN_FREE < 8 << 20);
    let decode = |body: &IoBuf, max| {
        let summed = Summed { attachment: &IoBuf::new(), value: &[] };
        let encoding = form(PB, CompressType::GZIP, NOTHING);
        body::decode(ECHO.schema, ECHO.request_type, encoding, body.clone(), summed, max).ok()
    };
    assert_eq!(decode(&bomb, usize::MAX), None);
    let small = compress(CompressType::GZIP, &IoBuf::from(vec![0; 1000])).unwrap();
    assert_eq!((decode(&small, 999), decode(&small, 1000).unwrap().len()), (None, 1000));
}

fn any_form() -> impl Strategy<Value = Encoding> {
    let contents = [PB, ContentType::Json, ContentType::ProtoJson, ContentType::ProtoText];
    let checksums = [NOTHING, ChecksumType::Crc32c, ChecksumType::Crc32cWithAttachment];
    (proptest::sample::select(contents.to_vec()), 0..5, proptest::sample::select(checksums.to_vec()))
        .prop_map(|(content, compress, checksum)| form(content, CompressType::new(compress), checksum))
        .boxed()
}

proptest! {
    // Two of the content types go by way of another bthread.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_message_in_any_form_comes_back(
        message in any::<String>(),
        sleep_us in any::<Option<i32>>(),
        attachment in "[a-z]{0,40}",
        encoding in any_form(),
    ) {
        let message = Echo { message, sleep_us };
        let bytes = written(&message, encoding, &attachment, 7).unwrap();
        prop_assert_eq!(read(&frames(&bytes)[0]), Some(message));
    }

    #[test]
    fn no_bytes_in_any_form_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        fuzzing::baidu_std_request(&bytes);
    }

    #[test]
    fn any_corrupted_byte_of_a_body_with_a_checksum_is_refused(
        message in any::<String>(),
        encoding in any_form(),
        at in any::<proptest::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let attachment = "attached";
        let checksum = match encoding.checksum {
            ChecksumType::None => ChecksumType::Crc32c,
            checksum => checksum,
        };
        let encoding = Encoding { checksum, ..encoding };
        let mut bytes = written(&echo(&message), encoding, attachment, 7).unwrap();
        let payload = HEADER_SIZE + frames(&bytes)[0].meta_size as usize;
        let is_in = if checksum == ChecksumType::Crc32c { attachment.len() } else { 0 };
        let summed = payload..bytes.len() - is_in;
        prop_assume!(!summed.is_empty());
        let at = summed.start + at.index(summed.len());
        bytes[at] ^= flip;
        prop_assert_eq!(read(&frames(&bytes)[0]), None);
    }
}
