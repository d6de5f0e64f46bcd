//! Stacks for bthreads, carved from one reservation of address space.
//!
//! Owns the memory: where each stack lies, its guard, when it is made accessible and when its pages go back
//! to the kernel. It must never switch to a stack, run anything on one, or know what a task is.
//!
//! # Layout
//!
//! ```text
//!  base                                                                    base + capacity * slot
//!   | guard |        stack 0        | guard |        stack 1        | ...     |
//!           limit                 top       limit                 top
//! ```
//!
//! A stack grows from `top` down to `limit`; a step below `limit` hits the guard and faults (see
//! [`crate::stack_overflow`]). A slot, guard included, has an odd number of pages: tops one MiB apart would
//! share a few sets of the processor's address-translation caches. Walking 1024 stacks in turn, eight lines
//! of each, took 70 ns a stack at one MiB and takes 22 ns at one MiB and a page (AMD Zen 4).
//!
//! # Mappings
//!
//! The reservation is inaccessible at first. It is opened in order, [`STACKS_PER_GROWTH`] slots at a time,
//! which the kernel merges into one mapping, and each guard is a marker in the page table
//! (`MADV_GUARD_INSTALL`, Linux 6.13), which needs no mapping of its own. So a million stacks cost two
//! mappings. Where the kernel has no such markers, or refuses them (memory locked by `mlockall`), each stack
//! is opened by itself between guards left closed: two mappings a stack, of which `vm.max_map_count` allows
//! 65,530, so about 32,000 stacks. Beyond that `get` returns the kernel's error.
//!
//! Huge pages are turned off for the reservation: one would put memory behind a whole stack at its first
//! touch.

#![allow(unsafe_code)]

#[cfg(test)]
pub(crate) mod child;
mod free_list;
#[cfg(test)]
mod tests;

use crate::stack_overflow::{self, GuardedRange, Watch};
use free_list::{FreeList, Links};
use std::io;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Bytes of a stack, unless configured.
pub(crate) const STACK_SIZE_DEFAULT: usize = 1 << 20;
/// The largest stack that can be configured.
pub(crate) const STACK_SIZE_MAX: usize = 1 << 30;
/// Pages of the smallest stack; a smaller size is rounded up to this.
pub(crate) const STACK_PAGES_MIN: usize = 2;
/// Stacks of one pool, unless configured. With stacks of the default size, 1 TiB of address space.
pub(crate) const STACKS_MAX: u32 = 1 << 20;
/// The largest number of stacks that can be configured for one pool.
pub(crate) const STACKS_LIMIT: u32 = 1 << 24;
/// Free stacks that keep their memory, unless configured.
pub(crate) const STACKS_WARM_MAX: u32 = 1024;
/// Slots opened by one system call.
pub(crate) const STACKS_PER_GROWTH: u32 = 64;

/// Since Linux 6.13; not in every version of the libc crate.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// What a pool is made of.
#[derive(Clone, Debug)]
pub(crate) struct StackConfig {
    /// Usable bytes of each stack, rounded up to whole pages and at least [`STACK_PAGES_MIN`] of them.
    pub(crate) stack_size: usize,
    /// Bytes below each stack that fault, rounded up to whole pages and at least one.
    pub(crate) guard_size: usize,
    /// How many stacks there can be, from 1 to [`STACKS_LIMIT`].
    pub(crate) stacks_max: u32,
    /// How many free stacks keep their memory, each up to `stack_size` if it was used so deep. At the bound,
    /// a stack put back loses it.
    pub(crate) warm_max: u32,
}

impl Default for StackConfig {
    fn default() -> StackConfig {
        StackConfig {
            stack_size: STACK_SIZE_DEFAULT,
            guard_size: 1,
            stacks_max: STACKS_MAX,
            warm_max: STACKS_WARM_MAX,
        }
    }
}

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

/// A stack, owned. Dropping it instead of handing it to [`StackPool::put`] leaves the slot in use for ever.
#[derive(Debug)]
#[must_use = "a stack that is not put back is lost to its pool"]
pub(crate) struct Stack {
    top: NonNull<u8>,
    limit: NonNull<u8>,
    index: u32,
}

// SAFETY: a stack is memory that its owner alone may use, from whatever thread it is on.
unsafe impl Send for Stack {}
// SAFETY: a shared reference gives addresses only.
unsafe impl Sync for Stack {}

impl Stack {
    /// One past the highest byte, a multiple of the page size.
    pub(crate) fn top(&self) -> *mut u8 {
        self.top.as_ptr()
    }

