//! Says who runs: the loop that every step of every worker is made from.
//!
//! Each turn it takes the workers that could go on (awake, or due to wake, on nodes that run) and lets the seed choose
//! one. If there is none, time moves on to what comes first: a timer, the end of a delay, something in the network. If
//! there is nothing of the kind either, the run is over, or stuck.

mod choice;
mod stuck;

use std::collections::BTreeMap;

use bthread::simulation::{self, Simulation, State};
use bthread::{JoinHandle, Runtime};

use crate::clock::{self, VirtualClock};
use crate::node::NodeState;
use crate::random::Random;
use crate::run::{Options, Outcome};
use crate::world::{NO_NODE, WORLD_NAME, World};
use crate::{panics, system, trace};
use choice::Chooser;

pub use choice::HOLD_MAX;

/// The tag of the runtime that the scenario runs on.
const WORLD_TAG: u32 = 0;
/// Steps at one moment after which each moves time on by [`CROWD_COSTS`], so that who looks again and again until it is
/// late gets there.
const CROWD: u32 = 1_000;
const CROWD_COSTS: u64 = 1_000;
/// Turns without a step, at one moment: the network says each time that something happens now.
const IDLE_TURNS_MAX: u32 = 100_000;
/// Nanoseconds from one sampling of variables to the next.
const SAMPLE_EVERY: u64 = 1_000_000_000;

/// One run, on the thread that was made for it.
pub(crate) fn conduct(
    seed: u64,
    options: Options,
    scenario: impl FnOnce(&World) + Send + 'static,
) -> Outcome {
    system::take_over(seed);
    if options.trace {
        trace::keep();
    }
    bthread::clock::replace(VirtualClock::new()).expect("nobody else replaces the clock");
    bthread::random::replace(Random::stream(seed, "bthread", 0).u64()).expect("nobody else replaces chance");
    bvar::background::by_hand()
        .expect("nothing in the process has used bthreads or variables before the run");
    let simulation =
        simulation::begin().expect("nothing in the process has used bthreads or variables before the run");
    let world = World::begin(seed, options);
    panics::watch();
    trace::line(WORLD_NAME, format_args!("begins with seed {seed}"));
    let runtime = Runtime::builder().workers(1).install().expect("memory for the world's runtime");
    let script = runtime.spawn({
        let world = world.clone();
        move || scenario(&world)
    });
    let mut conductor = Conductor::new(seed, simulation, world.clone(), runtime);
    let ended = conductor.run(&script);
    trace::line(WORLD_NAME, format_args!("ends after {} steps: {ended}", conductor.steps));
    let panicked = script.is_finished() && script.join().is_err();
    let mut violations = world.take_violations();
    if panicked && violations.is_empty() {
        violations.push("the scenario panicked".to_owned());
    }
    let (trace_hash, trace) = trace::take();
    Outcome {
        seed,
        violations,
        trace_hash,
        trace,
        steps: conductor.steps,
        virtual_time: clock::world(),
        plans: world.take_plans(),
    }
}

struct Conductor {
    simulation: Simulation,
    world: World,
    /// The scenario's.
    runtime: Runtime,
    chooser: Chooser,
    workers: Vec<Worker>,
    /// Whose runtimes those are that no node was started with.
    adopted: BTreeMap<u32, Owner>,
    /// Who made the last step.
    last: Owner,
    steps: u64,
    steps_here: u32,
    idle_turns: u32,
    candidates: Vec<usize>,
    /// When variables are sampled next.
    next_sample: u64,
    traces_steps: bool,
}

/// Who a worker works for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    World,
    Node { number: usize, incarnation: u32 },
}

struct Worker {
    owner: Owner,
    /// What its node's clock showed when its last step ended: its timeout counts from there.
    stepped_at: u64,
    /// It does nothing before this moment of the world.
    held_until: u64,
    /// It has been delayed since its last step.
    was_delayed: bool,
}

impl Conductor {
    fn new(seed: u64, simulation: Simulation, world: World, runtime: Runtime) -> Self {
        Conductor {
            next_sample: if world.options().sample_variables { SAMPLE_EVERY } else { u64::MAX },
            traces_steps: world.options().trace && world.options().trace_steps,
            simulation,
            runtime,
            world,
            chooser: Chooser::new(seed),
            workers: Vec::new(),
            adopted: BTreeMap::from([(WORLD_TAG, Owner::World)]),
            last: Owner::World,
            steps: 0,
            steps_here: 0,
            idle_turns: 0,
            candidates: Vec::new(),
        }
    }

