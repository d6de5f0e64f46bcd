//! What the workers of one runtime share, and how their number changes.
//!
//! A worker, once made, stays for ever: bthreads that started on it are at home there. One that is not wanted any
//! more is sent to rest: it runs only those, takes nothing new, and is the first to be called back.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use crossbeam_deque::Injector;

use super::cpus::CpuSet;
use crate::atomic::lock;
use crate::monitor::Watch;
use crate::parking::{Parking, WORKERS_MAX};
use crate::poller::Poller;
use crate::simulation;
use crate::stack::{StackClass, StackPools};
use crate::task::TaskRef;
use crate::worker::{self, Worker};

/// Stacks without which a worker runs nothing: one to stand on, one for when the bthread on that one waits.
pub(super) const WORKER_STACKS_MIN: usize = 2;

/// What the workers share; lives for ever.
pub(crate) struct Scheduler {
    tag: u32,
    injector: Injector<TaskRef>,
    parking: Parking,
    /// Filled from the front; `created` of them.
    workers: Box<[OnceLock<&'static Worker>]>,
    created: AtomicUsize,
    /// Workers that are not at rest.
    active: AtomicUsize,
    crew: Mutex<Crew>,
    poller: Poller,
    /// Where workers at rest wait: no descriptor is registered with it.
    quiet: Poller,
    stacks: StackPools,
    /// Some worker found no stack for a new task.
    exhausted: AtomicBool,
    has_movable: AtomicBool,
    movable: bool,
    next_worker: AtomicUsize,
    pub(crate) watch: Watch,
}

/// How many workers there shall be.
struct Crew {
    /// As the user said.
    wanted: usize,
    /// For workers that are held.
    stand_ins: usize,
    cpus: Option<CpuSet>,
}

/// What a scheduler is made of.
pub(super) struct Parts {
    pub(super) tag: u32,
    pub(super) stacks: StackPools,
    pub(super) cpus: Option<CpuSet>,
    pub(super) movable: bool,
    pub(super) blocked_after: Option<Duration>,
    pub(super) stand_ins_max: usize,
}

impl Scheduler {
    pub(super) fn new(parts: Parts) -> io::Result<&'static Self> {
        Ok(Box::leak(Box::new(Scheduler {
            tag: parts.tag,
            injector: Injector::new(),
            parking: Parking::new(WORKERS_MAX),
            workers: (0..WORKERS_MAX).map(|_| OnceLock::new()).collect(),
            created: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            crew: Mutex::new(Crew { wanted: 0, stand_ins: 0, cpus: parts.cpus }),
            poller: Poller::new()?,
            quiet: Poller::new()?,
            stacks: parts.stacks,
            exhausted: AtomicBool::new(false),
            has_movable: AtomicBool::new(parts.movable),
            movable: parts.movable,
            next_worker: AtomicUsize::new(0),
            watch: Watch::new(parts.blocked_after, parts.stand_ins_max),
        })))
    }

    pub(crate) fn tag(&self) -> u32 {
        self.tag
    }

    pub(crate) fn injector(&self) -> &Injector<TaskRef> {
        &self.injector
    }

    pub(crate) fn parking(&self) -> &Parking {
        &self.parking
    }

    pub(crate) fn poller(&'static self) -> &'static Poller {
        &self.poller
    }

    pub(crate) fn quiet_poller(&'static self) -> &'static Poller {
        &self.quiet
    }

    pub(crate) fn stacks(&self) -> &StackPools {
        &self.stacks
    }

    /// Most stacks of the class that workers stand on.
    pub(super) fn stack_capacity(&self) -> usize {
        self.stacks.stats(StackClass::Normal).max
    }

    /// Workers made so far, those at rest included.
    pub(crate) fn created(&self) -> usize {
        self.created.load(Ordering::Acquire) // pairs with the Release in `make_worker`
    }

    /// Workers that take new tasks, stand-ins included.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed) // a hint
    }

    /// A worker below [`created`](Self::created).
    pub(crate) fn worker(&self, index: usize) -> &'static Worker {
        self.workers[index].get().expect("a worker that was made")
    }

