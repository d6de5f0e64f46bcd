//! The queue of references inside a buffer: two in place, more in a ring.
//!
//! Owns order and merging of neighbours. It must never look at payload nor count bytes. No allocation happens for
//! up to two references, and taking from either end costs the same however many there are.

use std::collections::VecDeque;

use crate::block::{Block, BlockRef};
use crate::stats;

/// References that fit without an allocation.
const INLINE: usize = 2;

/// Room of a ring when it is first needed; it doubles from there.
const RING_FIRST: usize = 16;

#[derive(Debug)]
pub(crate) enum RefQueue {
    /// The second is none if the first is.
    Inline([Option<BlockRef>; INLINE]),
    /// Until it has been emptied, whatever number is left.
    Ring(VecDeque<BlockRef>),
}

impl RefQueue {
    pub(crate) const fn new() -> Self {
        Self::Inline([None, None])
    }

    #[inline]
    pub(crate) const fn one(piece: BlockRef) -> Self {
        Self::Inline([Some(piece), None])
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Inline([None, _]) => 0,
            Self::Inline([_, None]) => 1,
            Self::Inline(_) => 2,
            Self::Ring(ring) => ring.len(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&BlockRef> {
        match self {
            Self::Inline(pair) => pair.get(index)?.as_ref(),
            Self::Ring(ring) => ring.get(index),
        }
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &BlockRef> + '_ {
        let (pair, ring) = match self {
            Self::Inline(pair) => (pair.as_slice(), None),
            Self::Ring(ring) => (&[][..], Some(ring)),
        };
        pair.iter().flatten().chain(ring.into_iter().flatten())
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<&BlockRef> {
        self.get(0)
    }

    #[inline]
    pub(crate) fn front_mut(&mut self) -> Option<&mut BlockRef> {
        match self {
            Self::Inline([first, _]) => first.as_mut(),
            Self::Ring(ring) => ring.front_mut(),
        }
    }

    #[inline]
    pub(crate) fn back_mut(&mut self) -> Option<&mut BlockRef> {
        match self {
            Self::Inline([first, None]) => first.as_mut(),
            Self::Inline([_, second]) => second.as_mut(),
            Self::Ring(ring) => ring.back_mut(),
        }
    }

    /// Adds a reference, merged into the last one where it continues it.
    #[inline]
    pub(crate) fn push(&mut self, piece: BlockRef) {
        let piece = match self.back_mut() {
            Some(last) => match last.merge(piece) {
                Ok(()) => return,
                Err(piece) => piece,
            },
            None => piece,
        };
        self.push_unmerged(piece);
    }

    /// Adds a reference that is known not to continue the last one.
    #[inline]
    pub(crate) fn push_unmerged(&mut self, piece: BlockRef) {
        match self {
            Self::Inline([first @ None, _]) => *first = Some(piece),
            Self::Inline([_, second @ None]) => *second = Some(piece),
            Self::Inline(_) => self.spill(piece),
            Self::Ring(ring) => ring.push_back(piece),
        }
    }

    /// Adds a third reference.
    #[cold]
    #[inline(never)]
    fn spill(&mut self, piece: BlockRef) {
        stats::add_big_view();
        let mut ring = VecDeque::with_capacity(RING_FIRST);
        while let Some(first) = self.pop_front() {
            ring.push_back(first);
        }
        ring.push_back(piece);
        *self = Self::Ring(ring);
    }

    /// Adds what is staged in `block`, if anything is.
    #[inline]
    pub(crate) fn commit(&mut self, block: &mut Block) {
        if let Some(piece) = block.commit(self.back_mut()) {
            self.push_unmerged(piece);
        }
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<BlockRef> {
        match self {
            Self::Inline([first, second]) => std::mem::replace(first, second.take()),
            Self::Ring(ring) => {
                let piece = ring.pop_front();
                if ring.is_empty() {
                    *self = Self::new();
                }
                piece
            }
        }
    }

    #[inline]
    pub(crate) fn pop_back(&mut self) -> Option<BlockRef> {
        match self {
            Self::Inline([first, None]) => first.take(),
            Self::Inline([_, second]) => second.take(),
            Self::Ring(ring) => {
                let piece = ring.pop_back();
                if ring.is_empty() {
                    *self = Self::new();
                }
                piece
            }
        }
    }

    /// All references, leaving none here.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        match self {
            // Field by field, since a wide load soon after narrow stores stalls.
            Self::Inline([first, second]) => Self::Inline([first.take(), second.take()]),
            Self::Ring(_) => std::mem::take(self),
        }
    }

    /// Moves all of `other` behind what is here; `other` is empty afterwards.
    #[inline]
    pub(crate) fn append(&mut self, other: &mut Self) {
        if self.front().is_none() {
            *self = other.take();
            return;
        }
        match other.take() {
            Self::Inline([None, _]) => {}
            Self::Inline([Some(first), second]) => {
                self.push(first);
                if let Some(second) = second {
                    self.push_unmerged(second);
                }
            }
            Self::Ring(mut ring) => {
                if let Some(first) = ring.pop_front() {
                    self.push(first);
                }
                ring.into_iter().for_each(|piece| self.push_unmerged(piece));
            }
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

impl Default for RefQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for RefQueue {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Self::Inline([first, second]) => Self::Inline([first.clone(), second.clone()]),
            Self::Ring(ring) => Self::Ring(ring.clone()),
        }
    }
}
