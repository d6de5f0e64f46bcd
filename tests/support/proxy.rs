//! A TCP proxy that does to connections what networks and dying peers do to them. Owns its connections and two threads
//! for each; never looks at the bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

/// How often a pump that cannot write looks whether its connection is to end.
const LOOK: Duration = Duration::from_millis(20);

/// The most bytes that a pump holds.
const PIECE: usize = 64 << 10;

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They pass.
    None,
    /// They are left where they are, so that the buffers before the proxy fill.
    Paused,
    /// They are taken and thrown away, and so is the end of the connection: the peer has vanished.
    Swallowed,
    /// They pass one by one.
    OneByOne,
    /// Each piece passes after a pause.
    Delayed(Duration),
}

/// Where bytes are going.
#[derive(Clone, Copy, Debug)]
pub enum Direction {
    /// From who connected to the proxy.
    ToServer,
    /// From whom the proxy connected to.
    ToClient,
}

#[derive(Debug)]
struct Switches {
    target: String,
    faults: [Fault; 2],
    ended: bool,
}

#[derive(Debug)]
struct Shared {
    switches: Mutex<Switches>,
    turned: Condvar,
    links: Mutex<Vec<Carried>>,
}

impl Shared {
    fn switches(&self) -> MutexGuard<'_, Switches> {
        self.switches.lock().expect("no pump panics")
    }

    /// The fault of a direction, as soon as it lets bytes be taken.
    fn fault(&self, direction: Direction, link: &Link) -> Fault {
        let mut switches = self.switches();
        loop {
            match switches.faults[direction as usize] {
                Fault::Paused if !link.ended.load(Ordering::Acquire) => {
                    switches = self.turned.wait(switches).expect("no pump panics");
                }
                fault => return fault,
            }
        }
    }
}

/// The two ends of a connection through the proxy.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: TcpStream,
    /// Stored with Release under no lock by who ends the link, loaded with Acquire by its pumps.
    ended: AtomicBool,
}

impl Link {
    fn ends(&self, direction: Direction) -> (&TcpStream, &TcpStream) {
        match direction {
            Direction::ToServer => (&self.client, &self.server),
            Direction::ToClient => (&self.server, &self.client),
        }
    }
}

/// A link as the proxy knows it: its pumps keep it alive.
#[derive(Debug)]
struct Carried {
    link: Weak<Link>,
    pumps: [JoinHandle<()>; 2],
}

/// The proxy. Dropping it cuts all its connections.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// A proxy on a free port of loopback, to a server at `target`, that lets everything pass.
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            switches: Mutex::new(Switches {
                target: target.to_owned(),
                faults: [Fault::None; 2],
                ended: false,
            }),
            turned: Condvar::new(),
            links: Mutex::new(Vec::new()),
        });
        let accepting = shared.clone();
        let acceptor = std::thread::spawn(move || accept(&listener, &accepting));
        FaultProxy { shared, address, acceptor: Some(acceptor) }
    }

    /// Where clients connect to.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What happens to the bytes of a direction from now on. A piece that a pump holds already passes as before.
    pub fn set(&self, direction: Direction, fault: Fault) {
        self.shared.switches().faults[direction as usize] = fault;
        self.shared.turned.notify_all();
    }

    /// The same for both directions.
    pub fn set_both(&self, fault: Fault) {
        self.shared.switches().faults = [fault; 2];
        self.shared.turned.notify_all();
    }

    /// Where new connections lead.
    pub fn lead_to(&self, target: &str) {
        target.clone_into(&mut self.shared.switches().target);
    }

    /// The connections that are carried now.
    pub fn connection_count(&self) -> usize {
        self.shared.links.lock().expect("no pump panics").iter().filter(|c| c.link.strong_count() > 0).count()
    }

    /// Ends all connections in order: both ends see that the other will send nothing more. Returns when it is done.
    pub fn close_all(&self) {
        self.end_all(false);
    }

    /// Ends all connections with a reset, at both ends. Returns when it is done.
    pub fn reset_all(&self) {
        self.end_all(true);
    }

    fn end_all(&self, with_reset: bool) {
        let links = std::mem::take(&mut *self.shared.links.lock().expect("no pump panics"));
        for Carried { link, pumps } in links {
            if let Some(link) = link.upgrade() {
                link.ended.store(true, Ordering::Release);
                for end in [&link.client, &link.server] {
                    if with_reset {
                        // Then the last close is a reset, and nothing before it may say that this is an orderly end.
                        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                        setsockopt(end, sockopt::Linger, &at_once).expect("a live socket");
                    }
                    // Wakes the pump that reads it. A peer that has gone has done so already.
                    let _ = end.shutdown(if with_reset { Shutdown::Read } else { Shutdown::Both });
                }
                // Between a pump's look at the flag and its wait lies this lock.
                drop(self.shared.switches());
                self.shared.turned.notify_all();
            }
            pumps.into_iter().for_each(|pump| pump.join().expect("no pump panics"));
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.switches().ended = true;
        // Wakes the acceptor, which looks.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor does not panic");
        }
        self.end_all(false);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        let target = match shared.switches() {
            switches if switches.ended => return,
            switches => switches.target.clone(),
        };
        // Without descriptors, or a target that listens, the client sees its connection closed.
        let Ok((client, _)) = accepted else { continue };
        let Ok(server) = TcpStream::connect(target) else { continue };
        for end in [&client, &server] {
            end.set_nodelay(true).expect("a live socket");
            end.set_write_timeout(Some(LOOK)).expect("a live socket");
        }
        // Held until the link is known: a pump must not pass anything on before it can be ended.
        let mut links = shared.links.lock().expect("no pump panics");
        let link = Arc::new(Link { client, server, ended: AtomicBool::new(false) });
        let pumps = [Direction::ToServer, Direction::ToClient].map(|direction| {
            let (shared, link) = (shared.clone(), link.clone());
            std::thread::spawn(move || pump(direction, &shared, &link))
        });
        links.retain(|carried| carried.link.strong_count() > 0);
        links.push(Carried { link: Arc::downgrade(&link), pumps });
    }
}

fn pump(direction: Direction, shared: &Shared, link: &Link) {
    let (mut from, to) = link.ends(direction);
    let mut piece = vec![0; PIECE];
    loop {
        let fault = shared.fault(direction, link);
        let room = if fault == Fault::OneByOne { 1 } else { PIECE };
        let read = match from.read(&mut piece[..room]) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        // It may have been turned while this pump waited.
        let fault = shared.fault(direction, link);
        if link.ended.load(Ordering::Acquire) {
            return;
        }
        match (read, fault) {
            // An end that nobody hears of, until the proxy ends.
            (0, Fault::Swallowed) => return stay(shared, link),
            (0, _) => {
                // The other end may have gone as well.
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            (_, Fault::Swallowed) => continue,
            (_, Fault::Delayed(pause)) => std::thread::sleep(pause),
            _ => {}
        }
        if !forward(to, &piece[..read], link) {
            // The sender learns it from the next thing that it does.
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// Keeps both ends open until the proxy ends them.
fn stay(shared: &Shared, link: &Link) {
    let mut switches = shared.switches();
    while !link.ended.load(Ordering::Acquire) {
        switches = shared.turned.wait(switches).expect("no pump panics");
    }
}

/// Writes all of it, unless the connection ends.
fn forward(mut to: &TcpStream, mut piece: &[u8], link: &Link) -> bool {
    while !piece.is_empty() {
        match to.write(piece) {
            Ok(written) => piece = &piece[written..],
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(_) => return false,
        }
        if link.ended.load(Ordering::Acquire) {
            return false;
        }
    }
    true
}
