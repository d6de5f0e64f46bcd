//! The stacks of one size: handing them out, taking them back, and what becomes of their memory meanwhile.

#![allow(unsafe_code)]

use super::free_list::{FreeList, Links};
use super::reservation::{Reservation, page_size};
use super::{STACK_PAGES_MIN, STACKS_PER_GROWTH, Stack, StackClass, StackConfig, depth};
use crate::atomic::lock;
use crate::stack_overflow::{self, GuardedRange, Watch};
use std::io;
use std::mem;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// Since Linux 6.13; not in every version of the libc crate.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Stacks put back between two that are looked at, to learn how much memory one keeps.
pub(super) const SAMPLE_EVERY: u32 = 64;
/// The part that a sample has in the estimate, as a divisor.
const SAMPLE_WEIGHT: usize = 8;
/// Stacks that lose their memory together when a worker puts some back beyond the bound.
const PUT_BATCH: usize = 32;

/// What a pool holds at one moment. The numbers are read one after another, so they may not add up while
/// other threads get and put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackCounts {
    /// Stacks there can be: as configured, or fewer if the kernel refused so much address space.
    pub(crate) capacity: u32,
    /// Stacks carved so far. Never falls.
    pub(crate) created: u32,
    /// Stacks handed out and not put back, those in the caches of workers included.
    pub(crate) in_use: u32,
    /// Free stacks that keep their memory.
    pub(crate) warm: u32,
}

/// How the slots are opened and guarded from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guards {
    /// Slots are opened in runs; a marker in the page table guards each.
    Markers,
    /// Slots are opened one by one; a guard is what stays closed between them.
    Gaps,
}

/// The growing end of the pool.
pub(super) struct Growth {
    pub(super) guards: Guards,
    /// Slots carved.
    created: u32,
    /// Slots opened as a run, guards included. With markers, at least `created`.
    opened: u32,
}

/// The stacks of one size. See the module above for layout and states.
pub(crate) struct StackPool {
    pub(super) reservation: mem::ManuallyDrop<Reservation>,
    watch: mem::ManuallyDrop<Watch>,
    class: StackClass,
    pub(super) page_size: usize,
    pub(super) guard_size: usize,
    pub(super) slot_size: usize,
    pub(super) capacity: u32,
    warm_bytes_max: usize,
    warm: FreeList,
    pub(super) cold: FreeList,
    pub(super) bare: FreeList,
    pub(super) links: Links,
    /// At least the length of `warm`: raised before a push, lowered after a pop.
    pub(super) warm_count: AtomicU32,
    /// The least that `warm_count` was since the last trim.
    pub(super) warm_low: AtomicU32,
    /// As the two above, of `cold`.
    pub(super) cold_count: AtomicU32,
    pub(super) cold_low: AtomicU32,
    /// How many warm stacks there may be, by what is known of their memory.
    pub(super) warm_limit: AtomicU32,
    /// Bytes that a stack keeps when it is put back, averaged over the samples.
    kept_bytes: AtomicUsize,
    /// Bytes of a stack that were used at most, of those looked at.
    deepest: AtomicUsize,
    puts: AtomicU32,
    in_use: AtomicU32,
    /// A copy of `growth.created`, to be read without the lock.
    created: AtomicU32,
    pub(super) growth: Mutex<Growth>,
    /// Held while `trim` has stacks in hand, which are free and in no list.
    pub(super) trimming: Mutex<()>,
    #[cfg(feature = "valgrind")]
    registered: Mutex<super::valgrind::Registered>,
}

impl StackPool {
    /// Reserves address space. No stack is made yet.
    ///
    /// If the kernel refuses so much (a limit on address space), the pool takes half of what it can get and
    /// leaves the rest to the program; [`StackCounts::capacity`] tells how many stacks that is.
    ///
    /// Blocks the thread for one or a few system calls.
    ///
    /// # Errors
    ///
    /// `InvalidInput` as [`StackConfig::check`]; `OutOfMemory` if there is not even room for one stack, or if there
    /// are [`stack_overflow::POOLS_MAX`] pools already.
    pub(crate) fn new(config: &StackConfig) -> io::Result<StackPool> {
        Self::guarded_by(config, Guards::Markers)
    }

