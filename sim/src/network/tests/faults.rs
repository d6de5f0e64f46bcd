//! What goes wrong on the way, and nodes that do.

use super::*;
use crate::Random;
use crate::network::Fault;
use rpc::transport::Keepalive;

#[test]
fn bytes_of_a_partition_arrive_after_the_retransmission_that_follows_its_end() {
    for seed in 0..10 {
        let lab = Lab::of_seed(seed, LinkOptions::exact(10 * MS));
        let (client, server) = lab.pair();
        lab.network.inject(Fault::Partition { a: A, b: B });
        let bytes = pattern(50_000);
        client.write(&bytes).unwrap();
        server.write(b"hello").unwrap();
        lab.pass(10 * SECOND);
        assert!(client.told.take().is_empty() && server.told.take().is_empty());
        assert!(lab.has_line("fault: partition a | b") && lab.has_line("cut off"));
        lab.network.inject(Fault::Heal { a: B, b: A });
        lab.pass(2 * SECOND);
        assert_eq!(server.read().unwrap(), (vec![], false), "the next one is 12.6 s after the first");
        lab.pass(SECOND);
        assert!(server.read().unwrap().0 == bytes, "all that was lost follows the first, seed {seed}");
        assert_eq!(client.read().unwrap().0, b"hello");
    }
}

#[test]
fn a_cut_one_way_lets_bytes_through_but_not_their_acknowledgement() {
    let lab = Lab::exact();
    let mut options = SocketOptions::default();
    options.tcp_user_timeout = Some(3 * SECOND);
    let (client, server) = lab.pair_with(&options);
    lab.network.inject(Fault::OneWay { from: B, to: A });
    client.write(b"hello").unwrap();
    lab.pass(10 * MS);
    assert_eq!(server.read().unwrap().0, b"hello");
    lab.pass(2900 * MS);
    assert!(client.told.take().is_empty());
    lab.pass(100 * MS);
    assert_eq!(client.read_error(), io::ErrorKind::TimedOut);
    assert_eq!(client.write_error(), io::ErrorKind::TimedOut);
    assert!(client.told.was_readable());
    assert_eq!(server.read().unwrap(), (vec![], false), "the other side does not know");
}

#[test]
fn without_a_timeout_of_its_own_a_sender_gives_up_after_a_quarter_of_an_hour() {
    let lab = Lab::exact();
    let (client, _server) = lab.pair();
    lab.network.inject(Fault::Isolate { node: B });
    client.write(b"hello").unwrap();
    lab.pass(924 * SECOND);
    assert!(client.read().is_ok());
    lab.pass(SECOND);
    assert_eq!(client.read_error(), io::ErrorKind::TimedOut);
}

#[test]
fn keepalive_finds_a_peer_that_is_gone_and_leaves_one_that_is_there() {
    let lab = Lab::exact();
    let mut options = SocketOptions::default();
    let mut keepalive = Keepalive::default();
    keepalive.idle = Some(60 * SECOND);
    keepalive.interval = Some(5 * SECOND);
    keepalive.count = Some(3);
    options.keepalive = Some(keepalive);
    let (client, _server) = lab.pair_with(&options);
    lab.pass(3600 * SECOND);
    assert!(client.read().is_ok());
    lab.network.crash(B);
    lab.pass(80 * SECOND);
    assert_eq!(client.read_error(), io::ErrorKind::TimedOut);
}

#[test]
fn peers_of_a_crashed_node_learn_of_it_when_it_is_back() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    lab.network.crash(B);
    assert_eq!(server.read_error(), io::ErrorKind::ConnectionReset);
    assert_eq!(server.write_error(), io::ErrorKind::BrokenPipe);
    let error = lab.network.listen(B, PORT, SocketOptions::default()).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::NetworkDown);
    client.write(b"hello").unwrap();
    lab.pass(10 * SECOND);
    assert!(client.told.take().is_empty() && lab.has_line("nobody is there"));
    let waiting = lab.dial();
    lab.pass(SECOND / 2);
    lab.network.restart(B);
    lab.pass(10 * SECOND);
    assert_eq!(client.read_error(), io::ErrorKind::ConnectionReset);
    assert_eq!(waiting.transport.is_connected().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let listener = lab.listen();
    let client = lab.dial();
    lab.pass(SECOND);
    assert!(client.transport.is_connected().unwrap() && listener.accept().is_ok());
    drop(server);
}

#[test]
fn a_connector_ends_with_its_node() {
    let lab = Lab::exact();
    lab.network.crash(A);
    let to = Endpoint::Tcp((B, PORT).into());
    let connect = |connector: &dyn Connector| connector.connect(&to, &SocketOptions::default()).map(drop);
    assert_eq!(connect(&*lab.connector).unwrap_err().kind(), io::ErrorKind::NetworkDown);
    lab.network.restart(A);
    assert_eq!(connect(&*lab.connector).unwrap_err().kind(), io::ErrorKind::NetworkDown);
    assert!(connect(&*lab.network.connector(A)).is_ok());
}

