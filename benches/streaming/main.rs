//! What a stream carries: messages of 64 bytes and of 64 KiB, from one writer and from two, to a handler and to a reader,
//! server and client in this process over loopback. Prints the best and the median of several runs of a second.
//!
//!     cargo bench -p bobbin-benches --bench streaming

#[path = "../machine.rs"]
mod machine;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bobbin::{IoBuf, RpcError, Server, ServerCall, bthread, rpc};
use bobbin_examples::example::{EchoRequest, EchoResponse, EchoServer, EchoService, EchoStub};
use rpc::{CallOptions, StreamHandler, StreamOptions, StreamWriter};

const RUNS: usize = 5;
const RUN_TIME: Duration = Duration::from_secs(1);
/// Messages between two looks at the clock.
const CLOCK_EVERY: usize = 64;

/// What has arrived so far.
#[derive(Default)]
struct Received {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Received {
    // Relaxed: sums that are read when the stream has ended.
    fn add(&self, messages: u64, bytes: usize) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

struct Counting(Arc<Received>);

impl StreamHandler for Counting {
    fn on_received_messages(&self, _: &StreamWriter, messages: &mut Vec<IoBuf>) {
        self.0.add(messages.len() as u64, messages.iter().map(IoBuf::len).sum());
    }
}

/// Accepts streams and counts what they bring; the message says how.
struct Counter(Arc<Received>);

impl EchoService for Counter {
    fn echo(&self, call: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
        if request.message == "handler" {
            call.accept_stream(StreamOptions::default().handler(Counting(self.0.clone())))?;
        } else {
            let (reader, received) = (call.accept_stream(StreamOptions::default())?, self.0.clone());
            bthread::spawn(move || {
                for message in reader.flatten() {
                    received.add(1, message.len());
                }
            });
        }
        Ok(EchoResponse { message: request.message })
    }
}

struct Case {
    name: &'static str,
    size: usize,
    writers: usize,
    receiver: &'static str,
    background: bool,
    in_threads: bool,
}

/// Writes until the time is up.
fn write(stream: &StreamWriter, message: &[u8], large: &IoBuf) -> Result<(), RpcError> {
    let begun = Instant::now();
    while begun.elapsed() < RUN_TIME {
        for _ in 0..CLOCK_EVERY {
            // A small message is made each time, a large one is shared.
            stream.write(if large.is_empty() { IoBuf::from(message) } else { large.clone() })?;
        }
    }
    Ok(())
}

/// Messages and bytes of a second.
fn run(case: &Case, echo: &EchoStub, received: &Arc<Received>) -> Result<(f64, f64), Box<dyn Error>> {
    let options = StreamOptions::default().write_only().write_in_background(case.background);
    let (call, stream) = CallOptions::default().timeout(Duration::from_secs(10)).open_stream(options)?;
    echo.echo_with(call, &EchoRequest { message: case.receiver.into(), sleep_us: None })?;
    let before = (received.messages.load(Ordering::Relaxed), received.bytes.load(Ordering::Relaxed));
    let (_reader, writer) = stream.split();
    let message: Arc<[u8]> = vec![7; case.size].into();
    let large = if case.size > 512 { IoBuf::from(&message[..]) } else { IoBuf::new() };
    let begun = Instant::now();
    let work = || {
        let (writer, message, large) = (writer.clone(), message.clone(), large.clone());
        move || write(&writer, &message, &large)
    };
    if case.in_threads {
        let threads: Vec<_> = (0..case.writers).map(|_| std::thread::spawn(work())).collect();
        for thread in threads {
            thread.join().expect("no panic")?;
        }
    } else {
        let bthreads: Vec<_> = (0..case.writers).map(|_| bthread::spawn(work())).collect();
        for bthread in bthreads {
            bthread.join().expect("no panic")?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = (received.messages.load(Ordering::Relaxed), received.bytes.load(Ordering::Relaxed));
    Ok(((after.0 - before.0) as f64 / seconds, (after.1 - before.1) as f64 / seconds))
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(()); // `cargo test` runs benchmarks without the time for them
    }
    println!("{:.2} CPUs to be had of 2", machine::cpus_to_be_had(2));
    let received = Arc::new(Received::default());
    let server = Server::builder().add(EchoServer::new(Counter(received.clone()))).start("127.0.0.1:0")?;
    let channel = bobbin::Channel::builder().connect(server.local_addr())?;
    let echo = EchoStub::new(&channel);
    let case = |name, size, writers, receiver| Case {
        name,
        size,
        writers,
        receiver,
        background: false,
        in_threads: false,
    };
    let cases = [
        case("64 B, one writer, handler", 64, 1, "handler"),
        case("64 B, two writers, handler", 64, 2, "handler"),
        case("64 B, one writer, reader", 64, 1, "reader"),
        Case {
            background: true,
            in_threads: true,
            ..case("64 B, a thread, in background", 64, 1, "handler")
        },
        Case { in_threads: true, ..case("64 B, a thread, at once", 64, 1, "handler") },
        case("64 KiB, one writer, handler", 64 << 10, 1, "handler"),
        case("64 KiB, two writers, handler", 64 << 10, 2, "handler"),
        case("64 KiB, one writer, reader", 64 << 10, 1, "reader"),
    ];
    for case in cases {
        let mut runs = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            runs.push(run(&case, &echo, &received)?);
        }
        runs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let [best, median] = [runs[0], runs[RUNS / 2]];
        println!(
            "{:<32} best {:>6.2} M/s {:>6.2} GB/s   median {:>6.2} M/s {:>6.2} GB/s",
            case.name,
            best.0 / 1e6,
            best.1 / 1e9,
            median.0 / 1e6,
            median.1 / 1e9
        );
    }
    Ok(())
}