    pub(super) fn guarded_by(config: &StackConfig, guards: Guards) -> io::Result<StackPool> {
        config.check()?;
        let page = page_size()?;
        let stack_size = config.stack_size.next_multiple_of(page).max(STACK_PAGES_MIN * page);
        let mut guard_size = config.guard_size.next_multiple_of(page).max(page);
        if ((stack_size + guard_size) / page).is_multiple_of(2) {
            guard_size += page;
        }
        let slot_size = stack_size + guard_size;
        let (reservation, capacity) = Reservation::up_to(slot_size, config.stacks_max)?;
        let watch = stack_overflow::watch(GuardedRange {
            start: reservation.start.as_ptr().addr(),
            end: reservation.start.as_ptr().addr() + capacity as usize * slot_size,
            slot_size,
            guard_size,
        })?;
        Ok(StackPool {
            reservation: mem::ManuallyDrop::new(reservation),
            watch: mem::ManuallyDrop::new(watch),
            class: config.class,
            page_size: page,
            guard_size,
            slot_size,
            capacity,
            warm_bytes_max: config.warm_bytes_max,
            warm: FreeList::new(),
            cold: FreeList::new(),
            bare: FreeList::new(),
            links: Links::new(capacity),
            warm_count: AtomicU32::new(0),
            warm_low: AtomicU32::new(0),
            cold_count: AtomicU32::new(0),
            cold_low: AtomicU32::new(0),
            warm_limit: AtomicU32::new(warm_limit(config.warm_bytes_max, page)),
            kept_bytes: AtomicUsize::new(page),
            deepest: AtomicUsize::new(0),
            puts: AtomicU32::new(0),
            in_use: AtomicU32::new(0),
            created: AtomicU32::new(0),
            growth: Mutex::new(Growth { guards, created: 0, opened: 0 }),
            trimming: Mutex::new(()),
            #[cfg(feature = "valgrind")]
            registered: Mutex::default(),
        })
    }

    /// Usable bytes of each stack, after rounding.
    pub(crate) fn stack_size(&self) -> usize {
        self.slot_size - self.guard_size
    }

    /// What the pool holds now.
    pub(crate) fn counts(&self) -> StackCounts {
        StackCounts {
            capacity: self.capacity,
            // All three relaxed: statistics, they order nothing.
            created: self.created.load(Relaxed),
            in_use: self.in_use.load(Relaxed),
            warm: self.warm_count.load(Relaxed),
        }
    }

    /// The most bytes of a stack that were found used when it was put back; of every [`SAMPLE_EVERY`]th only.
    pub(super) fn deepest(&self) -> usize {
        self.deepest.load(Relaxed) // a statistic
    }

    /// Takes a stack: the free one put back last that still has memory, else any free one, else a new one.
    /// Its content is unspecified.
    ///
    /// Lock-free when there is a warm or cold stack; otherwise blocks the thread for one or two system calls, and
    /// for those of other threads that make a stack at the same moment. When all others are in use, waits for
    /// those that a [`trim`](Self::trim) has in hand.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if all stacks are in use, or if the kernel refuses memory or another mapping. The pool
    /// is as before then, and a later call may succeed.
    pub(crate) fn get(&self) -> io::Result<Stack> {
        let index = match self.pop_ready() {
            Some(index) => index,
            None => self.make()?,
        };
        // Relaxed: a count, it orders nothing. The lists hand over the memory.
        self.in_use.fetch_add(1, Relaxed);
        Ok(Stack { top: self.slot(index + 1), limit: self.limit(index), index, class: self.class })
    }

