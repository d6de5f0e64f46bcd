//! Call ids that are told of an error together, as all calls of a connection are when it breaks.

use std::borrow::Cow;
use std::fmt;

use super::{CallId, CallIdError};

/// Ids that a [`CallIdList`] holds.
pub const LIST_MAX: usize = 100_000;
/// Ids that a list holds, stale or not, before it looks for stale ones the first time.
const SWEEP_MIN: usize = 64;
/// Places that an insertion into a full list looks at for a stale id.
const PROBES: usize = 64;

/// A bag of [`CallId`]s. Nothing has to be removed: ids that have become stale are thrown out now and then, so that
/// the list is never longer than 64, or twice the ids that were alive when it last did so, or [`LIST_MAX`]; and an
/// insertion costs the same, on average, however many there are.
///
/// The list has no lock of its own. One that is shared stands behind a lock, and is taken out of it before a
/// [`reset`](Self::reset), whose handlers run for as long as they like:
///
/// ```
/// # use bthread::{call_id::{CallId, CallIdList, destroy_on_error}, sync::Mutex};
/// let waiting = Mutex::new(CallIdList::new());
/// let id = CallId::create((), destroy_on_error).unwrap();
/// waiting.lock().unwrap().insert(id).unwrap();
/// let mut broken = std::mem::take(&mut *waiting.lock().unwrap());
/// assert_eq!(broken.reset(32), 1);
/// id.join();
/// ```
#[derive(Default)]
pub struct CallIdList {
    ids: Vec<CallId>,
    /// Length at which the next sweep is due.
    sweep_at: usize,
    /// Where the last look for a stale id in a full list ended.
    probe: usize,
}

impl CallIdList {
    /// An empty list. Allocates nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an id. Never blocks.
    ///
    /// # Errors
    /// [`Invalid`](CallIdError::Invalid) when the id is stale already, so that nobody relies on hearing of it.
    /// [`Full`](CallIdError::Full) when there are [`LIST_MAX`] ids and the few that this call looked at were alive.
    pub fn insert(&mut self, id: CallId) -> Result<(), CallIdError> {
        if !id.exists() {
            return Err(CallIdError::Invalid);
        }
        if self.ids.len() >= self.sweep_at.max(SWEEP_MIN) && self.ids.len() < LIST_MAX {
            self.ids.retain(|id| id.exists());
            self.sweep_at = 2 * self.ids.len();
            self.ids.shrink_to(self.sweep_at.max(SWEEP_MIN));
        }
        if self.ids.len() < LIST_MAX {
            self.ids.push(id);
            return Ok(());
        }
        for _ in 0..PROBES {
            self.probe = (self.probe + 1) % LIST_MAX;
            if !self.ids[self.probe].exists() {
                self.ids[self.probe] = id;
                return Ok(());
            }
        }
        Err(CallIdError::Full)
    }

    /// Tells every id that is alive of an error, as [`CallId::error`], and empties the list; returns how many took
    /// it. *Blocking*: never by itself; the handlers may.
    #[track_caller]
    pub fn reset(&mut self, code: i32) -> usize {
        self.reset_with(code, "")
    }

    /// As [`reset`](Self::reset), with words.
    #[track_caller]
    pub fn reset_with(&mut self, code: i32, text: impl Into<Cow<'static, str>>) -> usize {
        let text = text.into();
        let mut told = 0;
        for id in std::mem::take(self).ids {
            told += usize::from(id.error_with(code, text.clone()).is_ok());
        }
        told
    }

    /// Ids in the list, those included that are stale and were not thrown out yet.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl fmt::Debug for CallIdList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallIdList").field("len", &self.len()).finish_non_exhaustive()
    }
}
