//! A server under test: how it is started, when it is ready, what it uses, how it ends.
//!
//! Holds unsafe: a signal to a process that this one has started, and a question about the system.

#![allow(unsafe_code)]

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take until it listens, and until it has ended.
const READY_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// How a server is started.
pub(crate) struct Peer {
    pub(crate) name: String,
    /// Program and arguments, with `{port}` in them.
    command: String,
}

impl Peer {
    pub(crate) fn new((name, command): (String, String)) -> Self {
        Peer { name, command }
    }

    /// Starts it, on one core if one is given, and waits until it listens.
    pub(crate) fn start(&self, core: Option<usize>) -> Running {
        let address = free_address();
        let port = address.port().to_string();
        let mut words = self.command.split_whitespace().map(|word| word.replace("{port}", &port));
        let mut command = on_core(core, &words.next().expect("a command is needed"));
        command.args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.command));
        let mut running = Running { address, child };
        running.wait_until_ready(&self.name);
        running
    }
}

/// A program that may run on that core only, if one is given.
pub(crate) fn on_core(core: Option<usize>, program: &str) -> Command {
    let Some(core) = core else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}

/// A port that nobody listens at. Somebody could take it before the server does, which then fails to start.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("the address of a listener")
}

/// A server that listens; ends with this value.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Running {
    fn wait_until_ready(&mut self, name: &str) {
        let deadline = Instant::now() + READY_MAX;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().ok().flatten();
            assert!(ended.is_none(), "{name} has ended: {ended:?}");
            assert!(Instant::now() < deadline, "{name} does not listen at {}", self.address);
            thread::sleep(PAUSE);
        }
    }

    /// User and system time that it has used so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a living process");
        // The name of the program, in brackets, may hold anything. Times are fields 14 and 15 of proc_pid_stat(5).
        let behind_name = stat.rsplit(')').next().expect("a part at least");
        let fields = behind_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.map(|field| field.parse::<u64>().expect("a number of ticks")).sum();
        // SAFETY: a plain question.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_secs_f64(ticks as f64 / per_second as f64)
    }

    /// Bytes of memory that it has.
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("a living process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a size in KiB") * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: a plain system call. The child has not been waited for, so the number is still its own.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let deadline = Instant::now() + READY_MAX;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                eprintln!("a server at {} does not end by SIGTERM", self.address);
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(PAUSE);
        }
    }
}
