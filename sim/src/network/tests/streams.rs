//! Bytes on their way.

use super::*;

#[test]
fn bytes_take_the_latency_and_are_told() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    assert_eq!(client.write(b"hello").unwrap(), 5);
    lab.pass(9 * MS);
    assert!(server.told.take().is_empty() && server.read().unwrap().0.is_empty());
    lab.pass(MS);
    assert!(server.told.was_readable());
    let mut portal = IoPortal::new();
    let received = server.transport.read(&mut portal, 100).unwrap();
    assert_eq!(received, Received { bytes: 5, drained: true });
    assert_eq!(portal.to_vec(), b"hello");
    assert!(lab.has_line("a->b #1 > segment 0+5: arrived"));
    lab.pass(10 * MS);
    assert_eq!(lab.network.next_event(), None, "a quiet connection makes no events");
}

#[test]
fn bandwidth_delays_what_is_large() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    lab.network.set_link(A, B, LinkOptions { bandwidth: Some(100_000), ..LinkOptions::exact(10 * MS) });
    let bytes = pattern(20_000);
    assert_eq!(client.write(&bytes).unwrap(), bytes.len());
    lab.pass(205 * MS);
    let early = server.read().unwrap().0;
    assert!(early.len() < bytes.len());
    lab.pass(40 * MS);
    assert_eq!([early, server.read().unwrap().0].concat(), bytes);
}

#[test]
fn buffers_fill_and_a_writer_is_told_of_room_once() {
    let lab = Lab::exact();
    let mut options = SocketOptions::default();
    options.send_buffer_size = Some(10_000);
    let (client, server) = lab.pair_with(&options);
    let bytes = pattern(200_000);
    assert_eq!(client.write(&bytes).unwrap(), 10_000);
    let mut written = 10_000;
    for _ in 0..100 {
        lab.pass(50 * MS);
        written += client.write(&bytes[written..]).unwrap();
    }
    assert_eq!(written, super::super::BUFFER_DEFAULT + 10_000, "the receiver's buffer and the sender's");
    client.told.take();
    // Nobody reads for a long time: the sender asks, and is answered.
    lab.pass(7200 * SECOND);
    assert!(client.told.take().is_empty());
    let mut got = server.read().unwrap().0;
    lab.pass(SECOND);
    assert!(client.told.was_writable());
    lab.pass(SECOND);
    assert!(client.told.take().is_empty());
    written += client.write(&bytes[written..]).unwrap();
    while got.len() < bytes.len() {
        lab.pass(50 * MS);
        got.extend(server.read().unwrap().0);
        written += client.write(&bytes[written..]).unwrap();
    }
    assert_eq!(got, bytes);
    lab.pass(SECOND);
    client.told.take();
    client.write(b"x").unwrap();
    lab.pass(SECOND);
    assert!(client.told.take().is_empty(), "nobody waits for room");
}

#[test]
fn what_is_sent_later_does_not_overtake() {
    let link = LinkOptions { latency: MS..50 * MS, tear: 0.0, ..LinkOptions::default() };
    let lab = Lab::new(link);
    let (client, server) = lab.pair();
    for _ in 0..100 {
        client.write(b"ab").unwrap();
        lab.pass(MS);
        server.read().unwrap();
    }
    lab.pass(SECOND);
    assert!(lab.has_line("arrived") && !lab.has_line("brings nothing"), "{:?}", lab.lines());
}

#[test]
fn whatever_is_lost_and_torn_all_bytes_come_in_order() {
    for seed in 0..20 {
        let link =
            LinkOptions { loss: 0.1, tear: 0.3, bandwidth: Some(10_000_000), ..LinkOptions::default() };
        let lab = Lab::of_seed(seed, LinkOptions::default());
        let (client, server) = lab.pair();
        lab.network.set_default_link(link);
        let bytes = pattern(200_000);
        assert!(lab.transfer(&client, &server, &bytes) == bytes, "seed {seed}");
        assert!(lab.transfer(&server, &client, &bytes) == bytes, "seed {seed}");
        assert!(lab.has_line(": lost"));
    }
}

#[test]
fn a_loss_is_a_pause_that_doubles() {
    let lab = Lab::exact();
    let (client, server) = lab.pair();
    lab.network.set_link(A, B, LinkOptions { loss: 1.0, ..LinkOptions::exact(10 * MS) });
    client.write(b"hello").unwrap();
    let sent = lab.now();
    lab.pass(10 * SECOND);
    let times: Vec<_> = lab.lines().iter().filter(|line| line.contains("lost")).cloned().collect();
    let at = |time: Duration| format!("{:?} a->b #1 > segment 0+5: lost", sent + time);
    assert_eq!(times[..4], [at(Duration::ZERO), at(200 * MS), at(600 * MS), at(1400 * MS)]);
    assert!(server.told.take().is_empty());
    lab.network.set_link(A, B, LinkOptions::exact(10 * MS));
    lab.pass(4 * SECOND);
    assert_eq!(server.read().unwrap().0, b"hello");
}

#[test]
fn reads_and_writes_are_torn_and_say_so() {
    let lab = Lab::new(LinkOptions { tear: 1.0, ..LinkOptions::exact(10 * MS) });
    let (client, server) = lab.pair();
    let mut buf = IoBuf::new();
    buf.append(&pattern(1000));
    assert!(client.transport.write(&mut buf).unwrap() < 1000);
    let left = buf.to_vec();
    assert_eq!(client.write(&left).unwrap(), left.len());
    lab.pass(100 * MS);
    let mut portal = IoPortal::new();
    let received = server.transport.read(&mut portal, 1000).unwrap();
    assert!(received.bytes < 1000 && !received.drained);
    assert_eq!([portal.to_vec(), server.read().unwrap().0].concat(), pattern(1000));
}

#[test]
fn small_segments_and_large_ones_both_occur() {
    let segments = |seed| {
        let lab = Lab::of_seed(seed, LinkOptions::exact(MS));
        let (client, _server) = lab.pair();
        client.write(&pattern(5000)).unwrap();
        lab.lines().iter().filter(|line| line.contains("segment")).count()
    };
    let seen: Vec<_> = (0..20).map(segments).collect();
    assert!(seen.contains(&1) && seen.contains(&4) && seen.contains(&10), "{seen:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let lab = Lab::of_seed(seed, LinkOptions { loss: 0.05, tear: 0.2, ..LinkOptions::default() });
        let listener = lab.listen();
        let client = lab.dial();
        lab.pass(20 * SECOND);
        let server = End::new(listener.accept().unwrap().0);
        lab.transfer(&client, &server, &pattern(50_000));
        lab.lines()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
