//! Which channels share connections, what becomes of them when a server leaves, and what they tell the system.

#[path = "support/memory.rs"]
mod memory;
mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use iobuf::IoBuf;
use memory::Memory;
use rpc::error::{
    ECONNREFUSED, ECONNRESET, EEOF, EFAILEDSOCKET, EHOSTDOWN, ELOGOFF, ENETUNREACH, EOVERCROWDED, EPIPE,
    ETIMEDOUT,
};
use rpc::transport::{
    Connector, Endpoint, EventHandler, Keepalive, Received, Registration, SocketOptions, Transport,
};
use rpc::{CallOptions, ChannelBuilder, Limits, RpcError, ServerCall, Service, ServiceDescriptor};
use support::{
    Channel, ECHO_SERVICE, Echo, EchoRequest, EchoResponse, LONG, Server, call, call_with, echo_method,
    eventually, keeping, request, start,
};

fn builder() -> ChannelBuilder<protocols::Bundled> {
    Channel::builder().protocol("baidu_std").timeout(LONG)
}

#[test]
fn channels_to_the_same_server_share_what_they_have() {
    for kind in ["single", "pooled"] {
        let server = start();
        let channels: Vec<_> =
            (0..3).map(|_| builder().connection_type(kind).connect(server.local_addr()).unwrap()).collect();
        channels.iter().for_each(|channel| assert_eq!(call(channel, "hello").unwrap(), "hello"));
        assert_eq!(server.connection_count(), 1, "{kind}");
        let mut channels = channels.into_iter();
        channels.next();
        channels.next();
        let last = channels.next().unwrap();
        assert_eq!(call(&last, "hello").unwrap(), "hello");
        assert_eq!(server.connection_count(), 1, "{kind}: the last one still has it");
        drop(last);
        eventually(|| server.connection_count() == 0);
    }
}

#[test]
fn what_makes_connections_differ_separates_them() {
    let server = start();
    let mut limits = Limits::default();
    limits.max_body_size = 1 << 20;
    let mut options = SocketOptions::default();
    options.send_buffer_size = Some(64 << 10);
    let channels = [
        builder(),
        builder().connection_group("a"),
        builder().connection_group(" a "),
        builder().connection_group("A"),
        builder().limits(limits),
        builder().socket_options(options),
        builder().connection_type("pooled"),
        builder().protocol("http:proto"),
        builder().connector(Arc::new(rpc::transport::System)),
        builder().connect_timeout(Duration::from_secs(3)),
    ]
    .map(|builder| builder.connect(server.local_addr()).unwrap());
    channels.iter().for_each(|channel| assert_eq!(call(channel, "hello").unwrap(), "hello"));
    assert_eq!(server.connection_count(), 8, "two of one group, and a timeout is the call's");
}

/// Says who has called.
struct WhoCalls;

impl Service for WhoCalls {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &ECHO_SERVICE
    }

    fn call(&self, _: usize, call: ServerCall, body: IoBuf) {
        rpc::unary(call, body, |call: &mut ServerCall, _: EchoRequest| {
            Ok::<_, RpcError>(EchoResponse { message: call.remote_side().to_string() })
        });
    }
}

#[test]
fn connections_leave_from_the_address_they_are_told() {
    let server = Server::builder().add(WhoCalls).start("127.0.0.1:0").unwrap();
    for kind in ["single", "pooled", "short"] {
        let mut options = SocketOptions::default();
        options.client_host = Some("127.0.0.2".parse().unwrap());
        let channel =
            builder().connection_type(kind).socket_options(options).connect(server.local_addr()).unwrap();
        let from = call(&channel, "x").unwrap();
        assert!(from.starts_with("127.0.0.2:"), "{from}");
    }
}

#[test]
fn a_device_that_is_not_there_is_the_connects_failure() {
    let server = start();
    let mut options = SocketOptions::default();
    options.device_name = Some("nosuchdevice".into());
    let channel = builder().max_retry(0).socket_options(options).connect(server.local_addr()).unwrap();
    let error = call(&channel, "x").unwrap_err();
    assert!(error.text().contains("Fail to connect"), "{error}");
    assert_eq!(server.connection_count(), 0);
}

