//! The accounting of one direction of one stream: what was written, what came, and how it ended.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bobbin::{IoBuf, RpcError, bthread};
use sim::World;

use crate::payload;
use crate::site::lock;

#[derive(Default)]
struct State {
    written: u32,
    written_bytes: u64,
    received: u32,
    consumed_bytes: u64,
    /// The writer has closed the stream, behind so many messages.
    closed_behind: Option<u32>,
    /// The writer's side has thrown the stream away.
    is_cut: bool,
    /// The receiving side has ended the stream itself.
    is_given_up: bool,
    /// It has ended for the receiver; with an error?
    end: Option<Option<RpcError>>,
    /// It was told that the end is final.
    closed_told: bool,
    /// Somebody consumes right now.
    is_consuming: bool,
    last_heard: Option<Instant>,
}

/// One direction of one stream.
pub(crate) struct Flow {
    world: World,
    /// Names the contents of its messages.
    name: u64,
    label: String,
    /// The sizes of the messages, in turn.
    sizes: Vec<usize>,
    /// Bytes that may be on their way, and one message; 0: any number.
    window: usize,
    state: Mutex<State>,
}

impl Flow {
    pub(crate) fn new(
        world: &World,
        name: u64,
        label: String,
        sizes: Vec<usize>,
        window: usize,
    ) -> Arc<Self> {
        Arc::new(Flow { world: world.clone(), name, label, sizes, window, state: Mutex::default() })
    }

    fn message_name(&self, n: u32) -> u64 {
        self.name.wrapping_mul(1_000_003).wrapping_add(u64::from(n))
    }

    fn size(&self, n: u32) -> usize {
        self.sizes[n as usize % self.sizes.len()]
    }

    /// Message `n`.
    pub(crate) fn message(&self, n: u32) -> IoBuf {
        IoBuf::from(payload::content(self.message_name(n), self.size(n)).to_vec())
    }

    fn violation(&self, text: impl std::fmt::Display) {
        self.world.violation(format_args!("{}: {text}", self.label));
    }

    /// The next message was taken by the stream.
    pub(crate) fn wrote(&self) {
        let mut state = lock(&self.state);
        let size = self.size(state.written) as u64;
        state.written += 1;
        state.written_bytes += size;
        let on_the_way = state.written_bytes - state.consumed_bytes;
        let most = self.window as u64 + size;
        let written = state.written;
        drop(state);
        if self.window > 0 && on_the_way > most {
            self.violation(format_args!(
                "{on_the_way} bytes are on their way with message {written}, expected at most {most}"
            ));
        }
    }

    /// A message has come. It is not consumed yet.
    pub(crate) fn received(&self, message: &IoBuf) {
        let mut state = lock(&self.state);
        let n = state.received;
        state.received += 1;
        state.last_heard = Some(bthread::clock::now());
        let (written, has_ended, cut) =
            (state.written, state.end.is_some() || state.closed_told, state.is_cut);
        drop(state);
        if n >= written {
            self.violation(format_args!("message {n} came, but {written} were written"));
        }
        if has_ended {
            self.violation(format_args!("message {n} came behind the end, cut={cut}"));
        }
        if let Err(text) = payload::check(message, self.message_name(n), self.size(n)) {
            self.violation(format_args!("message {n} is not what came next: {text}"));
        }
    }

    /// So many bytes count as consumed from now on.
    pub(crate) fn consumed(&self, bytes: usize) {
        lock(&self.state).consumed_bytes += bytes as u64;
    }

    /// The handler is called, or has returned.
    pub(crate) fn consuming(&self, begins: bool) {
        let before = std::mem::replace(&mut lock(&self.state).is_consuming, begins);
        if begins && before {
            self.violation("its handler is called twice at a time");
        }
        lock(&self.state).last_heard = Some(bthread::clock::now());
    }

    /// The handler is told that nothing has come for `timeout`.
    pub(crate) fn idle(&self, timeout: Duration) {
        let heard = lock(&self.state).last_heard;
        let Some(heard) = heard else { return };
        let idle = bthread::clock::now().saturating_duration_since(heard);
        if idle < timeout {
            self.violation(format_args!("told to be idle after {idle:?}, expected not before {timeout:?}"));
        }
    }

    /// The writer is about to close the stream.
    pub(crate) fn closing(&self) {
        let mut state = lock(&self.state);
        state.closed_behind = Some(state.written);
        drop(state);
        self.world.note(format_args!("{}: is closed behind {} messages", self.label, self.written()));
    }

    /// The writer is about to reset the stream.
    pub(crate) fn cutting(&self) {
        lock(&self.state).is_cut = true;
        self.world.note(format_args!("{}: is reset", self.label));
    }

    /// The receiver ends the stream, or lets it go.
    pub(crate) fn give_up(&self) {
        lock(&self.state).is_given_up = true;
    }

    /// The receiver is told of the end.
    pub(crate) fn ended(&self, error: Option<RpcError>) {
        self.world.note(format_args!("{}: has ended for its receiver: {error:?}", self.label));
        let mut state = lock(&self.state);
        let (received, closed_behind, gave_up) = (state.received, state.closed_behind, state.is_given_up);
        let is_second = state.end.is_some();
        state.end = Some(error.clone());
        drop(state);
        if is_second {
            self.violation("its end is told twice");
        }
        if error.is_some() || gave_up {
            return;
        }
        match closed_behind {
            Some(written) if written != received => {
                self.violation(format_args!("it was closed behind {written} messages, but {received} came"));
            }
            Some(_) => {}
            None => self.violation("its receiver was told of a close that nobody has made"),
        }
    }

    /// The handler's last call.
    pub(crate) fn closed(&self) {
        let mut state = lock(&self.state);
        let is_second = std::mem::replace(&mut state.closed_told, true);
        let has_ended = state.end.is_some();
        drop(state);
        if is_second {
            self.violation("its handler is told of the end twice");
        } else if !has_ended {
            self.ended(None);
        }
    }

    pub(crate) fn written(&self) -> u32 {
        lock(&self.state).written
    }

    /// How many have come, and whether there will be no more.
    pub(crate) fn progress(&self) -> (u32, bool) {
        let state = lock(&self.state);
        (state.received, state.end.is_some())
    }

    /// At the end of a run in which all was well: everything that was written, and `all` of it, has come.
    pub(crate) fn must_be_whole(&self, all: u32) {
        let (received, _) = self.progress();
        if received != all {
            self.violation(format_args!("{received} messages came though all is well, expected {all}"));
        }
    }

    /// At the end of the run, on a node that lives: somebody was told.
    pub(crate) fn must_have_ended(&self) {
        let (received, has_ended) = self.progress();
        if !has_ended {
            self.violation(format_args!("its receiver was never told of an end, behind {received} messages"));
        }
    }
}
