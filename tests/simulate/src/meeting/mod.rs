//! Bthreads of one node that meet at locks, semaphores, channels and timers, with timeouts that run out just when
//! somebody wakes them: no permit and no value is lost or used twice, nobody sleeps on, and no timer is early.

mod crossing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bobbin::bthread::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use bobbin::bthread::sync::{CountdownEvent, Mutex, Semaphore};
use bobbin::bthread::{self, timer};
use sim::{Random, World};

use crate::bounds::SLACK;
use crate::faults::Links;
use crate::site::Site;
use crate::work_service::sleep;
use crossing::Crossing;

/// Things that bthreads do in a run, at most.
const STEPS: usize = 150;

/// Crowds that meet at one thing, in a run.
const CROSSINGS: usize = 20;

/// Bthreads that do them.
const ACTORS: u64 = 8;

/// Values that wait in the channel, at most.
const CHANNEL: usize = 2;

/// How long all of it may take: far more than all sleeps together.
const LONGEST: Duration = Duration::from_secs(60);

/// As [`SLACK`], on a node whose steps take up to a millisecond.
const SLOW_SLACK: Duration = Duration::from_secs(1);

/// What one does. Times are few and whole, so that wake-ups and timeouts meet.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Takes a permit, waiting for so long at most, and keeps it for a while.
    Permit {
        patience: Option<Duration>,
        keeps: Duration,
    },
    /// Takes the lock, and keeps it for a while.
    Lock {
        patience: Option<Duration>,
        keeps: Duration,
    },
    Send,
    Sleep(Duration),
    /// Waits for a timer of its own.
    Timer(Duration),
    /// Has another bthread signal after a time, and waits for it so long at most.
    Signal {
        after: Duration,
        patience: Duration,
    },
    Yield,
}

impl Step {
    fn draw(random: &mut Random) -> Self {
        let time = |random: &mut Random| {
            Duration::from_micros(*random.pick(&[0, 1, 500, 1000, 1000, 2000, 3000, 10_000, 100_000]))
        };
        let patience = |random: &mut Random| random.chance(0.6).then(|| time(random));
        match random.below(10) {
            0..=2 => Step::Permit { patience: patience(random), keeps: time(random) },
            3 | 4 => Step::Lock { patience: patience(random), keeps: time(random) },
            5 | 6 => Step::Send,
            7 if random.chance(0.5) => Step::Yield,
            7 => Step::Sleep(time(random)),
            8 => Step::Timer(time(random)),
            _ => Step::Signal { after: time(random), patience: time(random) },
        }
    }
}

/// Where they meet.
struct Place {
    world: World,
    permits: Semaphore,
    /// Permits that somebody has.
    taken: AtomicU64,
    most: u64,
    mutex: Mutex<()>,
    is_locked: AtomicBool,
    values: SyncSender<u64>,
    sent: AtomicU64,
    /// How late things may be.
    slack: Duration,
}

impl Place {
    /// Relaxed everywhere in here: one thread runs it all.
    fn act(self: &Arc<Self>, step: Step) {
        match step {
            Step::Permit { patience, keeps } => self.take_permit(patience, keeps),
            Step::Lock { patience, keeps } => {
                let begin = bthread::clock::now();
                let guard = match patience {
                    None => self.mutex.lock().ok(),
                    Some(patience) => self.mutex.try_lock_timeout(patience).ok(),
                };
                self.check_patience("the lock", patience, begin, guard.is_some());
                if guard.is_none() {
                    return;
                }
                if self.is_locked.swap(true, Ordering::Relaxed) {
                    self.world.violation("two bthreads have the lock");
                }
                sleep(&self.world, keeps);
                self.is_locked.store(false, Ordering::Relaxed);
            }
            Step::Send => {
                let value = self.sent.fetch_add(1, Ordering::Relaxed);
                if self.values.send(value).is_err() {
                    self.world.violation(format_args!("value {value} was refused, but its receiver lives"));
                }
            }
            Step::Sleep(time) => sleep(&self.world, time),
            Step::Timer(time) => self.run_timer(time),
            Step::Signal { after, patience } => self.signal(after, patience),
            Step::Yield => bthread::yield_now(),
        }
    }

