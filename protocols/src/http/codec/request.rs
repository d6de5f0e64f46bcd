//! Cuts requests off a connection: the server's codec.

use bytes::Buf;
use http::{StatusCode, Version};
use iobuf::IoBuf;
use rpc::protocol::{Codec, Frame, Parsed, WireError};

use super::body::{Body, Gathered};
use super::framing::BodyLength;
use super::head::{HEAD_MAX, Lenience, RequestHead};
use super::method::{self, Beginning, METHOD_MAX};
use super::refusal::Refusal;
use super::scan::{HeadScan, Scanned};
use super::target::{self, TARGET_MAX};
use super::write::HeadWriter;
use crate::http::state::HttpState;

/// Empty lines in front of a request that are read over (RFC 9112 §2.2).
const EMPTY_LINES_MAX: usize = 4;

/// The longest request line: a target, a method, a version.
const LINE_MAX: usize = TARGET_MAX + 32;

/// Cuts requests.
#[derive(Debug)]
pub(crate) struct RequestCodec {
    max_body_size: usize,
    lenience: Lenience,
    state: State,
    /// Whether a request was cut already: what comes now is HTTP or wrong.
    is_established: bool,
    empty_lines: usize,
    output: Option<IoBuf>,
}

#[derive(Debug)]
enum State {
    /// Between two requests, or in a head, and what that begins with.
    Head(HeadScan, Beginning),
    /// A head was handed out; the flag: its sender waits for a go-ahead.
    Asked(BodyLength, bool),
    Gathering(Gathered),
    Streaming(Body),
    /// Nothing behind the bytes that were refused can be understood.
    Failed(Refusal),
}

impl State {
    fn idle() -> Self {
        State::Head(HeadScan::default(), Beginning::Partial)
    }
}

impl RequestCodec {
    pub(crate) fn new(max_body_size: usize, lenience: Lenience) -> Self {
        RequestCodec {
            max_body_size,
            lenience,
            state: State::idle(),
            is_established: false,
            empty_lines: 0,
            output: None,
        }
    }

    fn cut(&mut self, input: &mut IoBuf) -> Result<Parsed, Refusal> {
        match &mut self.state {
            State::Head(..) => self.cut_head(input),
            State::Gathering(gathered) => {
                if !gathered.go_on(input, self.max_body_size)? {
                    return Ok(Parsed::NeedMore);
                }
                match std::mem::replace(&mut self.state, State::idle()) {
                    State::Gathering(gathered) => Ok(Parsed::Message(gathered.frame)),
                    _ => Ok(Parsed::NeedMore),
                }
            }
            State::Streaming(body) => {
                let parsed = body.part(input)?;
                if matches!(parsed, Parsed::End) {
                    self.state = State::idle();
                }
                Ok(parsed)
            }
            // Nothing can be cut until somebody has said how the body is wanted.
            State::Asked(..) => Ok(Parsed::NeedMore),
            State::Failed(refusal) => Err(*refusal),
        }
    }

    fn cut_head(&mut self, input: &mut IoBuf) -> Result<Parsed, Refusal> {
        let State::Head(scan, begins) = &mut self.state else { return Ok(Parsed::NeedMore) };
        if *begins == Beginning::Partial {
            while input.front().starts_with(b"\r") && self.empty_lines < EMPTY_LINES_MAX {
                match input.get(1) {
                    Some(b'\n') => self.empty_lines += input.pop_front(2) / 2,
                    Some(_) => break,
                    None => return Ok(Parsed::NeedMore),
                }
            }
            *begins = beginning(input);
            match *begins {
                Beginning::Known => {}
                // Nothing at all, too.
                Beginning::Partial => return Ok(Parsed::NeedMore),
                Beginning::Unknown if !self.is_established => return Ok(Parsed::NotMine),
                Beginning::Unknown => {}
            }
        }
        let size = match scan.scan(input, HEAD_MAX) {
            Scanned::Head(size) => size,
            Scanned::More { in_first_line: true } if input.len() > LINE_MAX => {
                return Err(Refusal::new(StatusCode::URI_TOO_LONG, "The request line is too long"));
            }
            Scanned::More { .. } if input.len() < HEAD_MAX => return Ok(Parsed::NeedMore),
            Scanned::BareLineFeed => return Err(Refusal::bad("A lone line feed")),
            _ => {
                return Err(Refusal::new(
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "The head is too large",
                ));
            }
        };
        let head = RequestHead::read(input.copy_to_bytes(size), self.lenience)?;
        if *begins == Beginning::Unknown {
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "A method that is not known"));
        }
        self.is_established = true;
        self.empty_lines = 0;
        let length = head.body;
        let waits = head.expects_continue && input.is_empty();
        let mut frame = Frame::new(IoBuf::new(), 0);
        frame.head = Some(Box::new(HttpState::new(head, self.max_body_size)));
        match length {
            BodyLength::Sized(size) if size <= self.max_body_size as u64 && size as usize <= input.len() => {
                input.cut_into(&mut frame.bytes, size as usize);
                self.state = State::idle();
                Ok(Parsed::Message(frame))
            }
            _ => {
                self.state = State::Asked(length, waits);
                Ok(Parsed::Head(frame))
            }
        }
    }

    /// Lets the sender of the body go ahead if it waits for that, and says how long the body is.
    fn go_ahead(&mut self, max_body_size: usize) -> Option<BodyLength> {
        let State::Asked(length, waits) = self.state else { return None };
        let is_refused = matches!(length, BodyLength::Sized(size) if size > max_body_size as u64);
        if waits && !is_refused {
            let mut out = IoBuf::new();
            HeadWriter::new(Version::HTTP_11, StatusCode::CONTINUE).finish(&mut out);
            self.output = Some(out);
        }
        Some(length)
    }
}

/// What the first bytes are, and for those that may be of another protocol, whether a target follows.
fn beginning(input: &IoBuf) -> Beginning {
    let mut aux = [0; METHOD_MAX + 1];
    let there = input.copy_to(&mut aux, 0);
    let bytes = &aux[..there];
    match method::beginning(&bytes[..there.min(METHOD_MAX)]) {
        Beginning::Known => match bytes.splitn(2, |byte| *byte == b' ').nth(1) {
            Some([]) => Beginning::Partial,
            Some([first, ..]) if target::may_begin(*first) => Beginning::Known,
            _ => Beginning::Unknown,
        },
        other => other,
    }
}

impl Codec for RequestCodec {
    fn parse(&mut self, input: &mut IoBuf) -> Result<Parsed, WireError> {
        self.cut(input).map_err(|refusal| {
            if !matches!(self.state, State::Failed(_)) {
                self.output = Some(refusal.answer());
                self.state = State::Failed(refusal);
            }
            refusal.error()
        })
    }

    fn is_serial(&self) -> bool {
        true
    }

    fn gather(&mut self, head: Frame) {
        if let Some(length) = self.go_ahead(self.max_body_size) {
            self.state = State::Gathering(Gathered::new(head, length));
        }
    }

    fn stream(&mut self) {
        if let Some(length) = self.go_ahead(usize::MAX) {
            self.state = State::Streaming(Body::new(length));
        }
    }

    fn take_output(&mut self) -> Option<IoBuf> {
        self.output.take()
    }
}
