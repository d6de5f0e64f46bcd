//! Servers and channels where all workers are coroutines of one thread: no other thread starts, time stands still unless
//! nothing can run, and another process repeats the run: each has hashes and addresses of its own. This program runs itself
//! for that, as a process is a simulation for good.

#[path = "support/memory.rs"]
mod memory;
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bthread::clock::{self, Clock};
use bthread::simulation::{self, Pace, Simulation, State};
use bthread::{Runtime, random};
use memory::Memory;
use rpc::live;
use support::{AsyncEcho, Channel, Echo, EchoRequest, EchoResponse, Server, call};

/// Goes forward when it is told.
struct Virtual {
    begin: Instant,
    nanos: Arc<AtomicU64>,
}

impl Clock for Virtual {
    fn now(&self) -> Instant {
        self.begin + Duration::from_nanos(self.nanos.load(Ordering::SeqCst))
    }

    fn patience(&self, until: Instant) -> Duration {
        until.saturating_duration_since(self.now())
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Makes steps until `is_over`, in an order that the random numbers choose. Returns a number that tells runs apart.
fn run(simulation: &Simulation, nanos: &AtomicU64, is_over: impl Fn() -> bool) -> u64 {
    let now = || nanos.load(Ordering::SeqCst);
    let mut steps = 0;
    // When the workers that sleep have timers, in nanoseconds.
    let mut dues: Vec<Option<u64>> = vec![None; simulation.workers()];
    while !is_over() {
        let is_ready = |worker: &usize| {
            simulation.state(*worker) == State::Ready || dues[*worker].is_some_and(|due| due <= now())
        };
        let ready: Vec<_> = (0..dues.len()).filter(is_ready).collect();
        for number in ready.iter().map(|&worker| worker as u64).chain([now()]) {
            steps = (steps ^ number).wrapping_mul(0x100_0000_01b3).rotate_left(23); // as in FNV
        }
        if ready.is_empty() {
            let first = dues.iter().flatten().min().expect("somebody has a timer, or it is over");
            nanos.store(*first, Ordering::SeqCst);
            continue;
        }
        let worker = ready[random::random() as usize % ready.len()];
        dues[worker] = match simulation.step(worker, Pace::OneTask) {
            State::Ready => None,
            State::Asleep { timeout } => timeout.map(|timeout| now() + timeout.as_nanos() as u64),
        };
    }
    steps
}

/// The seed of the process's run; without one it starts those that have it.
const SEED: &str = "BOBBIN_SIMULATED_SEED";
/// In front of what a run says of itself.
const MARK: &str = "run: ";
const TEST: &str = "a_cluster_runs_in_one_thread_and_is_repeated";

/// What a process of its own says of the run with this seed.
fn run_of(seed: u64) -> String {
    let program = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new(program);
    let output = command.args([TEST, "--exact", "--nocapture"]).env(SEED, seed.to_string()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().find_map(|line| line.split_once(MARK)).expect(&text).1.to_owned()
}

#[test]
fn a_cluster_runs_in_one_thread_and_is_repeated() {
    if let Some(seed) = std::env::var_os(SEED) {
        return run_cluster(seed.to_str().unwrap().parse().unwrap());
    }
    let first = run_of(1);
    assert_eq!(first, run_of(1));
    assert_ne!(first, run_of(2));
}

fn run_cluster(seed: u64) {
    let before = threads();
    bvar::background::by_hand().unwrap();
    random::replace(seed).unwrap();
    let nanos = Arc::new(AtomicU64::new(0));
    clock::replace(Virtual { begin: Instant::now(), nanos: nanos.clone() }).unwrap();
    let simulation = simulation::begin().unwrap();
    Runtime::builder().workers(1).install().unwrap();
    let nodes: Vec<_> = (0..3).map(|_| Runtime::builder().workers(2).start().unwrap()).collect();
    let date = clock::wall();

    // Two servers of which one asks the other, and one that calls.
    let (front, back) = (Memory::default(), Memory::default());
    let ended = Arc::new(Mutex::new(Vec::new()));
    let over = Arc::new(AtomicU64::new(0));
    let network = back.clone();
    nodes[1].spawn(move || {
        let server = Server::builder().add(Echo).start_on(network).unwrap();
        server.run_until_asked_to_quit();
    });
    let (network, behind) = (front.clone(), back.clone());
    nodes[2].spawn(move || {
        let channel = Channel::builder().connector(Arc::new(behind)).connect("back").unwrap();
        let service = AsyncEcho(move |request: EchoRequest, responder: rpc::Responder<EchoResponse>| {
            bthread::sleep(Duration::from_millis(30));
            responder.send(call(&channel, &request.message).map(|message| EchoResponse { message }));
        });
        let server = Server::builder().add(service).start_on(network).unwrap();
        server.run_until_asked_to_quit();
    });
    let (network, results, done) = (front.clone(), ended.clone(), over.clone());
    nodes[0].spawn(move || {
        let channel = Channel::builder()
            .connector(Arc::new(network))
            .timeout(Duration::from_secs(1))
            .connect("front")
            .unwrap();
        let calls: Vec<_> = (0..20)
            .map(|n| {
                let (channel, results) = (channel.clone(), results.clone());
                bthread::spawn(move || {
                    let answer = call(&channel, &n.to_string()).unwrap();
                    results.lock().unwrap().push(answer);
                })
            })
            .collect();
        calls.into_iter().for_each(|call| call.join().unwrap());
        bthread::sleep(Duration::from_secs(3600));
        drop(channel);
        rpc::ask_to_quit();
        done.store(1, Ordering::SeqCst);
    });
    let steps = run(&simulation, &nanos, || {
        over.load(Ordering::SeqCst) == 1 && live::counts() == live::Counts::default()
    });

    let mut answers = std::mem::take(&mut *ended.lock().unwrap());
    let order = answers.join(" ");
    answers.sort_by_key(|answer| answer.parse::<u32>().unwrap());
    assert!(answers.iter().enumerate().all(|(n, answer)| *answer == n.to_string()) && answers.len() == 20);
    let passed = Duration::from_nanos(nanos.load(Ordering::SeqCst));
    assert!(passed >= Duration::from_secs(3600) && passed < Duration::from_secs(3700), "{passed:?}");
    assert_eq!(clock::wall(), date + passed);
    assert_eq!((front.connects(), back.connects()), (1, 1));
    assert_eq!(threads(), before);
    println!("{MARK}{steps:016x} {order} {passed:?}");
}
