//! Seeds that once found something in the real code. They are run with every test run, so that it stays found.

use crate::Workload;

/// A seed that found something.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Regression {
    /// The seed.
    pub seed: u64,
    /// With this workload alone, or with what the seed draws.
    pub workload: Option<Workload>,
    /// What it found.
    pub found: &'static str,
}

/// All of them.
pub const REGRESSIONS: &[Regression] = &[
    Regression {
        seed: 99,
        workload: Some(Workload::Stopping),
        found: "a request behind a graceful stop was answered with a reset, which cost the replies on their way",
    },
    Regression {
        seed: 451,
        workload: Some(Workload::Stopping),
        found: "the same, where a write of the client's failed before it had read them",
    },
];
