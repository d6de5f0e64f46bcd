//! One pool of stacks for each class, made when its first stack is asked for.
//!
//! Owns the pools and what they are configured with; a stack finds its way back by its class.

use super::{Stack, StackClass, StackConfig, StackPool};
use crate::atomic::lock;
use std::io;
use std::sync::{Mutex, OnceLock};

const CLASSES: usize = StackClass::ALL.len();

/// The stacks of one class of a runtime, at one moment. The numbers are read one after another, so they may not add
/// up while bthreads run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackStats {
    /// Usable bytes of each stack.
    pub size: usize,
    /// Most stacks there can be: as configured, or what address space allowed.
    pub max: usize,
    /// Stacks that bthreads or workers stand on, or that workers keep at hand.
    pub in_use: usize,
    /// Stacks made so far; those not in use wait for their next use.
    pub created: usize,
    /// Stacks not in use that keep their memory for the next use.
    pub warm: usize,
    /// The most bytes that a stack had used when it was no longer needed. Only one in 64 of those that go back to the
    /// pool is looked at, so this is 0 for a while, and may miss the deepest.
    pub deepest: usize,
}

/// The stacks of a runtime.
pub(crate) struct StackPools {
    configs: [StackConfig; CLASSES],
    pools: [OnceLock<StackPool>; CLASSES],
    /// Held while a pool is made.
    making: Mutex<()>,
}

impl StackPools {
    /// Takes note; each pool is made when it is first used.
    ///
    /// # Errors
    ///
    /// `InvalidInput` as [`StackConfig::check`].
    pub(crate) fn new(configs: [StackConfig; CLASSES]) -> io::Result<StackPools> {
        for (config, class) in configs.iter().zip(StackClass::ALL) {
            debug_assert_eq!(config.class, class);
            config.check()?;
        }
        Ok(StackPools { configs, pools: [const { OnceLock::new() }; CLASSES], making: Mutex::new(()) })
    }

    /// The pool of a class; makes it if need be.
    ///
    /// # Errors
    ///
    /// As [`StackPool::new`]; a later call tries again.
    pub(crate) fn pool(&self, class: StackClass) -> io::Result<&StackPool> {
        let place = &self.pools[class as usize];
        if let Some(pool) = place.get() {
            return Ok(pool);
        }
        let _making = lock(&self.making);
        if let Some(pool) = place.get() {
            return Ok(pool);
        }
        let pool = StackPool::new(&self.configs[class as usize])?;
        Ok(place.get_or_init(|| pool))
    }

    /// Takes a stack of a class. *Blocking*, errors: as [`StackPool::get`] and [`StackPools::pool`].
    pub(crate) fn get(&self, class: StackClass) -> io::Result<Stack> {
        self.pool(class)?.get()
    }

    /// Takes stacks back that came from here, all of one class, as [`StackPool::put_all`].
    ///
    /// # Panics
    ///
    /// If a stack comes from elsewhere, or is of another class than the first.
    pub(crate) fn put_all(&self, stacks: impl IntoIterator<Item = Stack>) {
        let mut stacks = stacks.into_iter().peekable();
        let Some(first) = stacks.peek() else { return };
        let pool = self.pools[first.class() as usize].get().expect("a stack comes from a pool that was made");
        pool.put_all(stacks);
    }

    /// Gives back what free stacks of each class did not need, as [`StackPool::trim`]. Returns whether a later call
    /// may give more.
    pub(crate) fn trim(&self) -> bool {
        let mut is_trimmed = true;
        for pool in self.pools.iter().filter_map(OnceLock::get) {
            pool.trim();
            is_trimmed &= pool.is_trimmed();
        }
        !is_trimmed
    }

    /// What there is of a class. A pool that was not made yet has no stacks, and what it is configured for.
    pub(crate) fn stats(&self, class: StackClass) -> StackStats {
        let config = &self.configs[class as usize];
        let Some(pool) = self.pools[class as usize].get() else {
            let (size, max) = (config.stack_size, config.stacks_max as usize);
            return StackStats { size, max, ..StackStats::default() };
        };
        let counts = pool.counts();
        StackStats {
            size: pool.stack_size(),
            max: counts.capacity as usize,
            in_use: counts.in_use as usize,
            created: counts.created as usize,
            warm: counts.warm as usize,
            deepest: pool.deepest(),
        }
    }
}
