//! TCP streams and listeners.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use bthread::net::{Shutdown, TcpListener, TcpStream};
use bthread::{Runtime, interrupt, stop};

use super::waits::until_it_waits;
use super::{SHORT, fill, on_both, shrink_backlog, tcp_pair};

#[test]
fn many_bthreads_talk_over_tcp() {
    let workers = Runtime::builder().workers(2).start().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = workers.spawn({
        let listener = listener.clone();
        move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                bthread::spawn(move || {
                    let mut buf = [0; 256];
                    loop {
                        match stream.read(&mut buf).unwrap() {
                            0 => return,
                            n => stream.write_all(&buf[..n]).unwrap(),
                        }
                    }
                });
            }
        }
    });
    let talk = move |name: u32| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        for round in 0..20u32 {
            let message = format!("{name}/{round}").repeat(5);
            stream.write_all(message.as_bytes()).unwrap();
            let mut reply = vec![0; message.len()];
            stream.read_exact(&mut reply).unwrap();
            assert_eq!(reply, message.as_bytes());
        }
    };
    let bthreads: Vec<_> = (0..200).map(|name| workers.spawn(move || talk(name))).collect();
    let threads: Vec<_> = (200..204).map(|name| std::thread::spawn(move || talk(name))).collect();
    bthreads.into_iter().for_each(|client| client.join().unwrap());
    threads.into_iter().for_each(|client| client.join().unwrap());
    listener.close();
    server.join().unwrap();
}

#[test]
fn one_worker_moves_more_than_the_kernel_buffers() {
    const BYTES: usize = 8 << 20;
    let one = Runtime::builder().workers(1).start().unwrap();
    let sum = one.spawn(|| {
        let (mut client, mut server) = tcp_pair();
        let writer = bthread::spawn(move || {
            let data: Vec<u8> = (0..BYTES).map(|n| n as u8).collect();
            client.write_all(&data).unwrap();
        });
        let mut data = Vec::new();
        server.read_to_end(&mut data).unwrap();
        writer.join().unwrap();
        assert!(data.iter().enumerate().all(|(n, byte)| n as u8 == *byte));
        data.len()
    });
    assert_eq!(sum.join().unwrap(), BYTES);
}

#[test]
fn one_connection_is_read_and_written_at_a_time() {
    let (client, server) = tcp_pair();
    let echo = bthread::spawn(move || io::copy(&mut &server, &mut &server).unwrap());
    let writer = bthread::spawn({
        let client = client.clone();
        move || {
            for n in 0..20_000u32 {
                (&client).write_all(&n.to_be_bytes()).unwrap();
            }
            client.shutdown(Shutdown::Write).unwrap();
        }
    });
    let mut reader = io::BufReader::new(&client);
    for n in 0..20_000u32 {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(u32::from_be_bytes(bytes), n);
    }
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    writer.join().unwrap();
    assert_eq!(echo.join().unwrap(), 80_000);
}

#[test]
fn a_half_close_ends_one_direction() {
    on_both(|| {
        let (mut client, mut server) = tcp_pair();
        let server = bthread::spawn(move || {
            let mut request = String::new();
            server.read_to_string(&mut request).unwrap();
            server.write_all(request.to_uppercase().as_bytes()).unwrap();
        });
        client.write_all(b"half").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut reply = String::new();
        client.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "HALF");
        server.join().unwrap();
    });
}

#[test]
fn dropping_a_clone_leaves_the_others_alone() {
    let (client, mut server) = tcp_pair();
    let reader = bthread::spawn({
        let mut client = client.clone();
        move || {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            byte[0]
        }
    });
    until_it_waits(&reader);
    drop(client);
    server.write_all(b"x").unwrap();
    assert_eq!(reader.join().unwrap(), b'x');
    // The last one has gone with the bthread.
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
}

