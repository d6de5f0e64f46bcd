//! What the waits of a chosen bthread add up to: for the traces of requests, which tell where their time went.
//!
//! Off, it costs each wait one look at a flag of the bthread, and each wake-up another. On, it costs a wait three looks
//! at the clock. Only the bthread itself switches it on and off, and only its waker writes beside it: when it was woken.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::task::TaskRef;
use crate::timer::Time;
use crate::wait::Reason;
use crate::worker;

/// The kinds of waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitKind {
    /// A lock, a condition, or whatever else stands on a butex.
    Butex,
    /// A time.
    Sleep,
    /// The end of another bthread.
    Join,
    /// A channel to have a value, or room for one.
    Channel,
    /// A future.
    Future,
    /// A call on the blocking pool, or room there.
    Blocking,
    /// A descriptor.
    Io,
}

impl WaitKind {
    /// All kinds.
    pub const ALL: [WaitKind; 7] = [
        WaitKind::Butex,
        WaitKind::Sleep,
        WaitKind::Join,
        WaitKind::Channel,
        WaitKind::Future,
        WaitKind::Blocking,
        WaitKind::Io,
    ];

    /// One word in lower case: `butex`, `sleep`, `join`, `channel`, `future`, `blocking`, `io`.
    pub fn name(self) -> &'static str {
        match self {
            WaitKind::Butex => "butex",
            WaitKind::Sleep => "sleep",
            WaitKind::Join => "join",
            WaitKind::Channel => "channel",
            WaitKind::Future => "future",
            WaitKind::Blocking => "blocking",
            WaitKind::Io => "io",
        }
    }

    fn of(reason: Reason) -> Self {
        match reason {
            Reason::Butex(_) => WaitKind::Butex,
            Reason::Sleep => WaitKind::Sleep,
            Reason::Join(_) => WaitKind::Join,
            Reason::Channel => WaitKind::Channel,
            Reason::Future => WaitKind::Future,
            Reason::Blocking => WaitKind::Blocking,
            Reason::Io => WaitKind::Io,
        }
    }
}

/// How often something was waited for, and how long altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaitTotal {
    /// Times that the bthread left its worker. A wait that goes on after a wake-up for nothing counts once more.
    pub count: u64,
    /// The time until it was woken.
    pub time: Duration,
}

impl Add for WaitTotal {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        WaitTotal { count: self.count + other.count, time: self.time + other.time }
    }
}

impl Sub for WaitTotal {
    type Output = Self;

    /// At least zero.
    fn sub(self, other: Self) -> Self {
        WaitTotal {
            count: self.count.saturating_sub(other.count),
            time: self.time.saturating_sub(other.time),
        }
    }
}

/// What the waits of a bthread add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    kinds: [WaitTotal; WaitKind::ALL.len()],
    ready: WaitTotal,
}

impl Waits {
    /// Those of one kind.
    pub fn of(&self, kind: WaitKind) -> WaitTotal {
        self.kinds[kind as usize]
    }

    /// Those of all kinds.
    pub fn total(&self) -> WaitTotal {
        self.kinds.iter().fold(WaitTotal::default(), |sum, one| sum + *one)
    }

    /// The time that the bthread could have run and had no worker: after it was woken, and where it gave way
    /// ([`yield_now`](crate::yield_now)).
    pub fn ready(&self) -> WaitTotal {
        self.ready
    }

    /// Waits of this kind on top. For sums over several bthreads.
    pub fn add(&mut self, kind: WaitKind, total: WaitTotal) {
        self.kinds[kind as usize] = self.kinds[kind as usize] + total;
    }

    /// Time without a worker on top.
    pub fn add_ready(&mut self, total: WaitTotal) {
        self.ready = self.ready + total;
    }

    fn since(&self, before: &Waits) -> Waits {
        let mut waits = Waits { ready: self.ready - before.ready, ..Waits::default() };
        for kind in WaitKind::ALL {
            waits.kinds[kind as usize] = self.of(kind) - before.of(kind);
        }
        waits
    }
}

/// Adds up the waits of the calling bthread until the guard is dropped. Guards may be nested: each has its own totals.
/// Outside of bthreads all totals stay zero. Never blocks.
///
/// ```
/// use std::time::Duration;
/// let slept = bthread::spawn(|| {
///     let account = bthread::account_waits();
///     bthread::sleep(Duration::from_millis(2));
///     account.waits().of(bthread::WaitKind::Sleep)
/// });
/// let slept = slept.join().unwrap();
/// assert!(slept.count >= 1 && slept.time >= Duration::from_millis(1));
/// ```
pub fn account_waits() -> WaitAccount {
    let task = worker::current_task();
    let before = match task {
        None => Waits::default(),
        Some(task) => {
            let account = task.get().account();
            if !task.get().is_accounted() {
                account.guards.store(0, Ordering::Relaxed); // those of an earlier bthread were forgotten
                task.get().set_accounted(true);
            }
            account.guards.fetch_add(1, Ordering::Relaxed); // the bthread's alone
            account.totals()
        }
    };
    WaitAccount { task, before, _not_send: PhantomData }
}

/// Has the waits of its bthread added up as long as it lives; from [`account_waits`]. It belongs to its bthread and
/// cannot be sent to another.
#[must_use = "waits are added up until it is dropped"]
pub struct WaitAccount {
    task: Option<TaskRef>,
    before: Waits,
    _not_send: PhantomData<*const ()>,
}

impl WaitAccount {
    /// The waits since the guard was made. Never blocks.
    pub fn waits(&self) -> Waits {
        self.task.map_or_else(Waits::default, |task| task.get().account().totals().since(&self.before))
    }
}

impl fmt::Debug for WaitAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WaitAccount").field(&self.waits()).finish()
    }
}

