//! Calls an echo service from many bthreads and prints one line of figures, latencies in microseconds. The first
//! error goes to standard error; the exit status is 1 if no call went well.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use bobbin::Channel;
use bobbin_examples::example::EchoStub;
use bobbin_examples::load::Load;
use clap::Parser;

/// Longer than any call should take under load, so that what is late shows in the percentiles.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Parser)]
#[command(about = "Calls an echo service from many bthreads and prints one line of figures (µs)")]
struct Options {
    /// Address of the server
    #[arg(long)]
    server: String,
    /// Protocol to call with
    #[arg(long, default_value = "baidu_std")]
    protocol: String,
    /// Kind of connection
    #[arg(long, default_value = "single")]
    connection_type: String,
    /// Bthreads that call at the same time
    #[arg(long, default_value_t = 50)]
    fibers: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 16)]
    size: usize,
    /// Bytes of an attachment
    #[arg(long, default_value_t = 0)]
    attach: usize,
    /// Seconds to call for
    #[arg(long, default_value_t = 5)]
    secs: u64,
}

/// Whether any call went well.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let channel = Channel::builder()
        .protocol(&options.protocol)
        .connection_type(&options.connection_type)
        .timeout(CALL_TIMEOUT)
        .connect(&options.server)?;
    let load = Load {
        fibers: options.fibers,
        message_size: options.size,
        attachment_size: options.attach,
        duration: Duration::from_secs(options.secs),
    };
    let report = load.start(&EchoStub::new(&channel))?.finish();
    println!("{report}");
    if let Some(error) = &report.first_error {
        eprintln!("first error: {error}");
    }
    Ok(report.latency.count() > 0)
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("echo_client: {error}");
            ExitCode::FAILURE
        }
    }
}
