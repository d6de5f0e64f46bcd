//! The life of a stream as pure rules: what each frame does to a stream, and what the peer is told when one ends
//! (`spec/protocols-baidu.md` §3.2, §3.6). No lock, no socket: the real streams and the model in the tests share them.

use super::frame::StreamFrameBody;

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// The peer's id is not known yet.
    Unconnected,
    /// Its user has closed it before the peer's id was known: it ends as soon as that has what was written.
    Closing,
    /// Both sides know each other.
    Connected,
    /// It is over; its id leads nowhere.
    Closed,
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    /// Its user closes it.
    Closed,
    /// Its user, or a bound, throws it away.
    Cut,
    /// The peer has closed it.
    ClosedByPeer,
    /// The peer does not know it any more.
    ResetByPeer,
    /// Its connection or its call has failed.
    Failed,
}

/// What the peer of a stream that ends is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Farewell {
    Close,
    Rst,
}

impl Ending {
    /// How far a stream is that ends like this.
    pub(super) fn leads_to(self, phase: Phase) -> Phase {
        match (phase, self) {
            (Phase::Unconnected | Phase::Closing, Ending::Closed) => Phase::Closing,
            _ => Phase::Closed,
        }
    }

    /// What goes to the peer, behind everything written before.
    pub(super) fn farewell(self, phase: Phase) -> Option<Farewell> {
        match (phase, self) {
            (Phase::Connected, Ending::Closed | Ending::ClosedByPeer) => Some(Farewell::Close),
            (Phase::Connected, Ending::Cut) => Some(Farewell::Rst),
            _ => None,
        }
    }
}

/// What a frame does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reaction {
    /// Nothing.
    Ignore,
    /// Its sender is told that there is no such stream, where it says who it is.
    Refuse,
    /// Its bytes are received.
    Receive,
    /// The window moves.
    Widen,
    /// The stream ends.
    End(Ending),
}

