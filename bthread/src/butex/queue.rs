//! The waiters of a butex: a list that runs through records on the waiters' own stacks.
//!
//! It owns the order in which they are woken and the moves from one list to another; when to sleep and whom to wake is
//! decided in `butex`.
//!
//! Holds unsafe. The argument, once:
//! (1) A record is in at most one list at a time, and only while its owner is inside a wait. `place` says in which:
//!     the one of the butex that is waited on, or, after a move, the one of the butex that the owner named as target.
//!     The owner borrows both for the whole wait, so a list with a record in it does not go away.
//! (2) `links` and `place` change under the lock of the list that the record is in; a move holds both locks. The owner
//!     may read `place` without a lock, to know which lock to take, and reads it again under that lock.
//! (3) Who takes a record out stores `OUT` last and never looks at the record again. An owner that has read `OUT`
//!     may therefore leave without a lock.
//! (4) The parker that is copied out of a record lives for ever, so it may be used after the lock.

#![allow(unsafe_code)]

use std::marker::PhantomPinned;
use std::pin::Pin;
use std::ptr::{self, NonNull};

use super::Butex;
use crate::atomic::{AtomicU32, MutexGuard, Ordering, UnsafeCell, fence, lock};
use crate::parker::Parker;

/// In no list.
const OUT: u32 = 0;
/// In the list of the butex that is waited on.
const HERE: u32 = 1;
/// In the list of the target.
const MOVED: u32 = 2;

/// Both ends of a list.
pub(super) struct Ends {
    first: *mut Waiter,
    last: *mut Waiter,
}

// SAFETY: the records behind the pointers are used as (2) and (3) say.
unsafe impl Send for Ends {}

/// The record of one waiter.
pub(super) struct Waiter {
    links: UnsafeCell<Links>,
    place: AtomicU32,
    parker: &'static Parker,
    /// The butex to whose list this one may be moved, or null.
    target: *const Butex,
    _pinned: PhantomPinned,
}

struct Links {
    previous: *mut Waiter,
    next: *mut Waiter,
}

impl Ends {
    pub(super) const fn empty() -> Self {
        Ends { first: ptr::null_mut(), last: ptr::null_mut() }
    }
}

impl Waiter {
    pub(super) fn new(parker: &'static Parker, target: Option<&Butex>) -> Self {
        let links = Links { previous: ptr::null_mut(), next: ptr::null_mut() };
        let target = target.map_or(ptr::null(), ptr::from_ref);
        Waiter {
            links: UnsafeCell::new(links),
            place: AtomicU32::new(OUT),
            parker,
            target,
            _pinned: PhantomPinned,
        }
    }

    /// Locks the list that the record is in; `None` when it is in none (any more). By the owner.
    pub(super) fn find<'a>(&self, here: &'a Butex, target: Option<&'a Butex>) -> Option<Locked<'a>> {
        loop {
            // Acquire pairs with the Release in `detach`: who took the record out is done with it (3).
            let place = self.place.load(Ordering::Acquire);
            let list = match place {
                OUT => return None,
                HERE => here.locked(),
                _ => target.expect("a waiter is moved to its target only").locked(),
            };
            // Under the lock that a change would need, if it is still the right one (2).
            if self.place.load(Ordering::Relaxed) == place {
                return Some(list);
            }
        }
    }

    fn links(&self) -> *mut Links {
        self.links.get()
    }
}

/// The list of a butex under its lock.
pub(super) struct Locked<'a> {
    butex: &'a Butex,
    ends: MutexGuard<'a, Ends>,
}

impl Butex {
    pub(super) fn locked(&self) -> Locked<'_> {
        Locked { butex: self, ends: lock(&self.ends) }
    }

    fn try_locked(&self) -> Option<Locked<'_>> {
        let ends = self.ends.try_lock().ok()?;
        Some(Locked { butex: self, ends })
    }
}

