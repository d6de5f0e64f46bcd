//! The order of one worker's timers: a 4-ary heap by when they are due, and slots that hold what they do and where in
//! the heap they stand. Adding and removing cost O(log n), taking the key of a timer that is gone for one that is
//! there is impossible in practice (`Key`).
//!
//! Memory follows the largest number of timers there were at a time (80 bytes for each); slots are used again, not
//! given back. Nothing here reads a clock or runs what is held.

use super::Time;

const SLOT_BITS: u32 = 24;
/// Timers in a heap.
pub(crate) const SLOTS_MAX: usize = 1 << SLOT_BITS;
/// Slots allocated at a time, so that nobody waits long for a heap that grows.
const CHUNK: usize = 256;
const ARITY: usize = 4;
/// The end of the list of free slots.
const NO_SLOT: u32 = u32::MAX;

/// Names one timer: a running number of 40 bits above the 24 of its slot. Never 0. A key is given again only after
/// 2^40 others, if its slot is free then: a late cancel misses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(u64);

impl Key {
    fn new(number: u64, slot: u32) -> Key {
        Key(number << SLOT_BITS | u64::from(slot))
    }

    fn slot(self) -> u32 {
        (self.0 % SLOTS_MAX as u64) as u32
    }
}

/// When a timer is due, above its key: so of two that are due at the same time the older comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u128);

impl Entry {
    fn new(due: Time, key: Key) -> Entry {
        Entry(u128::from(due.as_nanos()) << 64 | u128::from(key.0))
    }

    fn due(self) -> Time {
        Time::from_nanos((self.0 >> 64) as u64)
    }

    fn key(self) -> Key {
        Key(self.0 as u64)
    }
}

/// One cache line, as long as an action is at most 48 bytes.
#[repr(align(64))]
struct Slot<A> {
    /// Whose slot this is; 0 while it is free.
    key: u64,
    /// Where in the heap; the next free slot while this one is free.
    place: u32,
    action: Option<A>,
}

/// The timers of one worker.
pub(super) struct Heap<A> {
    entries: Vec<Entry>,
    chunks: Vec<Box<[Slot<A>]>>,
    free: u32,
    /// That of the last key.
    number: u64,
    /// The latest time for which somebody has asked what is due.
    fired: Time,
    /// Timers that were taken because they were due.
    triggered: u64,
}

impl<A> Heap<A> {
    pub(super) fn new() -> Self {
        Heap {
            entries: Vec::new(),
            chunks: Vec::new(),
            free: NO_SLOT,
            number: 0,
            fired: Time::MIN,
            triggered: 0,
        }
    }

    /// Adds a timer and takes its action; leaves it if there are `max` already, which is at most `SLOTS_MAX`.
    ///
    /// A timer is never due at a time for which [`pop_due`](Self::pop_due) was called before: who takes all that are
    /// due now comes to an end, whatever those add, and they do not overtake others that wait for their turn.
    #[inline]
    pub(super) fn add(&mut self, due: Time, action: &mut Option<A>, max: usize) -> Option<Key> {
        debug_assert!(max <= SLOTS_MAX && due != Time::NEVER && action.is_some());
        if self.entries.len() >= max {
            return None;
        }
        if self.free == NO_SLOT {
            self.grow();
        }
        let index = self.free;
        self.number = next_number(self.number);
        let key = Key::new(self.number, index);
        let slot = self.slot(index);
        slot.key = key.0;
        slot.action = action.take();
        self.free = slot.place;
        let entry = Entry::new(due.max(self.fired.next()), key);
        self.entries.push(entry);
        self.sift_up(self.entries.len() - 1, entry);
        Some(key)
    }

    /// Takes a timer out, unless it has been taken before.
    pub(super) fn remove(&mut self, key: Key) -> Option<A> {
        let place = self.place(key)?;
        self.take(place)
    }

