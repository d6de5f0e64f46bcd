//! For tests about ending a wait: returns once the bthread waits, so that there is one to end.

use bthread::{BthreadState, JoinHandle};

/// Looks until the bthread waits, or has ended.
pub(crate) fn until_it_waits<T>(handle: &JoinHandle<T>) {
    while bthread::bthread(handle.id()).is_some_and(|info| !matches!(info.state, BthreadState::Waiting(_))) {
        bthread::yield_now();
    }
}
