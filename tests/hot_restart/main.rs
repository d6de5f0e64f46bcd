//! A server is replaced by one process after the other under load, and no call fails: the port is handed over, and
//! callers with connections to the process that ends are sent to the next one. The test runs itself again as those
//! processes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bobbin::rpc::client::RetryPolicy;
use bobbin::rpc::server::handover;
use bobbin::{Channel, RpcError, Server, ServerCall, ask_to_quit, watch_quit_signals};
use bobbin_examples::example::{EchoRequest, EchoResponse, EchoServer, EchoService, EchoStub};

/// Where the child is to offer its port, or take it from.
const HANDOVER: &str = "HANDOVER";
/// What the child is to do: [`FIRST`], [`NEXT`] or [`DYING`].
const PART: &str = "PART";
/// It listens.
const FIRST: &str = "first";
/// It takes over.
const NEXT: &str = "next";
/// It begins to take over, and ends.
const DYING: &str = "dying";

/// Its sockets are there when it starts.
const INHERITING: &str = "inheriting";

/// Calls that each client makes of each process at least.
const CALLS: u64 = 50;

struct Echo;

impl EchoService for Echo {
    fn echo(&self, _: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
        if let Some(us @ 1..) = request.sleep_us {
            bobbin::bthread::sleep(Duration::from_micros(us.unsigned_abs().into()));
        }
        Ok(EchoResponse { message: std::process::id().to_string() })
    }
}

/// What a child does.
fn serve(part: &str, path: &Path) -> ! {
    watch_quit_signals().unwrap();
    let builder = Server::builder().add(EchoServer::new(Echo));
    let server = if part == INHERITING {
        let listeners = handover::inherited().unwrap();
        assert_eq!((listeners.len(), handover::inherited().unwrap().len()), (1, 0));
        builder.start_with(listeners).unwrap()
    } else if part == FIRST {
        let unix = path.with_extension("unix");
        builder.also_listen(format!("unix:{}", unix.display())).start("127.0.0.1:0").unwrap()
    } else {
        let mut takeover = handover::take_over(path).unwrap();
        if part == DYING {
            std::process::exit(3);
        }
        let server = builder.start_with(takeover.take_listeners()).unwrap();
        takeover.complete().unwrap();
        server
    };
    let offer = server.offer_listeners(path, ask_to_quit).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nlistening on {}", server.local_addr()).unwrap();
    out.flush().unwrap();
    drop(out);
    server.run_until_asked_to_quit();
    drop(offer);
    drop(server);
    std::process::exit(0);
}

fn start_child(part: &str, path: &Path) -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    start(command.args(["--exact", TEST, "--nocapture"]), part, path)
}

/// Starts a child, and returns when it says where it listens, or ends.
fn start(command: &mut Command, part: &str, path: &Path) -> (Child, String) {
    let mut child = command.env(PART, part).env(HANDOVER, path).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned));
    // The pipe stays open: the child must not die of writing to it.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address.unwrap_or_default())
}

/// Tries again what is tried again without a policy too. Over HTTP it takes one for answers to be looked at.
struct Usual;

impl RetryPolicy for Usual {}

