//! Serves `example.EchoService/Echo` until SIGTERM or SIGINT: sleeps if asked to, and echoes message and attachment.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use bobbin::bthread::{self, Runtime};
use bobbin::{RpcError, Server, ServerCall, watch_quit_signals};
use bobbin_examples::example::{EchoRequest, EchoResponse, EchoServer, EchoService};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Serves example.EchoService/Echo until SIGTERM or SIGINT")]
struct Options {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:8002")]
    listen: String,
    /// Worker threads [default: one per CPU]
    #[arg(long)]
    workers: Option<usize>,
}

struct Echo;

impl EchoService for Echo {
    fn echo(&self, cntl: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
        if let Some(sleep_us @ 1..) = request.sleep_us {
            // Parks this bthread; the worker runs others meanwhile.
            bthread::sleep(Duration::from_micros(sleep_us.unsigned_abs().into()));
        }
        let attachment = cntl.take_request_attachment();
        cntl.response_attachment().append_buf(attachment);
        Ok(EchoResponse { message: request.message })
    }
}

fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    if let Some(workers) = options.workers {
        Runtime::builder().workers(workers).install()?;
    }
    watch_quit_signals()?;
    let server = Server::builder().add(EchoServer::new(Echo)).start(&options.listen)?;
    // Whoever started this process may wait for the line at the other end of a pipe.
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {}", server.local_addr())?;
    out.flush()?;
    drop(out);
    server.run_until_asked_to_quit();
    Ok(())
}

fn main() -> ExitCode {
    match serve(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_server: {error}");
            ExitCode::FAILURE
        }
    }
}