    /// Takes stacks back. Below the bound on memory each keeps its own, else the kernel gets it.
    ///
    /// Lock-free in the first case, but for one system call now and then; in the second, blocks the thread for a
    /// system call for each run of neighbours.
    ///
    /// Nothing may run on the stacks any more, nor point into them: the caller has left them for good.
    ///
    /// # Panics
    ///
    /// If a stack belongs to another pool.
    pub(crate) fn put_all(&self, stacks: impl IntoIterator<Item = Stack>) {
        let (mut surplus, mut count) = ([0; PUT_BATCH], 0);
        for stack in stacks {
            let index = stack.index;
            assert!(
                index < self.capacity && stack.limit == self.limit(index),
                "a stack was put into a pool it does not come from"
            );
            // Relaxed, here and below: counts, they order nothing.
            if self.puts.fetch_add(1, Relaxed) % SAMPLE_EVERY == SAMPLE_EVERY - 1 {
                self.sample(index);
            }
            self.in_use.fetch_sub(1, Relaxed);
            if self.warm_count.fetch_add(1, Relaxed) < self.warm_limit.load(Relaxed) {
                self.warm.push(&self.links, index);
                continue;
            }
            self.warm_count.fetch_sub(1, Relaxed);
            surplus[count] = index;
            count += 1;
            if count == PUT_BATCH {
                self.cool(&mut surplus);
                count = 0;
            }
        }
        self.cool(&mut surplus[..count]);
    }

    pub(super) fn pop_warm(&self) -> Option<u32> {
        let index = self.warm.pop(&self.links)?;
        lower(&self.warm_count, &self.warm_low);
        Some(index)
    }

    pub(super) fn pop_cold(&self) -> Option<u32> {
        let index = self.cold.pop(&self.links)?;
        lower(&self.cold_count, &self.cold_low);
        Some(index)
    }

    fn pop_ready(&self) -> Option<u32> {
        self.pop_warm().or_else(|| self.pop_cold())
    }

    /// Learns from a stack that is about to be free.
    fn sample(&self, index: u32) {
        let used = depth::of(self.slot(index + 1), self.stack_size() / self.page_size, self.page_size);
        // Relaxed: estimates, of which two threads may lose one.
        self.deepest.fetch_max(used.depth * self.page_size, Relaxed);
        let (kept, sample) = (self.kept_bytes.load(Relaxed), used.resident * self.page_size);
        let kept = (kept - kept / SAMPLE_WEIGHT + sample / SAMPLE_WEIGHT).max(self.page_size);
        self.kept_bytes.store(kept, Relaxed);
        self.warm_limit.store(warm_limit(self.warm_bytes_max, kept), Relaxed);
    }

    /// The lowest byte of slot `index`, which may be one past the last slot.
    pub(super) fn slot(&self, index: u32) -> NonNull<u8> {
        // SAFETY: `index <= capacity`, so this stays within the reservation or one past it.
        unsafe { self.reservation.start.add(index as usize * self.slot_size) }
    }

    pub(super) fn limit(&self, index: u32) -> NonNull<u8> {
        // SAFETY: `index < capacity`, so the guard lies within the reservation.
        unsafe { self.slot(index).add(self.guard_size) }
    }

    /// Finds a slot when none is warm or cold.
    #[cold]
    fn make(&self) -> io::Result<u32> {
        if let Some(index) = self.take_bare()? {
            return Ok(index);
        }
        if let Some(index) = self.carve()? {
            return Ok(index);
        }
        let _nothing_in_hand = lock(&self.trimming);
        match self.pop_ready() {
            Some(index) => Ok(index),
            None => self.take_bare()?.ok_or_else(|| {
                io::Error::new(io::ErrorKind::OutOfMemory, "every stack of the pool is in use")
            }),
        }
    }

    fn take_bare(&self) -> io::Result<Option<u32>> {
        let Some(index) = self.bare.pop(&self.links) else { return Ok(None) };
        match self.close_guard(&mut lock(&self.growth), index) {
            Ok(()) => Ok(Some(index)),
            Err(error) => {
                self.bare.push(&self.links, index);
                Err(error)
            }
        }
    }

