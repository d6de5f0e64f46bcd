//! The two servers: one here, that is stopped and started again, and one that is another process, to be killed.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use bobbin::rpc::message::ChecksumType;
use bobbin::{IoBuf, RpcError, Server, ServerCall, StreamHandler, StreamOptions, StreamWriter, bthread};
use bobbin_examples::example::{EchoRequest, EchoResponse, EchoServer, EchoService};

use crate::SERVE;

struct Echo;

impl EchoService for Echo {
    fn echo(&self, cntl: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
        if let Some(sleep_us @ 1..) = request.sleep_us {
            bthread::sleep(std::time::Duration::from_micros(sleep_us.unsigned_abs().into()));
        }
        if cntl.offered_streams() > 0 {
            cntl.accept_streams(StreamOptions::default().handler(EchoMessages))?;
        }
        let encoding = cntl.request_encoding();
        cntl.set_response_compress_type(encoding.compress);
        if encoding.checksum != ChecksumType::None {
            cntl.set_response_checksum_type(encoding.checksum);
        }
        let attachment = cntl.take_request_attachment();
        cntl.response_attachment().append_buf(attachment);
        Ok(EchoResponse { message: request.message })
    }
}

struct EchoMessages;

impl StreamHandler for EchoMessages {
    fn on_received_messages(&self, stream: &StreamWriter, messages: &mut Vec<IoBuf>) {
        // A stream that has ended is told so by its end.
        let _ = messages.drain(..).try_for_each(|message| stream.write(message));
    }
}

fn start(address: &str) -> Server {
    // The port may be somebody's for a moment who connects to nobody.
    let builder = || Server::builder().add(EchoServer::new(Echo)).max_concurrency(512);
    loop {
        match builder().start(address) {
            Ok(server) => return server,
            Err(error) => {
                eprintln!("{address}: {error}");
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// Serves until it is killed, or nobody holds its input.
pub(crate) fn serve(address: &str) -> ! {
    let _server = start(address);
    println!("listening");
    let _ = std::io::stdout().flush();
    let _ = std::io::stdin().read_line(&mut String::new());
    std::process::exit(0);
}

pub(crate) struct OwnServer {
    server: Mutex<Option<Server>>,
    address: String,
}

impl OwnServer {
    pub(crate) fn start() -> Self {
        let server = start("127.0.0.1:0");
        let address = server.local_addr().to_string();
        OwnServer { server: Mutex::new(Some(server)), address }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Stops it in order, and starts it again.
    pub(crate) fn restart(&self) {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = server.take() {
            old.stop();
            old.join();
        }
        *server = Some(start(&self.address));
    }
}

pub(crate) struct ChildServer {
    child: Mutex<Child>,
    address: String,
}

fn start_child(address: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([SERVE, address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    lines
        .find(|line| line.as_ref().is_ok_and(|line| line == "listening"))
        .expect("the child listens")
        .expect("text");
    child
}

impl ChildServer {
    pub(crate) fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("a bound socket").to_string();
        drop(free);
        ChildServer { child: Mutex::new(start_child(&address)), address }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Kills it, and starts it again.
    pub(crate) fn restart(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        end(&mut child);
        *child = start_child(&self.address);
    }
}

fn end(child: &mut Child) {
    child.kill().expect("a child");
    child.wait().expect("a child");
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        end(self.child.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}
