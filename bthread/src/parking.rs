//! Which workers sleep, and who is woken when there is work: the sleep/wake protocol of the scheduler.
//!
//! A worker that finds nothing to do **announces** itself (its bit is set), looks at every queue once more, and
//! sleeps. A producer first queues its task and then asks for a worker. Both sides put a sequentially consistent
//! step between their write and their read, so one of them sees the other: either the producer finds the bit, or the
//! worker finds the task. With anything weaker both could miss, and the task would wait for the next event.
//!
//! Whoever clears the bit owns the wake-up: a waker that clears it must wake the worker, and has counted it as a
//! searcher; a worker that finds its bit cleared by somebody else therefore is one, and may get one wake-up too many
//! later on, never one too few.
//!
//! Wake-ups are scarce: while a worker is **searching** (awake and looking for work to steal) nobody else is woken
//! for stealable work. The last searcher that finds work passes the wake-up on if there is more.

use crate::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

/// Most workers in one scheduler.
pub(crate) const WORKERS_MAX: usize = 1024;

/// The sleepers and searchers among the workers of one scheduler.
pub(crate) struct Parking {
    /// One bit for each worker that sleeps or is about to.
    asleep: Box<[AtomicU64]>,
    /// One bit for each worker that could not start what anybody may take.
    limited: Box<[AtomicU64]>,
    /// Words of the above that are in use; only grows.
    words: AtomicUsize,
    searching: AtomicUsize,
}

