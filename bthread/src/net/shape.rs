//! What the socket types have alike in the interfaces of std, over a field `socket`: macros, since the traits of std
//! are to be implemented on each type and on references to it.

/// Implements the traits of `std::io` for a stream and for references to it, as std does.
macro_rules! stream_traits {
    ($stream:ident) => {
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

/// Implements what every socket type has: clones, descriptors and `Debug`.
macro_rules! socket_traits {
    ($socket:ident) => {
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
macro_rules! timeout_methods {
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
    };
}

pub(super) use {socket_traits, stream_traits, timeout_methods};
