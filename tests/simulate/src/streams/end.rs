//! One end of a stream: it writes what the plan says, reads what comes, and closes the stream if that is its part.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bobbin::bthread::sync::CountdownEvent;
use bobbin::error::{EAGAIN, ETIMEDOUT};
use bobbin::{IoBuf, RpcError, Stream, StreamHandler, StreamOptions, StreamReader, StreamWriter, bthread};

use super::flow::Flow;
use crate::site::lock;

/// How often one who waits for the other direction looks.
const LOOK: Duration = Duration::from_millis(5);

/// What one end is to do.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Messages to write.
    pub(crate) writes: u32,
    /// Messages that the other end writes.
    pub(crate) expects: u32,
    pub(crate) window: usize,
    pub(crate) segment: Option<usize>,
    pub(crate) has_handler: bool,
    pub(crate) batch: usize,
    pub(crate) read_delay: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    /// Whether it tries before it waits.
    pub(crate) tries: bool,
    pub(crate) ending: Ending,
    /// It does not wait for the answer to the call before it closes.
    pub(crate) closes_early: bool,
}

/// How an end ends the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Not at all: the other one does.
    Waits,
    /// When it has written everything.
    Closes,
    /// When it has also received everything.
    ClosesLast,
    /// It throws it away when it has written everything.
    Resets,
}

/// The ends of a call's streams on one side.
pub(crate) struct Ends {
    part: Part,
    flows: Vec<Flows>,
    /// The streams' ids, in the order of the flows.
    ids: Mutex<Vec<u64>>,
    /// The call has been answered, or has failed. A stream that its caller resets before is one that the call has none of.
    answered: CountdownEvent,
}

/// What goes through one stream.
#[derive(Clone)]
pub(crate) struct Flows {
    pub(crate) incoming: Arc<Flow>,
    pub(crate) outgoing: Arc<Flow>,
}

impl Ends {
    pub(crate) fn new(part: Part, flows: Vec<Flows>) -> Arc<Self> {
        Arc::new(Ends { part, flows, ids: Mutex::default(), answered: CountdownEvent::new(1) })
    }

    pub(crate) fn options(self: &Arc<Self>) -> StreamOptions {
        let part = &self.part;
        let mut options =
            StreamOptions::default().max_buf_size(part.window).min_buf_size(0).messages_in_batch(part.batch);
        if let Some(bytes) = part.segment {
            options = options.max_segment_size(bytes);
        }
        if part.has_handler {
            options = options.handler(Handler(self.clone()));
            if let Some(timeout) = part.idle_timeout {
                options = options.idle_timeout(timeout);
            }
        }
        options
    }

    /// Gets to know the streams, before the first message can come.
    pub(crate) fn meet(&self, streams: &[Stream]) {
        *lock(&self.ids) = streams.iter().map(|stream| stream.id()).collect();
    }

    /// Lets the ends close their streams.
    pub(crate) fn answered(&self) {
        self.answered.signal(1);
    }

    /// Begins to write and read, in bthreads of their own.
    pub(crate) fn begin(self: &Arc<Self>, streams: Vec<Stream>, deadline: Instant) {
        for (flows, stream) in self.flows.iter().zip(streams) {
            let (ends, flows) = (self.clone(), flows.clone());
            let (reader, writer) = stream.split();
            if !self.part.has_handler {
                let (ends, flows) = (self.clone(), flows.clone());
                let _reads = bthread::spawn(move || ends.read(&flows.incoming, reader, deadline));
            }
            let _writes = bthread::spawn(move || ends.write(&flows, &writer, deadline));
        }
    }

    fn write(&self, flows: &Flows, writer: &StreamWriter, deadline: Instant) {
        for n in 0..self.part.writes {
            if self.write_one(writer, flows.outgoing.message(n), deadline).is_err() {
                break;
            }
            flows.outgoing.wrote();
        }
        if !self.part.closes_early {
            self.answered.wait();
        }
        if self.part.ending == Ending::ClosesLast {
            let is_there = || {
                let (received, has_ended) = flows.incoming.progress();
                has_ended || received >= self.part.expects || bthread::clock::now() >= deadline
            };
            while !is_there() {
                bthread::sleep(LOOK);
            }
        }
        let is_late = bthread::clock::now() >= deadline;
        match self.part.ending {
            Ending::Waits if !is_late => {}
            Ending::Closes | Ending::ClosesLast if !is_late => {
                flows.incoming.give_up();
                flows.outgoing.closing();
                writer.close();
            }
            _ => {
                flows.incoming.give_up();
                flows.outgoing.cutting();
                writer.reset();
            }
        }
    }

    fn write_one(&self, writer: &StreamWriter, message: IoBuf, deadline: Instant) -> Result<(), RpcError> {
        if !self.part.tries {
            return writer.write_until(message, deadline);
        }
        let mut message = message;
        loop {
            match writer.try_write(message) {
                Ok(()) => return Ok(()),
                Err(refused) if refused.error.code() == EAGAIN => {
                    writer.wait_writable(Some(deadline))?;
                    message = refused.message;
                }
                Err(refused) => return Err(refused.error),
            }
        }
    }

    fn read(&self, flow: &Flow, mut reader: StreamReader, deadline: Instant) {
        loop {
            match reader.read_until(deadline) {
                Ok(Some(message)) => {
                    flow.consumed(message.len());
                    flow.received(&message);
                    if !self.part.read_delay.is_zero() {
                        bthread::sleep(self.part.read_delay);
                    }
                }
                Ok(None) => return flow.ended(None),
                Err(error) if error.code() == ETIMEDOUT && bthread::clock::now() >= deadline => {
                    flow.give_up();
                    return flow.ended(Some(error));
                }
                Err(error) => return flow.ended(Some(error)),
            }
        }
    }

    fn incoming(&self, stream: &StreamWriter) -> Option<Arc<Flow>> {
        let place = lock(&self.ids).iter().position(|id| *id == stream.id())?;
        Some(self.flows.get(place)?.incoming.clone())
    }
}

struct Handler(Arc<Ends>);

impl StreamHandler for Handler {
    fn on_received_messages(&self, stream: &StreamWriter, messages: &mut Vec<IoBuf>) {
        let Some(flow) = self.0.incoming(stream) else { return };
        flow.consuming(true);
        let bytes = messages.iter().map(IoBuf::len).sum();
        for message in messages.drain(..) {
            flow.received(&message);
            if !self.0.part.read_delay.is_zero() {
                bthread::sleep(self.0.part.read_delay);
            }
        }
        // Before it returns: the stream tells the writer then.
        flow.consumed(bytes);
        flow.consuming(false);
    }

    fn on_idle_timeout(&self, stream: &StreamWriter) {
        if let (Some(flow), Some(timeout)) = (self.0.incoming(stream), self.0.part.idle_timeout) {
            flow.idle(timeout);
        }
    }

    fn on_failed(&self, stream: &StreamWriter, error: &RpcError) {
        if let Some(flow) = self.0.incoming(stream) {
            flow.ended(Some(error.clone()));
        }
    }

    fn on_closed(&self, stream: &StreamWriter) {
        if let Some(flow) = self.0.incoming(stream) {
            flow.closed();
        }
    }
}
