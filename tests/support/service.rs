//! The service under test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bobbin::bthread::{self, Butex};
use bobbin::{RpcError, Server, ServerCall};
use bobbin_examples::example::{EchoRequest, EchoResponse, EchoServer, EchoService};

/// Holds calls up until it is opened, and counts them.
#[derive(Debug)]
pub struct Gate {
    open: Butex,
    arrived: AtomicUsize,
    started: AtomicUsize,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Arc<Self> {
        Arc::new(Gate { open: Butex::new(0), arrived: AtomicUsize::new(0), started: AtomicUsize::new(0) })
    }

    /// Lets everybody through from now on.
    pub fn open(&self) {
        self.open.value().store(1, Ordering::Release);
        self.open.wake_all();
    }

    /// Waits until so many calls have come to the gate.
    pub fn wait_for(&self, calls: usize) {
        while self.arrived.load(Ordering::Acquire) < calls {
            bthread::yield_now();
        }
    }

    fn pass(&self) {
        self.arrived.fetch_add(1, Ordering::Release);
        while self.open.value().load(Ordering::Acquire) == 0 {
            let _ = self.open.wait(0, None);
        }
    }
}

/// An echo service. The message tells it what to do: `panic` panics, `fail` fails with 1234, `gate` waits at the gate,
/// `log` answers the log id, `started` how many calls have been started before; anything else is echoed, with the attachment.
#[derive(Debug, Clone)]
pub struct TestEcho {
    /// Where `gate` waits.
    pub gate: Arc<Gate>,
}

impl EchoService for TestEcho {
    fn echo(&self, cntl: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
        let started = self.gate.started.fetch_add(1, Ordering::AcqRel);
        if let Some(sleep_us @ 1..) = request.sleep_us {
            bthread::sleep(Duration::from_micros(sleep_us.unsigned_abs().into()));
        }
        let message = match request.message.as_str() {
            "panic" => panic!("asked to panic"),
            "fail" => return Err(RpcError::new(1234, "boom")),
            "gate" => {
                self.gate.pass();
                request.message
            }
            "started" => started.to_string(),
            "log" => format!("{:?}", cntl.log_id()),
            _ => request.message,
        };
        let attachment = cntl.take_request_attachment();
        cntl.response_attachment().append_buf(attachment);
        Ok(EchoResponse { message })
    }
}

/// A server on a free port of loopback, and the gate of its service.
pub fn start_server() -> (Server, Arc<Gate>) {
    let gate = Gate::new();
    let service = TestEcho { gate: gate.clone() };
    let server = Server::builder().add(EchoServer::new(service)).start("127.0.0.1:0").expect("a free port");
    (server, gate)
}