impl Drop for WaitAccount {
    fn drop(&mut self) {
        if let Some(task) = self.task
            && task.get().account().guards.fetch_sub(1, Ordering::Relaxed) == 1
        {
            task.get().set_accounted(false);
        }
    }
}

/// The totals of a task slot; they never go back. All is Relaxed: the bthread's own, but `woken`.
#[derive(Default)]
pub(crate) struct Account {
    guards: AtomicU32,
    /// When the last wake-up came. Written by the waker before it queues the bthread, which publishes it.
    woken: AtomicU64,
    kinds: [Sum; WaitKind::ALL.len()],
    ready: Sum,
}

#[derive(Default)]
struct Sum {
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Sum {
    fn add(&self, nanos: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn get(&self) -> WaitTotal {
        WaitTotal {
            count: self.count.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }
}

impl Account {
    fn totals(&self) -> Waits {
        Waits { kinds: self.kinds.each_ref().map(Sum::get), ready: self.ready.get() }
    }
}

/// The bthread is about to leave its worker. None: its waits are not added up.
#[inline]
pub(crate) fn begin(task: TaskRef) -> Option<Time> {
    if task.get().is_accounted() { Some(Time::now()) } else { None }
}

/// The bthread runs again after a wait.
#[cold]
pub(crate) fn waited(task: TaskRef, began: Time, reason: Reason) {
    let account = task.get().account();
    let (began, now) = (began.as_nanos(), Time::now().as_nanos());
    // An older one is that of an earlier wait: it never slept, or went on without being queued.
    let woken = account.woken.load(Ordering::Relaxed);
    let woken = if woken >= began { woken.min(now) } else { now };
    account.kinds[WaitKind::of(reason) as usize].add(woken.saturating_sub(began));
    account.ready.add(now.saturating_sub(woken));
}

/// The bthread runs again after it gave way.
#[cold]
pub(crate) fn gave_way(task: TaskRef, began: Time) {
    task.get().account().ready.add(Time::now().as_nanos().saturating_sub(began.as_nanos()));
}

/// The bthread was woken and is about to be queued. By the waker.
#[inline]
pub(crate) fn woken(task: TaskRef) {
    if task.get().is_accounted() {
        task.get().account().woken.store(Time::now().as_nanos(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Butex;
    use std::sync::Arc;

    #[test]
    fn waits_are_told_apart_and_guards_nest() {
        let gate = Arc::new(Butex::new(0));
        let waiter = crate::spawn({
            let gate = gate.clone();
            move || {
                let outer = account_waits();
                crate::sleep(Duration::from_millis(3));
                let inner = account_waits();
                while gate.value().load(Ordering::Acquire) == 0 {
                    let _ = gate.wait(0, None);
                }
                let seen = inner.waits();
                drop(inner);
                crate::yield_now();
                crate::sleep(Duration::from_millis(1));
                let all = outer.waits();
                drop(outer);
                let task = worker::current_task().unwrap();
                (seen, all, task.get().is_accounted())
            }
        });
        while gate.waiters() == 0 {
            std::thread::yield_now();
        }
        gate.value().store(1, Ordering::Release);
        gate.wake_all();
        let (inner, outer, still_on) = waiter.join().unwrap();
        assert!(!still_on);
        assert_eq!((inner.of(WaitKind::Butex).count, inner.of(WaitKind::Sleep).count), (1, 0));
        assert!(outer.of(WaitKind::Sleep).count >= 2, "{outer:?}");
        assert!(outer.of(WaitKind::Sleep).time >= Duration::from_micros(3900), "{outer:?}");
        assert_eq!(outer.of(WaitKind::Butex), inner.of(WaitKind::Butex));
        assert!(outer.ready().count > inner.ready().count);
        assert_eq!(outer.total().count, outer.of(WaitKind::Sleep).count + 1);
    }

    /// A slot that comes from a bthread which has forgotten its guard begins without an account and without a label.
    #[test]
    fn nothing_is_left_for_the_next_bthread_of_the_slot() {
        let runtime = crate::Runtime::builder().workers(1).start().unwrap();
        runtime
            .spawn(|| {
                let forgetful = crate::spawn(|| {
                    crate::set_trace_id(u128::MAX);
                    std::mem::forget(account_waits());
                    worker::current_task().unwrap().as_ptr().addr()
                });
                let slot = forgetful.join().unwrap();
                for _ in 0..10_000 {
                    let next = crate::spawn(|| {
                        let task = worker::current_task().unwrap();
                        let seen = (task.get().is_accounted(), crate::trace_id());
                        (task.as_ptr().addr(), seen)
                    });
                    let (place, seen) = next.join().unwrap();
                    assert_eq!(seen, (false, 0));
                    if place == slot {
                        return;
                    }
                }
                panic!("the slot was not used again");
            })
            .join()
            .unwrap();
    }

    #[test]
    fn threads_have_no_account() {
        let account = account_waits();
        crate::sleep(Duration::from_millis(1));
        assert_eq!(account.waits(), Waits::default());
    }

    #[test]
    fn a_label_is_seen_from_outside_and_inherited() {
        let gate = Arc::new(Butex::new(0));
        let id = 0x1234_5678_9abc_def0_0000_0000_0000_0001;
        let child = crate::spawn({
            let gate = gate.clone();
            move || {
                crate::set_trace_id(id);
                let child = crate::spawn(move || gate.wait(0, None));
                crate::set_trace_id(0);
                assert_eq!(crate::trace_id(), 0);
                child
            }
        });
        let child = child.join().unwrap();
        while gate.waiters() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(crate::bthread(child.id()).unwrap().trace_id, id);
        gate.wake_all();
        let _ = child.join().unwrap();
    }
}