impl Locked<'_> {
    pub(super) fn len(&self) -> usize {
        self.butex.len.load(Ordering::Relaxed) as usize // changed under the lock that we hold
    }

    /// Puts a record in, at the end or in front. The owner must not leave before [`Waiter::find`] says so, or
    /// [`remove`](Self::remove) was called.
    pub(super) fn insert(&mut self, waiter: Pin<&Waiter>, first: bool) {
        self.attach(waiter, first, HERE);
    }

    /// Takes a record out that is in this list.
    pub(super) fn remove(&mut self, waiter: Pin<&Waiter>) {
        self.detach(waiter, OUT);
    }

    /// Takes the first one out that is wanted.
    pub(super) fn pop(&mut self, wanted: impl Fn(&'static Parker) -> bool) -> Option<&'static Parker> {
        let mut at = self.ends.first;
        // SAFETY: (1): it is in the list, so its owner is inside a wait and the record alive and pinned.
        while let Some(waiter) = unsafe { pinned(at) } {
            let parker = waiter.parker;
            if wanted(parker) {
                self.detach(waiter, OUT);
                return Some(parker);
            }
            // SAFETY: (2).
            at = unsafe { (*waiter.links()).next };
        }
        None
    }

    /// Moves all but the first one to the end of `target`, if they have named it.
    pub(super) fn move_rest_to(&mut self, target: &mut Locked<'_>) {
        let first = self.ends.first;
        // SAFETY: (1), (2).
        let Some(first) = (unsafe { pinned(first) }) else { return };
        // SAFETY: (2).
        let mut at = unsafe { (*first.links()).next };
        // SAFETY: (1).
        while let Some(waiter) = unsafe { pinned(at) } {
            // SAFETY: (2).
            at = unsafe { (*waiter.links()).next };
            if ptr::eq(waiter.target, target.butex) {
                self.detach(waiter, MOVED);
                target.attach(waiter, false, MOVED);
            }
        }
    }

    /// As [`move_rest_to`](Self::move_rest_to), to the target that the first waiter has named. False: it was in use by
    /// somebody else, who may be waiting for this list, so we must not wait for it.
    pub(super) fn try_move_rest_to_named(&mut self) -> bool {
        // SAFETY: (1).
        let Some(first) = (unsafe { pinned(self.ends.first) }) else { return true };
        let target = first.target;
        // SAFETY: (1): the first one stays in this list, which we hold, so its owner cannot leave the wait that
        // borrows the target before we have let go of it again.
        let Some(target) = (unsafe { target.as_ref() }) else { return true };
        let Some(mut target) = target.try_locked() else { return false };
        self.move_rest_to(&mut target);
        true
    }

    fn attach(&mut self, waiter: Pin<&Waiter>, first: bool, place: u32) {
        let me = ptr::from_ref(waiter.get_ref()).cast_mut();
        let (previous, next) =
            if first { (ptr::null_mut(), self.ends.first) } else { (self.ends.last, ptr::null_mut()) };
        // SAFETY: (2): in no list, or moved here under both locks.
        unsafe { *waiter.links() = Links { previous, next } };
        waiter.place.store(place, Ordering::Relaxed); // published by the lock
        self.set_next_of(previous, me);
        self.set_previous_of(next, me);
        let len = self.butex.len.load(Ordering::Relaxed); // ours, under the lock
        self.butex.len.store(len + 1, Ordering::Relaxed);
        if len == 0 {
            // Pairs with the one in `Butex::has_waiters`. Those who come while there is somebody have this fence
            // behind them through the lock.
            fence(Ordering::SeqCst);
        }
    }

    fn detach(&mut self, waiter: Pin<&Waiter>, place: u32) {
        // SAFETY: (2).
        let Links { previous, next } = unsafe { waiter.links().read() };
        self.set_next_of(previous, next);
        self.set_previous_of(next, previous);
        let len = self.butex.len.load(Ordering::Relaxed); // ours, under the lock
        self.butex.len.store(len - 1, Ordering::Relaxed);
        waiter.place.store(place, Ordering::Release); // pairs with the Acquire in `Waiter::find`
    }

    fn set_next_of(&mut self, waiter: *mut Waiter, next: *mut Waiter) {
        // SAFETY: (1), (2): a neighbour is in the list.
        match unsafe { pinned(waiter) } {
            // SAFETY: (2).
            Some(waiter) => unsafe { (*waiter.links()).next = next },
            None => self.ends.first = next,
        }
    }

    fn set_previous_of(&mut self, waiter: *mut Waiter, previous: *mut Waiter) {
        // SAFETY: (1), (2): a neighbour is in the list.
        match unsafe { pinned(waiter) } {
            // SAFETY: (2).
            Some(waiter) => unsafe { (*waiter.links()).previous = previous },
            None => self.ends.last = previous,
        }
    }
}

/// # Safety
/// Null, or a record that is in a list whose lock the caller holds as long as it uses the result.
unsafe fn pinned<'a>(waiter: *mut Waiter) -> Option<Pin<&'a Waiter>> {
    // SAFETY: by the contract; owners pin their records.
    NonNull::new(waiter).map(|waiter| unsafe { Pin::new_unchecked(waiter.as_ref()) })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Insert { first: bool, movable: bool },
        Remove(usize),
        Pop { list: usize },
        PopBut { list: usize, index: usize },
        Move { to_named: bool },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<bool>(), any::<bool>()).prop_map(|(first, movable)| Step::Insert { first, movable }),
            1 => any::<usize>().prop_map(Step::Remove),
            1 => (0..2usize).prop_map(|list| Step::Pop { list }),
            1 => (0..2usize, any::<usize>()).prop_map(|(list, index)| Step::PopBut { list, index }),
            1 => any::<bool>().prop_map(|to_named| Step::Move { to_named }),
        ]
    }

    proptest! {
        /// Two lists against two `VecDeque`s of indices.
        #[test]
        fn the_lists_keep_their_order(steps in prop::collection::vec(step(), 1..60)) {
            let parkers: Vec<&'static Parker> =
                steps.iter().map(|_| &*Box::leak(Box::new(Parker::of_thread()))).collect();
            let (here, target) = (Butex::new(0), Butex::new(0));
            let butexes = [&here, &target];
            let mut waiters: Vec<(Pin<Box<Waiter>>, bool)> = Vec::new();
            let mut model = [VecDeque::new(), VecDeque::new()];
            for step in steps {
                match step {
                    Step::Insert { first, movable } => {
                        let index = waiters.len();
                        let waiter = Box::pin(Waiter::new(parkers[index], movable.then_some(&target)));
                        here.locked().insert(waiter.as_ref(), first);
                        waiters.push((waiter, movable));
                        if first { model[0].push_front(index) } else { model[0].push_back(index) }
                    }
                    Step::Remove(index) if !waiters.is_empty() => {
                        let index = index % waiters.len();
                        let waiter = waiters[index].0.as_ref();
                        let found = waiter.find(&here, Some(&target));
                        prop_assert_eq!(found.is_some(), model.iter().any(|list| list.contains(&index)));
                        if let Some(mut list) = found {
                            list.remove(waiter);
                            model.iter_mut().for_each(|list| list.retain(|&other| other != index));
                        }
                    }
                    Step::Remove(_) => {}
                    Step::Pop { list } => {
                        let expected = model[list].pop_front().map(|index| parkers[index]);
                        let popped = butexes[list].locked().pop(|_| true);
                        prop_assert!(same(popped, expected));
                    }
                    Step::PopBut { list, index } => {
                        let skipped = parkers[index % parkers.len()];
                        let at = model[list].iter().position(|&index| !ptr::eq(parkers[index], skipped));
                        let expected = at.and_then(|at| model[list].remove(at)).map(|index| parkers[index]);
                        let popped = butexes[list].locked().pop(|parker| !ptr::eq(parker, skipped));
                        prop_assert!(same(popped, expected));
                    }
                    Step::Move { to_named } => {
                        let mut list = here.locked();
                        if to_named {
                            prop_assert!(list.try_move_rest_to_named());
                            if model[0].front().is_none_or(|&first| !waiters[first].1) {
                                continue;
                            }
                        } else {
                            list.move_rest_to(&mut target.locked());
                        }
                        let Some(first) = model[0].pop_front() else { continue };
                        let (moved, stay): (Vec<_>, Vec<_>) =
                            model[0].drain(..).partition(|&index| waiters[index].1);
                        model[0].push_back(first);
                        model[0].extend(stay);
                        model[1].extend(moved);
                    }
                }
                prop_assert_eq!(here.waiters(), model[0].len());
                prop_assert_eq!(target.waiters(), model[1].len());
            }
            for (butex, model) in butexes.into_iter().zip(model) {
                for index in model {
                    prop_assert!(same(butex.locked().pop(|_| true), Some(parkers[index])));
                }
                prop_assert!(butex.locked().pop(|_| true).is_none());
            }
        }
    }

    fn same(one: Option<&'static Parker>, other: Option<&'static Parker>) -> bool {
        one.map(ptr::from_ref) == other.map(ptr::from_ref)
    }
}
