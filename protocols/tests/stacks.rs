//! A runtime that has no stacks left: connections and calls wait for them, and nothing is lost. In a process of its own,
//! whose runtime is small.

mod support;

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};

use bthread::{Butex, Runtime};
use rpc::error::EEOF;
use rpc::{CallOptions, Reply, RpcError};
use support::{Channel, EchoResponse, LONG, echo_method, exchange, request, start};

const PLAIN: &[u8] = include_bytes!("../src/baidu_std/testdata/plain.req.bin");
const STACKS: usize = 16;

/// One test at a time: they use up what the other one needs.
static ALONE: Mutex<()> = Mutex::new(());

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::builder().workers(1).stacks_max(STACKS).install().unwrap());

/// Does `act` while there are no stacks. What it leads to has been seen by the worker when this returns.
fn without_stacks<T>(act: impl FnOnce() -> T) -> T {
    let gate = Arc::new(Butex::new(0));
    let wait_at = |gate: Arc<Butex>| {
        // Acquire pairs with the store below.
        while gate.value().load(Ordering::Acquire) == 0 {
            let _ = gate.wait(0, None); // the loop looks again
        }
    };
    let mut waiting = Vec::new();
    loop {
        let gate = gate.clone();
        match bthread::Builder::new().spawn(move || wait_at(gate)) {
            Ok(handle) => waiting.push(handle),
            Err(_) => break,
        }
    }
    let result = act();
    // The worker has looked at its events by the time that it has been busy with other things so often.
    for _ in 0..10 {
        let (done, is_done) = mpsc::channel();
        let _ = bthread::timer::schedule(Instant::now(), move || done.send(()).unwrap());
        is_done.recv_timeout(LONG).unwrap();
    }
    assert!(bthread::Builder::new().spawn(|| ()).is_err());
    gate.value().store(1, Ordering::Release); // pairs with the load above
    gate.wake_all();
    waiting.into_iter().for_each(|handle| handle.join().unwrap());
    result
}

#[test]
fn connections_that_come_and_requests_on_those_that_are_there_wait_for_stacks() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    LazyLock::force(&RUNTIME);
    let server = start();
    let mut early = support::raw(&server);
    assert_eq!(exchange(&mut early, PLAIN, 42).len(), 42);
    let mut late = without_stacks(|| {
        std::io::Write::write_all(&mut early, PLAIN).unwrap();
        support::raw(&server)
    });
    assert_eq!(exchange(&mut early, b"", 42).len(), 42);
    assert_eq!(exchange(&mut late, PLAIN, 42).len(), 42);
    let mut later: TcpStream = support::raw(&server);
    assert_eq!(exchange(&mut later, PLAIN, 42).len(), 42);
}

#[test]
fn calls_whose_connection_fails_all_end_when_there_are_stacks() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    LazyLock::force(&RUNTIME);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let builder = Channel::builder().timeout(Duration::MAX).max_retry(0);
    let channel = builder.connect(listener.local_addr().unwrap()).unwrap();
    let (tell, told) = mpsc::channel();
    for _ in 0..4 {
        let tell = tell.clone();
        let done = move |result: Result<Reply<EchoResponse>, RpcError>| tell.send(result).unwrap();
        channel.call_then(echo_method(), CallOptions::default(), &request("callback"), done);
    }
    let held = channel.start::<_, EchoResponse>(echo_method(), CallOptions::default(), &request("held"));
    let (peer, _) = listener.accept().unwrap();
    // The requests are there, so that the client sees an end of the stream and not a reset.
    let mut first = [0; 12];
    peer.peek(&mut first).unwrap();
    without_stacks(|| peer.shutdown(std::net::Shutdown::Write).unwrap());
    for _ in 0..4 {
        assert_eq!(told.recv_timeout(LONG).unwrap().unwrap_err().code(), EEOF);
    }
    assert_eq!(held.join().unwrap_err().code(), EEOF);
}
