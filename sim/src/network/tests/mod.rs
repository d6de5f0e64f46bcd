//! The network without nodes that run: time is what a test says it is.

mod connecting;
mod failures;
mod faults;
mod storms;
mod streams;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bthread::poller::{EventHandler, Readiness};
use iobuf::{IoBuf, IoPortal};
use rpc::transport::{Connector, Endpoint, Listener, Received, Registration, SocketOptions, Transport};

use super::signal::Signal;
use super::{Ground, LinkOptions, Network, SimListener};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PORT: u16 = 8000;
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Most events of a test.
const EVENTS_MAX: usize = 2_000_000;

#[derive(Default)]
struct Notes {
    now: Duration,
    lines: Vec<String>,
}

impl Ground for Arc<Mutex<Notes>> {
    fn now(&self) -> Duration {
        self.lock().unwrap().now
    }

    fn trace(&self, line: fmt::Arguments<'_>) {
        let mut notes = self.lock().unwrap();
        let line = format!("{:?} {line}", notes.now);
        notes.lines.push(line);
    }
}

/// Hands events to the handler at once; that of a test does nothing but write them down.
struct Direct(Arc<dyn EventHandler>);

impl Signal for Direct {
    fn raise(&self, readiness: Readiness) {
        self.0.clone().on_event(readiness);
    }
}

/// What was told.
#[derive(Default)]
struct Told(Mutex<Vec<Readiness>>);

impl EventHandler for Told {
    fn on_event(self: Arc<Self>, ready: Readiness) {
        self.0.lock().unwrap().push(ready);
    }
}

impl Told {
    fn take(&self) -> Vec<Readiness> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn was_readable(&self) -> bool {
        self.take().iter().any(|ready| ready.is_readable())
    }

    fn was_writable(&self) -> bool {
        self.take().iter().any(|ready| ready.is_writable())
    }
}

/// One end with the events it was told.
struct End {
    transport: Box<dyn Transport>,
    told: Arc<Told>,
    registration: Option<Registration>,
}

impl End {
    fn new(transport: Box<dyn Transport>) -> Self {
        let told = Arc::new(Told::default());
        let registration = Some(transport.register(told.clone()).unwrap());
        End { transport, told, registration }
    }

    /// Writes until there is no room; returns how much that was.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut buf = IoBuf::new();
        buf.append(bytes);
        while !buf.is_empty() {
            match self.transport.write(&mut buf) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(bytes.len() - buf.len())
    }

    /// Reads until there is nothing; `true` at the end of the stream.
    fn read(&self) -> io::Result<(Vec<u8>, bool)> {
        let mut portal = IoPortal::new();
        loop {
            match self.transport.read(&mut portal, 10_000) {
                Ok(Received { bytes: 0, .. }) => return Ok((portal.to_vec(), true)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((portal.to_vec(), false));
                }
                Err(error) if portal.is_empty() => return Err(error),
                Err(_) => return Ok((portal.to_vec(), false)),
            }
        }
    }

    fn read_error(&self) -> io::ErrorKind {
        self.read().unwrap_err().kind()
    }

    fn write_error(&self) -> io::ErrorKind {
        self.write(b"x").unwrap_err().kind()
    }
}

/// Two nodes.
struct Lab {
    network: Network,
    notes: Arc<Mutex<Notes>>,
    /// Of `a`.
    connector: Arc<dyn Connector>,
}

impl Lab {
    fn new(link: LinkOptions) -> Self {
        Self::of_seed(1, link)
    }

    fn of_seed(seed: u64, link: LinkOptions) -> Self {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let network =
            Network::with_signals(seed, Box::new(notes.clone()), |handler| Ok(Arc::new(Direct(handler))));
        network.set_default_link(link);
        network.add_node("a", A);
        network.add_node("b", B);
        Lab { connector: network.connector(A), network, notes }
    }

    /// Always 10 ms each way, nothing torn.
    fn exact() -> Self {
        Self::new(LinkOptions::exact(10 * MS))
    }

    fn now(&self) -> Duration {
        self.notes.lock().unwrap().now
    }

    /// Lets so much time pass.
    fn pass(&self, time: Duration) {
        let end = self.now() + time;
        for _ in 0..EVENTS_MAX {
            match self.network.next_event().filter(|at| *at <= end) {
                Some(at) => {
                    self.notes.lock().unwrap().now = at;
                    self.network.deliver(at);
                }
                None => {
                    self.notes.lock().unwrap().now = end;
                    return;
                }
            }
        }
        panic!("the network does not come to rest");
    }

    fn listen(&self) -> SimListener {
        self.network.listen(B, PORT, SocketOptions::default()).unwrap()
    }

    fn dial(&self) -> End {
        self.dial_with(&SocketOptions::default())
    }

    fn dial_with(&self, options: &SocketOptions) -> End {
        End::new(self.connector.connect(&Endpoint::Tcp((B, PORT).into()), options).unwrap())
    }

    /// A connection from `a` to `b`.
    fn pair(&self) -> (End, End) {
        self.pair_with(&SocketOptions::default())
    }

    fn pair_with(&self, options: &SocketOptions) -> (End, End) {
        let listener = self.listen();
        let client = self.dial_with(options);
        self.pass(SECOND / 2);
        assert!(client.transport.is_connected().unwrap());
        let (server, _) = listener.accept().unwrap();
        let server = End::new(server);
        client.told.take();
        server.told.take();
        (client, server)
    }

    /// Sends `bytes` and reads them, for as long as that takes.
    fn transfer(&self, from: &End, to: &End, bytes: &[u8]) -> Vec<u8> {
        let (mut written, mut got) = (0, Vec::new());
        for _ in 0..10_000 {
            written += from.write(&bytes[written..]).unwrap();
            self.pass(10 * MS);
            got.extend(to.read().unwrap().0);
            if got.len() >= bytes.len() {
                break;
            }
        }
        got
    }

    fn has_line(&self, part: &str) -> bool {
        self.notes.lock().unwrap().lines.iter().any(|line| line.contains(part))
    }

    fn lines(&self) -> Vec<String> {
        self.notes.lock().unwrap().lines.clone()
    }
}

/// So many different bytes.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}
