//! Who may touch each of a fixed number of buffers that many writers, signal handlers among them, fill for one reader.
//!
//! | state | the buffer belongs to | who leaves it |
//! |---|---|---|
//! | `FREE` | nobody | a writer → `FILLING` |
//! | `FILLING` | that writer | he → `FULL` |
//! | `FULL` | the reader | he → `FREE` |
//!
//! A writer that finds no free buffer near the place where it begins to look goes away: it never waits and never loops
//! for long, and one that is stopped in the middle holds up nobody but its own buffer. Buffers are read in no particular
//! order. Must never touch what is in a buffer.

use crate::atomic::{AtomicU32, Ordering};

const FREE: u32 = 0;
const FILLING: u32 = 1;
const FULL: u32 = 2;

/// Buffers that a writer looks at before it gives up.
const LOOKS_MAX: usize = 16;

/// The states of `N` buffers.
pub(crate) struct Places<const N: usize> {
    states: [AtomicU32; N],
    /// Where the next writer begins to look.
    next: AtomicU32,
}

/// A buffer that belongs to its holder.
#[must_use]
#[derive(Debug)]
pub(crate) struct Place(usize);

impl Place {
    pub(crate) fn index(&self) -> usize {
        self.0
    }
}

impl<const N: usize> Places<N> {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Places { states: [const { AtomicU32::new(FREE) }; N], next: AtomicU32::new(0) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Places { states: std::array::from_fn(|_| AtomicU32::new(FREE)), next: AtomicU32::new(0) }
    }

    /// Takes a free buffer to fill it. None: all that were looked at are taken. By a writer.
    pub(crate) fn claim(&self) -> Option<Place> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) as usize; // a hint
        (0..LOOKS_MAX.min(N)).map(|look| first.wrapping_add(look) % N).find_map(|index| {
            // Acquire pairs with the Release in `give_back`: the reader's last look comes before what is written now.
            let claimed = self.states[index]
                .compare_exchange(FREE, FILLING, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
            claimed.then_some(Place(index))
        })
    }

    /// Hands a buffer to the reader. By the writer that has claimed it.
    pub(crate) fn fill(&self, place: Place) {
        self.states[place.0].store(FULL, Ordering::Release); // pairs with the Acquire in `full`
    }

    /// The buffer `index`, if it is full. By the reader, who must not ask again before he gave it back.
    pub(crate) fn full(&self, index: usize) -> Option<Place> {
        // Acquire pairs with the Release in `fill`: the reader sees the content.
        (self.states[index].load(Ordering::Acquire) == FULL).then_some(Place(index))
    }

    /// Frees a buffer. By the reader.
    pub(crate) fn give_back(&self, place: Place) {
        self.states[place.0].store(FREE, Ordering::Release); // pairs with the Acquire in `claim`
    }
}

#[cfg(all(test, loom))]
#[allow(unsafe_code)]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    struct Area<const N: usize> {
        places: Places<N>,
        content: [UnsafeCell<u32>; N],
    }

    // SAFETY: loom checks every access to the content.
    unsafe impl<const N: usize> Sync for Area<N> {}
    // SAFETY: as above.
    unsafe impl<const N: usize> Send for Area<N> {}

    fn area<const N: usize>() -> Arc<Area<N>> {
        Arc::new(Area { places: Places::new(), content: std::array::from_fn(|_| UnsafeCell::new(0)) })
    }

    fn write<const N: usize>(area: &Area<N>, value: u32) -> bool {
        let Some(place) = area.places.claim() else { return false };
        // SAFETY: loom checks it.
        area.content[place.index()].with_mut(|content| unsafe { *content = value });
        area.places.fill(place);
        true
    }

    fn read<const N: usize>(area: &Area<N>, sum: &mut u32) {
        for index in 0..N {
            let Some(place) = area.places.full(index) else { continue };
            // SAFETY: loom checks it.
            area.content[index].with_mut(|content| unsafe { *sum += std::mem::take(&mut *content) });
            area.places.give_back(place);
        }
    }

    /// Two writers share one buffer with a reader: each value arrives once, or its writer knows that it did not.
    #[test]
    fn loom_a_buffer_belongs_to_one_side_at_a_time() {
        crate::atomic::model(|| {
            let area = area::<1>();
            let writers = [1, 16].map(|value| {
                let area = area.clone();
                loom::thread::spawn(move || if write(&area, value) { value } else { 0 })
            });
            let mut sum = 0;
            read(&area, &mut sum);
            let written: u32 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
            read(&area, &mut sum);
            assert_eq!(sum, written);
        });
    }

    #[test]
    fn loom_with_room_for_all_nothing_is_lost() {
        crate::atomic::model(|| {
            let area = area::<2>();
            let writer = {
                let area = area.clone();
                loom::thread::spawn(move || assert!(write(&area, 1)))
            };
            assert!(write(&area, 16));
            let mut sum = 0;
            read(&area, &mut sum);
            writer.join().unwrap();
            read(&area, &mut sum);
            assert_eq!(sum, 17);
        });
    }
}
