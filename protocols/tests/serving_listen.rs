//! Where servers listen, what they speak there, and how their starts end.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Instant;

use rpc::error::{EINVAL, ELOGOFF, RpcError};
use rpc::{BoundListener, Endpoint};
use support::{Channel, Echo, LONG, Server, call};

fn channel(to: &Endpoint) -> Channel {
    Channel::builder().timeout(LONG).max_retry(0).connect(to).unwrap()
}

fn echoes(to: &Endpoint) {
    assert_eq!(call(&channel(to), "hello").unwrap(), "hello");
}

/// A path that is this test's alone.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("bobbin-{name}-{}", std::process::id()))
}

/// Sends something and reads to the end.
fn ask(to: &Endpoint, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(to.to_string()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn health(to: &Endpoint) -> String {
    ask(to, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

#[test]
fn all_ports_speak_all_protocols() {
    let unix = path("all-ports");
    let server = Server::builder()
        .add(Echo)
        .also_listen("127.0.0.1:0")
        .also_listen(format!("unix:{}", unix.display()))
        .start("localhost:0")
        .unwrap();
    let addresses: Vec<_> = server.local_addrs().cloned().collect();
    assert_eq!(addresses.len(), 3);
    assert_eq!(&addresses[0], server.local_addr());
    addresses.iter().for_each(echoes);
    for address in &addresses[..2] {
        assert_ne!(address.port(), Some(0));
        assert!(health(address).starts_with("HTTP/1.1 200"));
    }
    // Errors name the port that was reached.
    let error = call(&channel(&addresses[1]), "fail").unwrap_err();
    assert!(error.text().contains(&addresses[1].to_string()), "{error}");
    drop(server);
    assert!(!unix.exists());
    assert!(TcpStream::connect(addresses[1].to_string()).is_err());
}

#[test]
fn a_start_that_failed_leaves_nothing_behind() {
    // On an address of its own, whose ports no other test is given.
    let blocked = TcpListener::bind("127.0.77.4:0").unwrap();
    let taken = blocked.local_addr().unwrap();
    let free = TcpListener::bind("127.0.77.4:0").unwrap().local_addr().unwrap();
    let pid_file = path("failed-start");
    let start = |also: String| {
        Server::builder().add(Echo).also_listen(also).pid_file(&pid_file).start(free).map(drop)
    };
    assert_eq!(start(taken.to_string()).unwrap_err().code().get(), 98, "EADDRINUSE");
    for address in ["127.0.0.1:1:junk", "127.0.0.1:99999", "127.0.0.1:20-10", "no host:80"] {
        assert_eq!(start(address.to_owned()).unwrap_err().code(), EINVAL, "{address}");
    }
    let refused = Server::builder()
        .add(Echo)
        .pid_file(&pid_file)
        .bthread_init(3, || Err(RpcError::new(EINVAL, "not today")))
        .start(free);
    assert_eq!(refused.unwrap_err().text(), "not today");
    assert!(!pid_file.exists());
    drop(blocked);
    for _ in 0..2 {
        start(taken.to_string()).unwrap();
    }
}

#[test]
fn a_range_is_gone_through_until_it_is_exhausted() {
    let range = |port: u16| format!("127.0.77.5:{port}-{}", port + 1);
    // Two ports side by side that are free at the moment, on an address where no other test is given one.
    let (first, second, port) = loop {
        let port = TcpListener::bind("127.0.77.5:0").unwrap().local_addr().unwrap().port();
        let Some(_) = port.checked_add(1) else { continue };
        let start = || Server::builder().add(Echo).start(range(port));
        if let (Ok(first), Ok(second)) = (start(), start()) {
            break (first, second, port);
        }
    };
    assert_eq!(first.local_addr().port(), Some(port));
    assert_eq!(second.local_addr().port(), Some(port + 1));
    let error = Server::builder().add(Echo).start(range(port)).unwrap_err();
    assert!(error.text().contains(&range(port)), "{error}");
    drop(first);
    let again = Server::builder().add(Echo).start(range(port)).unwrap();
    assert_eq!(again.local_addr().port(), Some(port));
}

#[test]
fn two_servers_share_a_port_that_both_say_may_be_shared() {
    let first = Server::builder().add(Echo).reuse_port(true).start("127.0.0.1:0").unwrap();
    let address = first.local_addr();
    assert!(Server::builder().add(Echo).start(address).is_err());
    let second = Server::builder().add(Echo).reuse_port(true).start(address).unwrap();
    // The system chooses by the ports of the clients.
    let mut channels = Vec::new();
    while first.connection_count() == 0 || second.connection_count() == 0 {
        let channel =
            Channel::builder().connection_type("pooled").connection_group(&channels.len().to_string());
        channels.push(channel.timeout(LONG).connect(address).unwrap());
        call(channels.last().unwrap(), "hello").unwrap();
        assert!(channels.len() < 1000);
    }
}

#[test]
fn a_path_is_taken_over_when_nobody_listens_or_when_told_so() {
    let path = path("taken-path");
    let address = format!("unix:{}", path.display());
    drop(UnixListener::bind(&path).unwrap()); // its file stays
    let first = Server::builder().add(Echo).start(&address).unwrap();
    assert!(Server::builder().add(Echo).start(&address).is_err());
    let second = Server::builder().add(Echo).reuse_uds_path(true).start(&address).unwrap();
    echoes(second.local_addr());
    drop((first, second));
    fs::write(&path, "a file").unwrap();
    assert!(Server::builder().add(Echo).reuse_uds_path(true).start(&address).is_err());
    fs::remove_file(&path).unwrap();
}

#[test]
fn sockets_that_listen_already_are_served() {
    let path = path("bound");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let internal = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let addresses = [tcp.local_addr().unwrap(), internal.local_addr().unwrap()];
    let listeners = [tcp.into(), BoundListener::from(internal).internal(), unix.into()];
    let server = Server::builder().add(Echo).start_with(listeners).unwrap();
    assert_eq!(server.local_addr(), &Endpoint::Tcp(addresses[0]));
    assert_eq!(server.internal_addr(), Some(&Endpoint::Tcp(addresses[1])));
    server.local_addrs().for_each(echoes);
    drop(server);
    assert!(path.exists(), "that of whoever has made it");
    fs::remove_file(&path).unwrap();
    assert_eq!(Server::builder().add(Echo).start_with([]).unwrap_err().code(), EINVAL);
}

#[test]
fn protocols_that_are_not_enabled_close_their_connections() {
    let start = |names: &str| Server::builder().add(Echo).enabled_protocols(names).start("127.0.0.1:0");
    assert_eq!(start("baidu_std nonsense").unwrap_err().code(), EINVAL);
    let server = start("baidu_std").unwrap();
    echoes(server.local_addr());
    assert_eq!(health(server.local_addr()), "");
    let server = start(" HTTP ").unwrap();
    assert!(health(server.local_addr()).starts_with("HTTP/1.1 200"));
    assert!(call(&channel(server.local_addr()), "hello").is_err());
    let server = start("").unwrap();
    echoes(server.local_addr());
    assert!(health(server.local_addr()).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_server_serves_when_it_is_ready_and_is_well_while_it_is() {
    let server = Server::builder().add(Echo).starts_ready(false).start("127.0.0.1:0").unwrap();
    let address = server.local_addr();
    assert!(!server.is_ready());
    assert!(health(address).starts_with("HTTP/1.1 503"));
    let error = call(&channel(address), "hello").unwrap_err();
    assert!(error.code() == ELOGOFF && error.text().contains("not ready"), "{error}");
    server.set_ready(true);
    assert!(server.is_ready());
    assert!(health(address).starts_with("HTTP/1.1 200"));
    echoes(address);
    server.set_ready(false);
    assert!(health(address).starts_with("HTTP/1.1 503"));
    echoes(address); // what comes nevertheless
    server.set_ready(true);
    server.stop();
    assert!(!server.is_ready());
    server.set_ready(true);
    assert!(!server.is_ready());
}

#[test]
fn the_pid_is_in_its_file_until_the_server_is_joined() {
    let path = path("pid");
    let server = Server::builder().add(Echo).pid_file(&path).start("127.0.0.1:0").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), std::process::id().to_string());
    server.stop();
    assert!(path.exists());
    server.join();
    assert!(!path.exists());
}

#[test]
fn join_waits_for_what_runs_and_a_server_can_be_started_again_and_again() {
    let mut address = Endpoint::resolve("127.0.0.1:0").unwrap();
    for _ in 0..4 {
        let server = Server::builder().add(Echo).start(&address).unwrap();
        address = server.local_addr().clone();
        let channel = channel(&address);
        let (running, runs) = std::sync::mpsc::channel();
        let caller = std::thread::spawn(move || {
            running.send(()).unwrap();
            let request = support::EchoRequest { message: "slow".into(), sleep_us: Some(100_000) };
            support::call_with(&channel, rpc::CallOptions::default(), &request)
                .map(|reply| reply.message.message)
        });
        runs.recv().unwrap();
        while server.method_reports()[0].concurrency == 0 {
            std::thread::yield_now();
        }
        let began = Instant::now();
        server.stop();
        let stopped = began.elapsed();
        server.join();
        assert!(server.method_reports()[0].concurrency == 0 && stopped <= began.elapsed());
        assert_eq!(caller.join().unwrap().unwrap(), "slow");
    }
}

#[test]
fn an_offer_of_listeners_leaves_alone_what_is_no_socket() {
    let path = path("precious");
    fs::write(&path, "precious").unwrap();
    let server = support::start();
    assert!(server.offer_listeners(&path, || ()).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();
    // A socket that a process has left there is replaced.
    drop(UnixListener::bind(&path).unwrap());
    drop(server.offer_listeners(&path, || ()).unwrap());
    assert!(!path.exists());
}
