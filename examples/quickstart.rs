//! A server and a client in one process: 50 bthreads call it for five seconds, over TCP.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bobbin::{Channel, RpcError, Server, ServerCall, bthread};
use bobbin_examples::example::{EchoRequest, EchoResponse, EchoServer, EchoService, EchoStub};
use bobbin_examples::load::{Load, Report};

const SECONDS: u64 = 5;
const FIBERS: usize = 50;
const MESSAGE_SIZE: usize = 16;

struct Echo;

impl EchoService for Echo {
    fn echo(&self, cntl: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
        let attachment = cntl.take_request_attachment();
        cntl.response_attachment().append_buf(attachment);
        Ok(EchoResponse { message: request.message })
    }
}

/// Whether all calls went well.
fn run() -> Result<bool, Box<dyn Error>> {
    let server = Server::builder().add(EchoServer::new(Echo)).start("127.0.0.1:0")?;
    println!("listening on {}", server.local_addr());

    let channel = Channel::builder()
        .protocol("baidu_std")
        .timeout(Duration::from_secs(1))
        .connect(server.local_addr())?;
    let echo = EchoStub::new(&channel);
    let request = EchoRequest { message: "hello".to_owned(), ..Default::default() };
    println!("one call: {:?}", echo.echo(&request)?.message);

    println!("{FIBERS} bthreads, one call at a time each, messages of {MESSAGE_SIZE} bytes:");
    let load = Load {
        fibers: FIBERS,
        message_size: MESSAGE_SIZE,
        attachment_size: 0,
        duration: Duration::from_secs(SECONDS),
    };
    let running = load.start(&echo)?;
    let started = Instant::now();
    let mut calls_before = 0;
    for second in 1..=SECONDS {
        bthread::sleep_until(started + Duration::from_secs(second));
        let calls = running.so_far().latency.count();
        println!("  {second} s  {:>8} calls in this second", calls - calls_before);
        calls_before = calls;
    }
    let report = running.finish();

    server.stop();
    server.join();
    print_table(&report);
    if let Some(error) = &report.first_error {
        eprintln!("first error: {error}");
    }
    Ok(report.errors == 0)
}

fn print_table(report: &Report) {
    println!("{:-<32}", "");
    println!("calls      {:>12}", report.latency.count());
    println!("errors     {:>12}", report.errors);
    println!("calls/s    {:>12.0}", report.qps());
    println!("average    {:>12.1} µs", report.average_us());
    for (name, ratio) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        println!("{name:<10} {:>12.1} µs", report.percentile_us(ratio));
    }
    println!("longest    {:>12.1} µs", report.latency.max() as f64 / 1000.0);
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}
