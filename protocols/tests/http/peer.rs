//! Servers written by hand, for answers that ours does not give.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use iobuf::IoBuf;

use super::support::LONG;

pub(crate) type Channel = rpc::Channel<protocols::Bundled>;

/// Nobody reads who takes nothing for so long.
const MOMENT: Duration = Duration::from_millis(200);

/// A server whose connections are served by a function, each in a thread of its own. It lives as long as the process.
pub(crate) struct Peer {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Peer {
    pub(crate) fn new(serve: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let (serve, count) = (Arc::new(serve), connections.clone());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (serve, number) = (serve.clone(), count.fetch_add(1, Ordering::SeqCst));
                stream.set_read_timeout(Some(LONG)).unwrap();
                let mut connection =
                    Connection { reader: BufReader::new(stream.try_clone().unwrap()), stream, number };
                std::thread::spawn(move || serve(&mut connection));
            }
        });
        Peer { address, connections }
    }

    /// One that gives the same answer to every request and keeps its connections.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Peer::new(move |connection| {
            while connection.request().is_some() {
                connection.send(&answer);
            }
        })
    }

    /// One that gives one answer and closes.
    pub(crate) fn closing(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Peer::new(move |connection| {
            connection.request().unwrap();
            connection.send(&answer);
        })
    }

    /// How many there have been.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn channel(&self) -> Channel {
        channel(&self.address, "http")
    }

    pub(crate) fn channel_of(&self, protocol: &str) -> Channel {
        channel(&self.address, protocol)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

/// A connection as its server sees it.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
    /// From 0.
    pub(crate) number: usize,
}

impl Connection {
    /// Head and body of the next request; `None` at the end.
    pub(crate) fn request(&mut self) -> Option<String> {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            if self.reader.read_line(&mut request).ok()? == 0 {
                return None;
            }
        }
        let length = request.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.reader.read_exact(&mut body).ok()?;
        Some(request + &String::from_utf8_lossy(&body))
    }

    /// The client may be gone.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends nothing more.
    pub(crate) fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends as much as is taken within a moment, and returns how much that was.
    pub(crate) fn send_until_held_up(&mut self, piece: &[u8]) -> usize {
        self.stream.set_write_timeout(Some(MOMENT)).unwrap();
        let mut sent = 0;
        while let Ok(size) = self.stream.write(piece) {
            sent += size;
        }
        self.stream.set_write_timeout(None).unwrap();
        sent
    }

    /// Waits until the client closes.
    pub(crate) fn wait_for_close(&mut self) {
        let _ = self.reader.read(&mut [0]);
    }
}

/// A channel whose requests are the same each time: none is recorded.
pub(crate) fn channel(address: &str, protocol: &str) -> Channel {
    rpc::span::enable(false);
    Channel::builder().protocol(protocol).timeout(LONG).connect(address).unwrap()
}

pub(crate) fn get(path: &str) -> http::Request<IoBuf> {
    http::Request::get(path).body(IoBuf::new()).unwrap()
}

/// Waits for what another thread is about to do.
pub(crate) fn eventually(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG);
        std::thread::yield_now();
    }
}
