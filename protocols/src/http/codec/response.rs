//! Cuts responses off a connection: the client's codec.

use bytes::Buf;
use http::StatusCode;
use iobuf::IoBuf;
use rpc::protocol::{Codec, Frame, Parsed, WireError};

use super::body::{Body, Gathered};
use super::framing::BodyLength;
use super::head::{HEAD_MAX, Lenience, ResponseHead};
use super::refusal::Refusal;
use super::scan::{HeadScan, Scanned};

/// The most responses of status 1xx in front of the one that counts.
const INTERIM_MAX: usize = 16;

/// Of [`Codec::expect`]: the next response answers a HEAD, so it has no body, whatever its head says.
pub(crate) const HINT_HEAD: u64 = 1;

/// What every response begins with.
const BEGINNING: &[u8] = b"HTTP/1.";

/// Cuts responses. Those of status 1xx are read over.
#[derive(Debug)]
pub(crate) struct ResponseCodec {
    max_body_size: usize,
    lenience: Lenience,
    state: State,
    interim: usize,
    /// The next response is to a HEAD.
    to_head: bool,
}

#[derive(Debug)]
enum State {
    Head(HeadScan),
    /// A head was handed out.
    Asked(BodyLength),
    Gathering(Gathered),
    Streaming(Body),
    /// Nothing behind the bytes that were refused can be understood, and nothing may follow a body that ended with the
    /// connection.
    Failed(Refusal),
}

impl State {
    fn idle() -> Self {
        State::Head(HeadScan::default())
    }
}

impl ResponseCodec {
    pub(crate) fn new(max_body_size: usize, lenience: Lenience) -> Self {
        ResponseCodec { max_body_size, lenience, state: State::idle(), interim: 0, to_head: false }
    }

    fn cut(&mut self, input: &mut IoBuf) -> Result<Parsed, Refusal> {
        match &mut self.state {
            State::Head(_) => self.cut_head(input),
            State::Gathering(gathered) => match gathered.go_on(input, self.max_body_size)? {
                true => Ok(self.gathered()),
                false => Ok(Parsed::NeedMore),
            },
            State::Streaming(body) => {
                let parsed = body.part(input)?;
                if matches!(parsed, Parsed::End) {
                    self.state = State::idle();
                }
                Ok(parsed)
            }
            // Nothing can be cut until somebody has said how the body is wanted.
            State::Asked(_) => Ok(Parsed::NeedMore),
            State::Failed(refusal) => Err(*refusal),
        }
    }

    /// Hands out the message that is whole now.
    fn gathered(&mut self) -> Parsed {
        match std::mem::replace(&mut self.state, State::idle()) {
            State::Gathering(gathered) => Parsed::Message(gathered.frame),
            _ => Parsed::NeedMore,
        }
    }

    fn cut_head(&mut self, input: &mut IoBuf) -> Result<Parsed, Refusal> {
        loop {
            let State::Head(scan) = &mut self.state else { return Ok(Parsed::NeedMore) };
            let mut aux = [0; BEGINNING.len()];
            let there = input.copy_to(&mut aux, 0);
            if aux[..there] != BEGINNING[..there] {
                return Ok(Parsed::NotMine);
            }
            let size = match scan.scan(input, HEAD_MAX) {
                Scanned::Head(size) => size,
                Scanned::More { .. } if input.len() < HEAD_MAX => return Ok(Parsed::NeedMore),
                Scanned::BareLineFeed => return Err(Refusal::bad("A lone line feed")),
                _ => return Err(Refusal::bad("The head is too large")),
            };
            *scan = HeadScan::default();
            let head = ResponseHead::read(input.copy_to_bytes(size), self.lenience, self.to_head)?;
            if !head.status.is_informational() {
                self.interim = 0;
                self.to_head = false;
                return Ok(self.with_head(head, input));
            }
            self.interim += 1;
            if head.status == StatusCode::SWITCHING_PROTOCOLS || self.interim > INTERIM_MAX {
                return Err(Refusal::bad("An interim response that nobody asked for"));
            }
            if input.is_empty() {
                return Ok(Parsed::NeedMore);
            }
        }
    }

    fn with_head(&mut self, head: ResponseHead, input: &mut IoBuf) -> Parsed {
        let length = head.body;
        let mut frame = Frame::new(IoBuf::new(), 0);
        frame.head = Some(Box::new(head));
        match length {
            BodyLength::Sized(size) if size <= self.max_body_size as u64 && size as usize <= input.len() => {
                input.cut_into(&mut frame.bytes, size as usize);
                Parsed::Message(frame)
            }
            _ => {
                self.state = State::Asked(length);
                Parsed::Head(frame)
            }
        }
    }
}

impl Codec for ResponseCodec {
    fn parse(&mut self, input: &mut IoBuf) -> Result<Parsed, WireError> {
        self.cut(input).map_err(|refusal| {
            self.state = State::Failed(refusal);
            refusal.error()
        })
    }

    fn gather(&mut self, head: Frame) {
        if let State::Asked(length) = self.state {
            self.state = State::Gathering(Gathered::new(head, length));
        }
    }

    fn stream(&mut self) {
        if let State::Asked(length) = self.state {
            self.state = State::Streaming(Body::new(length));
        }
    }

    fn expect(&mut self, hint: u64) {
        self.to_head = hint & HINT_HEAD != 0;
    }

    fn end_of_stream(&mut self) -> Result<Option<Parsed>, WireError> {
        match &self.state {
            State::Head(_) => Ok(None),
            State::Gathering(gathered) if gathered.ends_with_connection() => Ok(Some(self.gathered())),
            State::Streaming(Body::UntilEof) => {
                self.state = State::idle();
                Ok(Some(Parsed::End))
            }
            State::Failed(refusal) => Err(refusal.error()),
            _ => Err(WireError::Malformed("The connection ended in the middle of a response")),
        }
    }
}
