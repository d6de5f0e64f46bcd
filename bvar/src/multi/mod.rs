//! Variables with labels: one value for each combination of label values, as `requests{method="echo"}`.
//!
//! Owns the bound on combinations. Source: `spec/bvar.md` §11. Unlike there, a combination beyond the limit
//! is not refused: the one that was not asked for longest makes room.

mod flags;
mod labels;
mod registry;
mod stat;
mod table;
#[cfg(test)]
mod tests;

pub use labels::{LabelsError, MAX_LABEL_VALUE_LEN, MAX_LABELS};
pub use registry::{ExposedMultiDimension, count, describe, evicted, expose, names};
pub use stat::{Family, FamilyKind, Sample, Stat};

pub(crate) use flags::FLAGS;
pub(crate) use registry::{
    SampleSink, visit_all, write_label_value, write_lines, write_number, write_series,
};
pub(crate) use stat::shown_quantiles;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use table::Table;

/// A variable `V` for each combination of label values.
///
/// A combination is made when it is first asked for. There are at most
/// [`limit`](MultiDimension::limit) of them: beyond, one that was not asked for lately and whose handle
/// nobody holds is dropped, with its value; [`evicted`](MultiDimension::evicted) counts. Only when a handle
/// of every combination is held, one of these goes: its holders write on, but nobody sees it.
///
/// Asking costs a hash of the values, a lock shared with other readers and a reference count; who writes to
/// one combination all the time keeps its handle.
///
/// ```
/// use bvar::{Adder, MultiDimension};
///
/// let requests = MultiDimension::<Adder<i64>>::new(&["idc", "method"])?;
/// requests.get(&["bj", "get"]).unwrap().add(1);
/// requests.get(&[String::from("bj"), String::from("get")]).unwrap().add(1);
/// assert_eq!(requests.get(&["bj", "get"]).unwrap().get(), 2);
/// assert!(requests.get(&["bj"]).is_none());
/// # Ok::<(), bvar::LabelsError>(())
/// ```
pub struct MultiDimension<V> {
    labels: Box<[String]>,
    make: Box<dyn Fn() -> V + Send + Sync>,
    /// 0: as the flag says.
    limit: AtomicUsize,
    table: Table<V>,
}

impl<V: Default + 'static> MultiDimension<V> {
    /// A variable with these labels and no combination.
    ///
    /// # Errors
    /// If there is no label or more than [`MAX_LABELS`], or one is not a name: letters, digits and `_`, not
    /// beginning with a digit or `__`, not `quantile` or `le`, none twice.
    ///
    /// *Blocking:* no.
    pub fn new(labels: &[&str]) -> Result<Self, LabelsError> {
        Self::with(labels, V::default)
    }
}

impl<V> MultiDimension<V> {
    /// A variable with these labels, whose values `make` makes, outside every lock.
    ///
    /// # Errors
    /// As [`new`](MultiDimension::new).
    ///
    /// *Blocking:* no.
    pub fn with(labels: &[&str], make: impl Fn() -> V + Send + Sync + 'static) -> Result<Self, LabelsError> {
        let labels = labels::checked(labels)?;
        Ok(MultiDimension { labels, make: Box::new(make), limit: AtomicUsize::new(0), table: Table::new() })
    }

    /// The value of a combination, made if there is none; `None` if the number of values is not that of the
    /// labels or one is longer than [`MAX_LABEL_VALUE_LEN`].
    ///
    /// Nothing is allocated if the combination exists.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock; when the combination is made at the
    /// limit, of one that is held while others are looked over for the one to evict.
    pub fn get<S: AsRef<str>>(&self, values: &[S]) -> Option<Arc<V>> {
        if let Some(found) = self.table.find(values) {
            return Some(found);
        }
        let fit = values.len() == self.labels.len()
            && values.iter().all(|value| value.as_ref().len() <= MAX_LABEL_VALUE_LEN);
        fit.then(|| self.table.find_or_insert(values, self.limit(), &self.make))
    }

    /// The value of a combination, if there is one. Asking so keeps it from eviction as well.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn find<S: AsRef<str>>(&self, values: &[S]) -> Option<Arc<V>> {
        self.table.find(values)
    }

    /// Whether the combination exists.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn has<S: AsRef<str>>(&self, values: &[S]) -> bool {
        self.table.find(values).is_some()
    }

    /// Drops a combination; false if there was none. Handles of it stay good, but are seen by nobody.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn delete<S: AsRef<str>>(&self, values: &[S]) -> bool {
        self.table.remove(values)
    }

    /// Drops all combinations.
    ///
    /// *Blocking:* the thread, for the time of short internal locks.
    pub fn clear(&self) {
        self.table.clear();
    }

    /// How many combinations there are.
    ///
    /// *Blocking:* no.
    pub fn count(&self) -> usize {
        self.table.count()
    }

    /// How many combinations were dropped to make room for others.
    ///
    /// *Blocking:* no.
    pub fn evicted(&self) -> u64 {
        self.table.evicted()
    }

    /// The names of the labels.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The values of all combinations, sorted.
    ///
    /// *Blocking:* the thread, for the time of locks in which they are gathered.
    pub fn list(&self) -> Vec<Vec<String>> {
        let entries = self.table.entries();
        entries.iter().map(|(values, _)| values.0.iter().map(|value| value.to_string()).collect()).collect()
    }

    /// The most combinations: what [`set_limit`](MultiDimension::set_limit) set, else the flag
    /// `max_multi_dimension_stats_count`.
    pub fn limit(&self) -> usize {
        // Relaxed: only a number.
        match self.limit.load(Relaxed) {
            0 => flags::MAX_STATS_COUNT.get().max(1) as usize,
            limit => limit,
        }
    }

    /// Sets the most combinations of this variable; 0: as the flag says. A lower limit counts from the next
    /// combination that is made.
    pub fn set_limit(&self, limit: usize) {
        // Relaxed: only a number.
        self.limit.store(limit, Relaxed);
    }
}

impl<V> fmt::Debug for MultiDimension<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiDimension").field("labels", &self.labels).field("count", &self.count()).finish()
    }
}