    /// Makes a new stack; none if there are as many as there can be.
    fn carve(&self) -> io::Result<Option<u32>> {
        let mut growth = lock(&self.growth);
        let index = growth.created;
        if index == self.capacity {
            return Ok(None);
        }
        if growth.guards == Guards::Markers && index == growth.opened {
            growth.opened += self.open_run(index)?;
        }
        self.close_guard(&mut growth, index)?;
        if index >= growth.opened {
            self.protect(self.limit(index), self.stack_size(), libc::PROT_READ | libc::PROT_WRITE)?;
        }
        growth.created += 1;
        self.created.store(growth.created, Relaxed);
        #[cfg(feature = "valgrind")]
        lock(&self.registered).add(self.limit(index), self.slot(index + 1));
        Ok(Some(index))
    }

    /// Guards a slot that is in our hand. One that was not opened in a run has its gap already.
    fn close_guard(&self, growth: &mut Growth, index: u32) -> io::Result<()> {
        if growth.guards == Guards::Markers {
            match self.mark_guard(index) {
                // An emulated kernel may say yes to advice that it does not know.
                Ok(()) if index > 0 || self.is_closed(index) => return Ok(()),
                Ok(()) => growth.guards = Guards::Gaps,
                // An older kernel, or locked memory.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => growth.guards = Guards::Gaps,
                Err(error) => return Err(error),
            }
        }
        if index < growth.opened {
            self.protect(self.slot(index), self.guard_size, libc::PROT_NONE)?;
        }
        Ok(())
    }

    /// Opens a run of slots from `first` on, as many as the kernel grants up to the usual number.
    fn open_run(&self, first: u32) -> io::Result<u32> {
        let mut slots = STACKS_PER_GROWTH.min(self.capacity - first);
        loop {
            let bytes = slots as usize * self.slot_size;
            match self.protect(self.slot(first), bytes, libc::PROT_READ | libc::PROT_WRITE) {
                Ok(()) => return Ok(slots),
                // Strict accounting of memory refuses what it could not back.
                Err(_) if slots > 1 => slots /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn protect(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        protection: libc::c_int,
    ) -> io::Result<()> {
        // SAFETY: the callers name whole pages of slots that are in nobody else's hand.
        if unsafe { libc::mprotect(start.as_ptr().cast(), bytes, protection) } != 0 {
            return Err(io::Error::last_os_error());
        }
        if protection != libc::PROT_NONE {
            // SAFETY: as above. A refusal costs a core file its stacks, and nothing else.
            unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DODUMP) };
        }
        Ok(())
    }

    fn mark_guard(&self, index: u32) -> io::Result<()> {
        // SAFETY: the guard of a slot that is in nobody else's hand.
        match unsafe { libc::madvise(self.slot(index).as_ptr().cast(), self.guard_size, MADV_GUARD_INSTALL) }
        {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Whether the kernel itself could not read the guard of slot `index`.
    pub(super) fn is_closed(&self, index: u32) -> bool {
        let guard = self.slot(index).as_ptr().cast();
        // SAFETY: the guard of a slot that is in nobody else's hand; at worst it gets memory.
        let answer = unsafe { libc::madvise(guard, self.guard_size, libc::MADV_POPULATE_READ) };
        answer != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
    }
}

impl Drop for StackPool {
    /// Unmaps the stacks if all have been put back. Otherwise somebody may stand on one, so they stay.
    fn drop(&mut self) {
        if *self.in_use.get_mut() == 0 {
            // SAFETY: dropped once, here, and not used afterwards. The watch first: it names the range.
            unsafe {
                mem::ManuallyDrop::drop(&mut self.watch);
                mem::ManuallyDrop::drop(&mut self.reservation);
            }
        }
    }
}

/// How many stacks may be warm if each keeps `kept` bytes.
fn warm_limit(bytes_max: usize, kept: usize) -> u32 {
    u32::try_from(bytes_max / kept).unwrap_or(u32::MAX)
}

/// Counts a slot less in a list.
fn lower(count: &AtomicU32, low: &AtomicU32) {
    // Relaxed: the counts decide about speed only. Never below 0, as a slot is counted before it is in the list.
    let left = count.fetch_sub(1, Relaxed) - 1;
    if left < low.load(Relaxed) {
        low.fetch_min(left, Relaxed);
    }
}
