//! How the messages of one turn of reading are run: one after another by their reader, and by whoever else is free.
//!
//! A bthread for each message would be queued behind the readers of all other connections, so that replies to one
//! connection left in several writes, and messages were cold when their turn came. Instead the reader runs them
//! itself, and sees that one successor is queued as long as messages wait: an idle worker takes it and runs messages
//! too, queueing the next successor; and if a handler waits, the successor goes on in its place. So a message waits
//! for the handler of another one only while all workers are busy.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use smallvec::SmallVec;

use super::{Message, Socket, clock, lock};
use crate::starting;

/// After so many messages other bthreads of the worker run.
const RUN_MESSAGES_MAX: usize = 64;
/// A reply waits no longer than this for those of the messages behind it,
const REPLY_DELAY_MAX: Duration = Duration::from_micros(20);
/// and for so many handlers that do not look at the clock by answering, as it is looked at only that often.
const CLOCK_EVERY: usize = 4;
/// After so long other bthreads of the worker run, the reader of what has come meanwhile among them: how long a message
/// has waited is known from when it is read.
const RUN_TIME_MAX: Duration = Duration::from_millis(1);

/// The messages of one turn of reading; often there is just one.
pub(super) type Messages = SmallVec<[Message; 1]>;

/// Runs the messages, the first of them at once.
pub(super) fn run(socket: &Arc<Socket>, mut messages: Messages) {
    if messages.len() > 1 {
        Turn::new(socket, messages).run();
    } else if let Some(message) = messages.pop() {
        socket.owner.message(socket, message);
    }
}

/// Has the messages run by others.
pub(super) fn run_elsewhere(socket: &Arc<Socket>, messages: Messages) {
    if !messages.is_empty() {
        let turn = Turn::new(socket, messages);
        lock(&turn.waiting).has_successor = true;
        turn.queue_successor();
    }
}

/// The messages of one turn of reading.
struct Turn {
    socket: Arc<Socket>,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    messages: smallvec::IntoIter<[Message; 1]>,
    /// A successor is queued that has not started.
    has_successor: bool,
}

impl Turn {
    fn new(socket: &Arc<Socket>, messages: Messages) -> Arc<Self> {
        let waiting = Waiting { messages: messages.into_iter(), has_successor: false };
        Arc::new(Turn { socket: socket.clone(), waiting: Mutex::new(waiting) })
    }

    /// Runs messages until none waits.
    fn run(self: &Arc<Self>) {
        let began = clock::note_now();
        // Moments to compare with, as differences take longer.
        let (mut send_at, mut yield_at) = (began + REPLY_DELAY_MAX, began + RUN_TIME_MAX);
        let mut seen = Some(began);
        for ran in 1_usize.. {
            let (message, needs_successor) = {
                let mut waiting = lock(&self.waiting);
                let Some(message) = waiting.messages.next() else {
                    return;
                };
                let needs_successor = waiting.messages.len() > 0 && !waiting.has_successor;
                waiting.has_successor |= needs_successor;
                (message, needs_successor)
            };
            if needs_successor {
                self.queue_successor();
            }
            self.socket.owner.message(&self.socket, message);
            // What the answer has seen, or where that was not given here, a look now and then.
            let is_stale = clock::noted() == seen;
            seen = if is_stale && ran % CLOCK_EVERY == 0 { Some(clock::note_now()) } else { clock::noted() };
            let mut is_enough = ran % RUN_MESSAGES_MAX == 0;
            if let Some(now) = seen {
                if now >= send_at {
                    self.socket.send_deferred();
                    send_at = now + REPLY_DELAY_MAX;
                }
                is_enough |= now >= yield_at;
            }
            if is_enough {
                bthread::yield_now();
                let now = clock::note_now();
                yield_at = now + RUN_TIME_MAX;
                seen = Some(now);
            }
        }
    }

    fn queue_successor(self: &Arc<Self>) {
        starting::start_behind(self.clone(), |turn| {
            lock(&turn.waiting).has_successor = false;
            turn.run();
        });
    }
}
