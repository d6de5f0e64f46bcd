//! Timers: each worker keeps those that were set on it, ordered by their deadline, and looks at them between tasks
//! and before it sleeps. A timer never fires early. Users see [`schedule`] and [`TimerHandle`].

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::atomic::lock;
use crate::task::TaskRef;
use crate::worker;

/// Cancelled timers of other workers that a heap carries before it looks for them.
const SWEEP_MIN: usize = 1024;

/// Runs `f` once the deadline has passed, between two tasks of a worker.
///
/// `f` runs outside of any bthread and holds its worker up: it must be short and must not block; it may wake
/// bthreads and [`spawn`](crate::spawn) one for anything long. A panic in it is caught and reported like that of a
/// thread. Never blocks; may be called from anywhere, also from within `f`.
///
/// ```
/// # use std::time::{Duration, Instant};
/// let (tx, rx) = std::sync::mpsc::channel();
/// bthread::timer::schedule(Instant::now() + Duration::from_millis(5), move || tx.send(()).unwrap());
/// rx.recv().unwrap();
/// ```
pub fn schedule(deadline: Instant, f: impl FnOnce() + Send + 'static) -> TimerHandle {
    let worker = worker::this_or_some();
    let shared =
        Arc::new(Callback { f: Mutex::new(Some(Box::new(f))), tombstones: worker.tombstones().clone() });
    worker::add_timer(worker, deadline, shared.clone());
    TimerHandle { shared }
}

/// A scheduled function. Dropping the handle does not cancel it.
#[must_use = "without its handle a timer cannot be cancelled"]
pub struct TimerHandle {
    shared: Arc<Callback>,
}

impl TimerHandle {
    /// Prevents the function from running; it is dropped at once. False: it runs, has run, or was cancelled before.
    /// Never blocks and does not wait for a function that is running.
    pub fn cancel(&self) -> bool {
        let f = lock(&self.shared.f).take();
        let cancelled = f.is_some();
        if cancelled {
            self.shared.tombstones.fetch_add(1, Ordering::Relaxed); // a hint for the sweep; pairs with nothing
        }
        cancelled
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle").field("pending", &lock(&self.shared.f).is_some()).finish()
    }
}

/// A function to run, until it is taken by the worker or by a cancel.
pub(crate) struct Callback {
    f: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    tombstones: Arc<AtomicUsize>,
}

impl Callback {
    pub(crate) fn fire(&self) {
        let f = lock(&self.f).take();
        if let Some(f) = f {
            f();
        }
    }

    fn is_cancelled(&self) -> bool {
        lock(&self.f).is_none()
    }
}

/// What a timer does.
pub(crate) enum Action {
    /// Ends the park of a bthread of this worker.
    Unpark(TaskRef),
    Call(Arc<Callback>),
}

/// Names a timer in its heap until it fires or is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(u32);

/// The timers of one worker: a binary heap by deadline that knows where each timer stands.
pub(crate) struct Timers {
    heap: Vec<Entry>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Timers in this heap (and a few that have left it) whose function was cancelled.
    tombstones: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
struct Entry {
    deadline: Instant,
    slot: u32,
}

struct Slot {
    position: u32,
    action: Option<Action>,
}

impl Timers {
    pub(crate) fn new(tombstones: Arc<AtomicUsize>) -> Self {
        Timers { heap: Vec::new(), slots: Vec::new(), free: Vec::new(), tombstones }
    }