    /// The lowest usable byte. The guard lies below it.
    #[cfg(test)]
    pub(crate) fn limit(&self) -> *mut u8 {
        self.limit.as_ptr()
    }

    /// The slot's number in its pool, below the pool's capacity; stays the same for the pool's life.
    #[cfg(test)]
    pub(crate) fn index(&self) -> u32 {
        self.index
    }
}

/// How the slots are opened and guarded from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guards {
    /// Slots are opened in runs; a marker in the page table guards each.
    Markers,
    /// Slots are opened one by one; a guard is what stays closed between them.
    Gaps,
}

/// The growing end of the pool.
struct Growth {
    guards: Guards,
    /// Slots carved.
    created: u32,
    /// Slots opened as a run, guards included. With markers, at least `created`.
    opened: u32,
}

/// The stacks of one size. See the module for the layout.
pub(crate) struct StackPool {
    reservation: mem::ManuallyDrop<Reservation>,
    watch: mem::ManuallyDrop<Watch>,
    guard_size: usize,
    slot_size: usize,
    capacity: u32,
    warm_max: u32,
    /// Free slots with memory behind them.
    warm: FreeList,
    /// Free slots without.
    cold: FreeList,
    links: Links,
    /// At least the length of `warm`: raised before a push, lowered after a pop.
    warm_count: AtomicU32,
    in_use: AtomicU32,
    /// A copy of `growth.created`, to be read without the lock.
    created: AtomicU32,
    growth: Mutex<Growth>,
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
    /// `InvalidInput` for a number of stacks out of range, or a stack or guard above [`STACK_SIZE_MAX`];
    /// `OutOfMemory` if there is not even room for one stack, or if there are
    /// [`stack_overflow::POOLS_MAX`] pools already.
    pub(crate) fn new(config: &StackConfig) -> io::Result<StackPool> {
        Self::guarded_by(config, Guards::Markers)
    }

