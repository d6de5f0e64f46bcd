//! Load on an echo service: bthreads that call, one call after the other, and look at every reply.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{fmt, io};

use bobbin::bthread::{self, JoinHandle};
use bobbin::bvar::{LatencyRecorder, LatencySnapshot, LatencyUnit};
use bobbin::{CallOptions, IoBuf, RpcError};

use crate::example::{EchoRequest, EchoStub};

/// How long a caller waits after a call that failed, so that a dead server is not asked in a hot loop.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// What to call with, and for how long.
#[derive(Clone, Debug)]
pub struct Load {
    /// Bthreads that call at the same time.
    pub fibers: usize,
    /// Bytes of each message.
    pub message_size: usize,
    /// Bytes of each attachment.
    pub attachment_size: usize,
    /// No call is begun later than this after the start.
    pub duration: Duration,
}

impl Load {
    /// Starts to call through `stub`. Does not block.
    ///
    /// # Errors
    ///
    /// When there are no bthreads left; those already started end with the duration.
    pub fn start(&self, stub: &EchoStub) -> io::Result<RunningLoad> {
        let seen = Arc::new(Seen {
            latency: LatencyRecorder::new(LatencyUnit::Nanos),
            errors: AtomicU64::new(0),
            first_error: OnceLock::new(),
        });
        let started = Instant::now();
        let until = started + self.duration;
        let mut fibers = Vec::with_capacity(self.fibers);
        for number in 0..self.fibers {
            let mut caller = Caller::new(number, self, stub.clone());
            let seen = Arc::clone(&seen);
            fibers.push(
                bthread::Builder::new().name("echo load").spawn(move || caller.call_until(until, &seen))?,
            );
        }
        Ok(RunningLoad { started, seen, fibers })
    }
}

/// Load that is being put on a service.
pub struct RunningLoad {
    started: Instant,
    seen: Arc<Seen>,
    fibers: Vec<JoinHandle<()>>,
}

impl RunningLoad {
    /// What was seen so far. Blocks the thread for a moment, see [`LatencyRecorder::snapshot`].
    pub fn so_far(&self) -> Report {
        Report {
            elapsed: self.started.elapsed(),
            latency: self.seen.latency.snapshot(),
            errors: self.seen.errors.load(Ordering::Relaxed), // a count; orders nothing
            first_error: self.seen.first_error.get().cloned(),
        }
    }

    /// Waits for the duration to end and the last calls to be answered. Parks the bthread, or blocks the thread.
    ///
    /// # Panics
    ///
    /// If a caller did.
    pub fn finish(mut self) -> Report {
        for fiber in self.fibers.drain(..) {
            fiber.join().expect("a caller does not panic");
        }
        self.so_far()
    }
}

/// What all callers write to.
struct Seen {
    /// Of calls that went well.
    latency: LatencyRecorder,
    errors: AtomicU64,
    first_error: OnceLock<String>,
}

/// What calls came to, up to one moment.
#[derive(Clone)]
pub struct Report {
    /// Time since the start.
    pub elapsed: Duration,
    /// Latencies of the calls that went well, in nanoseconds.
    pub latency: LatencySnapshot,
    /// Calls that failed, or were answered with something else than an echo.
    pub errors: u64,
    /// Why the first of these did.
    pub first_error: Option<String>,
}

impl Report {
    /// Calls that went well, per second.
    pub fn qps(&self) -> f64 {
        self.latency.count() as f64 / self.elapsed.as_secs_f64()
    }

    /// The average latency in microseconds.
    pub fn average_us(&self) -> f64 {
        self.latency.average() / 1000.0
    }

    /// The latency in microseconds that a share of `ratio` of the calls did not exceed.
    pub fn percentile_us(&self, ratio: f64) -> f64 {
        self.latency.percentile(ratio) as f64 / 1000.0
    }
}

/// `qps=… avg=… p50=… p99=… p999=… errors=…`, latencies in microseconds.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "qps={:.0} avg={:.0} p50={:.0} p99={:.0} p999={:.0} errors={}",
            self.qps(),
            self.average_us(),
            self.percentile_us(0.5),
            self.percentile_us(0.99),
            self.percentile_us(0.999),
            self.errors
        )
    }
}

