//! Asks jemalloc how it was started, and for its account, which it writes to a file that is only in memory.
//!
//! Holds unsafe: an option of jemalloc's is read and a dump asked for by name, with the types that its manual tells
//! (jemalloc(3), "opt.prof", "prof.dump"); a file descriptor is taken over from the kernel.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::{Duration, SystemTime};

use tikv_jemalloc_ctl::{Error, raw};

use super::dump::{self, Account};
use crate::{Kind, Profile, Sample, StartError};

/// Bytes of a dump that are read; what lies beyond is left out.
const DUMP_BYTES_MAX: u64 = 256 << 20;

pub(super) fn in_use() -> Result<Profile, StartError> {
    profile(Kind::Heap, dump()?.in_use)
}

pub(super) fn growth() -> Result<Profile, StartError> {
    let account = dump()?;
    if !is_on(b"opt.prof_accum\0")? {
        return Err(StartError::Disabled(
            "jemalloc keeps no account of what was freed: start the program with \
             _RJEM_MALLOC_CONF=prof:true,prof_accum:true"
                .to_owned(),
        ));
    }
    profile(Kind::Growth, account.accumulated)
}

fn profile(kind: Kind, (period, samples): (i64, Vec<Sample>)) -> Result<Profile, StartError> {
    Ok(Profile::from_parts(kind, (SystemTime::now(), Duration::ZERO), period, samples))
}

/// One dump at a time is jemalloc's own rule.
fn dump() -> Result<Account, StartError> {
    if !is_on(b"opt.prof\0")? {
        return Err(StartError::Disabled(
            "jemalloc keeps no account of the heap: start the program with _RJEM_MALLOC_CONF=prof:true"
                .to_owned(),
        ));
    }
    // SAFETY: a name that ends with 0, and flags of the call.
    let file = match unsafe { libc::memfd_create(c"heap profile".as_ptr(), libc::MFD_CLOEXEC) } {
        ..0 => return Err(StartError::System(io::Error::last_os_error())),
        // SAFETY: a new descriptor that nobody else knows.
        descriptor => unsafe { File::from_raw_fd(descriptor) },
    };
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("digits hold no 0");
    // SAFETY: "prof.dump" takes a pointer to a path and reads it before it returns.
    unsafe { raw::write::<*const c_char>(b"prof.dump\0", path.as_ptr()) }.map_err(refused)?;
    let mut text = Vec::new();
    (&file)
        .rewind()
        .and_then(|()| (&file).take(DUMP_BYTES_MAX).read_to_end(&mut text))
        .map_err(StartError::System)?;
    let account = dump::read(&String::from_utf8_lossy(&text));
    account.filter(|account| !account.is_empty).ok_or_else(|| {
        StartError::Disabled(
            "jemalloc has no account of any block: is it the program's allocator? \
             #[global_allocator] static ALLOCATOR: bobbin::profile::Jemalloc = bobbin::profile::Jemalloc;"
                .to_owned(),
        )
    })
}

fn is_on(option: &[u8]) -> Result<bool, StartError> {
    // SAFETY: both options are of type bool, and their names end with 0.
    unsafe { raw::read::<bool>(option) }.map_err(refused)
}

fn refused(error: Error) -> StartError {
    StartError::System(io::Error::other(format!("jemalloc: {error}")))
}
