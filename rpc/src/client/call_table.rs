//! The calls that wait for a reply on one connection, found by their correlation ids.
//!
//! Owns the ids: `version << 32 | slot << 2 | shard`, never 0 and never used twice for different calls (versions wrap
//! after 2^32 uses of a slot). Whoever removes a call ends it, and nobody else. Once closed it takes no more calls, so
//! that none is forgotten when the connection fails.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bthread::planted;

use super::outcome::PendingCall;
use crate::socket::lock;

/// Calls in flight on one connection.
pub(crate) const CALLS_MAX: usize = 1 << 20;

/// log2 of the number of shards, each with a lock of its own, so that threads seldom meet.
const SHARD_BITS: u32 = 2;
const SHARDS: usize = 1 << SHARD_BITS;
const SLOTS_MAX: usize = CALLS_MAX / SHARDS;

/// The calls in flight on one connection.
pub(super) struct CallTable {
    shards: [Shard; SHARDS],
}

/// On a cache line of its own.
#[repr(align(64))]
struct Shard(Mutex<Slots>);

struct Slots {
    closed: bool,
    slots: Vec<Slot>,
    /// How many have a call.
    taken: usize,
    /// The first of the free slots, which are a list.
    free: Option<u32>,
}

struct Slot {
    version: u32,
    state: State,
}

enum State {
    Free { next: Option<u32> },
    Taken(Arc<dyn PendingCall>),
}

/// Why a call was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The connection has failed.
    Closed,
    /// [`CALLS_MAX`] is reached.
    Full,
}

impl CallTable {
    pub(super) fn new() -> Self {
        let shard = || Shard(Mutex::new(Slots { closed: false, slots: Vec::new(), taken: 0, free: None }));
        CallTable { shards: std::array::from_fn(|_| shard()) }
    }

    /// Keeps a call, and returns the id to remove it with.
    pub(super) fn insert(&self, call: Arc<dyn PendingCall>) -> Result<u64, Refused> {
        let home = home_shard();
        for shard in (home..home + SHARDS).map(|shard| shard % SHARDS) {
            let mut slots = lock(&self.shards[shard].0);
            if !slots.is_full() {
                let (slot, version) = slots.insert(call)?;
                return Ok(u64::from(version) << 32 | u64::from(slot) << SHARD_BITS | shard as u64);
            }
        }
        Err(Refused::Full)
    }

    /// Takes a call out. Of several concurrent callers exactly one gets it, and has to end it.
    pub(super) fn remove(&self, id: u64) -> Option<Arc<dyn PendingCall>> {
        let shard = id as usize & (SHARDS - 1);
        lock(&self.shards[shard].0).remove((id as u32) >> SHARD_BITS, (id >> 32) as u32)
    }

    /// Whether the call with this id wants its reply's body as it arrives.
    pub(super) fn wants_stream(&self, id: u64) -> bool {
        let shard = id as usize & (SHARDS - 1);
        let call = lock(&self.shards[shard].0).find((id as u32) >> SHARD_BITS, (id >> 32) as u32);
        call.is_some_and(|call| call.wants_stream())
    }

    /// Takes no more calls from now on, and returns those that are there, to be ended.
    pub(super) fn close(&self) -> Vec<Arc<dyn PendingCall>> {
        let mut calls = Vec::new();
        for shard in &self.shards {
            let mut slots = lock(&shard.0);
            slots.closed = true;
            slots.free = None;
            slots.taken = 0;
            for slot in std::mem::take(&mut slots.slots) {
                if let State::Taken(call) = slot.state {
                    calls.push(call);
                }
            }
        }
        calls
    }
}

impl CallTable {
    /// Calls in the table; a snapshot.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(&shard.0).taken).sum()
    }

    /// Takes no more calls from now on if there are none; true if it closed for that reason.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut all = self.shards.each_ref().map(|shard| lock(&shard.0)); // in the order of the shards
        let is_empty = all.iter().all(|slots| slots.taken == 0 && !slots.closed);
        all.iter_mut().for_each(|slots| slots.closed |= is_empty);
        is_empty
    }
}

impl Slots {
    fn is_full(&self) -> bool {
        !self.closed && self.free.is_none() && self.slots.len() == SLOTS_MAX
    }

