//! All workers of the process on one thread, one step at a time, in an order that somebody else chooses: for
//! deterministic simulations. The package `bobbin-sim` builds clusters with virtual time and a faulty network on it.
//!
//! What differs then, and nothing else of the scheduler does:
//! - A worker has no thread. Where it would ask the kernel for events ([`poller`](crate::poller)), it gives way to whoever
//!   calls [`Simulation::step`]; a wake-up marks it as ready instead of sending it a signal.
//! - Events come from [`Source`]s. Descriptors cannot be registered: `Unsupported`.
//! - There is no monitor: nobody is reported as held, no stand-in comes, and free stacks keep their memory.
//! - Calls for the pool of [`spawn_blocking`](crate::spawn_blocking), and execution queues with a thread of their own, run
//!   as bthreads.
//! - A wait outside of bthreads, which also those are of a bthread that unwinds from a panic, could never end: it ends the
//!   process with a message.
//!
//! Time is the business of [`clock::replace`], chance that of [`random::replace`](crate::random::replace).

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::atomic::lock;
use crate::clock;
use crate::poller::{EventHandler, Readiness, Registration};
use crate::runtime;
use crate::sys::{EVENTS_MAX, Event};
use crate::task::TaskRef;
use crate::worker::{self, Coroutine, Prepared, Worker};

static SIMULATED: AtomicBool = AtomicBool::new(false);

/// Whether [`begin`] was called in this process. Never blocks.
#[inline]
pub fn is_simulated() -> bool {
    SIMULATED.load(Ordering::Relaxed) // set before there is a worker; who sees one is ordered after it
}

/// The number of the worker that goes on now, if this process is a simulation and one does: what tells workers apart where
/// threads do otherwise. Costs a load elsewhere; never blocks.
#[inline]
pub fn running_worker() -> Option<usize> {
    if is_simulated() { running_number() } else { None }
}

/// Makes this process a simulation for good: the calling thread makes every step from here on. Before anything else of
/// this crate is used.
///
/// # Errors
/// [`Refused`] when it is one already, or a runtime was started.
pub fn begin() -> Result<Simulation, Refused> {
    if !runtime::if_none_started(|| !SIMULATED.swap(true, Ordering::Relaxed)) {
        return Err(Refused);
    }
    STAGE.with(|stage| {
        let prepared = worker::prepare().map_err(|_| Refused)?;
        stage.set(Stage::new(prepared)).map_err(|_| Refused)
    })?;
    Ok(Simulation { _own_thread: PhantomData })
}

/// This process cannot become a simulation any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The process has begun otherwise: a runtime or a simulation runs")
    }
}

impl std::error::Error for Refused {}

/// How a worker has given way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a worker gives way in no other way")]
pub enum State {
    /// It looks for events in between two tasks, or has been woken: it could go on.
    Ready,
    /// It has nothing to do.
    Asleep {
        /// Until its first timer, by its own clock, from the end of its last step on; `None` when it has none.
        timeout: Option<Duration>,
    },
}

/// How far a step goes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a worker looks for events at these times")]
pub enum Pace {
    /// About one task.
    OneTask,
    /// As far as a worker goes whose clock stands still: 61 tasks.
    Free,
}

/// The right to make steps; the thread that has it must be outside of bthreads.
///
/// Workers are numbered in the order of their making, whatever runtimes they belong to.
pub struct Simulation {
    _own_thread: PhantomData<*const ()>,
}

impl Simulation {
    /// Workers made so far.
    pub fn workers(&self) -> usize {
        with_stage(|stage| stage.seats.borrow().len())
    }

    /// The tag of the runtime that the worker belongs to.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn tag(&self, worker: usize) -> u32 {
        seat(worker).worker.scheduler().tag()
    }

    /// Whether the worker has something to do. What it did last says so, unless it was woken or given an event since; it
    /// knows nothing of its timers.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn state(&self, worker: usize) -> State {
        seat(worker).state()
    }

    /// Lets the worker go on until it looks for events or sleeps. One that sleeps may be woken at any time, as the
    /// system's signals would wake it.
    ///
    /// # Panics
    /// When there is no such worker, and when a worker makes the call.
    pub fn step(&self, worker: usize, pace: Pace) -> State {
        assert!(worker::current_scheduler().is_none(), "a worker cannot let another one go on");
        let seat = seat(worker);
        with_stage(|stage| {
            assert!(stage.running.get().is_none(), "a step within a step");
            // A busy worker looks for events as often as the coarse clock advances.
            if pace == Pace::OneTask {
                stage.looks.set(stage.looks.get() + 1);
                clock::set_coarse(stage.looks.get());
            } else {
                clock::set_coarse(seat.looked.get());
            }
            stage.running.set(Some(seat));
        });
        seat.coroutine.step();
        with_stage(|stage| stage.running.set(None));
        seat.state()
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("workers", &self.workers()).finish()
    }
}

