//! Unix stream sockets: a path, or a name in the abstract name space of Linux, instead of an address and a port.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{self, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bthread::poller::{self, EventHandler};
use iobuf::{IoBuf, IoPortal};
use mio::net::{UnixListener, UnixStream};
use socket2::SockRef;

use super::tcp::{READ_ROOM_SURE, WRITE_MAX};
use super::{Endpoint, ListenOptions, Listener, Received, Registration, SocketOptions, Transport};

/// A connection through a path.
pub(super) struct Unix(UnixStream);

impl Unix {
    pub(super) fn connect(path: &Path, options: &SocketOptions) -> io::Result<Self> {
        let stream = UnixStream::connect_addr(&address(path)?)?;
        options.apply(SockRef::from(&stream), false)?;
        Ok(Unix(stream))
    }
}

/// The name behind the `@` of a path that is no file.
fn abstract_name(path: &Path) -> Option<&[u8]> {
    path.as_os_str().as_bytes().strip_prefix(b"@")
}

#[cfg(target_os = "linux")]
fn address(path: &Path) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    abstract_name(path).map_or_else(|| SocketAddr::from_pathname(path), SocketAddr::from_abstract_name)
}

#[cfg(not(target_os = "linux"))]
fn address(path: &Path) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(path)
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
        poller::register(&self.0, handler).map(Registration::from)
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

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn shutdown_write(&self) -> bool {
        self.0.shutdown(Shutdown::Write).is_ok()
    }

    fn shutdown(&self) {
        // Fails only where there is no connection to end.
        let _ = self.0.shutdown(Shutdown::Both);
    }

    fn local(&self) -> io::Result<Endpoint> {
        self.0.local_addr().map(|address| endpoint(address.as_pathname()))
    }
}

/// Listens at a path. A socket that is there already is replaced if nobody listens on it, as it outlives the process that
/// made it, or if the flag says so; any other file is not.
pub(super) fn listen(path: &Path, options: &ListenOptions) -> io::Result<UnixSocketFile> {
    let is_file = !cfg!(target_os = "linux") || abstract_name(path).is_none();
    let is_socket = || fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_file && is_socket() && (options.reuse_path || is_left_over(path)) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind_addr(&address(path)?)?;
    let owns_path = AtomicBool::new(is_file);
    Ok(UnixSocketFile { listener, path: path.to_owned(), owns_path, options: options.sockets.clone() })
}

/// A socket that listens already, and does not block.
pub(super) fn bound(
    listener: net::UnixListener,
    owns_path: bool,
    options: SocketOptions,
) -> io::Result<UnixSocketFile> {
    let path = path_of(&listener.local_addr()?);
    let listener = UnixListener::from_std(listener);
    Ok(UnixSocketFile { listener, path, owns_path: AtomicBool::new(owns_path), options })
}

/// The path of an address, or the name with an `@` in front.
fn path_of(address: &SocketAddr) -> PathBuf {
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(address) {
        let name = [b"@", name].concat();
        return PathBuf::from(OsStr::from_bytes(&name));
    }
    address.as_pathname().unwrap_or(Path::new("")).to_owned()
}

fn is_left_over(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A listener that takes its path with it.
pub(super) struct UnixSocketFile {
    listener: UnixListener,
    path: PathBuf,
    /// Whether the path is a file of ours.
    owns_path: AtomicBool,
    options: SocketOptions,
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
        self.options.apply(SockRef::from(&stream), false)?;
        Ok((Box::new(Unix(stream)), endpoint(peer.as_pathname())))
    }

    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration> {
        poller::register(&self.listener, handler).map(Registration::from)
    }

    fn local(&self) -> io::Result<Endpoint> {
        Ok(Endpoint::Unix(self.path.clone()))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.listener.as_fd())
    }

    fn owns_path(&self) -> bool {
        self.owns_path.load(Ordering::Relaxed) // ordered by the lock that its server asks under
    }

    fn leave_path(&self) {
        self.owns_path.store(false, Ordering::Relaxed); // as above
    }
}

/// Most clients have no path of their own.
fn endpoint(path: Option<&Path>) -> Endpoint {
    Endpoint::Unix(path.unwrap_or(Path::new("")).to_owned())
}
