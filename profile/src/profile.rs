//! What a profile is: stacks with two values each, and arithmetic on whole profiles.
//!
//! Owns no names: addresses get them when a profile is written (`format`).

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bthread::profile::Recording;

/// What a profile is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Processor time.
    Cpu,
    /// Waits for locks.
    Contention,
    /// Time that bthreads spend waiting.
    OffCpu,
    /// Memory in use.
    Heap,
    /// Memory asked for since the start, freed or not.
    Growth,
}

/// A name that is no [`Kind`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind;

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Cpu, Kind::Contention, Kind::OffCpu, Kind::Heap, Kind::Growth];

    /// The name that pages use: `cpu`, `contention`, `offcpu`, `heap`, `growth`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::Contention => "contention",
            Kind::OffCpu => "offcpu",
            Kind::Heap => "heap",
            Kind::Growth => "growth",
        }
    }

    fn value_types(self) -> [ValueType; 2] {
        let types = match self {
            Kind::Cpu => [("samples", "count"), ("cpu", "nanoseconds")],
            Kind::Contention => [("contentions", "count"), ("delay", "nanoseconds")],
            Kind::OffCpu => [("waits", "count"), ("wait", "nanoseconds")],
            Kind::Heap => [("inuse_objects", "count"), ("inuse_space", "bytes")],
            Kind::Growth => [("alloc_objects", "count"), ("alloc_space", "bytes")],
        };
        types.map(|(name, unit)| ValueType { name, unit })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Kind, UnknownKind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownKind)
    }
}

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such kind of profile")
    }
}

impl std::error::Error for UnknownKind {}

/// Which of a sample's two values counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// How many.
    Count,
    /// How much: nanoseconds or bytes.
    #[default]
    Amount,
}

/// What a value means, in pprof's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValueType {
    /// As `cpu`, `inuse_space`.
    pub name: &'static str,
    /// `count`, `nanoseconds` or `bytes`.
    pub unit: &'static str,
}

/// One stack of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// Addresses inside the calls under way, innermost first; empty for what found no room among the stacks.
    pub frames: Arc<[usize]>,
    /// What was done there: the kind of lock, what a bthread waits for.
    pub label: Option<&'static str>,
    /// Count and amount; negative ones come of differences.
    pub values: [i64; 2],
}

/// The label of what found no room among the stacks of a recording.
const NOT_KEPT: &str = "stacks beyond the bound";

/// Where something went during a time, or is at a moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Profile {
    kind: Kind,
    started: SystemTime,
    duration: Duration,
    period: i64,
    lost: u64,
    is_difference: bool,
    samples: Arc<[Sample]>,
}

impl Profile {
    pub(crate) fn of(kind: Kind, period: i64, recording: Recording) -> Profile {
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let other = recording.other.map(whole);
        let other =
            (other != [0; 2]).then(|| Sample { frames: Arc::new([]), label: Some(NOT_KEPT), values: other });
        let stacks = recording.stacks.into_iter().map(|stack| Sample {
            frames: stack.frames,
            label: stack.label,
            values: [whole(stack.count), whole(stack.nanos)],
        });
        Profile {
            kind,
            started: recording.started,
            duration: recording.duration,
            period,
            lost: recording.lost,
            is_difference: false,
            samples: stacks.chain(other).collect(),
        }
    }

    pub(crate) fn from_parts(
        kind: Kind,
        (started, duration): (SystemTime, Duration),
        period: i64,
        samples: Vec<Sample>,
    ) -> Profile {
        let (lost, is_difference, samples) = (0, false, samples.into());
        Profile { kind, started, duration, period, lost, is_difference, samples }
    }

    /// What it is of.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// When it began, or was taken.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// How long it took; zero for a snapshot.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// What the two values of a sample mean.
    pub fn value_types(&self) -> [ValueType; 2] {
        self.kind.value_types()
    }

    /// Amount between two samples: nanoseconds of processor time, bytes; 1 where every event was counted or scaled up.
    pub(crate) fn period(&self) -> i64 {
        self.period
    }

    /// Each stack once, in no order.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Samples that were due and could not be taken.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether it came of [`minus`](Self::minus).
    pub fn is_difference(&self) -> bool {
        self.is_difference
    }

    /// Sums of the two values over all samples.
    pub fn totals(&self) -> [i64; 2] {
        let add =
            |sums: [i64; 2], one: &Sample| [0, 1].map(|value| sums[value].saturating_add(one.values[value]));
        self.samples.iter().fold([0; 2], add)
    }

    /// This one less `base`: what is more now has positive values, what is less negative ones, what is equal is left
    /// out. None if they are of different kinds. Neither parks nor blocks.
    pub fn minus(&self, base: &Profile) -> Option<Profile> {
        self.minus_scaled(base, 1.0)
    }

