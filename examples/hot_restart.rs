//! Serves `example.EchoService/Echo`, and replaces itself when SIGHUP comes: a new process of the same program takes the
//! port over, and no call fails.
//!
//! `hot_restart --listen 127.0.0.1:8002`, then `kill -HUP` of its process as often as you like, with
//! `echo_client` or any other load running. SIGTERM and SIGINT end it.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use bobbin::{RpcError, Server, ServerCall, ask_to_quit, handover, watch_quit_signals};
use bobbin_examples::example::{EchoRequest, EchoResponse, EchoServer, EchoService};
use clap::Parser;
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

#[derive(Parser)]
#[command(about = "Serves example.EchoService/Echo; SIGHUP replaces the process without a failed call")]
struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8002")]
    listen: String,
    /// Path at which the process that serves offers its port to the next one
    #[arg(long, default_value = "hot_restart.sock")]
    handover: PathBuf,
    /// Take the port from the process that offers it, in place of listening
    #[arg(long)]
    take_over: bool,
}

struct Echo;

impl EchoService for Echo {
    /// Says which process has answered.
    fn echo(&self, _: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
        Ok(EchoResponse { message: format!("{} from {}", request.message, std::process::id()) })
    }
}

/// Starts the next process each time that SIGHUP comes.
fn replace_on_hangup(options: &Options) -> io::Result<()> {
    let mut hangups = Signals::new([SIGHUP])?;
    let program = std::env::current_exe()?;
    let arguments = [
        "--take-over".into(),
        "--listen".into(),
        options.listen.clone().into(),
        "--handover".into(),
        options.handover.clone().into_os_string(),
    ];
    std::thread::spawn(move || {
        for _ in &mut hangups {
            // One that fails leaves us serving, and says why itself.
            match Command::new(&program).args(&arguments).spawn() {
                Ok(mut successor) => drop(std::thread::spawn(move || successor.wait())),
                Err(error) => eprintln!("hot_restart: {error}"),
            }
        }
    });
    Ok(())
}

fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    watch_quit_signals()?;
    replace_on_hangup(options)?;
    let builder = Server::builder().add(EchoServer::new(Echo));
    let server = if options.take_over {
        let mut takeover = handover::take_over(&options.handover)?;
        let server = builder.start_with(takeover.take_listeners())?;
        // Here a real server would load what it needs; until the next line the old process serves alone or along.
        takeover.complete()?;
        server
    } else {
        builder.start(&options.listen)?
    };
    let _offer = server.offer_listeners(&options.handover, ask_to_quit)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} listening on {}", std::process::id(), server.local_addr())?;
    out.flush()?;
    drop(out);
    server.run_until_asked_to_quit();
    Ok(())
}

fn main() -> ExitCode {
    match serve(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hot_restart: {error}");
            ExitCode::FAILURE
        }
    }
}
