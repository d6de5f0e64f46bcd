//! Many who wait for one thing that is given at the very moment at which some of them give up, and others who wait
//! behind them for as long as it takes. Whoever gets it hands it on, so one wake-up that is lost leaves somebody asleep
//! beside it.
//!
//! Owns one such place each time. Must never give twice: a second gift would wake whom the first one forgot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bobbin::bthread::sync::mpsc::{SyncSender, sync_channel};
use bobbin::bthread::sync::{Condvar, CountdownEvent, Mutex, Semaphore};
use bobbin::bthread::{self, timer};
use sim::{Random, World};

use crate::site::Site;

/// Moments, in milliseconds after the beginning, at which waiters give up and the thing is given: few, so that they are
/// often the same.
const MOMENTS: u64 = 3;

/// Who waits with a deadline, and who waits without, at most.
const IMPATIENT_MAX: u64 = 3;
const PATIENT_MAX: u64 = 2;

#[derive(Clone, Copy, Debug)]
enum Thing {
    Semaphore,
    Mutex,
    Condvar,
    /// Room in a channel that is full.
    Room,
}

/// One meeting of a plan.
#[derive(Clone, Debug)]
pub(super) struct Crossing {
    thing: Thing,
    /// When it is given.
    given_at: u64,
    /// By a timer's function, if the thing can be given by one; else by a bthread that sleeps until then.
    by_timer: bool,
    /// When each of those gives up who do.
    patience: Vec<u64>,
    patient: u64,
    /// How many milliseconds each keeps it.
    keeps: u64,
}

impl Crossing {
    pub(super) fn draw(random: &mut Random) -> Self {
        let moment = |random: &mut Random| random.between(1, MOMENTS);
        Crossing {
            thing: *random.pick(&[
                Thing::Semaphore,
                Thing::Semaphore,
                Thing::Mutex,
                Thing::Condvar,
                Thing::Room,
            ]),
            given_at: moment(random),
            by_timer: random.chance(0.5),
            patience: (0..random.between(1, IMPATIENT_MAX)).map(|_| moment(random)).collect(),
            patient: random.between(1, PATIENT_MAX),
            keeps: *random.pick(&[0, 0, 1]),
        }
    }
}

/// What all of one crossing share.
struct Place {
    world: World,
    thing: Thing,
    keeps: Duration,
    semaphore: Semaphore,
    /// Whether it is free, for the condition variable.
    mutex: Mutex<bool>,
    condvar: Condvar,
    room: SyncSender<()>,
    /// Who has it.
    owners: AtomicU32,
}

impl Place {
    /// Waits for it until the deadline, and hands it on; whether he got it. Relaxed: one thread runs it all.
    fn cross(&self, deadline: Option<Instant>) -> bool {
        match self.thing {
            Thing::Semaphore => {
                let permit = match deadline {
                    None => Some(self.semaphore.acquire()),
                    Some(deadline) => self.semaphore.try_acquire_until(deadline),
                };
                permit.is_some_and(|_permit| self.keep())
            }
            Thing::Mutex => {
                let guard = match deadline {
                    None => self.mutex.lock().ok(),
                    Some(deadline) => self.mutex.try_lock_until(deadline).ok(),
                };
                guard.is_some_and(|_guard| self.keep())
            }
            Thing::Condvar => {
                let mut free = self.mutex.lock().expect("nobody panics with it");
                while !*free {
                    let is_late;
                    (free, is_late) = match deadline {
                        None => (self.condvar.wait(free).expect("nobody panics with it"), false),
                        Some(deadline) => {
                            let (free, late) =
                                self.condvar.wait_until(free, deadline).expect("nobody panics with it");
                            (free, late.timed_out())
                        }
                    };
                    // Who is woken and late looks all the same, as one does: he may be the only one who was told.
                    if is_late && !*free {
                        return false;
                    }
                }
                *free = false;
                drop(free);
                self.keep();
                *self.mutex.lock().expect("nobody panics with it") = true;
                self.condvar.notify_one();
                true
            }
            // Whose value is in has nothing to hand on: the receiver takes it and makes room.
            Thing::Room => match deadline {
                None => self.room.send(()).is_ok(),
                Some(deadline) => self.room.send_until((), deadline).is_ok(),
            },
        }
    }

