//! Samples added up by stack, within a bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::{RecordedStack, Recording, STACKS_MAX};

/// Frames and label.
type Key = (Arc<[usize]>, Option<&'static str>);

/// What becomes a [`Recording`].
pub(super) struct Stacks {
    began: Instant,
    started: SystemTime,
    sums: HashMap<Key, [f64; 2]>,
    other: [f64; 2],
    lost: f64,
}

impl Stacks {
    pub(super) fn new() -> Stacks {
        Stacks {
            began: Instant::now(),
            started: SystemTime::now(),
            sums: HashMap::new(),
            other: [0.0; 2],
            lost: 0.0,
        }
    }

    /// Counts `count` samples of this stack, and `nanos` with them.
    pub(super) fn add(&mut self, frames: &[usize], label: Option<&'static str>, count: f64, nanos: f64) {
        let full = self.sums.len() >= STACKS_MAX;
        // The key owns its frames; most samples meet one that is there.
        let key = (Arc::from(frames), label);
        let sums = match self.sums.get_mut(&key) {
            Some(sums) => sums,
            None if full => &mut self.other,
            None => self.sums.entry(key).or_default(),
        };
        sums[0] += count;
        sums[1] += nanos;
    }

    /// Counts samples that could not be taken.
    pub(super) fn lose(&mut self, count: f64) {
        self.lost += count;
    }

    /// What was counted so far; counting begins anew.
    pub(super) fn take(&mut self) -> Recording {
        let taken = std::mem::replace(self, Stacks::new());
        let rounded = |value: f64| value.round() as u64;
        Recording {
            started: taken.started,
            duration: taken.began.elapsed(),
            stacks: (taken.sums.into_iter())
                .map(|((frames, label), [count, nanos])| RecordedStack {
                    frames,
                    label,
                    count: rounded(count),
                    nanos: rounded(nanos),
                })
                .collect(),
            other: taken.other.map(rounded),
            lost: rounded(taken.lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stacks_are_added_up_and_those_beyond_the_bound_counted_together() {
        let mut stacks = Stacks::new();
        stacks.add(&[1, 2], None, 1.0, 10.0);
        stacks.add(&[1, 2], None, 2.0, 20.0);
        stacks.add(&[1, 2], Some("a lock"), 1.0, 5.0);
        for frame in 0..STACKS_MAX {
            stacks.add(&[frame], None, 1.0, 1.0);
        }
        stacks.add(&[1, 2], None, 0.5, 0.5);
        let recording = stacks.take();
        let sums = |label| {
            let found = recording.stacks.iter().find(|one| *one.frames == [1, 2] && one.label == label);
            found.map(|one| (one.count, one.nanos))
        };
        assert_eq!(recording.stacks.len(), STACKS_MAX);
        assert_eq!(sums(None), Some((4, 31)));
        assert_eq!(sums(Some("a lock")), Some((1, 5)));
        assert_eq!(recording.other, [2, 2]);
        assert!(stacks.take().stacks.is_empty());
    }
}
