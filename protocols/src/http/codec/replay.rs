//! Gives bytes to a codec in pieces and notes what it makes of them: what tests and fuzz targets are made of.

use iobuf::IoBuf;
use rpc::protocol::{Codec, Frame, Parsed};

use super::head::ResponseHead;
use super::{Lenience, RequestCodec, ResponseCodec};
use crate::http::state::HttpState;

/// How bodies that have not arrived whole are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Whole,
    AsTheyArrive,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Start line, fields and body of each message.
    pub(crate) messages: Vec<(String, Vec<u8>)>,
    /// How it ended, if not with the wish for more bytes.
    pub(crate) end: Option<End>,
    /// What the codec had to say, in the order in which it said it, apart from go-aheads.
    pub(crate) output: Vec<u8>,
    /// Go-aheads given.
    pub(crate) go_aheads: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    NotMine,
    Refused,
}

/// Requests in `pieces`.
pub(crate) fn requests(max_body_size: usize, pieces: Vec<&[u8]>, taken: Taken) -> Replayed {
    replay(&mut RequestCodec::new(max_body_size, Lenience::default()), pieces, taken)
}

/// Responses in `pieces`, behind which the connection ends.
pub(crate) fn responses(max_body_size: usize, pieces: Vec<&[u8]>, taken: Taken) -> Replayed {
    replay(&mut ResponseCodec::new(max_body_size, Lenience::default()), pieces, taken)
}

/// Anything, until the bytes or the patience of the codec end.
pub(crate) fn replay(codec: &mut dyn Codec, pieces: Vec<&[u8]>, taken: Taken) -> Replayed {
    let (mut input, mut replayed, mut streamed) = (IoBuf::new(), Replayed::default(), None);
    for piece in pieces {
        input.append(piece);
        loop {
            let before = input.len();
            let parsed = codec.parse(&mut input);
            replayed.note(codec.take_output());
            assert!(input.len() <= before);
            match parsed {
                Ok(Parsed::Message(frame)) => {
                    replayed.messages.push((describe(&frame), frame.bytes.to_vec()))
                }
                Ok(Parsed::Head(frame)) => {
                    let head = describe(&frame);
                    match taken {
                        Taken::Whole => codec.gather(frame),
                        Taken::AsTheyArrive => {
                            streamed = Some((head, Vec::new()));
                            codec.stream();
                        }
                    }
                    replayed.note(codec.take_output());
                }
                Ok(Parsed::Part(part)) => {
                    assert!(!part.is_empty());
                    streamed.as_mut().expect("a head came before").1.extend(part.to_vec());
                }
                Ok(Parsed::End) => replayed.messages.push(streamed.take().expect("a head came before")),
                Ok(Parsed::NeedMore) => break,
                Ok(Parsed::NotMine) => {
                    replayed.end = Some(End::NotMine);
                    return replayed;
                }
                Err(_) => {
                    replayed.end = Some(End::Refused);
                    return replayed;
                }
            }
            if input.is_empty() && streamed.is_none() {
                break;
            }
        }
    }
    match codec.end_of_stream() {
        Ok(Some(Parsed::Message(frame))) => {
            replayed.messages.push((describe(&frame), frame.bytes.to_vec()));
        }
        Ok(Some(Parsed::End)) => replayed.messages.extend(streamed),
        Ok(_) => {}
        Err(_) => replayed.end = Some(End::Refused),
    }
    replayed
}

impl Replayed {
    fn note(&mut self, output: Option<IoBuf>) {
        let Some(output) = output else { return };
        if output == "HTTP/1.1 100 Continue\r\n\r\n" {
            self.go_aheads += 1;
        } else {
            self.output.extend(output.to_vec());
        }
    }
}

/// What the head of a frame says, all of it.
fn describe(frame: &Frame) -> String {
    let head = frame.head.as_ref().expect("frames have heads");
    let (start, fields) = if let Some(state) = head.downcast_ref::<HttpState>() {
        let head = &state.head;
        let parts = head.to_parts();
        assert!(parts.uri.path() == head.path(), "{parts:?} {head:?}");
        assert_eq!(parts.uri.query().unwrap_or_default(), head.query());
        assert_eq!(parts.headers.len(), head.fields.iter().count());
        let (method, path, query) = (&head.method, head.path(), head.query());
        let keep = head.is_persistent;
        (format!("{method} {path} ?{query} @{} {:?} {keep}", head.host(), head.version), &head.fields)
    } else {
        let head = head.downcast_ref::<ResponseHead>().expect("there are two kinds of heads");
        assert_eq!(head.fields.to_header_map().len(), head.fields.iter().count());
        (format!("{} {:?} {}", head.status, head.version, head.is_persistent), &head.fields)
    };
    fields
        .iter()
        .fold(start, |all, (name, value)| all + &format!("|{}:{}", name.escape_ascii(), value.escape_ascii()))
}