    fn keep(&self) -> bool {
        if self.owners.fetch_add(1, Ordering::Relaxed) != 0 {
            self.world.violation(format_args!("two bthreads have what there is one of: a {:?}", self.thing));
        }
        if !self.keeps.is_zero() {
            bthread::sleep(self.keeps);
        }
        self.owners.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Whether it is there for who comes.
    fn is_free(&self) -> bool {
        match self.thing {
            Thing::Semaphore => self.semaphore.available_permits() > 0,
            Thing::Mutex => self.mutex.try_lock().is_ok(),
            Thing::Condvar => self.mutex.try_lock().is_ok_and(|free| *free),
            Thing::Room => false, // looking would take a place
        }
    }
}

/// Has these follow each other on the node; each is over `slack` after its last moment. For a bthread of the world.
pub(super) fn run(world: &World, site: &Arc<Site>, crossings: Vec<Crossing>, slack: Duration) {
    for crossing in crossings {
        let (world, site_) = (world.clone(), site.clone());
        let crosses = site.node.spawn(move || cross(&world, &site_, &crossing, slack));
        if crosses.join().is_err() {
            return; // the simulator has said so
        }
    }
}

fn cross(world: &World, site: &Arc<Site>, crossing: &Crossing, slack: Duration) {
    let start = bthread::clock::now();
    let at = |millis: u64| start + Duration::from_millis(millis);
    let (room, values) = sync_channel(1);
    let place = Arc::new(Place {
        world: world.clone(),
        thing: crossing.thing,
        keeps: Duration::from_millis(crossing.keeps),
        semaphore: Semaphore::new(0),
        mutex: Mutex::new(false),
        condvar: Condvar::new(),
        room,
        owners: AtomicU32::new(0),
    });
    place.room.send(()).expect("its receiver lives");
    let given = at(crossing.given_at);
    let ready = Arc::new(CountdownEvent::new(1));
    let (giver, is_ready) = (place.clone(), ready.clone());
    let by_timer = crossing.by_timer;
    let _gives = site.node.spawn(move || match giver.thing {
        Thing::Semaphore if by_timer => {
            let _timer = timer::schedule(given, move || giver.semaphore.release(1));
            is_ready.signal(1);
        }
        Thing::Semaphore => {
            is_ready.signal(1);
            bthread::sleep_until(given);
            giver.semaphore.release(1);
        }
        Thing::Mutex => {
            let guard = giver.mutex.lock();
            is_ready.signal(1);
            bthread::sleep_until(given);
            drop(guard);
        }
        Thing::Condvar => {
            is_ready.signal(1);
            bthread::sleep_until(given);
            *giver.mutex.lock().expect("nobody panics with it") = true;
            giver.condvar.notify_one();
        }
        Thing::Room => {
            drop(giver); // its sender would keep the channel open
            is_ready.signal(1);
            let mut next = given;
            loop {
                bthread::sleep_until(next);
                if values.recv().is_err() {
                    break;
                }
                next += Duration::from_millis(1);
            }
        }
    });
    ready.wait();

    let patience = crossing.patience.iter().map(|moment| Some(at(*moment)));
    let deadlines: Vec<_> = patience.chain((0..crossing.patient).map(|_| None)).collect();
    let waiting = Arc::new(CountdownEvent::new(deadlines.len() as u32));
    for deadline in &deadlines {
        let (place, waiting, deadline) = (place.clone(), waiting.clone(), *deadline);
        let _waits = site.node.spawn(move || {
            let got_it = place.cross(deadline);
            if !got_it && deadline.is_none_or(|deadline| bthread::clock::now() < deadline) {
                place
                    .world
                    .violation(format_args!("a wait for a {:?} ended early: {deadline:?}", place.thing));
            }
            drop(place);
            waiting.signal(1);
        });
    }
    let keeping = place.keeps * deadlines.len() as u32;
    if waiting.wait_until(at(MOMENTS) + keeping + slack).is_err() {
        let (left, all, thing) = (waiting.count(), deadlines.len(), place.thing);
        let free = if place.is_free() { "is free" } else { "is not free" };
        world.violation(format_args!(
            "somebody sleeps on: {left} of {all} wait for a {thing:?}, which {free}: {crossing:?}"
        ));
    } else if !matches!(place.thing, Thing::Room) && !place.is_free() {
        world.violation(format_args!("nobody has it any more, but it is not free: {crossing:?}"));
    }
}
