//! The protocol of a call id: the lock, the errors that wait for it, the end, and the next use of the slot.
//!
//! All of it happens under one short lock, `state`, never held while anything of a user's runs; so what can go wrong
//! is the hand-over between those who wait on a butex and those who wake them, which `models` explores.
//!
//! The word of `lockers` says how the lock is, and is different in each use of the slot (first version f, range r):
//!
//! | word | meaning |
//! |---|---|
//! | f | free |
//! | f + r | locked |
//! | f + r + 1 | locked, and somebody waits |
//! | f + r + 2 | locked, about to be destroyed: nobody waits |
//! | f + r + 3 | the next use: free |
//!
//! The word of `joiners` is the first version. Versions start at 1, and again at 1 before they would overflow.

use std::any::{Any, TypeId};
use std::collections::VecDeque;
use std::panic::Location;
use std::ptr;
use std::time::Instant;

use super::{CallId, CallIdError, Failure};
use crate::atomic::{Mutex, MutexGuard, Ordering, lock};
use crate::butex::{Butex, Manner, WaitResult};
use crate::parker::Parker;
#[cfg(not(loom))]
pub(super) use crate::task::contained;
use crate::wait;

/// The largest range of a [`CallId`].
pub const RANGE_MAX: u32 = 1024;
/// Errors that wait at one locked [`CallId`]; further ones are refused.
pub const PENDING_ERRORS_MAX: usize = 1024;

const CONTENDED: u32 = 1;
const ABOUT_TO_DESTROY: u32 = 2;
/// From the end of one use's versions to the next use's.
const GAP: u32 = 3;
/// A use with the largest range still fits behind this version.
const FIRST_VERSION_MAX: u32 = u32::MAX - RANGE_MAX - GAP;

#[cfg(loom)]
pub(super) fn contained(f: impl FnOnce()) {
    f();
}

/// The data and the handler, whatever their type.
pub(super) trait Entity: Any + Send {
    fn on_error(self: Box<Self>, slot: &'static Slot, id: CallId, first: u32, failure: Failure);
}

/// How long to wait for the lock.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    None,
    Until(Instant),
    Forever,
}

/// One slot; lives for ever.
pub(super) struct Slot {
    lockers: Butex,
    joiners: Butex,
    state: Mutex<State>,
}

struct State {
    first: u32,
    /// Versions that lead here, from `first` on; 0: the slot is not in use.
    range: u32,
    kind: Option<TypeId>,
    /// With the holder of the lock while there is one.
    entity: Option<Box<dyn Entity>>,
    pending: VecDeque<Pending>,
    locked_at: Option<&'static Location<'static>>,
    handler: Option<Handler>,
}

struct Pending {
    id: CallId,
    failure: Failure,
    told_at: &'static Location<'static>,
}

/// Who runs handlers here. What its handler leaves for the next error is run by its loop, not inside of the handler:
/// else each error would stand on the stack of the one before.
struct Handler {
    /// Tells bthreads and threads apart; one at a time owns a parker.
    who: &'static Parker,
    /// The handler has let go of the lock while errors were pending: it stays locked, for the next one.
    handed_back: bool,
}

impl Slot {
    pub(super) fn new() -> Self {
        Slot {
            lockers: Butex::new(1),
            joiners: Butex::new(1),
            state: Mutex::new(State {
                first: 1,
                range: 0,
                kind: None,
                entity: None,
                pending: VecDeque::new(),
                locked_at: None,
                handler: None,
            }),
        }
    }

    /// Begins a use of the slot, which must be in none; returns its first version.
    pub(super) fn fill(&self, entity: Box<dyn Entity>, kind: TypeId, range: u32) -> u32 {
        let mut state = lock(&self.state);
        debug_assert!(state.range == 0 && state.entity.is_none());
        state.range = range;
        state.kind = Some(kind);
        state.entity = Some(entity);
        state.first
    }

    /// Locks; gives what is locked and the first version. `range` makes the range at least this large.
    pub(super) fn lock(
        &self,
        version: u32,
        kind: TypeId,
        patience: Patience,
        range: u32,
        here: &'static Location<'static>,
    ) -> Result<(Box<dyn Entity>, u32), CallIdError> {
        let mut has_waited = false;
        let mut woken = false;
        loop {
            let expected = {
                let mut state = lock(&self.state);
                if !state.covers(version) || state.kind != Some(kind) {
                    return Err(CallIdError::Invalid);
                }
                if let Some(entity) = self.take(&mut state, here) {
                    state.range = state.range.max(range);
                    // Others may have queued as well, and only the word tells the unlock of them.
                    self.set_word(state.locked() + if has_waited { CONTENDED } else { 0 });
                    return Ok((entity, state.first));
                }
                if self.word() == state.locked() + ABOUT_TO_DESTROY {
                    return Err(CallIdError::AboutToDestroy);
                }
                if matches!(patience, Patience::None) {
                    return Err(CallIdError::Busy);
                }
                self.set_word(state.locked() + CONTENDED);
                state.locked() + CONTENDED
            };
            let deadline = match patience {
                Patience::Until(deadline) => Some(deadline),
                _ => None,
            };
            has_waited = true;
            let manner = Manner { deadline, first: woken, ..Manner::default() };
            match self.lockers.wait_as(expected, manner) {
                WaitResult::Woken => woken = true,
                WaitResult::Mismatch | WaitResult::Interrupted => {}
                WaitResult::TimedOut => return Err(CallIdError::TimedOut),
            }
        }
    }

