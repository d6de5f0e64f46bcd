//! The threads for calls that block: as many as are needed, up to a bound, and the queue before them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::atomic::lock;
use crate::parker::Parker;
use crate::task::contained;
use crate::{simulation, sys, wait};

/// Threads for blocking calls, in a process.
pub const BLOCKING_THREADS_MAX: usize = 512;
/// Blocking calls that wait for a thread, in a process.
pub const BLOCKING_QUEUE_MAX: usize = 1 << 16;
/// How long a thread for blocking calls waits for the next one before it ends.
pub const BLOCKING_IDLE_TIME: Duration = Duration::from_secs(10);

/// One call. Run once; it must not unwind, but a panic is contained.
pub(super) type Job = Box<dyn FnOnce() + Send>;

thread_local!(static IN_POOL: Cell<bool> = const { Cell::new(false) });

pub(super) struct Pool {
    state: Mutex<State>,
    work: Condvar,
    threads_max: usize,
    queue_max: usize,
    idle_time: Duration,
}

struct State {
    queue: VecDeque<Job>,
    threads: usize,
    /// Threads that wait for work and are not called yet.
    idle: usize,
    /// Threads that were called and have not woken up yet.
    called: usize,
    /// Who waits for room in the queue. Each place that becomes free is the first one's, who is taken out and woken.
    waiting: VecDeque<&'static Parker>,
    /// How many were ever taken out. So who came when this and the waiters made up `n` has a place when it is beyond
    /// `n`, and nobody has to look for himself among the others.
    admitted: u64,
    /// Places in the queue that belong to those who were taken out and have not come yet.
    promised: usize,
}

impl State {
    const EMPTY: State = State {
        queue: VecDeque::new(),
        threads: 0,
        idle: 0,
        called: 0,
        waiting: VecDeque::new(),
        admitted: 0,
        promised: 0,
    };

    /// Gives a free place to the first one who waits, if anybody does. The caller wakes him.
    fn admit(&mut self) -> Option<&'static Parker> {
        let first = self.waiting.pop_front()?;
        self.admitted += 1;
        self.promised += 1;
        Some(first)
    }
}

/// The one of this process.
pub(super) fn global() -> &'static Pool {
    static POOL: Pool = Pool::new(BLOCKING_THREADS_MAX, BLOCKING_QUEUE_MAX, BLOCKING_IDLE_TIME);
    &POOL
}

impl Pool {
    const fn new(threads_max: usize, queue_max: usize, idle_time: Duration) -> Self {
        Pool { state: Mutex::new(State::EMPTY), work: Condvar::new(), threads_max, queue_max, idle_time }
    }

