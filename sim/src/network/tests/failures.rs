//! How connections end.

use super::*;

#[test]
fn what_was_written_before_the_end_arrives_before_it() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    client.write(b"goodbye").unwrap();
    client.transport.shutdown();
    assert!(client.told.was_readable());
    assert_eq!(client.write_error(), io::ErrorKind::BrokenPipe);
    assert_eq!(client.read().unwrap(), (vec![], true));
    drop(client);
    lab.pass(10 * MS);
    assert!(server.told.take().iter().any(|ready| ready.is_read_closed()));
    assert_eq!(server.read().unwrap(), (b"goodbye".to_vec(), true));
    server.transport.shutdown();
    drop(server);
    lab.pass(100 * MS);
    assert_eq!(lab.network.connections(), 0);
    assert_eq!(lab.network.next_event(), None);
    assert!(!lab.has_line("RST"));
}

#[test]
fn bytes_for_a_closed_end_are_answered_with_a_reset() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    client.transport.shutdown();
    lab.pass(10 * MS);
    assert_eq!(server.read().unwrap(), (vec![], true));
    assert_eq!(server.write(b"too late").unwrap(), 8);
    server.told.take();
    lab.pass(20 * MS);
    let told = server.told.take();
    assert!(told.iter().any(|ready| ready.is_readable() && ready.is_writable() && ready.is_read_closed()));
    assert_eq!(server.read().unwrap(), (vec![], true), "it has all that there was, the end too");
    assert_eq!(server.write_error(), io::ErrorKind::BrokenPipe);
    assert!(lab.has_line("a->b #1 > RST"));
    drop((client, server));
    assert_eq!(lab.network.connections(), 0);
}

#[test]
fn closing_with_bytes_unread_is_a_reset() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    client.write(b"never read").unwrap();
    lab.pass(20 * MS);
    drop(server);
    lab.pass(10 * MS);
    assert_eq!(client.read_error(), io::ErrorKind::ConnectionReset);

    // Who has ended the direction before has told so.
    let (client, server) = lab.pair();
    client.write(b"never read").unwrap();
    lab.pass(20 * MS);
    server.transport.shutdown();
    drop(server);
    lab.pass(10 * MS);
    assert_eq!(client.read().unwrap(), (vec![], true));
    assert_eq!(client.write_error(), io::ErrorKind::BrokenPipe);
}

#[test]
fn bytes_that_came_before_a_reset_can_be_read() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    server.write(b"answer").unwrap();
    lab.pass(10 * MS);
    lab.network.inject(crate::network::Fault::ResetConnections { a: A, b: B });
    assert_eq!(client.read().unwrap(), (b"answer".to_vec(), false));
    assert_eq!(client.read_error(), io::ErrorKind::ConnectionReset);
}

#[test]
fn an_end_that_nobody_acknowledges_is_forgotten() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    lab.network.inject(crate::network::Fault::Partition { a: A, b: B });
    client.write(b"lost").unwrap();
    drop(client);
    lab.pass(59 * SECOND);
    assert!(lab.network.open_connections()[0].contains("4 B sent"), "{:?}", lab.network.open_connections());
    lab.pass(SECOND);
    assert_eq!(lab.network.connections(), 1, "the server's side");
    assert!(lab.has_line("forgotten at a"));
    lab.network.heal();
    server.write(b"is anybody there?").unwrap();
    lab.pass(20 * MS);
    assert_eq!(server.read_error(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_slow_reader_gets_all_of_what_a_closed_end_wrote() {
    let lab = Lab::exact();
    let mut options = SocketOptions::default();
    options.send_buffer_size = Some(100_000);
    let (client, server) = lab.pair_with(&options);
    let bytes = pattern(100_000);
    assert_eq!(client.write(&bytes).unwrap(), bytes.len());
    drop(client);
    lab.pass(300 * SECOND);
    let mut got = server.read().unwrap().0;
    assert!(got.len() < bytes.len());
    lab.pass(SECOND);
    got.extend(server.read().unwrap().0);
    assert!(got == bytes);
    drop(server);
    lab.pass(SECOND);
    assert_eq!(lab.network.connections(), 0);
}

#[test]
fn no_event_comes_after_the_registration_has_ended() {
    let lab = Lab::exact();
    let (client, mut server) = lab.pair();
    server.registration = None;
    client.write(b"hello").unwrap();
    lab.pass(SECOND);
    assert!(server.told.take().is_empty());
    let told = Arc::new(Told::default());
    let _registration = server.transport.register(told.clone()).unwrap();
    assert!(told.was_readable(), "what is there already is told");
}