    /// Lets go of the lock, or goes on with the errors that came meanwhile.
    pub(super) fn unlock(&'static self, entity: Box<dyn Entity>) {
        let mut state = lock(&self.state);
        if !state.pending.is_empty()
            && let Some(handler) = &mut state.handler
            && handler.is_me()
        {
            handler.handed_back = true;
            state.entity = Some(entity);
            return;
        }
        self.run_pending(state, entity);
    }

    /// Runs the handler if the id is free, else leaves the error to whoever unlocks.
    pub(super) fn error(
        &'static self,
        id: CallId,
        failure: Failure,
        here: &'static Location<'static>,
    ) -> Result<(), CallIdError> {
        let mut state = lock(&self.state);
        if !state.covers(id.version()) {
            return Err(CallIdError::Invalid);
        }
        if state.pending.len() >= PENDING_ERRORS_MAX {
            return Err(CallIdError::Full);
        }
        state.pending.push_back(Pending { id, failure, told_at: here });
        if let Some(entity) = self.take(&mut state, here) {
            self.set_word(state.locked());
            self.run_pending(state, entity);
        }
        Ok(())
    }

    /// By the holder of the lock: runs the handler for each pending error as long as it lets go of the lock without
    /// destroying; then lets go itself.
    fn run_pending(&'static self, mut state: MutexGuard<'_, State>, mut entity: Box<dyn Entity>) {
        let first = state.first;
        loop {
            if self.word() == state.locked() + ABOUT_TO_DESTROY {
                self.set_word(state.locked()); // taken back; who failed meanwhile is gone
            }
            let Some(Pending { id, failure, told_at }) = state.pending.pop_front() else {
                return self.release(state, entity);
            };
            state.locked_at = Some(told_at);
            state.handler = Some(Handler { who: wait::current_parker(), handed_back: false });
            drop(state);
            contained(|| entity.on_error(self, id, first, failure));
            state = lock(&self.state);
            // Destroyed, and maybe in use again; or another one runs the handlers now.
            if state.first != first || !state.handler.as_ref().is_some_and(Handler::is_me) {
                return;
            }
            let handed_back = state.handler.take().is_some_and(|handler| handler.handed_back);
            match state.entity.take_if(|_| handed_back) {
                Some(next) => entity = next,
                None => return,
            }
        }
    }

    fn release(&self, mut state: MutexGuard<'_, State>, entity: Box<dyn Entity>) {
        state.entity = Some(entity);
        state.locked_at = None;
        let contended = self.word() != state.locked();
        self.set_word(state.first);
        drop(state);
        if contended {
            self.lockers.wake_one(); // in the next use of the slot, should it have begun: a wake-up for nothing
        }
    }

    /// By the holder of the lock.
    pub(super) fn about_to_destroy(&self) {
        {
            let state = lock(&self.state);
            self.set_word(state.locked() + ABOUT_TO_DESTROY);
        }
        self.lockers.wake_all();
    }

    /// Ends this use of the slot. By the holder of the lock, who has the entity.
    pub(super) fn destroy(&self) {
        let pending = self.end(&mut lock(&self.state));
        self.wake_all();
        drop(pending);
    }

    /// Ends this use of the slot if nobody holds the lock.
    pub(super) fn cancel(&self, version: u32) -> Result<Box<dyn Entity>, CallIdError> {
        let entity = {
            let mut state = lock(&self.state);
            if !state.covers(version) {
                return Err(CallIdError::Invalid);
            }
            let here = Location::caller();
            let entity = self.take(&mut state, here).ok_or(CallIdError::Busy)?;
            drop(self.end(&mut state)); // errors wait for holders only: there are none
            entity
        };
        self.wake_all();
        Ok(entity)
    }

