//! The timers of one worker, for every thread to set, cancel and fire, and how their owner sleeps until the first.
//!
//! The owner must not oversleep a timer that somebody else sets while it goes to sleep. Both sides write, fence, read
//! (`parking` has the other half):
//!
//! | owner | somebody else |
//! |---|---|
//! | `alarm` = NEVER (since its last sleep) | adds; `next` = the new first |
//! | announces itself: sets its bit, **fence** | **fence** |
//! | reads `next`, sets `alarm` to it ([`arm`](Timers::arm)) | reads `alarm`; not later than the timer: done |
//! | sleeps until `alarm` or a wake-up | claims the owner if its bit is set, and wakes it |
//! | `alarm` = NEVER ([`disarm`](Timers::disarm)), clears its bit | |
//!
//! If the other's fence comes first, the owner reads the new `next`. Else the other sees the bit and an `alarm` no
//! older than the NEVER before it: either NEVER, and it wakes the owner, or a time at which the owner wakes by itself,
//! before the new timer is due, to read `next` again behind its next fence. An owner that finds its own bit cleared has
//! been woken. Only who makes `next` earlier does this: as long as he has not, every later timer depends on his.
//! A timer that is set on the owner's own thread needs nothing of it, since the owner reads `next` afterwards.
//!
//! So a thread that sets and cancels one timer after another on a sleeping worker wakes it once in the time that they
//! have, not once for each.

use super::heap::Heap;
use super::{Key, Time};
use crate::atomic::{AtomicU64, Mutex, Ordering, fence, lock};

/// The timers of one worker. Their actions are run and dropped outside of the lock, which is held for a few
/// instructions. It is std's: 5 ns for the pair while nobody else wants it, and who meets a holder that the system has
/// preempted sleeps instead of spinning.
pub(crate) struct Timers<A> {
    heap: Mutex<Heap<A>>,
    /// When the first is due; changes under the lock.
    next: AtomicU64,
    /// When the owner wakes by itself, while it sleeps.
    alarm: AtomicU64,
}

impl<A> Timers<A> {
    pub(crate) fn new() -> Self {
        Timers {
            heap: Mutex::new(Heap::new()),
            next: AtomicU64::new(Time::NEVER.as_nanos()),
            alarm: AtomicU64::new(Time::NEVER.as_nanos()),
        }
    }

    /// Sets a timer, on the owner's thread (that which calls [`arm`](Self::arm)), and takes its action; leaves it if
    /// there are `max` timers already.
    pub(crate) fn add(&self, due: Time, action: &mut Option<A>, max: usize) -> Option<Key> {
        self.insert(due, action, max).map(|(key, _)| key)
    }

    /// The same on any other thread; calls `wake` if the owner may be asleep for too long.
    pub(crate) fn add_from_outside(
        &self,
        due: Time,
        action: &mut Option<A>,
        max: usize,
        wake: impl FnOnce(),
    ) -> Option<Key> {
        let (key, earlier) = self.insert(due, action, max)?;
        if let Some(first) = earlier {
            fence(Ordering::SeqCst); // between `next` and `alarm`: pairs with the one in `Parking::announce`
            // Relaxed: the fences say how old it may be.
            if first.as_nanos() < self.alarm.load(Ordering::Relaxed) {
                wake();
            }
        }
        Some(key)
    }

    /// Takes a timer out from any thread; `None` if it has been taken before, to be fired or otherwise.
    pub(crate) fn remove(&self, key: Key) -> Option<A> {
        let mut heap = lock(&self.heap);
        let action = heap.remove(key);
        self.publish(heap.first());
        action
    }

    /// Takes the first timer if it is due, from any thread. Costs a load if it is not. What is added after this is not
    /// due at `now`, so a loop of it ends.
    pub(crate) fn pop_due(&self, now: Time) -> Option<(Key, A)> {
        if self.next() > now {
            return None;
        }
        let mut heap = lock(&self.heap);
        let due = heap.pop_due(now);
        self.publish(heap.first());
        due
    }

    /// When the first timer is due, from any thread without the lock; `NEVER` if there is none. May be outdated, but
    /// not for one who synchronises with whoever has changed it.
    pub(crate) fn next(&self) -> Time {
        Time::from_nanos(self.next.load(Ordering::Relaxed))
    }

