//! Windows of stacks on their way from whoever is sampled to the thread that unwinds them.
//!
//! The memory is got at the first use and kept for the life of the process: a signal may come after the profile that
//! asked for it. Pages that no sample has touched take none.
//!
//! Holds unsafe: the content of a buffer belongs to one side at a time, as `places` says.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::OnceLock;

use super::places::Places;
use crate::trace::{Point, Window};

/// Buffers on the way at a time; what comes beyond is counted as lost.
pub(super) const BUFFERS: usize = 128;

/// Fixed room for samples, each a window and a `T`.
pub(super) struct Buffers<T: 'static> {
    places: Places<BUFFERS>,
    content: OnceLock<Content<T>>,
}

struct Content<T>(NonNull<[UnsafeCell<(Window, T)>; BUFFERS]>);

// SAFETY: memory that lives for ever, each part touched by the one side that `places` names.
unsafe impl<T: Send> Send for Content<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Content<T> {}

impl<T: Copy + Default + Send + 'static> Buffers<T> {
    pub(super) const fn new() -> Self {
        Buffers { places: Places::new(), content: OnceLock::new() }
    }

    /// Gets the memory. Before the first `write`; may be called again.
    pub(super) fn prepare(&self) {
        self.content.get_or_init(|| {
            let layout = Layout::new::<[UnsafeCell<(Window, T)>; BUFFERS]>();
            // SAFETY: the size is not 0.
            let memory = unsafe { alloc_zeroed(layout) }.cast::<(Window, T)>();
            let first = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
            for index in 0..BUFFERS {
                // SAFETY: one of the buffers of the array just made, zeroed and known to nobody else.
                unsafe {
                    let buffer = first.add(index).as_ptr();
                    Window::empty_at(&raw mut (*buffer).0);
                    (&raw mut (*buffer).1).write(T::default());
                }
            }
            Content(first.cast())
        });
    }

    /// Puts what lies above `point` into a buffer; false if none was free, or they were never prepared.
    /// Async-signal-safe.
    pub(super) fn write(&self, point: Point, tag: T) -> bool {
        let Some(content) = self.content.get() else { return false };
        let Some(place) = self.places.claim() else { return false };
        // SAFETY: claimed, so it is ours until `fill`; `prepare` has made a value of it.
        unsafe {
            let (window, place_of_tag) = &mut *content.0.as_ref()[place.index()].get();
            window.copy(point);
            *place_of_tag = tag;
        }
        self.places.fill(place);
        true
    }

    /// Shows each sample that has arrived and frees its buffer. One caller at a time.
    pub(super) fn drain(&self, mut read: impl FnMut(&Window, T)) {
        let Some(content) = self.content.get() else { return };
        for index in 0..BUFFERS {
            let Some(place) = self.places.full(index) else { continue };
            // SAFETY: full, so it is ours until we give it back, and there is one caller.
            unsafe {
                let (window, tag) = &*content.0.as_ref()[index].get();
                read(window, *tag);
            }
            self.places.give_back(place);
        }
    }
}
