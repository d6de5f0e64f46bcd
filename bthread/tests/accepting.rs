//! Loops that accept: how they end, and that they let others run when there is only failure to be had.

use std::io::{self, ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bthread::Runtime;
use bthread::fd::Watched;
use bthread::net::{TcpListener, TcpStream, UnixListener, UnixStream};

const SHORT: Duration = Duration::from_millis(10);
/// More than the calls without a wait after which a bthread gives way.
const ENOUGH: usize = 200;

/// An abstract address that no other test takes.
fn address(name: &str) -> UnixAddr {
    UnixAddr::from_abstract_name(format!("bthread-accepting-{name}-{}", std::process::id())).unwrap()
}

#[test]
fn a_loop_of_accepts_ends_with_the_close() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind_addr(&address("close")).unwrap();
    let loops = {
        let (tcp, unix) = (tcp.clone(), unix.clone());
        [
            bthread::spawn(move || {
                tcp.incoming().map(|stream| stream.unwrap().write_all(b"!").unwrap()).count()
            }),
            bthread::spawn(move || {
                unix.incoming().map(|stream| stream.unwrap().write_all(b"!").unwrap()).count()
            }),
        ]
    };
    for _ in 0..3 {
        let mut byte = [0];
        TcpStream::connect(tcp.local_addr().unwrap()).unwrap().read_exact(&mut byte).unwrap();
        UnixStream::connect_addr(&address("close")).unwrap().read_exact(&mut byte).unwrap();
    }
    tcp.close();
    unix.close();
    assert_eq!(loops.map(|accepts| accepts.join().unwrap()), [3, 3]);
    let _client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap(); // the kernel goes on listening
    assert!(tcp.incoming().next().is_none() && unix.incoming().next().is_none());
    assert_eq!(tcp.accept().unwrap_err().raw_os_error(), Some(libc::EBADF));
}

/// Whether another bthread of the one worker gets to run while `fails` is called again and again.
fn lets_others_run(fails: impl Fn() -> io::Error + Send + 'static, kind: Option<i32>) -> bool {
    let runtime = Runtime::builder().workers(1).start().unwrap();
    runtime
        .spawn(move || {
            let ran = Arc::new(AtomicBool::new(false));
            let other = bthread::spawn_urgent({
                let ran = ran.clone();
                move || {
                    bthread::yield_now();
                    ran.store(true, Ordering::Relaxed); // from here on we live on this worker
                }
            });
            assert!(!ran.load(Ordering::Relaxed));
            for _ in 0..ENOUGH {
                assert_eq!(fails().raw_os_error(), kind);
            }
            let has_run = ran.load(Ordering::Relaxed);
            other.join().unwrap();
            has_run
        })
        .join()
        .unwrap()
}

#[test]
fn errors_without_a_wait_give_way_after_a_while() {
    let (reader, _writer) = io::pipe().unwrap();
    let reader = Watched::new(reader).unwrap();
    let no_descriptor = || io::Error::from_raw_os_error(libc::EMFILE);
    let fails = move || reader.with_readable(None, |_| Err::<(), _>(no_descriptor())).unwrap_err();
    assert!(lets_others_run(fails, Some(libc::EMFILE)));

    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    closed.close();
    assert!(lets_others_run(move || closed.accept().unwrap_err(), Some(libc::EBADF)));

    let idle = TcpListener::bind("127.0.0.1:0").unwrap();
    let past = Instant::now();
    assert!(lets_others_run(move || idle.accept_until(past).unwrap_err(), None));
}

#[test]
fn timed_accepts_and_connects() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind_addr(&address("timed")).unwrap();
    bthread::spawn(move || {
        let start = Instant::now();
        assert_eq!(tcp.accept_timeout(SHORT).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(unix.accept_timeout(SHORT).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= 2 * SHORT);
        assert_eq!(tcp.accept_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::TimedOut);

        let _clients = (
            TcpStream::connect_until(&tcp.local_addr().unwrap(), Instant::now() + Duration::from_secs(60))
                .unwrap(),
            UnixStream::connect_timeout(&address("timed"), Duration::MAX).unwrap(),
        );
        tcp.accept_timeout(Duration::MAX).unwrap();
        unix.accept_timeout(Duration::ZERO).unwrap();
        let zero = UnixStream::connect_timeout(&address("timed"), Duration::ZERO);
        assert_eq!(zero.unwrap_err().kind(), ErrorKind::InvalidInput);
    })
    .join()
    .unwrap();
}