    /// How long the owner, which has announced itself, may sleep.
    pub(crate) fn arm(&self) -> Time {
        let next = self.next();
        self.alarm.store(next.as_nanos(), Ordering::Relaxed); // a late one costs the owner a wake-up
        next
    }

    /// The owner, which still counts as asleep, is awake.
    pub(crate) fn disarm(&self) {
        self.alarm.store(Time::NEVER.as_nanos(), Ordering::Relaxed); // published by its next announce
    }

    /// Whether the timer has been neither fired nor removed; a snapshot.
    pub(crate) fn contains(&self, key: Key) -> bool {
        lock(&self.heap).contains(key)
    }

    /// Timers ever added, and timers that became due.
    pub(crate) fn counts(&self) -> (u64, u64) {
        lock(&self.heap).counts()
    }

    /// Timers now; a snapshot.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.heap).len()
    }

    /// The key, and when the first is due if that is earlier than it was.
    fn insert(&self, due: Time, action: &mut Option<A>, max: usize) -> Option<(Key, Option<Time>)> {
        let mut heap = lock(&self.heap);
        let key = heap.add(due, action, max)?;
        let first = heap.first();
        let earlier = first < self.next();
        self.publish(first);
        Some((key, earlier.then_some(first)))
    }

    /// Under the lock, after a change.
    fn publish(&self, first: Time) {
        // Relaxed: its readers are told at `next` and at the head of this file.
        if first != self.next() {
            self.next.store(first.as_nanos(), Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::SLOTS_MAX;
    use super::*;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, AtomicUsize};

    const T: fn(u64) -> Time = Time::from_nanos;

    #[test]
    fn the_owner_is_woken_for_what_comes_before_its_alarm_only() {
        let timers = Timers::new();
        let woken = Cell::new(0);
        let add = |due| {
            let wake = || woken.set(woken.get() + 1);
            let key = timers.add_from_outside(T(due), &mut Some(()), SLOTS_MAX, wake).unwrap();
            (key, woken.replace(0) == 1)
        };
        assert!(add(1000).1, "an owner that is awake, or has not armed yet, may be about to sleep");
        assert_eq!(timers.arm(), T(1000));
        assert!(!add(2000).1);
        let (earlier, wakes) = add(500);
        assert!(wakes);
        timers.disarm();
        assert_eq!(timers.arm(), T(500));
        assert!(timers.remove(earlier).is_some());
        assert!(!add(700).1, "it still wakes at 500");
        timers.disarm();
        assert!(add(600).1);
    }

    #[test]
    fn the_hint_follows_the_first() {
        let timers = Timers::new();
        assert_eq!(timers.next(), Time::NEVER);
        let late = timers.add(T(20), &mut Some('l'), SLOTS_MAX).unwrap();
        let early = timers.add(T(10), &mut Some('e'), SLOTS_MAX).unwrap();
        assert_eq!(timers.next(), T(10));
        assert_eq!(timers.remove(early), Some('e'));
        assert_eq!((timers.next(), timers.pop_due(T(19))), (T(20), None));
        assert!(timers.contains(late));
        assert_eq!(timers.pop_due(T(20)), Some((late, 'l')));
        assert_eq!((timers.next(), timers.remove(late)), (Time::NEVER, None));
    }

    #[test]
    fn of_all_who_want_a_timer_one_gets_it() {
        const EACH: usize = 20_000;
        const ADDERS: usize = 3;
        let timers = Timers::<usize>::new();
        let taken: Vec<AtomicU32> = (0..ADDERS * EACH).map(|_| AtomicU32::new(0)).collect();
        let added = AtomicUsize::new(0);
        let take = |number: usize| assert_eq!(taken[number].fetch_add(1, Ordering::Relaxed), 0);
        std::thread::scope(|scope| {
            for adder in 0..ADDERS {
                let (timers, take, added) = (&timers, &take, &added);
                scope.spawn(move || {
                    let mut keys = std::collections::VecDeque::new();
                    for number in adder * EACH..(adder + 1) * EACH {
                        let due = T(1 + number as u64 * 7919 % 1000);
                        let key = timers.add_from_outside(due, &mut Some(number), SLOTS_MAX, || ());
                        keys.push_back((key.unwrap(), number));
                        if keys.len() > 50 {
                            let (key, number) = keys.pop_front().unwrap();
                            if let Some(removed) = timers.remove(key) {
                                assert_eq!(removed, number);
                                take(number);
                            }
                        }
                    }
                    added.fetch_add(1, Ordering::Release);
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut now = 0;
                    while added.load(Ordering::Acquire) < ADDERS || timers.len() > 0 {
                        now += 1;
                        while let Some((_, number)) = timers.pop_due(T(now)) {
                            take(number);
                        }
                    }
                });
            }
        });
        assert!(taken.iter().all(|taken| taken.load(Ordering::Relaxed) == 1));
        assert_eq!((timers.len(), timers.next()), (0, Time::NEVER));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::super::SLOTS_MAX;
    use super::*;
    use crate::atomic::{Condvar, Mutex};
    use crate::parking::Parking;
    use loom::sync::Arc;

    const T: fn(u64) -> Time = Time::from_nanos;

    /// A worker that has nothing but timers. Time stands still, but for an owner that sleeps until its alarm: then it
    /// is that late. One that oversleeps waits for a signal for ever, which loom reports.
    struct World {
        parking: Parking,
        timers: Timers<u64>,
        signal: (Mutex<bool>, Condvar),
    }

    impl World {
        fn new() -> Arc<Self> {
            Arc::new(World {
                parking: Parking::new(1),
                timers: Timers::new(),
                signal: (Mutex::new(false), Condvar::new()),
            })
        }

        fn set(&self, due: u64) -> Key {
            self.timers.add_from_outside(T(due), &mut Some(due), SLOTS_MAX, || self.wake()).unwrap()
        }

        fn wake(&self) {
            if self.parking.claim(0).is_some() {
                *lock(&self.signal.0) = true;
                self.signal.1.notify_one();
            }
        }

        /// Sleeps as a worker does until it has taken timer `due`, and not later than that.
        fn run_until(&self, due: u64) {
            let mut searching = false;
            let mut taken = false;
            while !taken {
                self.parking.announce(0, searching);
                let alarm = self.timers.arm();
                let mut now = alarm;
                if alarm > T(due) {
                    let (signal, wake) = &self.signal;
                    let mut signalled = lock(signal);
                    while !*signalled {
                        signalled = wake.wait(signalled).unwrap();
                    }
                    *signalled = false;
                    now = Time::MIN;
                }
                self.timers.disarm();
                searching = !self.parking.retract(0);
                while let Some((_, fired)) = self.timers.pop_due(now) {
                    taken |= fired == due;
                }
            }
            if searching {
                self.parking.end_search();
            }
        }
    }

    #[test]
    fn loom_a_timer_from_outside_is_not_overslept() {
        crate::atomic::model(|| {
            let world = World::new();
            let owner = loom::thread::spawn({
                let world = world.clone();
                move || world.run_until(10)
            });
            world.set(10);
            owner.join().unwrap();
        });
    }

    #[test]
    fn loom_an_earlier_timer_is_not_overslept() {
        crate::atomic::model(|| {
            let world = World::new();
            world.timers.add(T(10), &mut Some(10), SLOTS_MAX).unwrap();
            let owner = loom::thread::spawn({
                let world = world.clone();
                move || world.run_until(5)
            });
            world.set(5);
            owner.join().unwrap();
        });
    }

    #[test]
    fn loom_the_alarm_of_an_earlier_sleep_misleads_nobody() {
        crate::atomic::model(|| {
            let world = World::new();
            world.timers.add(T(5), &mut Some(5), SLOTS_MAX).unwrap();
            let owner = loom::thread::spawn({
                let world = world.clone();
                move || {
                    world.run_until(5);
                    world.run_until(10);
                }
            });
            world.set(10);
            owner.join().unwrap();
        });
    }

    #[test]
    fn loom_a_timer_behind_one_that_is_removed_is_not_overslept() {
        crate::atomic::model(|| {
            let world = World::new();
            let owner = loom::thread::spawn({
                let world = world.clone();
                move || world.run_until(10)
            });
            let other = loom::thread::spawn({
                let world = world.clone();
                move || {
                    let key = world.set(8);
                    world.timers.remove(key);
                }
            });
            world.set(10);
            other.join().unwrap();
            owner.join().unwrap();
        });
    }
}
