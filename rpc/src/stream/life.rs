//! The life of a stream as pure rules: what each frame does to a stream, and what the peer is told when one ends
//! (`spec/protocols-baidu.md` §3.2, §3.6). No lock, no socket: the real streams and the model in the tests share them.

use super::frame::StreamFrameBody;

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// The peer's id is not known yet.
    Unconnected,
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
    }

    impl Sent {
        fn body(self) -> StreamFrameBody {
            match self {
                Sent::Data(_) => StreamFrameBody::Data { payload: IoBuf::new(), has_continuation: false },
                Sent::Close => StreamFrameBody::Close,
                Sent::Rst => StreamFrameBody::Rst,
                Sent::Feedback => StreamFrameBody::Feedback { consumed: 1 },
            }
        }
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct End {
        phase: Phase,
        wrote: u8,
        received: u8,
        endings: Vec<Ending>,
        /// On their way to this end.
        arriving: VecDeque<Sent>,
        feedbacks: u8,
    }

    const WRITES: u8 = 2;

    impl End {
        fn new() -> Self {
            let phase = Phase::Connected;
            End { phase, wrote: 0, received: 0, endings: Vec::new(), arriving: VecDeque::new(), feedbacks: 0 }
        }

        fn end(&mut self, ending: Ending, peer: &mut End) {
            if self.phase == Phase::Closed {
                return;
            }
            match ending.farewell(self.phase) {
                Some(Farewell::Close) => peer.arriving.push_back(Sent::Close),
                Some(Farewell::Rst) => peer.arriving.push_back(Sent::Rst),
                None => {}
            }
            self.phase = Phase::Closed;
            self.endings.push(ending);
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
            if end.phase == Phase::Connected {
                if end.wrote < WRITES {
                    step(&|here, there| {
                        there.arriving.push_back(Sent::Data(here.wrote));
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
                    match reaction(&sent.body(), here.phase) {
                        Reaction::Ignore | Reaction::Widen => {}
                        Reaction::Refuse => {
                            assert_ne!(sent, Sent::Rst, "an RST is never answered by one");
                            there.arriving.push_back(Sent::Rst);
                        }
                        Reaction::Receive => {
                            assert_eq!(sent, Sent::Data(here.received), "in order, without a gap");
                            here.received += 1;
                        }
                        Reaction::End(ending) => here.end(ending, there),
                    }
                });
            }
        }
        next
    }

    #[test]
    fn every_interleaving_of_writing_and_closing_settles_without_loss_before_a_close() {
        let begin = [End::new(), End::new()];
        let (mut seen, mut open) = (HashSet::from([begin.clone()]), vec![begin]);
        let mut settled = 0;
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
                }
            }
            open.extend(next.into_iter().filter(|state| seen.insert(state.clone())));
        }
        assert!(settled > 10 && seen.len() > 1000, "{settled} ends of {} states", seen.len());
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
            assert_eq!(ending.farewell(Phase::Closed), None);
        }
    }
}
