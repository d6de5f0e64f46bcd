//! Writes whole responses: which fields there are, in which order (`spec/protocols-http.md` §9), and whether the
//! connection goes on.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName,
    TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use iobuf::IoBuf;
use rpc::protocol::AfterReply;

use super::codec::{HeadWriter, RequestHead, elements, may_have_body};
use super::gzip::{self, COMPRESS_THRESHOLD};
use super::progressive::Framing;

/// Bodies of one piece up to this size are copied behind the head.
const COPIED_MAX: usize = 512;

/// A response about to be written.
pub(super) struct Response<'a> {
    pub(super) status: StatusCode,
    /// Not written if the body has none.
    pub(super) content_type: Option<&'a [u8]>,
    /// The user's. Those that say how the body is framed are not written.
    pub(super) fields: Option<&'a HeaderMap>,
    /// Ours, behind the user's.
    pub(super) more: &'a [(&'static str, &'a str)],
    pub(super) compress: bool,
    pub(super) body: Body,
}

/// What follows a head.
pub(super) enum Body {
    Whole(IoBuf),
    /// Parts, written later.
    Parts(Framing),
}

impl Response<'_> {
    /// Appends the response to a request.
    pub(super) fn write(mut self, request: &RequestHead, out: &mut IoBuf) -> AfterReply {
        let is_head = request.method == Method::HEAD;
        let status = self.status;
        // Interim responses and those that have no body have no fields about one either.
        let has_body = may_have_body(status);
        let (mut body, framing) = match std::mem::replace(&mut self.body, Body::Parts(Framing::None)) {
            Body::Whole(body) => (body, None),
            Body::Parts(framing) => (IoBuf::new(), Some(framing)),
        };
        if status == StatusCode::RESET_CONTENT || !has_body {
            body.clear();
        }
        let is_encoded = self.fields.is_some_and(|fields| fields.contains_key(CONTENT_ENCODING));
        let may_compress = self.compress && !is_encoded && body.len() >= COMPRESS_THRESHOLD;
        let accepts = || request.fields.get("accept-encoding").is_some_and(gzip::is_accepted);
        let is_compressed = may_compress && accepts();
        if is_compressed {
            body = gzip::deflate(&body);
        }

        let mut head = HeadWriter::new(request.version, status);
        let is_chunked = has_body
            && (framing == Some(Framing::Chunked)
                || (framing == Some(Framing::None) && request.version == Version::HTTP_11));
        if has_body && framing.is_none() {
            head.length(self.length(is_head, &body));
        }
        if let Some(content_type) = self.content_type.filter(|_| has_body) {
            head.field("Content-Type", content_type);
        }
        if is_chunked {
            head.field("Transfer-Encoding", b"chunked");
        }
        if is_compressed {
            head.field("content-encoding", b"gzip");
        }
        // Other answers are not kept by caches.
        if may_compress && (is_head || request.method == Method::GET) {
            head.header(&VARY, &HeaderValue::from(ACCEPT_ENCODING));
        }
        let closes = self.fields(&mut head);
        // Parts that are written although there is no body must not be taken for the next response.
        let is_overfull = !has_body && framing.is_some_and(|framing| framing != Framing::None);
        let ends_with_connection = framing == Some(Framing::Raw) || is_overfull;
        let is_persistent = request.is_persistent && !closes && !ends_with_connection;
        match (is_persistent, request.version) {
            (true, Version::HTTP_10) => head.field("connection", b"keep-alive"),
            (true, _) => {}
            (false, _) => head.field("connection", b"close"),
        }
        if body.is_empty() || is_head || framing.is_some() {
            head.finish(out);
        } else if body.len() <= COPIED_MAX && body.front().len() == body.len() {
            head.finish_with(body.front(), out);
        } else {
            head.finish(out);
            out.append_buf(body);
        }
        if is_persistent { AfterReply::GoOn } else { AfterReply::Close }
    }

    /// The user may say the length of a body that is not made for a HEAD.
    fn length(&self, is_head: bool, body: &IoBuf) -> u64 {
        let said = || self.fields?.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        match is_head && body.is_empty() {
            true => said().unwrap_or(0),
            false => body.len() as u64,
        }
    }

    /// Writes the user's fields and ours. True if the user closes the connection.
    fn fields(&self, head: &mut HeadWriter) -> bool {
        let (mut closes, mut has_date) = (false, false);
        for (name, value) in self.fields.into_iter().flatten() {
            if name == CONNECTION {
                closes |= elements(value.as_bytes()).any(|option| option.eq_ignore_ascii_case(b"close"));
            } else if !is_framing(name) {
                has_date |= name == DATE;
                head.header(name, value);
            }
        }
        self.more.iter().for_each(|(name, value)| head.field(name, value.as_bytes()));
        if !has_date {
            head.date();
        }
        closes
    }
}

/// Whether a field is about the connection or the body's framing, which are decided here.
fn is_framing(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH
        || *name == CONTENT_TYPE
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || name.as_str() == "keep-alive"
}
