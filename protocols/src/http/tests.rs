//! Pages: what they are told of a request, and how their answers are written.

use iobuf::IoBuf;
use rpc::builtin::{Form, PageReply, Verb};
use rpc::protocol::{AfterReply, Codec, Parsed, ReplyToken, ServerSide};

use super::HTTP;
use super::codec::{Lenience, RequestCodec};
use super::server::page_request;
use super::state::HttpState;

/// What the codec has made of a whole request, and its body.
fn read(request: &str) -> (Box<HttpState>, IoBuf) {
    let mut codec = RequestCodec::new(1000, Lenience::default());
    match codec.parse(&mut request.into()) {
        Ok(Parsed::Message(frame)) => (frame.head.unwrap().downcast().unwrap(), frame.bytes),
        other => panic!("{other:?}"),
    }
}

fn answer(request: &str, body: &str) -> (String, AfterReply) {
    let (state, _) = read(request);
    let token = ReplyToken { id: 0, bits: 0, extra: Some(state) };
    let headers = vec![("x-frame-options", "DENY".to_owned())];
    let page = PageReply { status: 404, content_type: "text/html", body: body.into(), headers };
    let mut out = IoBuf::new();
    let after = HTTP.write_page(token, page, &mut out);
    (String::from_utf8_lossy(&out.to_vec()).into_owned(), after)
}

#[test]
fn pages_are_written_like_other_answers() {
    let (text, after) = answer("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "no");
    let begin = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nContent-Type: text/html\r\nx-frame-options: DENY\r\nDate: ";
    assert!(text.starts_with(begin) && text.ends_with(" GMT\r\n\r\nno"), "{text}");
    assert_eq!(after, AfterReply::GoOn);
    let (text, _) = answer("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n", "no");
    assert!(text.contains("Content-Length: 2\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    let (text, after) = answer("GET /a HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n", &"x".repeat(600));
    assert!(text.contains("\r\ncontent-encoding: gzip\r\nvary: accept-encoding\r\n"), "{text}");
    assert_eq!(after, AfterReply::Close);
    let (text, _) = answer("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", &"x".repeat(600));
    assert!(text.ends_with(&"x".repeat(600)));
}

#[test]
fn pages_are_told_what_they_ask_for() {
    let form = "b=2&token=t";
    let (mut state, body) = read(&format!(
        "POST /vars/a%2ab?a=%201 HTTP/1.1\r\nHost: a:80\r\nOrigin: http://evil\r\nUser-Agent: Mozilla\r\n\
         Authorization: bearer  secret \r\nIf-None-Match: \"x\"\r\nAccept: text/html\r\n\
         Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    ));
    state.unresolved = "a%2ab".into();
    let page = page_request(&state, &body);
    assert_eq!((page.verb, page.form, page.is_cross_site), (Verb::Post, Form::Html, true));
    assert_eq!((page.path.as_str(), page.rest.as_str(), page.host.as_str()), ("/vars/a*b", "a*b", "a:80"));
    assert_eq!((page.query.get("a"), page.query.get_from_form("token")), (Some(" 1"), Some("t")));
    assert_eq!((page.token.as_deref(), page.origin.as_deref()), (Some("secret"), Some("http://evil")));
    assert_eq!((page.accept.as_deref(), page.if_none_match.as_deref()), (Some("text/html"), Some("\"x\"")));
    let (state, body) = read("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8\r\n\r\n");
    let page = page_request(&state, &body);
    assert_eq!((page.verb, page.form, page.is_cross_site), (Verb::Get, Form::Text, false));
}
