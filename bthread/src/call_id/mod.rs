//! Call ids: versioned numbers that name an exchange in flight, lockable, and told of errors (brpc's `bthread_id`,
//! `spec/bthread.md` §11).
//!
//! A [`CallId`] is sent along with a request and comes back with the response. Whoever has something to say about the
//! exchange (the response, a time-out, a connection that broke) locks it by the id and so is alone with its data. Once
//! it was destroyed the id is stale for ever, so a late response finds nothing instead of somebody else's exchange.
//!
//! | event | what it does |
//! |---|---|
//! | send | [`create`](CallId::create), [`lock`](CallId::lock), send, drop the guard |
//! | response | [`lock`](CallId::lock), take the result, [`CallGuard::destroy`] |
//! | time-out, broken connection | [`error`](CallId::error): the handler tries again and lets go of the guard, or destroys |
//! | wait for the end | [`join`](CallId::join) |
//!
//! This file owns the id and its operations; `slot` the protocol behind them, `guard` the locked state, `list` ids to
//! be told together. None of them runs a user's code under an internal lock.

mod guard;
#[cfg(not(loom))]
mod list;
mod slot;
#[cfg(not(loom))]
mod table;

use std::borrow::Cow;
use std::fmt;
#[cfg(not(loom))]
use std::{
    panic::Location,
    time::{Duration, Instant},
};

pub use guard::{CallGuard, destroy_on_error};
pub use slot::{PENDING_ERRORS_MAX, RANGE_MAX};
#[cfg(not(loom))]
pub use {
    list::{CallIdList, LIST_MAX},
    slot::{CallIdStatus, LockState},
    table::CALL_IDS_MAX,
};

/// A versioned id of something that can be locked: `slot << 32 | version`. Never 0, and not given twice before a slot
/// was used some billion times.
///
/// The data behind it is locked as the type it was created with; see the [module's text](self) for what it is for.
///
/// ```
/// use bthread::call_id::{CallGuard, CallId, destroy_on_error};
/// let id = CallId::create(String::from("no answer"), destroy_on_error).unwrap();
/// let response = bthread::spawn(move || {
///     let mut call: CallGuard<String> = id.lock().unwrap();
///     *call = String::from("42");
///     call.destroy()
/// });
/// id.join();
/// assert_eq!(response.join().unwrap(), "42");
/// assert!(id.lock::<String>().is_err(), "the id is stale");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u64);

/// What an error handler is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The error's number; what it means is between those who tell and the handler.
    pub code: i32,
    /// The error in words; empty if there are none.
    pub text: Cow<'static, str>,
}

/// Why an operation on a [`CallId`] failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallIdError {
    /// The id names nothing (any more), or something of another type, or a range is out of bounds. brpc: `EINVAL`.
    Invalid,
    /// Somebody holds the lock. brpc: `EBUSY` from trylock, `EPERM` from cancel.
    Busy,
    /// The holder of the lock has said that it will destroy the id, so there is no point in waiting. brpc: `EPERM`.
    AboutToDestroy,
    /// The deadline passed first. brpc has no such wait; elsewhere `ETIMEDOUT`.
    TimedOut,
    /// No room: for another id in this process, another error at the id, or another id in the list. brpc: `EAGAIN`
    /// or `ENOMEM`.
    Full,
}

impl CallId {
    /// The number itself, as it goes over the wire.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The id with this number. Any number will do: one that names nothing fails with [`CallIdError::Invalid`].
    pub fn from_u64(id: u64) -> Self {
        CallId(id)
    }

    /// The id `n` behind this one, which names the same if `n` is less than the range this one was created with
    /// ([`create_ranged`](Self::create_ranged)); else it names nothing that the caller could know of.
    pub fn nth(self, n: u32) -> CallId {
        CallId::new(self.slot_index(), self.version().wrapping_add(n))
    }

    fn new(slot: u32, version: u32) -> Self {
        CallId(u64::from(slot) << 32 | u64::from(version))
    }

