//! Writes heads, of responses and of requests: one line after the other into a buffer on the stack, and from there into the
//! connection's. Which lines there are is not decided here.

use http::{HeaderName, Method, StatusCode, Version};
use iobuf::IoBuf;
use smallvec::SmallVec;

use super::date;

/// Heads up to this size need no allocation on the way.
const ON_STACK: usize = 512;

/// A head in the making. What does not begin or end it writes one line.
#[derive(Debug)]
pub(crate) struct HeadWriter {
    bytes: SmallVec<[u8; ON_STACK]>,
}

impl HeadWriter {
    /// Begins with the status line.
    pub(crate) fn new(version: Version, status: StatusCode) -> Self {
        let mut bytes = SmallVec::new();
        if version == Version::HTTP_11 && status == StatusCode::OK {
            bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
            return HeadWriter { bytes };
        }
        bytes.extend_from_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        bytes.extend_from_slice(status.as_str().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(status.canonical_reason().unwrap_or("Unknown").as_bytes());
        bytes.extend_from_slice(b"\r\n");
        HeadWriter { bytes }
    }

    /// Begins with the request line. `target` is without blanks and line ends, as [`http::Uri`] promises.
    pub(crate) fn request(method: &Method, target: &str, version: Version) -> Self {
        let mut bytes = SmallVec::new();
        bytes.extend_from_slice(method.as_str().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(target.as_bytes());
        bytes.extend_from_slice(if version == Version::HTTP_10 {
            b" HTTP/1.0\r\n"
        } else {
            b" HTTP/1.1\r\n"
        });
        HeadWriter { bytes }
    }

    /// `Content-Length`.
    pub(crate) fn length(&mut self, length: u64) {
        self.bytes.extend_from_slice(b"Content-Length: ");
        self.bytes.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// `Date`, the present one.
    pub(crate) fn date(&mut self) {
        self.bytes.extend_from_slice(b"Date: ");
        self.bytes.extend_from_slice(&date::now());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Any field. `value` is without CR, LF and NUL, as [`http::HeaderValue`] promises; those of ours are constants.
    pub(crate) fn field(&mut self, name: &str, value: &[u8]) {
        debug_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Any field.
    pub(crate) fn header(&mut self, name: &HeaderName, value: &http::HeaderValue) {
        self.field(name.as_str(), value.as_bytes());
    }

    /// Ends the head with the empty line and appends it.
    pub(crate) fn finish(mut self, out: &mut IoBuf) {
        self.bytes.extend_from_slice(b"\r\n");
        out.append(&self.bytes);
    }

    /// Ends the head, and appends it together with a body that is one small piece.
    pub(crate) fn finish_with(mut self, body: &[u8], out: &mut IoBuf) {
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(body);
        out.append(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_line_by_line() {
        let mut head = HeadWriter::new(Version::HTTP_10, StatusCode::NOT_FOUND);
        head.length(10);
        head.field("x-a", b"b c");
        let mut out = IoBuf::new();
        head.finish_with(b"0123456789", &mut out);
        assert_eq!(out, "HTTP/1.0 404 Not Found\r\nContent-Length: 10\r\nx-a: b c\r\n\r\n0123456789");
        let mut out = IoBuf::new();
        HeadWriter::new(Version::HTTP_11, StatusCode::from_u16(299).unwrap()).finish(&mut out);
        assert_eq!(out, "HTTP/1.1 299 Unknown\r\n\r\n");
    }
}
