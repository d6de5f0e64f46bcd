//! The processor time of the last hour, minute by minute: a profile at a low rate that never ends, to look at what was
//! before somebody looked, and at what has changed between two times.
//!
//! Off until [`start`]ed. It takes samples beside other runs, from all threads. Of each minute the heaviest stacks are
//! kept, up to [`STACKS_PER_MINUTE_MAX`], the others as one sum; stacks that several minutes have are kept once. In all
//! it takes up to [`BYTES_MAX`], beyond which the oldest minutes go.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, LazyLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bthread::profile::cpu::Session;
use bthread::sync::{Mutex, MutexGuard};

use crate::session::refused;
use crate::{Kind, Profile, Sample, StartError};

/// Minutes kept.
pub const MINUTES_MAX: usize = 60;
/// Stacks kept of one minute.
pub const STACKS_PER_MINUTE_MAX: usize = 2000;
/// Bytes that the whole history takes, as far as its stacks and samples go.
pub const BYTES_MAX: usize = 32 << 20;

/// Between two looks at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const MINUTE: u64 = 60;
/// What a stack takes beside its addresses, and in the set.
const STACK_BYTES: usize = 48;
/// The label of the stacks that were not kept.
const LIGHTER: &str = "lighter stacks of the minute";

/// How samples are taken.
#[derive(Clone, Debug)]
pub struct Options {
    /// Samples in each second of processor time of each thread, 1 to 1000. Default 20.
    pub frequency: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { frequency: 20 }
    }
}

/// A minute of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Minute {
    /// Its beginning, or the moment of the start within it.
    pub start: SystemTime,
    /// How long was recorded: less than a minute for the first and the current one.
    pub duration: Duration,
    /// Samples taken.
    pub samples: u64,
    /// Processor time of all threads.
    pub cpu: Duration,
}

struct History {
    session: Option<(Session, i64)>,
    /// Minutes since 1970 that the session's samples are of.
    minute: u64,
    has_thread: bool,
    minutes: VecDeque<Profile>,
    /// Each stack of the minutes once.
    stacks: HashSet<Arc<[usize]>>,
}

static HISTORY: LazyLock<Mutex<History>> = LazyLock::new(|| {
    Mutex::new(History {
        session: None,
        minute: 0,
        has_thread: false,
        minutes: VecDeque::new(),
        stacks: HashSet::new(),
    })
});

fn history() -> MutexGuard<'static, History> {
    HISTORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to record; does nothing if it records already. *Blocking*: as [`bthread::profile::cpu::start`].
///
/// # Errors
/// `Busy` if other code has all sessions of `bthread::profile`; `Disabled`, `System` as [`cpu::start`](crate::cpu::start).
///
/// ```
/// use profile::history;
/// use std::time::SystemTime;
/// history::start(history::Options::default())?;
/// let sum: u64 = (0..1_000_000).sum();
/// history::stop();
/// let all = history::between(SystemTime::UNIX_EPOCH, SystemTime::now());
/// assert!(all.is_some() && sum > 0);
/// # Ok::<(), profile::StartError>(())
/// ```
pub fn start(options: Options) -> Result<(), StartError> {
    let mut history = history();
    if history.session.is_some() {
        return Ok(());
    }
    let frequency = options.frequency.clamp(1, bthread::profile::cpu::FREQUENCY_MAX);
    let session = bthread::profile::cpu::start(frequency).map_err(refused)?;
    if !history.has_thread {
        let thread = std::thread::Builder::new().name("bobbin:history".into());
        thread.spawn(record).map_err(StartError::System)?;
        history.has_thread = true;
    }
    history.minute = this_minute();
    history.session = Some((session, 1_000_000_000 / i64::from(frequency)));
    Ok(())
}

/// Ends recording; what was recorded stays, and grows older. *Blocking*: as [`start`].
pub fn stop() {
    let mut history = history();
    history.end_minute();
    history.session = None;
}

/// Whether it records. *Blocking*: parks or blocks while a minute is being filed.
pub fn is_running() -> bool {
    history().session.is_some()
}

/// What there is, the oldest first; with the current minute, if it records. *Blocking*: as [`start`].
pub fn minutes() -> Vec<Minute> {
    let mut history = history();
    history.end_minute();
    history.minutes.iter().map(minute).collect()
}

/// All minutes that overlap the time from `from` to `to`, together. None if nothing was recorded then.
/// *Blocking*: as [`start`].
pub fn between(from: SystemTime, to: SystemTime) -> Option<Profile> {
    let mut history = history();
    history.end_minute();
    let overlaps = |one: &&Profile| one.started() <= to && one.started() + one.duration() >= from;
    let chosen: Vec<Profile> = history.minutes.iter().filter(overlaps).cloned().collect();
    drop(history);
    Profile::sum(&chosen)
}

/// What has changed: the profile of `after` less that of `before`, which is scaled to the same length of time. None if
/// nothing was recorded in one of them. *Blocking*: as [`start`].
pub fn change(before: Range<SystemTime>, after: Range<SystemTime>) -> Option<Profile> {
    let (before, after) = (between(before.start, before.end)?, between(after.start, after.end)?);
    let factor = after.duration().as_secs_f64() / before.duration().as_secs_f64().max(f64::MIN_POSITIVE);
    after.minus_scaled(&before, if factor.is_finite() { factor } else { 1.0 })
}

fn minute(profile: &Profile) -> Minute {
    let [samples, nanos] = profile.totals().map(|total| u64::try_from(total).unwrap_or(0));
    let (start, duration) = (profile.started(), profile.duration());
    Minute { start, duration, samples, cpu: Duration::from_nanos(nanos) }
}

