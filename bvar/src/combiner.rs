//! Values of any type, combined by a function of the user.
//!
//! Owns one value for each of a few shards, which threads are spread over. Must never run the user's function
//! under a lock: it is run on a copy, again if another thread was faster.

use crate::variable::{Value, Variable};
use std::fmt;
// Relaxed: numbers for threads, which order nothing.
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values that a combiner keeps apart; more threads than that share them.
const SHARDS: usize = 16;

/// What was written, combined by a function: a reducer for anything that is not a number that is added or compared,
/// such as text, sets or matrices.
///
/// The function must be associative, commutative as far as the order of values matters to nobody, and free of side
/// effects: it may run more than once for a value, in the writer's or the reader's thread. A write allocates; what
/// is written very often belongs in an [`Adder`](crate::Adder).
///
/// ```
/// use bvar::{Combiner, Variable};
/// use std::collections::BTreeSet;
///
/// let seen = Combiner::new(BTreeSet::new(), |a, b| a | b);
/// seen.write(BTreeSet::from(["a"]));
/// seen.write(BTreeSet::from(["b", "a"]));
/// assert_eq!(seen.get(), BTreeSet::from(["a", "b"]));
/// ```
pub struct Combiner<T> {
    combine: Box<Combine<T>>,
    shards: [Shard<T>; SHARDS],
}

type Combine<T> = dyn Fn(&T, &T) -> T + Send + Sync;

/// Aligned so that no two of them are in one pair of cache lines.
#[repr(align(128))]
struct Shard<T>(Mutex<Arc<T>>);

impl<T> Shard<T> {
    fn lock(&self) -> MutexGuard<'_, Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn own_shard() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: usize = THREADS.fetch_add(1, Relaxed) % SHARDS);
    // A thread whose thread-locals are gone shares the first.
    OWN.try_with(|own| *own).unwrap_or(0)
}

impl<T> Combiner<T> {
    /// A combiner that nothing was written to. `identity` changes no value that it is combined with.
    pub fn new(identity: T, combine: impl Fn(&T, &T) -> T + Send + Sync + 'static) -> Self {
        let identity = Arc::new(identity);
        let shards = std::array::from_fn(|_| Shard(Mutex::new(identity.clone())));
        Combiner { combine: Box::new(combine), shards }
    }

    /// Combines `value` with what was written.
    ///
    /// *Blocking:* the thread, for the time of short internal locks, and as the function does.
    pub fn write(&self, value: T) {
        let shard = &self.shards[own_shard()];
        let mut old = shard.lock().clone();
        loop {
            let new = Arc::new((self.combine)(&old, &value));
            let mut now = shard.lock();
            if Arc::ptr_eq(&now, &old) {
                let replaced = std::mem::replace(&mut *now, new);
                drop(now);
                // The drop of a value is the user's code too.
                drop((replaced, old));
                return;
            }
            let newer = now.clone();
            drop(now);
            old = newer;
        }
    }

    /// Everything written, by any thread, combined.
    ///
    /// *Blocking:* as [`write`](Combiner::write).
    pub fn get(&self) -> T {
        let mut values = self.shards.iter().map(|shard| shard.lock().clone());
        let (first, second) = (values.next().expect("there are some"), values.next().expect("there are two"));
        values.fold((self.combine)(&first, &second), |all, value| (self.combine)(&all, &value))
    }
}

impl<T: Into<Value> + Send + Sync> Variable for Combiner<T> {
    fn value(&self) -> Value {
        self.get().into()
    }
}

impl<T: fmt::Debug> fmt::Debug for Combiner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Combiner").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn every_fragment_of_text_that_threads_append_is_kept() {
        const EACH: usize = 100;
        let text = Combiner::new(String::new(), |a, b| format!("{a}{b}"));
        thread::scope(|scope| {
            for thread in 0..2 * SHARDS {
                let text = &text;
                scope.spawn(move || (0..EACH).for_each(|i| text.write(format!("<{thread}:{i}>"))));
            }
        });
        let all = text.get();
        let mut seen: Vec<_> = all.split_inclusive('>').collect();
        assert_eq!(seen.len(), 2 * SHARDS * EACH);
        // Those of one thread are in its order.
        let own: Vec<_> = seen.iter().filter(|it| it.starts_with("<3:")).map(|it| it.to_string()).collect();
        assert_eq!(own, (0..EACH).map(|i| format!("<3:{i}>")).collect::<Vec<_>>());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2 * SHARDS * EACH, "one is there twice");
    }

    #[test]
    fn the_function_may_use_the_combiner() {
        let nested: Arc<std::sync::OnceLock<Combiner<u64>>> = Arc::default();
        let own = nested.clone();
        let largest = Combiner::new(0, move |a: &u64, b: &u64| {
            // Would wait for ever if a lock were held.
            let shards = own
                .get()
                .map_or(0, |own| own.shards.iter().filter(|shard| shard.0.try_lock().is_ok()).count());
            assert!(own.get().is_none() || shards == SHARDS);
            *a.max(b)
        });
        let largest = nested.get_or_init(|| largest);
        largest.write(5);
        largest.write(3);
        assert_eq!((largest.get(), largest.value()), (5, Value::Uint(5)));
    }
}
