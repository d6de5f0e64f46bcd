//! What a variable with windows keeps of each second.
//!
//! A variable has at most one [`Sampling`], shared by all of its windows: for each second in which it got
//! something, what it got. Seconds without are not kept, so an idle variable costs nothing beyond its
//! fixed part. What a window shows is the fold of its seconds; so sums need no inverse at the far end, and
//! maxima none at all. Must never hold its lock while a variable is read: that may run code of the user.

use crate::sampler::{Sampler, Tick};
use crate::variable::{Trend, Value};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// A variable that a [`Window`](crate::Window) can look at.
pub trait Sampled: Send + Sync + Sized + 'static {
    /// What it gets in a second.
    type Delta: Send;
    /// What it remembers of its last sample.
    type Mark: Default + Send;
    /// What a window over it shows.
    type Output: Into<Value>;
    /// How the values of a window become one of a longer time.
    const TREND: Trend = Trend::None;

    /// Its samples.
    fn sampling(&self) -> &Sampling<Self::Delta, Self::Mark>;

    /// What it got since `mark`, which is moved to now; `None` if nothing.
    fn take(&self, mark: &mut Self::Mark) -> Option<Self::Delta>;

    /// What a window of these seconds shows; there may be none.
    fn fold<'a>(seconds: impl Iterator<Item = &'a Self::Delta>) -> Self::Output
    where
        Self::Delta: 'a;
}

/// The samples of a variable, if it has windows.
pub struct Sampling<Delta, Mark>(OnceLock<Box<Mutex<Kept<Delta, Mark>>>>);

struct Kept<Delta, Mark> {
    sampler: Sampler,
    /// The windows that there are.
    windows: usize,
    /// The longest of them since it is sampled.
    seconds: u32,
    /// Whether the sampler has it in its list.
    is_sampled: bool,
    /// The tick before the first sample, and the time of that.
    since: (u32, Duration),
    /// The newest tick at which it was sampled.
    newest: u32,
    /// None while a sample is taken.
    mark: Option<Mark>,
    /// What it got, by tick, oldest first; at most `seconds`.
    deltas: VecDeque<(u32, Delta)>,
}

impl<Delta, Mark> Sampling<Delta, Mark> {
    pub(crate) const fn new() -> Self {
        Sampling(OnceLock::new())
    }
}

fn lock<Delta, Mark>(kept: &Mutex<Kept<Delta, Mark>>) -> MutexGuard<'_, Kept<Delta, Mark>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a window of so many seconds over `variable`, by `sampler` unless another one samples it already.
pub(crate) fn open<V: Sampled>(variable: &Arc<V>, sampler: &Sampler, seconds: u32) {
    let kept = variable.sampling().0.get_or_init(|| {
        Box::new(Mutex::new(Kept {
            sampler: sampler.clone(),
            windows: 0,
            seconds: 0,
            is_sampled: false,
            since: (0, Duration::ZERO),
            newest: 0,
            mark: None,
            deltas: VecDeque::new(),
        }))
    });
    let is_first = {
        let mut kept = lock(kept);
        kept.windows += 1;
        kept.seconds = kept.seconds.max(seconds);
        !std::mem::replace(&mut kept.is_sampled, true)
    };
    if !is_first {
        return;
    }
    // What it has now is not part of the window's first second. Meanwhile others find it sampled, and empty.
    let mut mark = V::Mark::default();
    let panic = catch_unwind(AssertUnwindSafe(|| variable.take(&mut mark))).err();
    let sampler = {
        let mut kept = lock(kept);
        let now = kept.sampler.now();
        (kept.since, kept.newest, kept.mark) = (now, now.0, Some(mark));
        kept.deltas.clear();
        kept.sampler.clone()
    };
    let sampled: Weak<V> = Arc::downgrade(variable);
    sampler.add(sampled);
    if let Some(panic) = panic {
        close(&**variable);
        resume_unwind(panic);
    }
}

/// Ends a window.
pub(crate) fn close<V: Sampled>(variable: &V) {
    if let Some(kept) = variable.sampling().0.get() {
        lock(kept).windows -= 1;
    }
}

/// Folds the last `seconds` of a variable with windows, and tells how long they were; and the tick of the newest.
pub(crate) fn read<V: Sampled>(variable: &V, seconds: u32) -> (V::Output, Duration, u32) {
    let Some(kept) = variable.sampling().0.get() else {
        return (V::fold(std::iter::empty()), Duration::ZERO, 0);
    };
    let kept = lock(kept);
    let from = kept.newest.saturating_sub(seconds);
    let begun = if from <= kept.since.0 { Some(kept.since.1) } else { kept.sampler.time_of(from) };
    let span = match (begun, kept.sampler.time_of(kept.newest)) {
        (Some(begun), Some(end)) if kept.newest > kept.since.0 => end.saturating_sub(begun),
        _ => Duration::ZERO,
    };
    let first = kept.deltas.partition_point(|(tick, _)| *tick <= from);
    (V::fold(kept.deltas.iter().skip(first).map(|(_, delta)| delta)), span, kept.newest)
}

/// The newest tick at which a variable was sampled.
pub(crate) fn newest<V: Sampled>(variable: &V) -> u32 {
    variable.sampling().0.get().map_or(0, |kept| lock(kept).newest)
}

impl<V: Sampled> Tick for V {
    fn tick(&self, tick: u32) -> bool {
        let Some(kept) = self.sampling().0.get() else { return false };
        let mut mark = {
            let mut kept = lock(kept);
            if kept.windows == 0 {
                (kept.is_sampled, kept.seconds) = (false, 0);
                (kept.mark, kept.deltas) = (None, VecDeque::new());
                return false;
            }
            kept.mark.take().unwrap_or_default()
        };
        let taken = catch_unwind(AssertUnwindSafe(|| self.take(&mut mark)));
        let mut kept = lock(kept);
        kept.mark = Some(mark);
        kept.newest = tick;
        let oldest = tick.saturating_sub(kept.seconds);
        while kept.deltas.front().is_some_and(|(tick, _)| *tick <= oldest) {
            kept.deltas.pop_front();
        }
        if kept.deltas.is_empty() {
            kept.deltas.shrink_to_fit();
        }
        match taken {
            Ok(Some(delta)) => kept.deltas.push_back((tick, delta)),
            Ok(None) => {}
            Err(panic) => {
                drop(kept);
                resume_unwind(panic);
            }
        }
        true
    }
}