fn this_minute() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / MINUTE
}

/// The thread: files each minute when it is over.
fn record() {
    loop {
        std::thread::sleep(LOOK_EVERY);
        let mut history = history();
        if history.session.is_none() {
            history.has_thread = false;
            return;
        }
        if history.minute != this_minute() {
            history.end_minute();
        }
    }
}

impl History {
    /// Files what the session has gathered since the last call, with the minute that it is of.
    fn end_minute(&mut self) {
        let Some((session, period)) = &self.session else { return };
        let part = Profile::of(Kind::Cpu, *period, session.take());
        let is_new = std::mem::replace(&mut self.minute, this_minute());
        // The last one may be a part of the same minute, filed because somebody looked.
        let last = self.minutes.back().filter(|last| {
            let minute = last.started().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / MINUTE;
            minute == is_new && last.started() + last.duration() + LOOK_EVERY >= part.started()
        });
        let whole = match last.and_then(|last| last.plus(&part)) {
            Some(both) => {
                self.minutes.pop_back();
                both
            }
            None => part,
        };
        self.file(whole);
    }

    /// Adds a minute, and drops what is beyond the bounds.
    fn file(&mut self, minute: Profile) {
        let period = minute.period();
        let time = (minute.started(), minute.duration());
        let samples = heaviest(minute.samples());
        let stacks = &mut self.stacks;
        let samples = samples.into_iter().map(|sample| match stacks.get(&sample.frames) {
            Some(known) => Sample { frames: known.clone(), ..sample },
            None => {
                stacks.insert(sample.frames.clone());
                sample
            }
        });
        self.minutes.push_back(Profile::from_parts(Kind::Cpu, time, period, samples.collect()));
        while self.minutes.len() > MINUTES_MAX || (self.minutes.len() > 1 && self.bytes() > BYTES_MAX) {
            self.minutes.pop_front();
            self.forget();
        }
        self.forget();
    }

    /// Drops the stacks that no minute has.
    fn forget(&mut self) {
        self.stacks.retain(|stack| Arc::strong_count(stack) > 1);
    }

    fn bytes(&self) -> usize {
        let samples: usize = self.minutes.iter().map(|minute| size_of_val(minute.samples())).sum();
        self.stacks.iter().map(|stack| size_of_val(&**stack) + STACK_BYTES).sum::<usize>() + samples
    }
}

/// The samples with the most time, and the others as one.
fn heaviest(samples: &[Sample]) -> Vec<Sample> {
    let (mut stacks, without): (Vec<Sample>, Vec<Sample>) =
        samples.iter().cloned().partition(|sample| sample.label != Some(LIGHTER));
    stacks.sort_by_key(|sample| std::cmp::Reverse(sample.values[1]));
    let lighter = stacks.split_off(stacks.len().min(STACKS_PER_MINUTE_MAX));
    let rest = without.iter().chain(&lighter).fold([0i64; 2], |sums, one| {
        [0, 1].map(|value: usize| sums[value].saturating_add(one.values[value]))
    });
    if rest != [0; 2] {
        stacks.push(Sample { frames: Arc::new([]), label: Some(LIGHTER), values: rest });
    }
    stacks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> History {
        let (minutes, stacks) = (VecDeque::new(), HashSet::new());
        History { session: None, minute: 0, has_thread: false, minutes, stacks }
    }

    /// A minute with so many stacks of `depth`, which differ from those of other minutes if `first` does.
    fn minute(number: u64, first: usize, stacks: usize, depth: usize) -> Profile {
        let stack = |stack: usize| (0..depth).map(|frame| (first + stack) * 1000 + frame).collect();
        let samples = (0..stacks)
            .map(|number| Sample { frames: stack(number), label: None, values: [1, number as i64 + 1] })
            .collect();
        let start = UNIX_EPOCH + Duration::from_secs(number * MINUTE);
        Profile::from_parts(Kind::Cpu, (start, Duration::from_secs(MINUTE)), 1, samples)
    }

    #[test]
    fn an_hour_is_kept_and_stacks_are_shared() {
        let mut history = empty();
        for number in 0..100 {
            history.file(minute(number, 0, 10, 5));
        }
        assert_eq!(history.minutes.len(), MINUTES_MAX);
        assert_eq!(history.stacks.len(), 10);
        assert_eq!(history.minutes[0].started(), UNIX_EPOCH + Duration::from_secs(40 * MINUTE));
    }

    #[test]
    fn of_a_minute_the_heaviest_stacks_are_kept_and_nothing_is_missing_in_the_sum() {
        let mut history = empty();
        let whole = minute(0, 0, STACKS_PER_MINUTE_MAX + 5, 1);
        history.file(whole.clone());
        let kept = &history.minutes[0];
        assert_eq!(kept.samples().len(), STACKS_PER_MINUTE_MAX + 1);
        assert_eq!(kept.totals(), whole.totals());
        let rest = kept.samples().iter().find(|one| one.label == Some(LIGHTER)).unwrap();
        assert_eq!(rest.values, [5, 1 + 2 + 3 + 4 + 5]);
    }

    #[test]
    fn the_bytes_are_bounded_and_the_oldest_minutes_go() {
        let mut history = empty();
        for number in 0..60 {
            history.file(minute(number, number as usize * 5000, STACKS_PER_MINUTE_MAX, 64));
            assert!(history.bytes() <= BYTES_MAX);
        }
        assert!((2..60).contains(&history.minutes.len()), "{}", history.minutes.len());
        let newest = history.minutes.back().unwrap();
        assert_eq!(newest.started(), UNIX_EPOCH + Duration::from_secs(59 * MINUTE));
    }
}
