//! The flags of this crate itself, known from the start: one line for each area that has some.

use super::AnyFlag;

/// Each area's list, kept beside the code that reads the flags.
pub(super) const OWN: &[&[&'static dyn AnyFlag]] = &[crate::dump::FLAGS, crate::multi::FLAGS];
