//! Values that are not folded: one that is set, and one that is asked for.
//!
//! Must never run code of the owner (a clone, a drop, the function of a [`PassiveStatus`]) under a lock.

use crate::reducer::Number;
use crate::sampling::{Sampled, Sampling};
use crate::variable::{Kind, Trend, Value, Variable};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The last value that was set.
///
/// For state that changes now and then: a version, a limit, the name of a phase. A write takes a lock;
/// what is written often belongs in an [`Adder`](crate::Adder).
///
/// ```
/// let phase = bvar::Status::new("starting");
/// phase.set("serving");
/// assert_eq!(phase.get(), "serving");
/// ```
pub struct Status<T> {
    current: Mutex<Arc<T>>,
    element_names: Vec<String>,
}

impl<T> Status<T> {
    /// A status with a first value.
    pub fn new(value: T) -> Self {
        Status { current: Mutex::new(Arc::new(value)), element_names: Vec::new() }
    }

    /// Names the elements of a vector (an array or a `Vec` of numbers), for the legends of charts.
    pub fn with_element_names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.element_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces the value.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn set(&self, value: T) {
        let new = Arc::new(value);
        let old = std::mem::replace(&mut *self.lock(), new);
        drop(old);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<T>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Status<T> {
    /// The last value that was set.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn get(&self) -> T {
        let current = self.lock().clone();
        T::clone(&current)
    }
}

impl<T: Clone + Into<Value> + Send + Sync> Variable for Status<T> {
    fn value(&self) -> Value {
        self.get().into()
    }

    /// Kept for numbers and vectors of them.
    fn trend(&self) -> Trend {
        Trend::Average
    }

    fn element_names(&self) -> Vec<String> {
        self.element_names.clone()
    }
}

impl<T: fmt::Debug> fmt::Debug for Status<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.lock().clone();
        f.debug_tuple("Status").field(&current).finish()
    }
}

/// What a function returns, asked each time somebody looks.
///
/// The function runs in the reader's thread (or bthread) and outside every lock of this crate. It may block
/// as far as its readers put up with it, may use this crate, and when it panics, the reader panics.
///
/// ```
/// use bvar::{PassiveStatus, Variable};
///
/// let started = std::time::Instant::now();
/// let uptime = PassiveStatus::new(move || started.elapsed().as_secs());
/// let uptime = uptime.expose("process_uptime_example")?;
/// assert!(bvar::describe("process_uptime_example").is_some());
/// # Ok::<(), bvar::ExposeError>(())
/// ```
///
/// Exposed, it is asked once a second for its history if it is a number or a vector; and a [`Window`](crate::Window)
/// over numbers, which shows by how much they grew, asks once a second too. Both do so in the thread
/// `bvar_sampler`, which a function that blocks would hold up.
pub struct PassiveStatus<T> {
    ask: Box<dyn Fn() -> T + Send + Sync>,
    kind: Kind,
    element_names: Vec<String>,
    sampling: Sampling<T, Option<T>>,
}

impl<T> PassiveStatus<T> {
    /// A variable whose value is what `ask` returns.
    pub fn new(ask: impl Fn() -> T + Send + Sync + 'static) -> Self {
        PassiveStatus {
            ask: Box::new(ask),
            kind: Kind::Gauge,
            element_names: Vec::new(),
            sampling: Sampling::new(),
        }
    }

    /// The same for a number that only grows.
    pub fn counter(ask: impl Fn() -> T + Send + Sync + 'static) -> Self {
        PassiveStatus { kind: Kind::Counter, ..Self::new(ask) }
    }

    /// Names the elements of a vector (an array or a `Vec` of numbers), for the legends of charts.
    pub fn with_element_names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.element_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Asks the function.
    ///
    /// *Blocking:* as the function does.
    pub fn get(&self) -> T {
        (self.ask)()
    }
}

impl<T: Into<Value> + Send> Variable for PassiveStatus<T> {
    fn value(&self) -> Value {
        self.get().into()
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    /// Kept for numbers and vectors of them.
    fn trend(&self) -> Trend {
        Trend::Average
    }

    fn element_names(&self) -> Vec<String> {
        self.element_names.clone()
    }
}

impl<T: Number> Sampled for PassiveStatus<T> {
    type Delta = T;
    /// The value at the last sample.
    type Mark = Option<T>;
    type Output = T;
    const TREND: Trend = Trend::Average;

    fn sampling(&self) -> &Sampling<T, Option<T>> {
        &self.sampling
    }

    fn take(&self, mark: &mut Option<T>) -> Option<T> {
        let now = self.get();
        Some(now.minus(mark.replace(now).unwrap_or(T::ZERO)))
    }

    fn fold<'a>(seconds: impl Iterator<Item = &'a T>) -> T {
        seconds.fold(T::ZERO, |total, second| total.plus(*second))
    }
}

impl<T> fmt::Debug for PassiveStatus<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassiveStatus").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn described(variable: &dyn Variable) -> String {
        let mut text = String::new();
        variable.describe(&mut text, false).unwrap();
        text
    }

    #[test]
    fn a_status_shows_the_last_value_set() {
        let number = Status::new(-4i64);
        let text = Status::new("one line".to_owned());
        assert_eq!([described(&number), described(&text)], ["-4", "one line"]);
        number.set(8);
        text.set(String::new());
        assert_eq!([described(&number), described(&text)], ["8", ""]);
    }

    #[test]
    fn old_values_are_dropped_outside_the_lock() {
        #[derive(Clone)]
        struct Watcher(Arc<Mutex<Option<Arc<Status<Watcher>>>>>);
        impl Drop for Watcher {
            fn drop(&mut self) {
                // Would wait for ever if the lock of the status were held.
                if let Some(status) = self.0.lock().unwrap().take() {
                    drop(status.lock().clone());
                }
            }
        }
        let last = Arc::new(Mutex::new(None));
        let status = Arc::new(Status::new(Watcher(last.clone())));
        *last.lock().unwrap() = Some(status.clone());
        status.set(Watcher(Arc::default()));
        assert!(last.lock().unwrap().is_none());
    }

    #[test]
    fn a_passive_status_asks_each_time() {
        let calls = Arc::new(AtomicU64::new(0));
        let counter = calls.clone();
        // Relaxed: one thread.
        let passive = PassiveStatus::new(move || counter.fetch_add(1, Ordering::Relaxed));
        assert_eq!([described(&passive), described(&passive), described(&passive)], ["0", "1", "2"]);
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }
}