    /// As [`minus`](Self::minus), with the values of `base` multiplied first.
    pub(crate) fn minus_scaled(&self, base: &Profile, factor: f64) -> Option<Profile> {
        if self.kind != base.kind {
            return None;
        }
        let mut pairs: HashMap<Key<'_>, [[i64; 2]; 2]> = HashMap::new();
        for (side, profile) in [self, base].into_iter().enumerate() {
            for sample in &*profile.samples {
                pairs.entry(sample.key()).or_default()[side] = sample.values;
            }
        }
        let scaled = |value: i64| (value as f64 * factor).round() as i64; // saturates
        let differences = pairs.into_iter().map(|(key, [own, base])| {
            (key, [0, 1].map(|value: usize| own[value].saturating_sub(scaled(base[value]))))
        });
        Some(Profile { samples: samples(differences), is_difference: true, ..self.clone() })
    }

    /// Both together, from the earlier start on. None if they are of different kinds. Neither parks nor blocks.
    pub fn plus(&self, other: &Profile) -> Option<Profile> {
        Profile::sum([self, other])
    }

    /// As [`plus`](Self::plus), for any number at once: the stacks of each are looked at once. None for none.
    pub(crate) fn sum<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Option<Profile> {
        let mut profiles = profiles.into_iter();
        let first = profiles.next()?;
        let mut sum = first.clone();
        let mut sums: HashMap<Key<'_>, [i64; 2]> = HashMap::new();
        sums.extend(first.samples.iter().map(|sample| (sample.key(), sample.values)));
        for other in profiles {
            if other.kind != sum.kind {
                return None;
            }
            sum.started = sum.started.min(other.started);
            sum.duration = sum.duration.saturating_add(other.duration);
            sum.period = sum.period.min(other.period);
            sum.lost = sum.lost.saturating_add(other.lost);
            sum.is_difference |= other.is_difference;
            for sample in &*other.samples {
                let values = sums.entry(sample.key()).or_default();
                *values = [0, 1].map(|value: usize| values[value].saturating_add(sample.values[value]));
            }
        }
        sum.samples = samples(sums.into_iter());
        Some(sum)
    }
}

/// What tells samples of one profile apart.
type Key<'a> = (&'a Arc<[usize]>, Option<&'static str>);

impl Sample {
    fn key(&self) -> Key<'_> {
        (&self.frames, self.label)
    }
}

/// Without those that came to nothing.
fn samples<'a>(sums: impl Iterator<Item = (Key<'a>, [i64; 2])>) -> Arc<[Sample]> {
    let kept = sums.filter(|(_, values)| *values != [0; 2]);
    kept.map(|((frames, label), values)| Sample { frames: frames.clone(), label, values }).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn profile(kind: Kind, samples: &[(&[usize], [i64; 2])]) -> Profile {
        let samples = samples
            .iter()
            .map(|(frames, values)| Sample { frames: Arc::from(*frames), label: None, values: *values })
            .collect();
        Profile::from_parts(kind, (SystemTime::UNIX_EPOCH, Duration::from_secs(1)), 1, samples)
    }

    fn values(profile: &Profile, frames: &[usize]) -> Option<[i64; 2]> {
        profile.samples().iter().find(|one| *one.frames == *frames).map(|one| one.values)
    }

    #[test]
    fn a_difference_has_negative_values_and_leaves_out_what_is_equal() {
        let before = profile(Kind::Cpu, &[(&[1], [1, 10]), (&[2], [2, 20]), (&[3], [5, 50])]);
        let after = profile(Kind::Cpu, &[(&[1], [1, 10]), (&[2], [3, 30]), (&[4], [7, 70])]);
        let difference = after.minus(&before).unwrap();
        assert_eq!(values(&difference, &[1]), None);
        assert_eq!(values(&difference, &[2]), Some([1, 10]));
        assert_eq!(values(&difference, &[3]), Some([-5, -50]));
        assert_eq!(values(&difference, &[4]), Some([7, 70]));
        assert!(difference.is_difference());
        let sum = before.plus(&after).unwrap();
        assert_eq!(sum.totals(), [19, 190]);
        assert_eq!(sum.duration(), Duration::from_secs(2));
        let three = Profile::sum([&before, &after, &before]).unwrap();
        assert_eq!(three.totals(), [27, 270]);
        assert_eq!(values(&three, &[3]), Some([10, 100]));
        assert_eq!((values(&three, &[4]), three.duration()), (Some([7, 70]), Duration::from_secs(3)));
    }

    #[test]
    fn profiles_of_different_kinds_have_no_difference() {
        let (cpu, heap) = (profile(Kind::Cpu, &[]), profile(Kind::Heap, &[]));
        assert!(cpu.minus(&heap).is_none() && cpu.plus(&heap).is_none());
        assert!(Profile::sum([]).is_none());
    }

    #[test]
    fn kinds_are_named_and_found_by_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("<script>".parse::<Kind>(), Err(UnknownKind));
    }
}
