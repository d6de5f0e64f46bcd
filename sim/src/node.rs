//! A node of the cluster: a runtime, an address, a clock, and what can be done to it.
//!
//! What is done takes effect at the conductor's next turn: a task that runs goes on until its worker gives way.

use std::fmt;
use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bthread::{JoinHandle, Runtime};
use rpc::transport::{Connector, SocketOptions};

use crate::clock::{self, NodeClock};
use crate::network::SimListener;
use crate::trace;
use crate::world::World;

/// Nodes that a run can have, each restart counted as one more: every incarnation is a runtime, of which a process has 64,
/// and the world has one.
pub const NODES_MAX: usize = 63;

/// Stacks of a node, and with it bthreads that can wait there.
const STACKS_MAX: usize = 1 << 15;

/// A node; a cheap handle. Methods neither park nor block.
#[derive(Clone)]
pub struct Node {
    world: World,
    number: usize,
    name: Arc<str>,
    ip: Ipv4Addr,
}

/// What the world knows of a node.
pub(crate) struct NodeState {
    name: Arc<str>,
    ip: Ipv4Addr,
    /// The runtimes of its incarnations.
    runtimes: Vec<Runtime>,
    /// The present incarnation's.
    connector: Option<Arc<dyn Connector>>,
    pub(crate) is_up: bool,
    pub(crate) is_paused: bool,
    pub(crate) per_step: Duration,
    pub(crate) clock: NodeClock,
}