#[test]
fn options_do_not_keep_connections_from_working() {
    let mut options = SocketOptions::default();
    let mut keepalive = Keepalive::default();
    (keepalive.idle, keepalive.interval) = (Some(Duration::from_secs(9)), Some(Duration::from_secs(3)));
    keepalive.count = Some(4);
    options.keepalive = Some(keepalive);
    options.tcp_user_timeout = Some(Duration::from_secs(7));
    options.recv_buffer_size = Some(32 << 10);
    let path = std::env::temp_dir().join(format!("bobbin-options-{}.sock", std::process::id()));
    let path = format!("unix:{}", path.display());
    let name = format!("unix:@bobbin-options-{}", std::process::id());
    for address in ["127.0.0.1:0", "[::1]:0", path.as_str(), name.as_str()] {
        let server = Server::builder().add(Echo).socket_options(options.clone()).start(address).unwrap();
        let channel = builder().socket_options(options.clone()).connect(server.local_addr()).unwrap();
        assert_eq!(call(&channel, "hello").unwrap(), "hello", "{address}");
    }
}

#[test]
fn nobody_takes_a_path_from_who_listens_there() {
    let path = std::env::temp_dir().join(format!("bobbin-path-{}.sock", std::process::id()));
    let address = format!("unix:{}", path.display());
    let first = Server::builder().add(Echo).start(&address).unwrap();
    let error = Server::builder().add(Echo).start(&address).unwrap_err();
    assert_eq!(error.code(), rpc::error::EADDRINUSE);
    assert_eq!(call(&builder().connect(&address).unwrap(), "hello").unwrap(), "hello");
    drop(first);
    // What a process leaves behind that has crashed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let second = Server::builder().add(Echo).start(&address).unwrap();
    assert_eq!(call(&builder().connect(&address).unwrap(), "hello").unwrap(), "hello");
    drop(second);
    assert!(!path.exists());
}

#[test]
fn a_server_that_is_not_there_is_tried_by_one_call_at_a_time() {
    for kind in ["single", "pooled", "short"] {
        let server = start();
        let address = server.local_addr().clone();
        drop(server);
        let channel = builder().connection_type(kind).max_retry(0).connect(&address).unwrap();
        let error = call(&channel, "x").unwrap_err();
        assert_eq!(error.code(), ECONNREFUSED, "{kind}: {error}");
        let error = call(&channel, "x").unwrap_err();
        assert!([EHOSTDOWN, ECONNREFUSED].contains(&error.code()), "{kind}: {error}");
        let server = Server::builder().add(Echo).start(&address).unwrap();
        eventually(|| call(&channel, "hello").is_ok());
        assert_eq!(call(&channel, "hello").unwrap(), "hello", "{kind}: it is back");
        drop(server);
    }
}

#[test]
fn callers_find_a_server_that_was_started_again_under_load() {
    for kind in ["single", "pooled", "short"] {
        let first = start();
        let address = first.local_addr().clone();
        let channel = builder().connection_type(kind).connect(&address).unwrap();
        let is_back = AtomicBool::new(false);
        let calls = || {
            let begun = Instant::now();
            while begun.elapsed() < LONG {
                let was_back = is_back.load(Ordering::SeqCst);
                match call(&channel, "hello") {
                    Ok(message) => {
                        assert_eq!(message, "hello");
                        if was_back {
                            return;
                        }
                    }
                    Err(error) => {
                        let code = error.code();
                        let expected =
                            [ECONNREFUSED, EHOSTDOWN, ELOGOFF, EEOF, ECONNRESET, EPIPE, EFAILEDSOCKET];
                        assert!(expected.contains(&code), "{kind}: {error}");
                    }
                }
            }
            panic!("{kind}: never back");
        };
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4).map(|_| scope.spawn(calls)).collect();
            eventually(|| first.connection_count() > 0);
            drop(first);
            let _second = Server::builder().add(Echo).start(&address).unwrap();
            is_back.store(true, Ordering::SeqCst);
            // Each caller ends with its first call that succeeds.
            callers.into_iter().for_each(|caller| caller.join().unwrap());
        });
        drop(channel);
    }
}

/// Connections that never come to be.
struct BlackHole;

struct Nowhere;

impl Transport for Nowhere {
    fn read(&self, _: &mut iobuf::IoPortal, _: usize) -> io::Result<Received> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn write(&self, _: &mut IoBuf) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn register(&self, _: Arc<dyn EventHandler>) -> io::Result<Registration> {
        Ok(Registration::new(()))
    }

