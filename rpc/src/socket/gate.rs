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
}