    fn take_permit(&self, patience: Option<Duration>, keeps: Duration) {
        let begin = bthread::clock::now();
        let permit = match patience {
            None => Some(self.permits.acquire()),
            Some(patience) => self.permits.try_acquire_timeout(patience),
        };
        self.check_patience("a permit", patience, begin, permit.is_some());
        if permit.is_none() {
            return;
        }
        let taken = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
        if taken > self.most {
            self.world.violation(format_args!("{taken} permits are taken, expected at most {}", self.most));
        }
        sleep(&self.world, keeps);
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Who waited in vain waited as long as it said, and not longer.
    fn check_patience(
        &self,
        what: &str,
        patience: Option<Duration>,
        begin: std::time::Instant,
        has_it: bool,
    ) {
        let waited = bthread::clock::now().saturating_duration_since(begin);
        let Some(patience) = patience else { return };
        if !has_it && waited < patience {
            self.world.violation(format_args!("a wait for {what} for {patience:?} ended after {waited:?}"));
        }
        if waited > patience + self.slack {
            self.world.violation(format_args!("a wait for {what} for {patience:?} took {waited:?}"));
        }
    }

    fn run_timer(self: &Arc<Self>, time: Duration) {
        let deadline = bthread::clock::now() + time;
        let (place, done) = (self.clone(), Arc::new(CountdownEvent::new(1)));
        let fired = done.clone();
        let _handle = timer::schedule(deadline, move || {
            let now = bthread::clock::now();
            if now < deadline {
                place.world.violation(format_args!("a timer of {time:?} fires {:?} early", deadline - now));
            } else if now > deadline + place.slack {
                place.world.violation(format_args!("a timer of {time:?} fires {:?} late", now - deadline));
            }
            fired.signal(1);
        });
        done.wait();
    }

    fn signal(self: &Arc<Self>, after: Duration, patience: Duration) {
        let done = Arc::new(CountdownEvent::new(1));
        let (place, signals) = (self.clone(), done.clone());
        let begin = bthread::clock::now();
        let _signals = bthread::spawn(move || {
            sleep(&place.world, after);
            signals.signal(1);
        });
        let has_it = done.wait_timeout(patience).is_ok();
        self.check_patience("a signal", Some(patience), begin, has_it);
        if !has_it && after + self.slack < patience {
            self.world.violation(format_args!("a signal after {after:?} was not heard within {patience:?}"));
        }
        done.wait();
    }
}

/// Takes what is sent, in turn, until nobody sends any more.
fn receive(world: &World, values: &Receiver<u64>) {
    const PATIENCE: Duration = Duration::from_millis(1);
    let (mut received, mut seen) = (0_u64, std::collections::BTreeSet::new());
    loop {
        match values.recv_timeout(PATIENCE) {
            Ok(value) => {
                received += 1;
                if !seen.insert(value) {
                    world.violation(format_args!("value {value} was received twice"));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // They are numbered, so none is missing if there are as many as the last number says.
    let sent = seen.last().map_or(0, |last| last + 1);
    if received != sent {
        world.violation(format_args!("{received} values were received, expected {sent}"));
    }
}

pub(crate) fn run(world: &World, _links: &Links) {
    let mut random = Random::stream(world.seed(), "meeting", 0);
    let site = Site::new(world, "meeting");
    let most = random.between(1, 2);
    let is_slow = random.chance(0.5);
    let (values, receiver) = sync_channel(CHANNEL);
    let place = Arc::new(Place {
        world: world.clone(),
        permits: Semaphore::new(most as u32),
        taken: AtomicU64::new(0),
        most,
        mutex: Mutex::new(()),
        is_locked: AtomicBool::new(false),
        values,
        sent: AtomicU64::new(0),
        slack: if is_slow { SLOW_SLACK } else { SLACK },
    });
    // In short runs nobody comes later who would wake one that was forgotten; a slow node is late for its timeouts.
    let steps_most = *random.pick(&[12, 25, 50, STEPS]);
    if is_slow {
        site.node.slow_down(Duration::from_micros(random.between(10, 1000)));
    }
    let steps = world.plan("meeting", steps_most, |random| (random.below(ACTORS), Step::draw(random)));
    let done = Arc::new(CountdownEvent::new(ACTORS as u32 + 1));
    let (world_, received) = (world.clone(), done.clone());
    let _receives = site.node.spawn(move || {
        receive(&world_, &receiver);
        received.signal(1);
    });
    for actor in 0..ACTORS {
        let steps: Vec<_> = steps.iter().filter(|(who, _)| *who == actor).map(|(_, step)| *step).collect();
        let (place, done) = (place.clone(), done.clone());
        let _acts = site.node.spawn(move || {
            steps.into_iter().for_each(|step| place.act(step));
            drop(place);
            done.signal(1);
        });
    }
    let slack = place.slack;
    let permits = Arc::downgrade(&place);
    drop(place);
    if done.wait_timeout(LONGEST).is_err() {
        let left = permits.upgrade().map(|place| place.permits.available_permits());
        world.violation(format_args!(
            "{} of {} bthreads still wait after {LONGEST:?}, with {left:?} of {most} permits free",
            done.count(),
            ACTORS + 1
        ));
    }
    // Once it is quiet: nobody else makes the workers look.
    crossing::run(world, &site, world.plan("crossings", CROSSINGS, Crossing::draw), slack);
}
