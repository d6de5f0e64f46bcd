//! What a scenario sees of its run.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use crate::clock;
use crate::network::{Ground, Network};
use crate::node::{NODES_MAX, Node, NodeState};
use crate::random::Random;
use crate::run::Options;
use crate::trace;

/// Violations that are kept; the first is what counts.
pub const VIOLATIONS_MAX: usize = 100;

/// What the trace calls the scenario and whatever belongs to no node.
pub(crate) const WORLD_NAME: &str = "world";
/// In the place of a node's number.
pub(crate) const NO_NODE: usize = usize::MAX;

static WORLD: OnceLock<World> = OnceLock::new();

/// A run's world; a cheap handle. All its methods neither park nor block.
#[derive(Clone)]
pub struct World(Arc<Shared>);

struct Shared {
    seed: u64,
    options: Options,
    network: Network,
    nodes: Mutex<Vec<NodeState>>,
    /// The node whose worker runs.
    running: AtomicUsize,
    violations: Mutex<Vec<String>>,
    failed: AtomicBool,
    panics_expected: AtomicBool,
    streams: AtomicU64,
    plans: Mutex<BTreeMap<String, usize>>,
}

/// All of this crate's locks are held for a few instructions by one thread; a panic under one leaves nothing half done, but
/// under that of the nodes, which its record takes, none may happen.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Makes the process's one.
    pub(crate) fn begin(seed: u64, options: Options) -> World {
        let world = World(Arc::new(Shared {
            seed,
            network: Network::new(seed, Box::new(TheGround)),
            nodes: Mutex::default(),
            running: AtomicUsize::new(NO_NODE),
            violations: Mutex::default(),
            failed: AtomicBool::new(false),
            panics_expected: AtomicBool::new(false),
            streams: AtomicU64::new(0),
            plans: Mutex::default(),
            options,
        }));
        assert!(WORLD.set(world.clone()).is_ok(), "a process has one world");
        world
    }

    /// The world of this process, if it has one by now.
    pub(crate) fn find() -> Option<World> {
        WORLD.get().cloned()
    }

    /// The seed that all follows from.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The virtual time since the run began.
    pub fn now(&self) -> Duration {
        clock::world()
    }

    /// The network between the nodes.
    pub fn network(&self) -> &Network {
        &self.0.network
    }

    /// A new node, which is up: a runtime of its own, at the address 10.0.0.N, N from 1 in the order of making.
    ///
    /// # Panics
    /// Beyond [`NODES_MAX`] nodes and restarts; when two nodes would have one name, or one is called `world`, as the trace
    /// calls the scenario; when the system gives no memory.
    #[track_caller]
    pub fn node(&self, name: &str) -> Node {
        // Outside of the lock, which a panic's record takes.
        let (count, is_new) =
            self.with_nodes(|nodes| (nodes.len(), nodes.iter().all(|node| **node.name() != *name)));
        assert!(count < NODES_MAX, "more than {NODES_MAX} nodes");
        assert!(name != WORLD_NAME, "{name} is what the trace calls the scenario, not a node");
        assert!(is_new, "there is a node called {name} already");
        let ip = Ipv4Addr::new(10, 0, 0, count as u8 + 1);
        self.with_nodes(|nodes| nodes.push(NodeState::new(name, ip)));
        Node::start(self.clone(), count)
    }

    /// All nodes, in the order of their making.
    pub fn nodes(&self) -> Vec<Node> {
        let count = lock(&self.0.nodes).len();
        (0..count).map(|number| Node::known(self.clone(), number)).collect()
    }

    /// The node that the caller runs on; none for the scenario itself.
    pub fn current_node(&self) -> Option<Node> {
        let running = self.running();
        (clock::is_virtual() && running != NO_NODE).then(|| Node::known(self.clone(), running))
    }

    /// Random numbers for the scenario: another stream with each call, so that what one part draws shifts no other.
    pub fn random(&self) -> Random {
        let number = self.0.streams.fetch_add(1, Ordering::Relaxed); // one thread
        Random::stream(self.0.seed, "scenario", number)
    }

    /// A list of things to do or to happen, for the explorer to shorten: element i is drawn from the seed, the plan's
    /// name and i alone, and those that [`Options::omit`] names are not in the result. Each plan needs a name of its own: two
    /// of one name have the same elements, and the same are left out.
    pub fn plan<T>(&self, name: &str, count: usize, mut make: impl FnMut(&mut Random) -> T) -> Vec<T> {
        let mut plans = lock(&self.0.plans);
        let known = plans.entry(name.to_owned()).or_default();
        *known = count.max(*known);
        drop(plans);
        let omit = &self.0.options.omit;
        let stream = format!("plan {name}");
        (0..count)
            .filter(|number| !omit.contains(name, *number))
            .map(|number| make(&mut Random::stream(self.0.seed, &stream, number as u64)))
            .collect()
    }

    /// Adds a line to the trace, with the time and the caller's node. It must be the same in every run of the seed: no
    /// addresses, no real time, no ids of the process.
    pub fn note(&self, what: impl fmt::Display) {
        trace::line(&self.caller(), what);
    }

    /// The run has failed: what must not be is. The trace has it too, and the run ends soon.
    pub fn violation(&self, what: impl fmt::Display) {
        let what = what.to_string();
        trace::line(&self.caller(), format_args!("violation: {what}"));
        let mut violations = lock(&self.0.violations);
        if violations.len() < VIOLATIONS_MAX {
            violations.push(what);
        }
        self.0.failed.store(true, Ordering::Relaxed); // one thread
    }

    /// Says whether panics on nodes are no violations from here on, as where handlers panic on purpose. They are in the
    /// trace all the same. At first they are violations.
    pub fn expect_panics(&self, expected: bool) {
        self.0.panics_expected.store(expected, Ordering::Relaxed); // one thread
    }

    /// Those of the scenario itself never are.
    pub(crate) fn expects_panics(&self) -> bool {
        self.0.panics_expected.load(Ordering::Relaxed) && self.running() != NO_NODE
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn with_nodes<R>(&self, f: impl FnOnce(&mut Vec<NodeState>) -> R) -> R {
        f(&mut lock(&self.0.nodes))
    }

    /// The number of the node whose worker runs.
    pub(crate) fn running(&self) -> usize {
        self.0.running.load(Ordering::Relaxed) // one thread
    }

    pub(crate) fn set_running(&self, node: usize) {
        self.0.running.store(node, Ordering::Relaxed); // one thread
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Relaxed) // one thread
    }

    pub(crate) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0.violations))
    }

    pub(crate) fn take_plans(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut lock(&self.0.plans))
    }

    /// What the trace calls the caller.
    pub(crate) fn caller(&self) -> Arc<str> {
        let number = if clock::is_virtual() { self.running() } else { NO_NODE };
        // One thread takes that lock: it is held here only if what panics has it, which must be reported all the same.
        let nodes = match self.0.nodes.try_lock() {
            Ok(nodes) => Some(nodes),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        match nodes.as_ref().and_then(|nodes| nodes.get(number)) {
            Some(node) => node.name().clone(),
            None => Arc::from(WORLD_NAME),
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.0.seed).finish_non_exhaustive()
    }
}

/// What the network stands on.
struct TheGround;

impl Ground for TheGround {
    fn now(&self) -> Duration {
        clock::world()
    }

    fn trace(&self, line: fmt::Arguments<'_>) {
        trace::line("network", line);
    }
}
