//! Callers that call until they are told to end, and count how it went.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bobbin::rpc::message::{ChecksumType, CompressType};
use bobbin::{CallOptions, Channel, ErrorCode, IoBuf, RpcError, bthread, error};
use bobbin_examples::example::{EchoRequest, EchoStub};

use crate::streams;

/// Callers of each kind of connection at each server.
const CALLERS: u64 = 4;

/// The longest that a call may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// How much later than its deadline a call may end on a busy machine, before it counts as one that hangs.
pub(crate) const HANGING: Duration = Duration::from_secs(20);

/// What may go wrong with a call under these faults.
const EXPECTED: &[ErrorCode] = &[
    error::EEOF,
    error::ECONNRESET,
    error::EFAILEDSOCKET,
    error::EPIPE,
    error::EHOSTDOWN,
    error::ECONNREFUSED,
    error::ERPCTIMEDOUT,
    error::ETIMEDOUT,
    error::ENETUNREACH, // three times ETIMEDOUT
    error::ECANCELED,
    error::EOVERCROWDED,
    error::ELIMIT,
    error::ELOGOFF,
];

/// Out of descriptors, for a while.
const EMFILE: i32 = 24;

#[derive(Default)]
pub(crate) struct Load {
    ended: AtomicBool,
    answered: Mutex<u64>,
    errors: Mutex<BTreeMap<i32, u64>>,
    callers: Mutex<Vec<bthread::JoinHandle<()>>>,
}

impl Load {
    pub(crate) fn start(first: &str, second: &str) -> Arc<Self> {
        let load = Arc::new(Load::default());
        for address in [first, second] {
            for kind in ["single", "pooled", "short"] {
                for caller in 0..CALLERS {
                    let (address, load_) = (address.to_owned(), load.clone());
                    let handle = bthread::spawn(move || load_.call_on(&address, kind, caller));
                    lock(&load.callers).push(handle);
                }
            }
            for _ in 0..CALLERS {
                let (address, load_) = (address.to_owned(), load.clone());
                lock(&load.callers).push(bthread::spawn(move || streams::stream_on(&load_, &address)));
            }
        }
        load
    }

    /// Returns when all callers have.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let callers = std::mem::take(&mut *lock(&self.callers));
        for caller in callers {
            caller.join().expect("no caller panics");
        }
    }

    pub(crate) fn summary(&self) -> String {
        let errors: Vec<_> = lock(&self.errors)
            .iter()
            .map(|(code, calls)| format!("{} {calls}", ErrorCode::new(*code).name().unwrap_or("?")))
            .collect();
        format!("{} calls and streams went well; {}", lock(&self.answered), errors.join(", "))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Counts how something went.
    pub(crate) fn count(&self, result: Result<(), RpcError>, kind: &str) -> Result<(), RpcError> {
        match &result {
            Ok(()) => *lock(&self.answered) += 1,
            Err(error) => {
                let code = error.code();
                assert!(EXPECTED.contains(&code) || code == EMFILE, "{kind}: {error}");
                *lock(&self.errors).entry(code.get()).or_default() += 1;
            }
        }
        result
    }

    fn call_on(&self, address: &str, kind: &str, caller: u64) {
        let channel =
            Channel::builder().connection_type(kind).timeout(TIMEOUT).connect(address).expect("an address");
        let stub = EchoStub::new(&channel);
        // What goes with one call of a caller is always the same, so that a failure can be looked for.
        for n in 0_u64.. {
            if self.has_ended() {
                return;
            }
            let start = Instant::now();
            let result = one_call(&stub, n.wrapping_mul(0x9e37_79b9) ^ (caller << 7));
            // Whoever is refused at once comes again a little later.
            if self.count(result, kind).is_err() {
                bthread::sleep(Duration::from_millis(1));
            }
            assert!(start.elapsed() < TIMEOUT + HANGING, "{kind}: a call took {:?}", start.elapsed());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call whose form follows from a number.
fn one_call(stub: &EchoStub, n: u64) -> Result<(), RpcError> {
    let sizes = [0, 10, 1000, 20_000, 300_000];
    let attachment = IoBuf::from(vec![n as u8; sizes[(n % 5) as usize]]);
    let compress = [CompressType::NONE, CompressType::SNAPPY, CompressType::GZIP, CompressType::ZLIB];
    let mut options = CallOptions::default()
        .request_attachment(attachment.clone())
        .request_compress_type(compress[(n / 5 % 4) as usize]);
    if n.is_multiple_of(3) {
        options = options.request_checksum_type(ChecksumType::Crc32c);
    }
    let mut request = EchoRequest { message: n.to_string(), sleep_us: None };
    match n % 16 {
        // Its server sleeps longer than it waits.
        0 => {
            options = options.timeout(Duration::from_millis(5));
            request.sleep_us = Some(20_000);
        }
        1 => options = options.backup_request(Duration::from_millis(2)),
        2 => request.sleep_us = Some(3_000),
        _ => {}
    }
    let call = stub.start_echo_with(options, &request);
    if n % 16 == 3 {
        call.cancel();
    }
    let reply = call.join_reply()?;
    assert_eq!(reply.message.message, request.message, "another call's answer");
    assert!(reply.attachment == attachment, "{n}: an attachment of {} bytes", reply.attachment.len());
    Ok(())
}