    fn slot_index(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn version(self) -> u32 {
        self.0 as u32
    }
}

#[cfg(not(loom))]
impl CallId {
    /// An id for `data`, unlocked. `on_error` is what [`error`](Self::error) runs, with the id locked and what went
    /// wrong; what it needs to know is in the data. It runs on the bthread or thread that tells of the error, or on
    /// the one that unlocks when the id was locked at that time. It may wait if those may, and call anything, also on
    /// this id. When it panics the panic is contained, and the id is destroyed if the guard goes down with it.
    /// [`destroy_on_error`] is brpc's default handler. Never blocks.
    ///
    /// # Errors
    /// [`Full`](CallIdError::Full) when [`CALL_IDS_MAX`] ids are in use; `data` is dropped then.
    ///
    /// A handler is a plain function, or a closure that captures nothing: what it would capture goes into the data.
    ///
    /// ```
    /// use bthread::CallId;
    /// use bthread::sync::oneshot;
    /// let (tx, rx) = oneshot::channel();
    /// let id = CallId::create(tx, |call, failure| {
    ///     let _ = call.destroy().send(failure.code); // whoever waited may be gone
    /// })
    /// .unwrap();
    /// id.error(7).unwrap();
    /// assert_eq!(rx.recv(), Ok(7));
    /// ```
    pub fn create<T: Send + 'static>(
        data: T,
        on_error: fn(CallGuard<T>, Failure),
    ) -> Result<CallId, CallIdError> {
        Self::create_ranged(data, on_error, 1)
    }

