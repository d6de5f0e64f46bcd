//! Unix stream sockets: a path instead of an address and a port.

use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Listens at a path. A socket that is there already is replaced, as it outlives the process that made it; any other
/// file is not.
pub(super) fn listen(path: &Path) -> io::Result<UnixSocketFile> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    Ok(UnixSocketFile { listener: UnixListener::bind(path)?, path: path.to_owned() })
}

/// A listener that takes its path with it.
pub(super) struct UnixSocketFile {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for UnixSocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it; that is the state wanted.
        let _ = fs::remove_file(&self.path);
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
}

/// Most clients have no path of their own.
fn endpoint(path: Option<&Path>) -> Endpoint {
    Endpoint::Unix(path.unwrap_or(Path::new("")).to_owned())
}
