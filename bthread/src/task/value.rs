//! The place in a task slot for its closure, and later for its result: kept inline when small, boxed when not.
//!
//! Holds unsafe: the bytes are untyped. Who calls says which type is there.

#![allow(unsafe_code)]

use std::mem::{MaybeUninit, align_of, size_of};

/// Bytes kept in the slot itself; larger values are boxed.
const INLINE_BYTES: usize = 96;

#[repr(C, align(16))]
pub(super) struct Inline([u8; INLINE_BYTES]);

const fn fits<V>() -> bool {
    size_of::<V>() <= INLINE_BYTES && align_of::<V>() <= align_of::<Inline>()
}

/// # Safety
/// The place holds no value.
pub(super) unsafe fn put<V>(place: &mut MaybeUninit<Inline>, value: V) {
    if fits::<V>() {
        // SAFETY: large and aligned enough.
        unsafe { place.as_mut_ptr().cast::<V>().write(value) }
    } else {
        // SAFETY: a pointer fits.
        unsafe { place.as_mut_ptr().cast::<*mut V>().write(Box::into_raw(Box::new(value))) }
    }
}

/// # Safety
/// The place holds a `V` that `put` put there; it holds none afterwards.
pub(super) unsafe fn take<V>(place: &mut MaybeUninit<Inline>) -> V {
    if fits::<V>() {
        // SAFETY: by the contract.
        unsafe { place.as_ptr().cast::<V>().read() }
    } else {
        // SAFETY: by the contract: the pointer came from Box::into_raw and is used once.
        *unsafe { Box::from_raw(place.as_ptr().cast::<*mut V>().read()) }
    }
}
