//! Reading this process's own memory through the kernel: where nothing is mapped the read ends, and nothing faults.
//!
//! Other threads may be writing to what is read. The kernel copies it, so that is no data race of this program; what
//! arrives is any mixture of old and new bytes, and whoever reads must be ready for that. Must never write anywhere
//! but into the buffer it was given.
//!
//! Holds unsafe: system calls, with a buffer that is borrowed for as long as they last.

#![allow(unsafe_code)]

use std::ptr;

/// Copies what lies at `address` until `into` is full or the first page that cannot be read; how many bytes that was.
/// Async-signal-safe.
///
/// *Blocking*: neither, but for the kernel bringing in pages that were swapped out.
pub(super) fn copy(address: usize, into: &mut [u8]) -> usize {
    // SAFETY: the address of this thread's own `errno`, which interrupted code may be about to read.
    let (errno, before) = unsafe { (libc::__errno_location(), *libc::__errno_location()) };
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: ptr::without_provenance_mut(address), iov_len: into.len() };
    // SAFETY: `local` is the buffer borrowed here, `remote` is only read, by the kernel, which checks each page.
    let count = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    // SAFETY: as above.
    let error = unsafe { *errno };
    let count = match usize::try_from(count) {
        Ok(count) => count,
        // Filters of system calls may refuse the first way, as those of old container runtimes do; emulators lack it.
        Err(_) if matches!(error, libc::EPERM | libc::ENOSYS) => copy_from_file(address, into),
        Err(_) => 0,
    };
    // SAFETY: as above.
    unsafe { *errno = before };
    count
}

/// As [`copy`], from the file that shows this memory.
fn copy_from_file(address: usize, into: &mut [u8]) -> usize {
    // SAFETY: a path that ends with 0.
    let file = unsafe { libc::open(c"/proc/self/mem".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let mut done = 0;
    while file >= 0 && done < into.len() {
        let (rest, from) = (&mut into[done..], address.wrapping_add(done) as libc::off_t);
        // SAFETY: `rest` is as long as it says.
        match unsafe { libc::pread(file, rest.as_mut_ptr().cast(), rest.len(), from) } {
            ..=0 => break,
            count => done += count as usize,
        }
    }
    if file >= 0 {
        // SAFETY: opened here, and not used afterwards.
        unsafe { libc::close(file) };
    }
    done
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
        assert_eq!(copy_from_file(start + page - 3, &mut buffer), 8);
        assert_eq!(&buffer[..3], b"end");
        assert_eq!(copy_from_file(0, &mut buffer), 0);
        assert_eq!(copy(start + page, &mut buffer), 0);
        assert_eq!(copy(0, &mut buffer), 0);
        assert_eq!(bytes::<4>(start + page - 3), None);
        // SAFETY: the mapping made above.
        unsafe { libc::munmap(std::ptr::without_provenance_mut(start), 2 * page) };
    }
}
