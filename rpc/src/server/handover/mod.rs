//! Hot restart: a new process takes the ports of the one that serves, and no call fails.
//!
//! The running server [offers](super::Server::offer_listeners) its sockets at a path. The new process asks for them
//! ([`take_over`]), starts its server with them ([`ServerBuilder::start_with`](super::ServerBuilder::start_with)), gets
//! ready, and says so ([`Takeover::complete`]). Until then the old one serves as before, and if the new one dies it goes on
//! doing so; from then on the new one alone takes connections, and the old one is told to end. As the sockets stay open all
//! the time, no connection is refused; callers with connections to the old process are answered
//! [`ELOGOFF`](crate::error::ELOGOFF) while it ends, and call again.
//!
//! ```no_run
//! # fn serve<P: rpc::DefaultRegistry>() -> Result<(), rpc::RpcError> {
//! use rpc::server::handover;
//!
//! let path = "/run/echo/handover";
//! let builder = rpc::Server::<P>::builder();
//! let server = if std::env::args().any(|argument| argument == "--take-over") {
//!     let mut takeover = handover::take_over(path)?;
//!     let server = builder.start_with(takeover.take_listeners())?;
//!     takeover.complete()?;
//!     server
//! } else {
//!     builder.start("0.0.0.0:8000")?
//! };
//! let _offer = server.offer_listeners(path, rpc::ask_to_quit)?;
//! server.run_until_asked_to_quit();
//! # Ok(())
//! # }
//! ```
//!
//! Owns the conversation between the two. It must not start or end processes: that is for those who run them.

mod wire;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bthread::net::{UnixListener, UnixStream};
use rustix::net::sockopt::socket_peercred;

use super::Server;
use super::acceptor::Acceptor;
use crate::error::RpcError;
use crate::registry::DefaultRegistry;
use crate::socket::lock;
use crate::transport::BoundListener;

pub use wire::LISTENERS_MAX;
use wire::{ENDS, HELLO, Handed, SERVES};

/// How long the other process may take for its part of the conversation, but for getting ready.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a successor that has the sockets may take to get ready.
pub const READY_TIMEOUT: Duration = Duration::from_secs(600);

/// How long to wait when the system has no descriptors left for a successor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The sockets that whoever has started this process has opened for it: systemd's socket activation (`LISTEN_FDS`,
/// sd_listen_fds(3)). None if it has not, and the second time: the variables that say so are removed from the
/// environment, so call it at the beginning of `main`, while nobody else reads that. Never blocks.
///
/// # Errors
/// `InvalidInput` for a descriptor that is no socket that listens; the system's.
pub fn inherited() -> io::Result<Vec<BoundListener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        // It looks at what kind of socket each of them is, and leaves one of another kind where it is.
        let listener = match passed.take_tcp_listener(index) {
            Ok(listener) => listener.map(BoundListener::from),
            Err(_) => passed.take_unix_listener(index)?.map(BoundListener::from),
        };
        listeners.extend(listener);
    }
    Ok(listeners)
}

/// Asks the server that offers its sockets at `path` for them.
///
/// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, for [`ANSWER_TIMEOUT`] at most.
///
/// # Errors
/// The system's: nobody offers sockets there (`ECONNREFUSED`, `ENOENT`), or does not give them.
pub fn take_over(path: impl AsRef<Path>) -> Result<Takeover, RpcError> {
    let path = path.as_ref();
    ask(path).map_err(|error| failed("Fail to take over from", path, error))
}

fn ask(path: &Path) -> io::Result<Takeover> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut stream = UnixStream::connect_until(&SocketAddr::from_pathname(path)?, deadline)?;
    check_peer(&stream)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(&HELLO)?;
    let handed = wire::receive(&mut stream, deadline)?;
    let bound = |one: Handed<OwnedFd>| {
        let mut listener = BoundListener::try_from(one.descriptor)?;
        listener.is_internal = one.is_internal;
        listener.owns_path = one.owns_path;
        Ok(listener)
    };
    let listeners = handed.into_iter().map(bound).collect::<io::Result<_>>()?;
    Ok(Takeover { path: path.to_owned(), stream, listeners })
}

/// The sockets of a server that goes on serving until this is [completed](Self::complete); dropped before, it keeps them.
#[must_use = "the predecessor serves until the takeover is completed"]
pub struct Takeover {
    path: PathBuf,
    stream: UnixStream,
    listeners: Vec<BoundListener>,
}

impl Takeover {
    /// The sockets, for [`ServerBuilder::start_with`](super::ServerBuilder::start_with), leaving none.
    pub fn take_listeners(&mut self) -> Vec<BoundListener> {
        std::mem::take(&mut self.listeners)
    }

    /// Tells the predecessor that this process serves. When this returns it takes no more connections, and its path is
    /// free for an offer of this process; it ends as soon as its running calls are answered.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, for [`ANSWER_TIMEOUT`] at most.
    ///
    /// # Errors
    /// The system's: the predecessor has gone, and this process is alone with the sockets.
    pub fn complete(mut self) -> Result<(), RpcError> {
        let done = self.stream.write_all(&[SERVES]).and_then(|()| wire::read_mark(&mut self.stream, ENDS));
        done.map_err(|error| failed("Fail to complete the takeover from", &self.path, error))
    }
}

