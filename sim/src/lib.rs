//! A cluster in one test: many nodes of real servers and channels in one process and one thread, run from one seed, with
//! virtual time and a faulty network.

mod network;
mod random;

pub use network::*;
pub use random::Random;