impl Parking {
    /// For workers 0 to `capacity` - 1, of which there are none yet.
    pub(crate) fn new(capacity: usize) -> Self {
        assert!(capacity <= WORKERS_MAX);
        let words = || (0..capacity.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Parking {
            asleep: words(),
            limited: words(),
            words: AtomicUsize::new(0),
            searching: AtomicUsize::new(0),
        }
    }

    /// There is a worker `index` now. Before it runs.
    pub(crate) fn admit(&self, index: usize) {
        // Relaxed: who misses it misses a sleeper that has looked at the queues after it was admitted: the fences of
        // `announce` and `claim_any` decide about that as about the bit itself.
        self.words.fetch_max(index / 64 + 1, Ordering::Relaxed);
    }

    /// Worker `index`, which is awake, can only go on with tasks of its own from here on, or can start any again.
    pub(crate) fn set_limited(&self, index: usize, limited: bool) {
        let (word, bit) = (&self.limited[index / 64], 1 << (index % 64));
        // Relaxed: the worker's next `announce` publishes it, to the Acquire in `claim_any`.
        if limited {
            word.fetch_or(bit, Ordering::Relaxed)
        } else {
            word.fetch_and(!bit, Ordering::Relaxed)
        };
    }

    /// Worker `index` is going to sleep, after one more look at the queues. `searching`: it counted as a searcher,
    /// which ends here.
    pub(crate) fn announce(&self, index: usize, searching: bool) {
        self.asleep[index / 64].fetch_or(1 << (index % 64), Ordering::SeqCst);
        if searching {
            self.searching.fetch_sub(1, Ordering::SeqCst);
        }
        // Pairs with the fences in `claim_any` and `claim`: the queues are looked at after this.
        fence(Ordering::SeqCst);
    }

    /// Worker `index` is awake. False: a waker had cleared the bit already, so the worker counts as searching now.
    pub(crate) fn retract(&self, index: usize) -> bool {
        let bit = 1 << (index % 64);
        // A waker that cleared the bit before us has queued what it woke us for. SeqCst pairs with the monitor's look
        // at the bit before it sleeps.
        self.asleep[index / 64].fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// After queueing work that anybody may take: a worker that the caller must wake, or `None` when nobody sleeps or
    /// somebody is searching already. The worker claimed counts as searching.
    pub(crate) fn claim_any(&self) -> Option<usize> {
        loop {
            // Pairs with the one in `announce`: our task is queued before this. What matters of the loads behind it is
            // which side of `announce`'s fence they are on; Acquire only so that `limited` is as new as `asleep`.
            fence(Ordering::SeqCst);
            if self.searching.load(Ordering::Relaxed) != 0 {
                return None;
            }
            let words = self.words.load(Ordering::Relaxed);
            let sleeper = self.asleep[..words].iter().zip(&self.limited).enumerate().find_map(
                |(word, (bits, limited))| {
                    let bits = bits.load(Ordering::Acquire) & !limited.load(Ordering::Relaxed);
                    (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)
                },
            );
            match sleeper {
                None => return None,
                Some(index) if self.clear(index) => return Some(index),
                Some(_) => {}
            }
        }
    }

    /// After queueing work for worker `index` alone: the worker that the caller must wake, if any: nearly always
    /// `index`. It counts as searching.
    pub(crate) fn claim(&self, index: usize) -> Option<usize> {
        fence(Ordering::SeqCst); // as in `claim_any`
        // Relaxed as in `claim_any`; the exchange in `clear` decides.
        if self.asleep[index / 64].load(Ordering::Relaxed) & (1 << (index % 64)) == 0 {
            return None;
        }
        // Who has lost has looked like a searcher for a moment, and a producer may have relied on that.
        if self.clear(index) { Some(index) } else { self.claim_any() }
    }

    fn clear(&self, index: usize) -> bool {
        let bit = 1 << (index % 64);
        // Counted before the bit goes, so that the worker never ends a search that has not begun.
        self.searching.fetch_add(1, Ordering::SeqCst);
        let won = self.asleep[index / 64].fetch_and(!bit, Ordering::SeqCst) & bit != 0;
        if !won {
            self.searching.fetch_sub(1, Ordering::SeqCst);
        }
        won
    }

    /// An awake worker begins to search. False: enough others do (half of all), it should sleep instead.
    pub(crate) fn begin_search(&self, workers: usize) -> bool {
        // A throttle: an outdated count costs a search too many or too few at most.
        if 2 * self.searching.load(Ordering::Relaxed) >= workers {
            return false;
        }
        self.searching.fetch_add(1, Ordering::SeqCst); // pairs with the load in `claim_any`
        true
    }

    /// A searcher found work. True: it was the last, so it should see that somebody looks after the rest.
    pub(crate) fn end_search(&self) -> bool {
        let last = self.searching.fetch_sub(1, Ordering::SeqCst) == 1;
        // Pairs with the one in `claim_any`: a producer that still saw us has queued its task before we look.
        fence(Ordering::SeqCst);
        last
    }

    /// Whether worker `index` sleeps or is about to; a snapshot.
    #[cfg(not(loom))]
    pub(crate) fn is_asleep(&self, index: usize) -> bool {
        // SeqCst pairs with the monitor's mark that it sleeps, see `monitor`.
        self.asleep[index / 64].load(Ordering::SeqCst) & (1 << (index % 64)) != 0
    }

    /// Workers asleep now; a snapshot.
    #[cfg(not(loom))]
    pub(crate) fn sleepers(&self) -> usize {
        self.asleep.iter().map(|bits| bits.load(Ordering::Relaxed).count_ones() as usize).sum()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_claimed_once() {
        let parking = Parking::new(130);
        parking.admit(129);
        parking.announce(129, false);
        assert_eq!(parking.sleepers(), 1);
        assert_eq!(parking.claim_any(), Some(129));
        assert!(parking.claim(129).is_none() && !parking.retract(129));
        parking.announce(7, false);
        assert_eq!(parking.claim_any(), None, "worker 129 is searching");
        assert_eq!(parking.claim(7), Some(7), "but work for 7 alone needs 7");
        assert!(!parking.end_search() && parking.end_search());
    }

    #[test]
    fn a_limited_sleeper_is_claimed_by_name_only() {
        let parking = Parking::new(2);
        parking.admit(1);
        parking.set_limited(0, true);
        parking.announce(0, false);
        assert_eq!(parking.claim_any(), None);
        parking.announce(1, false);
        assert_eq!(parking.claim_any(), Some(1));
        assert_eq!(parking.claim(0), Some(0));
        assert!(!parking.retract(0) && !parking.end_search());
        parking.set_limited(0, false);
        parking.announce(0, false);
        assert!(parking.end_search());
        assert_eq!(parking.claim_any(), Some(0));
    }

    #[test]
    fn half_of_the_workers_may_search() {
        let parking = Parking::new(4);
        assert!(parking.begin_search(4) && parking.begin_search(4) && !parking.begin_search(4));
        assert!(!parking.end_search() && parking.end_search());
        assert!(parking.begin_search(1) && !parking.begin_search(1));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::atomic::{Condvar, Mutex, lock};
    use loom::sync::Arc;

    /// The scheduler around the protocol, as small as it can be: two shared queues, one inbox and one "signal" for
    /// each worker. The queues are counts with the orderings of the real ones, which order nothing beyond themselves.
    /// A lost wake-up is a deadlock, which loom reports.
    struct World {
        parking: Parking,
        shared: [AtomicUsize; 2],
        inbox: [AtomicUsize; 2],
        signal: [(Mutex<bool>, Condvar); 2],
    }

    impl World {
        fn new(workers: usize) -> Arc<Self> {
            let parking = Parking::new(workers);
            parking.admit(workers - 1);
            Arc::new(World {
                parking,
                shared: [(); 2].map(|()| AtomicUsize::new(0)),
                inbox: [(); 2].map(|()| AtomicUsize::new(0)),
                signal: [(); 2].map(|()| (Mutex::new(false), Condvar::new())),
            })
        }

        fn produce_shared(&self, queue: usize) {
            self.shared[queue].fetch_add(1, Ordering::Release);
            if let Some(index) = self.parking.claim_any() {
                self.wake(index);
            }
        }

        fn produce_for(&self, index: usize) {
            self.inbox[index].fetch_add(1, Ordering::Release);
            if let Some(index) = self.parking.claim(index) {
                self.wake(index);
            }
        }

        fn wake(&self, index: usize) {
            *lock(&self.signal[index].0) = true;
            self.signal[index].1.notify_one();
        }

        fn take(&self, index: usize) -> bool {
            let [first, second] = &self.shared;
            [&self.inbox[index], first, second].into_iter().any(|queue| {
                queue.fetch_update(Ordering::Acquire, Ordering::Relaxed, |tasks| tasks.checked_sub(1)).is_ok()
            })
        }

        fn has_tasks(queue: &AtomicUsize) -> bool {
            queue.load(Ordering::Relaxed) > 0
        }

        fn has_shared(&self) -> bool {
            self.shared.iter().any(Self::has_tasks)
        }

        /// Sleeps until there is a task for this worker, as `worker` does.
        fn run_one(&self, index: usize) {
            let mut searching = false;
            loop {
                if self.take(index) {
                    if searching && self.parking.end_search() && self.has_shared() {
                        if let Some(other) = self.parking.claim_any() {
                            self.wake(other);
                        }
                    }
                    return;
                }
                self.parking.announce(index, searching);
                if !Self::has_tasks(&self.inbox[index]) && !self.has_shared() {
                    let (signal, wake) = &self.signal[index];
                    let mut signalled = lock(signal);
                    while !*signalled {
                        signalled = wake.wait(signalled).unwrap();
                    }
                    *signalled = false;
                }
                searching = !self.parking.retract(index);
            }
        }
    }

    #[test]
    fn loom_one_worker_gets_every_task() {
        crate::atomic::model(|| {
            let world = World::new(1);
            let producer = loom::thread::spawn({
                let world = world.clone();
                move || world.produce_shared(0)
            });
            let worker = loom::thread::spawn({
                let world = world.clone();
                move || {
                    world.run_one(0);
                    world.run_one(0);
                }
            });
            world.produce_for(0);
            producer.join().unwrap();
            worker.join().unwrap();
        });
    }

    #[test]
    fn loom_two_workers_share_two_tasks() {
        crate::atomic::model(|| {
            let world = World::new(2);
            let workers = [0, 1].map(|index| {
                let world = world.clone();
                loom::thread::spawn(move || world.run_one(index))
            });
            // The second task is elsewhere than the first: who is woken for that one must see to this one too.
            world.produce_shared(0);
            world.produce_shared(1);
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
    }
}
