//! What a server does with three times the load that it can bear.
//!
//! ```text
//! cargo bench -p bobbin-benches --bench overload -- [--secs N] [--rounds N] [--work MICROS] [--timeout MILLIS]
//! ```
//!
//! A server alone on core 0 computes for `--work` microseconds (100) in each call; the load comes from core 1. Its peak
//! is what 64 callers get that wait for their answers. Then calls begin at a fixed rate, of three times the peak, each
//! of which waits for `--timeout` milliseconds (50), whatever becomes of the others. Goodput is the calls that had their
//! answer in time. Each row is a way to run the server and its callers; a figure is the median of the rounds.
//!
//! Needs `taskset` (Debian's util-linux) and two cores.

#[path = "../machine.rs"]
mod machine;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use iobuf::IoBuf;
use protocols::Bundled;
use rpc::error::{ELIMIT, ERPCTIMEDOUT};
use rpc::{CallOptions, MethodDescriptor, RpcError, Schema, ServerCall, Service, ServiceDescriptor};

type Channel = rpc::Channel<Bundled>;

/// Callers that wait for their answers, to find the peak.
const CALLERS: usize = 64;
/// Calls under way at a time from the generator, at most: beyond, calls count as failed.
const UNDER_WAY_MAX: usize = 1 << 16;

/// A message without fields.
#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

impl rpc::ProtoMessage for Nothing {
    const FULL_NAME: &'static str = "bench.Nothing";
    const SCHEMA: Option<&'static rpc::MessageSchema> = None;
}

static SERVICE: ServiceDescriptor = ServiceDescriptor {
    full_name: "bench.Work",
    methods: &[MethodDescriptor {
        name: "Do",
        full_name: "bench.Work.Do",
        request_type: "bench.Nothing",
        response_type: "bench.Nothing",
        schema: &Schema::NONE,
    }],
    schema: &Schema::NONE,
};

/// Computes for so long.
struct Work(Duration);

impl Service for Work {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &SERVICE
    }

    fn call(&self, _: usize, call: ServerCall, body: IoBuf) {
        rpc::unary(call, body, |_, _: Nothing| {
            // By the thread's own time: what it has to wait for the processor is no work.
            let start = machine::thread_cpu_time();
            while machine::thread_cpu_time() - start < self.0 {
                std::hint::spin_loop();
            }
            Ok::<_, RpcError>(Nothing {})
        });
    }
}

/// A way to run the server and its callers.
struct Way {
    name: &'static str,
    /// What limits the method.
    limit: &'static str,
    /// Whether the server is told how long callers wait.
    delivers: bool,
    max_retry: u32,
}

const WAYS: [Way; 5] = [
    Way { name: "no limit, server not told of timeouts", limit: "unlimited", delivers: false, max_retry: 0 },
    Way { name: "no limit, timeouts told (default)", limit: "unlimited", delivers: true, max_retry: 0 },
    Way { name: "the same, 3 retries (default)", limit: "unlimited", delivers: true, max_retry: 3 },
    Way { name: "limit auto", limit: "auto", delivers: true, max_retry: 0 },
    Way { name: "limit 16", limit: "16", delivers: true, max_retry: 0 },
];

struct Options {
    secs: u64,
    rounds: usize,
    work: Duration,
    timeout: Duration,
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench"); // cargo bench passes it
    let mut options =
        Options { secs: 3, rounds: 5, work: Duration::from_micros(100), timeout: Duration::from_millis(50) };
    while let Some(arg) = args.next() {
        let value = args.next().unwrap_or_else(|| panic!("{arg} takes a value"));
        let number = || -> u64 { value.parse().expect("a number is needed") };
        match arg.as_str() {
            "--serve" => return serve(&value, options.work),
            "--secs" => options.secs = number().max(1),
            "--rounds" => options.rounds = number().max(1) as usize,
            "--work" => options.work = Duration::from_micros(number().max(1)),
            "--timeout" => options.timeout = Duration::from_millis(number().max(1)),
            other => panic!("unknown option {other}"),
        }
    }
    if std::env::var_os(PINNED).is_none() {
        println!("Two busy threads got {:.2} CPUs before the run.\n", machine::cpus_to_be_had(2));
        let status = on_core("1").args(std::env::args().skip(1)).env(PINNED, "1").status();
        std::process::exit(status.expect("taskset runs").code().unwrap_or(1));
    }
    println!(
        "| | peak/s | load/s | goodput/s | of the peak | p50, p99 of it, ms | refused: timeout, ELIMIT, other |"
    );
    println!("|---|---|---|---|---|---|---|");
    for way in &WAYS {
        let mut rounds: Vec<_> = (0..options.rounds).map(|_| round(way, &options)).collect();
        rounds.sort_by(|a, b| a.share().total_cmp(&b.share()));
        rounds[rounds.len() / 2].print(way.name);
    }
}

/// Set in the process that runs on the core of the load.
const PINNED: &str = "BOBBIN_BENCH_PINNED";

/// This program on a core.
fn on_core(core: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(std::env::current_exe().expect("Linux knows"));
    command
}