    fn is_connected(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn shutdown(&self) {}

    fn local(&self) -> io::Result<Endpoint> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

impl Connector for BlackHole {
    fn connect(&self, _: &Endpoint, _: &SocketOptions) -> io::Result<Box<dyn Transport>> {
        Ok(Box::new(Nowhere))
    }
}

#[test]
fn a_server_that_takes_too_long_counts_as_away_after_a_few_times() {
    for kind in ["single", "pooled", "short"] {
        let channel = builder()
            .connection_type(kind)
            .max_retry(0)
            .connector(Arc::new(BlackHole))
            .connect_timeout(Duration::from_millis(20))
            .connect("127.0.0.1:1")
            .unwrap();
        let mut codes = (0..3).map(|_| call(&channel, "x").unwrap_err().code());
        assert_eq!(codes.next(), Some(ETIMEDOUT), "{kind}");
        assert_eq!(codes.next(), Some(ETIMEDOUT), "{kind}");
        assert_eq!(codes.next(), Some(ENETUNREACH), "{kind}");
        // At once, or with a try of its own if the last one is long ago by now.
        assert!([EHOSTDOWN, ENETUNREACH].contains(&call(&channel, "x").unwrap_err().code()), "{kind}");
    }
}

#[test]
fn connecting_ends_with_the_call_that_waits_for_it() {
    for kind in ["single", "pooled", "short"] {
        let channel = builder()
            .connection_type(kind)
            .connector(Arc::new(BlackHole))
            .connect_timeout(LONG)
            .connect("127.0.0.1:1")
            .unwrap();
        let begun = Instant::now();
        let options = CallOptions::default().timeout(Duration::from_millis(30));
        let error = call_with(&channel, options, &request("x")).unwrap_err();
        assert_eq!(error.code(), rpc::error::ERPCTIMEDOUT);
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }
}

#[test]
fn calls_in_flight_end_on_the_connection_that_a_server_leaves() {
    let (echo, calls) = keeping();
    let network = Memory::default();
    let server = Server::builder().add(echo).start_on(network.clone()).unwrap();
    let channel = builder().connector(Arc::new(network.clone())).max_retry(0).connect("memory").unwrap();
    let first = channel.start::<_, EchoResponse>(echo_method(), CallOptions::default(), &request("x"));
    let kept = calls.recv().unwrap();
    server.stop();
    assert_eq!(call(&channel, "x").unwrap_err().code(), ELOGOFF);
    assert_eq!(network.connects(), 1);
    assert_eq!(server.connection_count(), 1, "a call is still in flight on it");
    // Whoever listens at the address now gets the next ones.
    let successor = Server::builder().add(Echo).start_on(network.clone()).unwrap();
    assert_eq!(call(&channel, "hello").unwrap(), "hello");
    assert_eq!(network.connects(), 2);
    kept.send(Ok(EchoResponse { message: "late".into() }));
    assert_eq!(first.join().unwrap().message, "late");
    eventually(|| server.connection_count() == 0);
    assert_eq!(successor.connection_count(), 1);
}

#[test]
fn who_is_too_fast_can_wait_for_room() {
    let mut limits = Limits::default();
    limits.max_unwritten_bytes = 64 << 10;
    // A server that does not read for as long as a call runs would be a race; nobody accepts here, so nothing is taken.
    let network = Memory::default();
    let channel =
        builder().limits(limits).connector(Arc::new(network.clone())).max_retry(0).connect("memory").unwrap();
    channel.wait_for_room(LONG).unwrap(); // there is no connection yet
    let mut attachment = IoBuf::new();
    attachment.append(&vec![1; 128 << 10]);
    let options = CallOptions::default().request_attachment(attachment);
    let large = channel.start::<_, EchoResponse>(echo_method(), options, &request("x"));
    let refused = channel.start::<_, EchoResponse>(echo_method(), CallOptions::default(), &request("x"));
    assert_eq!(refused.join().unwrap_err().code(), EOVERCROWDED);
    let error = channel.wait_for_room(Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.code(), rpc::error::ERPCTIMEDOUT);
    let _server = Server::builder().add(Echo).start_on(network).unwrap();
    channel.wait_for_room(LONG).unwrap();
    assert_eq!(call(&channel, "hello").unwrap(), "hello");
    assert_eq!(large.join().unwrap().message, "x");
}
