//! An end of a stream that counts and checks what comes, for the features programs and whoever tests streams under
//! load.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bobbin::rpc::{StreamHandler, StreamWriter};
use bobbin::{ErrorCode, IoBuf, RpcError, bthread, error};

use crate::features::{StreamReport, stream_message};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one end of a stream has seen.
#[derive(Debug, Default)]
pub struct StreamEnd(Mutex<StreamReport>);

impl StreamEnd {
    /// What it has seen until now.
    pub fn report(&self) -> StreamReport {
        *lock(&self.0)
    }

    fn count(&self, number: impl FnOnce(&mut StreamReport) -> &mut Option<i64>) {
        let mut report = lock(&self.0);
        let number = number(&mut report);
        *number = Some(number.unwrap_or(0) + 1);
    }

    /// A message has come. Returns how many have.
    fn received(&self, message: &IoBuf) -> i64 {
        let expected = stream_message(lock(&self.0).messages().unsigned_abs(), message.len());
        if *message != expected[..] {
            self.count(|report| &mut report.wrong);
        }
        let mut report = lock(&self.0);
        report.bytes = Some(report.bytes() + message.len() as i64);
        report.messages = Some(report.messages() + 1);
        report.messages()
    }

    /// Writes messages with these numbers, waiting for room.
    ///
    /// # Errors
    /// As [`StreamWriter::write`].
    pub fn write(
        &self,
        stream: &StreamWriter,
        numbers: std::ops::Range<u64>,
        size: usize,
    ) -> Result<(), RpcError> {
        numbers.into_iter().try_for_each(|n| self.write_one(stream, IoBuf::from(stream_message(n, size))))
    }

    /// Writes this message, waiting for room.
    ///
    /// # Errors
    /// As [`StreamWriter::write`].
    pub fn write_one(&self, stream: &StreamWriter, message: IoBuf) -> Result<(), RpcError> {
        let written = stream.try_write(message).or_else(|refused| {
            if refused.error.code() != error::EAGAIN {
                return Err(refused.error);
            }
            self.count(|report| &mut report.full);
            stream.write(refused.message)
        });
        match &written {
            Ok(()) => self.count(|report| &mut report.written),
            Err(error) => self.write_failed(error.code()),
        }
        written
    }

    fn write_failed(&self, code: ErrorCode) {
        lock(&self.0).write_error = Some(code.get());
    }
}

/// What a handler does beside counting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doing {
    /// Sends each message back.
    pub echo: bool,
    /// Sleeps for so long at each message.
    pub read_delay: Duration,
    /// Closes when so many have come; 0: never.
    pub close_after: i64,
}

/// The ends of the streams of a call.
#[derive(Debug, Default)]
pub struct StreamEnds {
    ends: Mutex<HashMap<u64, Arc<StreamEnd>>>,
    doing: Doing,
}

impl StreamEnds {
    /// No ends yet.
    pub fn new(doing: Doing) -> Arc<Self> {
        Arc::new(StreamEnds { ends: Mutex::default(), doing })
    }

    /// The end of this stream. It may be there already: messages come as soon as they can.
    pub fn of(&self, id: u64) -> Arc<StreamEnd> {
        lock(&self.ends).entry(id).or_default().clone()
    }

    /// The handler to give to a stream.
    pub fn handler(self: &Arc<Self>) -> impl StreamHandler {
        Handler(self.clone())
    }
}

struct Handler(Arc<StreamEnds>);

impl StreamHandler for Handler {
    fn on_received_messages(&self, stream: &StreamWriter, messages: &mut Vec<IoBuf>) {
        let (end, doing) = (self.0.of(stream.id()), self.0.doing);
        for message in messages.drain(..) {
            if !doing.read_delay.is_zero() {
                bthread::sleep(doing.read_delay);
            }
            let seen = end.received(&message);
            if doing.echo {
                // Whoever asks for the report sees the error.
                let _ = end.write_one(stream, message);
            }
            if seen == doing.close_after {
                stream.close();
            }
        }
    }

    fn on_failed(&self, stream: &StreamWriter, error: &RpcError) {
        lock(&self.0.of(stream.id()).0).failed_code = Some(error.code().get());
    }

    fn on_closed(&self, stream: &StreamWriter) {
        let end = self.0.of(stream.id());
        let mut report = lock(&end.0);
        report.closed = Some(report.closed() + 1);
    }
}
