//! An open-loop load generator for HTTP/1.1 servers: one thread that never sleeps, a constant rate of requests over a
//! number of connections.
//!
//! ```text
//! http_load ADDRESS PATH --rate PER_SECOND [--conns N] [--secs N] [--warmup N] [--body JSON]
//! ```
//!
//! A request is due at its time whatever became of those before it. It goes out on the first connection that has none
//! under way, and its latency counts from the time when it was due: a server that stands still is charged for all that
//! would have been asked meanwhile. Requests still unsent at the end are charged with the time they have waited, and
//! counted. A request with `--body` is a POST of JSON, one without is a GET.
//!
//! Prints one line: what was asked for and reached, and percentiles in microseconds. Anything but a 200 with a
//! `Content-Length` ends the program with an error.

mod connection;

use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use connection::{Connection, Progress};
use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

/// How long the last answers may take.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Three digits of a latency are exact.
const DIGITS: u8 = 3;

struct Options {
    address: SocketAddr,
    path: String,
    rate: u64,
    connections: usize,
    time: Duration,
    warm_up: Duration,
    body: Option<String>,
}

impl Options {
    fn of(mut args: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Options {
            address: args.next().ok_or("an address is needed")?.parse()?,
            path: args.next().ok_or("a path is needed")?,
            rate: 0,
            connections: 50,
            time: Duration::from_secs(5),
            warm_up: Duration::from_secs(1),
            body: None,
        };
        while let Some(arg) = args.next() {
            let value = args.next().ok_or_else(|| format!("{arg} takes a value"))?;
            match arg.as_str() {
                "--rate" => options.rate = value.parse()?,
                "--conns" => options.connections = value.parse()?,
                "--secs" => options.time = Duration::from_secs(value.parse()?),
                "--warmup" => options.warm_up = Duration::from_secs(value.parse()?),
                "--body" => options.body = Some(value),
                other => return Err(format!("unknown option {other}").into()),
            }
        }
        if options.rate == 0 || options.connections == 0 || options.time.is_zero() {
            return Err("--rate, --conns and --secs must be above 0".into());
        }
        Ok(options)
    }

    fn request(&self) -> Vec<u8> {
        let Options { address, path, .. } = self;
        match &self.body {
            None => format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes(),
            Some(body) => format!(
                "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n\
                 {body}",
                body.len()
            )
            .into_bytes(),
        }
    }
}

/// What has come of the requests that were due after the warm-up.
struct Tally {
    latencies: Histogram<u64>,
    measured_from: Instant,
}

impl Tally {
    fn count(&mut self, due: Instant, now: Instant) {
        if due >= self.measured_from {
            let microseconds = now.saturating_duration_since(due).as_nanos() as u64;
            self.latencies.saturating_record(microseconds.max(1));
        }
    }
}

fn run(options: &Options) -> Result<String, Box<dyn Error>> {
    let request = options.request();
    let mut poll = Poll::new()?;
    let mut connections = (0..options.connections)
        .map(|index| Connection::open(options.address, poll.registry(), Token(index)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut idle: VecDeque<usize> = (0..options.connections).collect();
    let mut events = Events::with_capacity(options.connections);

    let start = Instant::now();
    let measured_from = start + options.warm_up;
    let end = measured_from + options.time;
    let mut tally =
        Tally { latencies: Histogram::new_with_bounds(1, 60_000_000_000, DIGITS)?, measured_from };
    let due_at = |index: u64| {
        let nanoseconds = u128::from(index) * 1_000_000_000 / u128::from(options.rate);
        start + Duration::from_nanos(nanoseconds as u64)
    };
    let mut next = 0;
    loop {
        let now = Instant::now();
        while now < end
            && due_at(next) <= now
            && let Some(index) = idle.pop_front()
        {
            connections[index].send(&request, due_at(next))?;
            next += 1;
        }
        let all_sent = due_at(next) >= end;
        if (all_sent && idle.len() == connections.len())
            || now >= end + DRAIN_MAX
            || (!all_sent && now >= end)
        {
            break;
        }
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            let index = event.token().0;
            if let Progress::Answered(due) = connections[index].advance(&request)? {
                tally.count(due, Instant::now());
                idle.push_back(index);
            }
        }
    }

    let mut unsent = 0_u64;
    while due_at(next) < end {
        tally.count(due_at(next), end);
        next += 1;
        unsent += 1;
    }
    let mut unanswered = 0_u64;
    for due in connections.iter().filter_map(Connection::due) {
        tally.count(due, Instant::now());
        unanswered += 1;
    }
    Ok(line(options, &tally.latencies, unsent, unanswered))
}

fn line(options: &Options, latencies: &Histogram<u64>, unsent: u64, unanswered: u64) -> String {
    let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    let answered = latencies.len() - unsent - unanswered;
    format!(
        "rate={} answered={:.0}/s p50={:.1} p90={:.1} p99={:.1} p999={:.1} max={:.1} unsent={unsent} unanswered={unanswered}",
        options.rate,
        answered as f64 / options.time.as_secs_f64(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        latencies.max() as f64 / 1000.0,
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", run(&Options::of(std::env::args().skip(1))?)?);
    Ok(())
}
