//! Who says the credential on a connection: the first request of it, ahead of all others (`spec/protocols-baidu.md`
//! §0.6).
//!
//! Nobody waits for it: requests that come while the first one is being made leave their bytes here, and it writes them
//! behind itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use iobuf::IoBuf;

use crate::error::{EOVERCROWDED, RpcError};
use crate::socket::{Overcrowded, Socket, lock};
use crate::span::Span;

/// What a connection knows of its credential.
pub(super) struct Greeting {
    is_said: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Unsaid,
    /// The first request is being made; the others, and how many bytes they have.
    Saying {
        behind: Vec<Write>,
        bytes: usize,
    },
    Said,
}

/// What is to be written behind the first request.
struct Write {
    bytes: IoBuf,
    overcrowded: Overcrowded,
    span: Option<Span>,
}

/// What a request has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Say the credential, and then [`end`](Greeting::end) its turn.
    First,
    /// Nothing but go [behind](Greeting::write_behind).
    Later,
}

impl Greeting {
    pub(super) fn new() -> Self {
        Greeting { is_said: AtomicBool::new(false), state: Mutex::default() }
    }

    /// Asked by each request, before it is made. Exactly one is the first.
    pub(super) fn turn(&self) -> Turn {
        // Acquire pairs with the store in `end`: what the first one has written is ahead of what is written now.
        if self.is_said.load(Ordering::Acquire) {
            return Turn::Later;
        }
        let mut state = lock(&self.state);
        if matches!(*state, State::Unsaid) {
            *state = State::Saying { behind: Vec::new(), bytes: 0 };
            return Turn::First;
        }
        Turn::Later
    }

    /// Writes a request, now or behind the first one. That it fails later is told by the connection.
    ///
    /// # Errors
    /// As [`Socket::write`].
    pub(super) fn write_behind(
        &self,
        socket: &Arc<Socket>,
        bytes: IoBuf,
        overcrowded: Overcrowded,
        span: Option<Span>,
    ) -> Result<(), RpcError> {
        if !self.is_said.load(Ordering::Acquire) {
            let mut state = lock(&self.state);
            if let State::Saying { behind, bytes: waiting } = &mut *state {
                if let Some(error) = socket.error() {
                    return Err(error.clone());
                }
                if overcrowded == Overcrowded::Refuse && *waiting > socket.limits().max_unwritten_bytes {
                    let text = format!("Connection to {} is overcrowded", socket.remote());
                    return Err(RpcError::new(EOVERCROWDED, text));
                }
                *waiting += bytes.len();
                behind.push(Write { bytes, overcrowded, span });
                return Ok(());
            }
        }
        socket.write_traced(bytes, overcrowded, span)
    }

    /// The first request is written: those that have come meanwhile follow.
    pub(super) fn end(&self, socket: &Arc<Socket>) {
        loop {
            let behind = {
                let mut state = lock(&self.state);
                match &mut *state {
                    State::Saying { behind, bytes } if !behind.is_empty() => {
                        *bytes = 0;
                        std::mem::take(behind)
                    }
                    _ => {
                        *state = State::Said;
                        self.is_said.store(true, Ordering::Release); // pairs with the loads
                        return;
                    }
                }
            };
            // Without the lock, as the connection may fail, and tells its calls so.
            for Write { bytes, overcrowded, span } in behind {
                if let Err(error) = socket.write_traced(bytes, overcrowded, span) {
                    // Its call believes it to be written.
                    socket.set_failed(error);
                }
            }
        }
    }

    /// The first request cannot be made, and nothing was said: true if that is for the next one to do now; if requests
    /// have come meanwhile, who have nothing to say it with, the connection is of no use.
    pub(super) fn give_up(&self) -> bool {
        let mut state = lock(&self.state);
        let is_alone = matches!(&*state, State::Saying { behind, .. } if behind.is_empty());
        if is_alone {
            *state = State::Unsaid;
        }
        is_alone
    }
}
