//! An open file.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::run;

/// An open file. Dropping it closes it in place, which on some network file systems waits for the server; call
/// [`sync_all`](Self::sync_all) before.
#[derive(Debug)]
pub struct File(fs::File);

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing: empty, and created if there is none.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn create(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Opens a file for reading and writing that must not have existed.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// The options of `std::fs::OpenOptions::new`.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Sees that bytes and metadata are on the disk.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn sync_all(&self) -> io::Result<()> {
        run(|| self.0.sync_all())
    }

    /// Sees that the bytes are on the disk, and of the metadata what is needed to read them.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn sync_data(&self) -> io::Result<()> {
        run(|| self.0.sync_data())
    }

    /// Cuts the file, or fills it with zeros, to this many bytes.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        run(|| self.0.set_len(bytes))
    }

    /// About the file.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn metadata(&self) -> io::Result<fs::Metadata> {
        run(|| self.0.metadata())
    }

    /// Changes who may do what with the file.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn set_permissions(&self, permissions: fs::Permissions) -> io::Result<()> {
        run(|| self.0.set_permissions(permissions))
    }

    /// One more descriptor of the same open file, with the same position. Never blocks.
    ///
    /// # Errors
    /// Those of `dup`.
    pub fn try_clone(&self) -> io::Result<File> {
        self.0.try_clone().map(File)
    }

    /// Reads at an offset, without the position; returns how many bytes.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        run(|| self.0.read_at(buf, offset))
    }

    /// Writes at an offset, without the position; returns how many bytes.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        run(|| self.0.write_at(buf, offset))
    }

    /// The file of std.
    pub fn into_std(self) -> fs::File {
        self.0
    }
}

impl From<fs::File> for File {
    fn from(file: fs::File) -> File {
        File(file)
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        File(fd.into())
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Read for &File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        run(|| (&self.0).read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        run(|| (&self.0).read_vectored(bufs))
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        run(|| (&self.0).read_to_end(buf))
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        run(|| (&self.0).read_to_string(buf))
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        run(|| (&self.0).read_exact(buf))
    }
}

impl Write for &File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        run(|| (&self.0).write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        run(|| (&self.0).write_vectored(bufs))
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        run(|| (&self.0).write_all(buf))
    }

    /// Does nothing: a file has no buffer of its own here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        run(|| (&self.0).seek(position))
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        (&*self).read_exact(buf)
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        (&*self).write_all(buf)
    }

    /// Does nothing: a file has no buffer of its own here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        (&*self).seek(position)
    }
}

/// How a file is opened; see `std::fs::OpenOptions`.
#[derive(Clone, Debug)]
pub struct OpenOptions(fs::OpenOptions);

impl OpenOptions {
    /// Nothing allowed yet.
    #[allow(clippy::new_without_default)] // as std
    pub fn new() -> Self {
        OpenOptions(fs::OpenOptions::new())
    }

    /// Whether it can be read.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.0.read(read);
        self
    }

    /// Whether it can be written.
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.0.write(write);
        self
    }

    /// Whether every write goes to the end.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.0.append(append);
        self
    }

    /// Whether it is emptied.
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.0.truncate(truncate);
        self
    }

    /// Whether it is created if there is none.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.0.create(create);
        self
    }

    /// Whether it must not have existed.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.0.create_new(create_new);
        self
    }

    /// The permission bits of a created file, before the process's mask; 0o666 unless set.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.0.mode(mode);
        self
    }

    /// Further `O_` flags of `open`.
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.0.custom_flags(flags);
        self
    }

    /// Opens a file.
    ///
    /// # Errors
    /// As [the module says](super).
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        run(|| self.0.open(path)).map(File)
    }
}
