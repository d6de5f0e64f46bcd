//! What the socket types have alike in the interfaces of std, over a field `socket`: macros, since the traits of std
//! are to be implemented on each type and on references to it, and the types of std that are inside have no trait for
//! what they have alike.
//!
//! Where a macro is used, `net` is the module of std that has the type of the same name, and `SocketAddr` its address.

/// Implements what every stream has: ways from and to std, both ends, and the traits of `std::io` for the stream and
/// for references to it, as std does.
macro_rules! impl_stream {
    ($stream:ident) => {
        impl $stream {
            /// Takes over a connection of std, and puts it into non-blocking mode. Never blocks.
            ///
            /// # Errors
            /// As [`Watched::new`](crate::fd::Watched::new).
            pub fn from_std(stream: net::$stream) -> io::Result<Self> {
                stream.set_nonblocking(true)?;
                Self::from_nonblocking(stream)
            }

            pub(super) fn from_nonblocking(stream: net::$stream) -> io::Result<Self> {
                Ok($stream { socket: Socket::new(stream)? })
            }

            /// The connection of std, in blocking mode and without timeouts. Never blocks.
            ///
            /// # Errors
            /// `ResourceBusy` when there are other clones.
            pub fn into_std(self) -> io::Result<net::$stream> {
                let stream = Socket::into_inner(self.socket)?;
                stream.set_nonblocking(false)?;
                Ok(stream)
            }

            /// The other end's address. Never blocks.
            ///
            /// # Errors
            /// Those of `getpeername`.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.socket.io().peer_addr()
            }

            /// Ends one direction or both, for all clones: who waits to read gets the end of stream, who waits to
            /// write an error. Never blocks.
            ///
            /// # Errors
            /// Those of `shutdown`.
            pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                self.socket.io().shutdown(how)
            }
        }

        impl Read for &$stream {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.socket.read(|mut io| io.read(buf))
            }

            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.socket.read(|mut io| io.read_vectored(bufs))
            }
        }

        impl Write for &$stream {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.socket.write(|mut io| io.write(buf))
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.socket.write(|mut io| io.write_vectored(bufs))
            }

            /// Does nothing: a stream has no buffer of its own.
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        /// *Blocking*: parks the calling bthread, or blocks the calling thread, while there is nothing to read.
        impl Read for $stream {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }

        /// *Blocking*: parks the calling bthread, or blocks the calling thread, while there is no room to write.
        impl Write for $stream {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                (&*self).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            /// Does nothing: a stream has no buffer of its own.
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    };
}