    /// Takes the first timer if it is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<(Key, A)> {
        self.fired = self.fired.max(now);
        let first = *self.entries.first()?;
        if first.due() > now {
            return None;
        }
        self.triggered += 1;
        self.take(0).map(|action| (first.key(), action))
    }

    /// Timers ever added, as long as those are less than 2^40, and timers that became due.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.number, self.triggered)
    }

    /// When the first timer is due; `NEVER` if there is none.
    pub(super) fn first(&self) -> Time {
        self.entries.first().map_or(Time::NEVER, |entry| entry.due())
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.place(key).is_some()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn place(&self, key: Key) -> Option<usize> {
        let index = key.slot() as usize;
        let slot = &self.chunks.get(index / CHUNK)?[index % CHUNK];
        (slot.key == key.0).then_some(slot.place as usize)
    }

    fn slot(&mut self, index: u32) -> &mut Slot<A> {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    #[cold]
    fn grow(&mut self) {
        let first = self.chunks.len() * CHUNK;
        let next_free = |index: usize| if index + 1 < first + CHUNK { index as u32 + 1 } else { NO_SLOT };
        let slots =
            (first..first + CHUNK).map(|index| Slot { key: 0, place: next_free(index), action: None });
        self.chunks.push(slots.collect());
        self.free = first as u32;
    }

    #[inline]
    fn take(&mut self, place: usize) -> Option<A> {
        let taken = self.entries.swap_remove(place);
        if let Some(&moved) = self.entries.get(place)
            && !self.sift_up(place, moved)
        {
            self.sift_down(place, moved);
        }
        let (free, index) = (self.free, taken.key().slot());
        self.free = index;
        let slot = self.slot(index);
        slot.key = 0;
        slot.place = free;
        slot.action.take()
    }

    /// Puts `entry` where it belongs, from `place` on upwards. Whether that is further up.
    #[inline]
    fn sift_up(&mut self, place: usize, entry: Entry) -> bool {
        let mut hole = place;
        while hole > 0 {
            let parent = (hole - 1) / ARITY;
            if self.entries[parent] <= entry {
                break;
            }
            self.put(hole, self.entries[parent]);
            hole = parent;
        }
        self.put(hole, entry);
        hole != place
    }

    /// The same downwards.
    fn sift_down(&mut self, place: usize, entry: Entry) {
        let mut hole = place;
        loop {
            let first = ARITY * hole + 1;
            let children = first..self.entries.len().min(first + ARITY);
            let Some(least) = children.min_by_key(|child| self.entries[*child]) else { break };
            if self.entries[least] >= entry {
                break;
            }
            self.put(hole, self.entries[least]);
            hole = least;
        }
        self.put(hole, entry);
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.entries[place] = entry;
        self.slot(entry.key().slot()).place = place as u32;
    }
}

/// Numbers run from 1 to the last that 40 bits hold, and start again.
fn next_number(number: u64) -> u64 {
    if number < u64::MAX >> SLOT_BITS { number + 1 } else { 1 }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T: fn(u64) -> Time = Time::from_nanos;

    #[derive(Clone, Debug)]
    enum Step {
        Add(u64),
        Remove(proptest::sample::Index),
        RemoveAgain(proptest::sample::Index),
        Fire(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0u64..1000).prop_map(Step::Add),
            2 => any::<proptest::sample::Index>().prop_map(Step::Remove),
            1 => any::<proptest::sample::Index>().prop_map(Step::RemoveAgain),
            1 => (0u64..1000).prop_map(Step::Fire),
        ];
        proptest::collection::vec(step, 1..600)
    }

    proptest! {
        #[test]
        fn a_heap_is_a_sorted_list(steps in steps()) {
            let mut heap = Heap::new();
            // Sorted by when they are due, then by age: (due, number, key).
            let mut model: Vec<(u64, u32, Key)> = Vec::new();
            let mut gone: Vec<Key> = Vec::new();
            let mut fired = 0;
            for (number, step) in (0u32..).zip(steps) {
                match step {
                    Step::Add(due) => {
                        let key = heap.add(T(due), &mut Some(number), SLOTS_MAX).unwrap();
                        model.push((due.max(fired + 1), number, key));
                        model.sort_by_key(|(due, number, _)| (*due, *number));
                    }
                    Step::Remove(index) if !model.is_empty() => {
                        let (_, number, key) = model.remove(index.index(model.len()));
                        prop_assert!(heap.contains(key));
                        prop_assert_eq!(heap.remove(key), Some(number));
                        gone.push(key);
                    }
                    Step::RemoveAgain(index) if !gone.is_empty() => {
                        let key = gone[index.index(gone.len())];
                        prop_assert!(!heap.contains(key));
                        prop_assert_eq!(heap.remove(key), None);
                    }
                    Step::Fire(now) => {
                        fired = fired.max(now);
                        let due = model.iter().take_while(|(due, ..)| *due <= now).count();
                        for (_, number, key) in model.drain(..due) {
                            prop_assert_eq!(heap.pop_due(T(now)), Some((key, number)));
                            gone.push(key);
                        }
                        prop_assert_eq!(heap.pop_due(T(now)), None);
                    }
                    _ => {}
                }
                prop_assert_eq!(heap.len(), model.len());
                prop_assert_eq!(heap.first(), model.first().map_or(Time::NEVER, |(due, ..)| T(*due)));
            }
        }
    }

    #[test]
    fn many_timers_are_removed_and_fire_in_order() {
        const COUNT: u64 = 200_000;
        let mut heap = Heap::new();
        let mut random = 1u64;
        let mut keys = Vec::new();
        for _ in 0..COUNT {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let due = 1 + (random >> 33);
            keys.push((due, heap.add(T(due), &mut Some(due), SLOTS_MAX).unwrap()));
        }
        for (due, key) in keys.iter().step_by(2) {
            assert_eq!(heap.remove(*key), Some(*due));
        }
        assert_eq!(heap.len() as u64, COUNT / 2);
        let mut last = 0;
        for left in (0..COUNT / 2).rev() {
            let (_, due) = heap.pop_due(T(u64::MAX - 1)).unwrap();
            assert!(due >= last);
            (last, _) = (due, assert_eq!(heap.len() as u64, left));
        }
        assert!(keys.iter().all(|(_, key)| heap.remove(*key).is_none()));
        assert!(heap.chunks.len() <= (COUNT as usize).div_ceil(CHUNK));
    }

    #[test]
    fn removed_timers_take_no_memory() {
        let mut heap = Heap::new();
        for due in 0..100_000 {
            let key = heap.add(T(1_000_000 + due), &mut Some(()), SLOTS_MAX).unwrap();
            assert!(heap.remove(key).is_some());
        }
        assert_eq!((heap.chunks.len(), heap.len(), heap.first()), (1, 0, Time::NEVER));
    }

    #[test]
    fn at_the_bound_the_action_is_left() {
        let mut heap = Heap::new();
        let keys: Vec<Key> = (0..3).map(|n| heap.add(T(9), &mut Some(n), 3).unwrap()).collect();
        let mut one_more = Some(3);
        assert_eq!(heap.add(T(1), &mut one_more, 3), None);
        assert_eq!((one_more, heap.len()), (Some(3), 3));
        assert_eq!(heap.remove(keys[1]), Some(1));
        assert!(heap.add(T(1), &mut one_more, 3).is_some() && one_more.is_none());
    }

    #[test]
    fn what_a_fired_timer_adds_is_not_due_at_once_and_overtakes_nobody() {
        let mut heap = Heap::new();
        heap.add(T(5), &mut Some("first"), 9).unwrap();
        heap.add(T(7), &mut Some("second"), 9).unwrap();
        let mut fired = Vec::new();
        while let Some((_, action)) = heap.pop_due(T(10)) {
            fired.push(action);
            heap.add(T(5), &mut Some("again"), 9).unwrap();
        }
        assert_eq!(fired, ["first", "second"]);
        assert_eq!(heap.first(), T(11));
    }

    #[test]
    fn numbers_start_again_at_one() {
        let last = u64::MAX >> SLOT_BITS;
        assert_eq!(next_number(last), 1);
        let mut heap = Heap::new();
        heap.number = last - 1;
        let keys: Vec<Key> = (0..3).map(|n| heap.add(T(n), &mut Some(n), 9).unwrap()).collect();
        assert_eq!(keys[0].0 >> SLOT_BITS, last);
        assert!((0..3).all(|n| heap.remove(keys[n as usize]) == Some(n)));
    }
}
