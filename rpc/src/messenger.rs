//! Finds out which protocol a connection speaks and cuts its bytes into messages.
//!
//! Owns the codecs of one connection and the memory of which one fitted last. It must never read, dispatch, or look
//! into a message; one message may speak another protocol than the one before it (`spec/protocols-baidu.md` §0.2).

use iobuf::IoBuf;

use crate::limits::Limits;
use crate::protocol::{Codec, Frame, Parsed, Protocol, Role, StreamSide, WireError};

/// What was at the front of the bytes.
#[derive(Debug)]
pub(crate) enum Cut {
    /// A message, the index of its protocol in the list that the messenger was given, and whether its answer is to be
    /// waited for before more is cut.
    Message(u32, Frame, bool),
    /// A frame of a stream, and who reads it.
    StreamFrame(&'static dyn StreamSide, Frame),
    /// The head of a message, with the same as a message. [`Messenger::gather`] or [`Messenger::stream`] comes next.
    Head(u32, Frame, bool),
    /// Some of a streamed body.
    Part(IoBuf),
    /// The end of a streamed body.
    End,
    /// Nothing, or the beginning of a message.
    NeedMore,
}

/// The codecs of one connection.
pub(crate) struct Messenger {
    role: Role,
    limits: Limits,
    candidates: Box<[Candidate]>,
    /// The one that cut or waited last.
    preferred: Option<usize>,
    /// What the codec asked last has to say.
    output: Option<IoBuf>,
    /// The preferred codec is in the middle of a body that is streamed.
    is_streaming: bool,
    /// The preferred codec was told to gather a body, and was not asked since: it may refuse it for its size alone.
    is_behind_head: bool,
}

fn preferred_codec(candidates: &mut [Candidate], preferred: Option<usize>) -> Option<&mut Box<dyn Codec>> {
    candidates[preferred?].codec.as_mut()
}

struct Candidate {
    protocol: &'static dyn Protocol,
    /// Its messages are frames of streams.
    streams: Option<&'static dyn StreamSide>,
    /// Opened when it is first asked, closed when it refuses.
    codec: Option<Box<dyn Codec>>,
}

impl Messenger {
    pub(crate) fn new(protocols: &[&'static dyn Protocol], role: Role, limits: Limits) -> Self {
        let candidates = protocols
            .iter()
            .map(|protocol| Candidate { protocol: *protocol, streams: protocol.stream(), codec: None })
            .collect();
        Messenger {
            role,
            limits,
            candidates,
            preferred: None,
            output: None,
            is_streaming: false,
            is_behind_head: false,
        }
    }

    /// Cuts one message off the front. Inlined, as a cut is large to be handed up. An error is final for the connection.
    #[inline]
    pub(crate) fn cut(&mut self, input: &mut IoBuf) -> Result<Cut, WireError> {
        let is_behind_head = std::mem::take(&mut self.is_behind_head);
        if input.is_empty() && !self.is_streaming && !is_behind_head {
            return Ok(Cut::NeedMore);
        }
        let preferred = self.preferred;
        if let Some(index) = preferred
            && let Some(cut) = self.ask(index, input)?
        {
            return Ok(cut);
        }
        for index in (0..self.candidates.len()).filter(|index| Some(*index) != preferred) {
            if let Some(cut) = self.ask(index, input)? {
                return Ok(cut);
            }
        }
        Err(WireError::Unknown)
    }

    /// Whether [`cut`](Self::cut) makes sense though there may be no bytes.
    pub(crate) fn is_behind_head(&self) -> bool {
        self.is_behind_head
    }

    /// What a codec has to say after a [`cut`](Self::cut).
    pub(crate) fn take_output(&mut self) -> Option<IoBuf> {
        self.output.take()
    }

    /// Tells the codec of a connection with one protocol what reply comes next.
    pub(crate) fn expect(&mut self, hint: u64) {
        if let Some(Candidate { protocol, codec, .. }) = self.candidates.first_mut() {
            codec.get_or_insert_with(|| protocol.codec(self.role, &self.limits)).expect(hint);
        }
    }

    /// The stream has ended: what its end makes whole.
    pub(crate) fn end_of_stream(&mut self) -> Result<Option<Cut>, WireError> {
        let Some(index) = self.preferred else { return Ok(None) };
        let Some(codec) = preferred_codec(&mut self.candidates, self.preferred) else { return Ok(None) };
        Ok(match codec.end_of_stream()? {
            Some(Parsed::Message(frame)) => Some(Cut::Message(index as u32, frame, codec.is_serial())),
            Some(Parsed::End) => Some(Cut::End),
            _ => None,
        })
    }

    /// The body of the message whose head was cut is wanted whole. The next [`cut`](Self::cut) is due at once.
    pub(crate) fn gather(&mut self, head: Frame) {
        if let Some(codec) = preferred_codec(&mut self.candidates, self.preferred) {
            codec.gather(head);
            self.is_behind_head = true;
            self.output = codec.take_output();
        }
    }

    /// The body of the message whose head was cut is wanted as it arrives.
    pub(crate) fn stream(&mut self) {
        if let Some(codec) = preferred_codec(&mut self.candidates, self.preferred) {
            codec.stream();
            self.output = codec.take_output();
            self.is_streaming = true;
        }
    }

    /// Drops the codecs with all that they have gathered: nothing is cut any more.
    pub(crate) fn forget(&mut self) {
        self.candidates = Box::default();
        self.preferred = None;
        self.output = None;
    }

    /// `None`: this protocol refuses the bytes.
    #[inline]
    fn ask(&mut self, index: usize, input: &mut IoBuf) -> Result<Option<Cut>, WireError> {
        let Candidate { protocol, streams, codec } = &mut self.candidates[index];
        let codec = codec.get_or_insert_with(|| protocol.codec(self.role, &self.limits));
        let parsed = codec.parse(input);
        self.output = codec.take_output();
        let cut = match parsed? {
            Parsed::Message(frame) => match streams {
                None => Cut::Message(index as u32, frame, codec.is_serial()),
                Some(side) => Cut::StreamFrame(*side, frame),
            },
            Parsed::Head(frame) => Cut::Head(index as u32, frame, codec.is_serial()),
            Parsed::Part(bytes) => Cut::Part(bytes),
            Parsed::End => {
                self.is_streaming = false;
                Cut::End
            }
            Parsed::NeedMore => Cut::NeedMore,
            Parsed::NotMine => {
                self.candidates[index].codec = None;
                self.preferred = None;
                return Ok(None);
            }
        };
        self.preferred = Some(index);
        Ok(Some(cut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ConnectionType;

    /// Frames of two bytes: a letter, then anything.
    struct Letter(&'static str, u8);

    struct LetterCodec(u8);

    impl Protocol for Letter {
        fn name(&self) -> &'static str {
            self.0
        }

        fn codec(&self, _: Role, _: &Limits) -> Box<dyn Codec> {
            Box::new(LetterCodec(self.1))
        }

        fn connection_types(&self) -> &'static [ConnectionType] {
            &[ConnectionType::Single]
        }
    }

    impl Codec for LetterCodec {
        fn parse(&mut self, input: &mut IoBuf) -> Result<Parsed, WireError> {
            match input.to_vec()[..] {
                [first, ..] if first != self.0 => Ok(Parsed::NotMine),
                [_, b'!', ..] => Err(WireError::Malformed("shouting")),
                [_, _, ..] => Ok(Parsed::Message(Frame::new(input.cut(2), 1))),
                _ => Ok(Parsed::NeedMore),
            }
        }
    }

    /// Heads of one byte; a body that is wanted whole is refused.
    struct Refusing;

    #[derive(Default)]
    struct RefusingCodec {
        refuses: bool,
    }

    impl Protocol for Refusing {
        fn name(&self) -> &'static str {
            "refusing"
        }

        fn codec(&self, _: Role, _: &Limits) -> Box<dyn Codec> {
            Box::new(RefusingCodec::default())
        }

        fn connection_types(&self) -> &'static [ConnectionType] {
            &[ConnectionType::Single]
        }
    }

    impl Codec for RefusingCodec {
        fn parse(&mut self, input: &mut IoBuf) -> Result<Parsed, WireError> {
            match self.refuses {
                true => Err(WireError::Malformed("too large")),
                false => Ok(Parsed::Head(Frame::new(input.cut(1), 1))),
            }
        }

        fn gather(&mut self, _: Frame) {
            self.refuses = true;
        }
    }

    #[test]
    fn a_body_is_refused_before_its_first_byte() {
        let mut messenger = Messenger::new(&[&Refusing], Role::Server, Limits::default());
        let mut input = IoBuf::from("h");
        let Ok(Cut::Head(_, head, _)) = messenger.cut(&mut input) else { panic!("a head") };
        assert!(input.is_empty() && !messenger.is_behind_head());
        messenger.gather(head);
        assert!(messenger.is_behind_head());
        assert!(messenger.cut(&mut input).is_err());
    }

    fn messenger() -> Messenger {
        Messenger::new(&[&Letter("a", b'a'), &Letter("b", b'b')], Role::Server, Limits::default())
    }

    fn cut(messenger: &mut Messenger, input: &mut IoBuf) -> String {
        match messenger.cut(input) {
            Ok(Cut::Message(protocol, frame, false)) => {
                format!("{}:{}", ["a", "b"][protocol as usize], frame.bytes.len())
            }
            Ok(Cut::NeedMore) => "more".into(),
            Ok(other) => panic!("{other:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn one_connection_may_speak_two_protocols_message_by_message() {
        let (mut messenger, mut input) = (messenger(), IoBuf::from("b1b2a3b"));
        let seen: Vec<_> = (0..5).map(|_| cut(&mut messenger, &mut input)).collect();
        assert_eq!(seen, ["b:2", "b:2", "a:2", "more", "more"]);
        input.append(b"4");
        assert_eq!(cut(&mut messenger, &mut input), "b:2");
        assert_eq!(cut(&mut messenger, &mut input), "more", "empty");
    }

    #[test]
    fn bytes_that_all_refuse_are_unknown() {
        assert_eq!(cut(&mut messenger(), &mut IoBuf::from("c")), "unknown message");
    }

    #[test]
    fn an_error_of_the_preferred_protocol_is_not_offered_to_the_others() {
        let (mut messenger, mut input) = (messenger(), IoBuf::from("a1a!"));
        assert_eq!(cut(&mut messenger, &mut input), "a:2");
        assert_eq!(cut(&mut messenger, &mut input), "malformed message: shouting");
    }
}