    pub(crate) fn add(&mut self, deadline: Instant, action: Action) -> Key {
        self.sweep_if_due();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { position: 0, action: None });
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize].action = Some(action);
        self.heap.push(Entry { deadline, slot });
        self.sift_up(self.heap.len() - 1);
        Key(slot)
    }

    /// Removes a timer that has not fired. The key must not have been removed or fired.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Action> {
        let position = self.slots[key.0 as usize].position as usize;
        self.take_at(position)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Takes the earliest timer if its deadline is not after `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Key, Action)> {
        let first = *self.heap.first()?;
        if first.deadline > now {
            return None;
        }
        self.take_at(0).map(|action| (Key(first.slot), action))
    }

    /// Timers in the heap, cancelled ones included.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    fn take_at(&mut self, position: usize) -> Option<Action> {
        let entry = self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.sift_down(position);
            self.sift_up(position);
        }
        self.free.push(entry.slot);
        self.slots[entry.slot as usize].action.take()
    }

    fn sift_up(&mut self, mut position: usize) {
        let entry = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / 2;
            if self.heap[parent].deadline <= entry.deadline {
                break;
            }
            self.place(position, self.heap[parent]);
            position = parent;
        }
        self.place(position, entry);
    }

    fn sift_down(&mut self, mut position: usize) {
        let entry = self.heap[position];
        loop {
            let mut child = 2 * position + 1;
            if child >= self.heap.len() {
                break;
            }
            if child + 1 < self.heap.len() && self.heap[child + 1].deadline < self.heap[child].deadline {
                child += 1;
            }
            if self.heap[child].deadline >= entry.deadline {
                break;
            }
            self.place(position, self.heap[child]);
            position = child;
        }
        self.place(position, entry);
    }

    fn place(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.slots[entry.slot as usize].position = position as u32;
    }

    /// Cancelled timers are dropped when they are more than half of all, so a heap is never more than twice what is
    /// alive in it, and the cost is spread over the cancels.
    fn sweep_if_due(&mut self) {
        let tombstones = self.tombstones.load(Ordering::Relaxed); // a hint; pairs with nothing
        if tombstones < SWEEP_MIN || tombstones * 2 < self.heap.len() {
            return;
        }
        self.tombstones.fetch_sub(tombstones, Ordering::Relaxed); // as above
        let entries = std::mem::take(&mut self.heap);
        for entry in entries {
            let slot = &mut self.slots[entry.slot as usize];
            if matches!(&slot.action, Some(Action::Call(callback)) if callback.is_cancelled()) {
                slot.action = None;
                self.free.push(entry.slot);
            } else {
                self.heap.push(entry);
            }
        }
        for position in (0..self.heap.len()).rev() {
            self.slots[self.heap[position].slot as usize].position = position as u32;
            self.sift_down(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn call() -> (Action, Arc<Callback>) {
        let callback =
            Arc::new(Callback { f: Mutex::new(Some(Box::new(|| ()))), tombstones: Arc::default() });
        (Action::Call(callback.clone()), callback)
    }

    proptest! {
        #[test]
        fn timers_fire_in_the_order_of_their_deadlines(
            steps in proptest::collection::vec((0u64..1000, 0usize..4, any::<proptest::sample::Index>()), 1..300),
        ) {
            let base = Instant::now();
            let at = |ms| base + Duration::from_millis(ms);
            let mut timers = Timers::new(Arc::default());
            let mut model: Vec<(u64, Key)> = Vec::new();
            for (ms, kind, index) in steps {
                match kind {
                    0 if !model.is_empty() => {
                        let (_, key) = model.swap_remove(index.index(model.len()));
                        prop_assert!(timers.remove(key).is_some());
                    }
                    1 => {
                        while let Some((key, _)) = timers.pop_due(at(ms)) {
                            let due = model.iter().map(|(ms, _)| *ms).min().unwrap();
                            let found = model.iter().position(|(_, k)| *k == key).unwrap();
                            prop_assert_eq!(model.swap_remove(found).0, due);
                            prop_assert!(due <= ms);
                        }
                        prop_assert!(model.iter().all(|(due, _)| *due > ms));
                    }
                    _ => model.push((ms, timers.add(at(ms), call().0))),
                }
                prop_assert_eq!(timers.next(), model.iter().map(|(ms, _)| at(*ms)).min());
            }
        }
    }

    #[test]
    fn cancelled_timers_are_swept() {
        let tombstones = Arc::new(AtomicUsize::new(0));
        let mut timers = Timers::new(tombstones.clone());
        let far = Instant::now() + Duration::from_secs(3600);
        for n in 0..100_000u32 {
            let callback =
                Arc::new(Callback { f: Mutex::new(Some(Box::new(|| ()))), tombstones: tombstones.clone() });
            timers.add(far + Duration::from_millis(u64::from(n)), Action::Call(callback.clone()));
            assert!(TimerHandle { shared: callback }.cancel());
            assert!(timers.len() <= 2 * SWEEP_MIN);
        }
    }
}
