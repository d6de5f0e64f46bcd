//! How connections begin, or do not.

use super::*;
use crate::network::Fault;

#[test]
fn a_connection_takes_one_way_there_and_one_back() {
    let lab = Lab::exact();
    let listener = lab.listen();
    let told = Arc::new(Told::default());
    let _registration = listener.register(told.clone()).unwrap();
    let client = lab.dial();
    assert!(!client.transport.is_connected().unwrap());
    assert_eq!(client.write(b"early").unwrap(), 0);
    lab.pass(19 * MS);
    assert!(!client.transport.is_connected().unwrap() && client.told.take().is_empty());
    lab.pass(MS);
    assert!(client.transport.is_connected().unwrap() && client.told.was_writable());
    assert!(told.take().is_empty() && listener.accept().is_err());
    lab.pass(10 * MS);
    assert!(told.was_readable());
    let (server, remote) = listener.accept().unwrap();
    assert_eq!(remote, client.transport.local().unwrap());
    assert_eq!(remote, Endpoint::Tcp((A, 40_000).into()));
    assert_eq!(server.local().unwrap(), Endpoint::Tcp((B, PORT).into()));
    assert!(server.is_connected().unwrap());
    assert!(lab.has_line("a->b #1 > SYN to port 8000") && lab.has_line("a->b #1: accepted"));
    assert_eq!(lab.dial().transport.local().unwrap(), Endpoint::Tcp((A, 40_001).into()));
    assert!(lab.has_line("a->b #2 >"));
}

#[test]
fn nobody_listens() {
    let lab = Lab::exact();
    let client = lab.dial();
    lab.pass(20 * MS);
    let error = client.transport.is_connected().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(client.told.was_writable());
    assert_eq!(client.read_error(), io::ErrorKind::ConnectionRefused);
    drop(client);
    assert_eq!(lab.network.connections(), 0);
    assert_eq!(lab.network.next_event(), None);
}

#[test]
fn a_black_hole_answers_after_it_is_healed() {
    let lab = Lab::exact();
    let listener = lab.listen();
    lab.network.inject(Fault::Partition { a: A, b: B });
    let client = lab.dial();
    lab.pass(60 * SECOND);
    assert!(!client.transport.is_connected().unwrap());
    let syns = lab.lines().iter().filter(|line| line.contains("SYN")).count();
    assert_eq!(syns, 6, "at 0, 1, 3, 7, 15 and 31 s");
    lab.network.heal();
    lab.pass(2 * SECOND);
    assert!(!client.transport.is_connected().unwrap(), "the next SYN is at 63 s");
    lab.pass(2 * SECOND);
    assert!(client.transport.is_connected().unwrap() && listener.accept().is_ok());
}

#[test]
fn a_black_hole_times_out_as_linux_does_or_as_told() {
    let lab = Lab::exact();
    lab.network.inject(Fault::OneWay { from: B, to: A });
    let client = lab.dial();
    let mut options = SocketOptions::default();
    options.tcp_user_timeout = Some(5 * SECOND);
    let hasty = lab.dial_with(&options);
    lab.pass(5 * SECOND);
    assert_eq!(hasty.transport.is_connected().unwrap_err().kind(), io::ErrorKind::TimedOut);
    lab.pass(121 * SECOND);
    assert!(!client.transport.is_connected().unwrap());
    lab.pass(SECOND);
    let error = client.transport.is_connected().unwrap_err();
    assert_eq!((error.kind(), lab.now()), (io::ErrorKind::TimedOut, 127 * SECOND));
    assert!(client.told.was_writable() && lab.has_line("timed out at a"));
}

#[test]
fn who_gave_up_before_the_answer_leaves_nothing_there() {
    let lab = Lab::exact();
    let listener = lab.listen();
    let client = lab.dial();
    client.transport.shutdown();
    assert!(client.told.was_readable());
    drop(client);
    lab.pass(SECOND);
    assert!(listener.accept().is_err());
    assert_eq!(lab.network.connections(), 0);
    assert_eq!(lab.network.next_event(), None);
}

#[test]
fn a_full_backlog_answers_when_there_is_room() {
    let lab = Lab::exact();
    let listener = lab.listen();
    listener.set_backlog_max(2);
    let clients: Vec<_> = (0..3).map(|_| lab.dial()).collect();
    let connected = || clients.iter().filter(|client| client.transport.is_connected().unwrap()).count();
    lab.pass(SECOND / 2);
    assert_eq!(connected(), 2);
    assert!(lab.has_line("the backlog is full"));
    let _accepted = listener.accept().unwrap();
    lab.pass(SECOND);
    assert_eq!(connected(), 3);
    assert!(listener.accept().is_ok() && listener.accept().is_ok());
    assert_eq!(listener.accept().err().unwrap().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn what_was_not_accepted_is_reset_with_its_listener() {
    let lab = Lab::exact();
    let listener = lab.listen();
    let client = lab.dial();
    lab.pass(100 * MS);
    let late = lab.dial();
    lab.pass(15 * MS);
    drop(listener);
    lab.pass(100 * MS);
    assert_eq!(client.read_error(), io::ErrorKind::ConnectionReset);
    assert_eq!(late.read_error(), io::ErrorKind::ConnectionReset);
    drop((client, late));
    assert_eq!(lab.network.connections(), 0);
}

#[test]
fn ports_are_taken_once() {
    let lab = Lab::exact();
    let first = lab.listen();
    let error = lab.network.listen(B, PORT, SocketOptions::default()).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let chosen = lab.network.listen(B, 0, SocketOptions::default()).unwrap();
    assert!(chosen.port() != PORT && chosen.port() != 0);
    drop(first);
    assert!(lab.network.listen(B, PORT, SocketOptions::default()).is_ok());
}

#[test]
fn names_and_addresses_are_resolved_and_others_are_not() {
    let lab = Lab::exact();
    let b = Endpoint::Tcp((B, 80).into());
    assert_eq!(lab.connector.resolve("b:80").unwrap(), b);
    assert_eq!(lab.connector.resolve("10.0.0.2:80").unwrap(), b);
    for text in ["", "b", "c:80", "b:99999", "localhost:80"] {
        assert!(lab.connector.resolve(text).is_err(), "{text}");
    }
    let connect = |to: Endpoint| lab.connector.connect(&to, &SocketOptions::default()).err().unwrap().kind();
    assert_eq!(connect(Endpoint::Named("b".into())), io::ErrorKind::Unsupported);
    assert_eq!(connect(Endpoint::Tcp(([10, 0, 0, 9], 80).into())), io::ErrorKind::HostUnreachable);
    let mut options = SocketOptions::default();
    options.client_host = Some(B.into());
    let error = lab.connector.connect(&b, &options).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
}

#[test]
fn a_node_connects_to_itself() {
    let lab = Lab::exact();
    lab.network.inject(Fault::Isolate { node: B });
    let listener = lab.listen();
    let connector = lab.network.connector(B);
    let to = connector.resolve("b:8000").unwrap();
    let client = End::new(connector.connect(&to, &SocketOptions::default()).unwrap());
    lab.pass(MS);
    let server = End::new(listener.accept().unwrap().0);
    assert_eq!(lab.transfer(&client, &server, b"hello"), b"hello");
}