fn serve(limit: &str, work: Duration) {
    let server = rpc::Server::<Bundled>::builder().add(Work(work)).method_max_concurrency(limit);
    let server = server.start("127.0.0.1:0").expect("a port is free");
    println!("{}", server.local_addr());
    let _ = std::io::stdin().lines().next(); // until the parent ends
}

/// A server in a process of its own.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(way: &Way, options: &Options) -> Self {
        let work = options.work.as_micros().to_string();
        let mut child = on_core("0")
            .args(["--work", &work, "--serve", way.limit])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset runs");
        let mut address = String::new();
        let out = child.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut address).expect("the server says where it is");
        Server { child, address: address.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Counts {
    good: AtomicU64,
    late: AtomicU64,
    limited: AtomicU64,
    other: AtomicU64,
    under_way: AtomicUsize,
    latency: bthread::sync::Mutex<Vec<u32>>,
}

struct Round {
    peak: f64,
    load: f64,
    good: f64,
    percentiles: [f64; 2],
    refused: [u64; 3],
}

impl Round {
    fn share(&self) -> f64 {
        self.good / self.peak
    }

    fn print(&self, name: &str) {
        let [p50, p99] = self.percentiles;
        let [late, limited, other] = self.refused;
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.0}% | {p50:.1}, {p99:.1} | {late}, {limited}, {other} |",
            self.peak,
            self.load,
            self.good,
            100.0 * self.share()
        );
    }
}

fn round(way: &Way, options: &Options) -> Round {
    let server = Server::start(way, options);
    let channel = Channel::builder()
        .timeout(options.timeout)
        .max_retry(way.max_retry)
        .deliver_timeout(way.delivers)
        .connect(&server.address)
        .expect("an address");
    let peak = find_peak(&channel, options);
    overload(&channel, peak, options)
}

fn find_peak(channel: &Channel, options: &Options) -> f64 {
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (channel, done, stop) = (channel.clone(), done.clone(), stop.clone());
            bthread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // A limit that searches for its number refuses some.
                    let called =
                        channel.call::<_, Nothing>(&SERVICE.methods[0], CallOptions::default(), &Nothing {});
                    done.fetch_add(u64::from(called.is_ok()), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let measured = || (done.load(Ordering::Relaxed), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let (before, from) = measured();
    std::thread::sleep(Duration::from_secs(options.secs));
    let (after, to) = measured();
    stop.store(true, Ordering::Relaxed);
    callers.into_iter().for_each(|caller| caller.join().expect("no panic"));
    (after - before) as f64 / (to - from).as_secs_f64()
}

fn overload(channel: &Channel, peak: f64, options: &Options) -> Round {
    let counts = Arc::new(Counts::default());
    let rate = 3.0 * peak;
    let (warm, total) = (Duration::from_secs(1), Duration::from_secs(1 + options.secs));
    let start = Instant::now();
    let mut sent = 0_u64;
    let mut measured = 0_u64;
    while start.elapsed() < total {
        let due = (start.elapsed().as_secs_f64() * rate) as u64;
        while sent < due {
            sent += 1;
            let counted = start.elapsed() >= warm;
            measured += u64::from(counted);
            begin(channel, &counts, counted);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    while counts.under_way.load(Ordering::Acquire) > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut latency = std::mem::take(&mut *counts.latency.lock().expect("no panic"));
    latency.sort_unstable();
    let percentile = |share: f64| {
        latency.get((latency.len() as f64 * share) as usize).map_or(0.0, |us| f64::from(*us) / 1e3)
    };
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Round {
        peak,
        load: measured as f64 / options.secs as f64,
        good: count(&counts.good) as f64 / options.secs as f64,
        percentiles: [percentile(0.5), percentile(0.99)],
        refused: [count(&counts.late), count(&counts.limited), count(&counts.other)],
    }
}

fn begin(channel: &Channel, counts: &Arc<Counts>, counted: bool) {
    // AcqRel pairs with the end's: a call that is counted out is counted.
    if counts.under_way.fetch_add(1, Ordering::AcqRel) >= UNDER_WAY_MAX {
        counts.under_way.fetch_sub(1, Ordering::AcqRel);
        counts.other.fetch_add(u64::from(counted), Ordering::Relaxed);
        return;
    }
    let counts = counts.clone();
    let started = Instant::now();
    channel.call_then::<_, Nothing>(
        &SERVICE.methods[0],
        CallOptions::default(),
        &Nothing {},
        move |result| {
            let count = match &result {
                Ok(_) => &counts.good,
                Err(error) if error.code() == ERPCTIMEDOUT => &counts.late,
                Err(error) if error.code() == ELIMIT => &counts.limited,
                Err(_) => &counts.other,
            };
            count.fetch_add(u64::from(counted), Ordering::Relaxed);
            if counted && result.is_ok() {
                let took = u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX);
                counts.latency.lock().expect("no panic").push(took);
            }
            counts.under_way.fetch_sub(1, Ordering::AcqRel);
        },
    );
}