/// Implements what every listener has: ways from and to std, and accepting. `$incoming` is the name of the iterator.
macro_rules! impl_listener {
    ($listener:ident, $stream:ident, $incoming:ident) => {
        impl $listener {
            /// Takes over a listener of std, and puts it into non-blocking mode. Never blocks.
            ///
            /// # Errors
            /// As [`Watched::new`](crate::fd::Watched::new).
            pub fn from_std(listener: net::$listener) -> io::Result<Self> {
                listener.set_nonblocking(true)?;
                Ok($listener { socket: Socket::new(mio::net::$listener::from_std(listener))? })
            }

            /// The listener of std, in blocking mode. Never blocks.
            ///
            /// # Errors
            /// `ResourceBusy` when there are other clones.
            pub fn into_std(self) -> io::Result<net::$listener> {
                let listener = net::$listener::from(Socket::into_inner(self.socket)?);
                listener.set_nonblocking(false)?;
                Ok(listener)
            }

            /// The next connection, and whose it is. One that its peer has given up is passed over. *Blocking*: parks
            /// the calling bthread, or blocks the calling thread.
            ///
            /// # Errors
            /// Those of `accept` (`EMFILE` is worth a pause), of the registration, `Interrupted`; `EBADF` after
            /// a [`close`](Self::close).
            pub fn accept(&self) -> io::Result<($stream, SocketAddr)> {
                self.accept_before(None)
            }

            /// As [`accept`](Self::accept), until a time.
            ///
            /// # Errors
            /// `TimedOut`; else as [`accept`](Self::accept).
            pub fn accept_until(&self, deadline: Instant) -> io::Result<($stream, SocketAddr)> {
                self.accept_before(Some(deadline))
            }

            /// As [`accept`](Self::accept), for at most `timeout`; with zero, a look without a wait.
            ///
            /// # Errors
            /// `TimedOut`; else as [`accept`](Self::accept).
            pub fn accept_timeout(&self, timeout: Duration) -> io::Result<($stream, SocketAddr)> {
                self.accept_before(crate::clock::now().checked_add(timeout))
            }

            fn accept_before(&self, deadline: Option<Instant>) -> io::Result<($stream, SocketAddr)> {
                let (stream, peer) = self.socket.watched().with_readable(deadline, |io| {
                    loop {
                        match io.accept() {
                            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                            other => return other,
                        }
                    }
                })?;
                Ok(($stream::from_nonblocking(stream.into())?, peer))
            }

            /// The connections as they come, until a [`close`](Self::close), which ends the iteration. As
            /// [`accept`](Self::accept) in a loop: an error is not of one connection. Without descriptors (`EMFILE`)
            /// it comes again at once, so a loop ends on it, or makes a pause.
            pub fn incoming(&self) -> $incoming<'_> {
                $incoming { listener: self }
            }

            /// Ends all waits on this listener and its clones, those of now and those to come, with `EBADF`, and
            /// the iterations of [`incoming`](Self::incoming). The kernel goes on listening until the last clone is
            /// dropped: clients can connect until then, and nobody answers. Never blocks.
            pub fn close(&self) {
                self.socket.watched().close();
            }
        }

        #[doc = concat!("The connections of a [`", stringify!($listener), "`].")]
        #[derive(Debug)]
        pub struct $incoming<'a> {
            listener: &'a $listener,
        }

        /// *Blocking*: parks the calling bthread, or blocks the calling thread.
        impl Iterator for $incoming<'_> {
            type Item = io::Result<$stream>;

            fn next(&mut self) -> Option<Self::Item> {
                match self.listener.accept() {
                    Err(_) if self.listener.socket.watched().is_closed() => None,
                    other => Some(other.map(|(stream, _)| stream)),
                }
            }
        }

        impl FusedIterator for $incoming<'_> {}
    };
}

/// Implements what every socket type has: its address, its pending error, clones, descriptors and `Debug`.
macro_rules! impl_socket {
    ($socket:ident) => {
        impl $socket {
            /// This end's address. Never blocks.
            ///
            /// # Errors
            /// Those of `getsockname`.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.socket.io().local_addr()
            }

            /// Takes the error that the socket has pending. Never blocks.
            ///
            /// # Errors
            /// Those of `getsockopt`.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.socket.io().take_error()
            }

            /// A clone, for code written for std: the same descriptor with the same timeouts.
            ///
            /// # Errors
            /// None; as in std.
            pub fn try_clone(&self) -> io::Result<Self> {
                Ok(self.clone())
            }
        }

        /// The clone is the same descriptor with the same timeouts.
        impl Clone for $socket {
            fn clone(&self) -> Self {
                $socket { socket: self.socket.clone() }
            }
        }

        impl AsFd for $socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket.io().as_fd()
            }
        }

        impl AsRawFd for $socket {
            fn as_raw_fd(&self) -> RawFd {
                self.socket.io().as_raw_fd()
            }
        }

        impl fmt::Debug for $socket {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.socket.io().fmt(f)
            }
        }
    };
}

/// Implements the methods that every socket that reads and writes has.
macro_rules! impl_timeouts {
    ($socket:ident) => {
        impl $socket {
            /// The longest that one call that reads may wait; `None`, as in the beginning, for ever. A call that waits
            /// already is not touched.
            ///
            /// # Errors
            /// `InvalidInput` for a timeout of zero.
            pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.socket.read_timeout().set(timeout)
            }

            /// As [`set_read_timeout`](Self::set_read_timeout), for calls that write.
            ///
            /// # Errors
            /// `InvalidInput` for a timeout of zero.
            pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.socket.write_timeout().set(timeout)
            }

            /// The longest that one call that reads may wait.
            ///
            /// # Errors
            /// None; as in std.
            pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.socket.read_timeout().get())
            }

            /// The longest that one call that writes may wait.
            ///
            /// # Errors
            /// None; as in std.
            pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.socket.write_timeout().get())
            }
        }
    };
}

pub(super) use {impl_listener, impl_socket, impl_stream, impl_timeouts};
