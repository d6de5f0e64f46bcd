//! The condition variable without the types: a butex that counts notifications.
//!
//! A notification of all wakes one waiter and moves the others to the waiters of the mutex, as all but one could do
//! nothing but wait for it. The first one locks so that its unlock wakes the next, and so on.

use std::time::Instant;

use super::RawMutex;
use crate::atomic::{Ordering, const_fn};
use crate::butex::{Butex, Manner, WaitResult};

pub(in crate::sync) struct RawCondvar {
    sequence: Butex,
}

impl RawCondvar {
    const_fn! {
        pub(in crate::sync) const fn new() -> Self {
            RawCondvar { sequence: Butex::new(0) }
        }
    }

    /// Unlocks, waits for a notification, an interruption or the deadline, and locks again. Only by the holder. True:
    /// the deadline came first.
    pub(in crate::sync) fn wait(&self, mutex: &RawMutex, deadline: Option<Instant>) -> bool {
        // Read under the lock: whoever changes the condition does so under it and advances the number afterwards.
        let sequence = self.sequence.value().load(Ordering::Relaxed);
        mutex.unlock();
        let target = Some(mutex.butex());
        let result = self
            .sequence
            .wait_as(sequence, Manner { deadline, interruptible: true, target, ..Manner::default() });
        match result {
            // Others may have been moved to the mutex, and rely on us.
            WaitResult::Woken => mutex.lock_woken(),
            WaitResult::Mismatch | WaitResult::TimedOut | WaitResult::Interrupted => mutex.lock(),
        }
        result == WaitResult::TimedOut
    }

    pub(in crate::sync) fn notify_one(&self) {
        self.advance();
        self.sequence.wake_one();
    }

    pub(in crate::sync) fn notify_all(&self) {
        self.advance();
        self.sequence.requeue_as_named();
    }

    fn advance(&self) {
        // Release pairs with the Acquire in `Butex::wait`: a waiter that sees the new number does not sleep.
        self.sequence.value().fetch_add(1, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::atomic::AtomicBool;
    use loom::sync::Arc;
    use loom::thread;
    use std::time::Duration;

    struct Gate {
        mutex: RawMutex,
        condvar: RawCondvar,
        open: AtomicBool,
    }

    impl Gate {
        fn new() -> Arc<Self> {
            Arc::new(Gate {
                mutex: RawMutex::new(),
                condvar: RawCondvar::new(),
                open: AtomicBool::new(false),
            })
        }

        fn pass(&self) {
            self.mutex.lock();
            while !self.open.load(Ordering::Relaxed) {
                self.condvar.wait(&self.mutex, None);
            }
            self.mutex.unlock();
        }

        fn open(&self) {
            self.mutex.lock();
            self.open.store(true, Ordering::Relaxed); // ordered by the mutex
            self.mutex.unlock();
        }
    }

    #[test]
    fn loom_notify_one_reaches_the_waiter() {
        crate::atomic::model(|| {
            let gate = Gate::new();
            let waiter = thread::spawn({
                let gate = gate.clone();
                move || gate.pass()
            });
            gate.open();
            gate.condvar.notify_one();
            waiter.join().unwrap();
        });
    }

    #[test]
    fn loom_notify_all_reaches_who_is_moved_to_the_mutex() {
        crate::atomic::model(|| {
            let gate = Gate::new();
            let waiters = [(); 2].map(|()| {
                let gate = gate.clone();
                thread::spawn(move || gate.pass())
            });
            gate.open();
            gate.condvar.notify_all();
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        });
    }

    #[test]
    fn loom_notify_one_is_not_lost_to_a_timeout() {
        crate::atomic::model(|| {
            let gate = Gate::new();
            let impatient = thread::spawn({
                let gate = gate.clone();
                move || {
                    gate.mutex.lock();
                    let late =
                        gate.condvar.wait(&gate.mutex, Some(Instant::now() + Duration::from_secs(3600)));
                    gate.mutex.unlock();
                    if !late {
                        gate.condvar.notify_one(); // passes it on
                    }
                }
            });
            let patient = thread::spawn({
                let gate = gate.clone();
                move || gate.pass()
            });
            gate.open();
            gate.condvar.notify_one();
            impatient.join().unwrap();
            patient.join().unwrap();
        });
    }
}
