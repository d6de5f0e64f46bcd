//! Reading this process's own memory through the kernel: where nothing is mapped the read ends, and nothing faults.
//!
//! Other threads may be writing to what is read. The kernel copies it, so that is no data race of this program; what
//! arrives is any mixture of old and new bytes, and whoever reads must be ready for that. Must never write anywhere
//! but into the buffer it was given.
//!
//! Holds unsafe: one system call, with a buffer that is borrowed for as long as it lasts.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Copies what lies at `address` until `into` is full or the first page that cannot be read; how many bytes that was.
///
/// *Blocking*: neither, but for the kernel bringing in pages that were swapped out.
pub(super) fn copy(address: usize, into: &mut [u8]) -> usize {
    match copy_in_handler(address, into) {
        Ok(count) => count,
        // Filters of system calls may refuse the first way, as those of old container runtimes do.
        Err(libc::EPERM | libc::ENOSYS) => copy_from_file(address, into).unwrap_or(0),
        Err(_) => 0,
    }
}

/// As [`copy`], by one system call: async-signal-safe, but for `errno`, which the caller keeps.
///
/// # Errors
/// The system's error number; `EFAULT` when nothing at all could be read.
pub(super) fn copy_in_handler(address: usize, into: &mut [u8]) -> Result<usize, i32> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: into.len() };
    // SAFETY: `local` is the buffer borrowed here, `remote` is only read, by the kernel, which checks each page.
    let count = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    // SAFETY: the address of this thread's own `errno`.
    usize::try_from(count).map_err(|_| unsafe { *libc::__errno_location() })
}

fn copy_from_file(address: usize, into: &mut [u8]) -> io::Result<usize> {
    let memory = File::open("/proc/self/mem")?;
    let mut done = 0;
    while done < into.len() {
        match memory.read_at(&mut into[done..], (address + done) as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    Ok(done)
}

/// The `N` bytes at `address`, if all of them can be read.
pub(super) fn bytes<const N: usize>(address: usize) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (copy(address, &mut bytes) == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_read_what_is_mapped_and_stop_where_nothing_is() {
        let page = crate::stack::page_size().unwrap();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: two fresh pages, of which the second is closed; nobody else knows them.
        let start = unsafe {
            let mapping =
                libc::mmap(std::ptr::null_mut(), 2 * page, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(mapping, libc::MAP_FAILED);
            mapping.cast::<u8>().add(page - 3).copy_from_nonoverlapping(b"end".as_ptr(), 3);
            assert_eq!(libc::mprotect(mapping.byte_add(page), page, libc::PROT_NONE), 0);
            mapping.addr()
        };
        let mut buffer = [0; 8];
        assert_eq!(copy(start + page - 3, &mut buffer), 3);
        assert_eq!(&buffer[..3], b"end");
        // This way asks for a mapping only, and not for the right to read it.
        buffer.fill(0);
        assert_eq!(copy_from_file(start + page - 3, &mut buffer).unwrap(), 8);
        assert_eq!(&buffer[..3], b"end");
        assert_eq!(copy_from_file(0, &mut buffer).unwrap(), 0);
        assert_eq!(copy(start + page, &mut buffer), 0);
        assert_eq!(copy(0, &mut buffer), 0);
        assert_eq!(bytes::<4>(start + page - 3), None);
        // SAFETY: the mapping made above.
        unsafe { libc::munmap(std::ptr::without_provenance_mut(start), 2 * page) };
    }
}