impl fmt::Debug for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Takeover").field("path", &self.path).field("listeners", &self.listeners).finish()
    }
}

impl<P: DefaultRegistry> Server<P> {
    /// Offers the sockets that the server listens on at `path`, to processes of the same user (and root) alone, until
    /// one has taken them or the offer is dropped. `taken` is called then, in a bthread: it is to end the server, with
    /// [`ask_to_quit`](super::ask_to_quit) for one. The path must not be one that is used otherwise; a socket is left
    /// there if the process dies, and replaced by the next one.
    ///
    /// *Blocking*: never for long.
    ///
    /// # Errors
    /// The system's, if it cannot listen at the path.
    pub fn offer_listeners(
        &self,
        path: impl AsRef<Path>,
        taken: impl FnOnce() + Send + 'static,
    ) -> Result<Offer, RpcError> {
        let path = path.as_ref();
        let failed = |error| failed("Fail to offer listeners at", path, error);
        let listener = listen(path).map_err(failed)?;
        let offered = Arc::new(Offered {
            path: path.to_owned(),
            listener,
            acceptors: self.acceptors.clone(),
            is_over: Mutex::new(false),
        });
        let offering = offered.clone();
        let builder = bthread::Builder::new().name("handover");
        drop(builder.spawn(move || offering.run(taken)).map_err(failed)?); // ends with the listener
        Ok(Offer(offered))
    }
}

/// Offers a server's sockets for as long as it is there; see [`Server::offer_listeners`].
#[must_use = "dropping the offer ends it"]
pub struct Offer(Arc<Offered>);

impl Drop for Offer {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("path", &self.0.path).finish_non_exhaustive()
    }
}

struct Offered {
    path: PathBuf,
    listener: UnixListener,
    acceptors: Vec<Arc<Acceptor>>,
    /// The path belongs to somebody else.
    is_over: Mutex<bool>,
}

impl Offered {
    /// Speaks with one process after the other.
    fn run(&self, taken: impl FnOnce()) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => return, // closed
                Err(_) => {
                    bthread::sleep(ACCEPT_PAUSE);
                    continue;
                }
            };
            // One that fails has ended, and says why itself.
            if self.hand_over(stream).is_ok() {
                return taken();
            }
        }
    }

    fn hand_over(&self, mut stream: UnixStream) -> io::Result<()> {
        check_peer(&stream)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        wire::read_hello(&mut stream)?;
        let handed =
            self.acceptors.iter().map(|acceptor| acceptor.share()).collect::<io::Result<Vec<_>>>()?;
        wire::send(&mut stream, &handed)?;
        drop(handed);
        stream.set_read_timeout(Some(READY_TIMEOUT))?;
        wire::read_mark(&mut stream, SERVES)?;
        // From here on there is no way back: the successor serves.
        self.acceptors.iter().for_each(|acceptor| acceptor.leave());
        self.end();
        let _ = stream.write_all(&[ENDS]); // it serves whether it hears so or not
        Ok(())
    }

    fn end(&self) {
        let was_over = std::mem::replace(&mut *lock(&self.is_over), true);
        if !was_over {
            self.listener.close();
            let _ = fs::remove_file(&self.path); // gone already, which is the state wanted
        }
    }
}

impl Acceptor {
    /// A second descriptor of the socket.
    fn share(&self) -> io::Result<Handed<OwnedFd>> {
        self.with_listener(|listener| {
            let of_the_program =
                || io::Error::new(io::ErrorKind::Unsupported, "a listener that is no socket");
            let descriptor = listener.descriptor().ok_or_else(of_the_program)?.try_clone_to_owned()?;
            Ok(Handed { descriptor, is_internal: self.is_internal(), owns_path: listener.owns_path() })
        })
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the server has stopped"))?
    }

    /// Leaves the socket to another process.
    fn leave(&self) {
        self.with_listener(|listener| listener.leave_path());
        self.close();
    }
}

/// Listens at a path that only this user comes by.
fn listen(path: &Path) -> io::Result<UnixListener> {
    // Somebody who listens there still is asked for the sockets instead.
    let address = SocketAddr::from_pathname(path)?;
    match std::os::unix::net::UnixStream::connect_addr(&address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // So answer files that never were sockets.
            if !fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::remove_file(path)?;
        }
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    // Between the two lines others may connect; whoever they are, their user id is looked at.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Whether the other side is of the same user, or root.
fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = socket_peercred(stream.as_fd())?.uid;
    if peer.is_root() || peer == rustix::process::geteuid() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "a process of another user"))
}

fn failed(what: &str, path: &Path, error: io::Error) -> RpcError {
    let error = RpcError::from(error);
    RpcError::new(error.code(), format!("{what} {}: {}", path.display(), error.text()))
}
