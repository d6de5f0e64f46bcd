//! Hands every baidu_std call on to another server, until SIGTERM or SIGINT: whatever service and method it names and
//! in whatever form its body is, nothing is decoded, and attachments are not copied.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bobbin::{CallOptions, Channel, MasterCall, RpcError, Server, error, watch_quit_signals};
use clap::Parser;

/// How long a call without a deadline of its own may take, in milliseconds.
const TIMEOUT_MS_DEFAULT: u64 = 10_000;

#[derive(Parser)]
#[command(about = "Hands every baidu_std call on to another server, without decoding it")]
struct Options {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:8003")]
    listen: String,
    /// The server that is to answer
    #[arg(long, default_value = "127.0.0.1:8002")]
    server: String,
    /// How long a call may take that does not say how long its caller waits, in milliseconds
    #[arg(long, default_value_t = TIMEOUT_MS_DEFAULT)]
    timeout_ms: u64,
}

/// What came with the request goes along with it.
fn options(call: &mut MasterCall) -> CallOptions {
    let call = call.call_mut();
    let mut options = CallOptions::default()
        .request_id(call.request_id())
        .request_attachment(call.take_request_attachment());
    if let Some(id) = call.log_id() {
        options = options.log_id(id);
    }
    if let Some(deadline) = call.deadline() {
        options = options.timeout(deadline.saturating_duration_since(Instant::now()));
    }
    for (key, value) in call.user_fields().into_iter().flat_map(|fields| fields.iter()) {
        options = options.user_field(key, value);
    }
    options
}

fn forward(channel: &Channel, mut call: MasterCall) {
    if !call.is_intact() {
        return call.fail(RpcError::new(error::EREQUEST, "The checksum does not match"));
    }
    let options = options(&mut call);
    let (encoding, body) = (call.encoding(), call.take_body());
    // Parks this bthread alone until the answer is there.
    match channel.call_generic(call.service_name(), call.method_name(), encoding, body, options) {
        Ok(reply) => {
            let answer = call.call_mut();
            answer.response_attachment().append_buf(reply.attachment);
            for (key, value) in reply.user_fields.iter() {
                answer.response_user_fields().set(key, value);
            }
            call.succeed(&reply.message, reply.encoding);
        }
        Err(error) => call.fail(error),
    }
}

fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    watch_quit_signals()?;
    let timeout = Duration::from_millis(options.timeout_ms);
    let channel = Channel::builder()
        .protocol("baidu_std")
        .timeout(timeout)
        .deliver_timeout(true)
        .connect(&options.server)?;
    let server = Server::builder()
        .baidu_master_service(move |call: MasterCall| forward(&channel, call))
        .start(&options.listen)?;
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
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}
