//! Runs to start and stop: one at a time of each kind, as the pages of brpc have it.
//!
//! A session of `bthread::profile` does the work; this file adds the turn-taking and makes a [`Profile`] of the outcome.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use std::{error, fmt};

use bthread::profile::ProfileError;

use crate::Kind;

/// Why there is no profile. What it displays is a sentence for a page.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A run of that kind is under way; there is one at a time.
    Busy {
        /// When that one began.
        since: SystemTime,
    },
    /// A run may take [`DURATION_MAX`](crate::DURATION_MAX) at most.
    TooLong,
    /// This process cannot do it: why, and how to turn it on.
    Disabled(String),
    /// The system does not allow it.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Busy { since } => {
                let seconds = since.elapsed().unwrap_or_default().as_secs();
                write!(
                    f,
                    "a profile of this kind is being taken since {seconds} s; try again when it is done"
                )
            }
            StartError::TooLong => {
                write!(f, "a profile takes at most {} s", crate::DURATION_MAX.as_secs())
            }
            StartError::Disabled(reason) => f.write_str(reason),
            StartError::System(error) => write!(f, "the system does not allow this profile: {error}"),
        }
    }
}

impl error::Error for StartError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            StartError::System(error) => Some(error),
            _ => None,
        }
    }
}

/// What `bthread` says, of a run that began at `since` if it is busy.
pub(crate) fn refused(error: ProfileError) -> StartError {
    match error {
        // Only when somebody uses `bthread::profile` by himself.
        ProfileError::Busy => StartError::Busy { since: SystemTime::now() },
        ProfileError::System(error) => StartError::System(error),
        other => StartError::Disabled(format!("{other}; another profiler may be linked into this program")),
    }
}

/// The right to run a profile of a kind; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn(Kind);

/// The runs under way.
static RUNS: Mutex<Vec<(Kind, SystemTime)>> = Mutex::new(Vec::new());

impl Turn {
    pub(crate) fn take(kind: Kind) -> Result<Turn, StartError> {
        let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
        match runs.iter().find(|run| run.0 == kind) {
            Some((_, since)) => Err(StartError::Busy { since: *since }),
            None => {
                runs.push((kind, SystemTime::now()));
                Ok(Turn(kind))
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNS.lock().unwrap_or_else(PoisonError::into_inner).retain(|run| run.0 != self.0);
    }
}

/// Processor time.
pub mod cpu {
    use super::{StartError, Turn, refused};
    use crate::{Kind, Profile};

    /// How samples are taken.
    #[derive(Clone, Debug)]
    pub struct Options {
        /// Samples in each second of processor time of each thread, 1 to 1000. Default 100.
        pub frequency: u32,
    }

    impl Default for Options {
        fn default() -> Self {
            Options { frequency: 100 }
        }
    }

    /// A run under way. Dropped without [`stop`](Self::stop) it is thrown away.
    #[derive(Debug)]
    #[must_use = "dropping the session ends the run"]
    pub struct Session {
        session: bthread::profile::cpu::Session,
        period: i64,
        _turn: Turn,
    }

    /// Starts a run. *Blocking*: as [`bthread::profile::cpu::start`].
    ///
    /// # Errors
    /// `Busy` while another run is under way (the [`history`](crate::history) is none), `Disabled` if another profiler
    /// has the signal, `System`.
    ///
    /// ```
    /// let session = profile::cpu::start(profile::cpu::Options { frequency: 250 })?;
    /// assert!(session.stop().totals()[1] >= 0);
    /// # Ok::<(), profile::StartError>(())
    /// ```
    pub fn start(options: Options) -> Result<Session, StartError> {
        let turn = Turn::take(Kind::Cpu)?;
        let frequency = options.frequency.clamp(1, bthread::profile::cpu::FREQUENCY_MAX);
        let session = bthread::profile::cpu::start(frequency).map_err(refused)?;
        Ok(Session { session, period: 1_000_000_000 / i64::from(frequency), _turn: turn })
    }

    impl Session {
        /// Ends the run. *Blocking*: as [`start`].
        pub fn stop(self) -> Profile {
            Profile::of(Kind::Cpu, self.period, self.session.stop())
        }
    }
}

/// Waits for locks.
pub mod contention {
    use super::{StartError, Turn, refused};
    use crate::{Kind, Profile};

    /// How many waits are looked at.
    #[derive(Clone, Debug)]
    pub struct Options {
        /// Per second, 1 to 10,000. Default 1000. Beyond, what is seen is scaled up.
        pub samples_per_second: u32,
    }

    impl Default for Options {
        fn default() -> Self {
            Options { samples_per_second: 1000 }
        }
    }

    /// A run under way. Dropped without [`stop`](Self::stop) it is thrown away.
    #[derive(Debug)]
    #[must_use = "dropping the session ends the run"]
    pub struct Session {
        session: bthread::profile::contention::Session,
        _turn: Turn,
    }

    /// Starts a run. *Blocking*: as [`bthread::profile::contention::start`].
    ///
    /// # Errors
    /// `Busy`, `System`.
    pub fn start(options: Options) -> Result<Session, StartError> {
        let turn = Turn::take(Kind::Contention)?;
        let session = bthread::profile::contention::start(options.samples_per_second).map_err(refused)?;
        Ok(Session { session, _turn: turn })
    }

    impl Session {
        /// Ends the run. *Blocking*: as [`start`].
        pub fn stop(self) -> Profile {
            Profile::of(Kind::Contention, 1, self.session.stop())
        }
    }
}

/// Time that bthreads spend waiting.
pub mod off_cpu {
    use std::time::Duration;

    use super::{StartError, Turn, refused};
    use crate::{Kind, Profile};

    /// How often and how many bthreads are looked at.
    #[derive(Clone, Debug)]
    pub struct Options {
        /// Between two snapshots, 1 ms to a minute. Default 100 ms.
        pub interval: Duration,
        /// Bthreads looked at in one snapshot, 1 to 4096. Default 128. Where more wait, those looked at stand for all.
        pub bthreads_max: usize,
    }

    impl Default for Options {
        fn default() -> Self {
            Options { interval: Duration::from_millis(100), bthreads_max: 128 }
        }
    }

    /// A run under way. Dropped without [`stop`](Self::stop) it is thrown away.
    #[derive(Debug)]
    #[must_use = "dropping the session ends the run"]
    pub struct Session {
        session: bthread::profile::waits::Session,
        _turn: Turn,
    }

    /// Starts a run. *Blocking*: as [`bthread::profile::waits::start`].
    ///
    /// # Errors
    /// `Busy`, `System`.
    pub fn start(options: Options) -> Result<Session, StartError> {
        let turn = Turn::take(Kind::OffCpu)?;
        let session =
            bthread::profile::waits::start(options.interval, options.bthreads_max).map_err(refused)?;
        Ok(Session { session, _turn: turn })
    }

    impl Session {
        /// Ends the run. *Blocking*: as [`start`].
        pub fn stop(self) -> Profile {
            Profile::of(Kind::OffCpu, 1, self.session.stop())
        }
    }
}
