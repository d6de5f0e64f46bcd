//! Deadlines and ids that go on to the calls which a service makes.

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rpc::error::ERPCTIMEDOUT;
use rpc::{CallContext, CallOptions, RpcError, ServerCall, Service, ServiceDescriptor};

use crate::peer::Peer;
use crate::support::{
    Channel, ECHO_SERVICE, EchoRequest, EchoResponse, LONG, Server, call_with, connect, request,
};

/// What a service does in its method.
struct Front<F>(F);

impl<F> Service for Front<F>
where
    F: Fn(&mut ServerCall, EchoRequest) -> Result<EchoResponse, RpcError> + Send + Sync + 'static,
{
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &ECHO_SERVICE
    }

    fn call(&self, _: usize, call: ServerCall, body: iobuf::IoBuf) {
        rpc::unary(call, body, &self.0);
    }
}

fn front(
    f: impl Fn(&mut ServerCall, EchoRequest) -> Result<EchoResponse, RpcError> + Send + Sync + 'static,
) -> Server {
    Server::builder().add(Front(f)).start("127.0.0.1:0").unwrap()
}

/// What a request said of itself: timeout, log id and request id.
type Said = (Option<i32>, Option<i64>, String);

/// Answers everything, and tells what the requests said.
fn telling() -> (Peer, mpsc::Receiver<Said>) {
    let (tell, told) = mpsc::channel();
    let peer = Peer::new(move |connection| {
        while let Some(request) = connection.request() {
            let meta = request.meta.request.clone().unwrap();
            let _ = tell.send((meta.timeout_ms, meta.log_id, meta.request_id));
            connection.answer(&request, &request.message);
        }
    });
    (peer, told)
}

#[test]
fn what_is_left_of_the_time_and_the_ids_go_on() {
    let (peer, told) = telling();
    let back = peer.channel();
    let front = front(move |call, asked| {
        assert_eq!(CallContext::current(), call.context());
        call_with(&back, CallOptions::default(), &asked)?;
        bthread::sleep(Duration::from_millis(30));
        // From a bthread that is handed the context, and from one that is not.
        for context in [Some(call.context()), None] {
            let (back, asked) = (back.clone(), asked.clone());
            let work = move || {
                let _entered = context.as_ref().map(CallContext::enter);
                call_with(&back, CallOptions::default(), &asked).map(drop)
            };
            bthread::spawn(work).join().unwrap()?;
        }
        let own = CallOptions::default().log_id(8).request_id("own").timeout(Duration::from_millis(500));
        call_with(&back, own, &asked)?;
        call_with(&back, CallOptions::default().detached(), &asked)?;
        Ok(EchoResponse { message: asked.message })
    });
    let options = CallOptions::default().timeout(Duration::from_secs(20)).log_id(7).request_id("r-7");
    call_with(&connect(&front), options, &request("x")).unwrap();
    let next = || told.recv_timeout(LONG).unwrap();
    let (first, log_id, request_id) = next();
    assert!((15_000..=20_000).contains(&first.unwrap()), "{first:?}");
    assert_eq!((log_id, request_id.as_str()), (Some(7), "r-7"));
    let (later, log_id, request_id) = next();
    assert!(later.unwrap() <= first.unwrap() - 30, "{later:?}");
    assert_eq!((log_id, request_id.as_str()), (Some(7), "r-7"));
    let long = Some(LONG.as_millis() as i32);
    assert_eq!(next(), (long, None, String::new()), "work that may outlive the request");
    assert_eq!(next(), (Some(500), Some(8), "own".to_owned()));
    assert_eq!(next(), (long, None, String::new()), "detached");
    assert_eq!(CallContext::current(), CallContext::default());
}

#[test]
fn a_nested_call_ends_with_the_call_that_it_is_for() {
    let (tell, told) = mpsc::channel();
    let silent = Peer::new(|connection| while connection.request().is_some() {});
    let back = silent.channel();
    let tell = Mutex::new(tell);
    let front = front(move |_, asked| {
        let error = call_with(&back, CallOptions::default(), &asked).unwrap_err();
        tell.lock().unwrap().send(error.clone()).unwrap();
        Err::<EchoResponse, _>(error) // which may reach the caller before it notices the deadline itself
    });
    let options = CallOptions::default().timeout(Duration::from_millis(50)).max_retry(0);
    let start = Instant::now();
    assert_eq!(call_with(&connect(&front), options, &request("x")).unwrap_err().code(), ERPCTIMEDOUT);
    let error = told.recv_timeout(LONG).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(45), "not before the deadline");
    assert_eq!(error.code(), ERPCTIMEDOUT);
    assert!(error.text().contains("ms of the request that is served @"), "{error}");
}

#[test]
fn a_call_without_time_is_not_sent() {
    let (peer, told) = telling();
    let channel = peer.channel();
    {
        let _entered = CallContext::default().with_deadline(Instant::now()).enter();
        let started = Instant::now();
        let error = call_with(&channel, CallOptions::default(), &request("late")).unwrap_err();
        assert_eq!((error.code(), error.call().unwrap().retried_count), (ERPCTIMEDOUT, 0));
        let held = channel.start::<_, EchoResponse>(
            crate::support::echo_method(),
            CallOptions::default(),
            &request("late"),
        );
        assert_eq!(held.join().unwrap_err().code(), ERPCTIMEDOUT);
        assert!(started.elapsed() < LONG);
    }
    assert_eq!(peer.connections(), 0);
    call_with(&channel, CallOptions::default(), &request("in time")).unwrap();
    assert!(told.recv_timeout(LONG).is_ok());
}

#[test]
fn each_attempt_tells_what_is_left() {
    let (tell, told) = mpsc::channel();
    let peer = Peer::new(move |connection| {
        while let Some(request) = connection.request() {
            let _ = tell.send(request.timeout_ms());
            std::thread::sleep(Duration::from_millis(20));
            if connection.number == 0 {
                return;
            }
            connection.answer(&request, "x");
        }
    });
    call_with(&peer.channel(), CallOptions::default(), &request("x")).unwrap();
    let [first, second] = [(); 2].map(|()| told.recv_timeout(LONG).unwrap().unwrap());
    assert_eq!(first, LONG.as_millis() as i32);
    assert!(second <= first - 20, "{second}");
    // Not those who do not want it, and those without a deadline.
    for builder in [Channel::builder().deliver_timeout(false), Channel::builder().timeout(Duration::MAX)] {
        call_with(&builder.connect(&peer.address).unwrap(), CallOptions::default(), &request("x")).unwrap();
        assert_eq!(told.recv_timeout(LONG).unwrap(), None);
    }
}