    /// Turns until the run has ended; says why it has.
    fn run(&mut self, script: &JoinHandle<()>) -> &'static str {
        let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let Options { time_limit, settle, steps_max, .. } = *self.world.options();
        let mut returned = false;
        let mut limit = nanos(time_limit);
        loop {
            let now = clock::world_nanos();
            if self.world.has_failed() {
                return "a violation";
            }
            if !returned && script.is_finished() {
                returned = true;
                limit = now.saturating_add(nanos(settle));
                trace::line(WORLD_NAME, "the scenario has returned");
            }
            if now > limit {
                if !returned {
                    stuck::all(&self.world).iter().for_each(|line| trace::line(WORLD_NAME, line));
                    self.world.violation(format_args!("the scenario has not returned within {time_limit:?}"));
                }
                return "the time is up";
            }
            if self.steps >= steps_max {
                self.world.violation(format_args!("no end after {steps_max} steps"));
                return "too many steps";
            }
            self.adopt();
            if self.network_event().is_some_and(|event| event <= now) {
                self.world.network().deliver(clock::world());
            }
            let first = self.survey(now);
            if !self.candidates.is_empty() {
                self.turn(now);
                continue;
            }
            match first.into_iter().chain(self.network_event()).min() {
                Some(moment) => self.wait_until(now, moment.min(limit.saturating_add(1))),
                None if returned => return "nothing is left to do",
                None => {
                    self.world.violation(stuck::report(&self.world));
                    return "a deadlock";
                }
            }
        }
    }

    fn network_event(&self) -> Option<u64> {
        self.world.network().next_event().map(|event| u64::try_from(event.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Gets to know workers that were made by the last step.
    fn adopt(&mut self) {
        while self.workers.len() < self.simulation.workers() {
            let tag = self.simulation.tag(self.workers.len());
            let last = self.last;
            let owner = self.world.with_nodes(|nodes| {
                let of_node = nodes.iter().enumerate().find_map(|(number, node)| {
                    node.incarnation_of(tag).map(|incarnation| Owner::Node { number, incarnation })
                });
                of_node.unwrap_or_else(|| *self.adopted.entry(tag).or_insert(last))
            });
            self.workers.push(Worker { owner, stepped_at: 0, held_until: 0, was_delayed: false });
        }
    }

    /// Finds out who could make a step now; says when the first of the others could.
    fn survey(&mut self, now: u64) -> Option<u64> {
        let Conductor { simulation, world, workers, candidates, .. } = self;
        candidates.clear();
        world.with_nodes(|nodes| {
            let mut first = None;
            for (number, worker) in workers.iter().enumerate() {
                if !worker.owner.is_running(nodes) {
                    continue;
                }
                // Asked anew each time: one that would have got on for an event sleeps on if another one takes that.
                let due = match simulation.state(number) {
                    State::Ready => 0,
                    State::Asleep { timeout: None } => continue,
                    State::Asleep { timeout: Some(timeout) } => {
                        let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
                        worker.owner.world_at(nodes, worker.stepped_at.saturating_add(timeout))
                    }
                };
                match due.max(worker.held_until) {
                    u64::MAX => {}
                    due if due <= now => candidates.push(number),
                    due => first = Some(first.unwrap_or(u64::MAX).min(due)),
                }
            }
            first
        })
    }

    /// One of the candidates gets on, or is kept from it for a while.
    fn turn(&mut self, now: u64) {
        self.idle_turns = 0;
        let number = self.chooser.choose(&self.candidates);
        let worker = &mut self.workers[number];
        if !worker.was_delayed
            && let Some(delay) = self.chooser.delay()
        {
            trace::choice((number as u64) << 2 | 2);
            worker.was_delayed = true;
            worker.held_until = now + delay;
            return;
        }
        worker.was_delayed = false;
        let owner = worker.owner;
        self.last = owner;
        let (node, reading, wall_ahead) = match owner {
            Owner::World => (NO_NODE, now, 0),
            Owner::Node { number, .. } => self.world.with_nodes(|nodes| {
                let clock = &nodes[number].clock;
                (number, clock.reading(now), clock.wall_ahead)
            }),
        };
        let pace = self.chooser.pace();
        trace::choice((number as u64) << 2 | u64::from(pace == simulation::Pace::Free));
        if self.traces_steps {
            let name = self.world.with_nodes(|nodes| nodes.get(node).map(|node| node.name().clone()));
            let what = format_args!("worker {number} makes step {} ({pace:?})", self.steps);
            trace::aside(name.as_deref().unwrap_or(WORLD_NAME), what);
        }
        clock::enter(reading, wall_ahead);
        self.world.set_running(node);
        self.simulation.step(number, pace);
        self.world.set_running(NO_NODE);
        let shown = clock::leave();
        self.steps += 1;
        self.steps_here += 1;
        let now = self.charge_crowd();
        let mut busy = self.chooser.cost();
        if let Owner::Node { number, .. } = owner {
            self.world.with_nodes(|nodes| {
                nodes[number].clock.has_shown(shown);
                let per_step = u64::try_from(nodes[number].per_step.as_nanos()).unwrap_or(u64::MAX);
                busy = busy.saturating_add(per_step);
            });
        }
        let worker = &mut self.workers[number];
        worker.held_until = now.saturating_add(busy);
        worker.stepped_at = shown;
    }

    fn charge_crowd(&mut self) -> u64 {
        if self.steps_here > CROWD {
            clock::advance(clock::world_nanos() + CROWD_COSTS);
        }
        clock::world_nanos()
    }

    fn wait_until(&mut self, now: u64, moment: u64) {
        if moment > now {
            self.steps_here = 0;
            self.idle_turns = 0;
            clock::advance(moment.min(self.next_sample.max(now)));
            if moment >= self.next_sample {
                self.next_sample += SAMPLE_EVERY;
                let at = clock::world();
                // It runs code of others, which may wait.
                drop(self.runtime.spawn(move || bvar::background::tick(at)));
            }
            return;
        }
        self.idle_turns += 1;
        assert!(self.idle_turns < IDLE_TURNS_MAX, "the network is not done with this moment");
    }
}

impl Owner {
    fn is_running(self, nodes: &[NodeState]) -> bool {
        match self {
            Owner::World => true,
            Owner::Node { number, incarnation } => {
                nodes[number].incarnation() == incarnation && nodes[number].is_running()
            }
        }
    }

    fn world_at(self, nodes: &[NodeState], reading: u64) -> u64 {
        match self {
            Owner::World => reading,
            Owner::Node { number, .. } => nodes[number].clock.world_at(reading),
        }
    }
}
