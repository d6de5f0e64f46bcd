//! A body that is read while it arrives: a bounded pipe of bytes between the reader of a connection and whoever the
//! body is for.
//!
//! Owns the bytes in between and the news of the body's end. When too many bytes wait, the reader of the connection
//! stops, so that the peer is held up by the kernel's flow control; when they are taken it goes on.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use bthread::{Butex, WaitResult};
use iobuf::IoBuf;

use crate::error::{ECANCELED, EREQUEST, ERPCTIMEDOUT, RpcError};
use crate::protocol::Role;
use crate::socket::{Socket, lock};

/// With so many bytes waiting in a body's pipe nothing more is read from its connection. What one read brings comes
/// on top.
pub const BODY_PIPE_BYTES_MAX: usize = 1 << 20;

/// So many bytes of a body that nobody reads any more are read over; a longer rest ends the connection.
pub const BODY_DISCARDED_MAX: usize = 256 << 10;

/// The receiving end of a body that arrives in parts. Dropping it throws the rest away; that of a reply may never end,
/// so its connection is closed.
pub struct BodyReader {
    pipe: Arc<BodyPipe>,
}

impl BodyReader {
    /// The bytes that have arrived since the last call, at least one; `None` at the end of the body.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until there are bytes, the body or the
    /// connection ends, or the deadline comes.
    ///
    /// # Errors
    /// The error that the connection failed with before the body ended, each time;
    /// [`ERPCTIMEDOUT`] at the deadline, after which it may be called again.
    pub fn read(&mut self, deadline: Option<Instant>) -> Result<Option<IoBuf>, RpcError> {
        let pipe = &*self.pipe;
        loop {
            // Acquire pairs with the bump in `changed`; loaded before the look, so that no change is missed.
            let seen = pipe.changes.value().load(Ordering::Acquire);
            {
                let mut state = lock(&pipe.state);
                if !state.bytes.is_empty() {
                    let bytes = std::mem::take(&mut state.bytes);
                    let resumes = std::mem::take(&mut state.reader_waits);
                    drop(state);
                    if resumes && let Some(socket) = pipe.socket.upgrade() {
                        socket.read_on();
                    }
                    return Ok(Some(bytes));
                }
                match &state.end {
                    Some(Ok(())) => return Ok(None),
                    Some(Err(error)) => return Err(error.clone()),
                    None => {}
                }
            }
            if pipe.changes.wait(seen, deadline) == WaitResult::TimedOut {
                return Err(RpcError::new(ERPCTIMEDOUT, "No part of the body arrived in time"));
            }
        }
    }

    /// All that is left of the body.
    ///
    /// *Blocking*: as [`read`](Self::read), until the body has ended.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`EREQUEST`] for more than `max` bytes.
    pub fn read_to_end(&mut self, max: usize, deadline: Option<Instant>) -> Result<IoBuf, RpcError> {
        let mut all = IoBuf::new();
        while let Some(part) = self.read(deadline)? {
            if part.len() > max - all.len() {
                let text = format!("The body is larger than {max} bytes");
                return Err(RpcError::new(EREQUEST, text));
            }
            all.append_buf(part);
        }
        Ok(all)
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        let (bytes, resumes, is_over) = {
            let mut state = lock(&self.pipe.state);
            state.is_abandoned = true;
            let is_over = state.is_whole || state.end.is_some();
            (std::mem::take(&mut state.bytes), std::mem::take(&mut state.reader_waits), is_over)
        };
        drop(bytes);
        // One that ends just now does not go to another call, see `is_whole`.
        match self.pipe.socket.upgrade() {
            Some(socket) if self.pipe.is_reply && !is_over => {
                socket.set_failed(RpcError::new(ECANCELED, "Nobody reads the rest of the reply"));
            }
            Some(socket) if resumes => socket.read_on(),
            _ => {}
        }
    }
}

impl fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.pipe.state);
        f.debug_struct("BodyReader")
            .field("waiting", &state.bytes.len())
            .field("ended", &state.end.is_some())
            .finish_non_exhaustive()
    }
}

/// What both ends share. The sending end is the reader of the connection.
pub(crate) struct BodyPipe {
    socket: Weak<Socket>,
    is_reply: bool,
    state: Mutex<State>,
    /// Bumped when the receiver has something new to see.
    changes: Butex,
}

#[derive(Default)]
struct State {
    bytes: IoBuf,
    end: Option<Result<(), RpcError>>,
    /// Nothing more will be pushed.
    is_whole: bool,
    /// The reader of the connection has stopped until there is room.
    reader_waits: bool,
    /// The receiver is gone.
    is_abandoned: bool,
    /// Bytes thrown away since.
    discarded: usize,
}

/// What the reader of the connection is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Some,
    /// Stop; the socket is told to read again when there is room.
    None,
    /// Nobody reads the body, and too much of it has come.
    Discarding,
}