    /// Has `job` run. *Blocking*: while the queue is full, parks the bthread or blocks the thread; a thread of the
    /// pool runs the job itself then. An error, with the job dropped: there is no thread and the system gives none.
    pub(super) fn submit(&'static self, job: Job) -> io::Result<()> {
        if simulation::is_simulated() {
            // There are no other threads; what it blocks is the whole simulation, in no virtual time.
            return crate::Builder::new().spawn(move || contained(job)).map(drop);
        }
        let mut state = lock(&self.state);
        if state.queue.len() + state.promised >= self.queue_max {
            if IN_POOL.get() {
                drop(state);
                contained(job);
                return Ok(());
            }
            state = self.wait_for_room(state);
        }
        if state.idle > 0 {
            state.idle -= 1;
            state.called += 1;
            self.work.notify_one();
        } else if state.threads < self.threads_max {
            // Under the lock: it is seldom, and so a failure leaves nothing to be taken back.
            match thread::Builder::new().name("bthread-blocking".into()).spawn(|| self.serve()) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    // Our place is free again, and no thread will ever tell the next one so.
                    let next = state.admit();
                    drop(state);
                    if let Some(next) = next {
                        next.unpark();
                    }
                    return Err(error);
                }
                Err(_) => {} // those that there are will come to it
            }
        }
        state.queue.push_back(job);
        Ok(())
    }

    /// Waits until the caller has a place in the queue.
    fn wait_for_room<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let parker = wait::current_parker();
        let before = state.admitted + state.waiting.len() as u64;
        state.waiting.push_back(parker);
        while state.admitted <= before {
            drop(state);
            wait::park_for(parker, None, wait::Reason::Blocking);
            state = lock(&self.state);
        }
        state.promised -= 1;
        state
    }

    fn serve(&self) {
        IN_POOL.set(true);
        sys::unblock_wake_signal();
        let mut state = lock(&self.state);
        loop {
            while let Some(job) = state.queue.pop_front() {
                let next = state.admit();
                drop(state);
                if let Some(next) = next {
                    next.unpark();
                }
                contained(job);
                state = lock(&self.state);
            }
            state.idle += 1;
            loop {
                let (guard, waited) = self
                    .work
                    .wait_timeout(state, self.idle_time)
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                state = guard;
                if state.called > 0 {
                    state.called -= 1;
                    break;
                }
                if waited.timed_out() {
                    state.idle -= 1;
                    state.threads -= 1;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier, mpsc};

    fn pool(threads: usize, queue: usize, idle: Duration) -> &'static Pool {
        Box::leak(Box::new(Pool::new(threads, queue, idle)))
    }

    #[test]
    fn threads_are_started_as_needed_and_used_again() {
        let pool = pool(4, 100, Duration::from_secs(60));
        let (tx, rx) = mpsc::channel();
        for _ in 0..20 {
            let tx = tx.clone();
            pool.submit(Box::new(move || tx.send(thread::current().id()).unwrap())).unwrap();
            rx.recv().unwrap();
            while lock(&pool.state).idle == 0 {
                thread::yield_now();
            }
        }
        assert_eq!(lock(&pool.state).threads, 1);
    }

    #[test]
    fn no_more_threads_than_allowed_and_nothing_is_left_undone() {
        let pool = pool(3, 1000, Duration::from_secs(60));
        let (tx, rx) = mpsc::channel();
        let gate = Arc::new(Barrier::new(4));
        for n in 0..100 {
            let (tx, gate) = (tx.clone(), gate.clone());
            pool.submit(Box::new(move || {
                if n < 3 {
                    gate.wait();
                }
                tx.send(n).unwrap();
            }))
            .unwrap();
        }
        assert_eq!(lock(&pool.state).threads, 3);
        gate.wait();
        let mut seen: Vec<i32> = rx.iter().take(100).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..100));
    }

    #[test]
    fn idle_threads_end() {
        let pool = pool(4, 100, Duration::from_millis(5));
        for _ in 0..4 {
            pool.submit(Box::new(|| ())).unwrap();
        }
        while lock(&pool.state).threads > 0 {
            thread::yield_now();
        }
        let (tx, rx) = mpsc::channel();
        pool.submit(Box::new(move || tx.send(()).unwrap())).unwrap();
        rx.recv().unwrap();
    }

    #[test]
    fn a_full_queue_holds_up_bthreads_and_threads_until_there_is_room() {
        check_a_full_queue(false);
    }

    #[test]
    fn who_is_woken_for_nothing_waits_on_for_room() {
        check_a_full_queue(true);
    }

    fn check_a_full_queue(wake_for_nothing: bool) {
        let pool = pool(1, 2, Duration::from_secs(60));
        let (started_tx, started_rx) = mpsc::channel();
        let (go_tx, go_rx) = mpsc::channel::<()>();
        pool.submit(Box::new(move || {
            started_tx.send(()).unwrap();
            let _ = go_rx.recv();
        }))
        .unwrap();
        started_rx.recv().unwrap();
        let (tx, rx) = mpsc::channel();
        let job = |n: usize| {
            let tx = tx.clone();
            Box::new(move || tx.send(n).unwrap())
        };
        pool.submit(job(0)).unwrap();
        pool.submit(job(1)).unwrap();
        let bthreads: Vec<_> = (2..10)
            .map(|n| {
                let job = job(n);
                crate::spawn(move || pool.submit(job).unwrap())
            })
            .collect();
        let threads: Vec<_> = (10..14)
            .map(|n| {
                let job = job(n);
                thread::spawn(move || pool.submit(job).unwrap())
            })
            .collect();
        while lock(&pool.state).waiting.len() < 12 {
            thread::yield_now();
        }
        assert_eq!(lock(&pool.state).queue.len(), 2);
        if wake_for_nothing {
            // They keep their places.
            let waiting = lock(&pool.state).waiting.clone();
            waiting.into_iter().for_each(|parker| parker.unpark());
        }
        go_tx.send(()).unwrap();
        bthreads.into_iter().for_each(|bthread| bthread.join().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut seen: Vec<usize> = rx.iter().take(14).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..14));
        assert!(lock(&pool.state).waiting.is_empty());
        assert_eq!(lock(&pool.state).promised, 0);
    }

    /// A pool with one thread and one place, both taken until something is sent.
    fn full_pool() -> (&'static Pool, mpsc::Sender<()>) {
        let pool = pool(1, 1, Duration::from_secs(60));
        let (started_tx, started_rx) = mpsc::channel();
        let (go_tx, go_rx) = mpsc::channel();
        let hold = move || {
            started_tx.send(()).unwrap();
            go_rx.recv().unwrap();
        };
        pool.submit(Box::new(hold)).unwrap();
        started_rx.recv().unwrap();
        pool.submit(Box::new(|| ())).unwrap();
        (pool, go_tx)
    }

    #[test]
    fn places_are_given_in_the_order_in_which_they_were_asked_for() {
        let (pool, go) = full_pool();
        let (tx, rx) = mpsc::channel();
        let bthreads: Vec<_> = (0..50)
            .map(|n| {
                let tx = tx.clone();
                let bthread = crate::spawn(move || pool.submit(Box::new(move || tx.send(n).unwrap())));
                while lock(&pool.state).waiting.len() <= n {
                    thread::yield_now();
                }
                // A wake-up for another reason costs nobody his place.
                let parker = lock(&pool.state).waiting[n / 2];
                parker.unpark();
                bthread
            })
            .collect();
        go.send(()).unwrap();
        bthreads.into_iter().for_each(|bthread| bthread.join().unwrap().unwrap());
        assert!(rx.iter().take(50).eq(0..50));
    }

    /// Takes a minute if each that gets a place looks at all who wait.
    #[test]
    fn a_hundred_thousand_wait_for_room() {
        const CALLS: usize = 100_000;
        let (pool, go) = full_pool();
        let bthreads: Vec<_> =
            (0..CALLS).map(|_| crate::spawn(|| pool.submit(Box::new(|| ())).unwrap())).collect();
        while lock(&pool.state).waiting.len() < CALLS {
            thread::yield_now();
        }
        go.send(()).unwrap();
        bthreads.into_iter().for_each(|bthread| bthread.join().unwrap());
        assert_eq!(lock(&pool.state).admitted, CALLS as u64);
    }

    #[test]
    fn a_child_process_does_not_inherit_that_the_wake_up_signal_is_blocked() {
        let pool = pool(1, 1, Duration::from_secs(60));
        let (tx, rx) = mpsc::channel();
        let ask = move || {
            let output = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
            tx.send(String::from_utf8(output.stdout).unwrap()).unwrap();
        };
        // A worker, which has it blocked, starts the thread of the pool.
        crate::spawn(|| pool.submit(Box::new(ask)).unwrap()).join().unwrap();
        let status = rx.recv().unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
        assert_eq!(blocked & 1 << (libc::SIGURG - 1), 0, "{blocked:x}");
    }

    #[test]
    fn a_call_that_finds_its_own_pool_full_runs_the_next_itself() {
        let pool = pool(1, 1, Duration::from_secs(60));
        let (tx, rx) = mpsc::channel();
        let job = |n: usize| {
            let tx = tx.clone();
            Box::new(move || tx.send(n).unwrap())
        };
        let (queued, in_place) = (job(2), job(1));
        pool.submit(Box::new(move || {
            pool.submit(queued).unwrap();
            pool.submit(in_place).unwrap();
        }))
        .unwrap();
        assert_eq!(rx.iter().take(2).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_panic_does_not_take_the_thread() {
        let pool = pool(1, 10, Duration::from_secs(60));
        pool.submit(Box::new(|| panic!("as planned"))).unwrap();
        let (tx, rx) = mpsc::channel();
        pool.submit(Box::new(move || tx.send(()).unwrap())).unwrap();
        rx.recv().unwrap();
        assert_eq!(lock(&pool.state).threads, 1);
    }
}
