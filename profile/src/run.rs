//! A whole run in one call.

use std::time::Duration;

use crate::{Kind, Profile, StartError, contention, cpu, heap, off_cpu};

/// The longest run (brpc: `max_profiling_seconds`).
pub const DURATION_MAX: Duration = Duration::from_secs(300);

/// A profile of the next `duration`, with default options; of the heap and its growth at once.
///
/// *Blocking*: parks the calling bthread, or blocks the calling thread, for `duration`; an interruption
/// ([`bthread::interrupt`]) ends a run early.
///
/// # Errors
/// See [`StartError`].
pub fn run(kind: Kind, duration: Duration) -> Result<Profile, StartError> {
    if duration > DURATION_MAX {
        return Err(StartError::TooLong);
    }
    Ok(match kind {
        Kind::Cpu => {
            let session = cpu::start(cpu::Options::default())?;
            bthread::sleep(duration);
            session.stop()
        }
        Kind::Contention => {
            let session = contention::start(contention::Options::default())?;
            bthread::sleep(duration);
            session.stop()
        }
        Kind::OffCpu => {
            let session = off_cpu::start(off_cpu::Options::default())?;
            bthread::sleep(duration);
            session.stop()
        }
        Kind::Heap => heap::in_use()?,
        Kind::Growth => heap::growth()?,
    })
}
