//! Captured bytes of brpc, both ways, and what is not to be accepted.

mod forms;
mod identity;
mod vectors;

use iobuf::IoBuf;
use proptest::prelude::*;
use prost::Message;
use rpc::error::{ERESPONSE, RpcError};
use rpc::message::{Encoding, MessageBody};
use rpc::protocol::{
    ClientSide, Codec, Frame, IncomingReply, OutgoingReply, OutgoingRequest, Parsed, Protocol, ReplyToken,
    Role, ServerSide, WireError,
};
use rpc::span::TraceContext;
use rpc::{Limits, MethodDescriptor, UserFields};

use super::BAIDU_STD;
use super::codec::reference::RpcMeta;
use super::codec::{Aux, HEADER_SIZE, Meta, check_meta, description};
use crate::fuzzing;

macro_rules! vectors {
    ($($name:ident),* $(,)?) => {
        /// Name, request bytes, response bytes.
        const VECTORS: &[(&str, &[u8], &[u8])] = &[$((
            stringify!($name),
            include_bytes!(concat!("../testdata/", stringify!($name), ".req.bin")),
            include_bytes!(concat!("../testdata/", stringify!($name), ".resp.bin")),
        )),*];
    };
}

vectors! {
    attachment, auth_fail, auth_missing, auth_ok, bad_body, checksum_crc32c, checksum_crc32c_attachment,
    checksum_crc32c_snappy, checksum_crc32c_with_attachment, close_connection, compress_gzip, compress_snappy,
    compress_snappy_attachment, compress_zlib, concurrent_three, content_json, content_json_gzip, content_proto_json,
    content_proto_text, empty_message, fail_1234, fail_nocode, limit, log_id_77, long_meta, missing_required,
    no_builtin, plain, raw_bad_meta, raw_body_too_large, raw_meta_larger_than_body, raw_split, raw_two_in_one_write,
    request_id, short_service_name, timeout_ms, trace, two_calls_one_connection, unknown_method, unknown_service,
    unknown_service_noscope, user_fields, user_fields_two,
}

/// What the requests with this prefix are for: frames that are not to be accepted.
const RAW_BAD: [&str; 3] = ["raw_bad_meta", "raw_body_too_large", "raw_meta_larger_than_body"];

static ECHO_SCHEMA: rpc::Schema = rpc::Schema::new(include_bytes!("../testdata/echo.descriptors.bin"));

static ECHO: MethodDescriptor = MethodDescriptor {
    name: "Echo",
    full_name: "example.EchoService.Echo",
    request_type: "example.EchoRequest",
    response_type: "example.EchoResponse",
    schema: &ECHO_SCHEMA,
};

#[derive(Clone, PartialEq, prost::Message)]
struct Echo {
    #[prost(string, required, tag = "1")]
    message: String,
    #[prost(int32, optional, tag = "2")]
    sleep_us: Option<i32>,
}

fn echo(message: &str) -> Echo {
    Echo { message: message.into(), sleep_us: None }
}

fn vector(name: &str) -> (&'static [u8], &'static [u8]) {
    let (_, request, response) = VECTORS.iter().find(|(known, ..)| *known == name).unwrap();
    (request, response)
}

fn codec() -> Box<dyn Codec> {
    BAIDU_STD.codec(Role::Server, &Limits::default())
}

/// All frames of the bytes, which have to be whole.
fn frames(bytes: &[u8]) -> Vec<Frame> {
    let (mut codec, mut input, mut frames) = (codec(), IoBuf::from(bytes), Vec::new());
    while !input.is_empty() {
        match codec.parse(&mut input) {
            Ok(Parsed::Message(frame)) => frames.push(frame),
            other => panic!("{other:?}"),
        }
    }
    frames
}

/// Description and payload.
fn halves(frame: &Frame) -> (Vec<u8>, Vec<u8>) {
    let mut meta = frame.bytes.to_vec();
    let payload = meta.split_off(frame.meta_size as usize);
    (meta, payload)
}