    /// Waits for the end of the use that `version` belongs to; false if the deadline passes first.
    pub(super) fn join(&self, version: u32, deadline: Option<Instant>) -> bool {
        loop {
            let first = {
                let state = lock(&self.state);
                if !state.covers(version) {
                    return true;
                }
                state.first
            };
            match self.joiners.wait_as(first, Manner { deadline, ..Manner::default() }) {
                WaitResult::TimedOut => return false,
                WaitResult::Woken | WaitResult::Mismatch | WaitResult::Interrupted => {}
            }
        }
    }

    pub(super) fn covers(&self, version: u32) -> bool {
        lock(&self.state).covers(version)
    }

    /// Takes the entity if the lock is free; the caller sets the word.
    fn take(&self, state: &mut State, here: &'static Location<'static>) -> Option<Box<dyn Entity>> {
        if self.word() != state.first {
            return None;
        }
        state.locked_at = Some(here);
        state.entity.take()
    }

    #[must_use = "dropped outside of the lock"]
    fn end(&self, state: &mut State) -> VecDeque<Pending> {
        let next = state.first + state.range + GAP;
        state.first = if next > FIRST_VERSION_MAX { 1 } else { next };
        state.range = 0;
        state.kind = None;
        state.locked_at = None;
        state.handler = None;
        self.set_word(state.first);
        self.joiners.value().store(state.first, Ordering::Release); // as in `set_word`
        std::mem::take(&mut state.pending)
    }

    fn wake_all(&self) {
        self.lockers.wake_all();
        self.joiners.wake_all();
    }

    /// Under the lock of `state`.
    fn word(&self) -> u32 {
        self.lockers.value().load(Ordering::Relaxed) // ordered by the lock
    }

    /// Under the lock of `state`.
    fn set_word(&self, word: u32) {
        // Release pairs with the Acquire in `Butex::wait`, as a butex asks for; the lock of `state` would do.
        self.lockers.value().store(word, Ordering::Release);
    }
}

impl State {
    fn covers(&self, version: u32) -> bool {
        version.wrapping_sub(self.first) < self.range
    }

    fn locked(&self) -> u32 {
        self.first + self.range
    }
}

impl Handler {
    fn is_me(&self) -> bool {
        ptr::eq(self.who, wait::current_parker())
    }
}

/// What is known of a [`CallId`]: for debug pages, and to find who holds a lock.
#[cfg(not(loom))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallIdStatus {
    /// The first of the ids in a row.
    pub first: CallId,
    /// How many there are in a row.
    pub range: u32,
    /// How the lock is.
    pub lock: LockState,
    /// Where it was locked, or where the error was told that its handler is about.
    pub locked_at: Option<&'static Location<'static>>,
    /// Errors that wait for the lock.
    pub pending_errors: usize,
    /// Bthreads and threads that wait for the lock.
    pub lockers: usize,
    /// Bthreads and threads that wait for the end.
    pub joiners: usize,
}

/// How the lock of a [`CallId`] is.
#[cfg(not(loom))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockState {
    /// Nobody holds it.
    Free,
    /// Somebody holds it.
    Locked,
    /// Who holds it has said that the id will be destroyed.
    AboutToDestroy,
}

#[cfg(not(loom))]
impl Slot {
    pub(super) fn status(&self, id: CallId) -> Option<CallIdStatus> {
        let state = lock(&self.state);
        if !state.covers(id.version()) {
            return None;
        }
        let lock = match self.word().wrapping_sub(state.locked()) {
            ABOUT_TO_DESTROY => LockState::AboutToDestroy,
            0 | CONTENDED => LockState::Locked,
            _ => LockState::Free,
        };
        Some(CallIdStatus {
            first: CallId::new(id.slot_index(), state.first),
            range: state.range,
            lock,
            locked_at: state.locked_at,
            pending_errors: state.pending.len(),
            lockers: self.lockers.waiters(),
            joiners: self.joiners.waiters(),
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::{destroy_on_error, guard::fill};
    use super::*;

    #[test]
    fn the_next_use_begins_behind_all_words_of_this_one() {
        let slot = Slot::new();
        for (range, first) in [(1, 1), (1, 5), (10, 9), (1, 22)] {
            assert_eq!(fill(&slot, (), destroy_on_error, range), first);
            assert!(slot.covers(first + range - 1) && !slot.covers(first + range) && !slot.covers(first - 1));
            slot.cancel(first).unwrap();
        }
    }

    #[test]
    fn versions_start_again_before_they_overflow() {
        let slot = Slot::new();
        lock(&slot.state).first = FIRST_VERSION_MAX;
        slot.set_word(FIRST_VERSION_MAX);
        let first = fill(&slot, (), destroy_on_error, RANGE_MAX);
        assert_eq!(first, FIRST_VERSION_MAX);
        slot.cancel(first + RANGE_MAX - 1).unwrap();
        assert!(!slot.covers(first));
        assert_eq!(fill(&slot, (), destroy_on_error, 1), 1);
    }
}
