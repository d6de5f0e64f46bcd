//! The spans that are kept: in memory, bounded in number, bytes and age, found by time and by trace.
//!
//! Its lock is held for an insertion or for the copying of pointers, never while a record is looked at, formatted or
//! dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::flags;
use super::id::TraceId;
use super::record::SpanRecord;

/// What a span takes in the two indices and its counts, by estimate.
const INDEX_COST: u64 = 128;
/// Spans that leave in one insertion, so that a bound that was lowered does not hold up a bthread.
const EVICTED_AT_ONCE_MAX: usize = 1024;

/// What bounds a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) spans: u64,
    pub(super) bytes: u64,
    pub(super) age: Duration,
}

impl Bounds {
    pub(super) fn from_flags() -> Self {
        Bounds {
            spans: flags::MAX_SPANS.get(),
            bytes: flags::MAX_SPAN_BYTES.get(),
            age: Duration::from_secs(u64::try_from(flags::KEEP_SPAN_SECONDS.get()).unwrap_or(0)),
        }
    }
}

/// When a span began, in microseconds since 1970, and a number that tells apart those that began together.
type Key = (u64, u64);

/// The spans.
#[derive(Default)]
pub(super) struct Store {
    by_time: BTreeMap<Key, Arc<SpanRecord>>,
    /// The lower half of the trace's id, and the key.
    by_trace: BTreeSet<(u64, Key)>,
    bytes: u64,
    stored: u64,
    evicted: u64,
}

impl Store {
    /// Keeps a span; returns those that had to leave, for the caller to drop outside of the lock.
    #[must_use]
    pub(super) fn insert(
        &mut self,
        record: Arc<SpanRecord>,
        bounds: Bounds,
        now: SystemTime,
    ) -> Vec<Arc<SpanRecord>> {
        let key = (record.started_micros, self.stored);
        self.stored += 1;
        self.bytes += cost(&record);
        self.by_trace.insert((record.trace_id.low(), key));
        self.by_time.insert(key, record);
        self.evict(bounds, now)
    }

    /// Takes out what is beyond the bounds, the oldest first, and at most 1024.
    #[must_use]
    pub(super) fn evict(&mut self, bounds: Bounds, now: SystemTime) -> Vec<Arc<SpanRecord>> {
        let oldest = micros(now.checked_sub(bounds.age).unwrap_or(UNIX_EPOCH));
        let mut evicted = Vec::new();
        while evicted.len() < EVICTED_AT_ONCE_MAX
            && let Some(first) = self.by_time.first_entry()
        {
            let is_kept = first.key().0 >= oldest
                && self.by_trace.len() as u64 <= bounds.spans
                && self.bytes <= bounds.bytes;
            if is_kept {
                break;
            }
            let (key, record) = first.remove_entry();
            self.by_trace.remove(&(record.trace_id.low(), key));
            self.bytes -= cost(&record);
            self.evicted += 1;
            evicted.push(record);
        }
        evicted
    }

    /// The newest `max` that began at `micros` or before, the newest first.
    pub(super) fn newest(&self, micros: u64, max: usize) -> Vec<Arc<SpanRecord>> {
        self.by_time.range(..=(micros, u64::MAX)).rev().take(max).map(|(_, record)| record.clone()).collect()
    }

    /// The first `max` of a trace, in the order of their beginnings.
    pub(super) fn of_trace(&self, id: TraceId, max: usize) -> Vec<Arc<SpanRecord>> {
        let low = id.low();
        let keys = self.by_trace.range((low, (0, 0))..=(low, (u64::MAX, u64::MAX)));
        keys.filter_map(|(_, key)| self.by_time.get(key))
            .filter(|record| record.trace_id.matches(id))
            .take(max)
            .cloned()
            .collect()
    }

    pub(super) fn stats(&self) -> StoreStats {
        StoreStats {
            spans: self.by_time.len() as u64,
            bytes: self.bytes,
            oldest: self.by_time.first_key_value().map(|(_, record)| record.started()),
            newest: self.by_time.last_key_value().map(|(_, record)| record.started()),
            stored: self.stored,
            evicted: self.evicted,
            ..StoreStats::default()
        }
    }
}

fn cost(record: &SpanRecord) -> u64 {
    record.memory() + INDEX_COST
}

pub(super) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    u64::try_from(since).unwrap_or(u64::MAX)
}

/// What is kept, and what became of the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Spans kept.
    pub spans: u64,
    /// Bytes that they take, by estimate.
    pub bytes: u64,
    /// When the oldest of them began.
    pub oldest: Option<SystemTime>,
    /// When the newest of them began.
    pub newest: Option<SystemTime>,
    /// Spans ever stored.
    pub stored: u64,
    /// Spans that had to leave: too old, too many, too large.
    pub evicted: u64,
    /// Spans that came while too many were waiting to be stored.
    pub dropped: u64,
    /// Requests that were chosen and not recorded, since that would have been too many.
    pub refused: u64,
    /// Spans that took less than the flag `rpcz_save_span_min_latency_us` asks for.
    pub too_fast: u64,
}

