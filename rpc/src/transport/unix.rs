//! Unix stream sockets: a path instead of an address and a port.

use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bthread::poller::{self, EventHandler, Registration};
use iobuf::{IoBuf, IoPortal};
use mio::net::{UnixListener, UnixStream};

use super::tcp::{READ_ROOM_SURE, WRITE_MAX};
use super::{Endpoint, Listener, Received, Transport};

/// A connection through a path.
pub(super) struct Unix(UnixStream);

impl Unix {
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).map(Unix)
    }
}

impl Transport for Unix {
    fn read(&self, into: &mut IoPortal, max: usize) -> io::Result<Received> {
        let bytes = into.read_from(self.0.as_fd(), max)?;
        Ok(Received { bytes, drained: bytes < max.min(READ_ROOM_SURE) })
    }

    fn write(&self, from: &mut IoBuf) -> io::Result<usize> {
        from.send_to(self.0.as_fd(), WRITE_MAX)
    }

    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration> {
        poller::register(&self.0, handler)
    }

    fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.0.take_error()? {
            return Err(error);
        }
        match self.0.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn shutdown(&self) {
        // Fails only where there is no connection to end.
        let _ = self.0.shutdown(Shutdown::Both);
    }

    fn local(&self) -> io::Result<Endpoint> {
        self.0.local_addr().map(|address| endpoint(address.as_pathname()))
    }
}

/// Listens at a path. A socket that nobody listens at any more is replaced, as it outlives the process that made it,
/// and with `reuse_path` one that somebody listens at too; any other file is not.
pub(super) fn listen(path: &Path, reuse_path: bool) -> io::Result<UnixSocketFile> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && (reuse_path || is_abandoned(path)) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    Ok(UnixSocketFile { listener, path: path.to_owned(), owns_path: AtomicBool::new(true) })
}

/// Whether nobody listens at a socket.
fn is_abandoned(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A listener that was made elsewhere.
pub(super) fn bound(
    listener: std::os::unix::net::UnixListener,
    owns_path: bool,
) -> io::Result<UnixSocketFile> {
    let path = listener.local_addr()?.as_pathname().unwrap_or(Path::new("")).to_owned();
    let listener = UnixListener::from_std(listener);
    Ok(UnixSocketFile { listener, path, owns_path: AtomicBool::new(owns_path) })
}

/// A listener that takes its path with it, if that is its own.
pub(super) struct UnixSocketFile {
    listener: UnixListener,
    path: PathBuf,
    owns_path: AtomicBool,
}

impl Drop for UnixSocketFile {
    fn drop(&mut self) {
        if *self.owns_path.get_mut() {
            // Somebody else may have removed it; that is the state wanted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener for UnixSocketFile {
    fn accept(&self) -> io::Result<(Box<dyn Transport>, Endpoint)> {
        let (stream, peer) = self.listener.accept()?;
        Ok((Box::new(Unix(stream)), endpoint(peer.as_pathname())))
    }

    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration> {
        poller::register(&self.listener, handler)
    }

    fn local(&self) -> io::Result<Endpoint> {
        Ok(Endpoint::Unix(self.path.clone()))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    fn owns_path(&self) -> bool {
        self.owns_path.load(Ordering::Relaxed) // the listener's lock orders it
    }

    fn leave_path(&self) {
        self.owns_path.store(false, Ordering::Relaxed); // as above
    }
}

/// Most clients have no path of their own.
fn endpoint(path: Option<&Path>) -> Endpoint {
    Endpoint::Unix(path.unwrap_or(Path::new("")).to_owned())
}
