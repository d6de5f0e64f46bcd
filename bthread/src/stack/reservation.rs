//! Address space for the stacks of a pool: got once, given back whole.
//!
//! Owns the mapping; what is opened and guarded in it is the pool's affair.

#![allow(unsafe_code)]

use std::io;
use std::ptr::{self, NonNull};

/// Address space, mapped without access, unmapped on drop.
pub(super) struct Reservation {
    pub(super) start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: an address and a length; what is done with the memory is the pool's affair.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Room for `slots` slots of `slot_size`, or for half of what the kernel grants if it refuses those.
    pub(super) fn up_to(slot_size: usize, mut slots: u32) -> io::Result<(Reservation, u32)> {
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

    pub(super) fn map(bytes: usize) -> io::Result<Reservation> {
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
        // SAFETY: the own mapping, whole; the pool drops it when no stack is in use.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Bytes of a page.
pub(crate) fn page_size() -> io::Result<usize> {
    // SAFETY: no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| size.is_power_of_two()).ok_or_else(io::Error::last_os_error)
}