fn framed(meta: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"PRPC".to_vec();
    bytes.extend((meta.len() as u32 + payload.len() as u32).to_be_bytes());
    bytes.extend((meta.len() as u32).to_be_bytes());
    bytes.extend(meta);
    bytes.extend(payload);
    bytes
}

#[test]
fn every_vector_decodes_and_encodes_to_the_same_bytes() {
    for (name, request, response) in VECTORS.iter().filter(|(name, ..)| !RAW_BAD.contains(name)) {
        for bytes in [request, response] {
            let again: Vec<u8> = frames(bytes)
                .iter()
                .flat_map(|frame| {
                    let (meta, payload) = halves(frame);
                    check_meta(&meta);
                    framed(&RpcMeta::decode(&meta[..]).unwrap().encode_to_vec(), &payload)
                })
                .collect();
            assert_eq!(again, *bytes, "{name}");
        }
    }
}

/// The client's half writes what brpc's client wrote.
fn write_request(name: &str, options: impl FnOnce(&mut OutgoingRequest<'_>), message: &Echo) {
    let request = vector(name).0;
    let first = &frames(request)[0];
    let (meta, _) = halves(first);
    let fields = UserFields::default();
    let body = MessageBody(message);
    let id = Meta::read(&meta).unwrap().correlation_id;
    let mut outgoing = OutgoingRequest::new(&ECHO, id, &body, &fields);
    options(&mut outgoing);
    let mut out = IoBuf::new();
    BAIDU_STD.write_request(outgoing, &mut out).unwrap();
    assert_eq!(out.to_vec(), request[..HEADER_SIZE + first.bytes.len()], "{name}");
}

#[test]
fn requests_are_written_as_brpc_writes_them() {
    let hello = echo("hello brpc");
    write_request("plain", |_| {}, &hello);
    write_request("empty_message", |_| {}, &echo(""));
    write_request("attachment", |request| request.attachment = IoBuf::from("ATTACHMENT-0123"), &hello);
    write_request("log_id_77", |request| request.log_id = Some(77), &hello);
    write_request("request_id", |request| request.request_id = "req-0001", &hello);
    let long: String = {
        let (meta, _) = halves(&frames(vector("long_meta").0)[0]);
        let id = Meta::read(&meta).unwrap().request.unwrap().request_id.to_vec();
        assert_eq!(id.len(), 300);
        String::from_utf8(id).unwrap()
    };
    let long: &'static str = long.leak();
    write_request("long_meta", |request| request.request_id = long, &hello);
    let (meta, _) = halves(&frames(vector("timeout_ms").0)[0]);
    let timeout_ms = Meta::read(&meta).unwrap().request.unwrap().timeout_ms;
    let timeout = std::time::Duration::from_millis(timeout_ms as u64);
    write_request("timeout_ms", |request| request.timeout = Some(timeout), &hello);
    let mut fields = UserFields::default();
    fields.set("k1", "v1");
    let fields: &'static UserFields = Box::leak(Box::new(fields));
    write_request("user_fields", |request| request.user_fields = fields, &hello);
    let (meta, _) = halves(&frames(vector("trace").0)[0]);
    let [trace, span, parent] = Meta::read(&meta).unwrap().request.unwrap().trace;
    assert_ne!(trace, 0);
    write_request("trace", |request| request.trace = TraceContext::from_brpc(trace, span, parent), &hello);
    let slow = Echo { message: "hello brpc".into(), sleep_us: Some(200_000) };
    write_request("concurrent_three", |_| {}, &slow);
}

/// The server's half writes what brpc's server wrote.
fn write_reply(name: &str, outcome: Result<&Echo, (i32, &str)>, attachment: &str, fields: &[(&str, &str)]) {
    let response = vector(name).1;
    let (meta, _) = halves(&frames(response)[0]);
    let token = ReplyToken { id: Meta::read(&meta).unwrap().correlation_id, ..ReplyToken::default() };
    let mut user_fields = UserFields::default();
    fields.iter().for_each(|(key, value)| user_fields.set(*key, *value));
    let body = outcome.map(MessageBody);
    let outcome = body.as_ref().map(|body| body as _).map_err(|(code, text)| ((*code).into(), *text));
    let attachment = IoBuf::from(attachment);
    let reply = OutgoingReply { attachment, ..OutgoingReply::new(None, outcome, &user_fields) };
    let mut out = IoBuf::new();
    BAIDU_STD.write_reply(token, reply, &mut out);
    assert_eq!(out.to_vec(), response, "{name}");
}

#[test]
fn replies_are_written_as_brpc_writes_them() {
    let hello = echo("hello brpc");
    write_reply("plain", Ok(&hello), "", &[]);
    write_reply("empty_message", Ok(&echo("")), "", &[]);
    write_reply("attachment", Ok(&hello), "ATTACHMENT-0123", &[]);
    write_reply("user_fields", Ok(&hello), "", &[("re-k1", "v1")]);
    write_reply("fail_1234", Err((1234, "[127.0.0.1:9301][E1234]boom")), "", &[]);
    write_reply("fail_nocode", Err((-1, "[127.0.0.1:9301]boom")), "", &[]);
    let text = "[127.0.0.1:9301][E1002]Fail to find method=example.EchoService/NoSuchMethod";
    write_reply("unknown_method", Err((1002, text)), "", &[]);
}

#[test]
fn a_reply_carries_the_checksum_bytes_of_the_request_back() {
    let token = ReplyToken { id: 1, bits: 0, extra: Some(Box::new(vec![1u8, 2, 3, 4])) };
    let (fields, hello) = (UserFields::default(), echo("hello"));
    let body = MessageBody(&hello);
    let mut out = IoBuf::new();
    let reply = OutgoingReply::new(None, Ok(&body), &fields);
    BAIDU_STD.write_reply(token, reply, &mut out);
    let (meta, _) = halves(&frames(&out.to_vec())[0]);
    assert_eq!(RpcMeta::decode(&meta[..]).unwrap().checksum_value, Some(vec![1, 2, 3, 4]));
}

/// The client's half reads what brpc's server wrote.
fn read_replies(name: &str) -> Vec<IncomingReply> {
    frames(vector(name).1).into_iter().map(|frame| BAIDU_STD.read_reply(frame).unwrap()).collect()
}

#[test]
fn replies_of_brpc_are_read() {
    let [plain] = &read_replies("plain")[..] else { panic!() };
    assert_eq!((plain.correlation_id, &plain.error), (0x1_0000_0002, &None));
    assert_eq!(plain.body, echo("hello brpc").encode_to_vec());
    let [reply] = &read_replies("attachment")[..] else { panic!() };
    assert_eq!((reply.body.len(), &reply.attachment), (12, &IoBuf::from("ATTACHMENT-0123")));
    let [reply] = &read_replies("user_fields_two")[..] else { panic!() };
    assert_eq!((reply.user_fields.get("re-k1"), reply.user_fields.get("re-k2")), (Some("v1"), Some("v2")));
    let [refused, _] = &read_replies("limit")[..] else { panic!() };
    let error = refused.error.as_ref().unwrap();
    assert_eq!(error.to_string(), "[E2004][127.0.0.1:9310][E2004]Reached server's max_concurrency=1");
    let [failed] = &read_replies("fail_nocode")[..] else { panic!() };
    assert_eq!(failed.error.as_ref().unwrap().to_string(), "[E2001][127.0.0.1:9301]boom");
}

#[test]
fn a_reply_that_is_not_in_order_is_an_error_of_its_call_or_nobodys() {
    let read = |meta: RpcMeta, payload: &[u8]| {
        let bytes = framed(&meta.encode_to_vec(), payload);
        BAIDU_STD.read_reply(frames(&bytes).remove(0))
    };
    let reply = read(RpcMeta { attachment_size: Some(5), ..RpcMeta::default() }, b"four").unwrap();
    let text = "[E2002]attachment_size=5 is larger than response_size=4";
    assert_eq!(reply.error.map(|error| error.to_string()).as_deref(), Some(text));
    let reply = read(RpcMeta { attachment_size: Some(-5), ..RpcMeta::default() }, b"four").unwrap();
    assert_eq!((reply.body.len(), reply.error), (4, None), "a reply without `response` is a success");
    let frame = Frame::new(IoBuf::from(&[0xff; 4]), 4);
    assert!(matches!(BAIDU_STD.read_reply(frame), Err(WireError::Malformed(_))));
    let text = RpcError::new(ERESPONSE, "").code();
    assert_ne!(
        BAIDU_STD.unreadable_reply("a.B", Encoding::default(), 7).code(),
        text,
        "EREQUEST, as in brpc"
    );
}

#[test]
fn frames_that_are_not_to_be_accepted_end_the_connection() {
    let parse = |bytes: &[u8]| codec().parse(&mut IoBuf::from(bytes));
    let too_big = parse(vector("raw_body_too_large").0).unwrap_err();
    assert_eq!(too_big, WireError::TooBig { declared: 0x7fff_ffff, limit: 64 << 20 });
    assert!(matches!(parse(vector("raw_meta_larger_than_body").0), Err(WireError::Malformed(_))));
    assert!(matches!(
        parse(b"PRPC\xff\xff\xff\xff\0\0\0\0"),
        Err(WireError::TooBig { declared: 0xffff_ffff, .. })
    ));
    assert!(matches!(parse(b"PRPC\x04\0\0\0\0\0\0\0"), Ok(Parsed::NeedMore)), "exactly the limit passes");
    assert!(matches!(parse(b"PRPC\x04\0\0\x01\0\0\0\0"), Err(WireError::TooBig { .. })));
    let [bad_meta] = &frames(vector("raw_bad_meta").0)[..] else { panic!() };
    assert!(Meta::read(&halves(bad_meta).0).is_err());
}

#[test]
fn every_beginning_of_a_good_frame_waits_for_more() {
    let (plain, _) = vector("plain");
    for end in 1..plain.len() {
        let mut input = IoBuf::from(&plain[..end]);
        assert!(matches!(codec().parse(&mut input), Ok(Parsed::NeedMore)), "{end}");
        assert_eq!(input.len(), end, "nothing is taken");
    }
    for other in [&b"H"[..], b"PRP_", b"PX", b"STRMxxxxxxxx"] {
        assert!(matches!(codec().parse(&mut IoBuf::from(other)), Ok(Parsed::NotMine)));
    }
}

#[test]
fn every_wrong_byte_in_a_vector_leads_to_an_answer_and_no_panic() {
    for (_, request, response) in VECTORS {
        for bytes in [request, response] {
            for index in 0..bytes.len() {
                for flip in [0x01, 0x80, 0xff] {
                    let mut wrong = vec![0];
                    wrong.extend_from_slice(bytes);
                    wrong[index + 1] ^= flip;
                    fuzzing::baidu_std_codec(&wrong);
                    fuzzing::baidu_std_reply(&wrong[1..]);
                    check_meta(&wrong[1..]);
                    if wrong.len() > HEADER_SIZE + 1 {
                        check_meta(&wrong[HEADER_SIZE + 1..]);
                    }
                }
            }
        }
    }
}

#[test]
fn a_description_across_blocks_is_read_as_well() {
    let (meta, payload) = halves(&frames(vector("long_meta").0)[0]);
    for cut in [1, 10, 100, 320] {
        // Two pieces of memory that do not touch.
        let mut bytes = IoBuf::new();
        bytes.append_user_data(meta[..cut].to_vec());
        bytes.append_user_data(meta[cut..].to_vec());
        bytes.append(&payload);
        let mut aux = Aux::new();
        let description = description(&bytes, meta.len(), &mut aux).unwrap();
        assert_eq!(description, meta);
        assert!(super::codec::description(&bytes, bytes.len() + 1, &mut Aux::new()).is_err());
    }
}

#[test]
fn required_parts_of_the_description_are_required() {
    let is_ok = |bytes: &[u8]| Meta::read(bytes).is_ok();
    assert!(is_ok(&[]), "nothing at all is required at the top");
    assert!(is_ok(&[0x0a, 4, 0x0a, 0, 0x12, 0]));
    assert!(!is_ok(&[0x0a, 2, 0x0a, 0]), "method_name");
    assert!(!is_ok(&[0x0a, 2, 0x12, 0]), "service_name");
    assert!(is_ok(&[0x0a, 2, 0x0a, 0, 0x0a, 2, 0x12, 0]), "in two pieces");
    assert!(!is_ok(&[0x42, 0]) && is_ok(&[0x42, 2, 0x08, 1]), "StreamSettings.stream_id");
    assert!(!is_ok(&[0x32, 2, 0x08, 1]) && is_ok(&[0x32, 4, 0x08, 1, 0x10, 1]), "ChunkInfo");
}

#[test]
fn texts_that_are_not_utf8_are_made_so() {
    let meta = [0x12, 6, 0x08, 5, 0x12, 2, 0xd6, 0xd0];
    let frame = Frame::new(IoBuf::from(&meta), 8);
    let error = BAIDU_STD.read_reply(frame).unwrap().error.unwrap();
    assert_eq!((error.code().get(), error.text()), (5, "\u{fffd}\u{fffd}"));
}

fn any_meta() -> impl Strategy<Value = RpcMeta> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    let number = || proptest::option::of(any::<i32>());
    let id = || proptest::option::of(any::<i64>());
    let trace = (id(), id(), id());
    let request = (bytes(), bytes(), id(), trace, bytes(), number());
    let response = (number(), bytes());
    (
        proptest::option::of(request),
        proptest::option::of(response),
        number(),
        any::<i64>(),
        number(),
        number(),
        bytes(),
        bytes(),
        proptest::option::of((
            id(),
            proptest::option::of(any::<bool>()),
            proptest::collection::vec(any::<i64>(), 0..4),
        )),
    )
        .prop_map(
            |(
                request,
                response,
                compress_type,
                id,
                content_type,
                checksum_type,
                checksum_value,
                authentication_data,
                streams,
            )| RpcMeta {
                request: request.map(|(service_name, method_name, log_id, trace, request_id, timeout_ms)| {
                    let (trace_id, span_id, parent_span_id) = trace;
                    super::codec::reference::RpcRequestMeta {
                        service_name,
                        method_name,
                        log_id,
                        request_id,
                        timeout_ms,
                        trace_id,
                        span_id,
                        parent_span_id,
                    }
                }),
                response: response.map(|(error_code, error_text)| super::codec::reference::RpcResponseMeta {
                    error_code,
                    error_text,
                }),
                compress_type,
                correlation_id: Some(id),
                content_type,
                checksum_type,
                checksum_value,
                authentication_data,
                stream_settings: streams.map(|(stream_id, writable, extra_stream_ids)| {
                    super::codec::reference::StreamSettings {
                        stream_id,
                        need_feedback: Some(true),
                        writable,
                        extra_stream_ids,
                    }
                }),
                ..RpcMeta::default()
            },
        )
}

