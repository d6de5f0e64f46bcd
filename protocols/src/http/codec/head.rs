//! Heads: the start line and the fields of a message, read once and kept in one piece of memory.
//!
//! Owns what every part of HTTP needs to know of a head. The types of the `http` crate are made from it on demand.

use std::ops::Range;

use bytes::Bytes;
use http::{Method, StatusCode, Uri, Version};

use super::fields::{FIELDS_MAX, Fields, elements};
use super::framing::{BodyLength, Declared};
use super::refusal::Refusal;
use super::target;

/// The largest head, from the start line to the empty line (`spec/protocols-http.md` §9). Larger: 431, or 414 if the
/// start line alone is.
pub(crate) const HEAD_MAX: usize = 80 << 10;

/// What a codec accepts beyond what it has to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lenience {
    /// HTTP/1.1 requests without `Host`.
    pub(crate) missing_host: bool,
    /// `Transfer-Encoding` together with `Content-Length`, which is ignored then.
    pub(crate) both_lengths: bool,
}

/// The head of a request.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) fields: Fields,
    /// How long the body is.
    pub(crate) body: BodyLength,
    /// Whether another request may follow on the connection.
    pub(crate) is_persistent: bool,
    /// Whether the sender waits for a go-ahead before it sends the body.
    pub(crate) expects_continue: bool,
    target: Range<u32>,
    path: Range<u32>,
    query: Range<u32>,
    authority: Option<Range<u32>>,
}

impl RequestHead {
    /// Reads a whole head, the empty line included.
    pub(super) fn read(bytes: Bytes, lenience: Lenience) -> Result<Self, Refusal> {
        let mut slots = [const { std::mem::MaybeUninit::uninit() }; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(&bytes, &mut slots) {
            Ok(httparse::Status::Complete(size)) if size == bytes.len() => {}
            Ok(_) => return Err(Refusal::bad("A head that does not end where it should")),
            Err(error) => return Err(unreadable(error, &bytes)),
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
        else {
            return Err(Refusal::bad("A request line with something missing"));
        };
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::bad("A method that is none"))?;
        let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        let parts = target::read(&method, target.as_bytes())?;
        let begin = target.as_ptr() as usize - bytes.as_ptr() as usize;
        let place = |range: Range<usize>| (begin + range.start) as u32..(begin + range.end) as u32;
        let target = place(0..target.len());
        let places = Fields::places(&bytes, request.headers);
        let (path, query) = (place(parts.path), place(parts.query));
        let authority = parts.authority.map(place);
        let fields = Fields::new(bytes, places);
        let options = Options::read(&fields, version)?;
        options.check_host(lenience.missing_host || version == Version::HTTP_10 || authority.is_some())?;
        let (body, is_suspect) =
            Declared::read(&fields, false)?.of_request(version, lenience.both_lengths)?;
        Ok(RequestHead {
            method,
            version,
            body,
            is_persistent: options.is_persistent && !is_suspect,
            expects_continue: options.expects_continue,
            target,
            path,
            query,
            authority,
            fields,
        })
    }

    fn text(&self, range: &Range<u32>) -> &str {
        // The target is ASCII, and so is each part of it.
        str::from_utf8(&self.fields.bytes()[range.start as usize..range.end as usize]).unwrap_or_default()
    }

    /// The path as it was sent, undecoded; `/` if there is none, `*` in the asterisk form.
    pub(crate) fn path(&self) -> &str {
        if self.path.is_empty() { "/" } else { self.text(&self.path) }
    }

    /// What is behind the `?`, undecoded.
    pub(crate) fn query(&self) -> &str {
        self.text(&self.query)
    }

    /// Host and port: those of the target if it names them, else the `Host` field. Empty if neither.
    pub(crate) fn host(&self) -> &str {
        match &self.authority {
            Some(authority) => self.text(authority),
            None => self.fields.get("host").and_then(|host| str::from_utf8(host).ok()).unwrap_or_default(),
        }
    }

    /// As the `http` crate has it.
    pub(crate) fn to_parts(&self) -> http::request::Parts {
        let target = self.fields.bytes().slice(self.target.start as usize..self.target.end as usize);
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = self.method.clone();
        // It accepts every target that `target::read` does, as a property test says.
        parts.uri = Uri::from_maybe_shared(target).unwrap_or_default();
        parts.version = self.version;
        parts.headers = self.fields.to_header_map();
        parts
    }
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) version: Version,
    pub(crate) status: StatusCode,
    pub(crate) fields: Fields,
    /// How long the body is.
    pub(crate) body: BodyLength,
    /// Whether the connection may be used for another request.
    pub(crate) is_persistent: bool,
}

