//! Holds back the next message of a connection until the one before it is answered. The reader shuts the gate behind
//! a message, whoever answers opens it; either may come first, and neither waits.

use std::sync::atomic::{AtomicU32, Ordering};

/// Whether something may pass, and whether somebody waits for that: two sides, each of which may come first.
#[derive(Debug)]
pub(super) struct Gate(AtomicU32);

const OPEN: u32 = 0;
const SHUT: u32 = 1;
const WAITED_FOR: u32 = 2;

impl Gate {
    pub(super) fn new() -> Self {
        Gate(AtomicU32::new(OPEN))
    }

    /// Shuts the gate behind whoever has passed. Called by the one that passes.
    pub(super) fn shut(&self) {
        self.0.store(SHUT, Ordering::SeqCst); // pairs with `may_pass` and `open`
    }

    /// Whether the caller may pass. If not, [`open`](Self::open) will say that somebody waits.
    pub(super) fn may_pass(&self) -> bool {
        // SeqCst: pairs with the swap in `open`, whose caller's work is seen by who passes.
        match self.0.compare_exchange(SHUT, WAITED_FOR, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => false,
            Err(state) => state == OPEN,
        }
    }

    /// Opens the gate: true if somebody has waited for it.
    pub(super) fn open(&self) -> bool {
        self.0.swap(OPEN, Ordering::SeqCst) == WAITED_FOR // pairs with `may_pass` and `shut`
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst) == OPEN // pairs with the swap in `open`
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_tells_who_opens_it_that_somebody_waits() {
        let gate = Gate::new();
        assert!(gate.may_pass() && gate.is_open());
        gate.shut();
        assert!(!gate.open(), "nobody came");
        gate.shut();
        assert!(!gate.may_pass());
        assert!(!gate.may_pass());
        assert!(gate.open());
        assert!(gate.may_pass());
    }

    /// The reader and those who answer, with what they share, in one moment of their work; the steps are those of
    /// `read` and `answered`.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Moment {
        gate: u32,
        events: u32,
        /// Events of the kernel that have not come yet.
        outstanding: u32,
        ending: bool,
        is_closed: bool,
        /// Requests that came and are not cut; behind them the stream ends.
        uncut: u32,
        is_over: bool,
        reader: Reader,
        /// Cut and not run, since the reader is not done.
        arrived: u32,
        answering: Vec<Answering>,
        answered: u32,
    }

    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Reader {
        None,
        Begins,
        Cuts { seen: u32 },
        Ends { seen: u32 },
        Leaves { seen: u32 },
    }

    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Answering {
        Opens,
        LooksForTheEnd { somebody_waits: bool },
        HasItRead,
    }

    impl Moment {
        fn with_gate<R>(&mut self, act: impl FnOnce(&Gate) -> R) -> R {
            let gate = Gate(AtomicU32::new(self.gate));
            let result = act(&gate);
            self.gate = gate.0.into_inner();
            result
        }

        fn close(&mut self) {
            assert!(self.uncut == 0 && self.arrived == 0, "it closes with requests that were not answered");
            self.is_closed = true;
        }

        fn reader_steps(&mut self) {
            self.reader = match self.reader {
                Reader::None => unreachable!("it does not run"),
                Reader::Begins => Reader::Cuts { seen: self.events },
                Reader::Cuts { seen } if self.is_over => Reader::Leaves { seen },
                Reader::Cuts { seen } if self.uncut == 0 => {
                    (self.is_over, self.ending) = (true, true);
                    Reader::Ends { seen }
                }
                Reader::Cuts { seen } => {
                    if self.with_gate(Gate::may_pass) {
                        assert_eq!(self.arrived + self.answering.len() as u32, self.unfinished());
                        self.with_gate(Gate::shut);
                        self.uncut -= 1;
                        self.arrived += 1;
                        Reader::Cuts { seen }
                    } else {
                        Reader::Leaves { seen }
                    }
                }
                Reader::Ends { seen } => {
                    if self.with_gate(|gate| gate.is_open()) {
                        self.close();
                    }
                    Reader::Leaves { seen }
                }
                Reader::Leaves { seen } => {
                    self.events -= seen;
                    // What it has cut is run by it if it is done, and else by others.
                    (0..std::mem::take(&mut self.arrived))
                        .for_each(|_| self.answering.push(Answering::Opens));
                    if self.events == 0 { Reader::None } else { Reader::Begins }
                }
            }
        }

        /// Those that have opened the gate and look about.
        fn unfinished(&self) -> u32 {
            self.answering.iter().filter(|one| **one != Answering::Opens).count() as u32
        }

        fn answer_steps(&mut self, index: usize) {
            match self.answering[index] {
                Answering::Opens => {
                    let somebody_waits = self.with_gate(Gate::open);
                    self.answered += 1;
                    self.answering[index] = Answering::LooksForTheEnd { somebody_waits };
                    return;
                }
                Answering::LooksForTheEnd { .. } if self.ending => {
                    if self.with_gate(|gate| gate.is_open()) {
                        self.close();
                    }
                }
                Answering::LooksForTheEnd { somebody_waits: true } => {
                    self.answering[index] = Answering::HasItRead;
                    return;
                }
                Answering::LooksForTheEnd { somebody_waits: false } => {}
                Answering::HasItRead => self.readable_again(),
            }
            self.answering.swap_remove(index);
        }

        fn readable_again(&mut self) {
            self.events += 1;
            if self.events == 1 {
                assert!(self.reader == Reader::None, "there are two readers");
                self.reader = Reader::Begins;
            }
        }
    }

    /// Every order in which the steps can come: each request is cut when the one before it was answered, none is left,
    /// and the connection is closed behind the last answer and not before.
    #[test]
    fn whatever_comes_first_every_request_is_answered_and_the_end_is_seen() {
        let first = Moment {
            gate: OPEN,
            events: 1,
            outstanding: 4,
            ending: false,
            is_closed: false,
            uncut: 4,
            is_over: false,
            reader: Reader::Begins,
            arrived: 0,
            answering: Vec::new(),
            answered: 0,
        };
        let (mut seen, mut open) = (std::collections::HashSet::from([first.clone()]), vec![first]);
        let mut ends = 0;
        while let Some(moment) = open.pop() {
            let mut next = Vec::new();
            if moment.reader != Reader::None {
                let mut after = moment.clone();
                after.reader_steps();
                next.push(after);
            }
            if moment.outstanding > 0 {
                let mut after = moment.clone();
                after.outstanding -= 1;
                after.readable_again();
                next.push(after);
            }
            for index in 0..moment.answering.len() {
                let mut after = moment.clone();
                after.answer_steps(index);
                next.push(after);
            }
            if next.is_empty() {
                ends += 1;
                assert!(moment.answered == 4 && moment.is_closed, "nobody goes on");
            }
            open.extend(next.into_iter().filter(|after| seen.insert(after.clone())));
        }
        assert!(ends > 0 && seen.len() > 500, "{} moments", seen.len());
    }
}
