//! What a page answers: a status, a type and contents, without the protocol that carries them. Owns the headers that every
//! page carries; must never decide what a page says.

use std::fmt::Write as _;

use iobuf::IoBuf;

use super::context::PageContext;
use super::frame;
use super::request::{Form, PageRequest};
use crate::error::{EAGAIN, EINVAL, ENOMETHOD, EOVERCROWDED, ErrorCode};

/// Plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
/// HTML, made by the writer.
pub(crate) const HTML: &str = "text/html; charset=utf-8";
/// JSON.
pub(crate) const JSON: &str = "application/json";
/// Bytes for a tool.
pub(crate) const BYTES: &str = "application/octet-stream";

/// What a page may load and be loaded by: itself and the assets of this server, nothing inline, nobody else's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The number of EPERM, which brpc answers refused changes with.
pub(crate) const EPERM: ErrorCode = ErrorCode::new(1);

/// The answer to a [`PageRequest`].
#[derive(Debug)]
pub struct PageReply {
    /// As in HTTP.
    pub status: u16,
    /// The type of the contents, as in HTTP.
    pub content_type: &'static str,
    /// The contents.
    pub body: IoBuf,
    /// More headers, names in lower case. Values hold visible ASCII and blanks only.
    pub headers: Vec<(&'static str, String)>,
}

impl PageReply {
    pub(crate) fn new(content_type: &'static str, body: impl Into<IoBuf>) -> PageReply {
        PageReply { status: 200, content_type, body: body.into(), headers: Vec::new() }
    }

    /// Plain text.
    pub(crate) fn text(text: impl Into<String>) -> PageReply {
        PageReply::new(TEXT, text.into())
    }

    /// A JSON value.
    pub(crate) fn json(value: &serde_json::Value) -> PageReply {
        // Characters that mean something in HTML only occur in strings, where they may be written as numbers.
        let text = value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        PageReply::new(JSON, text)
    }

    pub(crate) fn with_body(mut self, body: impl Into<IoBuf>) -> PageReply {
        self.body = body.into();
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> PageReply {
        self.status = status;
        self
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> PageReply {
        self.headers.push((name, value.into()));
        self
    }

    /// An error as brpc's pages word it: server and number in front of the text, which is made one line; in a frame for
    /// browsers, in an object for who wants JSON.
    pub(crate) fn error(
        context: &PageContext<'_>,
        request: &PageRequest,
        code: ErrorCode,
        text: impl AsRef<str>,
    ) -> PageReply {
        let text = format!("[{}][E{code}]{}", context.identity(), one_line(text.as_ref()));
        let status = match code {
            ENOMETHOD => 404,
            EPERM => 403,
            EINVAL => 400,
            EAGAIN | EOVERCROWDED => 503,
            _ => 500,
        };
        let reply = match request.form {
            _ if request.wants_json() => PageReply::json(&serde_json::json!({ "error": text })),
            Form::Text => PageReply::text(text),
            Form::Html => frame::page(context, "error", "", |html| {
                html.paragraph("notice bad", &text);
            }),
        };
        reply.with_status(status).with_header("x-bd-error-code", code.to_string())
    }

    /// Puts in what every page carries.
    pub(super) fn secured(mut self) -> PageReply {
        self.headers.push(("content-security-policy", CONTENT_SECURITY_POLICY.to_owned()));
        self.headers.push(("x-content-type-options", "nosniff".to_owned()));
        self.headers.push(("referrer-policy", "same-origin".to_owned()));
        self.headers.push(("x-frame-options", "DENY".to_owned()));
        if !self.headers.iter().any(|(name, _)| *name == "cache-control") {
            self.headers.push(("cache-control", "no-store".to_owned()));
        }
        for (_, value) in &mut self.headers {
            value.retain(|c| c == ' ' || c.is_ascii_graphic());
        }
        self
    }
}

/// Makes one line of anything: control characters become escapes, so that a value can neither forge a row nor drive a
/// terminal.
pub(crate) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => _ = write!(out, "\\x{:02x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

/// As [`one_line`], but lines and tabs stay.
pub(crate) fn lines(text: &str) -> String {
    text.split_inclusive(['\n', '\t'])
        .map(|line| match line.strip_suffix(['\n', '\t']) {
            Some(start) => one_line(start.trim_end_matches('\r')) + &line[start.len()..],
            None => one_line(line),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(one_line("a\nb\u{1b}[31m\u{85}\0"), "a\\nb\\x1b[31m\\x85\\x00");
        assert_eq!(lines("a\r\n\tb\u{1b}\n"), "a\n\tb\\x1b\n");
    }

    #[test]
    fn headers_cannot_be_split() {
        let reply = PageReply::text("").with_header("etag", "a\r\nset-cookie: b").secured();
        let etag = reply.headers.iter().find(|(name, _)| *name == "etag").unwrap();
        assert_eq!(etag.1, "aset-cookie: b");
    }

    #[test]
    fn json_holds_nothing_that_html_reads() {
        let reply = PageReply::json(&serde_json::json!({ "a": "</script><b>&" }));
        assert_eq!(reply.body.to_vec(), br#"{"a":"\u003c/script\u003e\u003cb\u003e\u0026"}"#);
    }
}
