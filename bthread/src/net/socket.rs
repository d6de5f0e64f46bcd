//! A socket of any type: its registration and its timeouts.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::fd::Watched;

/// What the clones of one socket share. `S` is in non-blocking mode.
#[derive(Debug)]
pub(super) struct Socket<S: AsFd> {
    watched: Watched<S>,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

impl<S: AsFd> Socket<S> {
    pub(super) fn new(io: S) -> io::Result<Arc<Self>> {
        let watched = Watched::from_nonblocking(io)?;
        Ok(Arc::new(Socket { watched, read_timeout: Timeout::none(), write_timeout: Timeout::none() }))
    }

    pub(super) fn io(&self) -> &S {
        self.watched.get_ref()
    }

    pub(super) fn watched(&self) -> &Watched<S> {
        &self.watched
    }

    /// Repeats a call that reads until it does not say `WouldBlock`, for as long as the read timeout allows.
    pub(super) fn read<R>(&self, call: impl FnMut(&S) -> io::Result<R>) -> io::Result<R> {
        self.watched.repeat_read(|| self.read_timeout.deadline(), call)
    }

    /// Repeats a call that writes until it does not say `WouldBlock`, for as long as the write timeout allows.
    pub(super) fn write<R>(&self, call: impl FnMut(&S) -> io::Result<R>) -> io::Result<R> {
        self.watched.repeat_write(|| self.write_timeout.deadline(), call)
    }

    pub(super) fn read_timeout(&self) -> &Timeout {
        &self.read_timeout
    }

    pub(super) fn write_timeout(&self) -> &Timeout {
        &self.write_timeout
    }

    /// The socket alone, when there is no other clone.
    pub(super) fn into_inner(this: Arc<Self>) -> io::Result<S> {
        match Arc::try_unwrap(this) {
            Ok(socket) => Ok(socket.watched.into_inner()),
            Err(_) => Err(io::Error::new(io::ErrorKind::ResourceBusy, "the socket has other clones")),
        }
    }
}

/// How long a call may wait, in nanoseconds; 0 for no bound.
#[derive(Debug)]
pub(super) struct Timeout(AtomicU64);

impl Timeout {
    fn none() -> Self {
        Timeout(AtomicU64::new(0))
    }

    pub(super) fn set(&self, timeout: Option<Duration>) -> io::Result<()> {
        let nanos = match timeout {
            None => 0,
            Some(Duration::ZERO) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a timeout of zero"));
            }
            // Beyond 584 years the bound is that.
            Some(timeout) => u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
        };
        self.0.store(nanos, Ordering::Relaxed); // a value by itself; pairs with nothing
        Ok(())
    }

    pub(super) fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// When a call that begins now must end. None too when no clock reaches that.
    fn deadline(&self) -> Option<Instant> {
        crate::clock::now().checked_add(self.get()?)
    }
}
