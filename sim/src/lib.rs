//! A cluster in one test: many nodes of real servers and channels in one process and one thread, run from one seed, with
//! virtual time and a faulty network.
//!
//! [`run`] makes a [`World`], runs a scenario in it as a bthread, and says how that went. The scenario makes [`Node`]s
//! and what runs on them, does harm to them and to the [`Network`], and reports what must not be
//! ([`World::violation`]). All that happens follows from the seed: the order in which workers run, how long the network
//! takes, what time a clock shows, and every random number. The same seed gives the same run, byte for byte.
//!
//! A process holds one run, since statics remember what ran before.

#![deny(unsafe_code)]

mod clock;
mod conductor;
mod explore;
mod network;
mod node;
mod node_network;
mod panics;
mod random;
mod run;
mod system;
mod trace;
mod world;

pub use conductor::HOLD_MAX;
pub use explore::{
    Examined, ExploreError, Explorer, Failure, InvalidOmit, InvalidSeeds, Kind, Omit, Replay, Report, Seeds,
    explore,
};
pub use network::*;
pub use node::{DRIFT_MAX, NODES_MAX, Node};
pub use random::Random;
pub use run::{Options, Outcome, run};
pub use world::{VIOLATIONS_MAX, World};
