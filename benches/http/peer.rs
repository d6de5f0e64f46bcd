//! A server under test: how it is started, when it is ready, how it ends.
//!
//! Holds unsafe: a signal to a process that this one has started.

#![allow(unsafe_code)]

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::exchange::Kind;
use crate::nginx::Nginx;

/// How long a server may take until it listens, and until it has ended.
const READY_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// How a server is started.
pub(crate) struct Peer {
    pub(crate) name: String,
    start: Start,
    only: Option<Kind>,
}

enum Start {
    /// Program and arguments, with `{port}` in them.
    Command(String),
    Nginx,
    /// Runs already.
    At(SocketAddr),
}

impl Peer {
    pub(crate) fn command(name: &str, command: String) -> Self {
        Peer { name: name.to_owned(), start: Start::Command(command), only: None }
    }

    pub(crate) fn nginx() -> Self {
        Peer { name: "nginx".to_owned(), start: Start::Nginx, only: Some(Kind::Get) }
    }

    /// One of the command line: `NAME=[get:|echo:]COMMAND` or `NAME=[get:|echo:]HOST:PORT`.
    pub(crate) fn described(text: &str) -> Self {
        let (name, rest) = text.split_once('=').expect("NAME=COMMAND or NAME=HOST:PORT");
        let mut only = None;
        let mut rest = rest;
        for kind in [Kind::Echo, Kind::Get] {
            if let Some(behind) = rest.strip_prefix(kind.key()).and_then(|rest| rest.strip_prefix(':')) {
                (only, rest) = (Some(kind), behind);
            }
        }
        let address = if rest.contains(['/', ' ']) { None } else { rest.to_socket_addrs().ok() };
        let start = match address.and_then(|mut all| all.next()) {
            Some(address) => Start::At(address),
            None => Start::Command(rest.to_owned()),
        };
        Peer { name: name.to_owned(), start, only }
    }

    pub(crate) fn can(&self, kind: Kind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    /// Starts it on a core and waits until it listens.
    pub(crate) fn start(&self, core: usize) -> Running {
        if let Start::At(address) = self.start {
            return Running { address, child: None, _nginx: None };
        }
        let address = free_address();
        let port = address.port().to_string();
        let (mut command, nginx) = match &self.start {
            Start::Command(line) => {
                let mut words = line.split_whitespace().map(|word| word.replace("{port}", &port));
                let mut command = pinned(core, &words.next().expect("a command is needed"));
                command.args(words);
                (command, None)
            }
            _ => {
                let nginx = Nginx::prepare(address);
                let mut command = pinned(core, "nginx");
                command.args(nginx.args());
                (command, Some(nginx))
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("taskset: {error}"));
        let mut running = Running { address, child: Some(child), _nginx: nginx };
        running.wait_until_ready(&self.name);
        running
    }
}

/// A program that may run on that core only.
pub(crate) fn pinned(core: usize, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}

/// A port that nobody listens at. Somebody could take it before the server does, which then fails to start.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("the address of a listener")
}

/// A server that listens; ends with this value, unless it was not started here.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    child: Option<Child>,
    _nginx: Option<Nginx>,
}

impl Running {
    fn wait_until_ready(&mut self, name: &str) {
        let deadline = Instant::now() + READY_MAX;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "{name} has ended: {ended:?}");
            assert!(Instant::now() < deadline, "{name} does not listen at {}", self.address);
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // SAFETY: a plain system call. The child has not been waited for, so the number is still its own.
        unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
        let deadline = Instant::now() + READY_MAX;
        while let Ok(None) = child.try_wait() {
            if Instant::now() > deadline {
                eprintln!("a server at {} does not end by SIGTERM", self.address);
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
            thread::sleep(PAUSE);
        }
    }
}
