//! The bodies of the fuzz targets: functions that panic when a promise is broken, whatever bytes they get. The targets
//! themselves are thin and live outside of the workspace; ordinary tests run the bodies as well.
#![cfg(any(test, feature = "fuzzing"))]

use iobuf::IoBuf;
use rpc::builtin::{QUERY_BYTES_MAX, QUERY_PAIRS_MAX, Query};
use rpc::json::MAX_GROWTH;
use rpc::message::{ChecksumType, CompressType, ContentType, Encoding};
use rpc::protocol::{BodyContext, ClientSide, Parsed, Protocol, ReplyToken, Role, ServerSide, WireError};
use rpc::{Limits, MethodDescriptor, Schema};

pub use crate::baidu_std::codec::check_meta as baidu_std_meta;
use crate::baidu_std::{BAIDU_STD, fuzzed_token};
use crate::http::codec::replay::{self, Replayed, Taken};
use crate::streaming_rpc::STREAMING_RPC;
pub use crate::streaming_rpc::codec::check_meta as streaming_rpc_meta;

/// The largest body, so that short inputs reach the limit.
const MAX_BODY_SIZE: usize = 1 << 16;

/// Cuts requests off the bytes, given all at once, and given in pieces of a size that the first byte chooses, with
/// bodies whole and as they arrive: the requests and the end have to be the same.
pub fn http_request(data: &[u8]) {
    http_replayed(data, replay::requests);
}

/// As [`http_request`], with responses.
pub fn http_response(data: &[u8]) {
    http_replayed(data, replay::responses);
}

fn http_replayed(data: &[u8], read: fn(usize, Vec<&[u8]>, Taken) -> Replayed) {
    let Some((step, data)) = data.split_first() else {
        return;
    };
    for taken in [Taken::Whole, Taken::AsTheyArrive] {
        let whole = read(MAX_BODY_SIZE, vec![data], taken);
        let pieces = read(MAX_BODY_SIZE, data.chunks(usize::from(*step) + 1).collect(), taken);
        assert_eq!(whole.messages, pieces.messages);
        assert_eq!(whole.end, pieces.end);
        let bytes: usize = whole.messages.iter().map(|(_, body)| body.len()).sum();
        assert!(bytes <= data.len());
        // An answer of the codec's own is one, and complete.
        assert!(whole.output.is_empty() || whole.output.ends_with(b"\r\n\r\n"));
    }
}

/// Reads the bytes as a query string, and as the fields with lists in them that a request has.
pub fn http_query(data: &[u8]) {
    let query = Query::parse(data);
    let pairs: usize = query.pairs().map(|(name, value)| name.len() + value.len()).sum();
    // A byte that is no UTF-8 becomes three.
    assert!(pairs <= 3 * data.len().min(QUERY_BYTES_MAX));
    assert!(query.pairs().count() <= QUERY_PAIRS_MAX);
    crate::http::check_fields(data);
}

/// Cuts frames off the bytes, given all at once, and given in pieces of a size that the first byte chooses: the
/// frames and the end have to be the same.
pub fn baidu_std_codec(data: &[u8]) {
    let Some((step, data)) = data.split_first() else {
        return;
    };
    let whole = cut_all(&BAIDU_STD, data, data.len());
    let pieces = cut_all(&BAIDU_STD, data, usize::from(*step) + 1);
    assert_eq!(whole, pieces);
    let bytes: usize = whole.0.iter().map(|frame| frame.len()).sum();
    assert!(bytes <= data.len());
}

/// As [`baidu_std_codec`], with the frames of streams. What is read of their descriptions is compared with what prost reads
/// of them, and written again.
pub fn streaming_rpc(data: &[u8]) {
    let Some((step, data)) = data.split_first() else {
        return;
    };
    let whole = cut_all(&STREAMING_RPC, data, data.len());
    let pieces = cut_all(&STREAMING_RPC, data, usize::from(*step) + 1);
    assert_eq!(whole, pieces);
    whole.0.iter().for_each(|frame| streaming_rpc_meta(frame));
    streaming_rpc_meta(data);
}

static ECHO_SCHEMA: Schema = Schema::new(include_bytes!("baidu_std/testdata/echo.descriptors.bin"));

