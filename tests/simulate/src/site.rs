//! A node with what runs on it, and a record of when it did not run as it should.
//!
//! Owns what belongs to one life of the node: its server and its channels. What belonged to a life that was cut off is
//! forgotten and never dropped: a power cut runs no destructor, and nobody there would answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bobbin::bthread::sync::CountdownEvent;
use bobbin::{Channel, RpcError, Server, ServerBuilder, bthread};
use sim::{Node, World};

use crate::way::Way;

/// Where all servers listen.
pub(crate) const PORT: u16 = 8000;

/// Without waiting: what is behind these locks takes a few instructions.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a node does in each of its lives.
type Role = Arc<dyn Fn(&Arc<Site>) + Send + Sync>;

/// What ails a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ailment {
    Crashed,
    Paused,
    Slow(Duration),
}

/// A time in which a node did not run as it should, of the world's.
struct Trouble {
    ailment: Ailment,
    begin: Duration,
    end: Option<Duration>,
}

#[derive(Default)]
struct Life {
    serving: Option<Arc<Serving>>,
    channels: HashMap<(String, Way), Channel>,
}

pub(crate) struct Site {
    pub(crate) node: Node,
    world: World,
    role: Mutex<Option<Role>>,
    life: Mutex<Life>,
    troubles: Mutex<Vec<Trouble>>,
    /// For names of the bthreads in the trace.
    has_crashed: AtomicBool,
}

impl Site {
    pub(crate) fn new(world: &World, name: &str) -> Arc<Self> {
        Arc::new(Site {
            node: world.node(name),
            world: world.clone(),
            role: Mutex::default(),
            life: Mutex::default(),
            troubles: Mutex::default(),
            has_crashed: AtomicBool::new(false),
        })
    }

    pub(crate) fn name(&self) -> &str {
        self.node.name()
    }

    pub(crate) fn address(&self) -> String {
        self.node.address(PORT)
    }

    /// Runs `role` now, and at the beginning of each life.
    pub(crate) fn play(self: &Arc<Self>, role: impl Fn(&Arc<Site>) + Send + Sync + 'static) {
        let role: Role = Arc::new(role);
        *lock(&self.role) = Some(role.clone());
        role(self);
    }

    /// Begins to serve, on this node, what `build` makes; returns when it listens.
    pub(crate) fn serve(
        self: &Arc<Self>,
        build: impl FnOnce(ServerBuilder) -> ServerBuilder + Send + 'static,
    ) {
        let serving = Arc::new(Serving::new());
        lock(&self.life).serving = Some(serving.clone());
        let site = self.clone();
        let started = Arc::new(CountdownEvent::new(1));
        let told = started.clone();
        let _serves = self.node.spawn(move || {
            let listener = site.node.listen(PORT).expect("nobody else listens on this node");
            let server = build(Server::builder()).start_on(listener).expect("a server that starts");
            told.signal(1);
            serving.run(server, &site.world);
        });
        started.wait();
    }

    /// The channel of this life to `address`. To be called on this node.
    pub(crate) fn channel(&self, address: &str, way: Way) -> Result<Channel, RpcError> {
        let key = (address.to_owned(), way);
        if let Some(channel) = lock(&self.life).channels.get(&key) {
            return Ok(channel.clone());
        }
        let channel = way.channel(&self.node).connect(address)?;
        lock(&self.life).channels.insert(key, channel.clone());
        Ok(channel)
    }

    fn ailment(&self) -> Option<Ailment> {
        lock(&self.troubles).last().filter(|trouble| trouble.end.is_none()).map(|trouble| trouble.ailment)
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.has_crashed.load(Ordering::Relaxed) // one thread alone
    }

    /// Something begins to ail it. It must be well.
    pub(crate) fn fall_ill(&self, ailment: Ailment) {
        self.world.note(format_args!("{} is ill: {ailment:?}", self.name()));
        let begin = self.world.now();
        lock(&self.troubles).push(Trouble { ailment, begin, end: None });
        match ailment {
            Ailment::Crashed => {
                self.has_crashed.store(true, Ordering::Relaxed);
                self.node.crash();
                std::mem::forget(std::mem::take(&mut *lock(&self.life)));
            }
            Ailment::Paused => self.node.pause(),
            Ailment::Slow(per_step) => self.node.slow_down(per_step),
        }
    }

    /// It is well again; in a new life, if it has crashed.
    pub(crate) fn recover(self: &Arc<Self>) {
        let Some(ailment) = self.ailment() else { return };
        self.world.note(format_args!("{} is well again", self.name()));
        match ailment {
            Ailment::Crashed => self.node.restart(),
            Ailment::Paused => self.node.resume(),
            Ailment::Slow(_) => self.node.slow_down(Duration::ZERO),
        }
        let now = self.world.now();
        if let Some(trouble) = lock(&self.troubles).last_mut() {
            trouble.end = Some(now);
        }
        if ailment == Ailment::Crashed {
            let role = lock(&self.role).clone();
            if let Some(role) = role {
                role(self);
            }
        }
    }

    /// How much of this time of the world's it did not run as it should.
    pub(crate) fn ill_for(&self, from: Duration, to: Duration) -> Duration {
        let troubles = lock(&self.troubles);
        let overlap = |trouble: &Trouble| {
            let end = trouble.end.unwrap_or(to).min(to);
            end.saturating_sub(trouble.begin.max(from))
        };
        troubles.iter().map(overlap).sum()
    }

    /// Ends the server of this life gracefully. It must be well until then.
    pub(crate) fn stop_serving(&self) {
        let serving = lock(&self.life).serving.take();
        if let Some(serving) = serving {
            serving.stop();
            serving.wait_stopped();
        }
    }

    /// Drops the channels and ends the server of this life, on this node. It must be well.
    pub(crate) fn retire(self: &Arc<Self>) {
        *lock(&self.role) = None;
        let channels = std::mem::take(&mut lock(&self.life).channels);
        let ended = self.node.spawn(move || drop(channels));
        let _ = ended.join();
        self.stop_serving();
    }
}

/// The life of one server, held by a bthread of its node.
struct Serving {
    stop: CountdownEvent,
    stopped: CountdownEvent,
    is_stopping: AtomicBool,
}

impl Serving {
    fn new() -> Self {
        Serving {
            stop: CountdownEvent::new(1),
            stopped: CountdownEvent::new(1),
            is_stopping: AtomicBool::new(false),
        }
    }

    fn run(&self, server: Server, world: &World) {
        self.stop.wait();
        world.note("the server stops");
        server.join();
        for report in server.method_reports() {
            if report.concurrency != 0 {
                let text = format!("{} runs of {}", report.concurrency, report.full_name);
                world.violation(format_args!("a server has stopped, but counts {text}, expected none"));
            }
        }
        drop(server);
        world.note("the server has stopped");
        self.stopped.signal(1);
    }

    /// Begins the graceful stop. Never blocks.
    fn stop(&self) {
        // One thread alone looks.
        if !self.is_stopping.swap(true, Ordering::Relaxed) {
            self.stop.signal(1);
        }
    }

    /// Waits until it has stopped. *Blocking*: parks the bthread.
    fn wait_stopped(&self) {
        self.stopped.wait();
    }
}

/// Sleeps until the world's clock says so. For bthreads of the world.
pub(crate) fn sleep_until(world: &World, time: Duration) {
    let left = time.saturating_sub(world.now());
    if !left.is_zero() {
        bthread::sleep(left);
    }
}