    /// There must be room.
    fn insert(&mut self, call: Arc<dyn PendingCall>) -> Result<(u32, u32), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        self.taken += 1;
        let Some(index) = self.free else {
            self.slots.push(Slot { version: 1, state: State::Taken(call) });
            return Ok((self.slots.len() as u32 - 1, 1));
        };
        let slot = &mut self.slots[index as usize];
        if let State::Free { next } = slot.state {
            self.free = next;
        }
        slot.state = State::Taken(call);
        Ok((index, slot.version))
    }

    fn find(&self, index: u32, version: u32) -> Option<Arc<dyn PendingCall>> {
        let slot = self.slots.get(index as usize).filter(|slot| slot.version == version)?;
        match &slot.state {
            State::Taken(call) => Some(call.clone()),
            State::Free { .. } => None,
        }
    }

    fn remove(&mut self, index: u32, version: u32) -> Option<Arc<dyn PendingCall>> {
        let slot = self.slots.get_mut(index as usize).filter(|slot| slot.version == version)?;
        match std::mem::replace(&mut slot.state, State::Free { next: self.free }) {
            State::Taken(call) => {
                if !planted!(ReusedCallId) {
                    slot.version = slot.version.checked_add(1).unwrap_or(1);
                }
                self.free = Some(index);
                self.taken -= 1;
                Some(call)
            }
            free @ State::Free { .. } => {
                slot.state = free;
                None
            }
        }
    }
}

/// The shard that the calling thread puts its calls in.
fn home_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static HOME: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS); // any distribution will do
    HOME.with(|home| *home)
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Outcome;
    use super::*;
    use std::collections::HashSet;

    struct Number(usize);

    impl PendingCall for Number {
        fn span(&self) -> Option<&crate::span::Span> {
            None
        }

        fn end(self: Arc<Self>, _: Outcome) {}

        fn wants_stream(&self) -> bool {
            false
        }

        fn streams(&self) -> Option<Arc<crate::stream::CallStreams>> {
            None
        }
    }

    #[test]
    fn an_id_finds_its_call_once() {
        let table = CallTable::new();
        let call: Arc<dyn PendingCall> = Arc::new(Number(1));
        let id = table.insert(call.clone()).unwrap();
        assert_ne!(id, 0);
        assert!(Arc::ptr_eq(&table.remove(id).unwrap(), &call));
        assert!(table.remove(id).is_none());
        let other = table.insert(Arc::new(Number(2))).unwrap();
        assert_ne!(other, id, "the slot is the same, the version is not");
        assert!(table.remove(id).is_none(), "a late reply");
        assert!(table.remove(other).is_some());
        for id in [0, u64::MAX, other ^ 1, other + (1 << 32)] {
            assert!(table.remove(id).is_none());
        }
    }

    #[test]
    fn one_thread_may_have_all_there_are() {
        let table = CallTable::new();
        let call: Arc<dyn PendingCall> = Arc::new(Number(0));
        let ids: HashSet<u64> = (0..CALLS_MAX).map(|_| table.insert(call.clone()).unwrap()).collect();
        assert_eq!(ids.len(), CALLS_MAX);
        assert_eq!(table.insert(call.clone()), Err(Refused::Full));
        assert!(table.remove(*ids.iter().next().unwrap()).is_some());
        assert!(table.insert(call).is_ok());
    }

    #[test]
    fn slots_are_used_again() {
        let table = CallTable::new();
        let ids: Vec<_> = (0..100).map(|n| table.insert(Arc::new(Number(n))).unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 100);
        ids.iter().for_each(|id| drop(table.remove(*id).unwrap()));
        let again: HashSet<_> = (0..100).map(|n| table.insert(Arc::new(Number(n))).unwrap() as u32).collect();
        assert_eq!(again, ids.iter().map(|id| *id as u32).collect());
    }

    #[test]
    fn closing_returns_what_is_there_and_refuses_what_comes() {
        let table = CallTable::new();
        let ids: Vec<_> = (0..10).map(|n| table.insert(Arc::new(Number(n))).unwrap()).collect();
        drop(table.remove(ids[3]));
        assert_eq!(table.close().len(), 9);
        assert_eq!(table.insert(Arc::new(Number(0))), Err(Refused::Closed));
        assert!(table.remove(ids[0]).is_none() && table.close().is_empty());
    }

    #[test]
    fn versions_wrap_without_a_zero() {
        let mut slots = Slots { closed: false, slots: Vec::new(), taken: 0, free: None };
        let (index, _) = slots.insert(Arc::new(Number(0))).unwrap();
        slots.slots[index as usize].version = u32::MAX;
        assert!(slots.remove(index, u32::MAX).is_some());
        assert_eq!(slots.insert(Arc::new(Number(1))), Ok((index, 1)));
    }

    #[test]
    fn one_remover_wins() {
        let table = Arc::new(CallTable::new());
        let calls: Vec<_> = (0..4096).map(|n| Arc::new(Number(n))).collect();
        let ids: Vec<_> = calls.iter().map(|call| table.insert(call.clone()).unwrap()).collect();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (table, ids) = (table.clone(), ids.clone());
                std::thread::spawn(move || ids.iter().filter(|id| table.remove(**id).is_some()).count())
            })
            .collect();
        assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 4096);
        assert!(calls.iter().all(|call| Arc::strong_count(call) == 1 && call.0 < 4096));
    }
}