impl BodyPipe {
    pub(crate) fn new(socket: &Arc<Socket>) -> (Arc<Self>, BodyReader) {
        let pipe = Arc::new(BodyPipe {
            socket: Arc::downgrade(socket),
            is_reply: socket.role() == Role::Client,
            state: Mutex::default(),
            changes: Butex::new(0),
        });
        (pipe.clone(), BodyReader { pipe })
    }

    /// Gives the receiver some bytes.
    pub(crate) fn push(&self, bytes: IoBuf) {
        {
            let mut state = lock(&self.state);
            if state.is_abandoned {
                state.discarded += bytes.len();
                return;
            }
            state.bytes.append_buf(bytes);
        }
        self.changed();
    }

    /// Whether more may be read. With [`Room::None`] the reader of the connection is told when that changes.
    pub(crate) fn room(&self) -> Room {
        let mut state = lock(&self.state);
        if state.discarded > BODY_DISCARDED_MAX {
            Room::Discarding
        } else if state.bytes.len() >= BODY_PIPE_BYTES_MAX {
            state.reader_waits = true;
            Room::None
        } else {
            Room::Some
        }
    }

    /// All of the body has been pushed, and nobody's going closes the connection any more. False: the receiver has gone.
    pub(crate) fn is_whole(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_whole = true;
        !state.is_abandoned
    }

    /// The body is over, or has been cut off by a failure. The first end counts.
    pub(crate) fn end(&self, how: Result<(), RpcError>) {
        lock(&self.state).end.get_or_insert(how);
        self.changed();
    }

    fn changed(&self) {
        self.changes.value().fetch_add(1, Ordering::Release); // pairs with the load in `read`
        self.changes.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (Arc<BodyPipe>, BodyReader) {
        let pipe = Arc::new(BodyPipe {
            socket: Weak::new(),
            is_reply: false,
            state: Mutex::default(),
            changes: Butex::new(0),
        });
        (pipe.clone(), BodyReader { pipe })
    }

    #[test]
    fn parts_come_in_order_and_then_the_end_again_and_again() {
        let (pipe, mut reader) = pipe();
        pipe.push(IoBuf::from("a"));
        pipe.push(IoBuf::from("b"));
        assert_eq!(reader.read(None).unwrap().unwrap().to_vec(), b"ab");
        let sender = std::thread::spawn(move || {
            pipe.push(IoBuf::from("c"));
            pipe.end(Ok(()));
            pipe.end(Err(RpcError::new(1, "too late")));
        });
        assert_eq!(reader.read(None).unwrap().unwrap().to_vec(), b"c");
        assert!(reader.read(None).unwrap().is_none());
        assert!(reader.read(None).unwrap().is_none());
        sender.join().unwrap();
    }

    #[test]
    fn a_failure_comes_behind_the_bytes_that_were_there() {
        let (pipe, mut reader) = pipe();
        pipe.push(IoBuf::from("a"));
        pipe.end(Err(RpcError::new(7, "gone")));
        assert_eq!(reader.read(None).unwrap().unwrap().to_vec(), b"a");
        assert_eq!(reader.read(None).unwrap_err().code(), 7);
        assert_eq!(reader.read(None).unwrap_err().code(), 7);
    }

    #[test]
    fn a_deadline_ends_a_read_but_not_the_body() {
        let (pipe, mut reader) = pipe();
        assert_eq!(reader.read(Some(Instant::now())).unwrap_err().code(), ERPCTIMEDOUT);
        pipe.push(IoBuf::from("a"));
        assert_eq!(reader.read(Some(Instant::now())).unwrap().unwrap().to_vec(), b"a");
    }

    #[test]
    fn a_full_pipe_and_one_that_nobody_reads_are_told_apart() {
        let (pipe, mut reader) = pipe();
        assert_eq!(pipe.room(), Room::Some);
        pipe.push(IoBuf::from(&vec![0; BODY_PIPE_BYTES_MAX][..]));
        assert_eq!(pipe.room(), Room::None);
        assert_eq!(reader.read(None).unwrap().unwrap().len(), BODY_PIPE_BYTES_MAX);
        assert_eq!(pipe.room(), Room::Some);
        drop(reader);
        pipe.push(IoBuf::from(&vec![0; BODY_DISCARDED_MAX][..]));
        assert_eq!(pipe.room(), Room::Some);
        pipe.push(IoBuf::from("x"));
        assert_eq!(pipe.room(), Room::Discarding);
    }

    #[test]
    fn a_whole_rest_is_bounded() {
        let (pipe, mut reader) = pipe();
        pipe.push(IoBuf::from("abc"));
        pipe.end(Ok(()));
        assert_eq!(reader.read_to_end(3, None).unwrap().to_vec(), b"abc");
        let (pipe, mut reader) = self::pipe();
        pipe.push(IoBuf::from("abcd"));
        assert_eq!(reader.read_to_end(3, None).unwrap_err().code(), EREQUEST);
    }
}