/// One bthread's part of the load.
struct Caller {
    stub: EchoStub,
    request: EchoRequest,
    attachment: IoBuf,
    /// Tells this caller's messages from those of others.
    number: usize,
    calls: usize,
}

impl Caller {
    fn new(number: usize, load: &Load, stub: EchoStub) -> Self {
        let mut attachment = IoBuf::new();
        attachment.append_fill(letter(number) as u8, load.attachment_size);
        let request = EchoRequest { message: "-".repeat(load.message_size), sleep_us: None };
        Self { stub, request, attachment, number, calls: 0 }
    }

    fn call_until(&mut self, until: Instant, seen: &Seen) {
        loop {
            let begun = Instant::now();
            if begun >= until {
                return;
            }
            match self.call() {
                Ok(()) => seen.latency.record_duration(begun.elapsed()),
                Err(error) => {
                    seen.errors.fetch_add(1, Ordering::Relaxed); // a count; orders nothing
                    let _ = seen.first_error.set(error); // the first stays
                    bthread::sleep(PAUSE_AFTER_ERROR);
                }
            }
        }
    }

    /// One call, whose message is unlike the one before and unlike those of the neighbours.
    fn call(&mut self) -> Result<(), String> {
        self.calls += 1;
        if !self.request.message.is_empty() {
            let mark = letter(self.number + self.calls);
            self.request.message.replace_range(..1, mark.encode_utf8(&mut [0; 4]));
        }
        let options = CallOptions::default().request_attachment(self.attachment.clone());
        let reply =
            self.stub.echo_with(options, &self.request).map_err(|error: RpcError| error.to_string())?;
        if reply.message.message != self.request.message {
            return Err(format!("the reply of {} bytes is not the request", reply.message.message.len()));
        }
        if reply.attachment != self.attachment {
            return Err(format!(
                "the attachment of {} bytes is not that of the request",
                reply.attachment.len()
            ));
        }
        Ok(())
    }
}

fn letter(number: usize) -> char {
    (b'a' + (number % 26) as u8) as char
}

#[cfg(test)]
mod tests {
    use bobbin::{Channel, Server, ServerCall};

    use super::*;
    use crate::example::{EchoResponse, EchoServer, EchoService};

    /// What a server does to a message or an attachment before it sends it back.
    struct Echo(fn(&mut String), fn(&mut IoBuf));

    impl EchoService for Echo {
        fn echo(&self, cntl: &mut ServerCall, mut request: EchoRequest) -> Result<EchoResponse, RpcError> {
            let Echo(change_message, change_attachment) = self;
            let mut attachment = cntl.take_request_attachment();
            change_message(&mut request.message);
            change_attachment(&mut attachment);
            cntl.response_attachment().append_buf(attachment);
            Ok(EchoResponse { message: request.message })
        }
    }

    fn report_on(echo: Echo) -> Report {
        let server = Server::builder().add(EchoServer::new(echo)).start("127.0.0.1:0").unwrap();
        let channel =
            Channel::builder().timeout(Duration::from_secs(30)).connect(server.local_addr()).unwrap();
        let duration = Duration::from_millis(50);
        let load = Load { fibers: 3, message_size: 8, attachment_size: 10_000, duration };
        load.start(&EchoStub::new(&channel)).unwrap().finish()
    }

    #[test]
    fn an_echo_is_no_error() {
        let report = report_on(Echo(|_| {}, |_| {}));
        assert_eq!((report.errors, &report.first_error), (0, &None));
        assert!(report.latency.count() >= 3);
        assert!(report.to_string().ends_with(" errors=0"), "{report}");
    }

    #[test]
    fn another_message_or_attachment_is_an_error() {
        for echo in
            [Echo(|message| message.make_ascii_uppercase(), |_| {}), Echo(|_| {}, |buf| buf.push_back(0))]
        {
            let report = report_on(echo);
            assert_eq!(report.latency.count(), 0);
            assert!(report.errors >= 3);
            assert!(report.first_error.unwrap().contains("is not"));
        }
    }
}
