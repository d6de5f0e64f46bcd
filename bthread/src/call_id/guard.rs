//! A locked call id: the data, for as long as the lock is held, and the two ways out.

use std::any::TypeId;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use super::slot::{Entity, Patience, Slot};
use super::{CallId, CallIdError, Failure};

/// The right to the data behind a locked [`CallId`]. Dropping it unlocks; [`destroy`](Self::destroy) ends the id.
///
/// It may go to another bthread or thread and be let go of there. When a panic drops it, it unlocks as well, and the
/// data is as the panic left it; only the guard that an error handler was given destroys the id then, so that nobody
/// waits for an exchange whose last word was lost.
#[must_use = "dropping the guard unlocks at once"]
pub struct CallGuard<T: Send + 'static> {
    slot: &'static Slot,
    id: CallId,
    first: u32,
    /// Present until the guard is let go of.
    held: Option<Box<Held<T>>>,
    destroy_on_panic: bool,
}

/// What the slot keeps while nobody holds the lock.
struct Held<T: Send + 'static> {
    data: T,
    on_error: fn(CallGuard<T>, Failure),
}

impl<T: Send + 'static> Entity for Held<T> {
    fn on_error(self: Box<Self>, slot: &'static Slot, id: CallId, first: u32, failure: Failure) {
        let on_error = self.on_error;
        let destroy_on_panic = !std::thread::panicking();
        on_error(CallGuard { slot, id, first, held: Some(self), destroy_on_panic }, failure);
    }
}

/// Puts data into a slot that nobody uses; returns the first version that leads to it.
pub(super) fn fill<T: Send + 'static>(
    slot: &Slot,
    data: T,
    on_error: fn(CallGuard<T>, Failure),
    range: u32,
) -> u32 {
    slot.fill(Box::new(Held { data, on_error }), TypeId::of::<Held<T>>(), range)
}

#[track_caller]
pub(super) fn lock<T: Send + 'static>(
    slot: &'static Slot,
    id: CallId,
    patience: Patience,
    range: u32,
) -> Result<CallGuard<T>, CallIdError> {
    let kind = TypeId::of::<Held<T>>();
    let (entity, first) = slot.lock(id.version(), kind, patience, range, Location::caller())?;
    let held: Box<dyn std::any::Any> = entity;
    let held = held.downcast::<Held<T>>().expect("the slot has compared the types");
    Ok(CallGuard { slot, id, first, held: Some(held), destroy_on_panic: false })
}

/// The plainest error handler: an error ends the id, and its data is dropped. brpc's default.
pub fn destroy_on_error<T: Send + 'static>(call: CallGuard<T>, _: Failure) {
    drop(call.destroy());
}

impl<T: Send + 'static> CallGuard<T> {
    /// The id as it was given to whoever locked it or told of the error.
    pub fn id(&self) -> CallId {
        self.id
    }

    /// Which of the ids in a row this one is; 0 is the one that was created.
    pub fn nth(&self) -> u32 {
        self.id.version() - self.first
    }

    /// Makes all who wait for the lock, and all who come for it later, fail with
    /// [`CallIdError::AboutToDestroy`]; to be called before something long that ends with [`destroy`](Self::destroy).
    /// Unlocking takes it back. Never blocks.
    pub fn about_to_destroy(&self) {
        self.slot.about_to_destroy();
    }

    /// Ends the id and gives the data. It is stale from here on: who waits for the lock gets
    /// [`CallIdError::Invalid`], who joins goes on, errors that were queued are dropped. Never blocks.
    pub fn destroy(mut self) -> T {
        let held = self.held.take().expect("present until the guard is let go of");
        self.end();
        held.data
    }

    fn end(&self) {
        self.slot.destroy();
        #[cfg(not(loom))]
        super::table::free(self.id.slot_index());
    }
}

impl<T: Send + 'static> Deref for CallGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held.as_ref().expect("present until the guard is let go of").data
    }
}

impl<T: Send + 'static> DerefMut for CallGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held.as_mut().expect("present until the guard is let go of").data
    }
}

impl<T: Send + 'static> Drop for CallGuard<T> {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        if self.destroy_on_panic && std::thread::panicking() {
            self.end();
            super::slot::contained(|| drop(held));
        } else {
            self.slot.unlock(held);
        }
    }
}

impl<T: Send + fmt::Debug + 'static> fmt::Debug for CallGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallGuard").field("id", &self.id).field("data", &**self).finish()
    }
}
