//! A planted bug in a simulation: the sleeper that an event's handler makes ready is not woken. In builds that have them.
#![cfg(bobbin_planted)]

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bthread::planted::{self, Bug};
use bthread::poller::{EventHandler, Readiness};
use bthread::simulation::{self, Pace, Simulation, Source, State};
use bthread::{Butex, JoinHandle, Runtime};

/// Wakes who waits.
struct Waking(Butex);

impl EventHandler for Waking {
    fn on_event(self: Arc<Self>, _: Readiness) {
        self.0.value().store(1, Ordering::Release);
        self.0.wake_all();
    }
}

/// Lets the two workers go on until both sleep.
fn settle(simulation: &Simulation) {
    while let Some(worker) = [0, 1].into_iter().find(|worker| simulation.state(*worker) == State::Ready) {
        simulation.step(worker, Pace::Free);
    }
}

/// A bthread waits on the first worker for an event that the worker `deliverer` is given.
fn wait_for_event(simulation: &Simulation, runtime: &Runtime, deliverer: usize) -> JoinHandle<()> {
    settle(simulation);
    let waking = Arc::new(Waking(Butex::new(0)));
    let source = Arc::new(Mutex::new(None));
    let waiter = runtime.spawn({
        let source = source.clone();
        move || {
            *source.lock().unwrap() = Some(Source::new(waking.clone()).unwrap());
            let _ = waking.0.wait(0, None);
        }
    });
    simulation.step(0, Pace::Free);
    settle(simulation);
    let source = source.lock().unwrap().take().unwrap();
    assert!(!waiter.is_finished());
    source.raise(Readiness::new(true, false, false));
    simulation.step(deliverer, Pace::Free);
    settle(simulation);
    waiter
}

#[test]
fn a_chosen_bug_is_there_and_no_other() {
    let simulation = simulation::begin().unwrap();
    let runtime = Runtime::builder().workers(2).start().unwrap();
    assert_eq!(planted::chosen(), None);
    for deliverer in [0, 1] {
        assert!(wait_for_event(&simulation, &runtime, deliverer).is_finished());
    }
    planted::choose(Bug::LostWakeUp);
    assert_eq!(planted::chosen(), Some(Bug::LostWakeUp));
    assert!(!planted::is(Bug::EarlyTimer));
    assert!(wait_for_event(&simulation, &runtime, 0).is_finished(), "its own worker is awake");
    let lost = wait_for_event(&simulation, &runtime, 1);
    assert!(!lost.is_finished(), "its worker sleeps on");
    simulation.step(0, Pace::Free);
    assert!(lost.is_finished(), "whatever wakes the worker brings it back");
}