    fn guarded_by(config: &StackConfig, guards: Guards) -> io::Result<StackPool> {
        let size = config.stack_size.max(config.guard_size);
        if !(1..=STACKS_LIMIT).contains(&config.stacks_max) || size > STACK_SIZE_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "stack pool: size or number out of range",
            ));
        }
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
            guard_size,
            slot_size,
            capacity,
            warm_max: config.warm_max,
            warm: FreeList::new(),
            cold: FreeList::new(),
            links: Links::new(capacity),
            warm_count: AtomicU32::new(0),
            in_use: AtomicU32::new(0),
            created: AtomicU32::new(0),
            growth: Mutex::new(Growth { guards, created: 0, opened: 0 }),
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
            warm: self.warm_count.load(Relaxed).min(self.warm_max),
        }
    }

    /// Takes a stack: the free one put back last that still has memory, else any free one, else a new one.
    /// Its content is unspecified.
    ///
    /// Lock-free when there is a free stack; otherwise blocks the thread for one or two system calls, and
    /// for those of other threads that make a stack at the same moment.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if all stacks are in use, or if the kernel refuses memory or another mapping. The pool
    /// is as before then, and a later call may succeed.
    pub(crate) fn get(&self) -> io::Result<Stack> {
        let index = if let Some(index) = self.warm.pop(&self.links) {
            // Relaxed, here and below: counts, they order nothing. The list hands over the memory.
            self.warm_count.fetch_sub(1, Relaxed);
            index
        } else if let Some(index) = self.cold.pop(&self.links) {
            index
        } else {
            self.carve()?
        };
        self.in_use.fetch_add(1, Relaxed);
        Ok(Stack { top: self.slot(index + 1), limit: self.limit(index), index })
    }

    /// Takes a stack back. Below the bound on warm stacks it keeps its memory, else the kernel gets it.
    ///
    /// Lock-free in the first case; blocks the thread for one system call in the second.
    ///
    /// Nothing may run on the stack any more, nor point into it: the caller has left it for good.
    ///
    /// # Panics
    ///
    /// If the stack belongs to another pool.
    pub(crate) fn put(&self, stack: Stack) {
        let index = stack.index;
        assert!(
            index < self.capacity && stack.limit == self.limit(index),
            "a stack was put into a pool it does not come from"
        );
        self.in_use.fetch_sub(1, Relaxed);
        if self.warm_count.fetch_add(1, Relaxed) < self.warm_max {
            self.warm.push(&self.links, index);
            return;
        }
        self.warm_count.fetch_sub(1, Relaxed);
        // SAFETY: the range is the slot's usable part, which the caller has left. A refusal (locked memory)
        // leaves the pages where they are, which costs memory and breaks nothing.
        unsafe { libc::madvise(stack.limit.as_ptr().cast(), self.stack_size(), libc::MADV_DONTNEED) };
        self.cold.push(&self.links, index);
    }

    /// The lowest byte of slot `index`, which may be one past the last slot.
    fn slot(&self, index: u32) -> NonNull<u8> {
        // SAFETY: `index <= capacity`, so this stays within the reservation or one past it.
        unsafe { self.reservation.start.add(index as usize * self.slot_size) }
    }

    fn limit(&self, index: u32) -> NonNull<u8> {
        // SAFETY: `index < capacity`, so the guard lies within the reservation.
        unsafe { self.slot(index).add(self.guard_size) }
    }

    /// Makes a new stack.
    fn carve(&self) -> io::Result<u32> {
        let mut growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        let index = growth.created;
        if index == self.capacity {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "every stack of the pool is in use"));
        }
        if growth.guards == Guards::Markers {
            if index == growth.opened {
                growth.opened += self.open_run(index)?;
            }
            match self.mark_guard(index) {
                // An emulated kernel may say yes to advice that it does not know.
                Ok(()) if index > 0 || self.is_closed(index) => {}
                Ok(()) => growth.guards = Guards::Gaps,
                // An older kernel, or locked memory.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => growth.guards = Guards::Gaps,
                Err(error) => return Err(error),
            }
        }
        if growth.guards == Guards::Gaps {
            if index < growth.opened {
                self.protect(self.slot(index), self.guard_size, libc::PROT_NONE)?;
            } else {
                self.protect(self.limit(index), self.stack_size(), libc::PROT_READ | libc::PROT_WRITE)?;
            }
        }
        growth.created += 1;
        self.created.store(growth.created, Relaxed);
        Ok(index)
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

    fn protect(&self, start: NonNull<u8>, bytes: usize, protection: libc::c_int) -> io::Result<()> {
        // SAFETY: the callers name whole pages of slots that have not been handed out yet.
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
        // SAFETY: the guard of a slot that has not been handed out yet.
        match unsafe { libc::madvise(self.slot(index).as_ptr().cast(), self.guard_size, MADV_GUARD_INSTALL) }
        {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Whether the kernel itself could not read the guard of slot `index`.
    fn is_closed(&self, index: u32) -> bool {
        let guard = self.slot(index).as_ptr().cast();
        // SAFETY: the guard of a slot that has not been handed out yet; at worst it gets memory.
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

/// Address space, mapped without access, unmapped on drop.
struct Reservation {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: an address and a length; what is done with the memory is the pool's affair.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Room for `slots` slots of `slot_size`, or for half of what the kernel grants if it refuses those.
    fn up_to(slot_size: usize, mut slots: u32) -> io::Result<(Reservation, u32)> {
        let wanted = slots;
        loop {
            let error = match slot_size.checked_mul(slots as usize).map(Self::map) {
                None => io::Error::from_raw_os_error(libc::ENOMEM),
                Some(Err(error)) => error,
                Some(Ok(mut reservation)) => {
                    if slots < wanted && slots > 1 {
                        slots /= 2;
                        reservation.truncate(slots as usize * slot_size);
                    }
                    return Ok((reservation, slots));
                }
            };
            if slots == 1 {
                return Err(error);
            }
            slots /= 2;
        }
    }

    fn map(bytes: usize) -> io::Result<Reservation> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping just made. A kernel without huge pages refuses, and needs no telling.
        unsafe { libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE) };
        // SAFETY: as above. What is not open yet holds nothing, and gcore would write all of it into a core file.
        unsafe { libc::madvise(start, bytes, libc::MADV_DONTDUMP) };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Reservation { start, bytes })
    }

    /// Gives back everything beyond the first `bytes`, whole pages.
    fn truncate(&mut self, bytes: usize) {
        // SAFETY: the upper part of the own mapping, which nothing uses yet. If the kernel refuses, it stays
        // mapped, and is unmapped with the rest.
        if unsafe { libc::munmap(self.start.add(bytes).as_ptr().cast(), self.bytes - bytes) } == 0 {
            self.bytes = bytes;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the own mapping, whole; the pool drops it when no stack is handed out.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Bytes of a page.
pub(crate) fn page_size() -> io::Result<usize> {
    // SAFETY: no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| size.is_power_of_two()).ok_or_else(io::Error::last_os_error)
}
