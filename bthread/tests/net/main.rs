//! Sockets, between bthreads and threads, over the loopback. Here: what several types of them do alike.

mod tcp;
mod udp;
mod unix;
#[path = "../waits/mod.rs"]
mod waits;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::time::Duration;

use bthread::Runtime;
use bthread::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs, UdpSocket, UnixListener, UnixStream};

const SHORT: Duration = Duration::from_millis(10);

/// Runs `f` once in a bthread and once on a thread.
fn on_both(f: fn()) {
    bthread::spawn(f).join().unwrap();
    std::thread::spawn(f).join().unwrap();
}

/// Both ends of a connection.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
    (client, server)
}

/// A path that no other test takes.
fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("bthread-net-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// Leaves room for one connection or so that is not accepted yet.
fn shrink_backlog(listener: impl AsFd) {
    // SAFETY: takes and gives plain numbers.
    assert_eq!(unsafe { libc::listen(listener.as_fd().as_raw_fd(), 0) }, 0);
}

/// Writes until the kernel takes no more; returns how many bytes.
fn fill(stream: impl Write) -> usize {
    let mut stream = stream;
    let chunk = [7u8; 65536];
    let mut written = 0;
    loop {
        match stream.write(&chunk) {
            Ok(bytes) => written += bytes,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                return written;
            }
        }
    }
}

#[test]
fn a_shutdown_wakes_who_reads_and_who_writes() {
    fn check<S: Read + Write + Clone + Send + 'static>(
        (here, there): (S, S),
        shutdown: impl Fn(&S, Shutdown),
    ) {
        let mut readers: Vec<Box<dyn FnOnce() -> usize>> = Vec::new();
        for _ in 0..3 {
            let mut stream = here.clone();
            let bthread = bthread::spawn(move || stream.read(&mut [0]).unwrap());
            readers.push(Box::new(|| bthread.join().unwrap()));
            let mut stream = here.clone();
            let thread = std::thread::spawn(move || stream.read(&mut [0]).unwrap());
            readers.push(Box::new(|| thread.join().unwrap()));
        }
        let mut writer = here.clone();
        let writer = bthread::spawn(move || {
            loop {
                if let Err(error) = writer.write(&[7; 65536]) {
                    return error.kind();
                }
            }
        });
        bthread::sleep(SHORT);
        shutdown(&here, Shutdown::Both);
        for reader in readers {
            assert_eq!(reader(), 0);
        }
        assert_eq!(writer.join().unwrap(), ErrorKind::BrokenPipe);
        drop(there);
    }
    check(tcp_pair(), |stream, how| stream.shutdown(how).unwrap());
    check(UnixStream::pair().unwrap(), |stream, how| stream.shutdown(how).unwrap());
}

#[test]
fn a_close_wakes_everybody_who_accepts_or_receives() {
    let path = path("close");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let accept = |tcp: TcpListener| move || tcp.accept().unwrap_err().raw_os_error();
    let mut bthreads = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..3 {
        bthreads.push(bthread::spawn(accept(tcp.clone())));
        threads.push(std::thread::spawn(accept(tcp.clone())));
        let clone = unix.clone();
        bthreads.push(bthread::spawn(move || clone.accept().unwrap_err().raw_os_error()));
        let clone = udp.clone();
        bthreads.push(bthread::spawn(move || clone.recv_from(&mut [0]).unwrap_err().raw_os_error()));
    }
    bthread::sleep(SHORT);
    tcp.close();
    unix.close();
    udp.close();
    for waiter in bthreads {
        assert_eq!(waiter.join().unwrap(), Some(libc::EBADF));
    }
    for waiter in threads {
        assert_eq!(waiter.join().unwrap(), Some(libc::EBADF));
    }
    assert_eq!(tcp.accept().unwrap_err().raw_os_error(), Some(libc::EBADF));
    assert_eq!(udp.send_to(b"x", udp.local_addr().unwrap()).unwrap_err().raw_os_error(), Some(libc::EBADF));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn sockets_come_from_std_and_go_back() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let client = TcpStream::from_std(client).unwrap();
    let clone = client.clone();
    assert_eq!(client.into_std().unwrap_err().kind(), ErrorKind::ResourceBusy);
    let mut client = clone.into_std().unwrap();
    // In blocking mode again: this waits in the kernel.
    let writer = bthread::spawn(move || {
        bthread::sleep(SHORT);
        server.write_all(b"x").unwrap();
    });
    client.read_exact(&mut [0]).unwrap();
    writer.join().unwrap();
    let (left, _right) = std::os::unix::net::UnixStream::pair().unwrap();
    UnixStream::from_std(left).unwrap().into_std().unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    UdpSocket::from_std(socket).unwrap().into_std().unwrap();
    listener.into_std().unwrap();
}

#[test]
fn names_are_looked_up_without_holding_the_worker() {
    let one = Runtime::builder().workers(1).start().unwrap();
    one.spawn(|| {
        let listener = TcpListener::bind(("localhost", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect(format!("localhost:{port}")).unwrap();
        let digits: Vec<_> = "[::1]:80".to_socket_addrs().unwrap().collect();
        assert_eq!(digits, ["[::1]:80".parse().unwrap()]);
        assert_eq!("no port".to_socket_addrs().unwrap_err().kind(), ErrorKind::InvalidInput);
    })
    .join()
    .unwrap();
}
