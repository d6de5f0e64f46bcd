//! • A thread's directory: what it has allocated for each id, and nothing for the others.
//!
//! Must never decide who may look: [`super`] says that, and why it is sound.

#![allow(unsafe_code)]

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// Entries by id; null where the thread has written nothing.
pub(super) type Directory<C> = [AtomicPtr<C>];

/// The directory of a thread that has written nothing.
pub(super) const fn empty<C>() -> *const Directory<C> {
    ptr::slice_from_raw_parts(NonNull::dangling().as_ptr(), 0)
}

/// Owns a directory and everything that its entries point to.
pub(super) struct Slots<C> {
    /// From `Box::into_raw`; raw because the owning thread reads it without the lock.
    directory: NonNull<Directory<C>>,
}

// SAFETY: slots own plain heap memory made of atomics; who may touch it when is stated in the documentation of
// `super` and does not depend on the thread that made it.
unsafe impl<C: Send + Sync> Send for Slots<C> {}

impl<C> Slots<C> {
    pub(super) const fn new() -> Self {
        Slots { directory: NonNull::slice_from_raw_parts(NonNull::dangling(), 0) }
    }

    pub(super) fn as_ptr(&self) -> *const Directory<C> {
        self.directory.as_ptr()
    }

    fn entries(&self) -> &Directory<C> {
        // SAFETY: `directory` is empty or from `Box::leak`, and freed only with `&mut self` or by value.
        unsafe { self.directory.as_ref() }
    }

    /// How many ids the directory has room for.
    pub(super) fn len(&self) -> usize {
        self.directory.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&C> {
        // Relaxed: entries change only under the lock, which the caller holds.
        // SAFETY: a non-null entry is live; what it points to is freed under the lock, which the caller holds.
        self.entries().get(index).and_then(|entry| unsafe { entry.load(Relaxed).as_ref() })
    }

    /// Takes the entry at `index` out.
    pub(super) fn take(&self, index: usize) -> Option<Box<C>> {
        let taken = self.entries().get(index)?.swap(ptr::null_mut(), Relaxed);
        // SAFETY: a non-null entry is from `Box::into_raw` below, and the swap made this its only pointer.
        // Relaxed: its thread sees null before it can write here again, because the id's next owner gets it
        // from the lock.
        (!taken.is_null()).then(|| unsafe { Box::from_raw(taken) })
    }
}

impl<C: Default> Slots<C> {
    /// The entry at `index`, made where there was none. The directory has room for `most` at most.
    pub(super) fn get_or_insert(&mut self, index: usize, most: usize) -> &C {
        if index >= self.len() {
            self.grow(index + 1, most);
        }
        let entry = &self.entries()[index];
        let mut found = entry.load(Relaxed);
        if found.is_null() {
            found = Box::into_raw(Box::default());
            // Relaxed: read again by this thread, or by others under the lock that the caller holds.
            entry.store(found, Relaxed);
        }
        // SAFETY: not null, hence live (see `get`).
        unsafe { &*found }
    }

    fn grow(&mut self, at_least: usize, most: usize) {
        let len = at_least.next_power_of_two().clamp(8, most);
        let entry =
            |index: usize| self.entries().get(index).map_or(ptr::null_mut(), |entry| entry.load(Relaxed));
        let larger: Box<Directory<C>> = (0..len).map(|index| AtomicPtr::new(entry(index))).collect();
        let old = std::mem::replace(&mut self.directory, NonNull::from(Box::leak(larger)));
        free(old);
    }
}

impl<C> Drop for Slots<C> {
    fn drop(&mut self) {
        for index in 0..self.len() {
            drop(self.take(index));
        }
        free(self.directory);
    }
}

fn free<C>(directory: NonNull<Directory<C>>) {
    if !directory.is_empty() {
        // SAFETY: a directory that is not empty is from `Box::leak` in `Slots::grow`; both callers have just given
        // it up, and its owning thread (the caller, or one that ended) no longer looks at it.
        drop(unsafe { Box::from_raw(directory.as_ptr()) });
    }
}
