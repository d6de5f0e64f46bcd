//! Files, in the shape of `std::fs`, without ever holding a worker: every call that may wait for a disk runs on
//! the pool of [`spawn_blocking`](crate::spawn_blocking) while the bthread is parked. Outside of bthreads all of it
//! is `std::fs` in place.
//!
//! Each call costs a hand-over to another thread and back (some 10 µs), so small reads and writes belong behind
//! `std::io::{BufReader, BufWriter}`. Owns no file format and no cache; interruptions do not end these calls.
//!
//! *Blocking*, for everything here but where it says otherwise: parks the calling bthread, or blocks the calling
//! thread.
//!
//! *Errors*: those of the `std::fs` function of the same name, and what the system says when there is no thread to
//! run it on.
//!
//! ```
//! bthread::spawn(|| {
//!     let path = std::env::temp_dir().join(format!("bobbin-fs-{}", std::process::id()));
//!     bthread::fs::write(&path, "one two")?;
//!     assert_eq!(bthread::fs::read_to_string(&path)?, "one two");
//!     bthread::fs::remove_file(&path)
//! }).join().unwrap()?;
//! # std::io::Result::Ok(())
//! ```

mod dir;
mod file;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::blocking::try_blocking;

pub use dir::{DirEntry, ReadDir};
pub use file::{File, OpenOptions};
pub use std::fs::{FileType, Metadata, Permissions};

/// Runs a call of std on the pool.
fn run<T: Send>(call: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    try_blocking(call)?
}

/// The whole of a file.
///
/// # Errors
/// As [the module says](self).
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    run(|| fs::read(path))
}

/// The whole of a file, which must be UTF-8.
///
/// # Errors
/// As [the module says](self).
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    run(|| fs::read_to_string(path))
}

/// Makes `contents` the whole of a file, which is created if there is none.
///
/// # Errors
/// As [the module says](self).
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let (path, contents) = (path.as_ref(), contents.as_ref());
    run(|| fs::write(path, contents))
}

/// Copies a file's bytes and permissions; returns how many bytes.
///
/// # Errors
/// As [the module says](self).
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = (from.as_ref(), to.as_ref());
    run(|| fs::copy(from, to))
}

/// Gives a file or directory another name, in place of what has that name.
///
/// # Errors
/// As [the module says](self).
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    run(|| fs::rename(from, to))
}

/// Removes a file's name.
///
/// # Errors
/// As [the module says](self).
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    run(|| fs::remove_file(path))
}

/// Gives a file one more name.
///
/// # Errors
/// As [the module says](self).
pub fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    run(|| fs::hard_link(original, link))
}

/// What a symbolic link says.
///
/// # Errors
/// As [the module says](self).
pub fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref();
    run(|| fs::read_link(path))
}

/// The absolute path without symbolic links.
///
/// # Errors
/// As [the module says](self).
pub fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref();
    run(|| fs::canonicalize(path))
}

/// About a file, through symbolic links.
///
/// # Errors
/// As [the module says](self).
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref();
    run(|| fs::metadata(path))
}

/// About a file or the symbolic link itself.
///
/// # Errors
/// As [the module says](self).
pub fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref();
    run(|| fs::symlink_metadata(path))
}

/// Whether there is something of this name; an error when that cannot be told.
///
/// # Errors
/// As [the module says](self).
pub fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref();
    run(|| fs::exists(path))
}

/// Changes who may do what with a file.
///
/// # Errors
/// As [the module says](self).
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref();
    run(|| fs::set_permissions(path, permissions))
}

/// Makes a directory.
///
/// # Errors
/// As [the module says](self).
pub fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    run(|| fs::create_dir(path))
}

/// Makes a directory and those above it, where they are missing.
///
/// # Errors
/// As [the module says](self).
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    run(|| fs::create_dir_all(path))
}

/// Removes an empty directory.
///
/// # Errors
/// As [the module says](self).
pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    run(|| fs::remove_dir(path))
}

/// Removes a directory with everything in it.
///
/// # Errors
/// As [the module says](self).
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    run(|| fs::remove_dir_all(path))
}

/// What is in a directory.
///
/// # Errors
/// As [the module says](self).
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref();
    run(|| fs::read_dir(path)).map(ReadDir::new)
}
