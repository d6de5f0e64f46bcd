//! Directories: entries are fetched from the pool by the batch.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::run;

/// Entries fetched with one hand-over to the pool.
const ENTRIES_BATCH: usize = 64;

/// The entries of a directory, without `.` and `..`, in no order. An error of one entry does not end the others.
pub struct ReadDir {
    inner: fs::ReadDir,
    fetched: VecDeque<io::Result<fs::DirEntry>>,
    ended: bool,
}

impl ReadDir {
    pub(super) fn new(inner: fs::ReadDir) -> Self {
        ReadDir { inner, fetched: VecDeque::new(), ended: false }
    }
}

/// *Blocking*: every 64 entries, parks the calling bthread, or blocks the calling thread.
impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.fetched.is_empty() && !self.ended {
            let (inner, fetched) = (&mut self.inner, &mut self.fetched);
            let fetch = || {
                fetched.extend(inner.take(ENTRIES_BATCH));
                Ok(fetched.len() < ENTRIES_BATCH)
            };
            match run(fetch) {
                Ok(ended) => self.ended = ended,
                Err(error) => return Some(Err(error)),
            }
        }
        self.fetched.pop_front().map(|entry| entry.map(DirEntry))
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// One entry of a directory.
pub struct DirEntry(fs::DirEntry);

impl DirEntry {
    /// The directory's path, as it was given, with the name. Never blocks.
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// The name alone. Never blocks.
    pub fn file_name(&self) -> OsString {
        self.0.file_name()
    }

    /// About the file, or the symbolic link itself.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn metadata(&self) -> io::Result<fs::Metadata> {
        run(|| self.0.metadata())
    }

    /// What the entry is, symbolic links not followed. Some file systems must be asked, so it may wait.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn file_type(&self) -> io::Result<fs::FileType> {
        run(|| self.0.file_type())
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
