//! Cuts a body off the input, all of it or as much as is there, whatever says where it ends.

use iobuf::IoBuf;
use rpc::protocol::{Frame, Parsed};

use super::chunked::ChunkedReader;
use super::framing::BodyLength;
use super::refusal::Refusal;

/// The rest of one message's body.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes are missing.
    Sized(u64),
    Chunked(ChunkedReader),
    UntilEof,
}

/// A body that is wanted whole: what there is of it, beside the frame that it goes into.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) frame: Frame,
    body: Body,
}

impl Body {
    pub(super) fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::Sized(size) => Body::Sized(size),
            BodyLength::Chunked => Body::Chunked(ChunkedReader::default()),
            BodyLength::UntilEof => Body::UntilEof,
        }
    }

    /// The next part for somebody who reads as it arrives; `None` if nothing is there.
    pub(super) fn part(&mut self, input: &mut IoBuf) -> Result<Parsed, Refusal> {
        let mut part = IoBuf::new();
        let ended = match self {
            Body::Sized(missing) => {
                let here = (*missing).min(input.len() as u64);
                input.cut_into(&mut part, here as usize);
                *missing -= here;
                *missing == 0
            }
            Body::Chunked(reader) => reader.read(input, &mut part, usize::MAX)?,
            Body::UntilEof => {
                input.cut_into(&mut part, usize::MAX);
                false
            }
        };
        Ok(match part.is_empty() {
            // The end, if it is there, is found again when the part has been taken.
            false => Parsed::Part(part),
            true if ended => Parsed::End,
            true => Parsed::NeedMore,
        })
    }
}

impl Gathered {
    pub(super) fn new(frame: Frame, length: BodyLength) -> Self {
        Gathered { frame, body: Body::new(length) }
    }

    /// Takes what is there; true if the body is whole. A body of known size stays in the input until then, so that
    /// the reader of the connection sees what it waits for.
    ///
    /// # Errors
    /// More than `max` bytes, as soon as it is declared.
    pub(super) fn go_on(&mut self, input: &mut IoBuf, max: usize) -> Result<bool, Refusal> {
        let bytes = &mut self.frame.bytes;
        match &mut self.body {
            Body::Sized(size) if *size > max as u64 => Err(Refusal::too_large(*size, max)),
            Body::Sized(size) => {
                // Not more than `max`, so it is a usize.
                let whole = input.len() as u64 >= *size;
                if whole {
                    input.cut_into(bytes, *size as usize);
                }
                Ok(whole)
            }
            Body::Chunked(reader) => reader.read(input, bytes, max - bytes.len()),
            Body::UntilEof => {
                if input.len() > max - bytes.len() {
                    return Err(Refusal::too_large((input.len() + bytes.len()) as u64, max));
                }
                input.cut_into(bytes, usize::MAX);
                Ok(false)
            }
        }
    }

    /// Whether the end of the connection is the end of this body.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.body, Body::UntilEof)
    }
}
