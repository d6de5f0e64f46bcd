//! Streams and listeners of one machine.

use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::time::{Duration, Instant};

use bthread::interrupt;
use bthread::net::{UnixListener, UnixStream};

use super::{SHORT, fill, path, shrink_backlog};

#[test]
fn a_unix_connect_waits_while_the_backlog_is_full() {
    let path = path("backlog");
    let listener = UnixListener::bind(&path).unwrap();
    shrink_backlog(&listener);
    let address = SocketAddr::from_pathname(&path).unwrap();
    let mut queued = Vec::new();
    let error = loop {
        match UnixStream::connect_until(&address, Instant::now() + SHORT) {
            Ok(stream) => queued.push(stream),
            Err(error) => break error,
        }
        assert!(queued.len() < 16, "the backlog has no end");
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let interrupted = bthread::spawn({
        let path = path.clone();
        move || UnixStream::connect(path).unwrap_err().kind()
    });
    bthread::sleep(Duration::from_millis(2));
    assert!(interrupt(interrupted.id()));
    assert_eq!(interrupted.join().unwrap(), ErrorKind::Interrupted);
    let connecting = bthread::spawn({
        let path = path.clone();
        move || UnixStream::connect(path).unwrap().write_all(b"x").unwrap()
    });
    for _ in 0..queued.len() {
        listener.accept().unwrap();
    }
    let mut byte = [0];
    listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
    connecting.join().unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn unix_streams_talk_by_path_and_by_abstract_name() {
    let path = path("talk");
    let abstract_name = format!("bthread-net-{}", std::process::id());
    let named = SocketAddr::from_abstract_name(abstract_name).unwrap();
    let talk = |listener: UnixListener, mut client: UnixStream| {
        let server = bthread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 4];
            stream.read_exact(&mut question).unwrap();
            stream.write_all(&question).unwrap();
        });
        client.write_all(b"ping").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "ping");
        server.join().unwrap();
    };
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
    talk(listener, UnixStream::connect(&path).unwrap());
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    std::fs::remove_file(path).unwrap();
    let listener = UnixListener::bind_addr(&named).unwrap();
    talk(listener, UnixStream::connect_addr(&named).unwrap());
}

#[test]
fn unix_streams_have_timeouts() {
    let (mut left, right) = UnixStream::pair().unwrap();
    left.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(left.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    left.set_write_timeout(Some(SHORT)).unwrap();
    let written = fill(&left);
    drop(left);
    let mut all = Vec::new();
    (&right).read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), written);
}
