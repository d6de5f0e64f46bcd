//! Every captured frame, written again by the half that would have written it.

use rpc::message::CompressType;
use rpc::protocol::StreamSettings;
use rpc::span::TraceContext;

use super::super::codec::reference::{RpcRequestMeta, StreamSettings as WireSettings};
use super::*;

/// The body as it came, the attachment and the description of a frame.
fn parts(frame: &Frame) -> (RpcMeta, IoBuf, IoBuf) {
    let (meta, mut payload) = halves(frame);
    let meta = RpcMeta::decode(&meta[..]).unwrap();
    let attachment = payload.split_off(payload.len() - meta.attachment_size() as usize);
    (meta, IoBuf::from(payload), IoBuf::from(attachment))
}

fn encoding(meta: &RpcMeta) -> Encoding {
    let mut bytes = meta.clone();
    (bytes.request, bytes.response) = (None, None);
    let encoding = Meta::read(&bytes.encode_to_vec()).unwrap().encoding;
    assert_eq!(encoding.compress, CompressType::new(meta.compress_type()));
    encoding
}

fn streams(settings: &WireSettings) -> StreamSettings {
    let first = settings.stream_id.into_iter();
    StreamSettings {
        ids: first.chain(settings.extra_stream_ids.iter().copied()).collect(),
        need_feedback: settings.need_feedback(),
        writable: settings.writable(),
    }
}

fn string(bytes: &Option<Vec<u8>>) -> String {
    String::from_utf8(bytes.clone().unwrap_or_default()).unwrap()
}

fn user_fields(meta: &RpcMeta) -> UserFields {
    let mut fields = UserFields::default();
    meta.user_fields.iter().for_each(|field| fields.set(string(&field.key), string(&field.value)));
    fields
}

fn all_frames(
    bytes: impl Fn(&(&str, &'static [u8], &'static [u8])) -> &'static [u8],
) -> Vec<(&'static str, Frame)> {
    let known = VECTORS.iter().filter(|(name, ..)| !RAW_BAD.contains(name));
    known.flat_map(|vector| frames(bytes(vector)).into_iter().map(|frame| (vector.0, frame))).collect()
}

/// A frame with its user fields by their keys; the captures have the order of somebody's hash table.
fn in_order(frame: &Frame) -> Vec<u8> {
    let (meta, payload) = halves(frame);
    let mut meta = RpcMeta::decode(&meta[..]).unwrap();
    meta.user_fields.sort_by(|a, b| a.key.cmp(&b.key));
    framed(&meta.encode_to_vec(), &payload)
}

#[test]
fn every_request_is_written_as_it_was() {
    for (name, frame) in all_frames(|vector| vector.1) {
        let (meta, body, attachment) = parts(&frame);
        let request: RpcRequestMeta = meta.request.clone().unwrap();
        let (service, method) = (string(&request.service_name), string(&request.method_name));
        let descriptor = Box::leak(Box::new(MethodDescriptor {
            name: method.clone().leak(),
            full_name: format!("{service}.{method}").leak(),
            ..MethodDescriptor { name: "", full_name: "", ..ECHO }
        }));
        let (fields, request_id) = (user_fields(&meta), string(&request.request_id));
        let trace = [request.trace_id(), request.span_id(), request.parent_span_id()].map(|id| id as u64);
        let outgoing = OutgoingRequest {
            attachment,
            log_id: request.log_id.map(|id| id as u64),
            request_id: &request_id,
            timeout: request.timeout_ms.map(|ms| std::time::Duration::from_millis(ms as u64)),
            trace: TraceContext::from_brpc(trace[0], trace[1], trace[2]),
            credential: meta.authentication_data.as_deref(),
            encoding: encoding(&meta),
            is_encoded: true,
            ..OutgoingRequest::new(descriptor, meta.correlation_id() as u64, &body, &fields)
        };
        let mut out = IoBuf::new();
        match meta.checksum_type {
            Some(_) => BAIDU_STD.write_request(outgoing, &mut out).unwrap(),
            None => {
                let generic = Some((&*service, &*method));
                BAIDU_STD.write_request(OutgoingRequest { generic, ..outgoing }, &mut out).unwrap();
            }
        }
        assert_eq!(out.to_vec(), in_order(&frame), "{name}");
    }
}

#[test]
fn every_response_is_written_as_it_was() {
    for (name, frame) in all_frames(|vector| vector.2) {
        let (meta, body, attachment) = parts(&frame);
        let response = meta.response.clone().unwrap();
        let (fields, text) = (user_fields(&meta), string(&response.error_text));
        let outcome = match response.error_code() {
            0 => Ok(&body as _),
            code => Err((code.into(), &*text)),
        };
        let streams = meta.stream_settings.as_ref().map(streams);
        let token = ReplyToken { id: meta.correlation_id() as u64, ..ReplyToken::default() };
        let reply = OutgoingReply {
            attachment,
            encoding: encoding(&meta),
            is_encoded: true,
            streams: streams.as_ref(),
            is_auth_failure: meta.checksum_type.is_none(),
            ..OutgoingReply::new(None, outcome, &fields)
        };
        let mut out = IoBuf::new();
        BAIDU_STD.write_reply(token, reply, &mut out);
        assert_eq!(out.to_vec(), in_order(&frame), "{name}");
    }
}

#[test]
fn every_response_is_read_and_decoded() {
    for (name, frame) in all_frames(|vector| vector.2) {
        let (meta, ..) = parts(&frame);
        let mut reply = BAIDU_STD.read_reply(frame).unwrap();
        assert_eq!(reply.correlation_id, meta.correlation_id() as u64, "{name}");
        let code = meta.response.as_ref().map_or(0, |response| response.error_code());
        assert_eq!(reply.error.as_ref().map_or(0, |error| error.code().get()), code, "{name}");
        if reply.error.is_none() {
            BAIDU_STD.decode_reply(&ECHO, &mut reply, &Limits::default()).unwrap();
            let message = Echo::decode(reply.body).unwrap().message;
            let known = ["", "hello brpc", "hello brpc-1", "hello brpc-2"].map(str::to_owned);
            let fox = "the quick brown fox jumps over the lazy dog. ".repeat(10);
            assert!(known.contains(&message) || message == fox, "{name}: {message}");
        }
    }
}