impl NodeState {
    pub(crate) fn new(name: &str, ip: Ipv4Addr) -> Self {
        NodeState {
            name: Arc::from(name),
            ip,
            runtimes: Vec::new(),
            connector: None,
            is_up: false,
            is_paused: false,
            per_step: Duration::ZERO,
            clock: NodeClock::new(),
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Which incarnation was started with the runtime that has this tag.
    pub(crate) fn incarnation_of(&self, tag: u32) -> Option<u32> {
        self.runtimes.iter().position(|runtime| runtime.tag() == tag).map(|number| number as u32)
    }

    pub(crate) fn incarnation(&self) -> u32 {
        (self.runtimes.len() as u32).saturating_sub(1)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.is_up && !self.is_paused
    }
}

impl Node {
    pub(crate) fn known(world: World, number: usize) -> Node {
        let (name, ip) = world.with_nodes(|nodes| (nodes[number].name.clone(), nodes[number].ip));
        Node { world, number, name, ip }
    }

    /// Brings a new node up.
    #[track_caller]
    pub(crate) fn start(world: World, number: usize) -> Node {
        let node = Node::known(world, number);
        node.boot();
        node.world.network().add_node(&node.name, node.ip);
        trace::line(&node.name, format_args!("starts as {}", node.ip));
        node
    }

    #[track_caller]
    fn boot(&self) {
        let options = Runtime::builder().workers(self.world.options().workers).stacks_max(STACKS_MAX);
        let runtime = match options.start() {
            Ok(runtime) => runtime,
            Err(error) => {
                panic!("node {} cannot start: {error} (nodes and restarts: {NODES_MAX} at most)", self.name)
            }
        };
        self.with(|state| {
            state.runtimes.push(runtime);
            state.is_up = true;
            state.is_paused = false;
        });
    }

    fn with<R>(&self, f: impl FnOnce(&mut NodeState) -> R) -> R {
        self.world.with_nodes(|nodes| f(&mut nodes[self.number]))
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// `ip:port`, as channels are told.
    pub fn address(&self, port: u16) -> String {
        format!("{}:{port}", self.ip)
    }

    /// Starts a bthread on this node. Should the node crash before it ends, nobody ever joins it: use
    /// [`JoinHandle::join_timeout`] where that can be.
    ///
    /// # Panics
    /// When the node is down, or bthreads have run out; see [`try_spawn`](Self::try_spawn).
    #[track_caller]
    pub fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match self.try_spawn(f) {
            Ok(handle) => handle,
            Err(error) => panic!("no bthread on {}: {error}", self.name),
        }
    }

    /// As [`spawn`](Self::spawn).
    ///
    /// # Errors
    /// `NetworkDown` when the node is down; those of [`bthread::Builder::spawn`].
    pub fn try_spawn<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let runtime = self.with(|state| state.runtimes.last().copied().filter(|_| state.is_up));
        let down = || io::Error::new(io::ErrorKind::NetworkDown, "the node is down");
        bthread::Builder::new().runtime(runtime.ok_or_else(down)?).spawn(f)
    }

    /// Listens at a port of this node, for [`ServerBuilder::start_on`](rpc::ServerBuilder::start_on); 0: one that is free.
    /// To be called, and the server started, on this node ([`spawn`](Self::spawn)): what comes in is handled by the workers
    /// of whoever starts the server.
    ///
    /// # Errors
    /// `InvalidInput` elsewhere than on this node; `AddrInUse`; `NetworkDown` when the node is down.
    pub fn listen(&self, port: u16) -> io::Result<SimListener> {
        self.listen_with(port, SocketOptions::default())
    }

    /// As [`listen`](Self::listen), with the options that accepted connections have.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn listen_with(&self, port: u16, options: SocketOptions) -> io::Result<SimListener> {
        if self.world.current_node().as_ref() != Some(self) {
            let message = format!("{} listens on itself only: use Node::spawn", self.name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.world.network().listen(self.ip, port, options)
    }

    /// What channels of this node connect with ([`ChannelBuilder::connector`](rpc::ChannelBuilder::connector)): the same one
    /// until the node crashes, so that they share connections. Resolves `ip:port`, and `name:port` of other nodes. For
    /// channels that are made and used on this node.
    pub fn connector(&self) -> Arc<dyn Connector> {
        let made = self.with(|state| state.connector.clone());
        made.unwrap_or_else(|| {
            let connector = self.world.network().connector(self.ip);
            self.with(|state| state.connector = Some(connector.clone()));
            connector
        })
    }

    /// Takes its power: its workers are never stepped again, nothing it would send leaves, and what it knew is lost. Peers
    /// learn of it by time, or by a reset once it is back. Nothing happens to one that is down.
    ///
    /// A bthread of the node that calls this goes on until it waits. What the dead workers hold stays held: a lock in a
    /// static that other nodes use too is lost to them.
    pub fn crash(&self) {
        let (was_up, _connector) =
            self.with(|state| (mem::replace(&mut state.is_up, false), state.connector.take()));
        if was_up {
            self.world.network().crash(self.ip);
            trace::line(&self.name, "crashes");
        }
    }

    /// Brings it back, crashing it first if it is up: a new incarnation, with a new runtime and nothing in it, at the same
    /// address. Its clock goes on, drift included, and it is as slow as it was.
    ///
    /// # Panics
    /// Beyond [`NODES_MAX`] nodes and restarts; when the system gives no memory.
    #[track_caller]
    pub fn restart(&self) {
        self.crash();
        self.boot();
        self.world.network().restart(self.ip);
        trace::line(&self.name, format_args!("restarts as incarnation {}", self.incarnation()));
    }

    /// Stops it as SIGSTOP does: its workers stand still, its clock goes on, the network buffers.
    pub fn pause(&self) {
        if !self.with(|state| mem::replace(&mut state.is_paused, true)) {
            trace::line(&self.name, "pauses");
        }
    }

    /// Lets it go on.
    pub fn resume(&self) {
        if self.with(|state| mem::replace(&mut state.is_paused, false)) {
            trace::line(&self.name, "resumes");
        }
    }

    /// Lets each step of its workers take so much virtual time, from the next one on; zero: as fast as it was. A worker
    /// makes about one step for each task that it runs.
    pub fn slow_down(&self, per_step: Duration) {
        self.with(|state| state.per_step = per_step);
        trace::line(&self.name, format_args!("takes {per_step:?} for each step"));
    }

    /// Lets its clock go too fast, or too slow, by so many parts in a million, from now on.
    ///
    /// # Panics
    /// Beyond [`DRIFT_MAX`](crate::DRIFT_MAX) either way.
    #[track_caller]
    pub fn set_drift(&self, parts_per_million: i32) {
        // Outside of the lock, which a panic's record takes.
        let is_bearable = (-clock::DRIFT_MAX..=clock::DRIFT_MAX).contains(&parts_per_million);
        assert!(is_bearable, "a drift beyond {} parts per million", clock::DRIFT_MAX);
        self.with(|state| state.clock.set_drift(clock::world_nanos(), parts_per_million));
        trace::line(&self.name, format_args!("has a clock that drifts by {parts_per_million} ppm"));
    }

    /// Sets its wall clock (`SystemTime`) so many milliseconds ahead, or with a negative number behind, of the others'.
    pub fn set_wall_clock_ahead(&self, milliseconds: i64) {
        self.with(|state| state.clock.wall_ahead = milliseconds.saturating_mul(1_000_000));
        trace::line(&self.name, format_args!("has a wall clock that is {milliseconds} ms ahead"));
    }

    /// How often it has been restarted.
    pub fn incarnation(&self) -> u32 {
        self.with(|state| state.incarnation())
    }

    /// Whether it is up, paused or not.
    pub fn is_up(&self) -> bool {
        self.with(|state| state.is_up)
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number // a process has one world
    }
}

impl Eq for Node {}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).field("ip", &self.ip).finish_non_exhaustive()
    }
}