#[test]
fn timeouts_end_a_call_and_not_before() {
    on_both(|| {
        let (mut client, mut server) = tcp_pair();
        assert_eq!(client.read_timeout().unwrap(), None);
        assert_eq!(
            client.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        client.set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!(client.clone().read_timeout().unwrap(), Some(SHORT));
        let start = Instant::now();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(client.peek(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= 2 * SHORT);
        server.write_all(b"x").unwrap();
        client.set_read_timeout(None).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 1);

        server.set_write_timeout(Some(SHORT)).unwrap();
        let start = Instant::now();
        let mut written = fill(&server);
        assert!(start.elapsed() >= SHORT);
        drop(server);
        while written > 0 {
            written -= client.read(&mut [0; 65536]).unwrap();
        }
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn slices_are_gathered_and_scattered_and_peeked_at() {
    let (mut client, mut server) = tcp_pair();
    let sent = client.write_vectored(&[IoSlice::new(b"abc"), IoSlice::new(b"defgh")]).unwrap();
    assert_eq!(sent, 8);
    let mut peeked = [0; 2];
    assert_eq!(server.peek(&mut peeked).unwrap(), 2);
    assert_eq!(&peeked, b"ab");
    let (mut first, mut second) = ([0; 5], [0; 5]);
    let got = server.read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)]).unwrap();
    assert_eq!((got, &first, &second[..3]), (8, b"abcde", &b"fgh"[..]));
}

#[test]
fn a_refused_connection_is_an_error_and_the_next_address_is_tried() {
    on_both(|| {
        // On an address of its own, whose ports no other test is given.
        let gone = std::net::TcpListener::bind("127.0.77.1:0").unwrap().local_addr().unwrap();
        assert_eq!(TcpStream::connect(gone).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [gone, listener.local_addr().unwrap()];
        let stream = TcpStream::connect(&addresses[..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
        assert_eq!(TcpStream::connect(&[][..]).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

/// As `on_both`, with an argument.
fn on_both_with<A: Copy + Send + 'static>(argument: A, f: fn(A)) {
    bthread::spawn(move || f(argument)).join().unwrap();
    std::thread::spawn(move || f(argument)).join().unwrap();
}

#[test]
fn a_connect_to_a_full_backlog_ends_at_its_deadline_or_by_an_interruption() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    shrink_backlog(&listener);
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    let error = loop {
        let start = Instant::now();
        match TcpStream::connect_timeout(&address, 3 * SHORT) {
            Ok(stream) => queued.push(stream),
            Err(error) => {
                assert!(start.elapsed() >= 3 * SHORT);
                break error;
            }
        }
        assert!(queued.len() < 16, "the backlog has no end");
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    on_both_with(address, |address| {
        let deadline = Instant::now() + SHORT;
        let error = TcpStream::connect_until(&address, deadline).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(Instant::now() >= deadline);
    });
    let connecting = bthread::spawn(move || TcpStream::connect(address).unwrap_err().kind());
    until_it_waits(&connecting);
    assert!(stop(connecting.id()));
    assert_eq!(connecting.join().unwrap(), ErrorKind::Interrupted);
    let zero = TcpStream::connect_timeout(&address, Duration::ZERO).unwrap_err();
    assert_eq!(zero.kind(), ErrorKind::InvalidInput);
}

#[test]
fn an_accept_ends_at_its_deadline() {
    on_both(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let deadline = Instant::now() + SHORT;
        assert_eq!(listener.accept_until(deadline).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(Instant::now() >= deadline);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // There already, so that a deadline in the past does no harm.
        listener.accept_until(deadline).unwrap();
    });
}

#[test]
fn several_accept_from_one_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accept = |listener: TcpListener| {
        move || {
            let mut accepted = 0;
            while let Ok((mut stream, _)) = listener.accept() {
                stream.write_all(b"!").unwrap();
                accepted += 1;
            }
            accepted
        }
    };
    let bthreads: Vec<_> = (0..4).map(|_| bthread::spawn(accept(listener.clone()))).collect();
    let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(accept(listener.clone()))).collect();
    let clients: Vec<_> = (0..100)
        .map(|_| bthread::spawn(move || TcpStream::connect(address).unwrap().read_exact(&mut [0]).unwrap()))
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    listener.close();
    let accepted: usize = bthreads.into_iter().map(|acceptor| acceptor.join().unwrap()).sum();
    let rest: usize = threads.into_iter().map(|acceptor| acceptor.join().unwrap()).sum();
    assert_eq!(accepted + rest, 100);
}

#[test]
fn an_interruption_ends_a_read_and_the_connection_lives_on() {
    let (mut client, mut server) = tcp_pair();
    let reader = bthread::spawn(move || {
        let mut byte = [0];
        assert_eq!(client.read(&mut byte).unwrap_err().kind(), ErrorKind::Interrupted);
        // Goes on after interruptions, as std's do.
        client.read_exact(&mut byte).unwrap();
        byte[0]
    });
    interrupt(reader.id());
    bthread::sleep(SHORT);
    interrupt(reader.id());
    bthread::sleep(SHORT);
    server.write_all(b"x").unwrap();
    assert_eq!(reader.join().unwrap(), b'x');
}

#[test]
fn a_closed_peer_wakes_the_reader_and_a_reset_is_an_error() {
    let (mut client, server) = tcp_pair();
    let reader = bthread::spawn(move || {
        let end = client.read(&mut [0]).unwrap();
        (end, client)
    });
    until_it_waits(&reader);
    drop(server);
    let (end, mut client) = reader.join().unwrap();
    assert_eq!(end, 0);
    // The peer is gone for good: it answers what is sent with a reset.
    client.write_all(b"x").unwrap();
    let error = loop {
        if let Err(error) = client.write(b"x") {
            break error;
        }
        bthread::sleep(Duration::from_millis(1));
    };
    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
}
