//! What a connection knows of its streams: which they are, and how much they have on their way.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bthread::timer::TimerHandle;

use super::state::{self, Kept};
use crate::error::{ELIMIT, RpcError};
use crate::socket::lock;

/// Streams of one connection that have not ended.
pub const STREAMS_PER_CONNECTION_MAX: usize = 1 << 14;

/// The streams of one connection.
#[derive(Default)]
pub(crate) struct ConnectionStreams {
    /// In order, as is `kept`: they end in an order that does not depend on chance.
    ids: Mutex<BTreeSet<u64>>,
    /// Streams that have ended while the reply to their call was to come in a frame for them. As many as may live; the
    /// replies to more are not waited for.
    unanswered: Mutex<HashSet<u64>>,
    /// Bytes written and not consumed, of the streams whose windows depend on it.
    unconsumed: AtomicU64,
    /// What is kept for streams that were closed here, until their peers say so too.
    kept: Mutex<BTreeMap<u64, (Kept, Option<TimerHandle>)>>,
}

impl ConnectionStreams {
    pub(super) fn add(&self, id: u64) -> Result<(), RpcError> {
        let mut ids = lock(&self.ids);
        if ids.len() >= STREAMS_PER_CONNECTION_MAX {
            let text = format!("More than {STREAMS_PER_CONNECTION_MAX} streams on a connection");
            return Err(RpcError::new(ELIMIT, text));
        }
        ids.insert(id);
        Ok(())
    }

    /// Streams that have not ended.
    pub(crate) fn count(&self) -> usize {
        lock(&self.ids).len()
    }

    /// A stream has ended, with so many bytes unconsumed.
    pub(super) fn remove(&self, id: u64, unconsumed: u64) {
        lock(&self.ids).remove(&id);
        self.consumed(unconsumed);
    }

    /// A stream ends, and the reply to its call has not come.
    pub(super) fn ends_unanswered(&self, id: u64) {
        let mut unanswered = lock(&self.unanswered);
        if unanswered.len() < STREAMS_PER_CONNECTION_MAX {
            unanswered.insert(id);
        }
    }

    /// Whether a frame for a stream that is not there is the reply to its call. Once.
    pub(super) fn is_late_reply(&self, id: u64) -> bool {
        lock(&self.unanswered).remove(&id)
    }

    /// Keeps something until the peer of a stream that is about to be closed has answered.
    pub(super) fn await_farewell(&self, id: u64, kept: Kept) {
        lock(&self.kept).insert(id, (kept, None));
    }

    /// This timer ends the waiting.
    pub(super) fn bound_farewell(&self, id: u64, timer: TimerHandle) {
        if let Some((_, place)) = lock(&self.kept).get_mut(&id) {
            *place = Some(timer);
            return;
        }
        timer.cancel();
    }

    /// The peer has closed or reset a stream: what was kept until then. To be dropped without locks.
    pub(super) fn farewell(&self, id: u64) -> Option<Kept> {
        let (kept, timer) = lock(&self.kept).remove(&id)?;
        if let Some(timer) = timer {
            timer.cancel();
        }
        Some(kept)
    }

    // Relaxed in all three: a sum that windows are fitted to.

    pub(super) fn produced(&self, bytes: u64) {
        self.unconsumed.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn consumed(&self, bytes: u64) {
        self.unconsumed.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn unconsumed(&self) -> u64 {
        self.unconsumed.load(Ordering::Relaxed)
    }

    /// The connection has failed: its streams end. No lock is held.
    pub(crate) fn fail(&self, error: &RpcError) {
        let ids = std::mem::take(&mut *lock(&self.ids));
        ids.into_iter().for_each(|id| state::fail(id, error));
        let kept = std::mem::take(&mut *lock(&self.kept));
        for (kept, timer) in kept.into_values() {
            if let Some(timer) = timer {
                timer.cancel();
            }
            drop(kept);
        }
    }
}
