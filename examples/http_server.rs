//! Serves `example.EchoService/Echo` over every protocol, some plain HTTP and the debug pages on one port, until SIGTERM
//! or SIGINT.
//!
//! Try, with the address that it prints:
//!
//! ```text
//! curl -d '{"message":"hello"}' http://127.0.0.1:8003/EchoService/Echo
//! curl http://127.0.0.1:8003/status          # and with a browser
//! curl -N http://127.0.0.1:8003/clock        # events, one each second
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bobbin::bthread::{self, Runtime};
use bobbin::bvar::{Adder, Variable};
use bobbin::http::{Event, HttpCall, HttpService};
use bobbin::limit::Constant;
use bobbin::{PageOptions, RpcError, Server, ServerCall, watch_quit_signals};
use bobbin_examples::example::{EchoRequest, EchoResponse, EchoServer, EchoService};
use clap::Parser;

/// More calls of Echo at a time are refused.
const ECHO_MAX: usize = 10_000;
/// While so many bytes of a clock's events are not taken, it stands still.
const CLOCK_UNWRITTEN_MAX: usize = 64 << 10;

#[derive(Parser)]
#[command(about = "Serves example.EchoService/Echo, plain HTTP and the debug pages until SIGTERM or SIGINT")]
struct Options {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:8003")]
    listen: String,
    /// Worker threads [default: one per CPU]
    #[arg(long)]
    workers: Option<usize>,
    /// Address of a port for the debug pages alone
    #[arg(long)]
    internal: Option<String>,
    /// Lets other machines see the debug pages
    #[arg(long)]
    open_pages: bool,
    /// Shows the stacks of threads at /threads
    #[arg(long)]
    threads: bool,
    /// Shows the files below this folder at /dir
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Exposes so many counters beside its own variables, to see what they cost
    #[arg(long, default_value_t = 0)]
    counters: usize,
    /// Lets other machines change flags with this token
    #[arg(long)]
    token: Option<String>,
    /// Flags of Bobbin, as brpc's users give them: -enable_rpcz=false
    #[arg(last = true)]
    flags: Vec<String>,
}

struct Echo;

impl EchoService for Echo {
    fn echo(&self, cntl: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
        if let Some(sleep_us @ 1..) = request.sleep_us {
            bthread::sleep(Duration::from_micros(sleep_us.unsigned_abs().into()));
        }
        let attachment = cntl.take_request_attachment();
        cntl.response_attachment().append_buf(attachment);
        Ok(EchoResponse { message: request.message })
    }
}

/// Sends the time, once a second, until nobody listens.
fn clock(call: &mut ServerCall) {
    let Some(stream) = call.event_stream() else { return };
    bthread::spawn(move || {
        for tick in 0_u64.. {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let event = Event::new(format!("{}", now.as_secs())).event("tick").id(tick.to_string());
            if stream.send(&event).is_err() || stream.wait_for_room(CLOCK_UNWRITTEN_MAX, None).is_err() {
                return;
            }
            bthread::sleep(Duration::from_secs(1));
        }
    });
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    bobbin::register_flags();
    bobbin::bvar::flag::parse_args(options.flags)?;
    if let Some(workers) = options.workers {
        Runtime::builder().workers(workers).install()?;
    }
    watch_quit_signals()?;
    let _counters: Vec<_> = (0..options.counters)
        .map(|n| Adder::<i64>::new().expose(&format!("http_server_extra_{n}")))
        .collect::<Result<_, _>>()?;
    let mut pages = PageOptions::new();
    if options.open_pages {
        pages = pages.open_to_all();
    }
    if options.threads {
        pages = pages.threads();
    }
    if let Some(root) = options.dir {
        pages = pages.dir(root);
    }
    if let Some(token) = options.token {
        pages = pages.token(token);
    }
    let site = HttpService::new("Site")
        .get("/hello", |_| "hello\n")
        .route_with_call("/clock", |call, _| clock(call));
    let mut builder = Server::builder()
        .add(EchoServer::new(Echo))
        .add(site)
        .limit_method("example.EchoService.Echo", Constant::new(ECHO_MAX))
        .pages(pages);
    if let Some(internal) = options.internal {
        builder = builder.internal_port(internal);
    }
    let server = builder.start(&options.listen)?;
    // Whoever started this process may wait for the line at the other end of a pipe.
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {}", server.local_addr())?;
    out.flush()?;
    drop(out);
    server.run_until_asked_to_quit();
    Ok(())
}

fn main() -> ExitCode {
    match serve(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http_server: {error}");
            ExitCode::FAILURE
        }
    }
}