    /// As [`create`](Self::create), with `range` ids in a row, from the one returned on, that all name the same: so
    /// that an id can say which attempt it stands for ([`nth`](Self::nth), [`CallGuard::nth`]).
    ///
    /// # Errors
    /// As `create`; [`Invalid`](CallIdError::Invalid) unless `range` is 1 to [`RANGE_MAX`].
    pub fn create_ranged<T: Send + 'static>(
        data: T,
        on_error: fn(CallGuard<T>, Failure),
        range: u32,
    ) -> Result<CallId, CallIdError> {
        if !(1..=RANGE_MAX).contains(&range) {
            return Err(CallIdError::Invalid);
        }
        let (index, slot) = table::allocate().ok_or(CallIdError::Full)?;
        Ok(CallId::new(index, guard::fill(slot, data, on_error, range)))
    }

    /// Locks. The place of the call is kept for [`status`](Self::status). *Blocking*: parks the calling bthread, or
    /// blocks the calling thread, while somebody holds the lock: for ever, if that is the caller itself. Not
    /// interruptible.
    ///
    /// # Errors
    /// [`Invalid`](CallIdError::Invalid) when the id is stale or becomes so in the meantime, or when its data is not
    /// a `T`; [`AboutToDestroy`](CallIdError::AboutToDestroy).
    #[track_caller]
    pub fn lock<T: Send + 'static>(self) -> Result<CallGuard<T>, CallIdError> {
        guard::lock(self.slot()?, self, slot::Patience::Forever, 0)
    }

    /// Locks unless the deadline passes first. *Blocking*: as [`lock`](Self::lock).
    ///
    /// # Errors
    /// As `lock`; [`TimedOut`](CallIdError::TimedOut).
    #[track_caller]
    pub fn lock_until<T: Send + 'static>(self, deadline: Instant) -> Result<CallGuard<T>, CallIdError> {
        guard::lock(self.slot()?, self, slot::Patience::Until(deadline), 0)
    }

    /// Locks unless `timeout` is over first. *Blocking*: as [`lock`](Self::lock).
    ///
    /// # Errors
    /// As `lock`; [`TimedOut`](CallIdError::TimedOut).
    #[track_caller]
    pub fn lock_timeout<T: Send + 'static>(self, timeout: Duration) -> Result<CallGuard<T>, CallIdError> {
        let patience =
            crate::clock::now().checked_add(timeout).map_or(slot::Patience::Forever, slot::Patience::Until);
        guard::lock(self.slot()?, self, patience, 0)
    }

    /// Locks if that is possible at once. Never blocks.
    ///
    /// # Errors
    /// As [`lock`](Self::lock); [`Busy`](CallIdError::Busy) when it is locked.
    #[track_caller]
    pub fn try_lock<T: Send + 'static>(self) -> Result<CallGuard<T>, CallIdError> {
        guard::lock(self.slot()?, self, slot::Patience::None, 0)
    }

    /// Locks and makes the range at least this large; it never shrinks. *Blocking*: as [`lock`](Self::lock).
    ///
    /// # Errors
    /// As `lock`; also [`Invalid`](CallIdError::Invalid) unless `range` is 1 to [`RANGE_MAX`].
    #[track_caller]
    pub fn lock_and_reset_range<T: Send + 'static>(self, range: u32) -> Result<CallGuard<T>, CallIdError> {
        if !(1..=RANGE_MAX).contains(&range) {
            return Err(CallIdError::Invalid);
        }
        guard::lock(self.slot()?, self, slot::Patience::Forever, range)
    }

    /// Tells of an error without words; see [`error_with`](Self::error_with).
    ///
    /// # Errors
    /// As `error_with`.
    #[track_caller]
    pub fn error(self, code: i32) -> Result<(), CallIdError> {
        self.error_with(code, "")
    }

    /// Tells of an error: if the id is free it is locked and its handler runs here and now; if it is locked the error
    /// is queued, and the handler runs when the lock is let go of, once for each error in the order in which they
    /// came. What is queued when the id is destroyed is dropped.
    ///
    /// Inside a handler, errors that were queued run after it has returned, not when it lets go of the guard; so it
    /// must not wait for what only one of those would bring.
    ///
    /// *Blocking*: never by itself; the handler may.
    ///
    /// # Errors
    /// [`Invalid`](CallIdError::Invalid) when the id is stale; [`Full`](CallIdError::Full) when
    /// [`PENDING_ERRORS_MAX`] errors are queued.
    #[track_caller]
    pub fn error_with(self, code: i32, text: impl Into<Cow<'static, str>>) -> Result<(), CallIdError> {
        let here = Location::caller();
        self.slot()?.error(self, Failure { code, text: text.into() }, here)
    }

    /// Destroys an id that nobody holds, without its handler: one that was never sent. Its data is dropped here. Never
    /// blocks.
    ///
    /// # Errors
    /// [`Busy`](CallIdError::Busy) when it is locked; [`Invalid`](CallIdError::Invalid) when it is stale.
    pub fn cancel(self) -> Result<(), CallIdError> {
        let entity = self.slot()?.cancel(self.version())?;
        table::free(self.slot_index());
        drop(entity);
        Ok(())
    }

    /// Waits until the id is destroyed; returns at once if it is, or if it never was. It waits for ever when the
    /// caller itself holds the lock. Not interruptible. *Blocking*: parks the calling bthread, or blocks the calling
    /// thread.
    pub fn join(self) {
        if let Ok(slot) = self.slot() {
            slot.join(self.version(), None);
        }
    }

    /// As [`join`](Self::join); false if the deadline passes first.
    pub fn join_until(self, deadline: Instant) -> bool {
        self.slot().map_or(true, |slot| slot.join(self.version(), Some(deadline)))
    }

    /// As [`join`](Self::join), for at most `timeout`; false if that is over first.
    pub fn join_timeout(self, timeout: Duration) -> bool {
        self.slot().map_or(true, |slot| slot.join(self.version(), crate::clock::now().checked_add(timeout)))
    }

    /// Whether the id names something: a hint, since somebody may destroy it right after. Never blocks.
    pub fn exists(self) -> bool {
        self.slot().is_ok_and(|slot| slot.covers(self.version()))
    }

    /// What is known of the id now, for people; none if it is stale. Never blocks.
    pub fn status(self) -> Option<CallIdStatus> {
        self.slot().ok()?.status(self)
    }

    fn slot(self) -> Result<&'static slot::Slot, CallIdError> {
        table::get(self.slot_index()).ok_or(CallIdError::Invalid)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({}v{})", self.slot_index(), self.version())
    }
}

impl fmt::Display for CallIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallIdError::Invalid => "the call id names nothing of this kind",
            CallIdError::Busy => "the call id is locked",
            CallIdError::AboutToDestroy => "the call id is about to be destroyed",
            CallIdError::TimedOut => "the deadline has passed before the call id was free",
            CallIdError::Full => "no room for another call id or error",
        })
    }
}

impl std::error::Error for CallIdError {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            write!(f, "error {}", self.code)
        } else {
            write!(f, "{} ({})", self.text, self.code)
        }
    }
}

#[cfg(all(test, loom))]
mod models;
