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
pub const REGRESSIONS: &[Regression] = &[];
