//! What networks and dying peers do, over real sockets: every call ends, with the reason or with its answer, and what
//! comes afterwards works.

mod connecting;
mod descriptors;
mod memory;
mod restart;
mod slow;
mod vanishing;

use std::time::{Duration, Instant};

use bobbin::{Channel, ErrorCode, RpcError, error};
use bobbin_examples::example::{EchoRequest, EchoStub};

/// Longer than anything takes here, however busy the machine is.
const PATIENT: Duration = Duration::from_secs(30);

/// The ways to share connections.
const KINDS: [&str; 3] = ["single", "pooled", "short"];

/// What the end of a connection may be called: which it is depends on what was noticed first.
const LOST: [ErrorCode; 7] = [
    error::EEOF,
    error::EFAILEDSOCKET,
    error::ECONNRESET,
    error::EPIPE,
    error::EHOSTDOWN,
    // On a busy machine connecting takes its time, too.
    error::ETIMEDOUT,
    error::ENETUNREACH,
];

fn request(message: &str) -> EchoRequest {
    EchoRequest { message: message.into(), sleep_us: None }
}

/// Calls to `address`, each tried once.
fn stub(address: &str, kind: &str) -> EchoStub {
    let channel =
        Channel::builder().connection_type(kind).timeout(PATIENT).max_retry(0).connect(address).unwrap();
    EchoStub::new(&channel)
}

fn is_lost(error: &RpcError) -> bool {
    LOST.contains(&error.code())
}

/// Calls until it works again, with others' codes for "not yet" alone, and says how long that took.
fn until_it_works(echo: &EchoStub) -> Duration {
    let start = Instant::now();
    loop {
        match echo.echo(&request("again")) {
            Ok(reply) => {
                assert_eq!(reply.message, "again");
                return start.elapsed();
            }
            Err(error) => {
                assert!(is_lost(&error) || error.code() == error::ECONNREFUSED, "{error}");
                assert!(start.elapsed() < PATIENT, "{error}");
                std::thread::yield_now();
            }
        }
    }
}

/// Waits for what somebody else is about to do.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENT, "{what}");
        std::thread::yield_now();
    }
}