    pub(crate) fn workers(&self) -> impl Iterator<Item = &'static Worker> {
        self.workers[..self.created()].iter().filter_map(|worker| worker.get().copied())
    }

    pub(crate) fn set_exhausted(&self, exhausted: bool) {
        self.exhausted.store(exhausted, Ordering::Relaxed); // a hint to spawners; pairs with nothing
    }

    /// Whether it takes no new bthreads.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed) | super::is_forked() // as above
    }

    /// Whether bthreads may move here if nobody says otherwise.
    pub(crate) fn is_movable(&self) -> bool {
        self.movable
    }

    pub(crate) fn note_movable(&self) {
        // Relaxed: such a task goes through a queue after this, which publishes it.
        self.has_movable.store(true, Ordering::Relaxed);
    }

    /// Whether a started task may be in the injector.
    pub(crate) fn has_movable(&self) -> bool {
        self.has_movable.load(Ordering::Relaxed) // as above
    }

    /// After queueing work that any worker may take: wakes one if one is needed.
    pub(crate) fn notify(&self) {
        if let Some(index) = self.parking.claim_any() {
            self.worker(index).interrupt();
        }
    }

    /// One worker after the other.
    pub(crate) fn some_worker(&self) -> &'static Worker {
        // Any order will do.
        self.worker(self.next_worker.fetch_add(1, Ordering::Relaxed) % self.created())
    }

    /// How many workers the user wants.
    pub(crate) fn wanted(&self) -> usize {
        lock(&self.crew).wanted
    }

    pub(crate) fn set_wanted(&'static self, wanted: usize) -> io::Result<()> {
        let mut crew = lock(&self.crew);
        crew.wanted = wanted;
        let result = self.adjust(&crew);
        if result.is_err() {
            crew.wanted = self.active().saturating_sub(crew.stand_ins); // what was reached
        }
        result
    }

    pub(crate) fn stand_ins(&self) -> usize {
        lock(&self.crew).stand_ins
    }

    pub(crate) fn set_stand_ins(&'static self, stand_ins: usize) -> io::Result<()> {
        let mut crew = lock(&self.crew);
        let before = std::mem::replace(&mut crew.stand_ins, stand_ins);
        let result = self.adjust(&crew);
        if result.is_err() {
            crew.stand_ins = before;
        }
        result
    }

    /// Makes as many workers active as there shall be.
    fn adjust(&'static self, crew: &Crew) -> io::Result<()> {
        let goal = (crew.wanted + crew.stand_ins).min(WORKERS_MAX);
        // Stand-ins without a stack would help nobody.
        let goal = goal.min(self.stack_capacity() / WORKER_STACKS_MIN).max(crew.wanted);
        let mut active = self.workers().filter(|worker| !worker.is_dormant()).count();
        let mut result = Ok(());
        while active < goal {
            let resting =
                self.workers().find(|worker| worker.is_dormant() && !self.watch.is_held(worker.index()));
            match resting {
                Some(worker) => worker.set_dormant(false),
                None => result = self.make_worker(crew.cpus.as_ref()),
            }
            if result.is_err() {
                break;
            }
            active += 1;
        }
        // Relaxed: a hint.
        self.active.store(active.min(goal), Ordering::Relaxed);
        while active > goal {
            // The youngest that is not held: one that is held rests as soon as it can anyway, but helps nobody now.
            let awake = || self.workers().filter(|worker| !worker.is_dormant());
            let surplus = awake().filter(|worker| !self.watch.is_held(worker.index())).last();
            let Some(worker) = surplus.or_else(|| awake().last()) else { break };
            worker.set_dormant(true);
            active -= 1;
        }
        result
    }

    fn make_worker(&'static self, cpus: Option<&CpuSet>) -> io::Result<()> {
        let index = self.created.load(Ordering::Relaxed); // changed under the lock of `crew` only
        if index == WORKERS_MAX {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "no more workers"));
        }
        let deque = crossbeam_deque::Worker::new_fifo();
        let cpu = cpus.map(|cpus| cpus.of_worker(index));
        let (tag, stealer) = (self.tag, deque.stealer());
        if simulation::is_simulated() {
            let worker: &'static Worker = Box::leak(Box::new(Worker::new(self, index, stealer)));
            simulation::admit(worker, deque)?;
            self.admit(worker);
            return Ok(());
        }
        // The thread waits for its `Worker`, which others may see only once there is a thread that works.
        let (send, receive) = sync_channel::<&'static Worker>(1);
        let (tell, hear) = sync_channel(1);
        thread::Builder::new().name(format!("bthread:{tag}-{index}")).spawn(move || {
            let prepared = cpu.map_or(Ok(()), crate::sys::bind_to_cpu).and_then(|()| worker::prepare());
            match prepared {
                Err(error) => drop(tell.send(Err(error))),
                Ok(prepared) => {
                    let _ = tell.send(Ok(()));
                    if let Ok(worker) = receive.recv() {
                        worker::main(worker, deque, prepared)
                    }
                }
            }
        })?;
        hear.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
        let worker: &'static Worker = Box::leak(Box::new(Worker::new(self, index, stealer)));
        self.admit(worker);
        let _ = send.send(worker); // the thread waits for it
        Ok(())
    }

    fn admit(&self, worker: &'static Worker) {
        let index = worker.index();
        let _ = self.workers[index].set(worker); // only here, once for each index
        self.parking.admit(index);
        self.created.store(index + 1, Ordering::Release); // pairs with the Acquire in `created`
    }
}