impl ResponseHead {
    /// Reads a whole head. `to_head`: the request was a HEAD, so no body follows whatever the fields say.
    pub(super) fn read(bytes: Bytes, lenience: Lenience, to_head: bool) -> Result<Self, Refusal> {
        let bytes = unfolded(bytes);
        let mut slots = [const { std::mem::MaybeUninit::uninit() }; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut response, &bytes, &mut slots) {
            Ok(httparse::Status::Complete(size)) if size == bytes.len() => {}
            Ok(_) => return Err(Refusal::bad("A head that does not end where it should")),
            Err(error) => return Err(unreadable(error, &bytes)),
        }
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Refusal::bad("A status that is none"))?;
        let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        let places = Fields::places(&bytes, response.headers);
        let fields = Fields::new(bytes, places);
        let options = Options::read(&fields, version)?;
        let declared = Declared::read(&fields, true)?;
        let has_body = !to_head && may_have_body(status);
        let body = match has_body {
            true => declared.of_response(version, lenience.both_lengths)?,
            false => BodyLength::Sized(0),
        };
        let is_persistent = options.is_persistent && body != BodyLength::UntilEof;
        Ok(ResponseHead { version, status, fields, body, is_persistent })
    }
}

/// Whether a response of this status has a body; fields about one mean nothing where it has none (RFC 9112 §6.3).
pub(crate) fn may_have_body(status: StatusCode) -> bool {
    !(status.is_informational() || matches!(status.as_u16(), 204 | 304))
}

/// What the fields say about the connection and the request as a whole.
struct Options {
    is_persistent: bool,
    expects_continue: bool,
    hosts: usize,
}

impl Options {
    fn read(fields: &Fields, version: Version) -> Result<Self, Refusal> {
        let (mut close, mut keep_alive) = (false, false);
        let mut options = Options { is_persistent: false, expects_continue: false, hosts: 0 };
        for (name, value) in fields.iter() {
            match name.len() {
                4 if name.eq_ignore_ascii_case(b"host") => {
                    if !target::is_host(value) {
                        return Err(Refusal::bad("A Host that is none"));
                    }
                    options.hosts += 1;
                }
                6 if name.eq_ignore_ascii_case(b"expect") => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(Refusal::new(
                            StatusCode::EXPECTATION_FAILED,
                            "An expectation that is not known",
                        ));
                    }
                    // Of a 1.0 client it means nothing (RFC 9110 §10.1.1).
                    options.expects_continue = version == Version::HTTP_11;
                }
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    for option in elements(value) {
                        close |= option.eq_ignore_ascii_case(b"close");
                        keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                _ => {}
            }
        }
        options.is_persistent = !close && (keep_alive || version == Version::HTTP_11);
        Ok(options)
    }

    fn check_host(&self, may_be_missing: bool) -> Result<(), Refusal> {
        match self.hosts {
            1 => Ok(()),
            0 if may_be_missing => Ok(()),
            0 => Err(Refusal::bad("An HTTP/1.1 request without Host")),
            _ => Err(Refusal::bad("More than one Host")),
        }
    }
}

/// What to answer for a head that `httparse` refuses.
fn unreadable(error: httparse::Error, bytes: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => {
            Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Too many fields")
        }
        httparse::Error::Version if names_other_version(bytes) => {
            Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "A version other than 1.0 and 1.1")
        }
        httparse::Error::Version => Refusal::bad("A version that is none"),
        httparse::Error::HeaderName => Refusal::bad("A field's name with a byte that no name has"),
        httparse::Error::HeaderValue => Refusal::bad("A field's value with a byte that no value has"),
        _ => Refusal::bad("A start line that cannot be read"),
    }
}

/// Whether the start line is in order but for its version, which is no `HTTP/1.0` or `HTTP/1.1`.
fn names_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let is_version = |word: &[u8]| {
        matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() && !matches!(word, b"HTTP/1.0" | b"HTTP/1.1"))
    };
    words.next().is_some_and(is_version) && words.next().is_none()
}

/// A response's fields that go on in the next line (RFC 9112 §5.2) in one line: clients have to read them. In a
/// request they are refused.
fn unfolded(bytes: Bytes) -> Bytes {
    let folds = |bytes: &[u8]| {
        memchr::memchr_iter(b'\n', bytes).find(|feed| matches!(bytes.get(feed + 1), Some(b' ' | b'\t')))
    };
    if folds(&bytes).is_none() {
        return bytes;
    }
    let mut bytes = Vec::from(bytes);
    for feed in 1..bytes.len() - 1 {
        if bytes[feed] == b'\n' && matches!(bytes[feed + 1], b' ' | b'\t') {
            bytes[feed - 1..=feed].fill(b' ');
        }
    }
    bytes.into()
}
