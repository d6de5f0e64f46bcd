//! A cluster in one test: many nodes of real servers and channels in one process and one thread, run from one seed, with
//! virtual time and a faulty network.
//!
//! [`run`] makes a [`World`], runs a scenario in it as a bthread, and says how that went. The scenario makes [`Node`]s
//! and what runs on them, does harm to them and to the [`Network`], and reports what must not be
//! ([`World::violation`]). All that happens follows from the seed: the order in which workers run, how long the network
//! takes, what time a clock shows, and every random number. The same seed gives the same run, byte for byte.
//!
//! ```standalone_crate
//! use std::time::Duration;
//!
//! const DAY: Duration = Duration::from_secs(8 * 3600);
//!
//! let options = sim::Options { time_limit: 3 * DAY, ..Default::default() };
//! let outcome = sim::run(1, &options, |world| {
//!     let shop = world.node("shop");
//!     shop.set_drift(100); // its clock goes too fast, by 100 parts per million
//!     let opened = world.now();
//!     shop.spawn(|| bthread::sleep(DAY)).join().unwrap(); // takes no real time
//!     if world.now() - opened < DAY {
//!         world.violation("the shop has closed early");
//!     }
//! });
//! assert_eq!(outcome.violations, ["the shop has closed early"]);
//! ```
//!
//! A process holds one run, since statics remember what ran before; [`explore`] starts one for each of many seeds.
//!
//! # What a scenario must not do
//!
//! - Start threads that take part: what they do comes at real times. Nor read files or ask the real network.
//! - Depend on addresses in memory, by a hash map keyed with pointers, say: the system chooses them.
//! - Count on std alone being in the simulation: what asks the kernel for time or random bytes by its own system calls, or
//!   through a shared library, gets the real ones.
//! - Wait in a destructor that runs while its bthread unwinds from a panic, which ends the process.
//!
//! # What is shared that should not be
//!
//! Nodes are in one process: a static is the same one on all of them, and outlives their crashes.

#![deny(unsafe_code)]

mod clock;
mod conductor;
mod explore;
mod network;
mod node;
mod panics;
mod random;
mod run;
mod system;
mod trace;
mod world;

pub use clock::DRIFT_MAX;
pub use conductor::HOLD_MAX;
pub use explore::{
    Examined, ExploreError, Explorer, Failure, FailureKind, InvalidOmit, InvalidSeeds, Omit, Replay, Report,
    Seeds, explore,
};
pub use network::*;
pub use node::{NODES_MAX, Node};
pub use random::Random;
pub use run::{Options, Outcome, run};
pub use world::{VIOLATIONS_MAX, World};
