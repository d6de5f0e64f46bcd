//! Every interleaving of the hand-overs of a call id.

use super::guard::{self, CallGuard};
use super::slot::{Patience, Slot};
use super::{CallId, CallIdError, Failure, destroy_on_error};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::panic::Location;

struct World {
    slot: &'static Slot,
    id: CallId,
}

impl World {
    fn new<T: Send + 'static>(data: T, on_error: fn(CallGuard<T>, Failure)) -> Arc<Self> {
        let slot: &'static Slot = Box::leak(Box::new(Slot::new()));
        let id = CallId::new(0, guard::fill(slot, data, on_error, 1));
        Arc::new(World { slot, id })
    }

    fn lock<T: Send + 'static>(&self) -> Result<CallGuard<T>, CallIdError> {
        guard::lock(self.slot, self.id, Patience::Forever, 0)
    }

    fn error(&self) -> Result<(), CallIdError> {
        self.slot.error(self.id, Failure { code: 1, text: "".into() }, Location::caller())
    }

    fn join(&self) {
        self.slot.join(self.id.version(), None);
    }
}

#[test]
fn loom_lockers_take_turns() {
    crate::atomic::model(|| {
        let world = World::new(0, destroy_on_error);
        let others = [(); 2].map(|()| {
            let world = world.clone();
            thread::spawn(move || *world.lock::<i32>().unwrap() += 1)
        });
        *world.lock::<i32>().unwrap() += 1;
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(world.lock::<i32>().unwrap().destroy(), 3);
    });
}

/// An error that meets a holder is neither lost nor run twice, and one that comes too late is refused.
#[test]
fn loom_an_error_ends_a_locked_id() {
    crate::atomic::model(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let world = World::new(count.clone(), |call: CallGuard<Arc<AtomicUsize>>, _| {
            call.destroy().fetch_add(1, Ordering::Relaxed);
        });
        let errors = [(); 2].map(|()| {
            let world = world.clone();
            thread::spawn(move || usize::from(world.error().is_ok()))
        });
        if let Ok(call) = world.lock::<Arc<AtomicUsize>>() {
            drop(call);
        }
        let taken: usize = errors.into_iter().map(|error| error.join().unwrap()).sum();
        assert_ne!(taken, 0);
        world.join();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(matches!(world.error(), Err(CallIdError::Invalid)));
    });
}

/// A handler that lets go of the lock is run again for the error that came meanwhile; both are run before the end.
#[test]
fn loom_every_error_has_its_run() {
    crate::atomic::model(|| {
        let world = World::new(0, |mut call: CallGuard<usize>, _| *call += 1);
        let other = thread::spawn({
            let world = world.clone();
            move || world.error().unwrap()
        });
        world.error().unwrap();
        drop(world.lock::<usize>().unwrap());
        other.join().unwrap();
        assert_eq!(world.lock::<usize>().unwrap().destroy(), 2);
    });
}

#[test]
fn loom_the_end_frees_lockers_and_joiners() {
    crate::atomic::model(|| {
        let world = World::new((), destroy_on_error);
        let call = world.lock::<()>().unwrap();
        let locker = thread::spawn({
            let world = world.clone();
            move || assert!(matches!(world.lock::<()>(), Err(CallIdError::Invalid)))
        });
        let joiner = thread::spawn({
            let world = world.clone();
            move || world.join()
        });
        call.destroy();
        locker.join().unwrap();
        joiner.join().unwrap();
    });
}

#[test]
fn loom_who_waits_is_told_of_the_end_to_come() {
    crate::atomic::model(|| {
        let world = World::new((), destroy_on_error);
        let call = world.lock::<()>().unwrap();
        let locker = thread::spawn({
            let world = world.clone();
            move || world.lock::<()>().err()
        });
        call.about_to_destroy();
        assert!(matches!(locker.join().unwrap(), Some(CallIdError::AboutToDestroy)));
        drop(call);
        assert!(world.lock::<()>().is_ok());
    });
}