#[test]
fn a_reset_is_told_to_both_and_half_of_one_to_one() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    lab.network.inject(Fault::ResetConnections { a: B, b: A });
    for end in [client, server] {
        assert!(end.told.was_readable());
        assert_eq!(end.read_error(), io::ErrorKind::ConnectionReset);
    }
    let (client, server) = lab.pair();
    lab.network.inject(Fault::HalfOpen { a: A, b: B });
    assert_eq!(client.read_error(), io::ErrorKind::ConnectionReset);
    drop(client);
    lab.pass(3600 * SECOND);
    assert!(server.told.take().is_empty() && server.read().unwrap() == (vec![], false));
    server.write(b"hello").unwrap();
    lab.pass(20 * MS);
    assert_eq!(server.read_error(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_slow_link_is_slow_and_a_lossy_one_loses() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    let slow = Fault::SlowLink { from: A, to: B, latency: SECOND, bandwidth: Some(1000) };
    lab.network.inject(slow.clone());
    client.write(&pattern(460)).unwrap();
    lab.pass(1500 * MS);
    assert!(server.told.take().is_empty());
    lab.pass(10 * MS);
    assert!(server.told.was_readable());
    lab.pass(10 * SECOND);
    lab.network.lift(&slow);
    server.read().unwrap();
    lab.network.inject(Fault::Lossy { from: A, to: B, loss: 1.0 });
    client.write(b"x").unwrap();
    lab.pass(SECOND);
    assert!(lab.has_line(": lost") && server.read().unwrap().0.is_empty());
    lab.network.heal();
    lab.pass(20 * SECOND);
    assert_eq!(server.read().unwrap().0, b"x");
    assert!(lab.has_line("healed") && lab.has_line("lifted: slow"));
}

#[test]
fn what_is_injected_twice_is_lifted_twice() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    let fault = Fault::Partition { a: A, b: B };
    lab.network.inject(fault.clone());
    lab.network.inject(fault.clone());
    lab.network.lift(&fault);
    client.write(b"x").unwrap();
    lab.pass(SECOND);
    assert!(server.read().unwrap().0.is_empty());
    lab.network.lift(&fault);
    lab.pass(SECOND);
    assert_eq!(server.read().unwrap().0, b"x");
}

#[test]
fn drawn_faults_are_of_all_kinds_and_about_two_nodes() {
    let mut random = Random::new(5);
    let mut texts = Vec::new();
    for _ in 0..200 {
        let fault = Fault::draw(&mut random, &[A, B]);
        let (mut one, mut other) = Default::default();
        fault.apply(A, B, &mut one);
        fault.apply(B, A, &mut other);
        let is_felt = one != Default::default() || other != Default::default();
        assert_eq!(is_felt, fault.is_lasting(), "{fault}");
        texts.push(fault.to_string());
    }
    for kind in ["partition", "cut", "isolate", "slow", "lossy", "reset", "half-open"] {
        assert!(texts.iter().any(|text| text.starts_with(kind)), "{kind}");
    }
}

/// Whatever goes wrong, bytes are those that were sent, and a side that is closed is forgotten in the end.
#[test]
fn chaos_leaves_nothing_behind_and_mixes_nothing_up() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let lab = Lab::of_seed(seed, LinkOptions { loss: 0.02, tear: 0.2, ..LinkOptions::default() });
        let listener = lab.listen();
        let sent = pattern(40_000);
        let (mut clients, mut servers) = (Vec::<(End, usize)>::new(), Vec::<(End, usize)>::new());
        for _ in 0..300 {
            match random.below(12) {
                0 => lab.network.inject(Fault::draw(&mut random, &[A, B])),
                1 => lab.network.heal(),
                2 if clients.len() < 10 => clients.push((lab.dial(), 0)),
                3 if !clients.is_empty() => {
                    drop(clients.swap_remove(random.below(clients.len() as u64) as usize))
                }
                4 if !servers.is_empty() => {
                    drop(servers.swap_remove(random.below(servers.len() as u64) as usize))
                }
                _ => {}
            }
            while let Ok((transport, _)) = listener.accept() {
                servers.push((End::new(transport), 0));
            }
            for (client, at) in &mut clients {
                *at += client.write(&sent[*at..(*at + 3000).min(sent.len())]).unwrap_or(0);
            }
            for (server, at) in &mut servers {
                let got = server.read().unwrap_or_default().0;
                assert!(got == sent[*at..*at + got.len()], "seed {seed}");
                *at += got.len();
            }
            lab.pass(random.duration(Duration::ZERO, 300 * MS));
        }
        drop((clients, servers, listener));
        lab.network.heal();
        lab.pass(300 * SECOND);
        assert_eq!(lab.network.open_connections(), Vec::<String>::new(), "seed {seed}");
        assert_eq!(lab.network.next_event(), None, "seed {seed}");
    }
}