proptest! {
    #[test]
    fn the_reader_agrees_with_prost(meta in any_meta()) {
        check_meta(&meta.encode_to_vec());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_meta(&bytes);
    }

    #[test]
    fn frames_do_not_depend_on_how_bytes_arrive(
        step in any::<u8>(),
        sizes in proptest::collection::vec((0usize..50, 0usize..300), 0..5),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = vec![step];
        for (meta, payload) in sizes {
            bytes.extend(framed(&vec![1; meta], &vec![2; payload]));
        }
        bytes.extend(tail);
        fuzzing::baidu_std_codec(&bytes);
    }
}

#[test]
fn a_small_attachment_keeps_no_block_of_the_request_that_it_came_with() {
    let attachment = |size: usize| IoBuf::from(vec![7; size]);
    let reply = |attachment: IoBuf| {
        let (message, fields) = (echo("x"), UserFields::default());
        let body = MessageBody(&message);
        let reply = OutgoingReply { attachment, ..OutgoingReply::new(None, Ok(&body), &fields) };
        let mut out = IoBuf::new();
        BAIDU_STD.write_reply(ReplyToken::default(), reply, &mut out);
        out
    };
    assert_eq!(reply(attachment(1)).block_count(), 1);
    assert_eq!(reply(attachment(5000)).block_count(), 2, "shared");
    assert!(reply(attachment(1000)).to_vec().ends_with(&[7; 1000]));
}