/// A client that calls until it is told to stop.
struct Client {
    calls: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Client {
    fn start(channel: Channel, name: String, load: &Arc<Load>) -> Self {
        let calls = Arc::new(AtomicU64::new(0));
        let (made, load) = (calls.clone(), load.clone());
        let thread = std::thread::spawn(move || {
            let echo = EchoStub::new(&channel);
            while !load.stops.load(Ordering::Relaxed) {
                let number = made.load(Ordering::Relaxed);
                // Some calls run while their server is replaced.
                let sleep_us = number.is_multiple_of(10).then_some(5000);
                match echo.echo(&EchoRequest { message: "hello".into(), sleep_us }) {
                    Ok(reply) => drop(load.processes.lock().unwrap().insert(reply.message)),
                    Err(error) => load.failed.lock().unwrap().push(format!("{name}: {error}")),
                }
                made.store(number + 1, Ordering::Relaxed);
            }
        });
        Client { calls, thread }
    }
}

#[derive(Default)]
struct Load {
    stops: AtomicBool,
    failed: Mutex<Vec<String>>,
    /// Those that have answered.
    processes: Mutex<BTreeSet<String>>,
}

/// Returns when each client has made so many calls more.
fn let_them_call(clients: &[Client]) {
    let goals: Vec<_> = clients.iter().map(|client| client.calls.load(Ordering::Relaxed) + CALLS).collect();
    for (client, goal) in clients.iter().zip(goals) {
        while client.calls.load(Ordering::Relaxed) < goal {
            std::thread::yield_now();
        }
    }
}

const TEST: &str = "processes_follow_each_other_and_no_call_fails";

#[test]
fn processes_follow_each_other_and_no_call_fails() {
    if let Some(part) = std::env::var_os(PART) {
        serve(part.to_str().unwrap(), Path::new(&std::env::var_os(HANDOVER).unwrap()));
    }
    let path = std::env::temp_dir().join(format!("bobbin-handover-{}", std::process::id()));
    let unix: PathBuf = path.with_extension("unix");
    let (mut child, address) = start_child(FIRST, &path);
    let load = Arc::new(Load::default());
    let mut clients = Vec::new();
    for (protocol, kinds) in
        [("baidu_std", &["single", "pooled", "short"][..]), ("http", &["pooled", "short"])]
    {
        for kind in kinds {
            for to in [&address, &format!("unix:{}", unix.display())] {
                let channel = Channel::builder().protocol(protocol).connection_type(*kind);
                let channel =
                    channel.timeout(Duration::from_secs(60)).retry_policy(Usual).connect(to).unwrap();
                // Over HTTP a channel knows only so that the server has left, rather than failed.
                bobbin::bvar::flag::set("use_http_error_code", "true").unwrap(); // known with the first channel
                clients.push(Client::start(channel, format!("{protocol} {kind} {to}"), &load));
            }
        }
    }
    let_them_call(&clients);
    for _ in 0..3 {
        // One that dies on the way leaves the process that serves as it was.
        let (mut dead, _) = start_child(DYING, &path);
        assert_eq!(dead.wait().unwrap().code(), Some(3));
        let_them_call(&clients);
        let (next, same) = start_child(NEXT, &path);
        assert_eq!(same, address);
        assert_eq!(child.wait().unwrap().code(), Some(0), "it ends by itself");
        child = next;
        let_them_call(&clients);
    }
    load.stops.store(true, Ordering::Relaxed);
    let calls: u64 = clients.iter().map(|client| client.calls.load(Ordering::Relaxed)).sum();
    clients.into_iter().for_each(|client| client.thread.join().unwrap());
    let failed = load.failed.lock().unwrap();
    assert!(failed.is_empty(), "{} of {calls}: {:?}", failed.len(), failed.first());
    assert_eq!(load.processes.lock().unwrap().len(), 4, "each of the processes has answered");
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!path.exists() && !unix.exists(), "nothing is left in the file system");
}

const INHERITING_TEST: &str = "sockets_that_were_opened_for_the_process_are_taken";

#[test]
fn sockets_that_were_opened_for_the_process_are_taken() {
    if let Some(part) = std::env::var_os(PART) {
        serve(part.to_str().unwrap(), Path::new(&std::env::var_os(HANDOVER).unwrap()));
    }
    let path = std::env::temp_dir().join(format!("bobbin-inherited-{}", std::process::id()));
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    // As systemd passes it: descriptor 3, and variables that name the process which is meant.
    let mut command = Command::new("sh");
    command.args(["-c", r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&0"#]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", INHERITING_TEST, "--nocapture"]);
    let (mut child, listening) = start(command.stdin(std::os::fd::OwnedFd::from(socket)), INHERITING, &path);
    assert_eq!(listening, address);
    let channel = Channel::builder().timeout(Duration::from_secs(60)).connect(&address).unwrap();
    let reply = EchoStub::new(&channel).echo(&EchoRequest { message: "hello".into(), sleep_us: None });
    assert_eq!(reply.unwrap().message, child.id().to_string());
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