/// Something that events come from, in a simulation.
#[derive(Debug)]
#[must_use = "dropping the source ends it"]
pub struct Source {
    registration: Registration,
}

impl Source {
    /// Has the events that are [`raise`](Self::raise)d handed to `handler`, on a worker of the caller's runtime, until the
    /// source is dropped; one may still be on its way then.
    ///
    /// # Errors
    /// `Unsupported` outside of simulations; `OutOfMemory` beyond
    /// [`DESCRIPTORS_MAX`](crate::poller::DESCRIPTORS_MAX).
    pub fn new(handler: Arc<dyn EventHandler>) -> io::Result<Self> {
        let registration = runtime::current().poller().register_source(handler)?;
        Ok(Source { registration })
    }

    /// Makes an event. What is raised before the handler was called comes as one. Never blocks, and calls nobody.
    pub fn raise(&self, readiness: Readiness) {
        self.registration.raise(readiness);
    }
}

/// The events of one poller that were not taken yet, one entry for each source.
#[derive(Default)]
pub(crate) struct Events(Mutex<Vec<Event>>);

impl Events {
    pub(crate) fn raise(&self, token: u64, readiness: Readiness) {
        let mut events = lock(&self.0);
        match events.iter_mut().find(|event| event.token == token) {
            Some(event) => event.flags |= readiness.flags(),
            None => events.push(Event { token, flags: readiness.flags() }),
        }
    }

    fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// What a worker does instead of waiting in the kernel.
    pub(crate) fn wait(&'static self, into: &mut [Event; EVENTS_MAX], timeout: Option<Duration>) -> usize {
        let seat = with_stage(|stage| stage.running.get()).expect("workers run in steps");
        let asleep = timeout != Some(Duration::ZERO);
        seat.asleep.set(asleep.then_some((timeout, self)));
        seat.looked.set(clock::coarse());
        seat.coroutine.give_way();
        seat.asleep.set(None);
        seat.worker.take_simulated_wake_up();
        let mut events = lock(&self.0);
        let taken = events.len().min(EVENTS_MAX);
        for (place, event) in into.iter_mut().zip(events.drain(..taken)) {
            *place = event;
        }
        taken
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Events").field(&lock(&self.0).len()).finish()
    }
}

/// The one thread's.
struct Stage {
    prepared: Prepared,
    seats: RefCell<Vec<&'static Seat>>,
    running: Cell<Option<&'static Seat>>,
    /// What the coarse clock counts.
    looks: Cell<u64>,
}

struct Seat {
    worker: &'static Worker,
    coroutine: Coroutine,
    /// While it sleeps: for how long, and on what.
    asleep: Cell<Option<(Option<Duration>, &'static Events)>>,
    /// The coarse time at its last look.
    looked: Cell<u64>,
}

thread_local!(static STAGE: OnceCell<Stage> = const { OnceCell::new() });

/// Never inlined, as all that reaches thread-locals from bthreads.
#[inline(never)]
fn with_stage<R>(f: impl FnOnce(&Stage) -> R) -> R {
    STAGE.with(|stage| f(stage.get().expect("only the thread of the simulation has workers")))
}

/// Whether the calling thread is the one that all workers run on.
pub(crate) fn is_simulation_thread() -> bool {
    // Without a stage while the thread ends: it makes no step any more.
    is_simulated() && STAGE.try_with(|stage| stage.get().is_some()).unwrap_or(false)
}

#[cold]
fn running_number() -> Option<usize> {
    if !is_simulation_thread() {
        return None; // other threads have no workers, but may ask
    }
    with_stage(|stage| {
        let running = stage.running.get()?;
        stage.seats.borrow().iter().position(|seat| ptr::eq(*seat, running))
    })
}

fn seat(worker: usize) -> &'static Seat {
    with_stage(|stage| stage.seats.borrow()[worker])
}

impl Stage {
    fn new(prepared: Prepared) -> Self {
        Stage { prepared, seats: RefCell::default(), running: Cell::new(None), looks: Cell::new(0) }
    }
}

impl Seat {
    fn state(&self) -> State {
        match self.asleep.get() {
            Some((timeout, events)) if !self.worker.is_woken() && events.is_empty() => {
                State::Asleep { timeout }
            }
            _ => State::Ready,
        }
    }
}

/// Takes a new worker in.
///
/// # Errors
/// `Unsupported` on any other thread than that of the simulation; the stack pool's.
pub(crate) fn admit(worker: &'static Worker, deque: crossbeam_deque::Worker<TaskRef>) -> io::Result<()> {
    STAGE.with(|stage| {
        let stage = stage.get().ok_or(io::ErrorKind::Unsupported)?;
        let coroutine = Coroutine::new(worker, deque, &stage.prepared)?;
        let seat = Seat { worker, coroutine, asleep: Cell::new(None), looked: Cell::new(0) };
        stage.seats.borrow_mut().push(Box::leak(Box::new(seat)));
        Ok(())
    })
}