/// What a frame does to the stream that it names; `phase`: [`Phase::Closed`] if there is none.
pub(super) fn reaction(body: &StreamFrameBody, phase: Phase) -> Reaction {
    match (body, phase) {
        // Data that is on its way behind a feedback for a stream that has closed would be lost with an RST.
        (StreamFrameBody::Rst | StreamFrameBody::Feedback { .. }, Phase::Closed) => Reaction::Ignore,
        (_, Phase::Closed) => Reaction::Refuse,
        (StreamFrameBody::Data { .. }, _) => Reaction::Receive,
        (StreamFrameBody::Feedback { .. }, Phase::Connected) => Reaction::Widen,
        (StreamFrameBody::Close, _) => Reaction::End(Ending::ClosedByPeer),
        (StreamFrameBody::Rst, _) => Reaction::End(Ending::ResetByPeer),
        (StreamFrameBody::Feedback { .. } | StreamFrameBody::Unknown, _) => Reaction::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iobuf::IoBuf;
    use std::collections::{HashSet, VecDeque};

    /// A frame as the model sends it. All but RST name their sender.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Sent {
        /// Numbered from 0, so that loss and disorder show.
        Data(u8),
        Close,
        Rst,
        Feedback,
        /// The answer to the call, which is no frame to those who look at frames: the service has accepted, or not.
        Answer(bool),
    }

    impl Sent {
        fn body(self) -> StreamFrameBody {
            match self {
                Sent::Data(_) | Sent::Answer(_) => {
                    StreamFrameBody::Data { payload: IoBuf::new(), has_continuation: false }
                }
                Sent::Close => StreamFrameBody::Close,
                Sent::Rst => StreamFrameBody::Rst,
                Sent::Feedback => StreamFrameBody::Feedback { consumed: 1 },
            }
        }
    }

    /// How far the call is that makes the stream, as the server knows it. The caller has made it, and is at its end.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Answer {
        Open,
        /// The answer says of the server's stream that it is there. The stream does not know yet.
        Decided,
        Given,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct End {
        phase: Phase,
        answer: Answer,
        wrote: u8,
        /// Of those, the ones that are kept until the peer is known.
        early: VecDeque<u8>,
        received: u8,
        endings: Vec<Ending>,
        /// On their way to this end.
        arriving: VecDeque<Sent>,
        feedbacks: u8,
    }

    const WRITES: u8 = 2;

    impl End {
        fn new(answer: Answer) -> Self {
            End {
                phase: Phase::Unconnected,
                answer,
                wrote: 0,
                early: VecDeque::new(),
                received: 0,
                endings: Vec::new(),
                arriving: VecDeque::new(),
                feedbacks: 0,
            }
        }

        /// The peer is known. False: nobody is here any more.
        fn connect(&mut self, peer: &mut End) -> bool {
            let is_closing = match self.phase {
                Phase::Unconnected => false,
                Phase::Closing => true,
                Phase::Connected => panic!("it is connected twice"),
                Phase::Closed => return false,
            };
            self.phase = Phase::Connected;
            peer.arriving.extend(self.early.drain(..).map(Sent::Data));
            if is_closing {
                self.end(Ending::Closed, peer);
            }
            true
        }

        fn end(&mut self, ending: Ending, peer: &mut End) {
            let phase = ending.leads_to(self.phase);
            if phase != Phase::Closed || self.phase == Phase::Closed {
                self.phase = phase;
                return;
            }
            match ending.farewell(self.phase) {
                Some(Farewell::Close) => peer.arriving.push_back(Sent::Close),
                Some(Farewell::Rst) => peer.arriving.push_back(Sent::Rst),
                None => {}
            }
            self.phase = Phase::Closed;
            self.early.clear();
            self.endings.push(ending);
        }

        fn take(&mut self, sent: Sent, peer: &mut End) {
            if let Sent::Answer(is_accepted) = sent {
                if !is_accepted {
                    self.end(Ending::Failed, peer);
                } else if !self.connect(peer) {
                    peer.arriving.push_back(Sent::Rst);
                }
                return;
            }
            match reaction(&sent.body(), self.phase) {
                Reaction::Ignore | Reaction::Widen => {}
                Reaction::Refuse => {
                    assert_ne!(sent, Sent::Rst, "an RST is never answered by one");
                    peer.arriving.push_back(Sent::Rst);
                }
                Reaction::Receive => {
                    assert_eq!(self.phase, Phase::Connected, "nothing precedes the answer");
                    assert_eq!(sent, Sent::Data(self.received), "in order, without a gap");
                    self.received += 1;
                }
                Reaction::End(ending) => self.end(ending, peer),
            }
        }
    }

    /// The states that one step leads to.
    fn steps(state: &[End; 2]) -> Vec<[End; 2]> {
        let mut next = Vec::new();
        for side in 0..2 {
            let mut step = |change: &dyn Fn(&mut End, &mut End)| {
                let [mut here, mut there] = [state[side].clone(), state[1 - side].clone()];
                change(&mut here, &mut there);
                next.push(if side == 0 { [here, there] } else { [there, here] });
            };
            let end = &state[side];
            match end.answer {
                Answer::Open => step(&|here, there| {
                    if here.phase == Phase::Unconnected {
                        here.answer = Answer::Decided;
                        return;
                    }
                    here.answer = Answer::Given;
                    there.arriving.push_back(Sent::Answer(false));
                    here.end(Ending::Failed, there);
                }),
                Answer::Decided => step(&|here, there| {
                    here.answer = Answer::Given;
                    there.arriving.push_back(Sent::Answer(true));
                    if !here.connect(there) {
                        there.arriving.push_back(Sent::Rst);
                    }
                }),
                Answer::Given => {}
            }
            if matches!(end.phase, Phase::Unconnected | Phase::Connected) {
                if end.wrote < WRITES {
                    step(&|here, there| {
                        match here.phase {
                            Phase::Unconnected => here.early.push_back(here.wrote),
                            _ => there.arriving.push_back(Sent::Data(here.wrote)),
                        }
                        here.wrote += 1;
                    });
                }
                if end.feedbacks < end.received {
                    step(&|here, there| {
                        there.arriving.push_back(Sent::Feedback);
                        here.feedbacks += 1;
                    });
                }
                step(&|here, there| here.end(Ending::Closed, there));
                step(&|here, there| here.end(Ending::Cut, there));
            }
            if !end.arriving.is_empty() {
                step(&|here, there| {
                    let Some(sent) = here.arriving.pop_front() else { return };
                    here.take(sent, there);
                });
            }
        }
        next
    }

    #[test]
    fn every_interleaving_of_writing_and_closing_settles_without_loss_before_a_close() {
        let begin = [End::new(Answer::Given), End::new(Answer::Open)];
        let (mut seen, mut open) = (HashSet::from([begin.clone()]), vec![begin]);
        let (mut settled, mut early_closes) = (0, 0);
        while let Some(state) = open.pop() {
            let next = steps(&state);
            if next.is_empty() {
                settled += 1;
            }
            for [a, b] in [[&state[0], &state[1]], [&state[1], &state[0]]] {
                assert!(a.endings.len() <= 1, "a stream ends once");
                // Nothing that moves on its own goes on for ever.
                assert!(a.arriving.len() <= 2 * usize::from(WRITES) + 4);
                if next.is_empty() {
                    assert_eq!(a.phase, Phase::Closed, "one that ends takes the other with it");
                    // Who learned of a close by the peer has all that the peer has written before.
                    if a.endings == [Ending::ClosedByPeer] {
                        assert_eq!(a.received, b.wrote);
                    }
                    // Who closes, at whatever time, and is not overtaken by the end of the peer, is heard.
                    if a.endings == [Ending::Closed] && b.endings == [Ending::ClosedByPeer] {
                        assert_eq!(b.received, a.wrote);
                    }
                }
            }
            let [caller, server] = &state;
            if caller.phase == Phase::Closing && caller.wrote > 0 && server.phase == Phase::Connected {
                early_closes += 1;
            }
            open.extend(next.into_iter().filter(|state| seen.insert(state.clone())));
        }
        assert!(settled > 10 && seen.len() > 1000, "{settled} ends of {} states", seen.len());
        // One or two messages of the caller, none to two of the server.
        assert_eq!(early_closes, 6, "closes that an answer is on its way to");
    }

    #[test]
    fn what_is_closed_before_it_is_connected_arrives_whole_unless_the_server_ends_it() {
        // All that moves on its own from a caller that has written and closed, and a service that accepts.
        let [mut caller, mut server] = [End::new(Answer::Given), End::new(Answer::Open)];
        (caller.wrote, caller.early) = (WRITES, (0..WRITES).collect());
        caller.end(Ending::Closed, &mut server);
        assert_eq!((caller.phase, server.arriving.len()), (Phase::Closing, 0));
        caller.end(Ending::Closed, &mut server);
        server.phase = Phase::Connected;
        server.answer = Answer::Given;
        caller.take(Sent::Answer(true), &mut server);
        assert_eq!((caller.phase, caller.endings.as_slice()), (Phase::Closed, &[Ending::Closed][..]));
        while let Some(sent) = server.arriving.pop_front() {
            server.take(sent, &mut caller);
        }
        assert_eq!((server.received, server.endings.as_slice()), (WRITES, &[Ending::ClosedByPeer][..]));
        for ending in [Ending::Cut, Ending::ClosedByPeer, Ending::ResetByPeer, Ending::Failed] {
            assert_eq!(ending.leads_to(Phase::Closing), Phase::Closed, "{ending:?}");
        }
    }

    #[test]
    fn frames_for_streams_that_are_not_there_are_refused_but_for_two_kinds() {
        for (sent, expected) in [
            (Sent::Data(0), Reaction::Refuse),
            (Sent::Close, Reaction::Refuse),
            (Sent::Rst, Reaction::Ignore),
            (Sent::Feedback, Reaction::Ignore),
        ] {
            assert_eq!(reaction(&sent.body(), Phase::Closed), expected, "{sent:?}");
        }
        assert_eq!(reaction(&StreamFrameBody::Unknown, Phase::Closed), Reaction::Refuse);
        assert_eq!(reaction(&StreamFrameBody::Unknown, Phase::Connected), Reaction::Ignore);
        assert_eq!(reaction(&Sent::Feedback.body(), Phase::Unconnected), Reaction::Ignore);
        assert_eq!(reaction(&Sent::Data(0).body(), Phase::Unconnected), Reaction::Receive);
    }

    #[test]
    fn a_stream_without_a_peer_says_nothing() {
        for ending in [Ending::Closed, Ending::Cut, Ending::ClosedByPeer, Ending::ResetByPeer, Ending::Failed]
        {
            assert_eq!(ending.farewell(Phase::Unconnected), None);
            assert_eq!(ending.farewell(Phase::Closing), None);
            assert_eq!(ending.farewell(Phase::Closed), None);
        }
    }
}