/// One `name : value` in each line.
impl fmt::Display for StoreStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Option<SystemTime>| time.map_or("none".to_owned(), super::time::date_and_time);
        writeln!(f, "spans : {}", self.spans)?;
        writeln!(f, "bytes : {}", self.bytes)?;
        writeln!(f, "oldest : {}", time(self.oldest))?;
        writeln!(f, "newest : {}", time(self.newest))?;
        writeln!(f, "stored : {}", self.stored)?;
        writeln!(f, "evicted : {}", self.evicted)?;
        writeln!(f, "dropped : {}", self.dropped)?;
        writeln!(f, "refused : {}", self.refused)?;
        writeln!(f, "too_fast : {}", self.too_fast)
    }
}

#[cfg(test)]
mod tests {
    use super::super::id::SpanId;
    use super::super::record::SpanKind;
    use super::*;
    use proptest::prelude::*;

    fn record(trace: u64, started: u64) -> Arc<SpanRecord> {
        let trace = TraceId::from_u128(u128::from(trace) + 1).unwrap();
        let mut record = SpanRecord::new(trace, SpanId::new(), SpanKind::Server);
        record.started_micros = started;
        Arc::new(record)
    }

    const WIDE: Bounds = Bounds { spans: u64::MAX, bytes: u64::MAX, age: Duration::MAX };

    #[test]
    fn what_is_too_old_leaves_even_if_nothing_comes() {
        let mut store = Store::default();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for second in 10..20 {
            assert!(store.insert(record(1, second * 1_000_000), WIDE, at(20)).is_empty());
        }
        let bounds = Bounds { age: Duration::from_secs(5), ..WIDE };
        assert_eq!(store.evict(bounds, at(20)).len(), 5);
        assert_eq!(store.newest(u64::MAX, 100).len(), 5);
        assert_eq!(store.evict(bounds, at(1000)).len(), 5);
        assert_eq!((store.bytes, store.by_trace.len()), (0, 0));
    }

    proptest! {
        /// Against a list that is searched from end to end.
        #[test]
        fn it_keeps_the_newest_and_finds_them(
            spans in proptest::collection::vec((0u64..6, 0u64..50), 0..80),
            max in 1u64..40, time in 0u64..60, scan in 0usize..50, wanted in 0u64..6,
        ) {
            let mut store = Store::default();
            let mut model: Vec<Arc<SpanRecord>> = Vec::new();
            let bounds = Bounds { spans: max, ..WIDE };
            for (trace, started) in spans {
                let new = record(trace, started);
                // Behind those that began together with it.
                let place = model.partition_point(|old| old.started_micros <= started);
                model.insert(place, new.clone());
                let evicted = store.insert(new, bounds, UNIX_EPOCH);
                let gone: Vec<_> = model.drain(..model.len().saturating_sub(max as usize)).collect();
                prop_assert!(evicted.len() == gone.len());
                prop_assert!(evicted.iter().zip(&gone).all(|(one, other)| Arc::ptr_eq(one, other)));
            }
            let newest: Vec<_> = model.iter().rev().filter(|one| one.started_micros <= time).take(scan).collect();
            let found = store.newest(time, scan);
            prop_assert!(found.len() == newest.len());
            prop_assert!(found.iter().zip(newest).all(|(one, other)| Arc::ptr_eq(one, other)));
            let id = TraceId::from_u128(u128::from(wanted) + 1).unwrap();
            let of_trace: Vec<_> = model.iter().filter(|one| one.trace_id == id).collect();
            let found = store.of_trace(id, usize::MAX);
            prop_assert!(found.len() == of_trace.len());
            prop_assert!(found.iter().zip(of_trace).all(|(one, other)| Arc::ptr_eq(one, other)));
            prop_assert_eq!(store.bytes, model.iter().map(|one| cost(one)).sum::<u64>());
        }

        #[test]
        fn the_bound_of_bytes_holds(sizes in proptest::collection::vec(0usize..5000, 1..40), max in 1u64..20_000) {
            let mut store = Store::default();
            for (started, size) in sizes.into_iter().enumerate() {
                let mut new = SpanRecord::new(TraceId::new(), SpanId::new(), SpanKind::Client);
                new.started_micros = started as u64;
                new.error_text = "x".repeat(size).into();
                drop(store.insert(Arc::new(new), Bounds { bytes: max, ..WIDE }, UNIX_EPOCH));
                prop_assert!(store.bytes <= max);
            }
        }
    }
}
