//! Who calls, and the streams that begin with a call: what descriptions rarely have.

use rpc::message::{CompressType, ContentType};
use rpc::protocol::{AfterReply, StreamSettings};

use super::*;

/// The captured beginnings of calls with streams, up to the end of the first frame.
const STREAM_BASIC: &[u8] = include_bytes!("../testdata/stream_basic.req.bin");
const STREAM_MULTI: &[u8] = include_bytes!("../testdata/stream_multi.req.bin");
const STREAM_ACCEPTED: &[u8] = include_bytes!("../testdata/stream_multi.resp.bin");

fn settings(ids: &[i64]) -> StreamSettings {
    StreamSettings { ids: ids.into(), need_feedback: true, writable: true }
}

#[test]
fn the_credential_goes_with_the_first_request_alone() {
    let hello = echo("hello brpc");
    write_request("auth_ok", |request| request.credential = Some(b"vec-secret"), &hello);
    write_request("auth_fail", |request| request.credential = Some(b"wrong"), &hello);
    write_request("auth_missing", |_| {}, &hello);
    let credentials = |name: &str| -> Vec<_> {
        let frames = frames(vector(name).0).into_iter();
        frames
            .map(|frame| {
                let (meta, _) = halves(&frame);
                Meta::read(&meta).unwrap().authentication_data.map(<[u8]>::to_vec)
            })
            .collect()
    };
    assert_eq!(credentials("auth_ok"), [Some(b"vec-secret".to_vec()), None]);
    assert_eq!(credentials("auth_fail"), [Some(b"wrong".to_vec())]);
    assert_eq!(credentials("auth_missing"), [None]);
}

#[test]
fn an_empty_credential_is_sent_too() {
    let (fields, hello) = (UserFields::default(), echo("x"));
    let body = MessageBody(&hello);
    let request = OutgoingRequest { credential: Some(b""), ..OutgoingRequest::new(&ECHO, 1, &body, &fields) };
    let mut out = IoBuf::new();
    BAIDU_STD.write_request(request, &mut out).unwrap();
    let (meta, _) = halves(&frames(&out.to_vec())[0]);
    assert_eq!(Meta::read(&meta).unwrap().authentication_data, Some(&b""[..]));
}

#[test]
fn who_is_not_let_in_is_told_the_error_and_nothing_else() {
    for name in ["auth_fail", "auth_missing"] {
        let response = vector(name).1;
        let (meta, _) = halves(&frames(response)[0]);
        let token = ReplyToken { id: Meta::read(&meta).unwrap().correlation_id, ..ReplyToken::default() };
        let (mut fields, streams) = (UserFields::default(), settings(&[1]));
        fields.set("not", "said");
        let error = Err((1004.into(), "Fail to authenticate: bad credential"));
        let reply = OutgoingReply {
            is_auth_failure: true,
            streams: Some(&streams),
            ..OutgoingReply::new(None, error, &fields)
        };
        let mut out = IoBuf::new();
        let after = BAIDU_STD.write_reply(token, reply, &mut out);
        assert_eq!((out.to_vec(), after), (response.to_vec(), AfterReply::Close), "{name}");
        let error = read_replies(name).remove(0).error.unwrap();
        assert_eq!(error.to_string(), "[E1004]Fail to authenticate: bad credential");
    }
}

#[test]
fn a_call_begins_with_streams_as_brpcs_does() {
    for (request, message) in [(STREAM_BASIC, "stream-basic"), (STREAM_MULTI, "stream-multi")] {
        let (meta, _) = halves(&frames(request)[0]);
        let meta = Meta::read(&meta).unwrap();
        let streams = meta.streams.clone().unwrap();
        assert!(streams.need_feedback && streams.writable);
        assert_eq!(streams.ids.len(), if message == "stream-multi" { 3 } else { 1 });
        let (fields, message) = (UserFields::default(), echo(message));
        let body = MessageBody(&message);
        let outgoing = OutgoingRequest {
            streams: Some(&streams),
            ..OutgoingRequest::new(&ECHO, meta.correlation_id, &body, &fields)
        };
        let mut out = IoBuf::new();
        BAIDU_STD.write_request(outgoing, &mut out).unwrap();
        assert_eq!(out.to_vec(), request);
    }
}

#[test]
fn a_reply_accepts_streams_as_brpcs_does() {
    let frame = frames(STREAM_ACCEPTED).remove(0);
    let reply = BAIDU_STD.read_reply(frame).unwrap();
    let streams = reply.streams.unwrap();
    assert_eq!((streams.ids.len(), reply.error), (3, None));
    let (fields, message) = (UserFields::default(), Echo::decode(reply.body).unwrap());
    let body = MessageBody(&message);
    let outgoing = OutgoingReply { streams: Some(&streams), ..OutgoingReply::new(None, Ok(&body), &fields) };
    let mut out = IoBuf::new();
    BAIDU_STD.write_reply(
        ReplyToken { id: reply.correlation_id, ..ReplyToken::default() },
        outgoing,
        &mut out,
    );
    assert_eq!(out.to_vec(), STREAM_ACCEPTED);
}

#[test]
fn ids_of_streams_may_be_packed_and_in_pieces_but_not_without_number() {
    let read = |bytes: &[u8]| Meta::read(bytes).map(|meta| meta.streams.unwrap().ids.to_vec());
    assert_eq!(read(&[0x42, 6, 0x22, 2, 5, 6, 0x08, 4]), Ok(vec![4, 5, 6]));
    assert_eq!(read(&[0x42, 2, 0x20, 5, 0x42, 2, 0x08, 4, 0x42, 2, 0x20, 6]), Ok(vec![4, 5, 6]));
    assert!(read(&[0x42, 3, 0x22, 1, 0x80]).is_err(), "a packed id that does not end");
    let with = |count: usize| {
        let settings = super::super::codec::reference::StreamSettings {
            stream_id: Some(1),
            extra_stream_ids: vec![2; count],
            ..Default::default()
        };
        RpcMeta { stream_settings: Some(settings), ..RpcMeta::default() }.encode_to_vec()
    };
    assert_eq!(read(&with(4095)).unwrap().len(), 4096);
    assert!(read(&with(4096)).is_err());
    check_meta(&with(4096));
}

#[test]
fn the_form_of_a_reply_is_known_before_its_body_is_read() {
    let reply = &read_replies("content_json_gzip")[0];
    assert_eq!((reply.encoding.content, reply.encoding.compress), (ContentType::Json, CompressType::GZIP));
}