static ECHO: MethodDescriptor = MethodDescriptor {
    name: "Echo",
    full_name: "example.EchoService.Echo",
    request_type: "example.EchoRequest",
    response_type: "example.EchoResponse",
    schema: &ECHO_SCHEMA,
};

/// Reads the bytes as the body of a request, in a form that the first byte chooses, with the right checksum or with
/// none. What was understood has to be written and read again.
pub fn baidu_std_request(data: &[u8]) {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    let contents = [ContentType::Pb, ContentType::Json, ContentType::ProtoJson, ContentType::ProtoText];
    let checksums =
        [ChecksumType::None, ChecksumType::Crc32c, ChecksumType::Crc32cWithAttachment, ChecksumType::Unknown];
    let encoding = Encoding {
        content: contents[usize::from(form & 3)],
        checksum: checksums[usize::from(form >> 2 & 3)],
        compress: CompressType::new(i32::from(form >> 4 & 7)),
    };
    let attachment = IoBuf::from(&b"attached"[..]);
    let has_sum = form & 0x80 != 0;
    let read = |body: IoBuf| {
        let mut token: ReplyToken = fuzzed_token(encoding, &body, has_sum.then_some(&attachment));
        let limits = limits();
        let context = BodyContext { method: &ECHO, attachment: &attachment, limits: &limits };
        BAIDU_STD.decode_request(&mut token, body, &context)
    };
    let is_summed = matches!(encoding.checksum, ChecksumType::Crc32c | ChecksumType::Crc32cWithAttachment);
    let Ok(wire) = read(data.into()) else {
        return;
    };
    assert!(has_sum || !is_summed, "a checksum that is not there was accepted");
    assert!(wire.len() <= MAX_GROWTH * MAX_BODY_SIZE);
    // Fails for messages without the fields that the form wants, and for what cannot be sent.
    if let Ok(Some(again)) = BAIDU_STD.encode_request(&ECHO, &wire, encoding)
        && again.len() <= MAX_BODY_SIZE
    {
        let again = read(again);
        assert!(again.is_ok() || wire.len() > MAX_BODY_SIZE / 2, "{encoding:?}: {again:?}");
    }
}

/// Cuts frames off the bytes and reads them as replies, to their messages.
pub fn baidu_std_reply(data: &[u8]) {
    let mut codec = BAIDU_STD.codec(Role::Client, &limits());
    let mut input = IoBuf::from(data);
    while !input.is_empty() {
        let Ok(Parsed::Message(frame)) = codec.parse(&mut input) else {
            return;
        };
        let size = frame.bytes.len();
        let Ok(mut reply) = BAIDU_STD.read_reply(frame) else {
            continue;
        };
        assert!(reply.body.len() + reply.attachment.len() <= size);
        let attachment = reply.attachment.len();
        if BAIDU_STD.decode_reply(&ECHO, &mut reply, &limits()).is_ok() {
            assert!(reply.body.len() <= MAX_GROWTH * MAX_BODY_SIZE);
            assert_eq!(reply.attachment.len(), attachment);
        }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_body_size = MAX_BODY_SIZE;
    limits
}

/// The frames and how it ended, if it did before the bytes did.
type Frames = (Vec<Vec<u8>>, Option<String>);

fn cut_all(protocol: &dyn Protocol, data: &[u8], step: usize) -> Frames {
    let mut codec = protocol.codec(Role::Server, &limits());
    let (mut input, mut frames) = (IoBuf::new(), Vec::new());
    for piece in data.chunks(step.max(1)) {
        input.append(piece);
        while !input.is_empty() {
            match codec.parse(&mut input) {
                Ok(Parsed::Message(frame)) => {
                    assert!(frame.meta_size as usize <= frame.bytes.len());
                    assert!(frame.bytes.len() <= MAX_BODY_SIZE);
                    frames.push(frame.bytes.to_vec());
                }
                Ok(Parsed::Head(_) | Parsed::Part(_) | Parsed::End) => {
                    unreachable!("this codec streams nothing")
                }
                Ok(Parsed::NeedMore) => break,
                Ok(Parsed::NotMine) => return (frames, Some(WireError::Unknown.to_string())),
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    assert!(input.len() < MAX_BODY_SIZE + 12, "no more is kept than one frame that is not whole");
    (frames, None)
}
